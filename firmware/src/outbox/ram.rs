//! An outbox in RAM: a ring of bytes and an index.
//!
//! ```text
//! bytes  . . [receipt|frame   ][receipt|frame ][receipt|frame       ] . . .
//!            ^ first slot's start        each span is one slot of the index
//! slots  number n of all that were ever pushed stands at n % FRAMES; held are popped .. pushed;
//!        numbers begin anew at 0 before they outgrow a u32, at a multiple of FRAMES
//! ```
//! A receipt is two bytes per sensor: its index, and the samples.
//!
//! It is made of plain numbers, so that any pattern of bits is one, and a change takes effect by
//! one store: a frame is held when `pushed` says so, and gone when `popped` does. So where its RAM
//! is not cleared at start, it holds after a reset, at whatever instruction that came, what it
//! held before ([`super::Remains`]).

use core::sync::atomic::{Ordering, compiler_fence};

use tidegate_shared::frame;
use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark};

use super::{Content, Entry, Outbox, OutboxError};

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Slot {
    boot: u32,
    sequence: u32,
    check: u32,
    /// 0 other, 1 catalog, 2 batch, 3 Totals.
    content: u32,
    /// Of the catalog, or of the one that the batch names.
    catalog: u32,
    /// Where its span starts in the ring.
    start: u32,
    /// Bytes of the span: receipt, frame, and what renumbering saved.
    span: u32,
    receipt_bytes: u32,
    frame_bytes: u32,
}

impl Slot {
    const NONE: Self = Self {
        boot: 0,
        sequence: 0,
        check: 0,
        content: 0,
        catalog: 0,
        start: 0,
        span: 0,
        receipt_bytes: 0,
        frame_bytes: 0,
    };

    fn set_entry(&mut self, entry: &Entry) {
        let (content, catalog) = match entry.content {
            Content::Other => (0, CatalogHash(0)),
            Content::Catalog(hash) => (1, hash),
            Content::Batch(hash) => (2, hash),
            Content::Totals => (3, CatalogHash(0)),
        };
        self.boot = entry.mark.boot;
        self.sequence = entry.mark.sequence;
        self.check = entry.check.0;
        self.content = content;
        self.catalog = catalog.0;
    }

    fn mark(&self) -> Mark {
        Mark {
            boot: self.boot,
            sequence: self.sequence,
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            mark: self.mark(),
            check: Check(self.check),
            content: match self.content {
                1 => Content::Catalog(CatalogHash(self.catalog)),
                2 => Content::Batch(CatalogHash(self.catalog)),
                3 => Content::Totals,
                _ => Content::Other,
            },
        }
    }

    /// Where its frame starts in the ring.
    fn frame_start(&self) -> usize {
        (self.start + self.receipt_bytes) as usize
    }
}

/// What is known of the oldest frame.
#[cfg(feature = "flash-outbox")]
#[derive(Debug, Clone, Copy)]
pub struct Front {
    pub(super) entry: Entry,
    /// Pairs of its receipt.
    pub(super) pairs: u16,
    /// Bytes of receipt and frame.
    pub(super) bytes: usize,
}

/// Frames in RAM, lost with the power: at most `BYTES` bytes and `FRAMES` frames, and the oldest
/// are evicted when more come.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct RamOutbox<const BYTES: usize, const FRAMES: usize> {
    /// Frames ever pushed, and ever popped or evicted, below [`Self::NUMBERS`].
    pushed: u32,
    popped: u32,
    slots: [Slot; FRAMES],
    bytes: [u8; BYTES],
}

impl<const BYTES: usize, const FRAMES: usize> Default for RamOutbox<BYTES, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize, const FRAMES: usize> RamOutbox<BYTES, FRAMES> {
    /// Numbers of frames: as many as keep n % FRAMES steady where they begin anew.
    const NUMBERS: u32 = u32::MAX / FRAMES as u32 * FRAMES as u32;

    /// An empty outbox.
    pub const fn new() -> Self {
        const {
            assert!(
                BYTES >= 512 && FRAMES >= 4 && BYTES < 1 << 30,
                "an outbox holds at least a few frames"
            );
        };
        Self {
            pushed: 0,
            popped: 0,
            slots: [Slot::NONE; FRAMES],
            bytes: [0; BYTES],
        }
    }

