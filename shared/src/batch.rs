//! Batches: samples of a device sent together, as time axes and one block per sensor.
//!
//! ```text
//! batch = 4 varint | catalog u32 LE | base_us varint | zigzag varint complete_until_us − base_us
//!       | number of blocks varint | blocks, sensors ascending
//! block = head u8: encoding in bits 0-3 ([`crate::block`]), flags in bits 4-7
//!       | bit 4: sensors skipped, varint     else the next sensor (the first: 0)
//!       | bit 5: first index, u16 LE         else as in the block before (the first: 0)
//!       | bit 6: axis reference, varint      else as in the block before
//!                0: an axis follows ([`crate::axis`]); d: that of d blocks before
//!       | bit 7: bad marks                   else all samples are good
//!       | payload of the good samples
//! ```
//! An axis stands in the first block that has it. Nothing needs a table: the encoder finds equal
//! offsets by comparing slices, the decoder remembers where each block's axis stands.

use crate::axis;
use crate::block::{self, BadSet, Choice, Encoding};
use crate::body::{BodyError, BodyFault, Reader, Writer};
use crate::ids::CatalogHash;
use crate::limits::{AXES_MAX, BLOCK_SAMPLES_MAX, FRAME_BYTES_MAX, SENSORS_MAX};
use crate::message::up;

const ENCODING: u8 = 0x0f;
const SENSOR_GAP: u8 = 0x10;
const FIRST_INDEX: u8 = 0x20;
const AXIS: u8 = 0x40;
const BAD: u8 = 0x80;

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
///
/// Blocks with equal offsets share one axis. Beside `writer`'s buffer it takes about 1 KiB of
/// stack on a Cortex-M and no heap.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers hand over `slice.iter().map(..)` as it is"
)]
pub fn write<'s>(
    writer: &mut Writer<'_>,
    head: &BatchHead,
    blocks: impl Iterator<Item = BlockSource<'s>> + Clone,
) -> Result<(), BodyError> {
    let count = blocks.clone().take(SENSORS_MAX + 1).count();
    if count > SENSORS_MAX {
        return Err(writer.error(BodyFault::Limit));
    }
    writer.varint(up::BATCH.into())?;
    writer.put(&head.catalog.0.to_le_bytes())?;
    writer.varint(head.base_us)?;
    writer.zigzag(head.complete_until_us.wrapping_sub(head.base_us) as i64)?;
    writer.varint(count as u64)?;
    let mut previous: Option<BlockSource<'s>> = None;
    for (number, block) in blocks.clone().enumerate() {
        write_block(writer, previous.as_ref(), &block, || {
            let earlier = blocks.clone().take(number);
            let same = earlier
                .enumerate()
                .filter(|(_, one)| one.offsets_us == block.offsets_us);
            same.last().map(|(at, _)| number - at)
        })?;
        previous = Some(block);
    }
    Ok(())
}

/// The encoding chosen for a block and its payload's bytes, for those who count bytes.
pub fn payload_bytes(block: &BlockSource<'_>) -> (Encoding, usize) {
    let choice = Choice::of(&block.values());
    (choice.encoding(), choice.bytes)
}

impl<'s> BlockSource<'s> {
    /// The raw values of the good samples.
    fn values(&self) -> impl Iterator<Item = i64> + Clone + use<'s> {
        let bad = self.bad;
        let raws = self.raws.iter().enumerate();
        raws.filter(move |(at, _)| !bad.contains(*at))
            .map(|(_, raw)| *raw)
    }
}

fn write_block(
    writer: &mut Writer<'_>,
    previous: Option<&BlockSource<'_>>,
    block: &BlockSource<'_>,
    axis_distance: impl FnOnce() -> Option<usize>,
) -> Result<(), BodyError> {
    let least = previous.map_or(0, |one| usize::from(one.sensor) + 1);
    let count = block.raws.len();
    if usize::from(block.sensor) >= SENSORS_MAX || !(1..=BLOCK_SAMPLES_MAX).contains(&count) {
        return Err(writer.error(BodyFault::Limit));
    }
    let Some(gap) = usize::from(block.sensor).checked_sub(least) else {
        return Err(writer.error(BodyFault::Value));
    };
    if block.offsets_us.len() != count {
        return Err(writer.error(BodyFault::Value));
    }
    let bad = block.bad.limited_to(count);
    let raws = block.raws.iter().enumerate();
    let values = raws
        .filter(|(at, _)| !bad.contains(*at))
        .map(|(_, raw)| *raw);
    let choice = Choice::of(&values);
    let mut flags = 0;
    if gap > 0 {
        flags |= SENSOR_GAP;
    }
    if previous.map_or(0, |one| one.first_index) != block.first_index {
        flags |= FIRST_INDEX;
    }
    if previous.is_none_or(|one| one.offsets_us != block.offsets_us) {
        flags |= AXIS;
    }
    if !bad.is_empty() {
        flags |= BAD;
    }
    writer.byte(choice.encoding() as u8 | flags)?;
    if flags & SENSOR_GAP != 0 {
        writer.varint(gap as u64)?;
    }
    if flags & FIRST_INDEX != 0 {
        writer.put(&block.first_index.to_le_bytes())?;
    }
    if flags & AXIS != 0 {
        // A block cannot be 0 before itself: that says that its axis follows.
        let distance = axis_distance().unwrap_or(0);
        writer.varint(distance as u64)?;
        if distance == 0 {
            axis::write(writer, block.offsets_us)?;
        }
    }
    if flags & BAD != 0 {
        bad.write(writer, count)?;
    }
    choice.write(writer, &values)
}

