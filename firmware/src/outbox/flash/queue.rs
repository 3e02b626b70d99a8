//! Frames in flash, and an index of them in RAM.
//!
//! The index stands in the order of marks; the flash in the order of writing. They differ only
//! while frames come under a new incarnation ([`Queue::rewrite`]).

use core::cell::RefCell;

use embedded_storage::nor_flash::MultiwriteNorFlash;
use heapless::Vec;
use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark};

use super::io::{Failed, Io, Step};
use super::item::{HEAD_BYTES, Head, tell};
use super::room::Room;
use super::seam::{Erase, Geometry};
use crate::outbox::{Content, Entry, OutboxError};

/// How often a frame is written that does not read back.
const WRITES_MAX: u32 = 3;

/// What is known of a frame in flash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) incarnation: Incarnation,
    page: u16,
}

impl Held {
    fn is(&self, head: &Head) -> bool {
        head.entry.mark == self.entry.mark && head.entry.check == self.entry.check
    }
}

/// Whether the flash can be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It took the newest frame offered.
    Sound,
    /// It did not: nothing is offered until it is tried again.
    Doubtful,
    /// It could not be read at the start, and is left alone until the next.
    Dead,
}

/// Counts since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) spilled: u32,
    pub(super) lost: u32,
    pub(super) failures: u32,
}

/// At most `FRAMES` frames in flash, each an item of at most `ITEM` bytes.
#[derive(Debug, Clone)]
pub(super) struct Queue<F, const FRAMES: usize, const ITEM: usize> {
    pub(super) io: RefCell<Io<F, ITEM>>,
    pub(super) held: Vec<Held, FRAMES>,
    pub(super) counts: Counts,
    pub(super) health: Health,
    /// The page written last, and the bytes left in it.
    tail: Option<(u32, u32)>,
}

impl<F: MultiwriteNorFlash, const FRAMES: usize, const ITEM: usize> Queue<F, FRAMES, ITEM> {
    /// Makes a sound queue of what is in the flash and finds its frames.
    pub(super) fn open(io: Io<F, ITEM>) -> Self {
        let mut queue = Self {
            io: RefCell::new(io),
            held: Vec::new(),
            counts: Counts::default(),
            health: Health::Sound,
            tail: None,
        };
        let mended = queue.io.get_mut().mend();
        queue.counts.failures += u32::from(mended != Ok(false));
        if mended.is_err() {
            queue.health = Health::Dead;
            return queue;
        }
        queue.find();
        let tail = queue.io.get_mut().tail();
        queue.tail = tail.unwrap_or(None);
        queue
    }

    /// Fills the index, oldest first; frees what is no frame of ours, or stands twice.
    fn find(&mut self) {
        let Self {
            io, held, counts, ..
        } = self;
        let io = io.get_mut();
        let mut overflow = false;
        let walked = io.walk(io.range(), Erase::Allow(u32::MAX), &mut |head, _, page| {
            let Some(head) = head else {
                counts.lost += 1;
                return Step::Free;
            };
            let newest = held
                .iter()
                .rev()
                .find(|one| one.incarnation == head.incarnation)
                .map(|one| one.entry.mark);
            let mark = head.entry.mark;
            if let Some(newest) = newest {
                if newest >= mark {
                    counts.lost += u32::from(!held.iter().any(|one| one.is(&head)));
                    return Step::Free;
                }
                if newest.boot == mark.boot {
                    counts.lost += mark.sequence - newest.sequence - 1;
                }
            }
            if held.is_full() {
                held.remove(0);
                counts.lost += 1;
                overflow = true;
            }
            // There is room.
            let _ = held.push(Held {
                entry: head.entry,
                incarnation: head.incarnation,
                page: page as u16,
            });
            Step::Next
        });
        let walked = match walked {
            Ok(()) if overflow => io.walk(io.range(), Erase::Allow(u32::MAX), &mut |head, _, _| {
                let is_held = head.is_some_and(|head| held.iter().any(|one| one.is(&head)));
                if is_held { Step::Next } else { Step::Free }
            }),
            walked => walked,
        };
        counts.failures += u32::from(walked.is_err());
    }

