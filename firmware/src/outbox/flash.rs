//! An outbox in RAM with one in flash behind it, over `sequential-storage`.
//!
//! A frame lives in RAM until it is acknowledged. Only when that takes long, when RAM is full, or
//! when the supply is about to fail, is it *spilled*: appended to a queue in flash. So a device
//! with a good link never writes, and one without loses no more to a power cut than the frames of
//! the last `spill_after_ms`.
//!
//! ```text
//!             evict, pop                       spill                     push
//!   lost or acked ◄── flash: oldest … frames ◄──────── RAM: frames … newest ◄── device
//! ```
//!
//! Invariants:
//! 1. Every frame in flash is older than every frame in RAM: spilling takes RAM's oldest.
//! 2. A frame leaves RAM for flash only after it was read back, as a start would read it.
//! 3. A frame that was freed never comes back: freeing clears its CRC, and only set bits can be
//!    cleared. A power cut before that bit brings it back, with the same bytes under the same
//!    mark: the gateway has them and says so.
//! 4. Pages are erased only when all in them was freed, and only while the samplers have time
//!    for the longest erase ([`Outbox::tend`]). A blank page is always kept ahead: before the
//!    flash could not take all of RAM and one more frame, the oldest frames are evicted
//!    ([`Outbox::wants_eviction`]). Where the samplers never have that time, a push into a full
//!    RAM erases nevertheless, and is counted ([`FlashStatus::erases_forced`]).
//! 5. One more page stays blank, so that all frames can be rewritten under a new incarnation: a
//!    page of frames is appended before the page that they came from is erased.
//! 6. Renumbering appends the new frame, then frees the old one, oldest first. A start continues
//!    what was cut, in order, nothing lost and nothing twice (`adopt.rs`).
//! 7. A start succeeds on any bytes (`start.rs`): what is no frame of ours is freed and counted,
//!    what is no queue is erased. A flash that refuses everything leaves an outbox in RAM, and is
//!    tried again every `spill_after_ms`.
//!
//! The index of frames in flash is in RAM, 28 bytes each. Reading one walks the queue from its
//! oldest frame, and those are what a link sends.

mod adopt;
mod io;
mod item;
mod queue;
mod room;
mod seam;
mod start;
#[cfg(test)]
mod tests;
mod tier;

pub use self::tier::Ram;

use core::ops::Range;

use embedded_storage::nor_flash::MultiwriteNorFlash;
use heapless::Deque;
use tidegate_shared::frame;
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::message::Counts;

use self::io::{Failed, Io, WORD_BYTES_MAX};
use self::item::{HEAD_BYTES, Head};
use self::queue::{Health, Queue};
use self::seam::Geometry;
use super::{Entry, FlashStatus, Outbox, OutboxError, Standing};

/// What a board states of its flash, and what its outbox is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashConfig {
    /// Addresses, as the flash driver counts them; whole pages.
    pub range: Range<u32>,
    /// A frame is spilled when it is unacknowledged for this long, in ms of uptime; 60,000 is a
    /// good value: losing a minute at a power cut against a write per frame in an outage.
    pub spill_after_ms: u32,
    /// The longest that erasing one page takes, in µs (data sheet, maximum). Samplers stall for
    /// as long where the program runs from the same flash.
    pub erase_us_max: u64,
    /// Erases that every page endures (data sheet, minimum).
    pub endurance: u32,
    /// Erases of all pages before this start, if the board keeps [`FlashStatus::erases`]; else 0.
    pub erases_before: u32,
}

/// Why an outbox cannot be set up in this flash: all known when the board is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashError {
    /// The range is not made of whole pages, or words are longer than 32 bytes.
    Misaligned,
    /// Fewer pages than it takes to hold all of RAM, the page written, and one for renumbering.
    TooFewPages {
        /// Pages in the range.
        pages: u32,
        /// Pages needed.
        pages_min: u32,
    },
    /// A page does not hold the largest item.
    PageTooSmall,
}

/// The newest frame found at a start, so that a board whose store was lost begins above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its boot and sequence.
    pub mark: Mark,
}

