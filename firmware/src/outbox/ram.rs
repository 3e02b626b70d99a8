//! An outbox in RAM: a ring of bytes and an index.
//!
//! ```text
//! bytes  . . [receipt|frame   ][receipt|frame ][receipt|frame       ] . . .
//!            ^ head            each span is one slot of the index     ^ head + used
//! ```
//! A receipt is two bytes per sensor: its index, and the samples.

use core::cmp::Ordering;

use tidegate_shared::frame;
use tidegate_shared::ids::{CatalogHash, Mark};

use super::{Content, Entry, Outbox, OutboxError};

#[derive(Debug, Clone, Copy)]
struct Slot {
    entry: Entry,
    /// Where its span starts in the ring.
    start: usize,
    /// Bytes of the span: receipt, frame, and what renumbering saved.
    span: usize,
    receipt_bytes: usize,
    frame_bytes: usize,
}

/// What is known of the oldest frame.
#[cfg(feature = "flash-outbox")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    pub(super) entry: Entry,
    /// Pairs of its receipt.
    pub(super) pairs: usize,
    /// Bytes of receipt and frame.
    pub(super) bytes: usize,
}

/// Frames in RAM, lost with the power: at most `BYTES` bytes and `FRAMES` frames, and the oldest
/// are evicted when more come.
#[derive(Debug, Clone)]
pub struct RamOutbox<const BYTES: usize, const FRAMES: usize> {
    bytes: [u8; BYTES],
    slots: heapless::Vec<Slot, FRAMES>,
    head: usize,
    used: usize,
}

impl<const BYTES: usize, const FRAMES: usize> Default for RamOutbox<BYTES, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize, const FRAMES: usize> RamOutbox<BYTES, FRAMES> {
    /// An empty outbox.
    pub const fn new() -> Self {
        const {
            assert!(
                BYTES >= 512 && FRAMES >= 4,
                "an outbox holds at least a few frames"
            );
        };
        Self {
            bytes: [0; BYTES],
            slots: heapless::Vec::new(),
            head: 0,
            used: 0,
        }
    }

    /// Bytes in use, receipts included.
    pub fn bytes_used(&self) -> usize {
        self.used
    }

    /// The oldest frame.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn front(&self) -> Option<Front> {
        self.slots.first().map(|slot| Front {
            entry: slot.entry,
            pairs: slot.receipt_bytes / 2,
            bytes: slot.receipt_bytes + slot.frame_bytes,
        })
    }

    /// Copies receipt and frame of the oldest frame, as they are; none when `out` is too short.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn copy_front(&self, out: &mut [u8]) -> Option<usize> {
        let slot = self.slots.first()?;
        let bytes = slot.receipt_bytes + slot.frame_bytes;
        self.copy(slot.start, out.get_mut(..bytes)?);
        Some(bytes)
    }

    /// Bytes that each frame takes with its receipt, oldest first.
    #[cfg(feature = "flash-outbox")]
    pub(super) fn spans(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().map(|slot| slot.span)
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
        self.slots
            .binary_search_by(|slot| slot.entry.mark.cmp(&mark))
            .ok()
    }

    fn slot(&self, mark: Mark) -> Option<&Slot> {
        self.slots.get(self.index_of(mark)?)
    }

    /// Where the slots above `mark` begin.
    fn above(&self, mark: Mark) -> usize {
        self.slots
            .partition_point(|slot| slot.entry.mark.cmp(&mark) != Ordering::Greater)
    }

    fn tell_receipt(&self, slot: &Slot, each: &mut impl FnMut(u8, u8)) {
        for at in (slot.start..slot.start + slot.receipt_bytes).step_by(2) {
            each(self.byte(at), self.byte(at + 1));
        }
    }

    fn drop_oldest(&mut self, mut lost: impl FnMut(u8, u8)) -> Option<Entry> {
        let gone = *self.slots.first()?;
        self.tell_receipt(&gone, &mut lost);
        self.slots.remove(0);
        self.used -= gone.span;
        self.head = if self.slots.is_empty() {
            0
        } else {
            (self.head + gone.span) % BYTES
        };
        Some(gone.entry)
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
        let start = (self.head + self.used) % BYTES;
        let slot = Slot {
            entry,
            start,
            span,
            receipt_bytes,
            frame_bytes: frame.len(),
        };
        self.slots.push(slot).map_err(|_| OutboxError::Full)?;
        self.used += span;
        for (number, (sensor, samples)) in receipt.enumerate() {
            self.put(start + 2 * number, &[sensor, samples]);
        }
        self.put(start + receipt_bytes, frame);
        Ok(())
    }

    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
        let slot = self.slot(mark).ok_or(OutboxError::Absent)?;
        let (bytes, bytes_max) = (slot.frame_bytes, out.len());
        let out = out
            .get_mut(..bytes)
            .ok_or(OutboxError::TooLarge { bytes, bytes_max })?;
        self.copy(slot.start + slot.receipt_bytes, out);
        match frame::read(out) {
            Ok(read) if read.check == slot.entry.check && read.header.mark == mark => Ok(bytes),
            _ => Err(OutboxError::Corrupt),
        }
    }

    fn next_after(&self, mark: Mark) -> Option<Entry> {
        self.slots.get(self.above(mark)).map(|slot| slot.entry)
    }

    fn receipt(&self, mark: Mark, mut each: impl FnMut(u8, u8)) {
        if let Some(slot) = self.slot(mark) {
            self.tell_receipt(slot, &mut each);
        }
    }

    fn get(&self, mark: Mark) -> Option<Entry> {
        self.slot(mark).map(|slot| slot.entry)
    }

    fn count(&self, after: Mark, through: Mark) -> usize {
        self.above(through).saturating_sub(self.above(after))
    }

    fn pop_through(&mut self, through: Mark) {
        while self
            .slots
            .first()
            .is_some_and(|slot| slot.entry.mark <= through)
        {
            self.drop_oldest(|_, _| ());
        }
    }

    fn evict(&mut self, lost: impl FnMut(u8, u8)) -> Option<Entry> {
        self.drop_oldest(lost)
    }

    fn names(&self, catalog: CatalogHash) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.entry.content == Content::Batch(catalog))
    }

    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError> {
        let index = self.index_of(mark).ok_or(OutboxError::Absent)?;
        let slot = self.slots.get_mut(index).ok_or(OutboxError::Absent)?;
        let (bytes, bytes_max) = (frame.len(), slot.span - slot.receipt_bytes);
        if bytes > bytes_max {
            return Err(OutboxError::TooLarge { bytes, bytes_max });
        }
        slot.entry = entry;
        slot.frame_bytes = bytes;
        let at = slot.start + slot.receipt_bytes;
        self.put(at, frame);
        Ok(())
    }

    fn has_room(&self, bytes: usize, frames: usize) -> bool {
        self.used + bytes <= BYTES && self.slots.len() + frames <= FRAMES
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
    use tidegate_shared::ids::Incarnation;

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
        outbox.bytes[40] ^= 4;
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
