//! The open batch: samples of all sensors, gathered until they are worth a frame.
//!
//! Every sensor has a block buffer of its own; a batch freezes all of them at once. It becomes
//! *due* when a sensor has `samples_max` samples, when the next row might not fit the frame,
//! when its first sample has waited `hold_us`, or a sample of an urgent sensor a second. It is
//! closed when time moves past the moment at which it became due, not at that moment: so all
//! sensors read at one time stand in one frame, and share one time axis. Only a frame that is
//! really full is closed in the middle of such a row.
//!
//! The bytes are known beforehand as an upper bound, kept up to date per sample: one bound per
//! block, and one per time axis. A sensor *follows* another while its times are a prefix of the
//! other's; followers of one leader with as many samples each share its axis.

use heapless::Vec;
use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::frame::{HEADER_BYTES_MAX, TRAILER_BYTES};
use tidegate_shared::ids::CatalogHash;
use tidegate_shared::limits::{BLOCK_SAMPLES_MAX, SENSORS_MAX};
use tidegate_shared::{axis, block};

use crate::sensor::Reading;

/// How long a sample of an urgent sensor waits, in µs.
pub const URGENT_US: u64 = 1_000_000;
/// Longest `hold_us`: sample times are 32-bit offsets from the batch's first.
pub const HOLD_US_MAX: u64 = 3_600_000_000;
/// Bytes that one more sample takes at most beside what the bounds say, by rule of thumb.
const ROW_BYTES_PER_SENSOR: usize = 3;

const FIXED_BYTES: usize = HEADER_BYTES_MAX + batch::HEAD_BYTES_MAX + TRAILER_BYTES;

/// When a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Largest frame in bytes, header and trailer included.
    pub bytes_max: usize,
    /// Most samples of one sensor; 60 by default.
    pub samples_max: usize,
    /// Longest wait of the first sample, in µs of uptime; at most an hour; 60 s by default.
    pub hold_us: u64,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            bytes_max: tidegate_shared::limits::FRAME_BYTES_DEFAULT,
            samples_max: 60,
            hold_us: 60_000_000,
        }
    }
}

/// A sample that has passed the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Index in the catalog.
    pub sensor: u16,
    /// Uptime in µs.
    pub time_us: u64,
    /// Its value.
    pub reading: Reading,
    /// How many samples of this sensor were taken before it.
    pub index: u64,
    /// Whether it may wait for a second only.
    pub urgent: bool,
}

#[derive(Debug)]
struct BlockBuffer<const SAMPLES: usize> {
    offsets_us: Vec<u32, SAMPLES>,
    raws: Vec<i64, SAMPLES>,
    bad: BadSet,
    first_index: u16,
    /// The sensor whose times these are a prefix of; itself when it leads.
    leader: u16,
    bound: block::Bound,
    axis: axis::Bound,
}

impl<const SAMPLES: usize> BlockBuffer<SAMPLES> {
    fn new() -> Self {
        Self {
            offsets_us: Vec::new(),
            raws: Vec::new(),
            bad: BadSet::default(),
            first_index: 0,
            leader: 0,
            bound: block::Bound::new(),
            axis: axis::Bound::new(),
        }
    }

    fn len(&self) -> usize {
        self.raws.len()
    }

    /// Whether these times continue `own` with `offset_us`.
    fn leads(&self, own: &[u32], offset_us: u32) -> bool {
        self.offsets_us.get(own.len()) == Some(&offset_us) && self.offsets_us.starts_with(own)
    }
}

/// Samples that wait for their frame, at most `SAMPLES` of each of `SENSORS` sensors.
#[derive(Debug)]
pub struct Batch<const SENSORS: usize, const SAMPLES: usize> {
    config: BatchConfig,
    blocks: [BlockBuffer<SAMPLES>; SENSORS],
    base_us: u64,
    /// When it is to be closed; none while it is empty.
    deadline_us: Option<u64>,
    /// Upper bound of the frame's bytes.
    bytes: usize,
    /// Time of the newest sample in it.
    newest_us: u64,
    /// From the first to the newest sample of the batch before, in µs: as long as that, the
    /// buffers held what came. 0 before the first batch.
    span_us: u64,
}

/// How long, from `now_us` on, samples can go on to come as they did before the batch overflows
/// or is late, in µs. `span_us` is the time over which the batch before was gathered; the open
/// batch, if there is one, has its first sample and its deadline at these times.
pub fn spare_us(span_us: u64, open: Option<(u64, u64)>, now_us: u64) -> u64 {
    let Some((first_us, deadline_us)) = open else {
        return span_us;
    };
    let full_us = first_us.saturating_add(span_us);
    full_us.min(deadline_us).saturating_sub(now_us)
}