/// Marks whose times are noted while frames wait in RAM: an eighth of `spill_after_ms` apart.
const SEEN_MAX: usize = 8;

/// Frames in the RAM of `R`, and behind them at most `FRAMES` frames in flash. `ITEM` is at least
/// the largest frame, its receipt (2 bytes a sensor) and 24 bytes.
#[derive(Debug, Clone)]
pub struct FlashOutbox<F, R, const FRAMES: usize, const ITEM: usize> {
    ram: R,
    /// The newest mark in RAM at these times, in µs of uptime.
    seen: Deque<(Mark, u64), SEEN_MAX>,
    flash: Queue<F, FRAMES, ITEM>,
    config: FlashConfig,
    incarnation: Incarnation,
    erases_forced: u32,
    /// The last erase ahead found nothing to erase, and nothing was freed since.
    idle: bool,
    /// When a flash that took nothing is tried again, in µs of uptime.
    retry_us: u64,
}

impl<F: MultiwriteNorFlash, R: Ram, const FRAMES: usize, const ITEM: usize>
    FlashOutbox<F, R, FRAMES, ITEM>
{
    /// Opens the outbox, whatever lies in the flash. Erases what it must: samplers start later.
    pub fn open(flash: F, config: FlashConfig, ram: R) -> Result<Self, FlashError> {
        const {
            assert!(ITEM > HEAD_BYTES && ITEM <= 0x4000, "an item holds a frame");
            assert!(FRAMES >= 4, "the flash holds at least a few frames");
        };
        Self::check(&flash, &config)?;
        let io = Io::new(flash, config.range.clone());
        Ok(Self {
            ram,
            seen: Deque::new(),
            flash: Queue::open(io),
            config,
            incarnation: Incarnation(0),
            erases_forced: 0,
            idle: false,
            retry_us: 0,
        })
    }

    fn check(flash: &F, config: &FlashConfig) -> Result<(), FlashError> {
        let range = &config.range;
        let page = Geometry::<F>::PAGE;
        let is_whole = range.start.is_multiple_of(page) && range.end.is_multiple_of(page);
        let is_inside = range.start < range.end && range.end as usize <= flash.capacity();
        if !is_whole || !is_inside || Geometry::<F>::WORD as usize > WORD_BYTES_MAX {
            return Err(FlashError::Misaligned);
        }
        // At the end of a page less than an item is left unused.
        let usable = Geometry::<F>::ROOM
            .checked_sub(Geometry::<F>::cost(ITEM))
            .map(|rest| rest + Geometry::<F>::WORD)
            .ok_or(FlashError::PageTooSmall)?;
        let each = Geometry::<F>::cost(HEAD_BYTES) + Geometry::<F>::WORD;
        let ram = R::BYTES as u32 + R::FRAMES as u32 * each;
        let (pages, pages_min) = ((range.end - range.start) / page, ram.div_ceil(usable) + 2);
        if pages < pages_min {
            return Err(FlashError::TooFewPages { pages, pages_min });
        }
        Ok(())
    }

    /// The newest frame that the start found. To be asked before a device is made of it.
    pub fn newest(&self) -> Option<Newest> {
        let newest = self.flash.held.last()?;
        Some(Newest {
            incarnation: newest.incarnation,
            mark: newest.entry.mark,
        })
    }

    /// What became of the flash.
    pub fn status(&self) -> FlashStatus {
        let io = self.flash.io.borrow();
        let erases_boot = io.seen.erases.get();
        FlashStatus {
            frames: self.flash.held.len() as u32,
            pages: io.pages(),
            pages_blank: io.seen.open.get(),
            erases: self.config.erases_before.saturating_add(erases_boot),
            erases_boot,
            erases_forced: self.erases_forced,
            spilled: self.flash.counts.spilled,
            lost: self.flash.counts.lost,
            failures: self.flash.counts.failures,
            endurance: self.config.endurance,
        }
    }

    /// The flash back; what is in RAM is lost.
    pub fn into_flash(self) -> F {
        self.flash.io.into_inner().flash
    }

    /// Moves RAM's oldest frame to flash.
    fn spill(&mut self) -> Result<(), Failed> {
        let Some(front) = self.ram.front() else {
            return Ok(());
        };
        let cost = Geometry::<F>::cost(HEAD_BYTES + front.bytes);
        if !self.flash.room(false).takes([cost]) {
            return Err(Failed::Full);
        }
        let head = Head {
            entry: front.entry,
            incarnation: self.incarnation,
            pairs: front.pairs,
        };
        let ram = &self.ram;
        self.flash.push(&head, &|out| ram.copy_front(out))?;
        self.ram.pop_through(front.entry.mark);
        Ok(())
    }

    /// Moves RAM's oldest frame to flash now, even if a page must be erased for it.
    fn spill_at_once(&mut self) -> Result<(), Failed> {
        while let Err(failed) = self.spill() {
            if failed != Failed::Full || self.flash.dirty() == 0 || !self.flash.erase_oldest() {
                return Err(failed);
            }
            self.erases_forced += 1;
        }
        Ok(())
    }

    fn costs(&self) -> impl Iterator<Item = u32> + '_ {
        let spans = self.ram.spans();
        spans.map(|bytes| Geometry::<F>::cost(HEAD_BYTES + bytes))
    }

    /// How many of RAM's oldest frames must go for these to fit; none if all are not enough.
    fn in_the_way(&self, bytes: usize, frames: usize) -> Option<usize> {
        let (mut used, mut held) = (self.ram.bytes_used(), self.ram.len());
        let mut spans = self.ram.spans();
        let mut count = 0;
        while used + bytes > R::BYTES || held + frames > R::FRAMES {
            used -= spans.next()?;
            held -= 1;
            count += 1;
        }
        Some(count)
    }

    /// Notes which frames have come, at intervals of `step_us`.
    fn note_seen(&mut self, uptime_us: u64, step_us: u64) {
        let newest = self.ram.newest();
        let is_due = self.seen.back().is_none_or(|(mark, seen_us)| {
            newest > Some(*mark) && uptime_us.saturating_sub(*seen_us) >= step_us
        });
        if let Some(newest) = newest
            && is_due
        {
            // A full one is noted when its oldest has gone.
            let _ = self.seen.push_back((newest, uptime_us));
        }
    }

    /// Spills the frames that were seen `wait_us` ago.
    fn spill_seen(&mut self, uptime_us: u64, wait_us: u64) {
        while let Some((mark, seen_us)) = self.seen.front().copied() {
            let front = self.ram.front();
            if front.is_none_or(|front| front.entry.mark > mark) {
                self.seen.pop_front();
            } else if uptime_us.saturating_sub(seen_us) < wait_us || self.spill().is_err() {
                return;
            }
        }
    }
}

