//! Marks: what the session must remember across restarts, folded from the log.
//!
//! A mark is what the log holds of a device: its pairs and what was last written about its link.
//! Two folds of the same entries are equal, and a snapshot followed by the entries behind it
//! equals the fold of all of them; a gateway starts from that.
//!
//! - A device has at most [`PAIRS_MAX`] pairs. Opening another forgets, in this order: one of
//!   which nothing was logged, the oldest of another incarnation, the lowest boot. Never the one
//!   the device lives in.
//! - A forgotten pair of which something was logged raises its incarnation's floor; what comes of
//!   it later is stale. Floors are kept for the newest [`FLOORS_MAX`] incarnations.
//! - Of stale pairs, [`STALE_MAX`] are remembered by their last sequence, so that resends of a
//!   stale frame are not logged each time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::body::Reader;
use tidegate_shared::frame::{self, TRAILER_BYTES};
use tidegate_shared::ids::{Check, DeviceName, Incarnation, Mark};
use tidegate_shared::message::{EventCode, Up, up};

use super::pair::{Pair, Standing};
use crate::entry::{
    Entry, FrameEntry, GapEntry, LinkChange, LinkEntry, Logged, Uncounted, Verdict,
};

/// Pairs of one device whose sequences are remembered.
pub const PAIRS_MAX: usize = 8;
/// Incarnations of one device whose forgotten boots are remembered by the highest. A device
/// without a store draws one per start, and nothing of the earlier ones is ever sent again.
pub const FLOORS_MAX: usize = 32;
/// Stale pairs of one device whose last logged sequence is remembered.
pub const STALE_MAX: usize = 8;
/// Version of a snapshot's parts.
const PART_VERSION: u8 = 1;
/// Whose part holds what belongs to no device: a name that no device may have.
const GATEWAY_PART: &str = "gateway";

/// Counts by reason.
pub type Counts = BTreeMap<Uncounted, u64>;

/// A part of a snapshot that cannot be read; its device starts as an unknown one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the session marks of {part} cannot be read: frames it resends may be logged twice; \
     keep a copy of the data directory if you want to find out why"
)]
pub struct PartUnreadable {
    /// Whose part.
    pub part: DeviceName,
}

/// What the log says about every device and about the gateway's own link.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Marks {
    pub(super) devices: BTreeMap<DeviceName, DeviceMarks>,
    pub(super) gateway: GatewayMarks,
}

/// What was last written about the gateway itself.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GatewayMarks {
    pub subscribed: bool,
    pub tally: Counts,
}

/// What the log says about one device.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeviceMarks {
    /// In order of opening.
    pairs: Vec<Pair>,
    /// Highest forgotten boot by incarnation, newest last.
    floors: Vec<(Incarnation, u32)>,
    /// Newest last.
    stale: Vec<StaleMark>,
    /// The pair the device lives in.
    pub current: Option<(Incarnation, u32)>,
    pub hold_ms: u32,
    pub has_clock: bool,
    pub firmware: String,
    pub floor: Option<FloorMark>,
    pub offset: Option<OffsetMark>,
    pub backlog: bool,
    pub up: bool,
    pub tally: Counts,
}

/// How far a forgotten pair was logged as stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StaleMark {
    pub incarnation: Incarnation,
    pub boot: u32,
    pub through: u32,
    pub check: Check,
}

/// The floor and highest ack last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FloorMark {
    pub incarnation: Incarnation,
    pub floor: Mark,
    pub acked: Mark,
}

/// The offset last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OffsetMark {
    pub incarnation: Incarnation,
    pub boot: u32,
    pub offset_us: i64,
    /// Whether the gateway's clock was trusted then.
    pub trusted: bool,
}

