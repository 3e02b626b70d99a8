//! Decoded batches: a whole batch in flat arrays, so that a frame counts as a whole or not at
//! all, and so that its memory is used again for the next.

use tidegate_shared::batch::{BatchHead, BatchReader, Scratch};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::BodyError;

use super::lane::Sample;
use crate::clock::{EARLIEST_US, Mapping};

/// Room for one decoded batch.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub head: BatchHead,
    pub blocks: Vec<BlockAt>,
    uptimes_us: Vec<u64>,
    raws: Vec<i64>,
    /// The usable samples of the block last resolved.
    pub samples: Vec<Sample>,
    scratch: Scratch,
}

/// Where a block's samples stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockAt {
    /// Index in the catalog.
    pub sensor: u16,
    from: usize,
    to: usize,
    bad: BadSet,
}

impl BlockAt {
    /// Samples in the block, usable or not.
    pub fn samples(&self) -> usize {
        self.to - self.from
    }
}

/// A sample of a block, usable or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub uptime_us: u64,
    /// Whether the device marked it as bad.
    pub is_bad: bool,
    pub sample: Sample,
}

/// Samples of a block that cannot be used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusable {
    pub bad: u64,
    pub implausible: u64,
}

impl Decoded {
    /// Reads a batch's body; what was here before is gone either way.
    pub fn read(&mut self, body: &[u8]) -> Result<(), BodyError> {
        self.blocks.clear();
        self.uptimes_us.clear();
        self.raws.clear();
        let mut reader = BatchReader::new(body)?;
        self.head = reader.head;
        while let Some(block) = reader.next_block(&mut self.scratch)? {
            let from = self.raws.len();
            self.uptimes_us.extend_from_slice(block.uptimes_us);
            self.raws.extend_from_slice(block.raws);
            self.blocks.push(BlockAt {
                sensor: block.sensor,
                from,
                to: self.raws.len(),
                bad: block.bad,
            });
        }
        Ok(())
    }

    /// Samples in the batch, usable or not.
    pub fn count(&self) -> u64 {
        self.raws.len() as u64
    }

    /// Uptime of the earliest sample, or of `complete_until` in a batch without any.
    pub fn first_uptime_us(&self) -> u64 {
        let firsts = self.blocks.iter().filter_map(|block| {
            let times = self.uptimes_us.get(block.from..block.to)?;
            times.first().copied()
        });
        firsts.min().unwrap_or(self.head.complete_until_us)
    }

    /// Every sample of a block, usable or not.
    pub fn all<'a>(
        &'a self,
        block: &BlockAt,
        mapping: &'a Mapping,
    ) -> impl Iterator<Item = Found> + use<'a> {
        let (from, bad, sensor) = (block.from, block.bad, block.sensor);
        let uptimes = &self.uptimes_us[from..block.to];
        let raws = &self.raws[from..block.to];
        let numbered = uptimes.iter().zip(raws).enumerate();
        numbered.map(move |(index, (uptime_us, raw))| Found {
            uptime_us: *uptime_us,
            is_bad: bad.contains(index),
            sample: Sample {
                time_us: mapping.event_us(*uptime_us),
                raw: *raw,
                block: sensor,
                index: index as u16,
            },
        })
    }

    /// Puts the usable samples of a block into `samples`, with event times up to `latest_us`.
    pub fn resolve(&mut self, block: &BlockAt, mapping: &Mapping, latest_us: i64) -> Unusable {
        self.samples.clear();
        let mut unusable = Unusable::default();
        let uptimes = &self.uptimes_us[block.from..block.to];
        let raws = &self.raws[block.from..block.to];
        for (index, (uptime_us, raw)) in uptimes.iter().zip(raws).enumerate() {
            if block.bad.contains(index) {
                unusable.bad += 1;
                continue;
            }
            let time_us = mapping.event_us(*uptime_us);
            if !(EARLIEST_US..=latest_us).contains(&time_us) {
                unusable.implausible += 1;
                continue;
            }
            self.samples.push(Sample {
                time_us,
                raw: *raw,
                block: block.sensor,
                index: index as u16,
            });
        }
        unusable
    }
}
