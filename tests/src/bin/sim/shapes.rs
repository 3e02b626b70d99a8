//! Shapes: which records a rule's windows can have, worked out apart from the pipeline.

use tidegate_gateway::record::{GROUP, Record, Value};
use tidegate_gateway::rules::{Aggregate, Calendar, Derivation, Group, Rule, Shape, Window};

use super::unit::is_of;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Zones that drafts name: hours from UTC in quarters, before and behind a change of clocks.
const ZONES: [(&str, i64, i64, i64); 4] = [
    ("UTC", 0, i64::MAX, 0),
    ("Asia/Kathmandu", 23, i64::MAX, 23),
    // 2026-10-25T01:00:00Z.
    ("Europe/Berlin", 8, 1_792_890_000_000_000, 4),
    // 2026-11-01T06:00:00Z.
    ("America/New_York", -16, 1_793_512_800_000_000, -20),
];

/// Whether windows share samples.
pub fn overlap(rule: &Rule) -> bool {
    let shape = rule.window.as_ref().map(|window| &window.shape);
    matches!(shape, Some(Shape::Hopping { .. } | Shape::Sliding { .. }))
}

/// Whether windows are numbers of samples.
pub fn counts(rule: &Rule) -> bool {
    let shape = rule.window.as_ref().map(|window| &window.shape);
    matches!(shape, Some(Shape::Count { .. }))
}

/// What a record of this kind is called in summaries.
pub fn name(rule: &Rule) -> &'static str {
    match rule.window.as_ref().map(|window| &window.shape) {
        _ if rule.alert.is_some() && rule.from.is_some() => "record: alert over records",
        _ if rule.alert.is_some() => "record: alert",
        _ if rule.from.is_some() && rule.group == Group::Site => "record: chained, over the site",
        _ if rule.from.is_some() => "record: chained",
        _ if rule.group == Group::Device => "record: of a device",
        None => "record: passed",
        Some(Shape::Tumbling { .. }) => "record: tumbling",
        Some(Shape::Hopping { .. }) => "record: hopping",
        Some(Shape::Sliding { .. }) => "record: sliding",
        Some(Shape::Session { .. }) => "record: session",
        Some(Shape::Count { .. }) => "record: count",
        Some(Shape::Calendar { .. }) => "record: calendar",
    }
}

/// Whether a record is what a rule would make.
pub fn fits(record: &Record, rule: &Rule) -> bool {
    let group = match rule.group {
        Group::Sensor => record.sensor != GROUP && record.device != GROUP,
        Group::Device => record.sensor == GROUP && record.device != GROUP,
        Group::Site => record.device == GROUP && record.sensor != GROUP,
    };
    // A rule over records of a site's rule has that site's device.
    let group = group || rule.from.is_some() && record.sensor != GROUP;
    let unit = rule.derive.as_ref().and_then(|derive| derive.unit.as_ref());
    let unit = unit.is_none_or(|unit| rule.group == Group::Device || *unit == record.unit);
    let Some(window) = &rule.window else {
        let one = matches!(record.values.as_slice(), [] | [(_, Value::Number(_))]);
        let span = match (&rule.alert, &record.alert) {
            (None, None) => {
                record.start_us == record.end_us && record.samples == 1 && record.fresh == 1
            }
            (Some(_), Some(_)) => record.start_us <= record.end_us && record.fresh == 0,
            _ => false,
        };
        return group && unit && one && span;
    };
    group && unit && record.alert.is_none() && spans(record, window) && is_part(record, rule)
}

fn spans(record: &Record, window: &Window) -> bool {
    let (start_us, end_us) = (record.start_us, record.end_us);
    let long_us = end_us - start_us;
    match &window.shape {
        Shape::Tumbling { length_us } => {
            start_us.rem_euclid(*length_us) == 0 && long_us == *length_us
        }
        Shape::Hopping {
            length_us,
            every_us,
        } => start_us.rem_euclid(*every_us) == 0 && long_us == *length_us,
        Shape::Sliding { length_us } => long_us == *length_us,
        Shape::Session {
            gap_us,
            length_max_us,
        } => *gap_us <= long_us && long_us < gap_us + length_max_us,
        Shape::Count { samples } => long_us > 0 && record.samples <= *samples,
        Shape::Calendar { every, zone } => is_stretch(*every, zone, start_us, end_us),
    }
}

