//! `[device.NAME]`: a device of a test, its sensors and its timeline.

use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_shared::catalog::Kind as SensorKind;
use tidegate_shared::ids::{DeviceName, SensorName};
use tidegate_shared::limits::{TAG_BYTES_MAX, TAGS_MAX, UNIT_BYTES_MAX};

use super::check_most;
use super::steps::{self, TypedStep};
use crate::rehearsal::{DEVICES_MAX, Device, HOLD_US_MAX, SAMPLES_MAX, SENSORS_MAX, Sensor};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Section, Value, choice, duration, list, malformed, short, text, whole};

/// What a device waits before it closes a batch when the test says nothing.
const HOLD_US: i64 = 10_000_000;
/// Most digits behind the point.
const DECIMALS_MOST: u64 = 9;

/// Reads every device; `None` for one that is mistaken.
pub(super) fn read_devices(value: &Value<'_>, findings: &mut Findings) -> Vec<Option<Device>> {
    let expected = "sections that begin with [device.NAME]";
    let Some(section) = Section::of_value("`device`", value, &[], expected, findings) else {
        return vec![None];
    };
    let count = section.entries().count();
    check_most("device", count, DEVICES_MAX, value.span(), findings);
    let entries = section.entries().take(DEVICES_MAX);
    let devices: Vec<Option<Device>> = entries
        .map(|(name, span, value)| read_device(name, &span, value, findings))
        .collect();
    let samples: u64 = devices.iter().flatten().map(steps::samples).sum();
    if samples > SAMPLES_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("the timelines have {samples} samples"),
            format!("at most {SAMPLES_MAX} are allowed"),
        );
    }
    devices
}

/// What a test says of a sensor beside its samples.
#[derive(Debug, Default)]
struct Described {
    unit: String,
    kind: SensorKind,
    decimals: Option<u8>,
    tags: Vec<String>,
}

