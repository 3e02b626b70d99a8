//! The outbox: frames that no gateway has acknowledged yet.
//!
//! Invariants:
//! 1. Frames stand in the order of their marks (boot, sequence) and never change, but for a new
//!    incarnation, which renumbers all of them ([`Outbox::replace`]).
//! 2. A frame leaves only at the front: acknowledged ([`Outbox::pop_through`]) or evicted
//!    ([`Outbox::evict`]). So what is held has no holes, and what was evicted lies below the
//!    floor that the gateway is told.
//! 3. With each frame stands its receipt: how many samples of which sensors it holds. So the
//!    samples lost with a frame are counted exactly, without decoding it.
//! 4. What is read is verified: a frame whose trailer fails is never given out. It stays in its
//!    place until it is the oldest and evicted, or until the gateway says that it has it.
//!
//! A catalog outlives its eviction while a batch that names it is held: the device freezes it
//! anew, behind the others ([`crate::device`]).

#[cfg(feature = "flash-outbox")]
pub mod flash;
#[cfg(all(feature = "flash-outbox", any(test, feature = "mock-flash")))]
pub mod nor;
mod ram;
mod remains;
mod wear;

pub use ram::RamOutbox;
pub use remains::{Past, Remains};
pub use wear::{FlashStatus, YEARS_MAX};

use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark};
use tidegate_shared::message::Counts;

/// What a frame holds, as far as the outbox cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A part of the catalog with this hash.
    Catalog(CatalogHash),
    /// Samples that name the catalog with this hash.
    Batch(CatalogHash),
    /// Counts of what became of the samples.
    Totals,
    /// Anything else.
    Other,
}

/// What is known of a held frame without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Boot and sequence.
    pub mark: Mark,
    /// The frame's trailer.
    pub check: Check,
    /// What it holds.
    pub content: Content,
}

/// Why a frame cannot be kept or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxError {
    /// Evict first, or wait for an ack.
    Full,
    /// Too large for the outbox even when it is empty; or for the buffer given.
    TooLarge {
        /// Bytes of the frame and its receipt.
        bytes: usize,
        /// Bytes there are.
        bytes_max: usize,
    },
    /// No such frame is held.
    Absent,
    /// The bytes read back are not those that were pushed.
    Corrupt,
}

/// Whose frames an outbox holds from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The device's incarnation.
    pub incarnation: Incarnation,
    /// The start that freezes frames.
    pub boot: u32,
    /// The catalog that counts and receipts are by.
    pub catalog: CatalogHash,
    /// Sensors in it.
    pub sensors: u16,
}

/// Frames held until they are acknowledged. Cheap to ask: the link asks at every event.
pub trait Outbox {
    /// Appends a frame with its receipt (pairs of sensor and samples). Its mark must be above
    /// all held ones.
    fn push(
        &mut self,
        entry: Entry,
        frame: &[u8],
        receipt: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError>;

    /// Copies the frame at `mark` into `out`, verifies it and returns its length.
    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError>;

    /// What is known of the oldest frame above `mark`.
    fn next_after(&self, mark: Mark) -> Option<Entry>;

    /// Tells the receipt of the frame at `mark`, if it is held.
    fn receipt(&self, mark: Mark, each: impl FnMut(u8, u8));

    /// What is known of the frame at `mark`.
    fn get(&self, mark: Mark) -> Option<Entry>;

    /// How many frames above `after`, up to and including `through`, are held.
    fn count(&self, after: Mark, through: Mark) -> usize;

    /// Frees the frames up to and including `through`.
    fn pop_through(&mut self, through: Mark);

    /// Drops the oldest frame; tells `lost` its receipt.
    fn evict(&mut self, lost: impl FnMut(u8, u8)) -> Option<Entry>;

    /// Whether a batch that names this catalog is held.
    fn names(&self, catalog: CatalogHash) -> bool;

    /// Puts a renumbered frame in the place of the one at `mark`: of the same content and not
    /// longer, its mark still between its neighbours'.
    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError>;

    /// Whether `frames` frames, of together `bytes` bytes with receipts, fit without eviction.
    fn has_room(&self, bytes: usize, frames: usize) -> bool;

    /// Whether a frame of `bytes` bytes, receipt included, fits when everything else is gone.
    fn could_hold(&self, bytes: usize) -> bool;

    /// Whether `frames` frames, of together `bytes` bytes with receipts, fit when everything else
    /// is gone.
    fn could_hold_all(&self, bytes: usize, frames: usize) -> bool {
        let _ = frames;
        self.could_hold(bytes)
    }

    /// Brings frames kept from earlier boots under this incarnation. Called once, before the
    /// first frame of `boot`. An outbox that keeps none has nothing to do.
    fn adopt(&mut self, incarnation: Incarnation, boot: u32) {
        let _ = (incarnation, boot);
    }

    /// Does what can wait, such as moving old frames to slower memory. `uptime_us` is now; the
    /// caller has `stall_us` µs to spare for work that nothing else can run beside.
    fn tend(&mut self, uptime_us: u64, stall_us: u64) {
        let _ = (uptime_us, stall_us);
    }

    /// Whether the oldest frame should be evicted now, so that room is made while there is time.
    fn wants_eviction(&self) -> bool {
        false
    }

    /// The supply is about to fail: moves what it can to where it survives, and says how many
    /// frames would be lost.
    fn spill_now(&mut self) -> usize {
        self.len()
    }

    /// What became of the flash, if it has one.
    fn flash_status(&self) -> Option<FlashStatus> {
        None
    }

    /// Says whose frames these are from now on: at a start, and under a new incarnation (`None`
    /// while frames are renumbered). What outlives a reset keeps it; others need not.
    fn stand(&mut self, standing: Option<&Standing>) {
        let _ = standing;
    }

    /// Says a sensor's counts as they are now, at uptime `time_us`. What outlives a reset keeps
    /// them; others need not.
    fn note(&mut self, sensor: u16, counts: &Counts, time_us: u64) {
        let _ = (sensor, counts, time_us);
    }

    /// Newest frame that was acknowledged, as far as this outlives a reset; zeros elsewhere. A
    /// gateway takes what lies between it and the oldest frame held as evicted.
    fn acked(&self) -> Mark {
        Mark::default()
    }

    /// Frames held.
    fn len(&self) -> usize {
        self.count(
            Mark::default(),
            Mark {
                boot: u32::MAX,
                sequence: u32::MAX,
            },
        )
    }

    /// Whether nothing is held.
    fn is_empty(&self) -> bool {
        self.next_after(Mark::default()).is_none()
    }
}
