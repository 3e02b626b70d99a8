//! `window`: how samples are grouped in time.

use std::ops::RangeInclusive;

use toml::Spanned;

use super::{TIME_US_MAX, TIME_US_MIN, one_of, time};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::quantity::show_duration;
use crate::rules::tree::{Section, Value, choice, duration, short, text, whole};
use crate::rules::zone;
use crate::rules::{Calendar, Late, Shape, Window};

const DAY_US: i64 = 86_400 * 1_000_000;
/// Longest lateness.
const LATENESS_US_MAX: i64 = 7 * DAY_US;
/// Lateness when none is given: longer than frames of one device overtake each other's wake-ups,
/// short enough that a minute's record is a minute old.
pub(in crate::rules) const LATENESS_US: i64 = 10_000_000;
/// Longest gap of a session.
const GAP_US_MAX: i64 = 7 * DAY_US;
/// Longest session when nothing is given.
pub(in crate::rules) const SESSION_US: i64 = DAY_US;
/// Most windows that a sample of hopping windows is in: each is a copy of the state.
const OVERLAP_MAX: i64 = 64;
/// Longest sliding window: it keeps its samples.
const SLIDING_US_MAX: i64 = DAY_US;
/// Most samples of a count window.
pub(in crate::rules) const COUNTS: RangeInclusive<u64> = 1..=1_000_000;
/// How long a value holds in a window of a number of samples.
const COUNT_HOLD_US: i64 = 3_600 * 1_000_000;
/// How long it holds in a stretch of the calendar.
const CALENDAR_HOLD_US: i64 = DAY_US;

/// Keys that say which windows there are.
const SHAPES: [&str; 5] = ["tumbling", "hopping", "sliding", "session", "count"];
const EXAMPLE: &str = "window = { tumbling = \"1m\" }";

/// Reads `window`.
pub(super) fn read_window(value: &Value<'_>, findings: &mut Findings) -> Option<Spanned<Window>> {
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`window` is a text",
                "expected a table",
            )
            .help(format!(
                "write window = {{ tumbling = \"{}\" }}",
                short(typed)
            ));
        return None;
    }
    let expected = "a table such as { tumbling = \"1m\", lateness = \"30s\" }";
    let mut section = Section::of_value("`window`", value, &[], expected, findings)?;
    let lateness_us = section.get("lateness").map_or(Some(LATENESS_US), |value| {
        duration("`lateness`", value, 0..=LATENESS_US_MAX, findings)
    });
    let late = section.get("late").map_or(Some(Late::Revise), |value| {
        let choices = [("revise", Late::Revise), ("drop", Late::Drop)];
        choice("`late`", value, &choices, findings)
    });
    let hold_us = section
        .get("hold")
        .map(|value| time("`hold`", value, findings));
    let shape = read_shape(&mut section, findings);
    section.close(findings);
    let shape = shape?;
    let window = Window {
        hold_us: hold_us.unwrap_or_else(|| Some(hold_of(&shape)))?,
        shape,
        lateness_us: lateness_us?,
        late: late?,
    };
    Some(Spanned::new(value.span(), window))
}

/// How long a value holds when nothing is given: as long as a window can be without one.
pub(in crate::rules) fn hold_of(shape: &Shape) -> i64 {
    match shape {
        Shape::Tumbling { length_us }
        | Shape::Hopping { length_us, .. }
        | Shape::Sliding { length_us } => *length_us,
        Shape::Session { gap_us, .. } => *gap_us,
        Shape::Count { .. } => COUNT_HOLD_US,
        Shape::Calendar { .. } => CALENDAR_HOLD_US,
    }
}

