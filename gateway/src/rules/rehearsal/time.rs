//! Times of a test: UTC, durations from its beginning, and steps of a clock.

use toml::de::DeValue;

use crate::clock::EARLIEST_US;
use crate::rehearsal::STEP_US_MAX;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::quantity::{duration_us, show_duration};
use crate::rules::tree::{Value, malformed, text};

/// Latest beginning: 2200-01-01.
const BEGIN_US_LATEST: i64 = 7_258_118_400 * 1_000_000;

/// Reads `begin`: UTC.
pub(super) fn read_begin(value: &Value<'_>, findings: &mut Findings) -> Option<i64> {
    let begin = utc_us(value).filter(|us| (EARLIEST_US..BEGIN_US_LATEST).contains(us));
    if begin.is_none() {
        malformed(
            value.span(),
            "`begin` is not a time",
            "expected UTC between 2000 and 2200, such as 2026-03-01T12:00:00Z",
            findings,
        );
    }
    begin
}

/// UTC in µs, written as a time or as a text.
fn utc_us(value: &Value<'_>) -> Option<i64> {
    let typed = match value.get_ref() {
        DeValue::Datetime(typed) => typed.to_string(),
        DeValue::String(typed) => typed.clone().into_owned(),
        _ => return None,
    };
    let utc = typed.parse::<jiff::Timestamp>().ok()?;
    Some(utc.as_microsecond())
}

/// Reads a moment, a duration from the beginning or UTC, in µs from the beginning.
pub(super) fn read_offset(
    name: &str,
    value: &Value<'_>,
    begin_utc_us: Option<i64>,
    expected: &str,
    findings: &mut Findings,
) -> Option<i64> {
    let typed = value.get_ref().as_str();
    let offset = typed.and_then(|typed| duration_us(typed).ok());
    let offset = offset.or_else(|| Some(utc_us(value)? - begin_utc_us?));
    if offset.is_none() {
        malformed(
            value.span(),
            format!("{name} is not a time"),
            &format!("expected {expected}"),
            findings,
        );
    }
    offset
}

/// Reads a step of a clock: a duration with its sign.
pub(super) fn read_clock_step(value: &Value<'_>, findings: &mut Findings) -> Option<i64> {
    const EXPECTED: &str = "a duration with its sign, such as \"+2h\" or \"-90s\"";
    let typed = text("`clock`", value, EXPECTED, findings)?;
    let (sign, rest) = match typed.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => (0, ""),
    };
    let us = duration_us(rest).ok().filter(|_| sign != 0);
    let Some(us) = us else {
        malformed(
            value.span(),
            "`clock` is not a step",
            &format!("expected {EXPECTED}"),
            findings,
        );
        return None;
    };
    if us > STEP_US_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            "`clock` is too large",
            format!("expected at most {}", show_duration(STEP_US_MAX)),
        );
        return None;
    }
    Some(sign * us)
}