/// Whether both ends are midnights of a zone, and the days between them what is asked for.
fn is_stretch(every: Calendar, zone: &str, start_us: i64, end_us: i64) -> bool {
    let Some(known) = ZONES.iter().find(|(name, ..)| *name == zone) else {
        return false;
    };
    let local_us = |at_us: i64| {
        let quarters = if at_us < known.2 { known.1 } else { known.3 };
        at_us + quarters * HOUR_US / 4
    };
    let (start_us, end_us) = (local_us(start_us), local_us(end_us));
    let (from, until) = (start_us.div_euclid(DAY_US), end_us.div_euclid(DAY_US));
    let midnights = start_us.rem_euclid(DAY_US) == 0 && end_us.rem_euclid(DAY_US) == 0;
    // 1970-01-01 was a Thursday.
    midnights
        && match every {
            Calendar::Day => until - from == 1,
            Calendar::Week => until - from == 7 && from.rem_euclid(7) == 4,
            Calendar::Month => {
                let text = |day: i64| tidegate_tests::utc::text(day * 86_400);
                let first = |day: i64| text(day).get(8..10) == Some("01");
                first(from) && first(until) && (28..=31).contains(&(until - from))
            }
        }
}

/// Whether values are what a rule asks for, in its order, of each sensor in turn; some may not
/// exist.
fn is_part(record: &Record, rule: &Rule) -> bool {
    let asked = || {
        rule.aggregates
            .iter()
            .map(|one| (one.name(), may_be_absent(one)))
    };
    if rule.group != Group::Device {
        let mut names = record
            .values
            .iter()
            .map(|(name, _)| name.as_str())
            .peekable();
        return takes(&mut names, "", asked()) && names.next().is_none();
    }
    let mut names = record
        .values
        .iter()
        .map(|(name, _)| name.as_str())
        .peekable();
    while let Some(name) = names.peek() {
        let sensor = ["pressure.", "vibration."];
        let Some(sensor) = sensor.into_iter().find(|one| name.starts_with(one)) else {
            return false;
        };
        let before = names.clone().count();
        if !takes(&mut names, sensor, asked()) || names.clone().count() == before {
            return false;
        }
    }
    true
}

fn takes<'n>(
    names: &mut std::iter::Peekable<impl Iterator<Item = &'n str>>,
    before: &str,
    mut asked: impl Iterator<Item = (String, bool)>,
) -> bool {
    asked.all(|(asked, may_be_absent)| {
        let is_it = |name: &&str| name.strip_prefix(before) == Some(&asked);
        names.next_if(is_it).is_some() || may_be_absent
    })
}

fn may_be_absent(aggregate: &Aggregate) -> bool {
    matches!(
        aggregate,
        Aggregate::Stddev
            | Aggregate::TimeWeightedMean
            | Aggregate::Rate
            | Aggregate::ShareOfTime { .. }
    )
}

/// Whether a value is one that a sensor's samples can give.
pub fn is_right(record: &Record, rule: &Rule, name: &str, value: &Value) -> bool {
    let (sensor, name) = match rule.group {
        Group::Device => name.split_once('.').unwrap_or_default(),
        Group::Sensor | Group::Site => (record.sensor.as_str(), name),
    };
    let grouped = rule.group == Group::Device;
    let own = rule.from.is_none() && rule.derive.is_none();
    match (name, value) {
        ("count", Value::Count(count)) => {
            *count == record.samples || grouped && *count <= record.samples
        }
        ("spread", Value::Counts(counts)) => {
            let sum: u64 = counts.iter().sum();
            sum == record.samples || grouped && sum <= record.samples
        }
        ("stddev", Value::Number(value)) => *value >= 0.0,
        ("range", Value::Number(value)) => *value >= 0.0,
        ("hot" | "cold", Value::Number(value)) => (0.0..=1.0).contains(value),
        ("delta" | "rate", Value::Number(value)) => value.is_finite(),
        ("sum", Value::Number(value)) if own && !grouped => {
            is_of(sensor, *value / record.samples as f64)
        }
        ("sum", Value::Number(value)) => value.is_finite(),
        (_, Value::Number(value)) => {
            let integral = rule.derive.as_ref().map(|derive| &derive.what);
            let rises = matches!(integral, Some(Derivation::Integral { .. }));
            value.is_finite() && (!own || is_of(sensor, *value)) && (!rises || *value >= 0.0)
        }
        _ => false,
    }
}
