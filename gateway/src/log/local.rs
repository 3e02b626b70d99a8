//! The local log: segments and bases in one folder of the data directory.

use std::sync::Arc;

use super::base::ReadBase;
use super::bases::Bases;
use super::scan::{Batch, Batches};
use super::segments::Segments;
use super::{Base, Log, LogError, Recovery};
use crate::disk::Disk;
use crate::rules::settings::LogSettings;

/// A segment ends when the log has grown by this many times its base.
const GROWTH_PER_BASE: u64 = 4;
/// Most of what a segment's file is longer than the growth that ends it.
const SLACK_BYTES_MAX: u64 = 1 << 20;

/// A log of one partition, 0, in files.
pub struct LocalLog {
    segment_bytes: u64,
    bytes_max: u64,
    segments: Segments,
    bases: Bases,
    /// Of the newest base.
    base_bytes: u64,
    /// Bytes written since the newest base.
    grown: u64,
    /// The growth at which the next base is due.
    roll_at: u64,
}

/// An opened log and what was found.
pub struct Opened {
    /// The log; [`Log::read`] from `recovery.from` gives what is to be replayed.
    pub log: LocalLog,
    /// The state to begin with; `None` to begin with an empty one.
    pub base: Option<Base>,
    /// The report.
    pub recovery: Recovery,
}

impl LocalLog {
    /// Opens the log in a folder; writes nothing. `fresh_incarnation` is taken where the folder is
    /// empty.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &str,
        settings: LogSettings,
        fresh_incarnation: u32,
    ) -> Result<Opened, LogError> {
        let mut log = Self {
            segment_bytes: settings.segment_bytes,
            bytes_max: settings.bytes_max,
            bases: Bases::open(Arc::clone(&disk), folder)?,
            segments: Segments::open(disk, folder, "segment", fresh_incarnation, 0)?,
            base_bytes: 0,
            grown: 0,
            roll_at: 0,
        };
        let segments = &log.segments;
        let is_ours = |incarnation| {
            let mut list = segments.list();
            list.len() == 0 || list.any(|segment| segment.incarnation == incarnation)
        };
        let chosen = log.bases.choose(segments.oldest().unwrap_or(0), is_ours);
        let mut recovery = Recovery {
            bases_passed_over: chosen.passed_over,
            ..Recovery::default()
        };
        let base = log.begin_from(chosen.read, &mut recovery);
        log.recover(&mut recovery)?;
        Ok(Opened {
            log,
            base,
            recovery,
        })
    }

    fn begin_from(&mut self, read: Option<ReadBase>, recovery: &mut Recovery) -> Option<Base> {
        let Some(read) = read else {
            recovery.from = self.segments.oldest().unwrap_or(0);
            recovery.base_missing = recovery.from > 0;
            return None;
        };
        recovery.from = read.base.position;
        recovery.parts_damaged = read.damaged;
        recovery.parts_unnamed = read.unnamed;
        self.base_bytes = read.base.bytes();
        if self.segments.oldest().is_none() {
            self.segments.set_incarnation(read.incarnation);
        }
        Some(read.base)
    }

    fn recover(&mut self, recovery: &mut Recovery) -> Result<(), LogError> {
        let scanned = self.segments.scan(recovery.from)?;
        // Counted from the newest base of a roll: restarts must not put the next one off.
        let rolled = self.bases.positions().next_back().unwrap_or(0);
        self.grown = scanned.bytes.max(self.segments.written_since(rolled));
        self.roll_at = self.growth_max();
        recovery.end = self.segments.next();
        recovery.entries = scanned.entries;
        recovery.entries_lost = scanned.entries_lost;
        recovery.gaps = scanned.gaps;
        recovery.bytes_skipped = scanned.bytes_skipped;
        recovery.torn_bytes = scanned.torn_bytes;
        Ok(())
    }

    /// Position after the last entry.
    pub fn end(&self) -> u64 {
        self.segments.next()
    }

    /// How far back replay can reach: the position of the oldest base whose entries are all
    /// there, 0 when the log still has its first entry.
    pub fn start_position(&self) -> u64 {
        match self.segments.oldest().unwrap_or(0) {
            0 => 0,
            oldest => {
                let mut positions = self.bases.positions();
                positions
                    .find(|position| *position >= oldest)
                    .unwrap_or(self.end())
            }
        }
    }

    /// Positions of the bases replay can begin from, oldest first.
    pub fn base_positions(&self) -> impl Iterator<Item = u64> {
        self.bases.positions()
    }

    /// Reads the base at a position, as far as it can be read.
    pub fn read_base(&self, position: u64) -> Result<ReadBase, LogError> {
        self.bases.read(position)
    }

    /// Incarnation of the batches that follow.
    pub fn incarnation(&self) -> u32 {
        self.segments.incarnation()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes() + self.bases.bytes()
    }

    /// The store is older than what it said: the batches that follow carry another incarnation.
    pub fn restored(&mut self, new_incarnation: u32) {
        self.segments.set_incarnation(new_incarnation);
    }

    /// Leaves out positions that something else (the spool's marks) says were used: the log lost
    /// its tail. Returns how many entries that were.
    pub fn advance_to(&mut self, position: u64) -> u64 {
        let lost = position.saturating_sub(self.end());
        self.segments.advance_to(position);
        lost
    }

    /// Whether the log has grown enough for a base. After a failed [`Self::roll`] it must grow by
    /// another quarter first.
    pub fn roll_due(&self) -> bool {
        self.grown >= self.roll_at
    }

    fn growth_max(&self) -> u64 {
        self.segment_bytes.max(GROWTH_PER_BASE * self.base_bytes)
    }

    /// Bytes of a new segment's file: room for the batch that crosses the line.
    fn capacity(&self) -> u64 {
        let growth = self.growth_max();
        growth + (growth / 16).min(SLACK_BYTES_MAX)
    }

    /// Writes a base of everything appended so far, then begins a new segment, in the file of an
    /// old one when the log has its full size.
    ///
    /// After an error the log goes on in its present segment.
    pub fn roll(&mut self, base: &Base) -> Result<(), LogError> {
        let rolled = self.write_base(base).and_then(|()| self.begin_segment());
        if rolled.is_err() {
            self.roll_at = self.grown + self.growth_max() / 4;
        }
        rolled
    }

    /// Writes a base of everything appended so far and keeps only the newest two; begins a new
    /// segment only when the present one is full. For journals, which are replayed from their
    /// newest base only but read far back.
    pub fn checkpoint(&mut self, base: &Base) -> Result<(), LogError> {
        self.write_base(base)?;
        let oldest_kept = self.bases.oldest_kept().unwrap_or(0);
        if self.bases.remove_before(oldest_kept)? {
            self.segments.sync_names()?;
        }
        if self.segments.is_full(self.capacity() / 16) {
            self.begin_segment()?;
        }
        Ok(())
    }

    fn write_base(&mut self, base: &Base) -> Result<(), LogError> {
        self.prepare_base(base)?;
        self.base_bytes = self.bases.write(base, self.segments.incarnation())?;
        self.grown = 0;
        self.roll_at = self.growth_max();
        Ok(())
    }

    /// What a base covers is durable before the base is.
    fn prepare_base(&mut self, base: &Base) -> Result<(), LogError> {
        self.segments.settle()?;
        self.segments.sync()?;
        self.check_end(base.position)
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let newest = self.segments.list().next_back();
        if newest.is_some_and(|newest| newest.first == self.end()) && !self.segments.must_start() {
            return Ok(());
        }
        let capacity = self.capacity();
        let reuse = self.bytes() + capacity > self.bytes_max && self.recyclable() > 0;
        self.segments.start(capacity, reuse.then_some(0))?;
        let mut removed = false;
        while self.bytes() > self.bytes_max && self.recyclable() > 0 {
            self.segments.remove(0)?;
            removed = true;
        }
        let oldest = self.segments.oldest().unwrap_or(0);
        removed |= self.bases.remove_before(oldest)?;
        if removed {
            self.segments.sync_names()
        } else {
            Ok(())
        }
    }

    /// Segments that end before the oldest base that must be kept.
    fn recyclable(&self) -> usize {
        let position = self.bases.oldest_kept().unwrap_or(0);
        let count = self.segments.list().len().saturating_sub(1);
        let ranges = (0..count).map_while(|index| self.segments.range(index));
        ranges.take_while(|range| range.end <= position).count()
    }

    /// Makes durable what opening found. Anything derived from it, or said about it, comes later.
    pub fn settle(&mut self) -> Result<(), LogError> {
        self.segments.settle()
    }

    /// Writes the base of a clean stop: the next opening has nothing to replay.
    pub fn stop(&mut self, base: &Base) -> Result<(), LogError> {
        self.prepare_base(base)?;
        self.bases.write_stop(base, self.segments.incarnation())
    }

    fn check_end(&self, expected: u64) -> Result<(), LogError> {
        let actual = self.end();
        if expected == actual {
            Ok(())
        } else {
            Err(LogError::WrongPosition { expected, actual })
        }
    }

    /// Appends entries that are durable only after [`Self::sync`], or after a later
    /// [`Log::append`].
    pub fn append_unsynced(&mut self, entries: &[Vec<u8>]) -> Result<u64, LogError> {
        let capacity = self.capacity();
        self.grown += self.segments.append(entries, capacity, false)?;
        Ok(self.end())
    }

    /// Makes durable what was appended without. After an error all that was appended since the
    /// last sync is out of the log, as if it had never been; append it again.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.segments.sync()
    }
}

