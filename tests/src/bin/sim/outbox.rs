//! Outbox: a device's frames in plain memory, which the simulator lets outlive a reset (a stored
//! outbox) or not (one in RAM).

use std::collections::VecDeque;

use tidegate_firmware::outbox::{Content, Entry, Outbox, OutboxError};
use tidegate_shared::ids::{CatalogHash, Mark};

#[derive(Debug, Clone)]
struct Held {
    entry: Entry,
    frame: Vec<u8>,
    receipt: Vec<(u8, u8)>,
}

impl Held {
    fn bytes(&self) -> usize {
        self.frame.len() + 2 * self.receipt.len()
    }
}

/// Frames held, oldest first.
#[derive(Debug, Clone)]
pub struct SimOutbox {
    held: VecDeque<Held>,
    bytes_max: usize,
}

impl SimOutbox {
    /// An empty one.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            held: VecDeque::new(),
            bytes_max,
        }
    }

    fn bytes(&self) -> usize {
        self.held.iter().map(Held::bytes).sum()
    }

    fn find(&self, mark: Mark) -> Option<&Held> {
        self.held.iter().find(|held| held.entry.mark == mark)
    }
}

impl Outbox for SimOutbox {
    fn push(
        &mut self,
        entry: Entry,
        frame: &[u8],
        receipt: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError> {
        let held = Held {
            entry,
            frame: frame.to_vec(),
            receipt: receipt.collect(),
        };
        let (bytes, bytes_max) = (held.bytes(), self.bytes_max);
        if bytes > bytes_max {
            return Err(OutboxError::TooLarge { bytes, bytes_max });
        }
        if self.bytes() + bytes > bytes_max {
            return Err(OutboxError::Full);
        }
        self.held.push_back(held);
        Ok(())
    }

    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
        let held = self.find(mark).ok_or(OutboxError::Absent)?;
        let (bytes, bytes_max) = (held.frame.len(), out.len());
        let out = out
            .get_mut(..bytes)
            .ok_or(OutboxError::TooLarge { bytes, bytes_max })?;
        out.copy_from_slice(&held.frame);
        Ok(bytes)
    }

    fn next_after(&self, mark: Mark) -> Option<Entry> {
        let mut above = self.held.iter().filter(|held| held.entry.mark > mark);
        above.next().map(|held| held.entry)
    }

    fn get(&self, mark: Mark) -> Option<Entry> {
        self.find(mark).map(|held| held.entry)
    }

    fn count(&self, after: Mark, through: Mark) -> usize {
        let inside = |held: &&Held| held.entry.mark > after && held.entry.mark <= through;
        self.held.iter().filter(inside).count()
    }

    fn receipt(&self, mark: Mark, mut tell: impl FnMut(u8, u8)) {
        for (sensor, samples) in self.find(mark).into_iter().flat_map(|held| &held.receipt) {
            tell(*sensor, *samples);
        }
    }

    fn pop_through(&mut self, through: Mark) {
        while self
            .held
            .front()
            .is_some_and(|held| held.entry.mark <= through)
        {
            self.held.pop_front();
        }
    }

    fn evict(&mut self, mut lost: impl FnMut(u8, u8)) -> Option<Entry> {
        let held = self.held.pop_front()?;
        for (sensor, samples) in held.receipt {
            lost(sensor, samples);
        }
        Some(held.entry)
    }

    fn names(&self, catalog: CatalogHash) -> bool {
        let mut held = self.held.iter();
        held.any(|held| held.entry.content == Content::Batch(catalog))
    }

    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError> {
        let held = self.held.iter_mut().find(|held| held.entry.mark == mark);
        let held = held.ok_or(OutboxError::Absent)?;
        held.entry = entry;
        held.frame = frame.to_vec();
        Ok(())
    }

    fn has_room(&self, bytes: usize, _frames: usize) -> bool {
        self.bytes() + bytes <= self.bytes_max
    }

    fn could_hold(&self, bytes: usize) -> bool {
        bytes <= self.bytes_max
    }
}
