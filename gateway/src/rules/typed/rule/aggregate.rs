//! `aggregate`: what is computed of a window, by name, or as a table where there is more to say.

use toml::Spanned;

use super::formula::condition_of_value;
use super::{is_word, one_of};
use crate::rules::Aggregate;
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::tree::{Section, Value, list, malformed, number, short, text};

/// Most aggregates of a rule: they become the columns of a record.
pub(in crate::rules) const AGGREGATES_MAX: usize = 32;
/// Most bounds of a histogram: each is a counter of every open window.
pub(in crate::rules) const BOUNDS_MAX: usize = 64;
/// What people call some aggregates elsewhere.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("average", "mean"),
    ("avg", "mean"),
    ("increase", "delta"),
    ("maximum", "max"),
    ("minimum", "min"),
    ("n", "count"),
    ("sd", "stddev"),
    ("spread", "range"),
    ("std", "stddev"),
    ("total", "sum"),
    ("twa", "time_weighted_mean"),
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
    ("median", Aggregate::Median),
    ("range", Aggregate::Range),
    ("time_weighted_mean", Aggregate::TimeWeightedMean),
    ("delta", Aggregate::Delta),
    ("rate", Aggregate::Rate),
];
const EXPECTED_AGGREGATE: &str = "expected count, sum, min, max, mean, stddev, first, last, median, \
                                  range, time_weighted_mean, delta, rate, p0 to p100 (p99.9), or \
                                  a table with share_of_time or histogram";
const EXPECTED_TABLE: &str = "a text such as \"mean\" or a table such as { share_of_time = \"value > 4.5\", name = \"hot\" }";

/// Every name but the percentiles'.
pub(in crate::rules) fn aggregate_names() -> Vec<&'static str> {
    AGGREGATES.iter().map(|(name, _)| *name).collect()
}

/// Reads `aggregate`: a list of names and tables, each name once.
pub(super) fn read_aggregates(
    value: &Value<'_>,
    findings: &mut Findings,
) -> Vec<Spanned<Aggregate>> {
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`aggregate` is a text",
                "expected a list of names",
            )
            .help(format!("write aggregate = [\"{}\"]", short(typed)));
        return Vec::new();
    }
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
    let mut aggregates: Vec<Spanned<Aggregate>> = Vec::with_capacity(values.len());
    for value in values {
        let Some(aggregate) = read_one(value, findings) else {
            continue;
        };
        let name = aggregate.name();
        if aggregates.iter().any(|one| one.get_ref().name() == name) {
            findings.mistake(
                Kind::Duplicate,
                value.span(),
                format!("the aggregate {name} is there twice"),
                "a record has each value once",
            );
            continue;
        }
        aggregates.push(Spanned::new(value.span(), aggregate));
    }
    aggregates
}

fn read_one(value: &Value<'_>, findings: &mut Findings) -> Option<Aggregate> {
    if value.get_ref().is_table() {
        return read_table(value, findings);
    }
    let typed = text("an aggregate", value, EXPECTED_TABLE, findings)?;
    let aggregate = read_aggregate(typed);
    if aggregate.is_none() {
        findings
            .mistake(
                Kind::UnknownName,
                value.span(),
                format!("\"{}\" is not an aggregate", short(typed)),
                EXPECTED_AGGREGATE,
            )
            .help_maybe(aggregate_meant(typed));
    }
    aggregate
}

/// Reads `{ share_of_time = "value > 4.5", name = "hot" }` or
/// `{ histogram = [0, 10, 20], name = "spread" }`.
fn read_table(value: &Value<'_>, findings: &mut Findings) -> Option<Aggregate> {
    let mut section = Section::of_value("this aggregate", value, &[], EXPECTED_TABLE, findings)?;
    let name = section
        .need("name", "name = \"hot\": what it is called in records")
        .and_then(|value| read_name(value, findings));
    let keys = ["share_of_time", "histogram"];
    let example = "{ share_of_time = \"value > 4.5\", name = \"hot\" }";
    let chosen = one_of("this aggregate", &mut section, &keys, example, findings);
    section.close(findings);
    let (key, value) = chosen?;
    if key == "histogram" {
        let bounds = read_bounds(value, findings);
        return Some(Aggregate::Histogram {
            name: name?,
            bounds: bounds?,
        });
    }
    let condition = condition_of_value("`share_of_time`", value, findings);
    Some(Aggregate::ShareOfTime {
        name: name?,
        condition: condition?.into_inner(),
    })
}

fn read_name(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text("`name`", value, "a text such as \"hot\"", findings)?;
    if !is_word(typed) {
        malformed(
            value.span(),
            "this cannot be the name of a value",
            "expected 1 to 32 of a-z 0-9 _, not beginning with a digit",
            findings,
        );
        return None;
    }
    if typed == "value" || read_aggregate(typed).is_some() {
        findings.mistake(
            Kind::Conflict,
            value.span(),
            format!("{typed} is what another value of records is called"),
            "expected another name",
        );
        return None;
    }
    Some(typed.to_owned())
}

/// Reads ascending bounds.
fn read_bounds(value: &Value<'_>, findings: &mut Findings) -> Option<Vec<f64>> {
    let values = list("`histogram`", value, "a list such as [0, 10, 20]", findings)?;
    if values.is_empty() || values.len() > BOUNDS_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("`histogram` has {} bounds", values.len()),
            format!("expected 1 to {BOUNDS_MAX} bounds"),
        );
        return None;
    }
    let read: Vec<Option<f64>> = values
        .iter()
        .map(|value| number("a bound", value, findings))
        .collect();
    let bounds: Vec<f64> = read.into_iter().collect::<Option<_>>()?;
    let beyond = bounds.windows(2).position(|pair| match pair {
        [before, after] => before >= after,
        _ => false,
    });
    if let Some(at) = beyond {
        let place = values.get(at + 1).unwrap_or(value).span();
        findings.mistake(
            Kind::OutOfRange,
            place,
            "this bound is not above the one before",
            "bounds are written in ascending order, each once",
        );
        return None;
    }
    Some(bounds)
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
