//! Payloads read back, and one of them byte by byte from the published field numbers.

use super::*;
use crate::record::{AlertCause, AlertNote, AlertState};
use crate::sinks::encoding::tests::{examples, group, histogram, plain, told};

const SENT_MS: u64 = 1_581_168_661_000;

fn decoded(payload: &[u8]) -> Payload {
    Payload::decode(payload).unwrap()
}

fn sent(record: &Record, is_historical: bool) -> Payload {
    let sending = Sending {
        seq: 255,
        sent_ms: SENT_MS,
        is_historical,
    };
    decoded(&data(record, &sending))
}

fn named<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
    metrics
        .iter()
        .find(|metric| metric.name.as_deref() == Some(name))
        .unwrap_or_else(|| panic!("no {name} in {metrics:#?}"))
}

#[test]
fn a_nodes_death_is_its_session_without_a_sequence() {
    // timestamp (1) = 300, metrics (2) = { name (1) = "bdSeq", timestamp (3) = 300,
    // datatype (4) = Int64, long_value (11) = 7 }.
    let bytes = b"\x08\xac\x02\x12\x0e\x0a\x05bdSeq\x18\xac\x02\x20\x04\x58\x07";
    assert_eq!(node_death(7, 300), bytes);
}

#[test]
fn a_nodes_birth_has_the_session_of_its_death_sequence_0_and_no_rebirth_asked() {
    let birth = decoded(&node_birth(7, SENT_MS));
    let death = decoded(&node_death(7, SENT_MS));
    assert_eq!(birth.seq, Some(0));
    assert_eq!(
        named(&birth.metrics, "bdSeq"),
        named(&death.metrics, "bdSeq")
    );
    let rebirth = named(&birth.metrics, "Node Control/Rebirth");
    assert_eq!(rebirth.value, Some(MetricValue::Boolean(false)));
    assert_eq!(rebirth.datatype, Some(data_type::BOOLEAN));
}

#[test]
fn every_metric_has_name_time_type_and_value_and_no_name_comes_twice() {
    for record in examples() {
        let payload = sent(&record, false);
        assert_eq!((payload.timestamp, payload.seq), (Some(SENT_MS), Some(255)));
        let mut names: Vec<_> = payload.metrics.iter().map(|metric| &metric.name).collect();
        names.sort();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for metric in &payload.metrics {
            assert!(metric.name.is_some() && metric.timestamp.is_some());
            let fits = matches!(
                (metric.datatype, &metric.value),
                (Some(data_type::INT64), Some(MetricValue::Long(_)))
                    | (Some(data_type::DOUBLE), Some(MetricValue::Double(_)))
                    | (Some(data_type::BOOLEAN), Some(MetricValue::Boolean(_)))
                    | (Some(data_type::STRING), Some(MetricValue::Text(_)))
            );
            assert!(fits, "{metric:?}");
        }
    }
}

#[test]
fn a_birth_has_the_units_and_data_has_not() {
    let birth = decoded(&device_birth(metrics(&plain()), 1, SENT_MS));
    let mean = named(&birth.metrics, "Pressure/minute/mean");
    let properties = mean.properties.as_ref().unwrap();
    assert_eq!(properties.keys, ["engUnit"]);
    assert_eq!(
        properties.values[0].value,
        Some(Property::Text("bar".into()))
    );
    assert_eq!(mean.value, Some(MetricValue::Double(0.21)));
    assert_eq!(mean.timestamp, Some(1_581_168_660_000));
    let data = sent(&plain(), false);
    assert_eq!(
        named(&data.metrics, "Pressure/minute/mean").properties,
        None
    );
    // What data brings was in the birth.
    for metric in &data.metrics {
        let born = named(&birth.metrics, metric.name.as_deref().unwrap());
        assert_eq!(
            (born.datatype, &born.value),
            (metric.datatype, &metric.value)
        );
    }
}

#[test]
fn what_is_not_the_present_value_says_so_with_the_number_of_what_it_is() {
    let historical = |payload: &Payload| {
        let all = payload.metrics.iter().map(|metric| metric.is_historical);
        all.collect::<Vec<_>>()
    };
    assert!(
        historical(&sent(&plain(), false))
            .iter()
            .all(Option::is_none)
    );
    assert!(
        historical(&sent(&plain(), true))
            .iter()
            .all(|is| *is == Some(true))
    );
    let revision = Record {
        revision: 2,
        epoch: 1,
        ..plain()
    };
    let payload = sent(&revision, false);
    assert!(historical(&payload).iter().all(|is| *is == Some(true)));
    let mean = named(&payload.metrics, "Pressure/minute/mean");
    let properties = mean.properties.clone().unwrap();
    assert_eq!(properties.keys, ["epoch", "revision"]);
    assert_eq!(properties.values[1].value, Some(Property::Int(2)));
    let old = Record {
        alert: Some(AlertNote {
            cause: AlertCause::Condition,
            state: AlertState::Opened,
            historic: true,
        }),
        ..plain()
    };
    assert!(
        historical(&sent(&old, false))
            .iter()
            .all(|is| *is == Some(true))
    );
}

#[test]
fn alerts_groups_and_histograms_have_tags_of_their_own() {
    let [opened, cleared] = told();
    for (record, open) in [(opened, true), (cleared, false)] {
        let metrics = metrics(&record);
        let alert = named(&metrics, "vibration.rms/rattles/alert/condition");
        assert_eq!(alert.value, Some(MetricValue::Boolean(open)));
    }
    named(&metrics(&group()), "humidity.rel/climate/p99.9");
    named(&metrics(&group()), "*/climate/record/samples");
    let part = |part| format!("Pressure/minute/spread/{part}");
    let metrics = metrics(&histogram());
    assert_eq!(named(&metrics, &part(2)).value, Some(MetricValue::Long(2)));
}

#[test]
fn a_piece_is_the_message_but_for_its_sending() {
    for record in examples() {
        let mut piece = Vec::new();
        encode(&record, &mut piece);
        let mut piece = decoded(&piece);
        let sent = sent(&record, false);
        (piece.seq, piece.timestamp) = (sent.seq, sent.timestamp);
        assert_eq!(piece, sent);
    }
}

#[test]
fn a_devices_death_is_a_number_only() {
    let death = decoded(&device_death(9, SENT_MS));
    assert_eq!((death.seq, death.metrics.len()), (Some(9), 0));
}