    /// What is free; with `dirty`, pages that only wait to be erased count. One page stays
    /// unused, so that frames can be rewritten however full it is.
    pub(super) fn room(&self, dirty: bool) -> Room {
        if self.health != Health::Sound {
            return Room {
                tail: 0,
                spare: 0,
                page: 0,
            };
        }
        let open = self.io.borrow().seen.open.get();
        let spare = if dirty { open + self.dirty() } else { open };
        Room {
            tail: self.tail.map_or(0, |(_, left)| left),
            spare: spare.saturating_sub(1),
            page: Geometry::<F>::ROOM,
        }
    }

    /// Pages in which everything was freed and that are not erased yet.
    pub(super) fn dirty(&self) -> u32 {
        let io = self.io.borrow();
        let pages = io.pages();
        let newest = self.held.last().map(|one| u32::from(one.page));
        let last = self.tail.map(|(page, _)| page).or(newest);
        let live = last.map_or(0, |last| {
            let first = self.held.first().map_or(last, |one| u32::from(one.page));
            (last + pages - first) % pages + 1
        });
        (pages - io.seen.open.get()).saturating_sub(live)
    }

    /// Erases the oldest page if all in it was freed; says whether it did.
    pub(super) fn erase_oldest(&mut self) -> bool {
        self.io.get_mut().erase_oldest()
    }

