//! Plant: what a person wants to see of a running gateway, at a glance and in detail, as plain data.
//!
//! The page, the API, the metrics and the terminal all show these types, and nothing that is not
//! in them: what one of them says, the others say too.
//!
//! ```text
//! pipeline (state) ─┐
//! spool, bill ──────┤
//! status ───────────┼─▶ compose ─▶ overview, devices, chart ─▶ http, control ─▶ page, top, API
//! recent samples ───┘
//! ```
//! Terms: *health* ([`health`]) says how a device or sensor does, by what its frames say and by when they came;
//! the *trend* of a sensor compares its newest samples with those before them; a *chart* is a
//! sensor's recent samples with the records made of them.
//!
//! Invariants: what is not known is absent, never 0; a question costs at most what its selection
//! allows, however large the plant is.

pub mod compose;
pub mod health;
pub mod message;
pub mod trend;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{AlertCause, ClockQuality};
use crate::spool::bill::{Cost, Month};
use crate::status::Status;

/// Devices in an answer where nobody says how many.
pub const DEVICES_DEFAULT: usize = 200;
/// Most devices in an answer.
pub const DEVICES_MAX: usize = 500;
/// Most open alerts in an overview; how many there are is said beside them.
pub const ALERTS_MAX: usize = 200;
/// Most values of a sensor's spark line.
pub const SPARK_MAX: usize = 24;

/// The gateway and its plant without the devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// When this was so, RFC 3339, by the gateway's clock.
    pub at: String,
    /// What `tidegate status` says: states, sinks with backlog and last error, link, limits, budget.
    pub status: Status,
    /// What went in and out.
    pub flow: Flow,
    /// Devices by health.
    pub devices: BTreeMap<Health, u64>,
    /// Each rule in force, in the order of the configuration.
    pub rules: Vec<Rule>,
    /// Alerts that are open, newest first, at most [`ALERTS_MAX`].
    pub alerts: Vec<Alert>,
    /// How many are open.
    pub alerts_open: u64,
    /// Whether the books balance.
    pub ledger: Books,
    /// This month's bill; absent while the month is not known.
    pub bill: Option<MonthSum>,
}

/// What went in and what went out, since the log began.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Samples logged.
    pub samples: u64,
    /// What these would be as one JSON message each, in bytes.
    pub samples_as_json_bytes: u64,
    /// Bytes of frames received since the gateway's start.
    pub received_bytes: u64,
    /// Records delivered.
    pub records: u64,
    /// Bytes sent upstream for them, an estimate as its framing is.
    pub sent_bytes: u64,
}

/// How a device or a sensor does.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Its samples come in time.
    Live,
    /// Frames come, but of a time that is over: a backlog is being sent, or frames wait.
    Late,
    /// Nothing came for longer than it should take, or its link is down.
    Silent,
    /// Of a sensor: its device lives and holds its samples back on purpose.
    Suppressed,
    /// Of a device that ended as planned.
    Ended,
    /// Nothing of it was seen yet, or the gateway is away from its broker and cannot tell.
    #[default]
    Unknown,
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Which sinks its records go to.
    pub forward: Vec<String>,
    /// Samples that it matched.
    pub samples: u64,
    /// Samples that it filtered out, or that came late.
    pub left_out: u64,
    /// Records delivered, over its sinks.
    pub records: u64,
    /// Records that wait for a sink.
    pub waiting: u64,
    /// What was sent for it this month; absent while the month is not known.
    pub sent: Option<Cost>,
    /// Bytes on the wire since the log began, an estimate as their framing is.
    pub sent_bytes: u64,
    /// How much less that is than one JSON message for each sample that it matched, in percent;
    /// absent before something was sent. Negative where it is more.
    pub savings_percent: Option<f64>,
    /// Its alerts that are open.
    pub alerts_open: u64,
}

/// An open alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its rule.
    pub rule: String,
    /// Its device; `*` for all devices.
    pub device: String,
    /// Its sensor; `*` for all sensors of the device.
    pub sensor: String,
    /// What it watches.
    pub cause: AlertCause,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whether what opened it was old when it arrived.
    pub historic: bool,
    /// The sensor's newest value, where one is known.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
}

/// Whether the books balance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Whether every sample is where a counter says.
    pub balanced: bool,
    /// Whether something cannot be known; `tidegate ledger` says what, and its bound.
    pub unknown: bool,
    /// Samples logged.
    pub logged: i64,
    /// Of these, samples that no rule matched.
    pub unmatched: i64,
    /// Samples in records that a sink confirmed, over all sinks.
    pub delivered: i64,
    /// Samples in records that wait for a sink, over all sinks.
    pub waiting: i64,
}

/// What a month cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonthSum {
    /// Which.
    pub month: Month,
    /// Something sent in it may be missing: what is here is a lower bound.
    pub gap: bool,
    /// By sink.
    pub sinks: BTreeMap<String, Cost>,
}

