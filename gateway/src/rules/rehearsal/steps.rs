//! `timeline`: the steps of a device.

use std::ops::Range;

use tidegate_shared::ids::SensorName;
use toml::de::DeValue;

use super::device::read_name;
use super::time::read_clock_step;
use crate::rehearsal::{Act, Device, SAMPLES_MAX, STEP_US_MAX, Samples, Sensor, Step, Times};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Section, Value, duration, list, number, short, whole};

/// Most digits behind the point that are read off a number.
const DECIMALS_MOST: usize = 9;
/// The keys of which a step has one, with what each says.
const ACTS: [&str; 6] = ["samples", "silence", "outage", "reboot", "stop", "clock"];

/// A step before its samples are raw.
#[derive(Debug)]
pub(super) struct TypedStep {
    at_us: Option<i64>,
    act: TypedAct,
}

#[derive(Debug)]
enum TypedAct {
    Samples(TypedSamples),
    Other(Act),
}

#[derive(Debug)]
struct TypedSamples {
    columns: Vec<Column>,
    times: Times,
    repeat: u64,
    late_us: Option<i64>,
}

/// One sensor's values as they are written, each with its place.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) sensor: SensorName,
    /// `None`: the device marks it as bad.
    values: Vec<(Option<f64>, Range<usize>)>,
}

impl Column {
    /// The most digits behind the point that a value has, as far as they are read.
    pub(super) fn decimals(&self) -> u8 {
        let values = self.values.iter().filter_map(|(value, _)| *value);
        let decimals = values.map(|value| {
            let written = value.to_string();
            let behind = written
                .split_once('.')
                .map_or(0, |(_, behind)| behind.len());
            behind.min(DECIMALS_MOST) as u8
        });
        decimals.max().unwrap_or(0)
    }
}

impl TypedStep {
    pub(super) fn columns(&self) -> &[Column] {
        match &self.act {
            TypedAct::Samples(samples) => &samples.columns,
            TypedAct::Other(_) => &[],
        }
    }
}

/// Samples of a device's timeline.
pub(super) fn samples(device: &Device) -> u64 {
    let steps = device.steps.iter();
    let samples = steps.map(|step| match &step.act {
        Act::Samples(samples) => {
            let columns = samples.columns.iter();
            let once: usize = columns.map(|(_, raws)| raws.len()).sum();
            samples.repeat.saturating_mul(once as u64)
        }
        _ => 0,
    });
    samples.fold(0, u64::saturating_add)
}

/// Reads a step.
pub(super) fn read(value: &Value<'_>, findings: &mut Findings) -> Option<TypedStep> {
    let expected = "a step such as { silence = \"1m\" }";
    let mut section = Section::of_value("the step", value, &[], expected, findings)?;
    let at = section
        .get("at")
        .map(|value| duration("`at`", value, 0..=STEP_US_MAX, findings));
    let acts = ACTS.map(|name| (name, section.get(name)));
    let mut given = acts
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)));
    let (first, second) = (given.next(), given.next());
    if let Some((name, value)) = second {
        findings
            .mistake(
                Kind::Conflict,
                value.span(),
                format!("the step has another act than `{name}`"),
                format!("one of {}", ACTS.join(", ")),
            )
            .help("write a step of its own for each");
    }
    let act = match first {
        Some(("samples", value)) => {
            read_samples(value, &mut section, findings).map(TypedAct::Samples)
        }
        Some((name, value)) => read_other(name, value, findings).map(TypedAct::Other),
        None => {
            note_no_act(&section, findings);
            None
        }
    };
    section.close(findings);
    Some(TypedStep {
        at_us: match at {
            Some(at_us) => Some(at_us?),
            None => None,
        },
        act: act?,
    })
}