fn read_device(
    typed: &str,
    span: &Range<usize>,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<Device> {
    let title = format!("[device.{}]", short(typed));
    let expected = "a section that begins with [device.NAME]";
    let mut section = Section::of_value(title, value, &[], expected, findings)?;
    let name = read_name::<DeviceName>("device", typed, span, findings);
    let hold_us = section.get("hold").map_or(Some(HOLD_US), |value| {
        duration("`hold`", value, 1_000..=HOLD_US_MAX, findings)
    });
    let has_clock = section.get("clock").map_or(Some(true), |value| {
        let choices = [("own", true), ("none", false)];
        choice("`clock`", value, &choices, findings)
    });
    let described = section
        .get("sensors")
        .map_or(Some(BTreeMap::new()), |value| read_sensors(value, findings));
    let typed_steps = section
        .need(
            "timeline",
            "timeline = [{ every = \"10s\", samples = { temperature = [21.5] } }]",
        )
        .and_then(|value| {
            let expected = "a list of steps such as { silence = \"1m\" }";
            list("`timeline`", value, expected, findings)
        });
    let typed_steps = typed_steps.map(|values| {
        let read = |value| steps::read(value, findings);
        values.iter().map(read).collect::<Vec<_>>()
    });
    section.close(findings);
    let typed_steps: Vec<TypedStep> = typed_steps?.into_iter().collect::<Option<_>>()?;
    let sensors = sensors_of(described?, &typed_steps, span, findings);
    let steps = steps::resolve(typed_steps, &sensors, findings);
    Some(Device {
        name: name?,
        hold_us: hold_us?,
        has_clock: has_clock?,
        sensors,
        steps: steps?,
    })
}

/// The sensors described and those sampled, by name; as many decimals as were written where the
/// description names none.
fn sensors_of(
    mut described: BTreeMap<SensorName, Described>,
    steps: &[TypedStep],
    span: &Range<usize>,
    findings: &mut Findings,
) -> Vec<Sensor> {
    let mut decimals: BTreeMap<&SensorName, u8> = BTreeMap::new();
    for column in steps.iter().flat_map(TypedStep::columns) {
        described.entry(column.sensor.clone()).or_default();
        let most = decimals.entry(&column.sensor).or_default();
        *most = column.decimals().max(*most);
    }
    check_most(
        "sensors",
        described.len(),
        SENSORS_MAX,
        span.clone(),
        findings,
    );
    let sensors = described.into_iter().take(SENSORS_MAX);
    sensors
        .map(|(name, one)| Sensor {
            unit: one.unit,
            kind: one.kind,
            tags: one.tags,
            decimals: one
                .decimals
                .or_else(|| decimals.get(&name).copied())
                .unwrap_or(0),
            name,
        })
        .collect()
}

fn read_sensors(
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<BTreeMap<SensorName, Described>> {
    let expected = "a table such as { temperature = { unit = \"°C\" } }";
    let section = Section::of_value("`sensors`", value, &[], expected, findings)?;
    let read = |(name, span, value)| read_sensor(name, &span, value, findings);
    section
        .entries()
        .map(read)
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn read_sensor(
    typed: &str,
    span: &Range<usize>,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<(SensorName, Described)> {
    let title = format!("the sensor {}", short(typed));
    let expected = "a table such as { unit = \"bar\", decimals = 2 }";
    let mut section = Section::of_value(title, value, &[], expected, findings)?;
    let name = read_name::<SensorName>("sensor", typed, span, findings);
    let unit = section
        .get("unit")
        .map_or(Some(""), |value| read_unit(value, findings));
    let kind = section
        .get("kind")
        .map_or(Some(SensorKind::Gauge), |value| {
            let choices = [
                ("gauge", SensorKind::Gauge),
                ("counter", SensorKind::Counter),
                ("state", SensorKind::State),
                ("bool", SensorKind::Bool),
            ];
            choice("`kind`", value, &choices, findings)
        });
    let decimals = section
        .get("decimals")
        .map(|value| whole("`decimals`", value, 0..=DECIMALS_MOST, findings));
    let tags = section
        .get("tags")
        .map_or(Some(Vec::new()), |value| read_tags(value, findings));
    section.close(findings);
    let described = Described {
        unit: unit?.to_owned(),
        kind: kind?,
        tags: tags?,
        decimals: match decimals {
            Some(decimals) => Some(decimals? as u8),
            None => None,
        },
    };
    Some((name?, described))
}

fn read_tags(value: &Value<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let expected = "a list such as [\"zone=north\"]";
    let values = list("`tags`", value, expected, findings)?;
    check_most("tags", values.len(), TAGS_MAX, value.span(), findings);
    let read = |value: &Value<'_>| {
        let tag = text("a tag", value, "a text such as \"zone=north\"", findings)?;
        if tag.len() > TAG_BYTES_MAX {
            let expected = format!("expected at most {TAG_BYTES_MAX} bytes of UTF-8");
            malformed(value.span(), "a tag is too long", &expected, findings);
            return None;
        }
        Some(tag.to_owned())
    };
    values.iter().take(TAGS_MAX).map(read).collect()
}

fn read_unit<'v>(value: &'v Value<'_>, findings: &mut Findings) -> Option<&'v str> {
    let unit = text("`unit`", value, "a text such as \"bar\"", findings)?;
    if unit.len() > UNIT_BYTES_MAX {
        let expected = format!("expected at most {UNIT_BYTES_MAX} bytes of UTF-8");
        malformed(value.span(), "`unit` is too long", &expected, findings);
        return None;
    }
    Some(unit)
}

/// Reads the name of a device or sensor.
pub(super) fn read_name<'n, N: TryFrom<&'n str, Error: std::fmt::Display>>(
    what: &str,
    typed: &'n str,
    span: &Range<usize>,
    findings: &mut Findings,
) -> Option<N> {
    let name = N::try_from(typed);
    if let Err(why) = &name {
        let message = format!("this cannot be the name of a {what}");
        malformed(span.clone(), message, &why.to_string(), findings);
    }
    name.ok()
}
