//! Totals: what became of every sample on the device, cumulative since the boot began, or since the
//! boot took a new incarnation.
//!
//! Invariant: whoever freezes Totals closes the open batch first. So they are an exact cut: a sample
//! that they count as taken was suppressed, failed, evicted, or stands in a frame before them.

use tidegate_shared::body::{BodyError, Writer, varint_bytes};
use tidegate_shared::frame::{HEADER_BYTES_MAX, TRAILER_BYTES};
use tidegate_shared::ids::CatalogHash;
use tidegate_shared::message::{Counts, TotalsHead, write_totals};

/// Most bytes of a Totals frame without its counts: header, message number, catalog, uptime,
/// range and trailer.
const FIXED_BYTES_MAX: usize = HEADER_BYTES_MAX + 1 + 5 + 10 + 3 + 3 + TRAILER_BYTES;

/// A counter per sensor and fate. Sensors from `SENSORS` on are ignored.
#[derive(Debug, Clone)]
pub struct Totals<const SENSORS: usize> {
    counts: [Counts; SENSORS],
    changed: bool,
}

impl<const SENSORS: usize> Default for Totals<SENSORS> {
    fn default() -> Self {
        Self {
            counts: [Counts::default(); SENSORS],
            changed: false,
        }
    }
}

impl<const SENSORS: usize> Totals<SENSORS> {
    /// Counts a sample as taken and returns its index: how many were taken before it.
    pub fn take(&mut self, sensor: u16) -> u64 {
        let mut index = 0;
        self.count(sensor, |counts| {
            index = counts.taken;
            counts.taken += 1;
        });
        index
    }

    /// Counts a taken sample as held back by the gate.
    pub fn suppress(&mut self, sensor: u16) {
        self.count(sensor, |counts| counts.suppressed += 1);
    }

    /// Counts a taken sample as failed: it has no value.
    pub fn fail(&mut self, sensor: u16) {
        self.count(sensor, |counts| counts.failed += 1);
    }

    /// Counts samples as dropped with a frame that the outbox could not keep.
    pub fn evict(&mut self, sensor: u16, samples: u64) {
        self.count(sensor, |counts| counts.evicted += samples);
    }

    /// Counts a sample that is held as taken: it is sent again under another incarnation.
    pub fn resend(&mut self, sensor: u16, samples: u64) {
        self.count(sensor, |counts| counts.taken += samples);
    }

    /// Begins anew at 0.
    pub fn begin_anew(&mut self) {
        self.counts = [Counts::default(); SENSORS];
        self.changed = true;
    }

    /// Begins with the counts of a boot that is over, to end it.
    pub fn begin_with(&mut self, counts: [Counts; SENSORS]) {
        self.counts = counts;
        self.changed = true;
    }

    /// One sensor's counts.
    pub fn get(&self, sensor: u16) -> Counts {
        self.counts
            .get(usize::from(sensor))
            .copied()
            .unwrap_or_default()
    }

    /// All sensors' counts added up.
    pub fn sum(&self) -> Counts {
        let add = |sum: Counts, one: &Counts| Counts {
            taken: sum.taken + one.taken,
            suppressed: sum.suppressed + one.suppressed,
            failed: sum.failed + one.failed,
            evicted: sum.evicted + one.evicted,
        };
        self.counts.iter().fold(Counts::default(), add)
    }

    /// Whether a count changed since [`Totals::note_sent`].
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Remembers that the counts as they are now were put into frames.
    pub fn note_sent(&mut self) {
        self.changed = false;
    }

    /// How many of the sensors from `first` up to `end` fit one frame of `frame_bytes_max`;
    /// at least one.
    pub fn part(&self, first: u16, end: u16, frame_bytes_max: usize) -> u16 {
        let mut bytes = FIXED_BYTES_MAX;
        let fits = (first..end).take_while(|sensor| {
            let one = self.get(*sensor);
            let counts = [one.taken, one.suppressed, one.failed, one.evicted];
            bytes += counts.into_iter().map(varint_bytes).sum::<usize>();
            bytes <= frame_bytes_max
        });
        (fits.count() as u16).max(1)
    }

    /// Most bytes of the frames that say the first `count` sensors' counts, as long as none of
    /// them grows by more than two digits of a varint.
    pub fn bytes_max(&self, count: u16, frame_bytes_max: usize) -> usize {
        let one = |sensor: u16| {
            let one = self.get(sensor);
            let counts = [one.taken, one.suppressed, one.failed, one.evicted];
            counts.into_iter().map(varint_bytes).sum::<usize>() + 2
        };
        let counts_bytes: usize = (0..count).map(one).sum();
        // A part leaves less than one sensor's 40 bytes unused.
        let parts = counts_bytes
            .div_ceil(frame_bytes_max - FIXED_BYTES_MAX - 40)
            .max(1);
        counts_bytes + parts * FIXED_BYTES_MAX
    }

    /// Writes the Totals message of the sensors `first .. first + count`.
    pub fn write(
        &self,
        writer: &mut Writer<'_>,
        catalog: CatalogHash,
        uptime_us: u64,
        first: u16,
        count: u16,
    ) -> Result<(), BodyError> {
        let head = TotalsHead {
            catalog,
            uptime_us,
            first,
            count,
        };
        self.write_under(writer, &head)
    }

    /// Writes the Totals message with a head.
    pub fn write_under(&self, writer: &mut Writer<'_>, head: &TotalsHead) -> Result<(), BodyError> {
        let sensors = head.first..head.first.saturating_add(head.count);
        write_totals(writer, head, sensors.map(|sensor| self.get(sensor)))
    }

    fn count(&mut self, sensor: u16, change: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.counts.get_mut(usize::from(sensor)) {
            change(counts);
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use tidegate_shared::message::Up;

    use super::*;

    #[test]
    fn every_fate_has_its_counter() {
        let mut totals = Totals::<2>::default();
        assert_eq!(totals.take(1), 0);
        assert_eq!(totals.take(1), 1);
        totals.take(1);
        totals.take(1);
        totals.suppress(1);
        totals.fail(1);
        totals.evict(1, 2);
        totals.take(7);
        let counts = Counts {
            taken: 4,
            suppressed: 1,
            failed: 1,
            evicted: 2,
        };
        assert_eq!(totals.get(1), counts);
        assert_eq!(totals.sum(), counts, "sensor 7 does not exist");
        assert!(totals.is_changed());
        totals.note_sent();
        assert!(!totals.is_changed());
    }

    #[test]
    fn parts_cover_all_sensors_and_fit_their_frames() {
        let mut totals = Totals::<256>::default();
        for sensor in 0..256 {
            totals.evict(sensor, u64::from(sensor) << 40);
            totals.take(sensor);
        }
        let (mut first, mut read) = (0, Vec::new());
        while first < 256 {
            let count = totals.part(first, 256, 256);
            let mut bytes = [0; 256 - HEADER_BYTES_MAX - TRAILER_BYTES];
            let mut writer = Writer::new(&mut bytes);
            totals
                .write(&mut writer, CatalogHash(u32::MAX), u64::MAX, first, count)
                .unwrap();
            let Ok(Up::Totals(message)) = Up::read(writer.written()) else {
                panic!("not totals");
            };
            assert_eq!((message.head.first, message.head.count), (first, count));
            read.extend(message.counts().map(Result::unwrap));
            first += count;
        }
        assert_eq!(read.len(), 256);
        assert_eq!(read[255], totals.get(255));
    }
}
