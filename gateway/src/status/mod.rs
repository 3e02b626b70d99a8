//! Status: what a running gateway is doing, what keeps it from working as usual, and how near it
//! is to its limits.
//!
//! Terms: a *state* is something that keeps the gateway from working as usual, entered and left by
//! itself; *parts* are what the core, the store, the sinks and the link each say of themselves.
//!
//! ```text
//! conductor ─┐
//! store ─────┤
//! sinks ─────┼─▶ parts ─compose─▶ status ─▶ JSON, text
//! link ──────┘
//! ```
//! Invariants: what could not be asked in time is absent, never 0; states stand in the order of
//! how much of the data's way they block.

mod compose;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compose::compose;
pub use parts::{CorePart, HeldDevice, Parts, Setup, SinkSetup, StorePart};

use crate::audit::asking::Witnessed;
use crate::budget::Standing;
use crate::control::Counts;
use crate::http;
use crate::mqtt::LinkCounters;
use crate::mqtt::access::RefusalCounts;
use crate::reload::InForce;
use crate::sinks;

/// A state that is no trouble of the gateway: it works as usual with dead letters.
pub const DEAD_LETTERS: &str = "sink-dead-letters";
/// The other one: it works as usual while it holds devices in quarantine.
pub const DEVICES_HELD: &str = "devices-held";

/// And the third: it works as usual while a witness refuses to cosign its audit log.
pub const WITNESS_REFUSES: &str = "witness-refuses";

/// What a gateway is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which gateway.
    pub gateway: About,
    /// Whether no state but [`DEAD_LETTERS`], [`DEVICES_HELD`] and [`WITNESS_REFUSES`] holds.
    pub works_as_usual: bool,
    /// What keeps it from that, then what waits for a person.
    pub states: Vec<State>,
    /// Each sink by name.
    pub sinks: BTreeMap<String, Sink>,
    /// How it stands with each witness of the audit log, by name.
    #[serde(default)]
    pub witnesses: BTreeMap<String, Witnessed>,
    /// Devices and their turns.
    pub devices: Devices,
    /// The link to the broker.
    pub link: Link,
    /// What the broker inside refused; absent with a broker of one's own.
    #[serde(default)]
    pub refused: Option<RefusalCounts>,
    /// The control socket; absent when the gateway could not open it.
    pub control: Option<Counts>,
    /// Page, API and metrics; absent where they are not served.
    #[serde(default)]
    pub http: Option<http::Counts>,
    /// Which configuration is in force; absent where it came from no file.
    #[serde(default)]
    pub configuration: Option<InForce>,
    /// Where the month's budget stands; absent without one, or while the month is not known.
    #[serde(default)]
    pub budget: Option<Standing>,
    /// Limits that fill up, used and most.
    pub limits: Vec<Limit>,
}

/// Which gateway.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its site.
    pub site: String,
    /// Its id, 16 hex digits.
    pub id: String,
    /// How often it has been started, this time included.
    pub start: u32,
    /// Its version.
    pub version: String,
}

/// Something that keeps the gateway from working as usual, or waits for a person.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What it is called: `log-failing`, `spool-failing`, `standby`, `unsubscribed`,
    /// `clock-untrusted`, `sink-circuit-open`, `sink-spool-failing`, `sink-dead-letters`,
    /// `devices-held` or `witness-refuses`.
    pub name: String,
    /// Of a disk, the kind of trouble: `disk-full`, `read-only` or `disk-failing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Which sink, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Since when by the gateway's clock, RFC 3339; absent where that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The error and its causes, or the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it means for the data.
    pub meaning: String,
}

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sink {
    /// What its delivery says; `records_waiting` as the spool counts it, where it could be asked.
    #[serde(flatten)]
    pub delivery: sinks::Status,
    /// Bytes of its queues' files; unknown when the store was busy.
    pub spool_bytes: Option<u64>,
}

/// Devices and how their return is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// Devices admitted.
    pub admitted: u64,
    /// Devices that have a turn to send what they kept.
    pub turns: u64,
    /// Devices that were asked to wait and have not all sent.
    pub paused: u64,
    /// Bytes that turns may have in flight.
    pub budget_bytes: u64,
    /// Pauses asked for since the gateway's start.
    pub pauses: u64,
    /// Frames that wait for the gateway's clock; unknown when the store was busy.
    pub frames_held: Option<u64>,
}

/// The link to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether it is connected and subscribed.
    pub up: bool,
    /// What it counted since the start.
    #[serde(flatten)]
    pub counters: LinkCounters,
}

/// A limit that fills up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its key in the configuration.
    pub key: String,
    /// How much is used; unknown when the store was busy.
    pub used: Option<u64>,
    /// Most that may be.
    pub most: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Devices.
    Devices,
}