/// A batch's head, and its blocks one by one.
#[derive(Debug, Clone)]
pub struct BatchReader<'a> {
    /// What stands before axes and blocks.
    pub head: BatchHead,
    reader: Reader<'a>,
    blocks: usize,
    read: usize,
    /// The previous block's sensor and first index.
    sensor: Option<u16>,
    first_index: u16,
    /// Where each block's axis stands, counted from the message's number.
    axes: [u16; AXES_MAX],
}

impl<'a> BatchReader<'a> {
    /// Reads the head; `body` is what stands behind the message number.
    ///
    /// Errors count their places from the number, as all do: it takes one byte.
    pub fn new(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        Self::open(&mut reader).map_err(behind_number)
    }

    fn open(reader: &mut Reader<'a>) -> Result<Self, BodyError> {
        if reader.rest().len() > FRAME_BYTES_MAX {
            return Err(reader.error(BodyFault::Limit));
        }
        let catalog = CatalogHash(reader.u32_le()?);
        let base_us = reader.varint()?;
        let head = BatchHead {
            catalog,
            base_us,
            complete_until_us: base_us.wrapping_add(reader.zigzag()? as u64),
        };
        let limit = reader.error(BodyFault::Limit);
        let blocks = reader.varint()?;
        if blocks > SENSORS_MAX as u64 {
            return Err(limit);
        }
        Ok(Self {
            head,
            reader: reader.clone(),
            blocks: blocks as usize,
            read: 0,
            sensor: None,
            first_index: 0,
            axes: [0; AXES_MAX],
        })
    }

    /// How many blocks the batch has.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Decodes the next block into `scratch`; `None` behind the last and behind an error.
    pub fn next_block<'s>(
        &mut self,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Block<'s>>, BodyError> {
        if self.read >= self.blocks {
            return Ok(None);
        }
        let block = self.read_block(scratch);
        if block.is_err() {
            self.blocks = self.read;
        }
        self.read += 1;
        block.map(Some).map_err(behind_number)
    }

    fn read_block<'s>(&mut self, scratch: &'s mut Scratch) -> Result<Block<'s>, BodyError> {
        let at = self.reader.error(BodyFault::Limit);
        let head = self.reader.byte()?;
        let number = head & ENCODING;
        let encoding = Encoding::from_number(number).ok_or(BodyError {
            fault: BodyFault::Encoding { number },
            ..at
        })?;
        let least = self.sensor.map_or(0, |sensor| u64::from(sensor) + 1);
        let gap = if head & SENSOR_GAP == 0 {
            0
        } else {
            self.reader.varint()?
        };
        let sensor = least.saturating_add(gap);
        if sensor >= SENSORS_MAX as u64 {
            return Err(at);
        }
        let sensor = sensor as u16;
        self.sensor = Some(sensor);
        if head & FIRST_INDEX != 0 {
            self.first_index = self.reader.u16_le()?;
        }
        let count = self.read_axis(head & AXIS != 0, &mut scratch.times)?;
        let bad = if head & BAD == 0 {
            BadSet::default()
        } else {
            BadSet::read(&mut self.reader, count)?
        };
        let good = count.saturating_sub(bad.count() as usize);
        let raws = scratch.raws.get_mut(..count).unwrap_or_default();
        block::read(
            &mut self.reader,
            encoding,
            raws.get_mut(..good).unwrap_or_default(),
        )?;
        if good < count {
            block::spread(raws, &bad);
        }
        Ok(Block {
            sensor,
            first_index: self.first_index,
            uptimes_us: scratch.times.get(..count).unwrap_or_default(),
            raws,
            bad,
        })
    }

    /// Reads the block's axis, inline or where an earlier block's stands; returns its samples.
    fn read_axis(
        &mut self,
        referenced: bool,
        times: &mut [u64; BLOCK_SAMPLES_MAX],
    ) -> Result<usize, BodyError> {
        let wrong = self.reader.error(BodyFault::Value);
        let distance = if referenced { self.reader.varint()? } else { 1 };
        let at = if distance == 0 {
            self.reader.at() as u16
        } else {
            let earlier = (self.read as u64).checked_sub(distance);
            let earlier = earlier.and_then(|earlier| self.axes.get(earlier as usize));
            *earlier.ok_or(wrong)?
        };
        if let Some(slot) = self.axes.get_mut(self.read) {
            *slot = at;
        }
        let base_us = self.head.base_us;
        if distance == 0 {
            return axis::read(&mut self.reader, base_us, times);
        }
        axis::read(&mut self.reader.seek(at.into()), base_us, times)
    }
}

fn behind_number(error: BodyError) -> BodyError {
    BodyError {
        at: error.at + 1,
        ..error
    }
}