    /// Appends a frame; `fill` writes receipt and frame and says how many bytes that are. It is
    /// written again when it does not read back.
    pub(super) fn append(
        &mut self,
        head: &Head,
        fill: &dyn Fn(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Failed> {
        let mut failure = Failed::Full;
        for _ in 0..WRITES_MAX {
            let io = self.io.get_mut();
            let (there, rest) = io.item.0.split_at_mut(HEAD_BYTES);
            there.copy_from_slice(&head.write());
            let bytes = HEAD_BYTES + fill(rest).ok_or(Failed::Corrupt)?;
            let appended = io.append(bytes);
            let end = io.seen.write_end.get();
            if end > 0 {
                self.tail = Some((io.page_of(end - 1), io.left_from(end)));
            }
            match appended {
                Ok(()) => return Ok(()),
                Err(failed) => failure = failed,
            }
            if failure == Failed::Full {
                return Err(failure);
            }
            self.counts.failures += 1;
        }
        self.health = Health::Doubtful;
        Err(failure)
    }

    /// Appends a frame above all held ones, and indexes it.
    pub(super) fn push(
        &mut self,
        head: &Head,
        fill: &dyn Fn(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Failed> {
        if self.held.is_full() {
            return Err(Failed::Full);
        }
        self.append(head, fill)?;
        let held = self.new_held(head);
        self.counts.spilled += 1;
        self.held.push(held).map_err(|_| Failed::Full)
    }

    pub(super) fn new_held(&self, head: &Head) -> Held {
        Held {
            entry: head.entry,
            incarnation: head.incarnation,
            page: self.tail.map_or(0, |(page, _)| page as u16),
        }
    }

    /// Where the frames above `mark` begin in the index.
    pub(super) fn above(&self, mark: Mark) -> usize {
        self.held.partition_point(|one| one.entry.mark <= mark)
    }

    fn index_of(&self, mark: Mark) -> Option<usize> {
        let found = self.held.binary_search_by(|one| one.entry.mark.cmp(&mark));
        found.ok()
    }

    pub(super) fn get(&self, mark: Mark) -> Option<Entry> {
        let held = self.held.get(self.index_of(mark)?)?;
        Some(held.entry)
    }

    pub(super) fn names(&self, catalog: CatalogHash) -> bool {
        let named = Content::Batch(catalog);
        self.held.iter().any(|one| one.entry.content == named)
    }

    /// Shows `with` the item of a held frame; none when it is not readable.
    pub(super) fn look<R>(&self, held: &Held, with: impl FnOnce(&Head, &[u8]) -> R) -> Option<R> {
        let (mut with, mut result) = (Some(with), None);
        let mut io = self.io.borrow_mut();
        let range = io.range();
        // What cannot be walked cannot be read.
        let _ = io.walk(range, Erase::LeaveOut, &mut |head, item, _| match head {
            Some(head) if held.is(&head) => {
                result = with.take().map(|with| with(&head, item));
                Step::Stop
            }
            _ => Step::Next,
        });
        result
    }

    pub(super) fn read(&self, mark: Mark, out: &mut [u8]) -> Option<Result<usize, OutboxError>> {
        let held = self.held.get(self.index_of(mark)?)?;
        let read = self.look(held, |head, item| {
            let frame = head.frame(item);
            let (bytes, bytes_max) = (frame.len(), out.len());
            let too_large = OutboxError::TooLarge { bytes, bytes_max };
            let out = out.get_mut(..bytes).ok_or(too_large)?;
            out.copy_from_slice(frame);
            match tidegate_shared::frame::read(out) {
                Ok(read) if read.check == head.entry.check && read.header.mark == mark => Ok(bytes),
                _ => Err(OutboxError::Corrupt),
            }
        });
        Some(read.unwrap_or(Err(OutboxError::Corrupt)))
    }

    pub(super) fn receipt(&self, mark: Mark, each: &mut impl FnMut(u8, u8)) {
        if let Some(held) = self.index_of(mark).and_then(|at| self.held.get(at)) {
            self.look(held, |head, item| tell(head.receipt(item), each));
        }
    }

    /// Frees a frame in flash, and tells its receipt. One that is not readable is gone already.
    pub(super) fn free(&mut self, held: &Held, mut lost: impl FnMut(u8, u8)) {
        let io = self.io.get_mut();
        let walked = io.walk(
            io.range(),
            Erase::LeaveOut,
            &mut |head, item, _| match head {
                Some(head) if held.is(&head) => {
                    tell(head.receipt(item), &mut lost);
                    Step::FreeLast
                }
                _ => Step::Next,
            },
        );
        self.counts.failures += u32::from(walked.is_err());
    }

    /// Frees all frames up to and including `through`.
    pub(super) fn pop_through(&mut self, through: Mark) {
        let count = self.above(through);
        if count == 0 {
            return;
        }
        let io = self.io.get_mut();
        let walked = io.walk(io.range(), Erase::LeaveOut, &mut |head, _, _| match head {
            Some(head) if head.entry.mark > through => Step::Stop,
            _ => Step::Free,
        });
        self.counts.failures += u32::from(walked.is_err());
        self.held.drain(..count);
    }

    /// Drops the oldest frame.
    pub(super) fn evict(&mut self, mut lost: impl FnMut(&Entry, u8, u8)) -> Option<Entry> {
        let oldest = *self.held.first()?;
        self.free(&oldest, |sensor, samples| {
            lost(&oldest.entry, sensor, samples);
        });
        self.held.remove(0);
        Some(oldest.entry)
    }

    /// Puts a renumbered frame in the place of the one at `mark`: the new one is appended, then
    /// the old one freed. What cannot be written is lost: it stays in the index as corrupt.
    pub(super) fn rewrite(
        &mut self,
        mark: Mark,
        entry: Entry,
        incarnation: Incarnation,
        frame: &[u8],
    ) -> Result<(), OutboxError> {
        let index = self.index_of(mark).ok_or(OutboxError::Absent)?;
        let old = *self.held.get(index).ok_or(OutboxError::Absent)?;
        let mut receipt = Vec::<u8, 512>::new();
        self.look(&old, |head, item| {
            // At most 256 sensors.
            let _ = receipt.extend_from_slice(head.receipt(item));
        });
        let head = Head {
            entry,
            incarnation,
            pairs: (receipt.len() / 2) as u16,
        };
        let written = self.append_anyhow(&head, &receipt, frame);
        self.free(&old, |_, _| ());
        let mut new = self.new_held(&head);
        if written.is_err() {
            new.entry.check = Check(0);
        }
        if let Some(there) = self.held.get_mut(index) {
            *there = new;
        }
        written.map_err(|_| OutboxError::Full)
    }

    /// Appends to the last page too, and erases as needed.
    pub(super) fn append_anyhow(
        &mut self,
        head: &Head,
        receipt: &[u8],
        frame: &[u8],
    ) -> Result<(), Failed> {
        let fill = |out: &mut [u8]| {
            let bytes = receipt.len() + frame.len();
            let (there, rest) = out.get_mut(..bytes)?.split_at_mut(receipt.len());
            there.copy_from_slice(receipt);
            rest.copy_from_slice(frame);
            Some(bytes)
        };
        match self.append(head, &fill) {
            Err(Failed::Full) if self.erase_oldest() => self.append(head, &fill),
            appended => appended,
        }
    }
}
