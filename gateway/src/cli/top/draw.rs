//! Drawing: from the state to the cells of a terminal; a pure function.
//!
//! ```text
//! site, whether it works as usual, which gateway
//! in    samples, bytes
//! out   records, bytes
//! devices by health, alerts, books
//! what keeps it from working as usual, or the month's bytes
//! views                                    the one shown is marked
//! …     its lines, as many as there is room for
//! keys, or why the gateway does not answer
//! ```

mod body;

use std::fmt::Write;

use indicatif::HumanBytes;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::state::{State, View};
use super::words;
use crate::cli::status::number;
use crate::plant::{Health, Overview};
use crate::spool::bill::Cost;

/// Lines of the head.
pub(super) const HEAD_LINES: usize = 5;
/// Lines of the foot.
pub(super) const FOOT_LINES: usize = 1;
/// Lines that are no view's.
pub(super) const AROUND_LINES: usize = HEAD_LINES + 1 + FOOT_LINES;

const KEYS: &str = " q leave   tab 1-4 views   ↑↓ page home end   / filter   ? help";
const HELP: [&str; 9] = [
    "1 2 3 4     devices, rules, sinks, alerts",
    "tab ← →     the next view, the one before",
    "↑ ↓ j k     a line up or down",
    "page ↑ ↓    ten lines",
    "home end    the first line, the last one",
    "/           show devices whose name has …, or matches a glob; enter keeps it",
    "esc         show all devices again",
    "q ctrl-c    leave",
    "any key     leave this help",
];

/// Colours, where they are taken.
#[derive(Debug, Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn fg(self, color: Color) -> Style {
        if self.colours {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn of(self, health: Health) -> Style {
        match health {
            Health::Live => self.fg(Color::Green),
            Health::Late => self.fg(Color::Yellow),
            Health::Silent => self.fg(Color::Red),
            Health::Suppressed => self.fg(Color::Cyan),
            Health::Ended | Health::Unknown => self.fg(Color::DarkGray),
        }
    }
}

/// What stands out, with or without colours.
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws the state into an area.
pub(super) fn draw(state: &State, area: Rect, buffer: &mut Buffer) {
    let paint = Paint {
        colours: state.colours,
    };
    let width = usize::from(area.width);
    let mut lines = head(state, paint, width);
    lines.push(tabs(state));
    let body = body::lines(state, paint, width);
    let room = room(area);
    let passed = state.scroll.min(body.len().saturating_sub(room));
    lines.extend(body.into_iter().skip(passed).take(room));
    let rows = area.y..area.bottom();
    for (y, line) in rows.zip(&lines) {
        buffer.set_line(area.x, y, line, area.width);
    }
    if area.height > 0 {
        let foot = foot(state, paint);
        let y = area.bottom() - 1;
        buffer.set_line(area.x, y, &foot, area.width);
    }
}

/// Lines that the view has altogether.
pub(super) fn body_lines(state: &State) -> usize {
    body::lines(state, Paint { colours: false }, usize::MAX).len()
}

/// Lines of a view that an area has room for.
pub(super) fn room(area: Rect) -> usize {
    usize::from(area.height).saturating_sub(AROUND_LINES)
}

fn head(state: &State, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let Some(answer) = &state.answer else {
        let mut lines = vec![Line::default(); HEAD_LINES];
        lines[0] = Line::from(" asking the gateway …");
        return lines;
    };
    let overview = &answer.overview;
    let flow = &overview.flow;
    let bytes = |bytes: u64| HumanBytes(bytes).to_string();
    let mut out = format!(
        " out  {} records, {} sent",
        number(flow.records),
        bytes(flow.sent_bytes)
    );
    if flow.sent_bytes > 0 && flow.samples_as_json_bytes > 0 {
        let share = flow.sent_bytes as f64 / flow.samples_as_json_bytes as f64;
        let _ = write!(out, ", {:.1} % less than as JSON", 100.0 * (1.0 - share));
    }
    vec![
        title(state, overview, paint, width),
        Line::from(format!(
            " in   {} samples, {} as JSON, {} received since the start",
            number(flow.samples),
            bytes(flow.samples_as_json_bytes),
            bytes(flow.received_bytes)
        )),
        Line::from(out),
        summary(overview, paint),
        trouble(overview, paint, width),
    ]
}

