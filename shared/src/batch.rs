//! Batches: samples of a device sent together, as time axes and one block per sensor.

use crate::block::BadSet;
use crate::body::{BodyError, Writer};
use crate::ids::CatalogHash;
use crate::limits::BLOCK_SAMPLES_MAX;

/// Most bytes of a batch before its blocks: message number, catalog, base, complete until, count.
/// A frame is at most `frame::HEADER_BYTES_MAX`, this, the bounds of its axes and blocks
/// ([`crate::axis::Bound`], [`crate::block::Bound`]), and `frame::TRAILER_BYTES`.
pub const HEAD_BYTES_MAX: usize = 1 + 4 + 10 + 10 + 2;

/// What stands before a batch's axes and blocks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The catalog whose sensor indices are meant.
    pub catalog: CatalogHash,
    /// Uptime in µs that all times of the batch count from; at most the first sample's.
    pub base_us: u64,
    /// Uptime in µs up to which the device's stream is complete over all its sensors.
    pub complete_until_us: u64,
}

/// One sensor's samples, to be written into a batch.
#[derive(Debug, Clone, Copy)]
pub struct BlockSource<'s> {
    /// Index in the catalog.
    pub sensor: u16,
    /// Low 16 bits of `taken` when the first sample was taken: that sample's index.
    pub first_index: u16,
    /// Sample times in µs after `base_us`, ascending; as many as `raws`, 1 to 255.
    pub offsets_us: &'s [u32],
    /// Raw values; what stands at a bad sample is ignored.
    pub raws: &'s [i64],
    /// Which samples are bad.
    pub bad: BadSet,
}

/// One sensor's samples, read from a batch.
#[derive(Debug, Clone, Copy)]
pub struct Block<'s> {
    /// Index in the catalog.
    pub sensor: u16,
    /// Low 16 bits of the first sample's index in `taken`.
    pub first_index: u16,
    /// Sample times: uptime in µs, ascending; as many as `raws`.
    pub uptimes_us: &'s [u64],
    /// Raw values; 0 at a bad sample.
    pub raws: &'s [i64],
    /// Which samples are bad.
    pub bad: BadSet,
}

/// Room for one decoded block and its axis: about 4 KiB, reused from block to block.
#[derive(Debug)]
pub struct Scratch {
    times: [u64; BLOCK_SAMPLES_MAX],
    raws: [i64; BLOCK_SAMPLES_MAX],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            times: [0; BLOCK_SAMPLES_MAX],
            raws: [0; BLOCK_SAMPLES_MAX],
        }
    }
}

/// Writes a batch message (its number included). Blocks in ascending sensor order.
pub fn write<'s>(
    writer: &mut Writer<'_>,
    head: &BatchHead,
    blocks: impl Iterator<Item = BlockSource<'s>> + Clone,
) -> Result<(), BodyError> {
    let _ = (writer, head, blocks);
    unimplemented!("written by the wire work")
}

/// A batch's head, and its blocks one by one.
#[derive(Debug, Clone)]
pub struct BatchReader<'a> {
    /// What stands before axes and blocks.
    pub head: BatchHead,
    body: &'a [u8],
}

impl<'a> BatchReader<'a> {
    /// Reads the head; `body` is what stands behind the message number.
    pub fn new(body: &'a [u8]) -> Result<Self, BodyError> {
        let _ = body;
        unimplemented!("written by the wire work")
    }

    /// Decodes the next block into `scratch`; `None` behind the last.
    pub fn next_block<'s>(
        &mut self,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Block<'s>>, BodyError> {
        let _ = (&self.body, &scratch.times, &scratch.raws);
        unimplemented!("written by the wire work")
    }
}
