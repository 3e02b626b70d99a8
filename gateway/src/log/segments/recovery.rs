//! Finding the end of a queue of segments after any kind of stop, and making it durable.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::{Segment, Segments, Writing};
use crate::log::LogError;
use crate::log::batch::seal;
use crate::log::scan::Batches;

/// Gaps a report lists; more are only counted.
const GAPS_MAX: usize = 64;

/// The last batch found at opening.
#[derive(Clone, Copy)]
pub(super) struct LastBatch {
    offset: u64,
    bytes: u64,
    first: u64,
}

/// What reading the newest segments back has shown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Entries found.
    pub entries: u64,
    /// Entries that should be there and are not.
    pub entries_lost: u64,
    /// Where they are missing, at most [`GAPS_MAX`] ranges.
    pub gaps: Vec<Range<u64>>,
    /// Bytes of batches walked over because a later one was valid.
    pub bytes_skipped: u64,
    /// Bytes of a batch behind the last valid one.
    pub torn_bytes: u64,
    /// Bytes of the batches found.
    pub bytes: u64,
}

impl Segments {
    /// Reads the entries from a position on to find the end, and where writing goes on.
    pub fn scan(&mut self, from: u64) -> Result<Scanned, LogError> {
        let mut scanned = Scanned::default();
        let Some(last) = self.list.back().cloned() else {
            self.advance_to(from);
            return Ok(scanned);
        };
        let sources = self.sources(from);
        let mut expected = from.max(sources.front().map_or(from, |source| source.first));
        let mut batches = Batches::new(Arc::clone(&self.disk), sources);
        let (mut segment, mut offset) = (0, 0);
        while let Some(batch) = batches.next()? {
            if batch.segment != segment {
                (segment, offset) = (batch.segment, 0);
            }
            scanned.bytes_skipped += batch.offset - offset;
            offset = batches.offset();
            if segment == last.number {
                self.last_batch = Some(LastBatch {
                    offset: batch.offset,
                    bytes: offset - batch.offset,
                    first: batch.first,
                });
            }
            if batch.end() <= from {
                continue;
            }
            scanned.miss(expected, batch.first);
            expected = expected.max(batch.end());
            scanned.entries += batch.end() - batch.first.max(from);
            scanned.bytes += offset - batch.offset;
        }
        scanned.miss(expected, last.first);
        self.advance_to(expected.max(last.first));
        let tail = batches.tail();
        scanned.torn_bytes = tail.torn_bytes;
        if last.incarnation == self.incarnation {
            let path = self.path(&last);
            let file = self
                .disk
                .open(&path)
                .map_err(|error| LogError::read(&path, error))?;
            self.writing = Some(Writing {
                file,
                offset: tail.offset,
            });
        }
        Ok(scanned)
    }

    /// Makes durable what opening found: the names, and the last batch by writing it once more
    /// (after a failed sync it may be in the cache only, and syncing alone would not write it).
    pub fn settle(&mut self) -> Result<(), LogError> {
        if !self.unsettled {
            return Ok(());
        }
        self.sync_names()?;
        if let (Some(batch), Some(writing)) = (self.last_batch, &self.writing) {
            let mut bytes = vec![0; usize::try_from(batch.bytes).unwrap_or(0)];
            let rewritten = writing
                .file
                .read_at(batch.offset, &mut bytes)
                .and_then(|read| {
                    bytes.truncate(read);
                    writing.file.write_at(batch.offset, &bytes)?;
                    writing.file.sync()
                });
            if rewritten.is_err() {
                self.move_batch(batch.first, bytes)?;
            }
        }
        self.unsettled = false;
        Ok(())
    }

    /// Writes a batch under its old positions into a new segment.
    ///
    /// The file gets a segment's name when the batch in it is durable: a segment without it would
    /// count instead of the one that has it, and what is durable there would be lost.
    fn move_batch(&mut self, first: u64, bytes: Vec<u8>) -> Result<(), LogError> {
        self.writing = None;
        let segment = Segment {
            number: self.number_next,
            first,
            incarnation: self.incarnation,
            bytes: bytes.len() as u64,
        };
        let path = self.path(&segment);
        let failed = |error| LogError::write(&path, error);
        let draft = format!("{}/{}.tmp", self.folder, self.prefix);
        let written = self.write_draft(&draft, segment.number, bytes);
        if written.is_err() {
            // A part of a batch only takes room, which may be what was missing.
            self.disk.remove(&draft).ok();
        }
        written.map_err(failed)?;
        self.disk.rename(&draft, &path).map_err(failed)?;
        self.number_next += 1;
        let offset = segment.bytes;
        self.list.push_back(segment);
        self.sync_names()?;
        self.remove_empty();
        let file = self.disk.open(&path).map_err(failed)?;
        self.writing = Some(Writing { file, offset });
        Ok(())
    }

    fn write_draft(&self, draft: &str, number: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        seal(&mut bytes, number);
        let file = self.disk.create(draft, bytes.len() as u64)?;
        file.write_at(0, &bytes)?;
        file.sync()
    }
}

impl Scanned {
    fn miss(&mut self, expected: u64, found: u64) {
        if found > expected {
            self.entries_lost += found - expected;
            if self.gaps.len() < GAPS_MAX {
                self.gaps.push(expected..found);
            }
        }
    }
}
