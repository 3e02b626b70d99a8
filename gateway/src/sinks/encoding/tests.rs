//! Every encoding of the same records, held against golden files in `golden/`.
//!
//! `UPDATE_GOLDEN=1` writes them anew; read the difference. Binary formats are golden twice: read
//! back, a line each, for people, and in hexadecimal.

use std::fmt::Write;
use std::path::Path;

use prost::Message;

use super::*;
use crate::record::{
    AlertCause, AlertNote, AlertState, ClockQuality, GROUP, RecordId, Value, example,
};
use crate::rules::settings::TemplatePart;

/// A minute of one sensor.
pub(in crate::sinks) fn plain() -> Record {
    Record {
        id: RecordId([0xab; 16]),
        samples: 13,
        fresh: 13,
        values: vec![
            ("count".into(), Value::Count(13)),
            ("min".into(), Value::Number(0.05)),
            ("mean".into(), Value::Number(0.21)),
            ("p99.9".into(), Value::Number(0.37)),
        ],
        ..example(0)
    }
}

/// A minute with a histogram.
pub(in crate::sinks) fn histogram() -> Record {
    Record {
        id: RecordId([1; 16]),
        start_us: 1_581_168_660_000_000,
        end_us: 1_581_168_720_000_000,
        values: vec![
            ("rate".into(), Value::Number(-1.5)),
            ("spread".into(), Value::Counts(vec![0, 3, 2])),
        ],
        ..plain()
    }
}

/// A minute of all sensors of a device.
pub(in crate::sinks) fn group() -> Record {
    Record {
        id: RecordId([2; 16]),
        device: "room-1".into(),
        sensor: GROUP.into(),
        unit: String::new(),
        rule: "climate".into(),
        values: vec![
            ("temperature.mean".into(), Value::Number(21.0)),
            ("humidity.rel.p99.9".into(), Value::Number(51.5)),
        ],
        ..plain()
    }
}

/// An alert, opened and cleared by a reload with the same sample.
pub(in crate::sinks) fn told() -> [Record; 2] {
    [(3, AlertState::Opened), (4, AlertState::Cleared)].map(|(number, state)| Record {
        id: RecordId([number; 16]),
        sensor: "vibration.rms".into(),
        unit: "mm/s".into(),
        rule: "rattles".into(),
        end_us: 1_581_168_620_000_000,
        samples: 1,
        fresh: 0,
        alert: Some(AlertNote {
            cause: AlertCause::Condition,
            state,
            historic: false,
        }),
        values: vec![("value".into(), Value::Number(6.0))],
        ..plain()
    })
}

/// One record of every sort.
pub(in crate::sinks) fn examples() -> Vec<Record> {
    let [opened, cleared] = told();
    let passed = Record {
        id: RecordId([5; 16]),
        device: "tank-1".into(),
        sensor: "level".into(),
        unit: "m³".into(),
        rule: "levels".into(),
        start_us: 1_581_168_600_250_000,
        end_us: 1_581_168_600_250_000,
        samples: 1,
        fresh: 1,
        clock: ClockQuality::Learnt,
        values: vec![("value".into(), Value::Number(1e-7))],
        ..plain()
    };
    let silent = Record {
        id: RecordId([6; 16]),
        rule: "gone".into(),
        samples: 0,
        fresh: 0,
        alert: Some(AlertNote {
            cause: AlertCause::Silence,
            state: AlertState::Opened,
            historic: true,
        }),
        values: Vec::new(),
        ..plain()
    };
    let revised = Record {
        id: RecordId([7; 16]),
        revision: 1,
        fresh: 2,
        partial: true,
        ..plain()
    };
    let later = Record {
        id: RecordId([8; 16]),
        epoch: 2,
        version: 3,
        clock: ClockQuality::Untrusted,
        ..plain()
    };
    let noted = Record {
        id: RecordId([10; 16]),
        device: GROUP.into(),
        sensor: "audit.checkpoint".into(),
        unit: String::new(),
        rule: "tidegate.audit".into(),
        end_us: 1_581_168_600_000_000,
        samples: 0,
        fresh: 0,
        values: vec![("entries".into(), Value::Count(3))],
        note: Some("log\n3\nhash=\n\n— log \\\"sig\"\n".into()),
        ..plain()
    };
    let odd = Record {
        id: RecordId([9; 16]),
        unit: "a, \"b\" =\\é".into(),
        rule: "odd".into(),
        values: vec![
            ("samples".into(), Value::Number(f64::MIN_POSITIVE)),
            ("sum".into(), Value::Number(-1e300)),
        ],
        ..plain()
    };
    vec![
        plain(),
        histogram(),
        group(),
        opened,
        cleared,
        passed,
        silent,
        revised,
        later,
        noted,
        odd,
    ]
}

