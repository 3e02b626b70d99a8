//! Entries: what the log holds. Everything that can change what the pipeline emits is one.
//!
//! An entry is stored as the postcard of a [`Logged`]. Kinds are added at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::{DeviceName, Incarnation, Mark};

use crate::time::Timestamp;

/// The engine's number: it grows when the same log gives other records.
pub const ENGINE: u32 = 5;

/// An entry with the moment it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Starts of this gateway, counted from 1 (its boot); 0 never occurs.
    pub start: u32,
    /// When the entry was made, on the gateway's clocks.
    pub at: Timestamp,
    /// What happened.
    pub entry: Entry,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// The gateway started: always the first entry of a start.
    Started {
        /// The engine that derives records from here on.
        engine: u32,
        /// Identity of this log; record ids hash it.
        log_incarnation: u32,
        /// Random, in `Welcome`, `Ack` and the gateway topic.
        term: u32,
        /// Site the log belongs to.
        site: String,
    },
    /// The rule set from here on: the JSON of a [`crate::rules::RuleSet`].
    Rules {
        /// JSON text.
        text: String,
    },
    /// The limits that change what the pipeline does, from here on.
    Limits(Limits),
    /// A frame of a device.
    Frame(FrameEntry),
    /// Sequences that will never come.
    Gap(GapEntry),
    /// Something a device's or the gateway's own link said.
    Link(LinkEntry),
    /// The gateway's wall clock jumped or began (or ceased) to be trusted; whether it is, stands
    /// in the entry's own time.
    ClockStep {
        /// Wall clock before, as it would read at the entry's time, in µs.
        before_us: i64,
        /// Wall clock after, in µs.
        after_us: i64,
    },
    /// Something from outside that changes output (budget action, quarantine, registry change).
    Decision {
        /// Which kind of decision.
        kind: String,
        /// Its JSON.
        text: String,
    },
    /// Only says what time it is: a deadline of the pipeline has passed.
    Tick,
    /// Cumulative counts of what was not logged, per device or for the whole gateway.
    Tally {
        /// The device; `None` for what belongs to no admitted device.
        device: Option<DeviceName>,
        /// Count by reason.
        counts: BTreeMap<Uncounted, u64>,
    },
}

/// Limits that change what the pipeline does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Devices admitted.
    pub devices_max: u32,
    /// Batches of one device that wait for their catalog.
    pub pending_catalog_max: u32,
    /// How long a window closed early may still be revised, in µs of arrival time.
    pub revise_for_us: i64,
    /// How long after its link dropped a device's windows are closed, in µs.
    pub offline_close_us: i64,
    /// Longest time that frames wait for the gateway's clock to be trusted, in µs of arrival
    /// time; 0: they never do.
    pub clock_wait_us: i64,
    /// Bytes of frames that wait for it at the same time; beyond, none waits any longer.
    pub clock_hold_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            devices_max: 1_000,
            pending_catalog_max: 4_096,
            revise_for_us: 24 * 3_600 * 1_000_000,
            offline_close_us: 15 * 60 * 1_000_000,
            clock_wait_us: 10 * 60 * 1_000_000,
            clock_hold_bytes_max: 32 << 20,
        }
    }
}

/// A frame of an admitted device whose header and trailer verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameEntry {
    /// Whose.
    pub device: DeviceName,
    /// The key it was opened with; 0 for plain frames.
    pub key_id: u8,
    /// What the session made of it.
    pub verdict: Verdict,
    /// The plain frame, header to trailer.
    pub bytes: Vec<u8>,
}

/// What the session made of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The next sequence of a known pair: goes to the pipeline.
    Next,
    /// Of a pair older than those remembered: kept raw, counted as rejected, acked.
    StaleBoot,
}

/// Sequences of one boot that will never come: the device no longer has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEntry {
    /// Whose.
    pub device: DeviceName,
    /// Of which incarnation.
    pub incarnation: Incarnation,
    /// Of which boot.
    pub boot: u32,
    /// First sequence missing.
    pub from: u32,
    /// Last sequence missing; `u32::MAX` when the boot's end is not known.
    pub through: u32,
    /// Last sequence of them that was acked before: `from..=lost_here` were lost by the
    /// gateway's disk, the rest on the device. 0 when none.
    pub lost_here: u32,
}

