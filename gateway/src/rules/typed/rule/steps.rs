//! `keep`, `derive` and thinning: what becomes of a sample before windows and alerts.

use tidegate_shared::limits::UNIT_BYTES_MAX;
use toml::Spanned;
use toml::de::DeValue;

use super::formula::Names;
use super::matching::read_decimals;
use super::{one_of, time};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{
    Section, Value, boolean, malformed, number, positive, short, text, whole,
};
use crate::rules::{Derivation, Derive, Keep, Thinning};

/// Across a longer gap there is neither rate nor integral when `max_gap` is not given.
pub(in crate::rules) const GAP_US: i64 = 3_600 * 1_000_000;

/// Reads `keep`.
pub(super) fn read_keep(value: &Value<'_>, findings: &mut Findings) -> Option<Spanned<Keep>> {
    let expected = "a table such as { min = -40, max = 125 }";
    let mut section = Section::of_value("`keep`", value, &[], expected, findings)?;
    let min = section.get("min");
    let max = section.get("max");
    let rate_max = section.get("rate_max");
    let bounded = min.is_some() || max.is_some() || rate_max.is_some();
    if !bounded && section.entries().next().is_none() {
        findings
            .mistake(
                Kind::Missing,
                value.span(),
                "`keep` has no bound",
                "`min`, `max` or `rate_max` must be given",
            )
            .help("leave `keep` out to keep everything");
    }
    section.close(findings);
    let low = min.and_then(|value| number("`min`", value, findings));
    let high = max.and_then(|value| number("`max`", value, findings));
    let fastest = rate_max.and_then(|value| {
        let expected = "expected a change per second above 0, such as 2.5";
        positive("`rate_max`", value, expected, findings)
    });
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
    let keep = Keep {
        min: low,
        max: high,
        rate_max: fastest,
    };
    Some(Spanned::new(value.span(), keep))
}

/// Reads `derive`.
pub(super) fn read_derive(
    value: &Value<'_>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<Spanned<Derive>> {
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`derive` is a text",
                "expected a table",
            )
            .help(format!("write derive = {{ value = \"{}\" }}", short(typed)));
        return None;
    }
    let expected = "a table such as { value = \"value * 1.8 + 32\", unit = \"°F\" }";
    let mut section = Section::of_value("`derive`", value, &[], expected, findings)?;
    let unit = section.get("unit");
    let unit_text = unit.map(|value| read_unit(value, findings));
    let decimals = read_decimals(&mut section, findings);
    let gap = section.get("max_gap");
    let gap_max_us = gap.map_or(Some(GAP_US), |value| time("`max_gap`", value, findings));
    let example = "derive = { value = \"value * 1.8 + 32\" }";
    let keys = ["value", "rate", "integral"];
    let chosen = one_of("`derive`", &mut section, &keys, example, findings);
    if matches!(chosen, Some(("value", _))) && gap.is_some() {
        findings.mistake(
            Kind::Conflict,
            section.place("max_gap"),
            "`max_gap` in `derive` beside `value`",
            "only `rate` and `integral` look at the sample before",
        );
    }
    section.close(findings);
    let (key, chosen) = chosen?;
    let what = match key {
        "value" => names
            .number("`value`", chosen, findings)
            .map(|expression| Derivation::Value(expression.into_inner())),
        "rate" => time("`rate`", chosen, findings).and_then(|per_us| {
            Some(Derivation::Rate {
                per_us,
                gap_max_us: gap_max_us?,
            })
        }),
        _ => time("`integral`", chosen, findings).and_then(|per_us| {
            Some(Derivation::Integral {
                per_us,
                gap_max_us: gap_max_us?,
            })
        }),
    };
    let derive = Derive {
        what: what?,
        unit: match unit_text {
            Some(unit) => Some(unit?),
            None => None,
        },
        decimals: decimals?,
    };
    Some(Spanned::new(value.span(), derive))
}

fn read_unit(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text("`unit`", value, "a text such as \"m³/h\"", findings)?;
    if typed.len() > UNIT_BYTES_MAX || typed.contains(char::is_control) {
        malformed(
            value.span(),
            "`unit` is not a unit",
            &format!("expected at most {UNIT_BYTES_MAX} bytes of UTF-8"),
            findings,
        );
        return None;
    }
    Some(typed.to_owned())
}