fn rule_template() -> Template {
    Template {
        parts: vec![TemplatePart::Rule],
    }
}

/// The pieces of the examples.
fn pieces(encoding: &Encoding) -> Vec<Vec<u8>> {
    let piece = |record: &Record| {
        let mut piece = Vec::new();
        encoding.encode(record, &mut piece);
        piece
    };
    examples().iter().map(piece).collect()
}

fn as_text(encoding: &Encoding) -> String {
    String::from_utf8(pieces(encoding).concat()).unwrap()
}

/// Binary pieces: what `lines` reads in each, then its bytes.
fn as_lines(encoding: &Encoding, lines: impl Fn(&[u8]) -> Vec<String>) -> String {
    let mut text = String::new();
    for (record, piece) in examples().iter().zip(pieces(encoding)) {
        writeln!(text, "# {}: {} bytes", record.id, piece.len()).unwrap();
        for line in lines(&piece) {
            writeln!(text, "{line}").unwrap();
        }
        for byte in piece {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn prometheus_lines(piece: &[u8]) -> Vec<String> {
    let request = prometheus::WriteRequest::decode(piece).unwrap();
    let line = |series: &prometheus::TimeSeries| {
        let labels: Vec<_> = series
            .labels
            .iter()
            .map(|label| format!("{}={:?}", label.name, label.value))
            .collect();
        let samples: Vec<_> = series
            .samples
            .iter()
            .map(|sample| format!("{:?} @{}", sample.value, sample.timestamp))
            .collect();
        format!("{{{}}} {}", labels.join(", "), samples.join(" "))
    };
    request.timeseries.iter().map(line).collect()
}

fn otlp_lines(piece: &[u8]) -> Vec<String> {
    let line = |point: otlp::tests::Flat| {
        let (name, unit, start_ns, time_ns, value, attributes) = point;
        let attributes: Vec<_> = attributes
            .iter()
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        let attributes = attributes.join(", ");
        format!("{name} [{unit}] {{{attributes}}} {value:?} @{start_ns}..{time_ns}")
    };
    otlp::tests::flat(piece).into_iter().map(line).collect()
}

fn sparkplug_lines(piece: &[u8]) -> Vec<String> {
    let payload = sparkplug::Payload::decode(piece).unwrap();
    let mut lines = vec![format!("{:?} {:?}", payload.timestamp, payload.seq)];
    lines.extend(payload.metrics.iter().map(|metric| format!("{metric:?}")));
    lines
}

#[test]
fn every_encoding_reads_as_its_golden_file() {
    let goldens = [
        ("records.ndjson", as_text(&Encoding::Ndjson)),
        ("records.csv", csv::header() + &as_text(&Encoding::Csv)),
        (
            "influxdb.txt",
            as_text(&Encoding::Influxdb(rule_template())),
        ),
        (
            "prometheus.txt",
            as_lines(&Encoding::Prometheus("tidegate".into()), prometheus_lines),
        ),
        ("otlp.txt", as_lines(&Encoding::Otlp, otlp_lines)),
        (
            "sparkplug.txt",
            as_lines(&Encoding::Sparkplug, sparkplug_lines),
        ),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sinks/encoding/golden");
    let mut differing = Vec::new();
    for (name, text) in goldens {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        if golden != text {
            differing.push(format!("{name}:\n{text}"));
        }
    }
    assert!(
        differing.is_empty(),
        "differing from their golden files (UPDATE_GOLDEN=1 rewrites them):\n{}",
        differing.join("\n")
    );
}

#[test]
fn each_kind_of_sink_has_its_encoding() {
    use crate::rules::settings::{FileSettings, Rotation};
    let file = |format| {
        SinkKind::File(FileSettings {
            path: "records".into(),
            format,
            rotation: Rotation::default(),
        })
    };
    assert_eq!(Encoding::of(&file(FileFormat::Csv)), Encoding::Csv);
    assert_eq!(Encoding::of(&file(FileFormat::Parquet)), Encoding::Ndjson);
    assert_eq!(Encoding::of(&SinkKind::Stdout), Encoding::Ndjson);
}