    /// Bytes in use, receipts included.
    pub fn bytes_used(&self) -> usize {
        let Some(last) = self.frames().checked_sub(1) else {
            return 0;
        };
        let (oldest, newest) = (self.slot_at(0), self.slot_at(last));
        let end = (newest.start + newest.span) as usize;
        let used = (end + BYTES - oldest.start as usize) % BYTES;
        // No span is empty: an end that meets the start means full.
        if used == 0 { BYTES } else { used }
    }

    /// The oldest frame.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn front(&self) -> Option<Front> {
        let slot = self.held().next()?;
        Some(Front {
            entry: slot.entry(),
            pairs: (slot.receipt_bytes / 2) as u16,
            bytes: (slot.receipt_bytes + slot.frame_bytes) as usize,
        })
    }

    /// The mark of the newest frame.
    pub(super) fn newest(&self) -> Option<Mark> {
        self.held().next_back().map(Slot::mark)
    }

    /// Copies receipt and frame of the oldest frame, as they are; none when `out` is too short.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn copy_front(&self, out: &mut [u8]) -> Option<usize> {
        let slot = self.held().next()?;
        let bytes = (slot.receipt_bytes + slot.frame_bytes) as usize;
        self.copy(slot.start as usize, out.get_mut(..bytes)?);
        Some(bytes)
    }

    /// Bytes that each frame takes with its receipt, oldest first.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn spans(&self) -> impl Iterator<Item = usize> + '_ {
        self.held().map(|slot| slot.span as usize)
    }

    /// Drops everything, at once.
    pub fn clear(&mut self) {
        self.popped = self.pushed;
        if self.pushed >= Self::NUMBERS {
            // What RAM holds after power-on.
            (self.pushed, self.popped) = (0, 0);
        }
    }

    /// Whether what stands here, in RAM that was not cleared, is an outbox that was left in order:
    /// spans one behind the other, marks ascending, every frame of `incarnation` and verified in
    /// `buffer`.
    pub(super) fn is_intact(&self, incarnation: Incarnation, buffer: &mut [u8]) -> bool {
        let is_number = |counter: u32| counter < Self::NUMBERS;
        if !is_number(self.pushed) || !is_number(self.popped) || self.frames() > FRAMES {
            return false;
        }
        let (mut start, mut used, mut before) = (None, 0, Mark::default());
        self.held().all(|slot| {
            let span = slot.span as usize;
            used += u64::from(slot.span);
            let is_placed = (slot.start as usize) < BYTES
                && start.is_none_or(|start| start == slot.start as usize)
                && used <= BYTES as u64;
            let parts = u64::from(slot.receipt_bytes) + u64::from(slot.frame_bytes);
            let is_whole = parts <= u64::from(slot.span) && slot.receipt_bytes.is_multiple_of(2);
            let is_next = slot.mark() > before;
            if !(is_placed && is_whole && is_next) {
                return false;
            }
            start = Some((slot.start as usize + span) % BYTES);
            before = slot.mark();
            let read = self.read_slot(slot, buffer).ok();
            let frame = read.and_then(|bytes| frame::read(buffer.get(..bytes)?).ok());
            frame.is_some_and(|frame| frame.header.incarnation == incarnation)
        })
    }

    /// Flips a bit of the byte at `at`, as RAM that loses its supply does.
    #[cfg(test)]
    pub(super) fn corrupt(&mut self, at: usize) {
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte ^= 4;
        }
    }

    fn held(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        (0..self.frames()).map(|index| self.slot_at(index))
    }

    fn frames(&self) -> usize {
        let held = if self.pushed >= self.popped {
            self.pushed - self.popped
        } else {
            Self::NUMBERS
                .wrapping_sub(self.popped)
                .wrapping_add(self.pushed)
        };
        held as usize
    }

    fn next_number(number: u32) -> u32 {
        if number + 1 >= Self::NUMBERS {
            0
        } else {
            number + 1
        }
    }

    /// The slot of the held frame number `index`, from 0.
    fn slot_at(&self, index: usize) -> &Slot {
        let place = self.place(index);
        self.slots.get(place).unwrap_or(&Slot::NONE)
    }

    fn place(&self, index: usize) -> usize {
        (self.popped as usize % FRAMES + index) % FRAMES
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let at = at % BYTES;
        let (first, second) = bytes.split_at(bytes.len().min(BYTES - at));
        if let Some(there) = self.bytes.get_mut(at..at + first.len()) {
            there.copy_from_slice(first);
        }
        if let Some(there) = self.bytes.get_mut(..second.len()) {
            there.copy_from_slice(second);
        }
    }

    fn copy(&self, at: usize, out: &mut [u8]) {
        let at = at % BYTES;
        let split = out.len().min(BYTES - at);
        let (first, second) = out.split_at_mut(split);
        first.copy_from_slice(self.bytes.get(at..at + split).unwrap_or_default());
        second.copy_from_slice(self.bytes.get(..second.len()).unwrap_or_default());
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at % BYTES).copied().unwrap_or_default()
    }

    fn index_of(&self, mark: Mark) -> Option<usize> {
        let index = self.above(mark).checked_sub(1)?;
        (self.slot_at(index).mark() == mark).then_some(index)
    }

    fn slot(&self, mark: Mark) -> Option<&Slot> {
        self.index_of(mark).map(|index| self.slot_at(index))
    }

    /// Where the slots above `mark` begin.
    fn above(&self, mark: Mark) -> usize {
        let (mut low, mut high) = (0, self.frames());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.slot_at(middle).mark() > mark {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn tell_receipt(&self, slot: &Slot, each: &mut impl FnMut(u8, u8)) {
        let start = slot.start as usize;
        for at in (start..start + slot.receipt_bytes as usize).step_by(2) {
            each(self.byte(at), self.byte(at + 1));
        }
    }

    fn read_slot(&self, slot: &Slot, out: &mut [u8]) -> Result<usize, OutboxError> {
        let (bytes, bytes_max) = (slot.frame_bytes as usize, out.len());
        let out = out
            .get_mut(..bytes)
            .ok_or(OutboxError::TooLarge { bytes, bytes_max })?;
        self.copy(slot.frame_start(), out);
        match frame::read(out) {
            Ok(read) if read.check.0 == slot.check && read.header.mark == slot.mark() => Ok(bytes),
            _ => Err(OutboxError::Corrupt),
        }
    }

    fn drop_oldest(&mut self, mut lost: impl FnMut(u8, u8)) -> Option<Entry> {
        if self.frames() == 0 {
            return None;
        }
        let gone = *self.slot_at(0);
        self.tell_receipt(&gone, &mut lost);
        compiler_fence(Ordering::SeqCst);
        self.popped = Self::next_number(self.popped);
        Some(gone.entry())
    }
}

impl<const BYTES: usize, const FRAMES: usize> Outbox for RamOutbox<BYTES, FRAMES> {
    fn push(
        &mut self,
        entry: Entry,
        frame: &[u8],
        receipt: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError> {
        let receipt_bytes = 2 * receipt.clone().count();
        let span = receipt_bytes + frame.len();
        if !self.could_hold(span) {
            let bytes_max = BYTES;
            return Err(OutboxError::TooLarge {
                bytes: span,
                bytes_max,
            });
        }
        if !self.has_room(span, 1) {
            return Err(OutboxError::Full);
        }
        let start = self.held().next_back().map_or(0, |newest| {
            (newest.start as usize + newest.span as usize) % BYTES
        });
        for (number, (sensor, samples)) in receipt.enumerate() {
            self.put(start + 2 * number, &[sensor, samples]);
        }
        self.put(start + receipt_bytes, frame);
        let place = self.place(self.frames());
        if let Some(slot) = self.slots.get_mut(place) {
            slot.set_entry(&entry);
            slot.start = start as u32;
            slot.span = span as u32;
            slot.receipt_bytes = receipt_bytes as u32;
            slot.frame_bytes = frame.len() as u32;
        }
        compiler_fence(Ordering::SeqCst);
        self.pushed = Self::next_number(self.pushed);
        Ok(())
    }

    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
        let slot = self.slot(mark).ok_or(OutboxError::Absent)?;
        self.read_slot(slot, out)
    }

    fn next_after(&self, mark: Mark) -> Option<Entry> {
        let index = self.above(mark);
        (index < self.frames()).then(|| self.slot_at(index).entry())
    }

    fn receipt(&self, mark: Mark, mut each: impl FnMut(u8, u8)) {
        if let Some(slot) = self.slot(mark) {
            self.tell_receipt(slot, &mut each);
        }
    }

    fn get(&self, mark: Mark) -> Option<Entry> {
        self.slot(mark).map(Slot::entry)
    }

    fn count(&self, after: Mark, through: Mark) -> usize {
        self.above(through).saturating_sub(self.above(after))
    }

    fn pop_through(&mut self, through: Mark) {
        while self.frames() > 0 && self.slot_at(0).mark() <= through {
            self.drop_oldest(|_, _| ());
        }
    }

    fn evict(&mut self, lost: impl FnMut(u8, u8)) -> Option<Entry> {
        self.drop_oldest(lost)
    }

    fn names(&self, catalog: CatalogHash) -> bool {
        self.held()
            .any(|slot| slot.entry().content == Content::Batch(catalog))
    }

    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError> {
        let index = self.index_of(mark).ok_or(OutboxError::Absent)?;
        let place = self.place(index);
        let slot = self.slots.get_mut(place).ok_or(OutboxError::Absent)?;
        let (bytes, bytes_max) = (frame.len(), (slot.span - slot.receipt_bytes) as usize);
        if bytes > bytes_max {
            return Err(OutboxError::TooLarge { bytes, bytes_max });
        }
        slot.set_entry(&entry);
        slot.frame_bytes = bytes as u32;
        let at = slot.frame_start();
        self.put(at, frame);
        Ok(())
    }

    fn has_room(&self, bytes: usize, frames: usize) -> bool {
        self.bytes_used() + bytes <= BYTES && self.frames() + frames <= FRAMES
    }

    fn could_hold(&self, bytes: usize) -> bool {
        bytes <= BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;
    use tidegate_shared::frame::Header;

    use super::*;

    const HASH: CatalogHash = CatalogHash(7);

    fn mark(sequence: u32) -> Mark {
        Mark { boot: 1, sequence }
    }

    fn frozen(sequence: u32, body: &[u8], content: Content) -> (Entry, Vec<u8>) {
        let header = Header {
            incarnation: Incarnation(9),
            mark: mark(sequence),
            ..Header::default()
        };
        let mut out = vec![0; body.len() + 32];
        let (bytes, check) = frame::write(&header, &mut out, |writer| writer.put(body)).unwrap();
        (
            Entry {
                mark: mark(sequence),
                check,
                content,
            },
            bytes.to_vec(),
        )
    }

    fn pushed<const B: usize, const F: usize>(
        outbox: &mut RamOutbox<B, F>,
        sequence: u32,
        content: Content,
        receipt: &[(u8, u8)],
    ) -> Vec<u8> {
        let (entry, frame) = frozen(sequence, &[sequence as u8; 60], content);
        outbox.push(entry, &frame, receipt.iter().copied()).unwrap();
        frame
    }

    fn read<const B: usize, const F: usize>(outbox: &RamOutbox<B, F>, sequence: u32) -> Vec<u8> {
        let mut out = [0; 256];
        let bytes = outbox.read(mark(sequence), &mut out).unwrap();
        out[..bytes].to_vec()
    }

    #[test]
    fn frames_read_back_until_they_are_popped() {
        let mut outbox = RamOutbox::<512, 8>::new();
        let frames: Vec<_> = (1..=4)
            .map(|n| pushed(&mut outbox, n, Content::Other, &[]))
            .collect();
        assert_eq!(outbox.len(), 4);
        assert_eq!(outbox.count(mark(1), mark(3)), 2);
        outbox.pop_through(mark(2));
        assert_eq!(outbox.next_after(Mark::default()).unwrap().mark, mark(3));
        assert_eq!(read(&outbox, 3), frames[2]);
        assert_eq!(outbox.read(mark(2), &mut [0; 99]), Err(OutboxError::Absent));
        outbox.pop_through(mark(4));
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes_used(), 0);
    }

    #[test]
    fn a_full_outbox_says_so_and_evicts_with_a_receipt() {
        let mut outbox = RamOutbox::<512, 4>::new();
        for sequence in 1..=4 {
            pushed(
                &mut outbox,
                sequence,
                Content::Batch(HASH),
                &[(0, 60), (3, 59)],
            );
        }
        let (entry, frame) = frozen(5, &[5], Content::Other);
        assert_eq!(
            outbox.push(entry, &frame, [].into_iter()),
            Err(OutboxError::Full)
        );
        let mut lost = vec![];
        let gone = outbox
            .evict(|sensor, samples| lost.push((sensor, samples)))
            .unwrap();
        assert_eq!((gone.mark, lost), (mark(1), vec![(0, 60), (3, 59)]));
        outbox.push(entry, &frame, [].into_iter()).unwrap();
        let (entry, frame) = frozen(6, &[6; 600], Content::Other);
        let refused = outbox.push(entry, &frame, [].into_iter());
        assert_eq!(
            refused,
            Err(OutboxError::TooLarge {
                bytes: frame.len(),
                bytes_max: 512
            })
        );
    }

    #[test]
    fn it_knows_which_catalogs_are_named() {
        let mut outbox = RamOutbox::<512, 8>::new();
        pushed(&mut outbox, 1, Content::Catalog(HASH), &[]);
        assert!(!outbox.names(HASH));
        pushed(&mut outbox, 2, Content::Batch(HASH), &[]);
        assert!(outbox.names(HASH) && !outbox.names(CatalogHash(8)));
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut outbox = RamOutbox::<512, 8>::new();
        pushed(&mut outbox, 1, Content::Other, &[(1, 2)]);
        outbox.corrupt(40);
        assert_eq!(
            outbox.read(mark(1), &mut [0; 256]),
            Err(OutboxError::Corrupt)
        );
        let mut lost = vec![];
        outbox.evict(|sensor, samples| lost.push((sensor, samples)));
        assert_eq!(lost, [(1, 2)]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_renumbered_frame_takes_the_place_of_the_old_one() {
        let mut outbox = RamOutbox::<512, 8>::new();
        pushed(&mut outbox, 300, Content::Other, &[(1, 2)]);
        let later = pushed(&mut outbox, 301, Content::Other, &[]);
        let (entry, frame) = frozen(1, &[44; 60], Content::Other);
        outbox.replace(mark(300), entry, &frame).unwrap();
        assert_eq!(read(&outbox, 1), frame);
        assert_eq!(read(&outbox, 301), later);
        assert!(outbox.get(mark(300)).is_none());
    }

    #[test]
    fn ram_that_holds_all_ones_at_power_on_is_an_outbox_all_the_same() {
        for counter in [u32::MAX, u32::MAX - 3, u32::MAX / 7 * 7 - 3] {
            let mut outbox = RamOutbox::<700, 7>::new();
            (outbox.pushed, outbox.popped) = (counter, counter);
            if !outbox.is_intact(Incarnation(9), &mut [0; 256]) {
                outbox.clear();
            }
            let frames: Vec<_> = (1..=7)
                .map(|n| pushed(&mut outbox, n, Content::Other, &[]))
                .collect();
            for (sequence, frame) in (1..).zip(&frames) {
                assert_eq!(read(&outbox, sequence), *frame, "counters from {counter}");
            }
            assert!(outbox.is_intact(Incarnation(9), &mut [0; 256]));
            outbox.pop_through(mark(7));
            assert!(outbox.is_empty());
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize, bool, u8),
        Pop(usize),
        Evict,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_usize..150, any::<bool>(), any::<u8>()).prop_map(|(n, c, s)| Step::Push(n, c, s)),
            1 => (0_usize..4).prop_map(Step::Pop),
            1 => Just(Step::Evict),
        ]
    }

    proptest! {
        /// Against a plain queue: the same frames, bytes and receipts after any steps.
        #[test]
        fn it_behaves_as_a_queue(steps in prop::collection::vec(step(), 1..120)) {
            let mut outbox = RamOutbox::<700, 9>::new();
            let mut model: VecDeque<(Entry, Vec<u8>, u8)> = VecDeque::new();
            let mut sequence = 0;
            for step in steps {
                match step {
                    Step::Push(bytes, catalog, samples) => {
                        sequence += 1;
                        let content = if catalog { Content::Catalog(HASH) } else { Content::Batch(HASH) };
                        let (entry, frame) = frozen(sequence, &vec![samples; bytes], content);
                        let used: usize = model.iter().map(|(_, frame, _)| frame.len() + 2).sum();
                        let fits = used + frame.len() + 2 <= 700 && model.len() < 9;
                        let done = outbox.push(entry, &frame, [(5, samples)].into_iter());
                        prop_assert_eq!(done.is_ok(), fits);
                        if fits {
                            model.push_back((entry, frame, samples));
                        }
                    }
                    Step::Pop(count) => {
                        let through = model.iter().take(count).next_back().map(|(entry, ..)| entry.mark);
                        outbox.pop_through(through.unwrap_or_default());
                        model.drain(..count.min(model.len()));
                    }
                    Step::Evict => {
                        let mut lost = None;
                        let gone = outbox.evict(|_, samples| lost = Some(samples));
                        let expected = model.pop_front();
                        prop_assert_eq!(gone, expected.as_ref().map(|one| one.0));
                        prop_assert_eq!(lost, expected.map(|one| one.2));
                    }
                }
                prop_assert_eq!(outbox.len(), model.len());
                for (entry, frame, _) in &model {
                    let mut out = [0; 256];
                    let bytes = outbox.read(entry.mark, &mut out).unwrap();
                    prop_assert_eq!(&out[..bytes], &frame[..]);
                }
            }
        }
    }
}
