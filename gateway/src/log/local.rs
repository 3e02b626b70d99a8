//! The local log: segments and bases in one folder of the data directory.

use std::sync::Arc;

use super::base::{self, ReadBase};
use super::scan::{Batch, Batches};
use super::segments::Segments;
use super::{Base, Log, LogError, Recovery};
use crate::disk::Disk;
use crate::rules::settings::LogSettings;

/// A segment ends when the log has grown by this many times its base.
const GROWTH_PER_BASE: u64 = 4;
/// Bases kept at least: a damaged one has another behind it.
const BASES_MIN: usize = 2;
const STOPS: [&str; 2] = ["stop-a", "stop-b"];
const DRAFT: &str = "base.tmp";
/// Bytes of a base written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// A log of one partition, 0, in files.
pub struct LocalLog {
    disk: Arc<dyn Disk>,
    folder: String,
    segment_bytes: u64,
    bytes_max: u64,
    segments: Segments,
    bases: Vec<BaseFile>,
    base_bytes: u64,
    grown: u64,
    roll_at: u64,
    stop_next: usize,
}

#[derive(Debug, Clone, Copy)]
struct BaseFile {
    position: u64,
    bytes: u64,
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

fn base_name(position: u64) -> String {
    format!("base-{position:020}")
}

fn read_file(disk: &dyn Disk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.bytes().ok()?).ok()?];
    let read = file.read_at(0, &mut bytes).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