impl Log for LocalLog {
    type Entries = Entries;

    fn append(
        &mut self,
        partition: u32,
        expected_position: u64,
        entries: &[Vec<u8>],
    ) -> Result<u64, LogError> {
        check_partition(partition)?;
        self.check_end(expected_position)?;
        let capacity = self.capacity();
        self.grown += self.segments.append(entries, capacity, true)?;
        Ok(self.end())
    }

    fn read(&self, partition: u32, from: u64) -> Result<Entries, LogError> {
        check_partition(partition)?;
        Ok(Entries {
            batches: self.segments.batches(from, None),
            from,
            held: Vec::new().into_iter(),
            failed: false,
        })
    }
}

fn check_partition(partition: u32) -> Result<(), LogError> {
    if partition == 0 {
        Ok(())
    } else {
        Err(LogError::UnknownPartition { partition })
    }
}

/// Entries of a local log up to the end it had when reading began; holds one batch at a time.
///
/// Ends behind an error, which recycling a segment not yet read is too.
pub struct Entries {
    batches: Batches,
    from: u64,
    failed: bool,
    held: std::vec::IntoIter<(u64, Vec<u8>)>,
}

impl Entries {
    fn hold(&mut self, batch: &Batch) {
        let entries = batch
            .entries()
            .filter(|(position, _)| *position >= self.from);
        let held: Vec<_> = entries
            .map(|(position, bytes)| (position, bytes.to_vec()))
            .collect();
        self.held = held.into_iter();
    }
}

impl Iterator for Entries {
    type Item = Result<(u64, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.held.next() {
                return Some(Ok(entry));
            }
            if self.failed {
                return None;
            }
            match self.batches.next() {
                Ok(Some(batch)) => self.hold(&batch),
                Ok(None) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