fn note_no_act(section: &Section<'_, '_>, findings: &mut Findings) {
    if ACTS.iter().any(|name| section.misspelt(name)) {
        return;
    }
    findings.mistake(
        Kind::Missing,
        section.span.clone(),
        "nothing happens in this step",
        format!("one of {} must be given", ACTS.join(", ")),
    );
}

fn read_other(name: &'static str, value: &Value<'_>, findings: &mut Findings) -> Option<Act> {
    if name == "clock" {
        return read_clock_step(value, findings).map(Act::Clock);
    }
    let us = duration(&format!("`{name}`"), value, 0..=STEP_US_MAX, findings)?;
    Some(match name {
        "silence" => Act::Silence(us),
        "outage" => Act::Outage(us),
        "reboot" => Act::Reboot(us),
        _ => Act::Stop(us),
    })
}

fn read_samples(
    value: &Value<'_>,
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<TypedSamples> {
    let times = read_times(section, findings);
    let repeat = section.get("repeat").map_or(Some(1), |value| {
        whole("`repeat`", value, 1..=SAMPLES_MAX, findings)
    });
    let late = section
        .get("late")
        .map(|value| duration("`late`", value, 0..=STEP_US_MAX, findings));
    let expected = "a table such as { temperature = [21.5, 21.6] }";
    let columns = Section::of_value("`samples`", value, &[], expected, findings)?;
    let columns: Vec<Option<Column>> = columns
        .entries()
        .map(|(name, span, value)| read_column(name, &span, value, findings))
        .collect();
    let columns: Vec<Column> = columns.into_iter().collect::<Option<_>>()?;
    let times = times?;
    if let Times::At(at) = &times {
        check_lengths(&columns, at.len(), findings);
    }
    let repeat = repeat?;
    let period_us = match &times {
        Times::Every(us) => us.saturating_mul(rows(&columns) as i64),
        Times::At(at) => at.last().copied().unwrap_or(0),
    };
    if period_us.saturating_mul(repeat as i64) > STEP_US_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            "the samples take more than a year",
            "expected a shorter period, fewer values or fewer repeats",
        );
        return None;
    }
    Some(TypedSamples {
        columns,
        times,
        repeat,
        late_us: match late {
            Some(late_us) => Some(late_us?),
            None => None,
        },
    })
}

fn rows(columns: &[Column]) -> usize {
    let lengths = columns.iter().map(|column| column.values.len());
    lengths.max().unwrap_or(0)
}

/// `every` or `times`.
fn read_times(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<Times> {
    let every = section.get("every");
    let times = section.get("times");
    match (every, times) {
        (Some(every), None) => {
            duration("`every`", every, 1_000..=STEP_US_MAX, findings).map(Times::Every)
        }
        (None, Some(times)) => read_list_of_times(times, findings).map(Times::At),
        (Some(_), Some(times)) => {
            findings.mistake(
                Kind::Conflict,
                times.span(),
                "the step has both `every` and `times`",
                "expected one of the two",
            );
            None
        }
        (None, None) => {
            if !section.misspelt("every") && !section.misspelt("times") {
                findings
                    .mistake(
                        Kind::Missing,
                        section.span.clone(),
                        "the samples have no times",
                        "`every` or `times` must be given",
                    )
                    .help("add every = \"10s\", or times = [\"0s\", \"7s\"]");
            }
            None
        }
    }
}

fn read_list_of_times(value: &Value<'_>, findings: &mut Findings) -> Option<Vec<i64>> {
    let expected = "a list of durations such as [\"0s\", \"7s\"]";
    let values = list("`times`", value, expected, findings)?;
    let times: Vec<Option<i64>> = values
        .iter()
        .map(|value| duration("a time", value, 0..=STEP_US_MAX, findings))
        .collect();
    let times: Vec<i64> = times.into_iter().collect::<Option<_>>()?;
    if !times.is_sorted() {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                "`times` run backwards",
                "expected them in order, each counted from the step's beginning",
            )
            .help("samples that arrive later than they were taken have `late`");
        return None;
    }
    Some(times)
}