fn title(state: &State, overview: &Overview, paint: Paint, width: usize) -> Line<'static> {
    let gateway = &overview.status.gateway;
    let (told, style) = if state.away.is_some() {
        ("away; this is how it was".to_owned(), paint.fg(Color::Red))
    } else if overview.status.works_as_usual {
        ("works as usual".to_owned(), paint.fg(Color::Green))
    } else {
        ("does not work as usual".to_owned(), paint.fg(Color::Red))
    };
    let which = format!(
        "gateway {}, start {}, {} ",
        gateway.id,
        number(gateway.start.into()),
        gateway.version
    );
    let site = format!(" {}", gateway.site);
    let used = site.chars().count() + 2 + told.chars().count();
    let gap = width
        .min(200)
        .saturating_sub(used + which.chars().count())
        .max(2);
    Line::from(vec![
        Span::styled(site, BOLD),
        Span::raw("  "),
        Span::styled(told, style),
        Span::raw(" ".repeat(gap)),
        Span::styled(which, paint.fg(Color::DarkGray)),
    ])
}

fn summary(overview: &Overview, paint: Paint) -> Line<'static> {
    let books = match (overview.ledger.balanced, overview.ledger.unknown) {
        (false, _) => ("the books do not balance", paint.fg(Color::Red)),
        (true, true) => ("books balance, something is unknown", Style::new()),
        (true, false) => ("books balance", Style::new()),
    };
    let alerts = overview.alerts_open;
    let alerts_style = if alerts > 0 {
        paint.fg(Color::Red)
    } else {
        Style::new()
    };
    let plural = if alerts == 1 { "" } else { "s" };
    Line::from(vec![
        Span::raw(format!(" {}", words::healths(&overview.devices))),
        Span::raw("   "),
        Span::styled(format!("{} alert{plural}", number(alerts)), alerts_style),
        Span::raw("   "),
        Span::styled(books.0, books.1),
    ])
}

/// What keeps the gateway from working as usual, or else the month's bytes.
fn trouble(overview: &Overview, paint: Paint, width: usize) -> Line<'static> {
    let bytes = |bytes: u64| HumanBytes(bytes).to_string();
    if let Some(state) = overview.status.states.first() {
        let of_sink = state.sink.as_ref();
        let subject = of_sink.map_or_else(String::new, |sink| format!("sink {sink}: "));
        let more = match overview.status.states.len() - 1 {
            0 => String::new(),
            more => format!("(and {more} more) "),
        };
        let told = format!(" {more}{subject}{}: {}", state.name, state.meaning);
        return Line::styled(words::cut(&told, width), paint.fg(Color::Yellow));
    }
    let Some(bill) = &overview.bill else {
        return Line::from(" the month is not known: the clock is not to be trusted");
    };
    let sent: u64 = bill.sinks.values().map(Cost::wire_bytes).sum();
    let of = overview.status.budget.as_ref();
    let of = of.map_or_else(String::new, |budget| {
        format!(" of {}", bytes(budget.cap_bytes))
    });
    let gap = if bill.gap { ", or more" } else { "" };
    Line::from(format!(" {}: {}{of} sent{gap}", bill.month, bytes(sent)))
}

fn tabs(state: &State) -> Line<'static> {
    let mut spans = Vec::new();
    for (place, view) in View::ALL.iter().enumerate() {
        let name = view.name();
        if *view == state.view {
            let style = BOLD.add_modifier(Modifier::REVERSED);
            spans.push(Span::styled(format!("[{} {name}]", place + 1), style));
        } else {
            spans.push(Span::raw(format!(" {} {name} ", place + 1)));
        }
    }
    let filter = match (state.types, state.filter.as_str()) {
        (true, filter) => format!("   /{filter}▏"),
        (false, "") => String::new(),
        (false, filter) => format!("   /{filter}"),
    };
    spans.push(Span::raw(filter));
    Line::from(spans)
}

fn foot(state: &State, paint: Paint) -> Line<'static> {
    match &state.away {
        Some(why) => Line::styled(
            format!(" no answer, asking on: {why}"),
            paint.fg(Color::Red),
        ),
        None => Line::styled(KEYS, paint.fg(Color::DarkGray)),
    }
}
