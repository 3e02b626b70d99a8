//! Counters: what became of every sample, by device, sensor and rule, as plain data.
//!
//! Each counter stands on its own; none is found as a difference. Two sums hold at any moment:
//! per sensor, a logged sample is matched by at least one rule or `unmatched`; per rule and
//! sensor, `matched = filtered + late + examined + folded + open`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::Uncounted;

/// Everything the pipeline counts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// By device name.
    pub devices: BTreeMap<String, DeviceCounters>,
    /// What was counted without being logged and belongs to no admitted device.
    pub not_logged: BTreeMap<Uncounted, u64>,
    /// Log entries whose text could not be read (rules); what ran before them kept running.
    pub entries_unreadable: u64,
    /// Log positions whose entries the disk lost.
    pub entries_lost: u64,
    /// Parts of the state that could not be read when the gateway started.
    pub parts_lost: u64,
    /// Times that frames no longer waited for the gateway's clock because `clock.hold_bytes_max`
    /// was reached; the records are marked.
    pub clock_holds_cut_short: u64,
    /// Records that went to no sink because the budget was used up.
    #[serde(default)]
    pub cuts: Cuts,
}

/// What the budget dropped, by sink, rule, device and sensor.
pub type Cuts = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, Cut>>>>;

/// Records of one sensor that the budget dropped on their way to one sink.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Records.
    pub records: u64,
    /// Fresh samples in them.
    pub fresh: u64,
}

/// What one device sent and what became of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCounters {
    /// Logged frames by kind.
    pub frames: BTreeMap<FrameKind, u64>,
    /// Logged frames that could not be used, by reason.
    pub frames_rejected: BTreeMap<Rejection, u64>,
    /// Rejected samples whose sensor is not known, by reason.
    pub samples_rejected: BTreeMap<Rejection, u64>,
    /// Frames that the device lost: evicted before they were logged.
    pub frames_lost_on_device: u64,
    /// Frames that were acked and then lost by the gateway's disk.
    pub frames_lost_here: u64,
    /// Gaps whose end is not known: how many frames they held cannot be said.
    pub gaps_open: u64,
    /// What the device has not told, or nobody will.
    pub doubts: Doubts,
    /// Frames that wait for their catalog or the gateway's clock now.
    pub frames_waiting: u64,
    /// Samples in those frames.
    pub samples_waiting: u64,
    /// Frames taken before the gateway's clock was trusted because too many of the device waited
    /// for it; their records are marked.
    pub frames_not_held: u64,
    /// Windows closed for good before their time because a rule had too many open.
    pub windows_crowded_out: u64,
    /// Epochs begun behind the first one.
    pub epochs: u64,
    /// Times that this device's open windows were lost with a damaged store.
    pub parts_lost: u64,
    /// What was counted without being logged.
    pub not_logged: BTreeMap<Uncounted, u64>,
    /// By sensor name.
    pub sensors: BTreeMap<String, SensorCounters>,
}

/// What of a device's samples cannot be known (yet), with its bounds. A frame holds at most 255
/// samples of a sensor.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubts {
    /// Boots ever seen.
    pub boots: u64,
    /// Frames that the device held and had not brought when it last spoke of them.
    pub frames_awaited: u64,
    /// Boots that are over and ended without a planned stop.
    pub boots_unfinished: u64,
    /// Time in µs, summed over those boots, from their newest Totals to the next boot.
    pub unfinished_us: i64,
    /// Frames evicted by the living boot that its Totals may not count yet.
    pub untold_frames: u64,
    /// Samples logged though evicted, which Totals may not count yet.
    pub untold_samples: u64,
    /// Frames evicted whose samples may be counted under a later boot, or never.
    pub gone_frames: u64,
    /// Samples logged though evicted, of which the same holds.
    pub gone_samples: u64,
}

/// Where one sensor's samples went.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorCounters {
    /// Taken on the device, as its Totals say, over all boots. This and the next three are unknown
    /// until the first Totals came.
    pub taken: Option<u64>,
    /// Held back by the device's gate on purpose.
    pub suppressed: Option<u64>,
    /// Readings that failed and gave no value.
    pub failed: Option<u64>,
    /// Lost on the device with evicted frames; those logged nevertheless are taken off.
    pub evicted: Option<u64>,
    /// Samples logged or rejected behind their boot's newest Totals: taken as well.
    pub beyond: u64,
    /// Samples that the device counted as evicted though their frames were logged.
    pub evicted_but_logged: u64,
    /// Samples logged and usable.
    pub logged: u64,
    /// Samples logged but not usable, by reason.
    pub rejected: BTreeMap<Rejection, u64>,
    /// Of the logged ones, those that no rule matched.
    pub unmatched: u64,
    /// By rule name, over all its versions.
    pub rules: BTreeMap<String, RuleCounters>,
}

/// Where the samples went that one rule matched of one sensor.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCounters {
    /// Samples matched: the sum of all below.
    pub matched: u64,
    /// Filtered, by reason.
    pub filtered: BTreeMap<Filter, u64>,
    /// Came behind their window's final close.
    pub late: u64,
    /// Examined by an alert.
    pub examined: u64,
    /// Stand in emitted records.
    pub folded: u64,
    /// Stand in windows not emitted yet.
    pub open: u64,
    /// Of those folded, the ones whose records went to each sink.
    pub forwarded: BTreeMap<String, u64>,
    /// Of those, the ones in records that stand for all sensors of the device.
    pub forwarded_grouped: BTreeMap<String, u64>,
}

/// The kinds of sequenced frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameKind {
    /// Part of a catalog.
    Catalog,
    /// Samples.
    Batch,
    /// Counts per sensor.
    Totals,
    /// The device's clock.
    Clock,
    /// Something happened on the device.
    Event,
    /// An answer to a command.
    Report,
    /// None that a log should hold, or one that cannot be read.
    Other,
}

/// Why a logged frame or sample was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// The frame's body cannot be read; it is kept raw.
    Undecodable,
    /// The batch's catalog never came, or too many batches waited for theirs.
    NoCatalog,
    /// The catalog has no such sensor, or the device has named too many.
    UnknownSensor,
    /// The device marked the sample as bad.
    BadSample,
    /// The frame belongs to a boot older than those remembered.
    StaleBoot,
    /// The sample's time is before 2000-01-01 or more than a day ahead of the gateway's clock.
    ImplausibleTime,
}

/// Why a rule did not use a sample it matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Outside the rule's `keep` bounds.
    Keep,
    /// Closer to the last kept value than the rule's deadband.
    Deadband,
    /// Further from the last kept value than `keep` allows in the time between.
    Rate,
    /// What the rule derives of it, or its condition, has no value: an input is absent, or there
    /// is no sample before it.
    Undefined,
    /// The rule's condition does not hold.
    When,
    /// Equal to the last value kept.
    OnChange,
    /// Left out by decimation.
    Decimate,
    /// Redrawn to within the rule's largest error by the samples kept.
    MaxError,
}