/// Every sensor has a value for each of the times.
fn check_lengths(columns: &[Column], times: usize, findings: &mut Findings) {
    for column in columns {
        let count = column.values.len();
        let first = column.values.first().map(|(_, span)| span.clone());
        let Some(span) = first.filter(|_| count != times) else {
            continue;
        };
        findings.mistake(
            Kind::Conflict,
            span,
            format!("{} has {count} values", column.sensor.as_str()),
            format!("`times` has {times}"),
        );
    }
}

fn read_column(
    typed: &str,
    span: &Range<usize>,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<Column> {
    let sensor = read_name::<SensorName>("sensor", typed, span, findings);
    let title = format!("`{}`", short(typed));
    let values = list(&title, value, "a list of values such as [21.5]", findings)?;
    if values.is_empty() {
        findings.mistake(
            Kind::Missing,
            value.span(),
            format!("{title} has no values"),
            "expected at least one",
        );
    }
    let values: Vec<Option<(Option<f64>, Range<usize>)>> = values
        .iter()
        .map(|value| {
            let typed = match value.get_ref() {
                DeValue::Boolean(one) => Some(Some(f64::from(u8::from(*one)))),
                DeValue::String(text) if text == "bad" => Some(None),
                _ => number("a value", value, findings).map(Some),
            };
            Some((typed?, value.span()))
        })
        .collect();
    Some(Column {
        sensor: sensor?,
        values: values.into_iter().collect::<Option<_>>()?,
    })
}

/// Makes raw integers of the values.
pub(super) fn resolve(
    steps: Vec<TypedStep>,
    sensors: &[Sensor],
    findings: &mut Findings,
) -> Option<Vec<Step>> {
    let resolved: Vec<Option<Step>> = steps
        .into_iter()
        .map(|step| {
            let act = match step.act {
                TypedAct::Other(act) => act,
                TypedAct::Samples(typed) => {
                    let columns: Vec<Option<(u16, Vec<Option<i64>>)>> = typed
                        .columns
                        .iter()
                        .map(|column| raw_column(column, sensors, findings))
                        .collect();
                    Act::Samples(Samples {
                        columns: columns.into_iter().collect::<Option<_>>()?,
                        times: typed.times,
                        repeat: typed.repeat,
                        late_us: typed.late_us,
                    })
                }
            };
            Some(Step {
                at_us: step.at_us,
                act,
            })
        })
        .collect();
    resolved.into_iter().collect()
}

fn raw_column(
    column: &Column,
    sensors: &[Sensor],
    findings: &mut Findings,
) -> Option<(u16, Vec<Option<i64>>)> {
    let at = sensors.iter().position(|one| one.name == column.sensor)?;
    let decimals = sensors.get(at)?.decimals;
    let raws: Vec<Option<Option<i64>>> = column
        .values
        .iter()
        .map(|(value, span)| {
            let Some(value) = value else {
                return Some(None);
            };
            let raw = raw(*value, decimals);
            if raw.is_none() {
                findings
                    .mistake(
                        Kind::OutOfRange,
                        span.clone(),
                        format!("{} cannot have this value", column.sensor.as_str()),
                        format!("the sensor has {decimals} decimals, and 15 digits at most"),
                    )
                    .help("set `decimals` of the sensor, or leave it out");
            }
            raw.map(Some)
        })
        .collect();
    Some((at as u16, raws.into_iter().collect::<Option<_>>()?))
}

/// The value in units of `10^-decimals`, if it is a whole number of them.
fn raw(value: f64, decimals: u8) -> Option<i64> {
    let scaled = value * 10_f64.powi(i32::from(decimals));
    let whole = scaled.round();
    let is_exact = (scaled - whole).abs() <= 1e-6 * scaled.abs().max(1.0);
    (is_exact && whole.abs() < 1e15).then_some(whole as i64)
}
