//! `[[rule]]`: what to do with which samples.

use std::ops::Range;

use tidegate_shared::ids::is_name_byte;

use super::aggregate::read_aggregates;
use super::{Named, SINKS_MAX, check_name};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Section, Value, choice, duration, list, malformed, number, short, text};
use crate::rules::{Aggregate, Keep, Late, Match, Priority, Window};

/// Most bytes of a glob: twice the longest name it could match.
const GLOB_BYTES_MAX: usize = 64;
/// Shortest and longest window.
const WINDOW_US: std::ops::RangeInclusive<i64> = 1_000..=31 * 86_400 * 1_000_000;
/// Longest lateness.
const LATENESS_US_MAX: i64 = 7 * 86_400 * 1_000_000;
/// Lateness when none is given: longer than frames of one device overtake each other's wake-ups,
/// short enough that a minute's record is a minute old.
const LATENESS_US: i64 = 10_000_000;

/// Keys of a rule that later versions know.
const LATER: &[&str] = &[
    "alert",
    "budget",
    "by",
    "decimate",
    "derive",
    "for",
    "group",
    "heartbeat",
    "join",
    "max_age",
    "repeat",
    "silent_for",
    "unit",
    "when",
];
/// Keys of `match` that later versions know.
const LATER_MATCH: &[&str] = &["kind", "tags", "unit"];
/// Keys of `window` that later versions know.
const LATER_WINDOW: &[&str] = &["count", "every", "hopping", "session", "sliding"];

/// A rule as typed.
#[derive(Debug)]
pub(in crate::rules) struct TypedRule {
    /// `name`.
    pub(in crate::rules) name: Option<Named>,
    /// `match`.
    pub(in crate::rules) matching: Option<Match>,
    /// `keep`.
    pub(in crate::rules) keep: Option<Keep>,
    /// `deadband`.
    pub(in crate::rules) deadband: Option<f64>,
    /// `window`.
    pub(in crate::rules) window: Option<Window>,
    /// `aggregate`.
    pub(in crate::rules) aggregates: Vec<Aggregate>,
    /// `priority`.
    pub(in crate::rules) priority: Option<Priority>,
    /// `forward`: names not yet looked up.
    pub(in crate::rules) forward: Vec<Named>,
}

impl TypedRule {
    pub(super) fn read(index: usize, value: &Value<'_>, findings: &mut Findings) -> Option<Self> {
        let title = value
            .get_ref()
            .get("name")
            .and_then(|name| name.get_ref().as_str())
            .map_or_else(
                || format!("[[rule]] number {}", index + 1),
                |name| format!("rule \"{}\"", short(name)),
            );
        let expected = "a section that begins with [[rule]]";
        let mut section = Section::of_value(title, value, LATER, expected, findings)?;
        let name = section
            .need("name", "name = \"minute\"")
            .and_then(|value| read_name(value, findings));
        let matching = section
            .need("match", "match = { device = \"*\", sensor = \"*\" }")
            .and_then(|value| read_match(value, findings));
        let keep = section
            .get("keep")
            .and_then(|value| read_keep(value, findings));
        let deadband = section
            .get("deadband")
            .and_then(|value| read_deadband(value, findings));
        let window_typed = section.get("window");
        let aggregate_typed = section.get("aggregate");
        let window = window_typed.and_then(|value| read_window(value, findings));
        let aggregates = aggregate_typed
            .map(|value| read_aggregates(value, findings))
            .unwrap_or_default();
        let priority = section.get("priority").and_then(|value| {
            let choices = [
                ("low", Priority::Low),
                ("normal", Priority::Normal),
                ("high", Priority::High),
            ];
            choice("`priority`", value, &choices, findings)
        });
        let forward = section
            .need(
                "forward",
                "forward = [\"NAME\"] with the name of a [sink.NAME]",
            )
            .map(|value| read_forward(value, findings))
            .unwrap_or_default();
        check_pair(&section, window_typed, aggregate_typed, findings);
        section.close(findings);
        Some(Self {
            name,
            matching,
            keep,
            deadband,
            window,
            aggregates,
            priority,
            forward,
        })
    }
}

fn read_name(value: &Value<'_>, findings: &mut Findings) -> Option<Named> {
    let typed = text("`name`", value, "a text such as \"minute\"", findings)?;
    check_name("rule", typed, value.span(), findings).then(|| named(typed, value.span()))
}

fn named(text: &str, span: Range<usize>) -> Named {
    Named {
        text: text.to_owned(),
        span,
    }
}

fn read_match(value: &Value<'_>, findings: &mut Findings) -> Option<Match> {
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`match` is a text",
                "expected a table of globs",
            )
            .help(format!("write match = {{ sensor = \"{}\" }}", short(typed)));
        return None;
    }
    let expected = "a table such as { device = \"pump-*\", sensor = \"temperature\" }";
    let mut section = Section::of_value("`match`", value, LATER_MATCH, expected, findings)?;
    let device = read_glob("device", &mut section, findings);
    let sensor = read_glob("sensor", &mut section, findings);
    section.close(findings);
    Some(Match {
        device: vec![device?],
        sensor: vec![sensor?],
        ..Match::default()
    })
}

