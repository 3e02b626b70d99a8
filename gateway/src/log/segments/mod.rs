//! Segments: a queue of entries in preallocated, recycled files of one folder.
//!
//! Terms: an entry's *position* counts from where the queue began and is never used twice. A
//! *segment* is a file named `<prefix>-<number>-<first position>-<incarnation>`; the name is all
//! that must be known to tell its batches from those of its former life.
//!
//! Invariants:
//! - A file that failed a write or a sync is never written again. The next batch begins a new
//!   segment at the same position; of two versions of a position the newer segment's counts.
//! - The name of a segment is durable before its first batch is written; but a batch that moves
//!   is durable, in a draft, before its new segment has a name: until then the old one counts.
//! - Opening writes nothing. Before the first write after it the names and the last batch are made
//!   durable (again): a process that was killed may have left them in the system's cache only.
//!
//! ```text
//! segment-0000000001-…000-incarnation   positions 000..240   (recycled next)
//! segment-0000000002-…240-incarnation   positions 240..300   (its write of 300.. failed)
//! segment-0000000003-…300-incarnation   positions 300..      (being written)
//! ```

mod recovery;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use self::recovery::LastBatch;
use super::LogError;
use super::batch::{encode, seal};
use super::scan::{Batches, Source};
use crate::disk::{Disk, DiskFile};

/// Capacity kept for encoding a batch between appends.
const BUFFER_KEPT_BYTES: usize = 256 << 10;

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Counts segments of this prefix.
    pub number: u64,
    /// Position of its first entry.
    pub first: u64,
    /// Incarnation of its batches.
    pub incarnation: u32,
    /// Length of its file.
    pub bytes: u64,
}

struct Writing {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

/// A queue of entries in segment files.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    folder: String,
    prefix: String,
    list: VecDeque<Segment>,
    writing: Option<Writing>,
    unsynced: bool,
    unsettled: bool,
    last_batch: Option<LastBatch>,
    next: u64,
    /// Positions before this one are synced.
    synced: u64,
    number_next: u64,
    incarnation: u32,
    buffer: Vec<u8>,
}

impl Segment {
    pub fn name(&self, prefix: &str) -> String {
        let Self {
            number,
            first,
            incarnation,
            ..
        } = self;
        format!("{prefix}-{number:010}-{first:020}-{incarnation:08x}")
    }

    /// Reads a file name: its prefix and what it says; `None` for other files.
    pub fn parse(name: &str) -> Option<(&str, Self)> {
        let mut parts = name.rsplitn(4, '-');
        let incarnation = u32::from_str_radix(parts.next()?, 16).ok()?;
        let first = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        let segment = Self {
            number,
            first,
            incarnation,
            bytes: 0,
        };
        Some((parts.next()?, segment))
    }
}

