//! Lines read back with the parser of `InfluxDB` 3.

use std::collections::BTreeMap;

use influxdb_line_protocol::{FieldValue, ParsedLine, parse_lines};
use proptest::prelude::*;

use super::*;
use crate::record::{AlertCause, AlertNote, AlertState, GROUP};
use crate::rules::settings::TemplatePart;
use crate::sinks::encoding::tests::{examples, histogram, plain, told};

fn by_rule() -> Template {
    Template {
        parts: vec![TemplatePart::Rule],
    }
}

fn line(record: &Record) -> String {
    let mut body = Vec::new();
    encode(&by_rule(), record, &mut body);
    String::from_utf8(body).unwrap()
}

fn parsed(line: &str) -> ParsedLine<'_> {
    let lines: Vec<_> = parse_lines(line).collect::<Result<_, _>>().unwrap();
    let [line] = <[ParsedLine<'_>; 1]>::try_from(lines).unwrap();
    line
}

fn tags(line: &ParsedLine<'_>) -> BTreeMap<String, String> {
    let set = line.series.tag_set.iter().flatten();
    set.map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

/// What `InfluxDB` knows a point by.
fn key(record: &Record) -> String {
    let line = line(record);
    let line = parsed(&line);
    format!(
        "{} {:?} {:?}",
        line.series.measurement,
        tags(&line),
        line.timestamp
    )
}

#[test]
fn a_line_reads_back_as_the_record() {
    let line = line(&plain());
    let line = parsed(&line);
    assert_eq!(line.series.measurement.as_str(), "minute");
    assert_eq!(line.timestamp, Some(1_581_168_600_000_000_000));
    assert_eq!(
        tags(&line).into_iter().collect::<Vec<_>>(),
        [
            ("device", "pump-1"),
            ("rule", "minute"),
            ("sensor", "Pressure"),
            ("site", "pump-house"),
            ("unit", "bar"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert!(matches!(
        line.field_value("count"),
        Some(FieldValue::I64(13))
    ));
    assert!(
        matches!(line.field_value("mean"), Some(FieldValue::F64(mean)) if mean.to_bits() == 0.21_f64.to_bits())
    );
    assert!(
        matches!(line.field_value("duration_s"), Some(FieldValue::F64(s)) if s.to_bits() == 60_f64.to_bits())
    );
}

#[test]
fn a_revision_takes_the_place_of_its_predecessor_and_has_all_its_fields() {
    let revision = Record {
        revision: 1,
        fresh: 1,
        ..plain()
    };
    assert_eq!(key(&plain()), key(&revision));
    let (first, second) = (line(&plain()), line(&revision));
    let (first, second) = (parsed(&first), parsed(&second));
    for (name, _) in &first.field_set {
        assert!(second.field_value(name.as_str()).is_some(), "{name}");
    }
}

#[test]
fn nothing_but_a_revision_takes_anothers_place() {
    let note = |cause, state| {
        Some(AlertNote {
            cause,
            state,
            historic: false,
        })
    };
    let states = [AlertState::Opened, AlertState::Still, AlertState::Cleared];
    let causes = [AlertCause::Condition, AlertCause::Silence];
    let alerts = causes.iter().flat_map(|cause| {
        states.map(|state| Record {
            alert: note(*cause, state),
            ..told()[0].clone()
        })
    });
    let apart = [
        Record {
            epoch: 1,
            ..plain()
        },
        Record {
            version: 2,
            ..plain()
        },
        Record {
            site: "other".into(),
            ..plain()
        },
        Record {
            device: GROUP.into(),
            ..plain()
        },
        Record {
            sensor: GROUP.into(),
            ..plain()
        },
        Record {
            start_us: plain().start_us + 1,
            ..plain()
        },
        Record {
            rule: "hour".into(),
            ..plain()
        },
        plain(),
    ];
    let mut keys: Vec<_> = apart.into_iter().chain(alerts).map(|r| key(&r)).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn an_alert_reloaded_away_is_cleared_behind_its_opening() {
    let [opened, cleared] = told();
    let (opened, cleared) = (line(&opened), line(&cleared));
    let (opened, cleared) = (parsed(&opened), parsed(&cleared));
    assert_eq!(opened.timestamp, Some(1_581_168_620_000_000_000));
    assert_eq!(cleared.timestamp, Some(1_581_168_620_000_000_002));
    assert!(matches!(
        opened.field_value("open"),
        Some(FieldValue::Boolean(true))
    ));
    assert!(matches!(
        cleared.field_value("open"),
        Some(FieldValue::Boolean(false))
    ));
}

#[test]
fn fields_of_ours_and_parts_of_histograms_keep_their_names() {
    let text = line(&histogram());
    let histogram = parsed(&text);
    assert!(matches!(
        histogram.field_value("spread.1"),
        Some(FieldValue::I64(3))
    ));
    let record = Record {
        values: vec![("samples".into(), Value::Number(7.0))],
        ..plain()
    };
    let text = line(&record);
    let line = parsed(&text);
    assert!(matches!(
        line.field_value("samples"),
        Some(FieldValue::I64(13))
    ));
    assert!(matches!(
        line.field_value("samples.value"),
        Some(FieldValue::F64(_))
    ));
}

#[test]
fn a_measurement_is_never_a_comment_nor_ends_the_line() {
    let template = Template {
        parts: vec![TemplatePart::Text("#a, b\\".into()), TemplatePart::Device],
    };
    let record = Record {
        device: "d\n".into(),
        ..plain()
    };
    let mut body = Vec::new();
    encode(&template, &record, &mut body);
    let line = String::from_utf8(body).unwrap();
    assert_eq!(parsed(&line).series.measurement.as_str(), "_a, b/d_");
}

#[test]
fn lines_of_several_records_are_as_many_points() {
    let mut body = String::new();
    for record in examples() {
        body.push_str(&line(&record));
    }
    assert!(parse_lines(&body).all(|line| line.is_ok()));
    assert_eq!(parse_lines(&body).count(), examples().len());
}

proptest! {
    #[test]
    fn any_texts_and_numbers_read_back(
        unit in "\\PC{0,16}",
        device in "[ -~]{1,32}",
        rule in "[A-Za-z0-9][A-Za-z0-9._-]{0,31}",
        number in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        count in any::<u64>(),
        start_us in -9_000_000_000_000_000_i64..9_000_000_000_000_000,
    ) {
        let record = Record {
            unit: unit.clone(),
            device: device.clone(),
            rule: rule.clone(),
            start_us,
            values: vec![
                ("value".into(), Value::Number(number)),
                ("count".into(), Value::Count(count)),
            ],
            ..plain()
        };
        let text = line(&record);
        prop_assert_eq!(text.matches('\n').count(), 1);
        let line = parsed(&text);
        prop_assert_eq!(line.series.measurement.as_str(), rule.as_str());
        prop_assert_eq!(line.timestamp, Some(start_us * 1_000));
        let tags = tags(&line);
        let written = |text: &str| text.replace('\\', "/");
        prop_assert_eq!(tags.get("device"), Some(&written(&device)));
        prop_assert_eq!(tags.get("unit").cloned().unwrap_or_default(), written(&unit));
        let Some(FieldValue::F64(read)) = line.field_value("value") else {
            panic!("{text}");
        };
        prop_assert_eq!(read.to_bits(), number.to_bits());
        let Some(FieldValue::I64(read)) = line.field_value("count") else {
            panic!("{text}");
        };
        prop_assert_eq!(*read, i64::try_from(count).unwrap_or(i64::MAX));
    }
}
