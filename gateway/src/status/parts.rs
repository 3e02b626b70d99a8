//! Parts: what each room of a running gateway says of itself, as plain data.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{About, Witnessed};
use crate::budget::Standing;
use crate::conductor::{Condition, Conductor};
use crate::control::Counts;
use crate::http;
use crate::mqtt::LinkCounters;
use crate::mqtt::access::RefusalCounts;
use crate::reload::InForce;
use crate::rules::settings::Settings;
use crate::session::{Held, Pacing};
use crate::sinks;
use crate::sinks::queue::CLASSES;
use crate::store::Store;
use crate::time::Timestamp;

/// Everything a status is composed of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What the core says.
    pub core: CorePart,
    /// What the store says; none when it did not answer in time.
    pub store: Option<StorePart>,
    /// What each sink says, by name.
    pub sinks: BTreeMap<String, sinks::Status>,
    /// How it stands with each witness, by name.
    pub witnesses: BTreeMap<String, Witnessed>,
    /// Whether the link is up, and what it counted.
    pub link: (bool, LinkCounters),
    /// What the broker inside refused, where there is one.
    pub refused: Option<RefusalCounts>,
    /// What the control socket counted, where there is one.
    pub control: Option<Counts>,
    /// What page, API and metrics counted, where they are served.
    pub http: Option<http::Counts>,
    /// Which configuration is in force, where it came from a file.
    pub configuration: Option<InForce>,
}

/// What a gateway was set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Which gateway.
    pub about: About,
    /// `limits.pending_bytes_max`.
    pub pending_bytes_max: u64,
    /// `log.bytes_max`.
    pub log_bytes_max: u64,
    /// Its sinks.
    pub sinks: Vec<SinkSetup>,
}

/// What a sink was set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSetup {
    /// Its name.
    pub name: String,
    /// Most bytes of its queues together, each of which brings `spool_bytes_max`.
    pub spool_bytes_max: u64,
}

impl Setup {
    /// A gateway's setup.
    pub fn new(settings: &Settings, gateway: u64, start: u32) -> Self {
        let sinks = settings.sinks.iter().map(|sink| SinkSetup {
            name: sink.name.clone(),
            spool_bytes_max: sink.spool_bytes_max.saturating_mul(CLASSES.len() as u64),
        });
        Self {
            about: About {
                site: settings.site.to_string(),
                id: format!("{gateway:016x}"),
                start,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            pending_bytes_max: settings.intake.pending_bytes_max as u64,
            log_bytes_max: settings.log.bytes_max,
            sinks: sinks.collect(),
        }
    }
}

/// What the core says: conductor and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorePart {
    /// What keeps it from working as usual.
    pub conditions: Vec<Condition>,
    /// How devices that came back are paced.
    pub pacing: Pacing,
    /// Bytes of frames that wait for their fsync.
    pub pending_bytes: u64,
    /// Devices admitted.
    pub devices: u64,
    /// `limits.devices_max`, as it is in force.
    pub devices_max: u64,
    /// Devices in quarantine, by name.
    pub held: Vec<HeldDevice>,
    /// Where the month's budget stands.
    pub budget: Option<Standing>,
}

/// A device in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDevice {
    /// Its name.
    pub device: String,
    /// How often it did what, by reason; empty where that was before this start of the gateway.
    pub why: BTreeMap<String, u64>,
    /// Until when, UTC in µs; without an end until it is released.
    pub until_us: Option<i64>,
}

impl CorePart {
    /// Of a conductor, now.
    pub fn of(conductor: &Conductor, now: Timestamp) -> Self {
        let session = conductor.session();
        Self {
            conditions: conductor.conditions(),
            pacing: session.pacing(),
            pending_bytes: session.pending_bytes() as u64,
            devices: session.marks().devices().count() as u64,
            devices_max: session.limits().devices_max.into(),
            held: session.held().map(|held| held_device(&held, now)).collect(),
            budget: conductor.budget(now),
        }
    }
}

fn held_device(held: &Held, now: Timestamp) -> HeldDevice {
    let why = held.why.iter();
    HeldDevice {
        device: held.device.to_string(),
        why: why.map(|(reason, count)| (reason.name(), *count)).collect(),
        until_us: held.until_us.map(|until_us| {
            let left_us = until_us.saturating_sub(now.mono_us);
            now.wall_us.saturating_add_unsigned(left_us)
        }),
    }
}

/// What the store says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StorePart {
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// Frames that wait for the clock.
    pub frames_held: u64,
    /// Records that wait and bytes of the queues' files, of each sink.
    pub queues: BTreeMap<String, (u64, u64)>,
    /// Dead letters of each sink that has any.
    pub letters: BTreeMap<String, u64>,
}

impl StorePart {
    /// Of a store, now.
    pub fn of(store: &Store) -> Self {
        let spool = store.spool();
        let spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queues: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (id, sink, _) in spool.queues() {
            if let Ok(backlog) = spool.waiting(id) {
                let (records, bytes) = queues.entry(sink.to_owned()).or_default();
                *records += backlog.records;
                *bytes += backlog.bytes;
            }
        }
        let letters = spool.letters();
        let letters = letters
            .sinks()
            .map(|sink| (sink.to_owned(), letters.count(sink)));
        Self {
            log_bytes: store.log_bytes(),
            frames_held: store.held_frames(),
            queues,
            letters: letters.collect(),
        }
    }
}