/// Which devices are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only devices whose name matches this glob.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// Only devices of this health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// So many of them are passed over.
    #[serde(default)]
    pub offset: usize,
    /// At most so many are told; [`DEVICES_MAX`] at most.
    #[serde(default = "devices_default")]
    pub limit: usize,
}

fn devices_default() -> usize {
    DEVICES_DEFAULT
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            glob: None,
            health: None,
            offset: 0,
            limit: DEVICES_DEFAULT,
        }
    }
}

/// Devices, by name.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    /// How many match the selection.
    pub total: u64,
    /// How many of these were passed over.
    pub offset: u64,
    /// Those told.
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// How it does.
    pub health: Health,
    /// Why, in words, where it is not live.
    pub why: Option<String>,
    /// When its newest frame was logged, RFC 3339; absent before the first, where the gateway's
    /// clock was not to be trusted, and where that was before the start that the newest base is of.
    pub heard: Option<String>,
    /// Whether its link is down.
    pub is_down: bool,
    /// Since when, RFC 3339; absent where `heard` would be, too. `why` says how long.
    pub down_since: Option<String>,
    /// Whether it said that frames wait beyond those in flight.
    pub backlog: bool,
    /// Frames that wait here, for a catalog or for the gateway's clock.
    pub frames_waiting: u64,
    /// How well its times are known; absent before the first batch.
    pub clock: Option<ClockQuality>,
    /// Its epoch, from 0.
    pub epoch: u32,
    /// Its sensors, in the order of its catalog.
    pub sensors: Vec<Sensor>,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensor {
    /// Its name.
    pub name: String,
    /// The unit of its values.
    pub unit: String,
    /// How it does.
    pub health: Health,
    /// Its newest value; absent before the first of its epoch.
    pub value: Option<f64>,
    /// When that was taken, RFC 3339.
    pub time: Option<String>,
    /// Where its values go; absent while too few are known.
    pub trend: Option<Trend>,
    /// Its recent values, oldest first, at most [`SPARK_MAX`].
    pub spark: Vec<f64>,
    /// Samples logged.
    pub logged: u64,
    /// Samples held back by the device on purpose; absent before it said.
    pub suppressed: Option<u64>,
    /// Samples logged that could not be used.
    pub rejected: u64,
    /// Its alerts that are open.
    pub alerts_open: u64,
}

/// Where values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trend {
    /// Up.
    Rising,
    /// Neither.
    Steady,
    /// Down.
    Falling,
}

/// A sensor's recent samples, and the records made of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// Unit of the values.
    pub unit: String,
    /// Samples, oldest first: event time, UTC in µs, and value.
    pub samples: Vec<(i64, f64)>,
    /// Records with a number that can be drawn, oldest first.
    pub bars: Vec<Bar>,
}

/// A record as a chart draws it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Rule that made it.
    pub rule: String,
    /// Window's start, UTC in µs.
    pub start_us: i64,
    /// Window's end, UTC in µs.
    pub end_us: i64,
    /// The number in the middle: mean, p50, last or the like.
    pub middle: f64,
    /// The lowest, where the record has `min`.
    pub low: Option<f64>,
    /// The highest, where the record has `max`.
    pub high: Option<f64>,
    /// What the record tells of an alert, if it is one's.
    pub alert: Option<crate::record::AlertState>,
}

/// Which samples and records a tap lets through: what is absent lets all.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapFilter {
    /// Only devices whose name matches this glob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Only sensors whose name matches this glob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<String>,
    /// Only records of this rule, and no samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Something that flowed by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passing {
    /// A sample that was logged and can be used.
    Sample {
        /// Device.
        device: String,
        /// Sensor.
        sensor: String,
        /// Unit.
        unit: String,
        /// When it was taken, RFC 3339.
        time: String,
        /// Its value.
        value: f64,
    },
    /// A record as sinks get it.
    Record(serde_json::Value),
    /// So many flowed by unseen, because whoever watches was too slow.
    Missed(u64),
}

/// What shows a plant asks of a running gateway; none when it is too busy to answer, or stopping.
pub trait Source: Send + Sync + 'static {
    /// The gateway and its plant without the devices.
    fn overview(&self) -> impl Future<Output = Option<Overview>> + Send;
    /// Devices with their sensors.
    fn devices(&self, selection: Selection) -> impl Future<Output = Option<Devices>> + Send;
    /// A sensor's chart; `Some(None)` where there is no such device or sensor. From then on the
    /// gateway keeps more of its samples.
    fn chart(
        &self,
        device: String,
        sensor: String,
    ) -> impl Future<Output = Option<Option<Chart>>> + Send;
    /// The whole ledger as JSON.
    fn ledger(&self) -> impl Future<Output = Option<serde_json::Value>> + Send;
    /// The bill, month by month.
    fn bill(&self) -> impl Future<Output = Option<crate::budget::Billed>> + Send;
    /// What keeps the gateway from working as usual.
    fn status(&self) -> impl Future<Output = Option<Status>> + Send;
}
