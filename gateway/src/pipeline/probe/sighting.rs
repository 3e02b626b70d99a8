//! Sightings: a sample as the probe saw it, and what was done with it there.

use crate::ledger::counters::{Filter, Rejection};
use crate::record::id::SampleIdentity;
use crate::record::{ClockQuality, RecordId};
use crate::time::Timestamp;

/// A sample and what was done with it when its frame was folded.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// When its frame was logged.
    pub at: Timestamp,
    /// Its place on the wire, and its event time.
    pub identity: SampleIdentity,
    /// The device's uptime when it was taken, in µs.
    pub uptime_us: u64,
    /// As sent.
    pub raw: i64,
    /// In its unit; `None` for a sample that the device marked as bad.
    pub value: Option<f64>,
    /// Unit; empty for plain numbers.
    pub unit: String,
    /// The device's epoch.
    pub epoch: u32,
    /// How well its time is known.
    pub clock: ClockQuality,
    /// The device's watermark before the frame.
    pub watermark_us: Option<i64>,
    /// What became of it there.
    pub fate: SampleFate,
}

/// What became of a sample when it was folded.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleFate {
    /// It cannot be used.
    Rejected(Rejection),
    /// What each rule that matched did with it; none when no rule did.
    Ruled(Vec<Verdict>),
}

/// What a rule did with a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The rule.
    pub rule: String,
    /// Its version.
    pub version: u32,
    /// Start and end of the window, if the rule has any.
    pub window: Option<(i64, i64)>,
    /// How far beyond its end the window stays open, in µs.
    pub lateness_us: i64,
    /// What it did.
    pub ruling: Ruling,
}

/// What a rule can do with a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// Outside its `keep` bounds.
    OutOfBounds {
        /// Lowest value kept.
        min: Option<f64>,
        /// Highest value kept.
        max: Option<f64>,
    },
    /// Too close to the last value kept.
    Deadband {
        /// That value.
        last: Option<f64>,
        /// How far it had to be.
        deadband: Option<f64>,
    },
    /// Filtered by another step.
    Filtered(Filter),
    /// An alert looked at it; what it told then.
    Examined(Vec<RecordId>),
    /// Its window takes no more.
    Late(Lateness),
    /// It becomes a record of its own: at once, or when a swinging door lets it.
    Passed(Vec<RecordId>),
    /// It stands in its window.
    Folded {
        /// Records of this window that the same entry caused before: it is not in these.
        before: Vec<RecordId>,
    },
}

/// Why a window takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// The watermark had passed its end + lateness.
    Watermark,
    /// It was closed early, and the rule drops what comes behind.
    ClosedEarly,
    /// Its time for revisions was over, or it was crowded out.
    Final,
}
