//! Answers: what explain found, as data; their JSON is what `--json` prints.
//!
//! Times are RFC 3339 in UTC. What is unknown is `null`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ledger::counters::Rejection;
use crate::record::{ClockQuality, Value};

/// What became of the sample nearest to a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// The time asked about.
    pub time: String,
    /// Why the fate of a sample at that very time cannot be told; `null` when it can.
    pub unknown: Option<Unknown>,
    /// The nearest sample that is in the log; `null` when there is none.
    pub sample: Option<Sample>,
    /// What each rule that matched did with it.
    pub rules: Vec<Rule>,
    /// What the device counted of this sensor between the Totals before and behind the sample.
    pub around: Option<Around>,
    /// What was lost where the time asked about lies.
    pub lost: Vec<Lost>,
    /// Losses that are not in the list.
    pub lost_more: u64,
    /// Up to which event time the device's newest batch is complete.
    pub complete_until: Option<String>,
    /// Frames of the device that wait for their catalog.
    pub frames_waiting: u64,
    /// Frames of the device that could not be used, by reason, in what was replayed.
    pub frames_rejected: BTreeMap<Rejection, u64>,
    /// What part of the log was replayed.
    pub reach: Reach,
}

/// Why the fate of a sample at the time asked about cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// The log has nothing of this sensor.
    NoSamples,
    /// Frames or entries were lost where it would be.
    Lost,
    /// It may be in frames that wait for their catalog, or could not be used.
    UnusedFrames,
    /// The log does not reach back so far.
    BeforeReach,
    /// Nothing of the device is complete up to there yet.
    NotYet,
}

/// A sample and the frame that brought it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Event time.
    pub time: String,
    /// Event time minus the time asked about, in µs.
    pub distance_us: i64,
    /// Blocks that hold a sample as near; this is of the one folded last.
    pub equally_near: u64,
    /// In its unit; `null` when the device marked it as bad.
    pub value: Option<f64>,
    /// Unit.
    pub unit: String,
    /// As sent.
    pub raw: i64,
    /// The device's epoch.
    pub epoch: u32,
    /// How well its time is known.
    pub clock: ClockQuality,
    /// Uptime when it was taken, in µs.
    pub uptime_us: u64,
    /// Why it could not be used; `null` when it could.
    pub rejected: Option<Rejection>,
    /// The frame.
    pub frame: Frame,
}

/// A frame and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frame {
    /// Incarnation.
    pub incarnation: u32,
    /// Boot.
    pub boot: u32,
    /// Sequence.
    pub sequence: u32,
    /// Block of the sample: the sensor's index in the catalog.
    pub block: u16,
    /// Sample within the block, from 0.
    pub index: u16,
    /// Log position; `null` when the frame waited for its catalog since before the replay began.
    pub position: Option<u64>,
    /// Gateway start that logged it.
    pub start: Option<u32>,
    /// When it was logged, by the gateway's clock.
    pub logged: String,
    /// Whether that clock was to be trusted.
    pub logged_trusted: bool,
    /// Log position of the entry that had it folded.
    pub folded_position: u64,
}

/// What a rule did with the sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Rule.
    pub rule: String,
    /// Its version.
    pub version: u32,
    /// What it did.
    pub fate: Fate,
    /// Why, in words.
    pub why: String,
    /// Window's start.
    pub window_start: Option<String>,
    /// Window's end, exclusive.
    pub window_end: Option<String>,
    /// Records that it stands in, oldest first.
    pub records: Vec<Record>,
}

/// What a rule can do with a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Outside the rule's `keep` bounds.
    FilteredByKeep,
    /// Too close to the last value kept.
    FilteredByDeadband,
    /// Too far from the last value kept.
    FilteredByRate,
    /// What the rule computes of it has no value.
    FilteredAsUndefined,
    /// The rule's condition did not hold.
    FilteredByWhen,
    /// Equal to the last value kept.
    FilteredByOnChange,
    /// Left out by decimation.
    FilteredByDecimate,
    /// Redrawn by the samples that passed.
    FilteredByMaxError,
    /// An alert looked at it.
    Examined,
    /// Behind its window's final close.
    Late,
    /// It stands in a window that has not been emitted since.
    Waiting,
    /// It stands in records of its window.
    Folded,
    /// It became a record of its own.
    Passed,
}

