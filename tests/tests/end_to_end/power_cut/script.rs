//! The script: how long it is, what the rules are, and how small files and budgets are, so that
//! a run of a second's work rolls, recycles and evicts.

use tidegate_gateway::rules;
use tidegate_gateway::rules::settings::{LogSettings, Settings};

/// Devices.
pub const METERS: usize = 2;
/// Sensors of each.
pub const SENSORS: [&str; 2] = ["pressure", "vibration"];
/// Rows of samples that each device takes: 22 windows of a minute, and a half.
pub const ROWS: u64 = 225;
/// Time between rows, in µs.
pub const ROW_US: u64 = 6_000_000;
/// At this row the first device is stopped, in the middle of a window, and started again: the
/// window is closed by the stop and revised by the samples that follow.
pub const REBOOT_ROW: u64 = 75;
/// From and to these rows of the last device the small sink takes a request and does not answer.
pub const STALL_ROWS: std::ops::Range<u64> = 50..185;
/// At this row of the last device the gateway is stopped cleanly and started again.
pub const RESTART_ROW: u64 = 125;
/// UTC of the first row, in µs: 2025-12-31T00:00:00Z.
pub const FIRST_ROW_UTC_US: i64 = 1_767_139_200_000_000;
/// What the gateway's wall clock shows when the world begins.
pub const WALL_US: i64 = FIRST_ROW_UTC_US + 3_600_000_000;

/// The sink with room for everything.
pub const ROOMY: &str = "archive";
/// The sink with little room, that stalls.
pub const SMALL: &str = "cloud";
/// The rule that all samples match.
pub const MINUTE: &str = "minute";

const CONFIGURATION: &str = r#"
[gateway]
site = "pump-house"
[mqtt]
url = "mqtt://127.0.0.1:1883"
[sink.archive]
type = "file"
path = "records.ndjson"
[sink.cloud]
type = "file"
path = "others.ndjson"
batch_records_max = 9
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s" }
aggregate = ["count", "min", "max", "mean"]
forward = ["archive", "cloud"]
[[rule]]
name = "spike"
match = { sensor = "vibration" }
keep = { min = 88 }
priority = "low"
forward = ["archive", "cloud"]
"#;

/// The configuration as it runs. The log's and the spool's sizes are below what a file may say.
pub fn settings() -> Settings {
    let (mut settings, _) =
        rules::parse(CONFIGURATION, "tidegate.toml").expect("the configuration has no mistakes");
    settings.log = LogSettings {
        commit_ms: 150,
        segment_bytes: 2 << 10,
        bytes_max: 24 << 10,
    };
    for sink in &mut settings.sinks {
        sink.spool_bytes_max = if sink.name == SMALL {
            6 << 10
        } else {
            48 << 10
        };
    }
    settings
}
