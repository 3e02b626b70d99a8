//! The log: what happened, append-only, durable when an append returned.
//!
//! Terms: a *position* numbers entries from 0. A *commit batch* is what one append writes and one
//! sync makes durable ([`batch`]). *Segments* are the files they are in (`segments`). A *base* is
//! a state from which replay begins ([`base`]); opening reads one base and the entries behind it,
//! never the whole log.
//!
//! Invariants:
//! - What an [`Log::append`] that returned Ok was given is read back at its positions after any
//!   cut, unless the disk itself loses it; then the loss is counted, and what follows it is kept.
//! - An append that returned an error has no effect and may be repeated.
//! - Positions are never used twice for what was durable: a lost tail that a base covers stays a
//!   gap.
//! - A segment is recycled only when the two newest bases begin behind it, so that one damaged
//!   base costs a longer replay and nothing else.
//!
//! ```text
//! log/base-…0240        state before position 240
//! log/segment-1-…       positions 0..240
//! log/segment-2-…       positions 240..
//! log/stop-a, stop-b    bases of clean stops, written in turn
//! ```

pub mod base;
pub(crate) mod bases;
pub mod batch;
mod local;
pub(crate) mod scan;
pub(crate) mod segments;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

pub use local::{Entries, LocalLog, Opened};

/// Why the log could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system could not write.
    #[error(
        "{path} could not be written: what was to be written is not acknowledged and will be tried again in a new file; check the disk and its space"
    )]
    Write {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The system could not read.
    #[error("{path} could not be read: nothing was changed; check the disk and the permissions")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The caller and the log disagree about where the log ends.
    #[error("the log ends at {actual}, not at {expected}: nothing was written")]
    WrongPosition {
        /// What the caller expected.
        expected: u64,
        /// Where the log ends.
        actual: u64,
    },
    /// More than one batch may hold.
    #[error(
        "a commit batch holds at most {bytes_max} bytes: nothing was written; append fewer entries at once"
    )]
    BatchTooLong {
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// A partition that this log does not have.
    #[error("this log has no partition {partition}")]
    UnknownPartition {
        /// The partition asked for.
        partition: u32,
    },
    /// No base at that position, or a damaged one.
    #[error("there is no readable base at position {position}")]
    NoBase {
        /// The position asked for.
        position: u64,
    },
}

impl LogError {
    /// Whether the disk has no room left.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }

    pub(crate) fn write(path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Write { path, source }
    }

    pub(crate) fn read(path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }
}

/// A log of entries in partitions.
pub trait Log {
    /// Entries read back, with their positions, in order. Positions left out are lost.
    type Entries: Iterator<Item = Result<(u64, Vec<u8>), LogError>> + Send;

    /// Appends entries and returns the position after them once they are durable.
    ///
    /// `expected_position` is where the caller believes the log ends.
    fn append(
        &mut self,
        partition: u32,
        expected_position: u64,
        entries: &[Vec<u8>],
    ) -> Result<u64, LogError>;

    /// Reads the entries from a position up to the present end.
    fn read(&self, partition: u32, from: u64) -> Result<Self::Entries, LogError>;
}

/// A piece of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is; its meaning is the caller's.
    pub kind: u16,
    /// Version of its layout.
    pub version: u16,
    /// Whose it is; at most [`base::KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// The state.
    pub bytes: Vec<u8>,
}

/// A state from which replay begins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Base {
    /// Position of the first entry it does not cover.
    pub position: u64,
    /// Its pieces.
    pub parts: Vec<Part>,
}

impl Base {
    /// Bytes of its parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }
}

/// What opening a log has found.
///
/// Losses are those behind the base that was used: they show again at every opening until a newer
/// base covers them. A ledger counts them by the gaps in the positions it folds, once each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Where replay begins: the base's position, or the oldest entry's.
    pub from: u64,
    /// Position after the last entry.
    pub end: u64,
    /// Entries that can be replayed.
    pub entries: u64,
    /// Entries that were durable and are not there.
    pub entries_lost: u64,
    /// Where they are missing: the first 64 ranges.
    pub gaps: Vec<Range<u64>>,
    /// Bytes of damaged batches that were walked over.
    pub bytes_skipped: u64,
    /// Bytes of a batch whose write was cut; it was never acknowledged.
    pub torn_bytes: u64,
    /// Bases passed over because they were damaged or their entries are gone.
    pub bases_passed_over: u32,
    /// Kind and key of the parts that the base used lost.
    pub parts_damaged: Vec<(u16, String)>,
    /// Parts it lost of which not even that is known.
    pub parts_unnamed: u32,
    /// No base could be used though entries before the oldest have been recycled.
    pub base_missing: bool,
}

impl Recovery {
    /// Counts entries behind the last one found, of which something else says that they were.
    pub(crate) fn lose_tail(&mut self, entries: u64) {
        let end = self.end + entries;
        if entries > 0 {
            self.entries_lost += entries;
            self.gaps.push(self.end..end);
            self.end = end;
        }
    }

    /// Whether nothing durable was lost.
    pub fn is_clean(&self) -> bool {
        self.entries_lost == 0
            && self.bases_passed_over == 0
            && self.parts_damaged.is_empty()
            && self.parts_unnamed == 0
            && !self.base_missing
    }
}