fn read_glob(
    key: &'static str,
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<String> {
    let Some(value) = section.get(key) else {
        return Some("*".to_owned());
    };
    let name = format!("`{key}`");
    let typed = text(&name, value, "a glob such as \"pump-*\"", findings)?;
    let fits = !typed.is_empty()
        && typed.len() <= GLOB_BYTES_MAX
        && typed
            .bytes()
            .all(|byte| is_name_byte(byte) || byte == b'*' || byte == b'?');
    if !fits {
        let expected = format!(
            "expected 1 to {GLOB_BYTES_MAX} of A-Z a-z 0-9 . _ - with * for any run of signs and ? for one"
        );
        malformed(
            value.span(),
            format!("{name} can match no name"),
            &expected,
            findings,
        );
    }
    fits.then(|| typed.to_owned())
}

fn read_keep(value: &Value<'_>, findings: &mut Findings) -> Option<Keep> {
    let expected = "a table such as { min = -40, max = 125 }";
    let mut section = Section::of_value("`keep`", value, &["rate_max"], expected, findings)?;
    let min = section.get("min");
    let max = section.get("max");
    section.close(findings);
    if min.is_none() && max.is_none() {
        findings
            .mistake(
                Kind::Missing,
                value.span(),
                "`keep` has no bound",
                "`min`, `max` or both must be given",
            )
            .help("leave `keep` out to keep everything");
    }
    let low = min.and_then(|value| number("`min`", value, findings));
    let high = max.and_then(|value| number("`max`", value, findings));
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            "`keep` keeps nothing",
            format!("min {low} is greater than max {high}"),
        );
    }
    Some(Keep {
        min: low,
        max: high,
        rate_max: None,
    })
}

fn read_deadband(value: &Value<'_>, findings: &mut Findings) -> Option<f64> {
    let band = number("`deadband`", value, findings)?;
    if band <= 0.0 {
        findings
            .mistake(
                Kind::OutOfRange,
                value.span(),
                "`deadband` is not above 0",
                "expected a distance in the sensor's unit, such as 0.2",
            )
            .help("leave `deadband` out to keep every sample");
        return None;
    }
    Some(band)
}

fn read_window(value: &Value<'_>, findings: &mut Findings) -> Option<Window> {
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
    let mut section = Section::of_value("`window`", value, LATER_WINDOW, expected, findings)?;
    let later = section
        .entries()
        .any(|(key, _, _)| LATER_WINDOW.contains(&key));
    let tumbling = if later {
        section.get("tumbling")
    } else {
        section.need("tumbling", "tumbling = \"1m\"")
    };
    let length_us = tumbling.and_then(|value| duration("`tumbling`", value, WINDOW_US, findings));
    let lateness_us = section.get("lateness").map_or(Some(LATENESS_US), |value| {
        duration("`lateness`", value, 0..=LATENESS_US_MAX, findings)
    });
    let late = section.get("late").map_or(Some(Late::Revise), |value| {
        let choices = [("revise", Late::Revise), ("drop", Late::Drop)];
        choice("`late`", value, &choices, findings)
    });
    section.close(findings);
    Some(Window::tumbling(length_us?, lateness_us?, late?))
}

/// A window and aggregates need each other.
fn check_pair(
    section: &Section<'_, '_>,
    window: Option<&Value<'_>>,
    aggregate: Option<&Value<'_>>,
    findings: &mut Findings,
) {
    match (window, aggregate) {
        (Some(window), None) if !section.misspelt("aggregate") => findings
            .mistake(
                Kind::Missing,
                window.span(),
                format!("{} has a window but no `aggregate`", section.title),
                "nothing is computed of this window",
            )
            .help("add aggregate = [\"count\", \"mean\"]"),
        (None, Some(aggregate)) if !section.misspelt("window") => findings
            .mistake(
                Kind::Missing,
                aggregate.span(),
                format!("{} has aggregates but no `window`", section.title),
                "there is nothing to compute these of",
            )
            .help("add window = { tumbling = \"1m\", lateness = \"30s\" }"),
        _ => {}
    }
}

fn read_forward(value: &Value<'_>, findings: &mut Findings) -> Vec<Named> {
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`forward` is a text",
                "expected a list of sinks",
            )
            .help(format!("write forward = [\"{}\"]", short(typed)));
        return vec![named(typed, value.span())];
    }
    let Some(values) = list("`forward`", value, "a list such as [\"cloud\"]", findings) else {
        return Vec::new();
    };
    if values.is_empty() {
        findings
            .mistake(
                Kind::Missing,
                value.span(),
                "this rule forwards nowhere",
                "expected at least one sink",
            )
            .help("name a [sink.NAME] here, or take the rule out");
    }
    if values.len() > SINKS_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("`forward` has {} names", values.len()),
            format!("at most {SINKS_MAX} sinks are allowed"),
        );
    }
    let mut sinks: Vec<Named> = Vec::new();
    for value in values.iter().take(SINKS_MAX) {
        let Some(typed) = text("a sink's name", value, "a text such as \"cloud\"", findings) else {
            continue;
        };
        if sinks.iter().any(|sink| sink.text == typed) {
            findings.mistake(
                Kind::Duplicate,
                value.span(),
                format!("the sink \"{}\" is there twice", short(typed)),
                "a record goes to each sink once",
            );
            continue;
        }
        sinks.push(named(typed, value.span()));
    }
    sinks
}