/// What a pair is to a device.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'m> {
    /// Remembered.
    Pair(&'m Pair),
    /// A boot between the announced floor and the one the device lives in, of which nothing
    /// came yet.
    Openable,
    /// Forgotten: newer ones took its place.
    Stale(Option<&'m StaleMark>),
    /// No Hello spoke of it.
    Unopened,
}

impl Marks {
    /// Folds one entry of the log, in order.
    pub fn apply(&mut self, logged: &Logged) {
        self.fold(&logged.entry, logged.at.wall_trusted);
    }

    /// Devices known.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceName> {
        self.devices.keys()
    }

    /// The highest sequence of a boot that is accounted for; `None` for one not remembered.
    pub fn through(&self, device: &DeviceName, incarnation: Incarnation, boot: u32) -> Option<u32> {
        let pair = self.devices.get(device)?.pair(incarnation, boot)?;
        Some(pair.through())
    }

    /// One part per device, and one for the gateway under the name that no device may have.
    pub fn snapshot(&self) -> Vec<(DeviceName, Vec<u8>)> {
        let gateway = DeviceName::try_from(GATEWAY_PART).map(|name| (name, part(&self.gateway)));
        let devices = self.devices.iter();
        let devices = devices.map(|(name, device)| (name.clone(), part(device)));
        gateway.into_iter().chain(devices).collect()
    }

    /// Reads a snapshot, and says which of its parts cannot be read.
    pub fn restore<B: AsRef<[u8]>>(
        parts: impl IntoIterator<Item = (DeviceName, B)>,
    ) -> (Self, Vec<PartUnreadable>) {
        let mut marks = Self::default();
        let mut unreadable = Vec::new();
        for (name, bytes) in parts {
            let bytes = bytes.as_ref();
            let read = if name.as_str() == GATEWAY_PART {
                read_part(bytes).map(|gateway| marks.gateway = gateway)
            } else {
                read_part(bytes).map(|device| {
                    marks.devices.insert(name.clone(), device);
                })
            };
            if read.is_none() {
                unreadable.push(PartUnreadable { part: name });
            }
        }
        (marks, unreadable)
    }

    /// Folds an entry made while the gateway's clock was trusted, or not.
    pub(super) fn fold(&mut self, entry: &Entry, wall_trusted: bool) {
        match entry {
            Entry::Started { .. } => self.gateway.subscribed = false,
            Entry::Frame(frame) => self.device(&frame.device).frame(frame),
            Entry::Gap(gap) => self.device(&gap.device).gap(gap),
            Entry::Link(LinkEntry { device, change }) => match device {
                Some(device) => self.device(device).link(change, wall_trusted),
                None => {
                    if let LinkChange::Subscribed(subscribed) = change {
                        self.gateway.subscribed = *subscribed;
                    }
                }
            },
            Entry::Tally { device, counts } => match device {
                Some(device) => self.device(device).tally.clone_from(counts),
                None => self.gateway.tally.clone_from(counts),
            },
            Entry::Rules { .. }
            | Entry::Limits(_)
            | Entry::ClockStep { .. }
            | Entry::Decision { .. }
            | Entry::Tick => {}
        }
    }

    fn device(&mut self, name: &DeviceName) -> &mut DeviceMarks {
        self.devices.entry(name.clone()).or_default()
    }
}

impl DeviceMarks {
    /// The remembered pair, if it is.
    pub fn pair(&self, incarnation: Incarnation, boot: u32) -> Option<&Pair> {
        let is_it = |pair: &&Pair| pair.incarnation == incarnation && pair.boot == boot;
        self.pairs.iter().rev().find(is_it)
    }

    /// All remembered pairs, in order of opening.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Whether the device lives in a later boot of the same incarnation.
    pub fn is_past(&self, incarnation: Incarnation, boot: u32) -> bool {
        let current = self.current;
        current.is_some_and(|(lives, newest)| lives == incarnation && boot < newest)
    }

