//! The probe: one marked record through a sink's very transport, from outside the gateway.
//!
//! It says what a batch would meet, without being one: the record's device, sensor and rule are
//! [`PROBE`], its value is 1, its id is drawn. What would disturb a gateway that runs beside it is
//! done under another name: see `aside`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::SinkError;
use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::encoding::Encoding;
use super::queue::Letter;
use super::transport;
use crate::record::{ClockQuality, Record, RecordId, Value};
use crate::rules::Priority;
use crate::rules::settings::{MqttPayload, Rotation, SinkKind, SinkSettings};
use crate::time::Clock;

/// Device, sensor and rule of the record.
pub const PROBE: &str = "tidegate-probe";
/// How much longer than its timeout the attempt may take before it is given up from outside.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

/// What a probe met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The record's id, 32 hexadecimal digits.
    pub id: String,
    /// Its body's bytes before compression.
    pub body_bytes: u64,
    /// What became of it.
    pub answer: Answer,
    /// How long that took, in ms.
    pub took_ms: u64,
}

/// Sends a probe for `site`; `drawn` makes its id and its names unique. Must be called within a
/// tokio runtime.
///
/// # Errors
/// The transport cannot be set up; nothing was sent.
pub async fn probe(
    settings: &SinkSettings,
    site: &str,
    drawn: [u8; 16],
    clock: &Arc<dyn Clock>,
) -> Result<Probed, SinkError> {
    let mark = hex(&drawn[..4]);
    let settings = aside(settings, &mark);
    let mut transport = transport::open(&settings, clock)?;
    let began = clock.now();
    let letter = Letter {
        class: Priority::Normal,
        index: 1,
        record: record(site, drawn, began.wall_us),
    };
    let batch = Arc::new(Batch::of_letter(&letter, &Encoding::of(&settings.kind)));
    let attempt = transport.deliver(&batch);
    let limit = Duration::from_millis(settings.timeout_ms) + TIMEOUT_GRACE;
    let answer = tokio::time::timeout(limit, attempt).await;
    let answer = answer.unwrap_or_else(|_| Answer::unsent("no answer within the timeout".into()));
    let took_us = clock.now().mono_us.saturating_sub(began.mono_us);
    if let SinkKind::File(file) = &settings.kind
        && let Some(folder) = file.path.parent()
    {
        // It was this probe's own; that it cannot be removed is seen where it lies.
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(Probed {
        id: letter.record.id.to_string(),
        body_bytes: batch.body.len() as u64,
        answer,
        took_ms: took_us / 1_000,
    })
}

/// The settings, but for what would disturb a running gateway: a file in a folder of its own beside
/// its file, since two writers tear each other's lines; a client id of its own, since a broker ends the older of two;
/// no retained message; and a Sparkplug edge node of its own, whose death is not the gateway's.
fn aside(settings: &SinkSettings, mark: &str) -> SinkSettings {
    let mut settings = settings.clone();
    match &mut settings.kind {
        SinkKind::File(file) => {
            file.path = beside(&file.path, mark);
            file.rotation = Rotation::default();
        }
        SinkKind::Mqtt(mqtt) => {
            // Short enough for brokers that keep to the 23 signs of MQTT 3.1.1.
            mqtt.client_id = Some(match &mqtt.client_id {
                Some(id) => format!("{id}-probe-{mark}"),
                None => format!("{PROBE}-{mark}"),
            });
            mqtt.retain = false;
            if let MqttPayload::SparkplugB { edge_node, .. } = &mut mqtt.payload {
                edge_node.push_str("-probe");
            }
        }
        _ => {}
    }
    settings
}

fn beside(path: &Path, mark: &str) -> PathBuf {
    let folder = path.with_file_name(format!(".{PROBE}-{mark}"));
    folder.join(path.file_name().unwrap_or_default())
}

fn record(site: &str, id: [u8; 16], now_us: i64) -> Record {
    Record {
        id: RecordId(id),
        site: site.to_owned(),
        device: PROBE.to_owned(),
        sensor: PROBE.to_owned(),
        unit: String::new(),
        rule: PROBE.to_owned(),
        version: 1,
        epoch: 0,
        start_us: now_us,
        end_us: now_us,
        revision: 0,
        samples: 1,
        fresh: 1,
        clock: ClockQuality::Untrusted,
        partial: false,
        alert: None,
        values: vec![("value".to_owned(), Value::Number(1.0))],
        note: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Probed {
    /// Whether the sink took it.
    pub fn is_taken(&self) -> bool {
        self.answer.outcome == Outcome::Confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::settings::{MqttSinkSettings, MqttVersion};
    use crate::time::SystemClock;

    #[tokio::test]
    async fn a_file_is_probed_beside_itself_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.ndjson");
        std::fs::write(&path, "a line that is being wri").unwrap();
        let settings = SinkSettings::new("local", SinkKind::file(&path));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let probed = probe(&settings, "plant", [7; 16], &clock).await;
        let probed = probed.unwrap();
        assert!(probed.is_taken(), "{probed:?}");
        assert_eq!(probed.id, "07".repeat(16));
        assert_eq!(probed.answer.sent_bytes, probed.body_bytes);
        let left = std::fs::read_to_string(&path).unwrap();
        assert_eq!(left, "a line that is being wri");
        let names = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 1, "the probe's file is left behind");
    }

    #[test]
    fn a_broker_keeps_the_gateway_that_is_connected() {
        let mqtt = |client_id: Option<&str>| MqttSinkSettings {
            host: "broker".into(),
            port: 1883,
            tls: None,
            version: MqttVersion::V5,
            client_id: client_id.map(str::to_owned),
            credentials: None,
            payload: MqttPayload::SparkplugB {
                group: "plant".into(),
                edge_node: "tidegate".into(),
            },
            retain: true,
        };
        for (id, probed) in [
            (None, "tidegate-probe-0c0ffee0"),
            (Some("gw"), "gw-probe-0c0ffee0"),
        ] {
            let settings = SinkSettings::new("mqtt", SinkKind::Mqtt(mqtt(id)));
            let SinkKind::Mqtt(aside) = aside(&settings, "0c0ffee0").kind else {
                panic!("another kind");
            };
            assert_eq!(aside.client_id.as_deref(), Some(probed));
            assert!(!aside.retain);
            let MqttPayload::SparkplugB { edge_node, .. } = aside.payload else {
                panic!("another payload");
            };
            assert_eq!(edge_node, "tidegate-probe");
        }
    }
}