/// A record that the sample stands in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Id.
    pub id: String,
    /// Revision.
    pub revision: u32,
    /// Log position of the entry that caused it.
    pub position: u64,
    /// Order among that entry's records.
    pub ordinal: u32,
    /// Samples it stands for.
    pub samples: u64,
    /// Of those, the ones counted for the first time.
    pub fresh: u64,
    /// Values by name.
    pub values: BTreeMap<String, Number>,
    /// What became of it at each sink.
    pub deliveries: Vec<Delivery>,
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Number {
    /// A count.
    Count(u64),
    /// A number in the sensor's unit.
    Number(f64),
    /// Counts of samples, by the parts of a histogram.
    Counts(Vec<u64>),
}

impl From<Value> for Number {
    fn from(value: Value) -> Self {
        match value {
            Value::Count(count) => Self::Count(count),
            Value::Number(number) => Self::Number(number),
            Value::Counts(counts) => Self::Counts(counts),
        }
    }
}

/// What became of a record at a sink.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delivery {
    /// Sink.
    pub sink: String,
    /// State.
    pub state: State,
    /// When it got there; `null` while it waits, or when unknown.
    pub at: Option<String>,
    /// The batch it left with.
    pub batch: Option<Batch>,
}

/// What can become of a record at a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The sink has it.
    Delivered,
    /// The sink will never take it.
    Refused,
    /// It made room for newer records.
    Evicted,
    /// It never found room in the queue.
    Dropped,
    /// It waits in the queue.
    Waiting,
    /// The files do not show it in the queue yet: the gateway puts it there.
    NotSpooled,
    /// The journal does not reach back so far, or the disk lost it.
    Unknown,
}

/// A batch that left a queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batch {
    /// Index of its first record in the queue.
    pub first: u64,
    /// Index of its last record.
    pub last: u64,
    /// Records that left with it.
    pub records: u64,
    /// Times it was sent.
    pub attempts: u32,
    /// Body bytes before compression, over all attempts.
    pub bytes_before: u64,
    /// Body bytes as sent.
    pub bytes_after: u64,
    /// Header bytes.
    pub header_bytes: u64,
    /// The record's share of body and header bytes as sent, by the stored size of the batch's
    /// records.
    pub share_bytes: u64,
    /// Whether the share is by the number of records instead: not all of them could be derived
    /// again.
    pub share_is_even: bool,
}

/// What the device counted between two Totals of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Around {
    /// Boot.
    pub boot: u32,
    /// Samples taken.
    pub taken: u64,
    /// Held back by the device's gate on purpose.
    pub suppressed: u64,
    /// Readings that failed.
    pub failed: u64,
    /// Lost with frames that the device evicted.
    pub evicted: u64,
}

/// Something lost around the time asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Lost {
    /// Frames of the device that will never come.
    Frames {
        /// Log position of the gap.
        position: u64,
        /// Incarnation.
        incarnation: u32,
        /// Boot.
        boot: u32,
        /// First sequence missing.
        from: u32,
        /// Last one; `null` when the boot's end is not known.
        through: Option<u32>,
        /// Last of them that was acked, and lost by the gateway's disk; the others were lost on
        /// the device.
        lost_by_gateway_through: Option<u32>,
        /// Event time that the batch before is complete to.
        after: Option<String>,
        /// Event time of the first sample behind.
        before: Option<String>,
    },
    /// Entries of the log that the gateway's disk lost; whose they were is unknown.
    Entries {
        /// First position missing.
        from_position: u64,
        /// First position that is there again.
        until_position: u64,
        /// Event time that the device's batch before is complete to.
        after: Option<String>,
        /// Event time of its first sample behind.
        before: Option<String>,
    },
}

impl Lost {
    /// The same between two event times.
    pub(super) fn between(mut self, new_after: Option<String>, new_before: Option<String>) -> Self {
        let (Self::Frames { after, before, .. } | Self::Entries { after, before, .. }) = &mut self;
        (*after, *before) = (new_after, new_before);
        self
    }
}

/// What part of the log was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Position of the first entry.
    pub from_position: u64,
    /// Position behind the last.
    pub until_position: u64,
    /// When the base it began from was written; `null` for the log's first entry.
    pub from_time: Option<String>,
    /// Whether that is before the time asked about.
    pub is_complete: bool,
}