/// Something a link said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEntry {
    /// The device; `None` for the gateway's own link to the broker.
    pub device: Option<DeviceName>,
    /// What it said.
    pub change: LinkChange,
}

/// What a link said; written only on change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkChange {
    /// A Hello opened an (incarnation, boot) pair.
    Opened {
        /// The pair's incarnation.
        incarnation: Incarnation,
        /// The pair's boot.
        boot: u32,
        /// Longest time a sample waits on the device, in ms.
        hold_ms: u32,
        /// Whether the device has a clock of its own.
        has_clock: bool,
        /// Firmware name and version.
        firmware: String,
    },
    /// The device's floor and highest ack changed.
    Floor {
        /// The device's incarnation.
        incarnation: Incarnation,
        /// Oldest frame held.
        floor: Mark,
        /// Highest frame acknowledged.
        acked: Mark,
        /// Frames held when it was said.
        held: u32,
    },
    /// The offset of a boot's uptime, learnt from live exchanges (minimum filter), changed.
    Offset {
        /// The device's incarnation.
        incarnation: Incarnation,
        /// The boot.
        boot: u32,
        /// UTC minus uptime in µs.
        offset_us: i64,
    },
    /// The device announced frames waiting beyond its window, or that there are none left.
    Backlog(bool),
    /// The link came up (true) or went down (false).
    Up(bool),
    /// The gateway's subscription to the site's topics stands (true) or fell (false).
    Subscribed(bool),
}

/// Why something was counted without being logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncounted {
    /// Too short for a frame.
    Truncated,
    /// Longer than the largest frame.
    TooLong,
    /// Another version of the format.
    Version,
    /// Flags this version does not know.
    Flags,
    /// A header that cannot be read.
    Header,
    /// A trailer that does not match.
    Trailer,
    /// An unsequenced body that cannot be read, or a message that has no place there.
    Message,
    /// A topic that is not one of this protocol.
    Topic,
    /// A retained message on an up or down topic.
    Retained,
    /// A device beyond `devices_max`.
    DeviceLimit,
    /// A frame of a pair that no Hello opened.
    Unopened,
    /// A sequence beyond the next one; the device resends.
    Ahead,
    /// A frame already logged, with the same content.
    Duplicate,
    /// A frame that its device had said it does not hold: inside a gap already logged as lost, or
    /// of a boot left behind of which nothing came. Another device's, under the same identity.
    AfterGap,
    /// A known identity with other content.
    Conflict,
    /// A frame that came while this gateway stands by.
    Standby,
    /// A frame that came while the store could not take it; the device resends.
    Busy,
    /// A plain frame where only sealed ones are taken.
    Plain,
    /// A frame sealed by a key that this gateway does not know for the device, or no more.
    Key,
    /// A sealed frame that does not open: somebody else's, or changed on its way.
    Forged,
    /// A sealed Hello, Progress or status that is older than one already taken.
    Replayed,
    /// What the broker refused a device because it belongs to another.
    Foreign,
    /// A frame of a device that is throttled; the device resends.
    Throttled,
    /// A frame of a device in quarantine; the device keeps it.
    Quarantined,
    /// A claim by an id that no claim has here.
    ClaimUnknown,
    /// A claim whose tag does not hold: of who does not have the code, or changed on its way.
    ClaimForged,
    /// A claim behind the time of its claim.
    ClaimExpired,
    /// A claim of one device more than its claim is for.
    ClaimUsedUp,
    /// A claim behind the closing of its claim.
    ClaimClosed,
    /// A claim of a name that a device has.
    ClaimTaken,
    /// A claim of a name that does not begin as its claim says.
    ClaimOutside,
    /// A claim that an earlier start of the device had answered: somebody recorded it.
    ClaimReplayed,
    /// A claim more than is carried out at a time; the device says it again.
    ClaimThrottled,
}

impl Uncounted {
    /// Its name in JSON and for people.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        let name = name.as_ref().and_then(serde_json::Value::as_str);
        name.unwrap_or_default().to_owned()
    }
}
