//! Unknown: why something cannot be known, and how much it can be at most.

use serde::{Deserialize, Serialize};

/// Most samples of one sensor in a frame.
pub const SAMPLES_PER_FRAME: u64 = 255;

/// Something that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Why.
    pub reason: Reason,
    /// How much at most.
    pub bound: Bound,
}

/// How much something can be at most, in the unit in which that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So many samples.
    Samples(u64),
    /// So many frames, each with at most [`SAMPLES_PER_FRAME`] samples of a sensor.
    Frames(u64),
    /// What a device takes in so many µs.
    Us(i64),
    /// There is none.
    None,
}

impl Bound {
    /// The bound of one sensor's samples; `None` when there is none.
    pub fn samples(self) -> Option<u64> {
        match self {
            Self::Samples(samples) => Some(samples),
            Self::Frames(frames) => Some(frames.saturating_mul(SAMPLES_PER_FRAME)),
            Self::Us(_) | Self::None => None,
        }
    }
}

/// Why something is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The device has not sent Totals of the sensor yet.
    NoTotals,
    /// Frames wait on the device, as it said last.
    WaitingOnDevice,
    /// Logged frames wait for their catalog; it says whose samples they hold.
    WaitingForCatalog,
    /// Boots ended without a planned stop: what they took since their last Totals nobody tells.
    UnfinishedBoot,
    /// Frames were evicted that the device's Totals do not count yet.
    UntoldEvictions,
    /// Frames of a boot that is over were evicted; a later boot may have counted them, or none.
    EarlierBoot,
    /// More is counted as evicted than was told as taken: samples of a boot without Totals, or
    /// logged without the device knowing.
    EvictedNotTaken,
    /// Frames that cannot be decoded may hold samples.
    Undecodable,
    /// Rejected samples whose sensor is not known may be these.
    SensorUnknown,
    /// Two devices spoke under one identity: their counts are one another's.
    SharedIdentity,
    /// Counters were lost with a damaged store.
    CountersLost,
    /// The log lost entries that records were derived from.
    LogLost,
}

impl Reason {
    /// The reason in words, to follow "unknown:".
    pub fn words(self) -> &'static str {
        match self {
            Self::NoTotals => "the device has not told yet what it took",
            Self::WaitingOnDevice => "frames wait on the device, as it last said",
            Self::WaitingForCatalog => "logged frames wait for their catalog",
            Self::UnfinishedBoot => {
                "a boot ended unplanned: nobody tells what it took since its last Totals"
            }
            Self::UntoldEvictions => "the device evicted frames that its Totals do not count yet",
            Self::EarlierBoot => {
                "frames of an earlier boot were evicted, which no Totals may have counted"
            }
            Self::EvictedNotTaken => {
                "the device counts more as evicted than it told as taken, or than is missing"
            }
            Self::Undecodable => "frames that cannot be decoded may hold samples",
            Self::SensorUnknown => "rejected samples of unknown sensors may be these",
            Self::SharedIdentity => "two devices spoke under one identity",
            Self::CountersLost => "counters were lost with a damaged store",
            Self::LogLost => "the disk lost entries of the log that records were derived from",
        }
    }
}