    /// What a pair is to this device.
    pub fn place(&self, incarnation: Incarnation, boot: u32) -> Place<'_> {
        if let Some(pair) = self.pair(incarnation, boot) {
            return Place::Pair(pair);
        }
        if self.is_stale(incarnation, boot) {
            let is_it = |mark: &&StaleMark| mark.incarnation == incarnation && mark.boot == boot;
            return Place::Stale(self.stale.iter().rev().find(is_it));
        }
        let announced = self.floor.is_some_and(|mark| {
            mark.incarnation == incarnation
                && mark.floor.boot <= boot
                && self
                    .current
                    .is_some_and(|(lives, until)| lives == incarnation && boot <= until)
        });
        if announced {
            Place::Openable
        } else {
            Place::Unopened
        }
    }

    /// What a frame of a forgotten pair is. Its sequences begin where the device's floor is: what
    /// lies below is no longer held, and what lies beyond would, acked, take with it what is.
    pub fn stale_standing(
        &self,
        stale: Option<&StaleMark>,
        incarnation: Incarnation,
        mark: Mark,
    ) -> Standing {
        let floor = self.floor.filter(|said| said.incarnation == incarnation);
        let held_from = floor.and_then(|said| match said.floor.boot.cmp(&mark.boot) {
            Ordering::Less => Some(1),
            Ordering::Equal => Some(said.floor.sequence),
            Ordering::Greater => None,
        });
        let next = stale.map(|stale| stale.through.saturating_add(1));
        if next.is_some_and(|next| mark.sequence < next) {
            Standing::Duplicate
        } else if next.max(held_from).is_some_and(|last| mark.sequence > last) {
            Standing::Ahead
        } else {
            Standing::Next
        }
    }

    fn is_stale(&self, incarnation: Incarnation, boot: u32) -> bool {
        let below = |&(of, highest): &(Incarnation, u32)| of == incarnation && boot <= highest;
        self.floors.iter().any(below)
    }

    fn frame(&mut self, entry: &FrameEntry) {
        let Some(identity) = Identity::read(&entry.bytes) else {
            return;
        };
        match entry.verdict {
            Verdict::Next => {
                let pair = self.open(identity.incarnation, identity.mark.boot);
                pair.take(identity.mark.sequence, identity.check);
                pair.ended = is_ended(&entry.bytes);
            }
            Verdict::StaleBoot => self.stale(&identity),
        }
    }

    fn gap(&mut self, gap: &GapEntry) {
        self.open(gap.incarnation, gap.boot).skip(gap.through);
    }

    fn link(&mut self, change: &LinkChange, trusted: bool) {
        match change {
            LinkChange::Opened {
                incarnation,
                boot,
                hold_ms,
                has_clock,
                firmware,
            } => {
                self.current = Some((*incarnation, *boot));
                self.open(*incarnation, *boot);
                self.hold_ms = *hold_ms;
                self.has_clock = *has_clock;
                self.firmware.clone_from(firmware);
            }
            LinkChange::Floor {
                incarnation,
                floor,
                acked,
                held: _,
            } => {
                self.floor = Some(FloorMark {
                    incarnation: *incarnation,
                    floor: *floor,
                    acked: *acked,
                });
            }
            LinkChange::Offset {
                incarnation,
                boot,
                offset_us,
            } => {
                self.offset = Some(OffsetMark {
                    incarnation: *incarnation,
                    boot: *boot,
                    offset_us: *offset_us,
                    trusted,
                });
            }
            LinkChange::Backlog(backlog) => self.backlog = *backlog,
            LinkChange::Up(up) => self.up = *up,
            LinkChange::Subscribed(_) => {}
        }
    }

    fn stale(&mut self, identity: &Identity) {
        let (incarnation, boot) = (identity.incarnation, identity.mark.boot);
        self.stale
            .retain(|mark| (mark.incarnation, mark.boot) != (incarnation, boot));
        if self.stale.len() == STALE_MAX {
            self.stale.remove(0);
        }
        self.stale.push(StaleMark {
            incarnation,
            boot,
            through: identity.mark.sequence,
            check: identity.check,
        });
    }

    /// The pair, opened if it is not remembered.
    fn open(&mut self, incarnation: Incarnation, boot: u32) -> &mut Pair {
        let is_it = |pair: &Pair| pair.incarnation == incarnation && pair.boot == boot;
        let at = self.pairs.iter().position(is_it).unwrap_or_else(|| {
            while self.pairs.len() >= PAIRS_MAX {
                self.forget_one(incarnation);
            }
            self.pairs.push(Pair::new(incarnation, boot));
            self.pairs.len() - 1
        });
        &mut self.pairs[at]
    }

    fn forget_one(&mut self, opening: Incarnation) {
        let spared = |pair: &Pair| Some((pair.incarnation, pair.boot)) == self.current;
        let candidates = self.pairs.iter().enumerate();
        let victim = candidates
            .filter(|(_, pair)| !spared(pair))
            .min_by_key(|(age, pair)| {
                if pair.through() == 0 {
                    (0, *age as u64)
                } else if pair.incarnation == opening {
                    (2, u64::from(pair.boot))
                } else {
                    (1, *age as u64)
                }
            })
            .map_or(0, |(at, _)| at);
        let gone = self.pairs.remove(victim);
        if gone.through() > 0 {
            self.raise_floor(gone.incarnation, gone.boot);
        }
    }

    fn raise_floor(&mut self, incarnation: Incarnation, boot: u32) {
        let known = self.floors.iter().position(|(of, _)| *of == incarnation);
        let before = known.map_or(0, |at| self.floors.remove(at).1);
        if self.floors.len() == FLOORS_MAX {
            self.floors.remove(0);
        }
        self.floors.push((incarnation, before.max(boot)));
    }
}

/// Who a frame is: read from bytes that were verified before they were logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub incarnation: Incarnation,
    pub mark: Mark,
    pub check: Check,
}

impl Identity {
    /// Reads header and trailer without verifying them again; `None` for what is no frame.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (covered, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER_BYTES)?)?;
        let mut reader = Reader::new(covered);
        reader.take(3).ok()?;
        Some(Self {
            incarnation: Incarnation(reader.u32_le().ok()?),
            mark: Mark {
                boot: reader.varint_u32().ok()?,
                sequence: reader.varint_u32().ok()?,
            },
            check: Check(Reader::new(trailer).u32_le().ok()?),
        })
    }
}

/// Whether a frame is the last of a planned stop.
fn is_ended(bytes: &[u8]) -> bool {
    let Ok(frame) = frame::read(bytes) else {
        return false;
    };
    frame
        .body
        .first()
        .is_some_and(|kind| u32::from(*kind) == up::EVENT)
        && matches!(Up::read(frame.body), Ok(Up::Event(event)) if event.code == EventCode::Ended)
}

fn part<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![PART_VERSION]).unwrap_or_default()
}

fn read_part<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let (&version, rest) = bytes.split_first()?;
    if version != PART_VERSION {
        return None;
    }
    postcard::from_bytes(rest).ok()
}
