//! Conduct: what the log says of devices that went into quarantine, or came out.
//!
//! The session judges ([`crate::session::Ruling`]); what it ruled is an entry before it takes
//! effect, and the pipeline tells of it upstream: a record of the rule [`RULE`] whose alert opens
//! or clears, with the counts of what the device did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

use crate::entry::Uncounted;
use crate::session::{Ruling, Turn};

/// The kind of these decisions in the log ([`crate::entry::Entry::Decision`]).
pub const KIND: &str = "conduct";
/// The rule of the records that tell of them. Rules of a configuration cannot have the name.
pub const RULE: &str = "tidegate.conduct";

/// What was decided; its JSON is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The device.
    pub device: DeviceName,
    /// What became of it.
    pub turn: Turn,
    /// Whether that is over.
    pub is_over: bool,
    /// How often it did what, since it was free.
    pub why: BTreeMap<Uncounted, u64>,
    /// Until when, UTC in µs; none until somebody releases it.
    pub until_us: Option<i64>,
    /// The sinks that are told.
    pub sinks: Vec<String>,
}

impl Decision {
    /// What a ruling makes the log say.
    pub fn of(ruling: &Ruling, sinks: Vec<String>) -> Self {
        Self {
            device: ruling.device.clone(),
            turn: ruling.turn,
            is_over: ruling.is_over,
            why: ruling.why.clone(),
            until_us: ruling.until_us,
            sinks,
        }
    }

    /// The text of its entry.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a decision holds names and numbers, which are all JSON")
    }
}