impl<F: MultiwriteNorFlash, R: Ram, const FRAMES: usize, const ITEM: usize> Outbox
    for FlashOutbox<F, R, FRAMES, ITEM>
{
    fn push(
        &mut self,
        entry: Entry,
        frame: &[u8],
        receipt: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError> {
        let bytes = 2 * receipt.clone().count() + frame.len();
        if !self.could_hold(bytes) {
            let bytes_max = R::BYTES.min(ITEM - HEAD_BYTES);
            return Err(OutboxError::TooLarge { bytes, bytes_max });
        }
        while !self.ram.has_room(bytes, 1) {
            self.spill_at_once().map_err(|_| OutboxError::Full)?;
        }
        self.ram.push(entry, frame, receipt)
    }

    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
        let in_flash = self.flash.read(mark, out);
        in_flash.unwrap_or_else(|| self.ram.read(mark, out))
    }

    fn next_after(&self, mark: Mark) -> Option<Entry> {
        let in_flash = self.flash.held.get(self.flash.above(mark));
        let in_flash = in_flash.map(|held| held.entry);
        in_flash.or_else(|| self.ram.next_after(mark))
    }

    fn receipt(&self, mark: Mark, mut each: impl FnMut(u8, u8)) {
        self.flash.receipt(mark, &mut each);
        self.ram.receipt(mark, each);
    }

    fn get(&self, mark: Mark) -> Option<Entry> {
        self.flash.get(mark).or_else(|| self.ram.get(mark))
    }

    fn count(&self, after: Mark, through: Mark) -> usize {
        let in_flash = self.flash.above(through);
        in_flash.saturating_sub(self.flash.above(after)) + self.ram.count(after, through)
    }

    fn pop_through(&mut self, through: Mark) {
        self.flash.pop_through(through);
        self.ram.pop_through(through);
        self.idle = false;
    }

    fn evict(&mut self, mut lost: impl FnMut(u8, u8)) -> Option<Entry> {
        self.idle = false;
        let ram = &mut self.ram;
        let evicted = self.flash.evict(|entry, sensor, samples| {
            ram.lose(entry, sensor, samples);
            lost(sensor, samples);
        });
        evicted.or_else(|| self.ram.evict(lost))
    }

    fn names(&self, catalog: CatalogHash) -> bool {
        self.flash.names(catalog) || self.ram.names(catalog)
    }

    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError> {
        if let Ok(read) = frame::read(frame) {
            self.incarnation = read.header.incarnation;
        }
        self.idle = false;
        self.seen.clear();
        if self.flash.get(mark).is_some() {
            return self.flash.rewrite(mark, entry, self.incarnation, frame);
        }
        self.ram.replace(mark, entry, frame)
    }

    fn has_room(&self, bytes: usize, frames: usize) -> bool {
        let Some(count) = self.in_the_way(bytes, frames) else {
            return false;
        };
        let is_indexed = self.flash.held.len() + count <= FRAMES;
        count == 0 || (is_indexed && self.flash.room(true).takes(self.costs().take(count)))
    }

    fn could_hold(&self, bytes: usize) -> bool {
        self.could_hold_all(bytes, 1)
    }

    fn could_hold_all(&self, bytes: usize, frames: usize) -> bool {
        self.ram.could_hold(bytes) && bytes.div_ceil(frames.max(1)) <= ITEM - HEAD_BYTES
    }

    fn adopt(&mut self, incarnation: Incarnation, boot: u32) {
        self.incarnation = incarnation;
        self.ram.adopt(incarnation, boot);
        self.flash.adopt(incarnation, boot);
        // Those that a reset found in both: spilled, and not yet gone from RAM.
        if let Some(newest) = self.flash.held.last() {
            self.ram.pop_through(newest.entry.mark);
        }
    }

    fn tend(&mut self, uptime_us: u64, stall_us: u64) {
        if stall_us >= self.config.erase_us_max && !self.idle && self.flash.dirty() > 0 {
            self.idle = !self.flash.erase_oldest();
        }
        let wait_us = u64::from(self.config.spill_after_ms) * 1_000;
        if self.flash.health == Health::Doubtful && uptime_us >= self.retry_us {
            self.retry_us = uptime_us + wait_us;
            self.flash.health = Health::Sound;
        }
        self.note_seen(uptime_us, wait_us / SEEN_MAX as u64);
        self.spill_seen(uptime_us, wait_us);
    }

    fn wants_eviction(&self) -> bool {
        let more = core::iter::once(Geometry::<F>::cost(ITEM));
        let is_indexed = self.flash.held.len() + self.ram.len() < FRAMES;
        let is_roomy = is_indexed && self.flash.room(true).takes(self.costs().chain(more));
        !is_roomy && !self.flash.held.is_empty()
    }

    fn spill_now(&mut self) -> usize {
        while !self.ram.is_empty() && self.spill().is_ok() {}
        self.ram.len()
    }

    fn stand(&mut self, standing: Option<&Standing>) {
        self.ram.stand(standing);
    }

    fn note(&mut self, sensor: u16, counts: &Counts, time_us: u64) {
        self.ram.note(sensor, counts, time_us);
    }

    fn flash_status(&self) -> Option<FlashStatus> {
        Some(self.status())
    }
}
