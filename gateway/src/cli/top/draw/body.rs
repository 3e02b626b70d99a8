//! The lines of each view.

use std::fmt::Write;

use indicatif::HumanBytes;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use super::{BOLD, HELP, Paint};
use crate::cli::status::{known, number, phase};
use crate::cli::top::state::{State, View};
use crate::cli::top::words;
use crate::plant::{Alert, Device, Devices, Overview, Rule, SPARK_MAX, Sensor};
use crate::record::AlertCause;
use crate::status::Sink;

/// Columns of a name.
const NAME: usize = 28;
/// Columns before a spark line.
const BEFORE_SPARK: usize = NAME + 38;

/// The lines of the view that is shown.
pub(super) fn lines(state: &State, paint: Paint, width: usize) -> Vec<Line<'static>> {
    if state.helps {
        return HELP
            .iter()
            .map(|line| Line::from(format!(" {line}")))
            .collect();
    }
    let Some(answer) = &state.answer else {
        return Vec::new();
    };
    match state.view {
        View::Devices => devices(&answer.devices, paint, width),
        View::Rules => rules(&answer.overview, paint),
        View::Sinks => sinks(&answer.overview, paint, width),
        View::Alerts => alerts(&answer.overview, paint),
    }
}

fn heading(text: String, paint: Paint) -> Line<'static> {
    Line::styled(text, paint.fg(Color::DarkGray))
}

fn devices(devices: &Devices, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![heading(
        format!(
            " {:<NAME$} {:<10} {:>12} {:<8}",
            "device, sensor", "health", "value", "unit"
        ),
        paint,
    )];
    for one in &devices.devices {
        lines.push(device(one, paint));
        lines.extend(one.sensors.iter().map(|one| sensor(one, paint, width)));
    }
    let shown = devices.devices.len() as u64;
    if devices.total == 0 {
        lines.push(Line::from(" no device of that name was seen"));
    } else if shown < devices.total {
        lines.push(Line::from(format!(
            " {} of {} devices are shown: / finds others",
            number(shown),
            number(devices.total)
        )));
    }
    lines
}

fn device(device: &Device, paint: Paint) -> Line<'static> {
    let mut why = device.why.clone().unwrap_or_default();
    if let (true, Some(heard)) = (!why.is_empty(), &device.heard) {
        let _ = write!(why, "; heard {heard}");
    }
    Line::from(vec![
        Span::styled(format!(" {:<NAME$} ", words::cut(&device.name, NAME)), BOLD),
        Span::styled(
            format!("{:<10} ", words::health(device.health)),
            paint.of(device.health),
        ),
        Span::raw(why),
    ])
}

fn sensor(sensor: &Sensor, paint: Paint, width: usize) -> Line<'static> {
    let room = width.saturating_sub(BEFORE_SPARK).min(SPARK_MAX);
    let newest = sensor.spark.len().saturating_sub(room);
    let mut spans = vec![
        Span::raw(format!("   {:<26} ", words::cut(&sensor.name, NAME - 2))),
        Span::styled(
            format!("{:<10} ", words::health(sensor.health)),
            paint.of(sensor.health),
        ),
        Span::raw(format!(
            "{:>12} {:<8} {} ",
            words::value(sensor.value),
            words::cut(&sensor.unit, 8),
            words::arrow(sensor.trend)
        )),
        Span::styled(words::spark(&sensor.spark[newest..]), paint.fg(Color::Blue)),
    ];
    if sensor.alerts_open > 0 {
        spans.push(Span::styled(" !", paint.fg(Color::Red)));
    }
    Line::from(spans)
}

fn rules(overview: &Overview, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = vec![heading(
        format!(
            " {:<18} {:>12} {:>9} {:>9} {:>8} {:>10} {:>6}",
            "rule", "samples", "left out", "records", "waiting", "sent", "saves"
        ),
        paint,
    )];
    lines.extend(overview.rules.iter().map(|one| rule(one, paint)));
    if overview.rules.is_empty() {
        lines.push(Line::from(" no rule is in force"));
    }
    lines
}

fn rule(rule: &Rule, paint: Paint) -> Line<'static> {
    let saves = rule
        .savings_percent
        .map_or_else(|| "–".to_owned(), |percent| format!("{percent:.0} %"));
    let mut spans = vec![Span::raw(format!(
        " {:<18} {:>12} {:>9} {:>9} {:>8} {:>10} {:>6}",
        words::cut(&rule.name, 18),
        number(rule.samples),
        number(rule.left_out),
        number(rule.records),
        number(rule.waiting),
        HumanBytes(rule.sent_bytes).to_string(),
        saves
    ))];
    if rule.alerts_open > 0 {
        let open = format!(" {} open", number(rule.alerts_open));
        spans.push(Span::styled(open, paint.fg(Color::Red)));
    }
    Line::from(spans)
}

fn sinks(overview: &Overview, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![heading(
        format!(
            " {:<20} {:<13} {:>10} {:>10} {:>10} {:>10}",
            "sink", "doing", "waiting", "spool", "confirmed", "letters"
        ),
        paint,
    )];
    for (name, one) in &overview.status.sinks {
        lines.push(sink(name, one));
        if let Some(error) = &one.delivery.last_error {
            let told = format!("   {}", error.replace('\n', " "));
            lines.push(Line::styled(words::cut(&told, width), paint.fg(Color::Red)));
        }
    }
    lines
}

fn sink(name: &str, sink: &Sink) -> Line<'static> {
    let spool = sink.spool_bytes.map_or_else(
        || "unknown".to_owned(),
        |bytes| HumanBytes(bytes).to_string(),
    );
    Line::from(format!(
        " {:<20} {:<13} {:>10} {:>10} {:>10} {:>10}",
        words::cut(name, 20),
        phase(sink.delivery.phase),
        known(sink.delivery.records_waiting),
        spool,
        number(sink.delivery.counters.records),
        known(sink.delivery.dead_letters),
    ))
}

fn alerts(overview: &Overview, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = vec![heading(
        format!(
            " {:<20} {:<16} {:<12} {:<18} {}",
            "since", "rule", "device", "sensor", "value"
        ),
        paint,
    )];
    lines.extend(overview.alerts.iter().map(|one| alert(one, paint)));
    let shown = overview.alerts.len() as u64;
    if shown == 0 {
        lines.push(Line::from(" no alert is open"));
    } else if shown < overview.alerts_open {
        let more = number(overview.alerts_open - shown);
        lines.push(Line::from(format!(" and {more} older ones")));
    }
    lines
}

fn alert(alert: &Alert, paint: Paint) -> Line<'static> {
    let told = match alert.cause {
        AlertCause::Condition => format!("{} {}", words::value(alert.value), alert.unit),
        AlertCause::Silence => "silent".to_owned(),
        AlertCause::Budget => "budget".to_owned(),
        AlertCause::Conduct => "conduct".to_owned(),
    };
    let style = if alert.historic {
        Style::new()
    } else {
        paint.fg(Color::Red)
    };
    Line::styled(
        format!(
            " {:<20} {:<16} {:<12} {:<18} {told}",
            words::cut(&alert.since, 20),
            words::cut(&alert.rule, 16),
            words::cut(&alert.device, 12),
            words::cut(&alert.sensor, 18),
        )
        .trim_end()
        .to_owned(),
        style,
    )
}