/// Reads whichever of the ways to leave samples out is given; two exclude each other.
pub(super) fn read_thinning(
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<Spanned<Thinning>> {
    let deadband = section.get("deadband");
    let on_change = section.get("on_change");
    let decimate = section.get("decimate");
    let max_error = section.get("max_error");
    let deadband = deadband.and_then(|value| placed(value, read_deadband(value, findings)));
    let on_change = on_change.and_then(|value| {
        let wanted = boolean("`on_change`", value, findings)?;
        placed(value, wanted.then_some(Thinning::OnChange))
    });
    let decimate = decimate.and_then(|value| placed(value, read_decimate(value, findings)));
    let max_error = max_error.and_then(|value| {
        let expected = "expected a distance in the sensor's unit, such as 0.1";
        let max_error = positive("`max_error`", value, expected, findings)?;
        placed(value, Some(Thinning::SwingingDoor { max_error }))
    });
    deadband.or(on_change).or(decimate).or(max_error)
}

fn placed(value: &Value<'_>, thinning: Option<Thinning>) -> Option<Spanned<Thinning>> {
    Some(Spanned::new(value.span(), thinning?))
}

/// Reads a distance, or a table of a distance and a share.
fn read_deadband(value: &Value<'_>, findings: &mut Findings) -> Option<Thinning> {
    const DISTANCE: &str = "expected a distance in the sensor's unit, such as 0.2";
    if !value.get_ref().is_table() {
        let share = value.get_ref().as_str();
        if share.is_some_and(|typed| typed.ends_with('%')) {
            let share = read_share("`deadband`", value, findings)?;
            findings
                .mistake(
                    Kind::WrongType,
                    value.span(),
                    "`deadband` is a share",
                    DISTANCE,
                )
                .help(format!("write deadband = {{ relative = {share} }}"));
            return None;
        }
        let absolute = positive("`deadband`", value, DISTANCE, findings)?;
        return Some(Thinning::deadband(absolute));
    }
    let expected = "a distance such as 0.2 or { absolute = 0.2, relative = \"5%\" }";
    let mut section = Section::of_value("`deadband`", value, &[], expected, findings)?;
    let absolute = section.get("absolute");
    let relative = section.get("relative");
    if section.entries().next().is_none() {
        findings
            .mistake(
                Kind::Missing,
                value.span(),
                "`deadband` has no width",
                "`absolute`, `relative` or both must be given",
            )
            .help("leave `deadband` out to keep every sample");
    }
    section.close(findings);
    Some(Thinning::Deadband {
        absolute: absolute.and_then(|value| positive("`absolute`", value, DISTANCE, findings)),
        relative: relative.and_then(|value| read_share("`relative`", value, findings)),
    })
}

/// Reads a share: `0.05` or `"5%"`.
fn read_share(name: &str, value: &Value<'_>, findings: &mut Findings) -> Option<f64> {
    const EXPECTED: &str = "expected a share above 0 and up to 1, such as 0.05 or \"5%\"";
    let share = match value.get_ref().as_str() {
        Some(typed) => {
            let percent = typed.trim().strip_suffix('%').map(str::trim_end);
            let digits = percent.filter(|digits| {
                digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
            });
            // Moving the point gives the nearest number to what was written; dividing would not.
            let share = digits.and_then(|digits| format!("{digits}e-2").parse().ok());
            let Some(share) = share else {
                let message = format!("{name} is not a share");
                malformed(value.span(), message, EXPECTED, findings);
                return None;
            };
            share
        }
        None => number(name, value, findings)?,
    };
    if share <= 0.0 || share > 1.0 {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("{name} is no share of the last value"),
            EXPECTED,
        );
        return None;
    }
    Some(share)
}

/// Reads a time, or one in how many.
fn read_decimate(value: &Value<'_>, findings: &mut Findings) -> Option<Thinning> {
    match value.get_ref() {
        DeValue::Integer(_) => {
            let bounds = 2..=u64::from(u32::MAX);
            let every = whole("`decimate`", value, bounds, findings)?;
            Some(Thinning::DecimateCount {
                every: every as u32,
            })
        }
        DeValue::String(_) => {
            let every_us = time("`decimate`", value, findings)?;
            Some(Thinning::DecimateTime { every_us })
        }
        _ => {
            let expected = "a time such as \"10s\", or one in how many such as 10";
            text("`decimate`", value, expected, findings);
            None
        }
    }
}