/// A file that may hold a base.
struct Candidate {
    path: String,
    position: u64,
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
        let segments = Segments::open(Arc::clone(&disk), folder, "segment", fresh_incarnation, 0)?;
        let mut log = Self {
            folder: folder.to_owned(),
            segment_bytes: settings.segment_bytes,
            bytes_max: settings.bytes_max,
            segments,
            bases: list_bases(&*disk, folder)?,
            base_bytes: 0,
            grown: 0,
            roll_at: 0,
            stop_next: 0,
            disk,
        };
        let mut recovery = Recovery::default();
        let used = log.choose_base(&mut recovery);
        let oldest = log.segments.list().next().map(|segment| segment.first);
        recovery.from = match &used {
            Some(read) => read.base.position,
            None => oldest.unwrap_or(0),
        };
        recovery.base_missing = used.is_none() && recovery.from > 0;
        if let Some(read) = &used {
            log.base_bytes = read
                .base
                .parts
                .iter()
                .map(|part| part.bytes.len() as u64)
                .sum();
            if oldest.is_none() {
                log.segments.set_incarnation(read.incarnation);
            }
        }
        log.recover(&mut recovery)?;
        let base = used.map(|read| {
            recovery.parts_damaged = read.damaged;
            recovery.parts_unnamed = read.unnamed;
            read.base
        });
        Ok(Opened {
            log,
            base,
            recovery,
        })
    }

    fn recover(&mut self, recovery: &mut Recovery) -> Result<(), LogError> {
        let scanned = self.segments.scan(recovery.from, |_| {})?;
        // Counted from the newest base of a roll: restarts must not put the next one off.
        let rolled = self.bases.last().map_or(0, |base| base.position);
        self.grown = scanned.bytes.max(self.segments.written_since(rolled));
        recovery.end = self.segments.next();
        recovery.entries = scanned.entries;
        recovery.entries_lost = scanned.entries_lost;
        recovery.gaps = scanned.gaps;
        recovery.bytes_skipped = scanned.bytes_skipped;
        recovery.torn_bytes = scanned.torn_bytes;
        self.plan_roll();
        Ok(())
    }

    /// The newest intact base whose entries are all there, else the newest readable one.
    fn choose_base(&mut self, recovery: &mut Recovery) -> Option<ReadBase> {
        let oldest = self
            .segments
            .list()
            .next()
            .map_or(0, |segment| segment.first);
        let mut partial = None;
        for candidate in self.candidates() {
            let read = read_file(&*self.disk, &candidate.path)
                .and_then(|bytes| base::decode(&bytes))
                .filter(|read| {
                    read.base.position == candidate.position
                        && candidate.position >= oldest
                        && self.is_of_this_log(read.incarnation)
                });
            match read {
                Some(read) if read.is_intact() => return Some(read),
                read => {
                    recovery.bases_passed_over += 1;
                    partial = partial.or(read);
                }
            }
        }
        if partial.is_some() {
            recovery.bases_passed_over -= 1;
        }
        partial
    }

    fn is_of_this_log(&self, incarnation: u32) -> bool {
        let mut segments = self.segments.list();
        segments.len() == 0 || segments.any(|segment| segment.incarnation == incarnation)
    }

    /// Base files, newest position first. Also finds which stop file is to be written next: the
    /// one that is older or no base at all.
    fn candidates(&mut self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = self
            .bases
            .iter()
            .map(|file| Candidate {
                path: format!("{}/{}", self.folder, base_name(file.position)),
                position: file.position,
            })
            .collect();
        let mut newest_stop = None;
        for (index, name) in STOPS.iter().enumerate() {
            let path = format!("{}/{name}", self.folder);
            let head = read_head(&*self.disk, &path);
            if let Some((position, _, _)) = head {
                candidates.push(Candidate { path, position });
                if newest_stop.is_none_or(|newest| position >= newest) {
                    newest_stop = Some(position);
                    self.stop_next = 1 - index;
                }
            }
        }
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.position));
        candidates
    }

    /// Position after the last entry.
    pub fn end(&self) -> u64 {
        self.segments.next()
    }

    /// How far back replay can reach: the position of the oldest base whose entries are all
    /// there, 0 when the log still has its first entry.
    pub fn start_position(&self) -> u64 {
        let oldest = self
            .segments
            .list()
            .next()
            .map_or(0, |segment| segment.first);
        if oldest == 0 {
            return 0;
        }
        let base = self.bases.iter().find(|base| base.position >= oldest);
        base.map_or(self.end(), |base| base.position)
    }

    /// Positions of the bases replay can begin from, oldest first.
    pub fn base_positions(&self) -> impl Iterator<Item = u64> {
        self.bases.iter().map(|base| base.position)
    }

    /// Reads the base at a position, as far as it can be read.
    pub fn read_base(&self, position: u64) -> Result<ReadBase, LogError> {
        let path = format!("{}/{}", self.folder, base_name(position));
        read_file(&*self.disk, &path)
            .and_then(|bytes| base::decode(&bytes))
            .ok_or(LogError::NoBase { position })
    }

    /// Incarnation of the batches that follow.
    pub fn incarnation(&self) -> u32 {
        self.segments.incarnation()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes() + self.bases.iter().map(|base| base.bytes).sum::<u64>()
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

    /// Whether the segment has grown enough for a base. After a failed [`Self::roll`] it must grow
    /// by another quarter first.
    pub fn roll_due(&self) -> bool {
        self.grown >= self.roll_at
    }

    fn growth_max(&self) -> u64 {
        self.segment_bytes.max(GROWTH_PER_BASE * self.base_bytes)
    }

    fn plan_roll(&mut self) {
        self.roll_at = self.growth_max();
    }

    /// Bytes of a new segment's file: room for the batch that crosses the line.
    fn capacity(&self) -> u64 {
        let growth = self.growth_max();
        growth + (growth / 16).min(1 << 20)
    }

    /// Writes a base of everything appended so far, then begins a new segment, in the file of an
    /// old one when the log has its full size.
    ///
    /// After an error the log goes on in its present segment.
    pub fn roll(&mut self, base: &Base) -> Result<(), LogError> {
        let rolled = self.try_roll(base);
        if rolled.is_err() {
            self.roll_at = self.grown + self.growth_max() / 4;
        }
        rolled
    }

    fn try_roll(&mut self, base: &Base) -> Result<(), LogError> {
        self.segments.settle()?;
        self.segments.sync()?;
        self.check_end(base.position)?;
        let bytes = self.write_base(base)?;
        self.note_base(base.position, bytes);
        self.begin_segment()
    }

    /// Writes a base of everything appended so far and keeps only the newest two; begins a new
    /// segment only when the present one is full. For journals, which are replayed from their
    /// newest base only but read far back.
    pub fn checkpoint(&mut self, base: &Base) -> Result<(), LogError> {
        self.segments.settle()?;
        self.segments.sync()?;
        self.check_end(base.position)?;
        let bytes = self.write_base(base)?;
        self.note_base(base.position, bytes);
        let oldest_kept = self.bases.len().saturating_sub(BASES_MIN);
        let oldest_kept = self.bases.get(oldest_kept).map_or(0, |base| base.position);
        if self.remove_bases_before(oldest_kept)? {
            self.segments.sync_names()?;
        }
        if self.segments.is_full(self.capacity() / 16) {
            self.begin_segment()?;
        }
        Ok(())
    }

    fn note_base(&mut self, position: u64, bytes: u64) {
        self.bases.retain(|file| file.position != position);
        self.bases.push(BaseFile { position, bytes });
        self.base_bytes = bytes;
        self.grown = 0;
        self.plan_roll();
    }

    fn write_base(&self, base: &Base) -> Result<u64, LogError> {
        self.write_named(&base_name(base.position), base)
    }

    /// Writes a base under a draft's name first: a name never leads to half a base.
    fn write_named(&self, name: &str, base: &Base) -> Result<u64, LogError> {
        let draft = format!("{}/{DRAFT}", self.folder);
        let path = format!("{}/{name}", self.folder);
        let bytes = self.write_whole(&draft, base)?;
        self.disk
            .rename(&draft, &path)
            .and_then(|()| self.disk.sync_dir(&self.folder))
            .map_err(|error| LogError::write(&path, error))?;
        Ok(bytes)
    }

    fn write_whole(&self, path: &str, base: &Base) -> Result<u64, LogError> {
        let bytes = base::encode(base, self.segments.incarnation());
        let written = || {
            self.disk.create_dir(&self.folder)?;
            let file = self.disk.create(path, 0)?;
            for (index, piece) in bytes.chunks(WRITE_BYTES).enumerate() {
                file.write_at((index * WRITE_BYTES) as u64, piece)?;
            }
            file.sync()
        };
        written().map_err(|error| LogError::write(path, error))?;
        Ok(bytes.len() as u64)
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let newest = self.segments.list().next_back();
        if newest.is_some_and(|newest| newest.first == self.end()) && !self.segments.must_start() {
            return Ok(());
        }
        let capacity = self.capacity();
        let over = (self.bytes() + capacity).saturating_sub(self.bytes_max);
        let reuse = over > 0 && self.recyclable() > 0;
        self.segments.start(capacity, reuse.then_some(0))?;
        let mut removed = false;
        while self.bytes() > self.bytes_max && self.recyclable() > 0 {
            self.segments.remove(0)?;
            removed = true;
        }
        let oldest = self
            .segments
            .list()
            .next()
            .map_or(0, |segment| segment.first);
        removed |= self.remove_bases_before(oldest)?;
        if removed {
            self.segments.sync_names()
        } else {
            Ok(())
        }
    }

    /// Segments that end before the oldest base that must be kept.
    fn recyclable(&self) -> usize {
        let Some(kept) = self.bases.len().checked_sub(BASES_MIN) else {
            return 0;
        };
        let position = self.bases[kept].position;
        let ends = (0..self.segments.list().len().saturating_sub(1))
            .map_while(|index| self.segments.range(index));
        ends.take_while(|range| range.end <= position).count()
    }

    /// Removes the bases before a position, but for the newest two.
    fn remove_bases_before(&mut self, position: u64) -> Result<bool, LogError> {
        let before = self.bases.len();
        while self.bases.len() > BASES_MIN && self.bases[0].position < position {
            let path = format!("{}/{}", self.folder, base_name(self.bases[0].position));
            self.disk
                .remove(&path)
                .map_err(|error| LogError::write(&path, error))?;
            self.bases.remove(0);
        }
        Ok(self.bases.len() < before)
    }

    /// Writes the base of a clean stop: the next opening has nothing to replay.
    pub fn stop(&mut self, base: &Base) -> Result<(), LogError> {
        self.segments.settle()?;
        self.segments.sync()?;
        self.check_end(base.position)?;
        self.write_named(STOPS[self.stop_next], base)?;
        self.stop_next = 1 - self.stop_next;
        Ok(())
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

    /// Whether entries were appended that are not synced yet.
    pub fn is_unsynced(&self) -> bool {
        self.segments.is_unsynced()
    }
}

fn read_head(disk: &dyn Disk, path: &str) -> Option<(u64, u32, u32)> {
    let mut head = [0; 64];
    let read = disk.open(path).ok()?.read_at(0, &mut head).ok()?;
    base::decode_head(head.get(..read)?)
}

fn list_bases(disk: &dyn Disk, folder: &str) -> Result<Vec<BaseFile>, LogError> {
    let names = disk
        .list(folder)
        .map_err(|error| LogError::read(folder, error))?;
    let positions = names
        .iter()
        .filter_map(|name| name.strip_prefix("base-")?.parse().ok());
    let mut bases = Vec::new();
    for position in positions {
        let path = format!("{folder}/{}", base_name(position));
        let bytes = disk.open(&path).and_then(|file| file.bytes());
        bases.push(BaseFile {
            position,
            bytes: bytes.map_err(|error| LogError::read(&path, error))?,
        });
    }
    bases.sort_unstable_by_key(|base| base.position);
    Ok(bases)
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

/// Entries of a local log, read batch by batch; holds one batch at a time. Ends behind an error.
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