fn read_shape(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<Shape> {
    let every = section.get("every");
    let zone = section.get("zone");
    let longest = section.get("longest");
    let any = SHAPES.iter().any(|key| section.holds(key));
    if let Some(every) = every.filter(|_| !any) {
        apart(section, "longest", "session", findings);
        return read_calendar(every, zone, section, findings);
    }
    let (key, value) = one_of("`window`", section, &SHAPES, EXAMPLE, findings)?;
    if key != "hopping" {
        apart(section, "every", "hopping", findings);
    }
    if key != "session" {
        apart(section, "longest", "session", findings);
    }
    if zone.is_some() {
        findings
            .mistake(
                Kind::Conflict,
                section.place("zone"),
                format!("`zone` in `window` beside `{key}`"),
                "only stretches of the calendar have a zone",
            )
            .help("write window = { every = \"1d\", zone = \"Europe/Berlin\" }");
    }
    match key {
        "tumbling" => {
            time("`tumbling`", value, findings).map(|length_us| Shape::Tumbling { length_us })
        }
        "hopping" => read_hopping(value, every, section, findings),
        "sliding" => {
            let bounds = TIME_US_MIN..=SLIDING_US_MAX;
            let length_us = duration("`sliding`", value, bounds, findings)?;
            Some(Shape::Sliding { length_us })
        }
        "session" => read_session(value, longest, findings),
        _ => {
            let samples = whole("`count`", value, COUNTS, findings)?;
            Some(Shape::Count { samples })
        }
    }
}

/// Refuses a key that windows of another shape have.
fn apart(section: &Section<'_, '_>, key: &'static str, owner: &str, findings: &mut Findings) {
    if section.holds(key) {
        findings.mistake(
            Kind::Conflict,
            section.place(key),
            format!("`{key}` in `window` without `{owner}`"),
            format!("only {owner} windows have it"),
        );
    }
}

fn read_hopping(
    length: &Value<'_>,
    every: Option<&Value<'_>>,
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<Shape> {
    let length_us = time("`hopping`", length, findings);
    let Some(every) = every else {
        section.need("every", "every = \"1m\": how often such a window begins");
        return None;
    };
    let every_us = time("`every`", every, findings);
    let (length_us, every_us) = (length_us?, every_us?);
    if length_us % every_us != 0 {
        findings
            .mistake(
                Kind::OutOfRange,
                length.span(),
                format!(
                    "`hopping` is no multiple of `every` ({})",
                    show_duration(every_us)
                ),
                "windows end where others begin",
            )
            .help(format!(
                "write hopping = \"{}\"",
                show_duration((length_us / every_us + 1) * every_us)
            ));
        return None;
    }
    if length_us / every_us > OVERLAP_MAX {
        findings.mistake(
            Kind::OutOfRange,
            every.span(),
            format!("a sample would be in {} windows", length_us / every_us),
            format!("at most {OVERLAP_MAX} windows are open at a time"),
        );
        return None;
    }
    Some(Shape::Hopping {
        length_us,
        every_us,
    })
}

fn read_session(
    gap: &Value<'_>,
    longest: Option<&Value<'_>>,
    findings: &mut Findings,
) -> Option<Shape> {
    let gap_us = duration("`session`", gap, TIME_US_MIN..=GAP_US_MAX, findings);
    let length_max_us = longest.map(|value| time("`longest`", value, findings));
    let gap_us = gap_us?;
    let length_max_us = length_max_us.unwrap_or(Some(SESSION_US.max(gap_us)))?;
    if let Some(longest) = longest.filter(|_| length_max_us < gap_us) {
        findings.mistake(
            Kind::OutOfRange,
            longest.span(),
            "`longest` is shorter than the gap",
            format!(
                "expected {} to {}",
                show_duration(gap_us),
                show_duration(TIME_US_MAX)
            ),
        );
        return None;
    }
    Some(Shape::Session {
        gap_us,
        length_max_us,
    })
}

fn read_calendar(
    every: &Value<'_>,
    zone: Option<&Value<'_>>,
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<Shape> {
    const CHOICES: [(&str, Calendar); 3] = [
        ("1d", Calendar::Day),
        ("1w", Calendar::Week),
        ("1mo", Calendar::Month),
    ];
    let expected = "\"1d\", \"1w\" or \"1mo\"";
    let calendar = text("`every`", every, expected, findings).and_then(|typed| {
        let found = CHOICES.iter().find(|(name, _)| *name == typed);
        if found.is_none() {
            findings
                .mistake(
                    Kind::UnknownName,
                    every.span(),
                    format!("`every` cannot be \"{}\"", short(typed)),
                    format!("expected {expected}: a day, a week or a month of the calendar"),
                )
                .help("windows of another length are written { tumbling = \"1h\" }");
        }
        found.map(|(_, calendar)| *calendar)
    });
    let zone = if let Some(zone) = zone {
        zone::read(zone, findings)
    } else {
        section.need("zone", "zone = \"Europe/Berlin\", or \"UTC\"");
        None
    };
    Some(Shape::Calendar {
        every: calendar?,
        zone: zone?,
    })
}
