//! Walking over one segment, batch by batch, and saying what stands between them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::files::{Room, SegmentFile};
use crate::disk::Disk;
use crate::log::LogError;
use crate::log::scan::{Batches, Source};

/// Damaged places of a file that are listed; more are only counted.
pub const DAMAGE_MAX: usize = 64;

/// Bytes that were a durable batch, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// First position lost.
    pub first: u64,
    /// Position after the last one lost; equal to `first` when none is.
    pub end: u64,
}

/// What a segment holds.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Walked {
    /// Valid batches.
    pub batches: u64,
    /// Their entries, but for those that a newer segment holds again.
    pub entries: u64,
    /// Bytes of the batches with their padding.
    pub bytes: u64,
    /// Damaged places: the first [`DAMAGE_MAX`].
    pub damaged: Vec<Damage>,
    /// How many there are.
    pub damaged_places: u64,
    /// Bytes behind the last batch that look like the remains of one.
    pub torn_bytes: u64,
    /// Positions that are missing without a trace: left out since their loss was found, or cut
    /// off where the next segment begins later than this one ends. At most [`DAMAGE_MAX`] ranges.
    pub missing: Vec<Range<u64>>,
    /// Position after the last entry.
    pub end: u64,
}

impl Walked {
    fn miss(&mut self, gap: Range<u64>) {
        if !gap.is_empty() && self.missing.len() < DAMAGE_MAX {
            self.missing.push(gap);
        }
    }

    fn damage(&mut self, damage: Damage) {
        self.damaged_places += 1;
        if self.damaged.len() < DAMAGE_MAX {
            self.damaged.push(damage);
        }
    }
}

/// One batch on the way.
#[derive(Debug, Clone, Copy)]
pub struct BatchAt {
    /// Where in the file.
    pub offset: u64,
    /// Bytes with padding.
    pub bytes: u64,
    /// Position of its first entry.
    pub first: u64,
    /// Position after its last.
    pub end: u64,
}

/// Reads a segment from its beginning. `each` gets every batch and its entries by position.
///
/// # Errors
/// The file cannot be read; when it is not there any more it was recycled.
pub fn walk(
    disk: &Arc<dyn Disk>,
    segment: &SegmentFile,
    mut each: impl FnMut(BatchAt, &mut dyn Iterator<Item = (u64, &[u8])>),
) -> Result<Walked, LogError> {
    let source = Source {
        number: segment.number,
        path: segment.path.clone(),
        first: segment.first,
        limit: segment.limit.unwrap_or(u64::MAX),
        incarnation: segment.incarnation,
        offset: 0,
    };
    let mut batches = Batches::new(Arc::clone(disk), VecDeque::from([source]));
    let mut walked = Walked {
        end: segment.first,
        ..Walked::default()
    };
    let mut offset = 0;
    while let Some(batch) = batches.next()? {
        if batch.offset > offset {
            walked.damage(Damage {
                offset,
                bytes: batch.offset - offset,
                first: walked.end,
                end: batch.first,
            });
        } else if segment.room != Room::Spool {
            // A queue leaves out what it counted as lost.
            walked.miss(walked.end..batch.first);
        }
        offset = batches.offset();
        walked.batches += 1;
        walked.bytes += offset - batch.offset;
        walked.entries += batch.end() - batch.first;
        walked.end = batch.end();
        let at = BatchAt {
            offset: batch.offset,
            bytes: offset - batch.offset,
            first: batch.first,
            end: batch.end(),
        };
        each(at, &mut batch.entries());
    }
    walked.torn_bytes = batches.tail().torn_bytes;
    finish(segment, &mut walked, offset);
    Ok(walked)
}

/// What the next segment's beginning says about this one's end.
fn finish(segment: &SegmentFile, walked: &mut Walked, offset: u64) {
    let Some(limit) = segment.limit.filter(|limit| *limit > walked.end) else {
        return;
    };
    if walked.torn_bytes > 0 {
        walked.damage(Damage {
            offset,
            bytes: walked.torn_bytes,
            first: walked.end,
            end: if segment.limit_is_far {
                walked.end
            } else {
                limit
            },
        });
        walked.torn_bytes = 0;
    } else if segment.room == Room::Log || !segment.limit_is_far {
        // A queue's segments are recycled in any order; the log's from the oldest on.
        walked.miss(walked.end..limit);
    }
}