impl Segments {
    /// Opens the segments with a prefix in a folder. `fresh` is the incarnation, and `start` the
    /// first position, where there are none yet.
    ///
    /// The end is not known before [`Self::scan`].
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &str,
        prefix: &str,
        fresh: u32,
        start: u64,
    ) -> Result<Self, LogError> {
        let names = disk
            .list(folder)
            .map_err(|error| LogError::read(folder, error))?;
        let mut list = Vec::new();
        for name in names {
            let Some((found, mut segment)) = Segment::parse(&name) else {
                continue;
            };
            if found == prefix && name == segment.name(prefix) {
                let path = format!("{folder}/{name}");
                let bytes = disk.open(&path).and_then(|file| file.bytes());
                segment.bytes = bytes.map_err(|error| LogError::read(&path, error))?;
                list.push(segment);
            }
        }
        list.sort_unstable_by_key(|segment| (segment.first, segment.number));
        let next = list.last().map_or(start, |segment| segment.first);
        let newest = list.iter().map(|segment| segment.number).max();
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            prefix: prefix.to_owned(),
            writing: None,
            unsynced: false,
            unsettled: !list.is_empty(),
            last_batch: None,
            next,
            synced: next,
            number_next: newest.unwrap_or(0) + 1,
            incarnation: list.last().map_or(fresh, |segment| segment.incarnation),
            buffer: Vec::new(),
            list: list.into(),
        })
    }

    /// Position after the last entry.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Leaves positions out, so that the next entry gets at least this one.
    pub fn advance_to(&mut self, position: u64) {
        self.next = self.next.max(position);
        if !self.unsynced {
            self.synced = self.next;
        }
    }

    /// Incarnation of the batches that follow.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Changes the incarnation: the batches that follow go to a new segment.
    pub fn set_incarnation(&mut self, incarnation: u32) {
        if self.incarnation != incarnation {
            self.incarnation = incarnation;
            self.writing = None;
        }
    }

    /// The segments, oldest first.
    pub fn list(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.list.iter()
    }

    /// Position of the oldest entry, unless it is lost; `None` without any segment.
    pub fn oldest(&self) -> Option<u64> {
        self.list.front().map(|segment| segment.first)
    }

    /// Positions that the segment at an index may hold.
    pub fn range(&self, index: usize) -> Option<Range<u64>> {
        let first = self.list.get(index)?.first;
        let end = self
            .list
            .get(index + 1)
            .map_or(self.next, |after| after.first);
        Some(first..end)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether an append of so many bytes would grow the file beyond its preallocated length, or
    /// has no file yet.
    pub fn is_full(&self, more: u64) -> bool {
        match (&self.writing, self.list.back()) {
            (Some(writing), Some(last)) => writing.offset + more > last.bytes,
            _ => true,
        }
    }

    /// Whether the next batch begins a new segment in any case.
    pub fn must_start(&self) -> bool {
        self.writing.is_none()
    }

    fn path(&self, segment: &Segment) -> String {
        format!("{}/{}", self.folder, segment.name(&self.prefix))
    }

    fn source(&self, index: usize, end: u64) -> Source {
        let segment = &self.list[index];
        let limit = self.list.get(index + 1).map_or(end, |after| after.first);
        Source {
            number: segment.number,
            path: self.path(segment),
            first: segment.first,
            limit,
            incarnation: segment.incarnation,
            offset: 0,
        }
    }

    fn sources(&self, from: u64) -> VecDeque<Source> {
        let begins = self.list.partition_point(|segment| segment.first <= from);
        (begins.saturating_sub(1)..self.list.len())
            .map(|index| self.source(index, u64::MAX))
            .collect()
    }

    /// The batches that hold entries from a position on, up to the present end. `hint` says where
    /// in which segment (by number) a batch at or before that position begins.
    pub fn batches(&self, from: u64, hint: Option<(u64, u64, u64)>) -> Batches {
        let mut sources = self.sources(from);
        if let Some(last) = sources.back_mut() {
            last.limit = last.limit.min(self.next);
        }
        if let (Some((number, offset, first)), Some(source)) = (hint, sources.front_mut())
            && source.number == number
            && first <= from
        {
            source.offset = offset;
        }
        Batches::new(Arc::clone(&self.disk), sources)
    }

    /// Bytes written into the segments that begin at or behind a position.
    pub fn written_since(&self, position: u64) -> u64 {
        let newer = self.list.iter().filter(|segment| segment.first >= position);
        let files: u64 = newer.map(|segment| segment.bytes).sum();
        match (&self.writing, self.list.back()) {
            (Some(writing), Some(last)) if last.first >= position => {
                files - last.bytes + writing.offset
            }
            _ => files,
        }
    }

    /// Begins a new segment at the present end, in a new file of `capacity` bytes or in the file
    /// of the segment at the index `reuse`.
    pub fn start(&mut self, capacity: u64, reuse: Option<usize>) -> Result<(), LogError> {
        self.settle()?;
        self.writing = None;
        let mut segment = Segment {
            number: self.number_next,
            first: self.next,
            incarnation: self.incarnation,
            bytes: capacity,
        };
        let path = self.path(&segment);
        let failed = |error| LogError::write(&path, error);
        let old = reuse.and_then(|index| self.list.get(index).cloned().map(|old| (index, old)));
        if let Some((index, old)) = old {
            self.disk.rename(&self.path(&old), &path).map_err(failed)?;
            self.list.remove(index);
            segment.bytes = old.bytes;
        } else {
            self.disk.create_dir(&self.folder).map_err(failed)?;
            self.disk.create(&path, capacity).map_err(failed)?;
        }
        self.number_next += 1;
        self.list.push_back(segment);
        self.remove_empty();
        self.disk.sync_dir(&self.folder).map_err(failed)?;
        let file = self.disk.open(&path).map_err(failed)?;
        self.writing = Some(Writing { file, offset: 0 });
        Ok(())
    }

    /// Removes segments that hold nothing because their first write failed.
    fn remove_empty(&mut self) {
        let mut index = 0;
        while index + 1 < self.list.len() {
            let empty = self.list[index].first == self.list[index + 1].first;
            if empty && self.disk.remove(&self.path(&self.list[index])).is_ok() {
                self.list.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Removes the segment at an index; durable after [`Self::sync_names`].
    pub fn remove(&mut self, index: usize) -> Result<(), LogError> {
        let Some(segment) = self.list.get(index) else {
            return Ok(());
        };
        let path = self.path(segment);
        self.disk
            .remove(&path)
            .map_err(|error| LogError::write(&path, error))?;
        self.list.remove(index);
        if index == self.list.len() {
            self.writing = None;
        }
        Ok(())
    }

    /// Makes removals durable.
    pub fn sync_names(&self) -> Result<(), LogError> {
        let failed = |error| LogError::write(&self.folder, error);
        self.disk.sync_dir(&self.folder).map_err(failed)
    }

    /// Writes one batch and returns the bytes it took in the file. With `sync` it is durable when
    /// this returns; without, after [`Self::sync`].
    ///
    /// A new segment of `capacity` bytes is begun where none can be written. After an error the
    /// batch is not in the queue and may be appended again.
    pub fn append(
        &mut self,
        entries: &[impl AsRef<[u8]>],
        capacity: u64,
        sync: bool,
    ) -> Result<u64, LogError> {
        if entries.is_empty() {
            return Ok(0);
        }
        self.settle()?;
        encode(&mut self.buffer, self.incarnation, self.next, entries)?;
        let bytes = self.buffer.len() as u64;
        if self.writing.is_none() {
            self.start(capacity.max(bytes), None)?;
        }
        let number = self.list.back().map_or(0, |last| last.number);
        seal(&mut self.buffer, number);
        let written = self.write_buffer(sync);
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        if let Err(error) = written {
            // Never again on this file: what it holds behind its last sync is unknown.
            self.forget_unsynced();
            let path = self
                .list
                .back()
                .map(|last| self.path(last))
                .unwrap_or_default();
            return Err(LogError::write(&path, error));
        }
        self.unsynced = !sync;
        self.next += entries.len() as u64;
        if sync {
            self.synced = self.next;
        }
        if let (Some(writing), Some(last)) = (&mut self.writing, self.list.back_mut()) {
            writing.offset += bytes;
            last.bytes = last.bytes.max(writing.offset);
        }
        Ok(bytes)
    }

    fn write_buffer(&self, sync: bool) -> io::Result<()> {
        let Some(writing) = &self.writing else {
            return Err(io::ErrorKind::NotFound.into());
        };
        writing.file.write_at(writing.offset, &self.buffer)?;
        if sync { writing.file.sync() } else { Ok(()) }
    }

    /// Makes the batches durable that were appended without.
    ///
    /// After an error none of them is in the queue any more; their positions are given out again.
    pub fn sync(&mut self) -> Result<(), LogError> {
        let (true, Some(writing)) = (self.unsynced, &self.writing) else {
            return Ok(());
        };
        let synced = writing.file.sync();
        if let Err(error) = synced {
            self.forget_unsynced();
            return Err(LogError::write(&self.folder, error));
        }
        self.unsynced = false;
        self.synced = self.next;
        Ok(())
    }

    /// Gives up the file being written with all it got since its last sync.
    fn forget_unsynced(&mut self) {
        self.writing = None;
        self.unsynced = false;
        self.next = self.synced;
    }
}
