//! `aggregate`: what is computed of a window, by name.

use crate::rules::Aggregate;
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::tree::{Value, list, short, text};

/// Most aggregates of a rule: they become the columns of a record.
const AGGREGATES_MAX: usize = 32;
/// What people call some aggregates elsewhere.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("average", "mean"),
    ("avg", "mean"),
    ("median", "p50"),
    ("n", "count"),
    ("sd", "stddev"),
    ("std", "stddev"),
    ("total", "sum"),
];
/// Aggregates with a name of their own.
const AGGREGATES: &[(&str, Aggregate)] = &[
    ("count", Aggregate::Count),
    ("sum", Aggregate::Sum),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("mean", Aggregate::Mean),
    ("stddev", Aggregate::Stddev),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
];
const EXPECTED_AGGREGATE: &str =
    "expected count, sum, min, max, mean, stddev, first, last or p0 to p100 (p99.9)";

/// Reads `aggregate`: a list of names, each once.
pub(super) fn read_aggregates(value: &Value<'_>, findings: &mut Findings) -> Vec<Aggregate> {
    let expected = "a list such as [\"count\", \"mean\", \"p95\"]";
    let Some(values) = list("`aggregate`", value, expected, findings) else {
        return Vec::new();
    };
    if values.is_empty() || values.len() > AGGREGATES_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("`aggregate` has {} names", values.len()),
            format!("expected 1 to {AGGREGATES_MAX} names"),
        );
        return Vec::new();
    }
    let mut aggregates = Vec::with_capacity(values.len());
    for value in values {
        let expected = "a text such as \"mean\"";
        let Some(typed) = text("an aggregate", value, expected, findings) else {
            continue;
        };
        match read_aggregate(typed) {
            Some(aggregate) if aggregates.contains(&aggregate) => {
                findings.mistake(
                    Kind::Duplicate,
                    value.span(),
                    format!("the aggregate {} is there twice", aggregate.name()),
                    "a record has each value once",
                );
            }
            Some(aggregate) => aggregates.push(aggregate),
            None => {
                findings
                    .mistake(
                        Kind::UnknownName,
                        value.span(),
                        format!("\"{}\" is not an aggregate", short(typed)),
                        EXPECTED_AGGREGATE,
                    )
                    .help_maybe(aggregate_meant(typed));
            }
        }
    }
    aggregates
}

/// Reads `mean` or `p99.9`.
fn read_aggregate(typed: &str) -> Option<Aggregate> {
    let by_name = AGGREGATES.iter().find(|(name, _)| *name == typed);
    by_name
        .map(|(_, aggregate)| aggregate.clone())
        .or_else(|| read_percentile(typed.strip_prefix('p')?))
}

/// Reads `95` or `99.9`: at most three digits and one decimal, at most 100.
fn read_percentile(typed: &str) -> Option<Aggregate> {
    let (whole, tenths) = typed.split_once('.').unwrap_or((typed, "0"));
    let plain = |digits: &str, len_max: usize| {
        (1..=len_max).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !plain(whole, 3) || !plain(tenths, 1) {
        return None;
    }
    let tenths = whole.parse::<u16>().ok()? * 10 + tenths.parse::<u16>().ok()?;
    (tenths <= 1_000).then_some(Aggregate::Percentile(tenths))
}

/// What was meant by a name that is not an aggregate.
fn aggregate_meant(typed: &str) -> Option<String> {
    let lower = typed.to_lowercase();
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == lower);
    let percentile = lower
        .strip_prefix('p')
        .is_some_and(|digits| digits.starts_with(|sign: char| sign.is_ascii_digit()));
    if percentile {
        return Some("percentiles have at most one decimal, up to p100".to_owned());
    }
    other
        .map(|(_, name)| *name)
        .or_else(|| nearest(typed, AGGREGATES.iter().map(|(name, _)| *name)))
        .map(|name| format!("did you mean \"{name}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_read_back_as_named() {
        for (_, aggregate) in AGGREGATES {
            assert_eq!(read_aggregate(&aggregate.name()), Some(aggregate.clone()));
        }
        for tenths in 0..=1_000 {
            let aggregate = Aggregate::Percentile(tenths);
            assert_eq!(read_aggregate(&aggregate.name()), Some(aggregate));
        }
    }

    #[test]
    fn what_is_no_percentile_is_refused() {
        for typed in [
            "p", "p101", "p100.1", "p9.99", "p+5", "p.5", "p5.", "p-1", "p0x9", "P95", "p1000",
        ] {
            assert_eq!(read_aggregate(typed), None, "{typed}");
        }
    }

    #[test]
    fn other_tools_names_are_known() {
        assert_eq!(
            aggregate_meant("AVG").as_deref(),
            Some("did you mean \"mean\"?")
        );
        assert_eq!(
            aggregate_meant("cuont").as_deref(),
            Some("did you mean \"count\"?")
        );
        assert_eq!(
            aggregate_meant("p99.99").as_deref(),
            Some("percentiles have at most one decimal, up to p100")
        );
        assert_eq!(aggregate_meant("zzz"), None);
    }
}