/// Why a sample is not taken into the batch: close it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFull;

impl<const SENSORS: usize, const SAMPLES: usize> Batch<SENSORS, SAMPLES> {
    /// An empty batch. Limits beyond the capacity are lowered to it.
    pub fn new(config: BatchConfig) -> Self {
        const {
            assert!(
                SENSORS >= 1 && SENSORS <= SENSORS_MAX,
                "a device has 1 to 256 sensors"
            );
            assert!(
                SAMPLES >= 1 && SAMPLES <= BLOCK_SAMPLES_MAX,
                "a block holds 1 to 255 samples"
            );
        }
        Self {
            config,
            blocks: core::array::from_fn(|_| BlockBuffer::new()),
            base_us: 0,
            deadline_us: None,
            bytes: FIXED_BYTES,
            newest_us: 0,
            span_us: 0,
        }
    }

    /// What it is set to.
    pub fn config(&self) -> &BatchConfig {
        &self.config
    }

    /// Sets the largest frame; what is already gathered stays.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.config.bytes_max = bytes_max;
    }

    /// Whether no sample waits.
    pub fn is_empty(&self) -> bool {
        self.deadline_us.is_none()
    }

    /// Uptime at or after which the batch is to be closed; none while it is empty. When a size
    /// limit was reached it lies in the past.
    pub fn deadline_us(&self) -> Option<u64> {
        self.deadline_us
    }

    /// How long samples can wait outside, from `now_us` on: see [`spare_us`].
    pub fn spare_us(&self, now_us: u64) -> u64 {
        let open = self
            .deadline_us
            .map(|deadline_us| (self.base_us, deadline_us));
        spare_us(self.span_us, open, now_us)
    }

    /// Samples that wait, per sensor.
    pub fn receipt(&self) -> impl Iterator<Item = (u8, u8)> + Clone + '_ {
        self.filled()
            .map(|(sensor, block)| (sensor as u8, block.len() as u8))
    }

    /// Takes a sample, in ascending time. `BatchFull` when it must be closed before.
    pub fn push(&mut self, sample: &Sample) -> Result<(), BatchFull> {
        let base_us = if self.is_empty() {
            sample.time_us
        } else {
            self.base_us
        };
        let offset_us = sample.time_us.checked_sub(base_us).ok_or(BatchFull)?;
        let offset_us = u32::try_from(offset_us).map_err(|_| BatchFull)?;
        let follows = self.leader_for(sample.sensor, offset_us);
        let samples_max = self.config.samples_max.clamp(1, SAMPLES);
        let block = self
            .blocks
            .get_mut(usize::from(sample.sensor))
            .ok_or(BatchFull)?;
        let (mut bound, mut axis) = (block.bound, block.axis);
        axis.push(offset_us);
        let raw = match sample.reading {
            Reading::Good(raw) => {
                bound.push(raw);
                raw
            }
            Reading::Bad(raw) => {
                bound.push_bad();
                raw
            }
        };
        // Until the row is complete, its blocks stand with two lengths: one more axis.
        let axis_bytes = if follows == Some(block.leader) && block.len() > 0 {
            0
        } else {
            axis.bytes()
        };
        let bytes = self.bytes + bound.bytes() - block.bound.bytes() + axis_bytes;
        let is_first = self.deadline_us.is_none();
        if block.len() >= samples_max || (bytes > self.config.bytes_max && !is_first) {
            return Err(BatchFull);
        }
        if block.raws.is_empty() {
            block.first_index = sample.index as u16;
        }
        if matches!(sample.reading, Reading::Bad(_)) {
            block.bad.insert(block.raws.len());
        }
        block.leader = follows.unwrap_or(sample.sensor);
        (block.bound, block.axis) = (bound, axis);
        block.raws.push(raw).map_err(|_| BatchFull)?;
        block.offsets_us.push(offset_us).map_err(|_| BatchFull)?;
        let wait_us = if sample.urgent {
            URGENT_US
        } else {
            HOLD_US_MAX
        };
        let wait_us = wait_us.min(self.config.hold_us).min(HOLD_US_MAX);
        let deadline_us = sample.time_us.saturating_add(wait_us);
        let is_full = block.len() >= samples_max;
        let deadline_us = if is_full { sample.time_us } else { deadline_us };
        self.base_us = base_us;
        self.bytes = bytes;
        self.newest_us = sample.time_us;
        self.deadline_us = Some(
            self.deadline_us
                .map_or(deadline_us, |one| one.min(deadline_us)),
        );
        Ok(())
    }

    /// Time has moved on to `time_us`: a row is complete. Returns whether to close the batch.
    pub fn is_due(&mut self, time_us: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        self.bytes = self.bytes_max();
        let filled = self.filled().count();
        let is_large = self.bytes + ROW_BYTES_PER_SENSOR * filled > self.config.bytes_max;
        is_large
            || self
                .deadline_us
                .is_some_and(|deadline_us| deadline_us <= time_us)
    }

    /// Writes the batch message.
    pub fn write(
        &self,
        writer: &mut Writer<'_>,
        catalog: CatalogHash,
        complete_until_us: u64,
    ) -> Result<(), BodyError> {
        let head = BatchHead {
            catalog,
            base_us: self.base_us,
            complete_until_us,
        };
        let sources = self.filled().map(|(sensor, block)| BlockSource {
            sensor,
            first_index: block.first_index,
            offsets_us: &block.offsets_us,
            raws: &block.raws,
            bad: block.bad,
        });
        batch::write(writer, &head, sources)
    }

    /// Empties it.
    pub fn clear(&mut self) {
        for block in &mut self.blocks {
            block.offsets_us.clear();
            block.raws.clear();
            block.bad = BadSet::default();
            block.bound = block::Bound::new();
            block.axis = axis::Bound::new();
        }
        if !self.is_empty() {
            self.span_us = self.newest_us.saturating_sub(self.base_us);
        }
        self.deadline_us = None;
        self.bytes = FIXED_BYTES;
    }

    fn filled(&self) -> impl Iterator<Item = (u16, &BlockBuffer<SAMPLES>)> + Clone {
        (0_u16..)
            .zip(&self.blocks)
            .filter(|(_, block)| block.len() > 0)
    }

    /// Upper bound of the frame's bytes, over the axes as they are shared now.
    fn bytes_max(&self) -> usize {
        let mut bytes = FIXED_BYTES;
        for (sensor, block) in self.filled() {
            bytes += block.bound.bytes();
            let shared = self
                .filled()
                .take_while(|(earlier, _)| *earlier < sensor)
                .any(|(_, one)| one.leader == block.leader && one.len() == block.len());
            if !shared {
                bytes += block.axis.bytes();
            }
        }
        bytes
    }

    /// Whose times `sensor`'s are a prefix of, `offset_us` included: its leader, or a new one.
    fn leader_for(&self, sensor: u16, offset_us: u32) -> Option<u16> {
        let own = self.blocks.get(usize::from(sensor))?;
        let leads = |one: u16| {
            let block = self.blocks.get(usize::from(one));
            one != sensor && block.is_some_and(|block| block.leads(&own.offsets_us, offset_us))
        };
        if own.len() > 0 && own.leader != sensor && leads(own.leader) {
            return Some(own.leader);
        }
        if own.len() > 0 && own.leader == sensor {
            return None;
        }
        self.filled()
            .map(|(one, _)| one)
            .find(|one| self.is_leader(*one) && leads(*one))
    }

    fn is_leader(&self, sensor: u16) -> bool {
        self.blocks
            .get(usize::from(sensor))
            .is_some_and(|block| block.leader == sensor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn sample(sensor: u16, time_us: u64, raw: i64) -> Sample {
        Sample {
            sensor,
            time_us,
            reading: Reading::Good(raw),
            index: 0,
            urgent: false,
        }
    }

    fn frame_bytes<const S: usize, const N: usize>(batch: &Batch<S, N>) -> usize {
        let mut out = [0; 8_192];
        let mut writer = Writer::new(&mut out);
        batch
            .write(&mut writer, CatalogHash(u32::MAX), u64::MAX / 2)
            .unwrap();
        HEADER_BYTES_MAX + writer.len() + TRAILER_BYTES
    }

    #[test]
    fn spare_time_is_what_the_batch_before_lasted() {
        assert_eq!(spare_us(0, None, 0), 0, "nothing is known before a batch");
        assert_eq!(spare_us(6 * SECOND, None, 99), 6 * SECOND);
        let open = Some((10 * SECOND, 70 * SECOND));
        assert_eq!(spare_us(6 * SECOND, open, 12 * SECOND), 4 * SECOND);
        assert_eq!(spare_us(6 * SECOND, open, 17 * SECOND), 0);
        let urgent = Some((10 * SECOND, 11 * SECOND));
        assert_eq!(spare_us(6 * SECOND, urgent, 10 * SECOND), SECOND);
    }

    #[test]
    fn a_closed_batch_says_how_long_its_buffers_lasted() {
        let mut batch = Batch::<1, 4>::new(BatchConfig::default());
        for time_us in [100, 200, 300, 400] {
            batch.push(&sample(0, time_us, 1)).unwrap();
        }
        assert_eq!(batch.spare_us(400), 0);
        batch.clear();
        assert_eq!(batch.spare_us(450), 300);
        batch.push(&sample(0, 500, 1)).unwrap();
        assert_eq!(batch.spare_us(600), 200);
        batch.clear();
        batch.clear();
        assert_eq!(batch.spare_us(600), 0, "a single sample says nothing");
    }

    #[test]
    fn it_is_due_when_a_row_of_sixty_is_complete() {
        let mut batch = Batch::<2, 60>::new(BatchConfig {
            hold_us: HOLD_US_MAX,
            ..BatchConfig::default()
        });
        for row in 1..=60 {
            assert!(!batch.is_due(row * SECOND), "row {row}");
            batch.push(&sample(0, row * SECOND, 20)).unwrap();
            batch.push(&sample(1, row * SECOND, 30)).unwrap();
        }
        assert_eq!(batch.push(&sample(0, 61 * SECOND, 20)), Err(BatchFull));
        assert!(batch.is_due(60 * SECOND + 1));
        assert!(batch.receipt().eq([(0, 60), (1, 60)]));
        batch.clear();
        assert!(batch.is_empty() && !batch.is_due(u64::MAX));
        batch.push(&sample(0, 61 * SECOND, 20)).unwrap();
    }

    #[test]
    fn it_is_due_when_its_first_sample_has_waited() {
        let mut batch = Batch::<2, 60>::new(BatchConfig {
            hold_us: 5 * SECOND,
            ..BatchConfig::default()
        });
        batch.push(&sample(0, 10 * SECOND, 1)).unwrap();
        batch.push(&sample(1, 12 * SECOND, 1)).unwrap();
        assert_eq!(batch.deadline_us(), Some(15 * SECOND));
        assert!(!batch.is_due(15 * SECOND - 1));
        assert!(batch.is_due(15 * SECOND));
    }

    #[test]
    fn an_urgent_sample_waits_a_second() {
        let mut batch = Batch::<2, 60>::new(BatchConfig::default());
        batch.push(&sample(0, 10 * SECOND, 1)).unwrap();
        batch
            .push(&Sample {
                urgent: true,
                ..sample(1, 12 * SECOND, 1)
            })
            .unwrap();
        assert_eq!(batch.deadline_us(), Some(13 * SECOND));
    }

    #[test]
    fn sensors_in_step_share_one_axis() {
        let mut batch = Batch::<8, 60>::new(BatchConfig::default());
        // Odd microseconds: an axis costs two bytes and more per sample.
        for row in 0..30_u64 {
            let time_us = SECOND * row + (row * 7_919) % 1_000;
            batch.is_due(time_us);
            for sensor in 0..8 {
                batch.push(&sample(sensor, time_us, 5)).unwrap();
            }
        }
        batch.is_due(u64::MAX);
        let (bound, bytes) = (batch.bytes, frame_bytes(&batch));
        assert!(
            bytes <= bound && bound < bytes + 100,
            "{bytes} bytes, bound {bound}"
        );
    }

    proptest! {
        /// The bound never lies: whatever is taken fits `bytes_max`.
        #[test]
        fn what_was_taken_fits_the_frame(
            bytes_max in 200_usize..1_024,
            rows in prop::collection::vec(
                (1_u64..3_000_000, prop::collection::vec((0..6_u16, -1_000_000..1_000_000_i64, 0..40_u8), 0..8)),
                1..80,
            ),
        ) {
            let mut batch = Batch::<6, 40>::new(BatchConfig { bytes_max, ..BatchConfig::default() });
            let mut time_us = 0;
            let (mut taken, mut closed) = (0_usize, 0_usize);
            let mut last = [0; 6];
            for (step_us, row) in rows {
                time_us += step_us;
                if batch.is_due(time_us) {
                    prop_assert!(frame_bytes(&batch) <= bytes_max);
                    closed += batch.receipt().map(|(_, samples)| usize::from(samples)).sum::<usize>();
                    batch.clear();
                }
                for (sensor, raw, dice) in row {
                    if core::mem::replace(&mut last[usize::from(sensor)], time_us) == time_us {
                        continue;
                    }
                    let reading = if dice == 0 { Reading::Bad(raw) } else { Reading::Good(raw) };
                    let one = Sample { reading, ..sample(sensor, time_us, raw) };
                    if batch.push(&one).is_err() {
                        prop_assert!(frame_bytes(&batch) <= bytes_max);
                        closed += batch.receipt().map(|(_, samples)| usize::from(samples)).sum::<usize>();
                        batch.clear();
                        prop_assert_eq!(batch.push(&one), Ok(()));
                    }
                    taken += 1;
                }
            }
            prop_assert!(batch.is_empty() || frame_bytes(&batch) <= bytes_max);
            let waiting = batch.receipt().map(|(_, samples)| usize::from(samples)).sum::<usize>();
            prop_assert_eq!(taken, closed + waiting);
        }
    }
}
