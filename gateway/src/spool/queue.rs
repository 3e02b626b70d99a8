//! One queue: the records of a sink and class that wait, in segments on the disk.
//!
//! Terms: an *index* numbers records of a queue from 1. Records are *pending* until they are
//! written and synced as one batch, then *waiting* until they are *done*.
//!
//! Held in memory are the pending records of one batch, the ranges that are done, and where
//! reading left off; never the backlog.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::SpoolError;
use super::counters::Counted;
use super::ranges::Ranges;
use super::state::QueueState;
use crate::disk::Disk;
use crate::log::segments::Segments;
use crate::record::{Place, Record};
use crate::rules::Priority;

/// The folder all queues are in.
pub(super) const FOLDER: &str = "spool";
/// Queues have one incarnation: their indices never run backwards.
const INCARNATION: u32 = 1;
/// A queue is cut into this many segments, so that an eviction costs an eighth of it.
const SEGMENTS: u64 = 8;
const SEGMENT_BYTES: RangeInclusive<u64> = 4 << 10..=4 << 20;
/// Share of a segment that is written as one batch.
const BATCHES_PER_SEGMENT: u64 = 4;
/// Bytes of a batch beside its records: header, lengths, padding.
const BATCH_EXTRA_BYTES: u64 = 1_024;

/// A record that is not yet on the disk.
pub(super) struct Pending {
    pub place: Place,
    pub bytes: Vec<u8>,
    pub counted: Counted,
}

impl AsRef<[u8]> for Pending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where reading left off: a batch's segment, offset and first index.
type Cursor = (u64, u64, u64);

pub(super) struct Queue {
    pub sink: String,
    pub priority: Priority,
    /// Budget; `None` for the queue of a sink that is no longer configured.
    pub bytes_max: Option<u64>,
    pub segments: Segments,
    pub done: Ranges,
    /// Place of the newest record ever put in, pending ones included.
    pub mark: Option<Place>,
    /// The same without the pending ones.
    pub mark_durable: Option<Place>,
    /// Place of the newest record ever dropped.
    pub dropped_through: Option<Place>,
    /// Records lost by the disk.
    pub lost_records: u64,
    /// Place of the last of the records that opening found lost: what replay derives again up to
    /// here is not.
    lost_through: Option<Place>,
    /// Bytes of a batch that opening found cut.
    pub torn_bytes: u64,
    pub pending: Vec<Pending>,
    pub pending_bytes: u64,
    /// Records that found no room and are not journaled yet.
    pub dropped: Vec<(Place, Counted)>,
    /// First and last index of the batch that was begun last.
    pub begun: Option<(u64, u64)>,
    /// Dead letters that its sink may have; none may a sink that is no longer configured.
    pub letters_max: u64,
    cursor: Option<Cursor>,
    /// Segments, by number, of which a durable base knows that they are done, up to an index: the
    /// one being written may have grown since, by records whose leaving is not durable yet.
    covered: Vec<(u64, u64)>,
}

/// A record read from a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its index in the queue, from 1.
    pub index: u64,
    /// Its place in the order of emission.
    pub place: Place,
    /// The record.
    pub record: Record,
}

/// What is found while walking over a queue.
#[expect(clippy::large_enum_variant, reason = "one at a time, never stored")]
pub(super) enum Found<'a> {
    Record {
        index: u64,
        place: Place,
        record: Record,
        bytes: &'a [u8],
    },
    /// Indices that were waiting and cannot be read.
    Lost(RangeInclusive<u64>),
}

/// Name of a queue's files: the sink with everything but letters, digits and `_` escaped, then
/// the class.
pub(super) fn prefix(sink: &str, priority: Priority) -> String {
    let class = match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    };
    let mut name = String::new();
    for byte in sink.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push('%');
            name.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
            );
        }
    }
    name + "." + class
}

/// Sink and class from the name of a queue's files.
pub(super) fn parse_prefix(name: &str) -> Option<(String, Priority)> {
    let (escaped, class) = name.rsplit_once('.')?;
    let priority = match class {
        "low" => Priority::Low,
        "normal" => Priority::Normal,
        "high" => Priority::High,
        _ => return None,
    };
    let mut pieces = escaped.split('%');
    let mut sink = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        sink.push(u8::from_str_radix(code, 16).ok()?);
        sink.extend_from_slice(rest.as_bytes());
    }
    Some((String::from_utf8(sink).ok()?, priority))
}

impl Queue {
    pub fn open(
        disk: Arc<dyn Disk>,
        sink: &str,
        priority: Priority,
        bytes_max: Option<u64>,
        state: &QueueState,
    ) -> Result<Self, SpoolError> {
        let prefix = prefix(sink, priority);
        let mut segments = Segments::open(disk, FOLDER, &prefix, INCARNATION, 1)?;
        let newest = segments.list().next_back().map(|segment| segment.first);
        let scanned = segments.scan(newest.unwrap_or(1))?;
        let mut done = Ranges::default();
        for &(first, last, place) in &state.done {
            done.insert(first..=last, place);
        }
        Ok(Self {
            sink: sink.to_owned(),
            priority,
            bytes_max,
            segments,
            done,
            mark: None,
            mark_durable: None,
            dropped_through: state.dropped_through,
            lost_records: state.lost_records,
            lost_through: None,
            torn_bytes: scanned.torn_bytes,
            pending: Vec::new(),
            pending_bytes: 0,
            dropped: Vec::new(),
            begun: state.begun,
            letters_max: 0,
            cursor: None,
            covered: Vec::new(),
        })
    }

    /// Finds the mark and the next index after an opening, when everything the journal knows is
    /// in `done`. Returns how many records at the end were lost.
    pub fn find_end(&mut self, state: &QueueState) -> Result<u64, SpoolError> {
        let done = self
            .done
            .last()
            .map_or((0, None), |(index, place)| (index, place));
        let present = self.last_present(done.0)?;
        let newest = present.0.max(done.0);
        let place = present.1.max(done.1);
        let next = self.segments.next().max(newest + 1).max(state.next);
        let lost = next - (newest + 1);
        // The state's mark is that of the index before its next: it holds only if that is there.
        let of_state = state.mark.filter(|_| state.next <= newest + 1);
        self.mark = place.max(of_state);
        if lost > 0 {
            self.done.insert(newest + 1..=next - 1, self.mark);
            self.lost_records += lost;
            self.lost_through = state.mark;
        }
        // A drop is journaled only when everything before it is durable in the queue.
        self.mark = self.mark.max(self.dropped_through);
        self.mark_durable = self.mark;
        self.segments.advance_to(next);
        Ok(lost)
    }

    /// Index and place of the last record that can be read and is above `done`.
    fn last_present(&self, done: u64) -> Result<(u64, Option<Place>), SpoolError> {
        for at in (0..self.segments.list().len()).rev() {
            let Some(range) = self.segments.range(at).filter(|range| range.end > done + 1) else {
                break;
            };
            let mut last = (0, None);
            let mut batches = self.segments.batches(range.start, None);
            while let Some(batch) = batches.next()? {
                for (index, bytes) in batch.entries() {
                    if let Ok((place, _)) = postcard::take_from_bytes::<Place>(bytes) {
                        last = (index, Some(place));
                    }
                }
            }
            if last.0 > 0 {
                return Ok(last);
            }
        }
        Ok((0, None))
    }

    /// Bytes of a new segment.
    pub fn segment_bytes(&self) -> u64 {
        let share = self.bytes_max.unwrap_or(0) / SEGMENTS;
        share.clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end())
    }

    /// Longest record that has a place here.
    pub fn record_bytes_max(&self) -> u64 {
        self.segment_bytes() - BATCH_EXTRA_BYTES
    }

    /// Bytes the pending records will take at most.
    pub fn batch_bytes(&self) -> u64 {
        self.pending_bytes + 5 * self.pending.len() as u64 + BATCH_EXTRA_BYTES / 2 + 28
    }

    /// Whether one more record of so many bytes would make the pending batch too long.
    pub fn batch_is_full(&self, more: u64) -> bool {
        let bytes_max = self.segment_bytes() / BATCHES_PER_SEGMENT;
        !self.pending.is_empty() && self.batch_bytes() + more > bytes_max
    }

    /// Whether a record at this place has been put in already.
    pub fn has(&self, place: Place) -> bool {
        self.mark.is_some_and(|mark| place <= mark)
    }

    /// Puts a record into the pending batch, or among the dropped if it is too long for any.
    pub fn push(&mut self, pending: Pending) {
        self.mark = Some(pending.place);
        if Some(pending.place) <= self.lost_through {
            self.lost_records = self.lost_records.saturating_sub(1);
        }
        if pending.bytes.len() as u64 > self.record_bytes_max() || self.bytes_max.is_none() {
            self.dropped.push((pending.place, pending.counted));
            return;
        }
        self.pending_bytes += pending.bytes.len() as u64;
        self.pending.push(pending);
    }

    /// Empties the pending batch once it is durable.
    pub fn take_pending(&mut self) -> Vec<Pending> {
        self.pending_bytes = 0;
        let pending = std::mem::take(&mut self.pending);
        self.mark_durable = pending.last().map(|last| last.place).max(self.mark_durable);
        pending
    }

    /// Gives the pending batch up: there is no room for it.
    pub fn drop_pending(&mut self) {
        self.pending_bytes = 0;
        let pending = std::mem::take(&mut self.pending);
        self.dropped.extend(
            pending
                .into_iter()
                .map(|pending| (pending.place, pending.counted)),
        );
        self.dropped.sort_unstable_by_key(|(place, _)| *place);
    }

    /// Index after the last durable record.
    pub fn next(&self) -> u64 {
        self.segments.next()
    }

    /// Records that wait, durable ones only.
    pub fn waiting(&self) -> u64 {
        (self.next() - 1).saturating_sub(self.done.count())
    }

    /// Walks over the records from an index on that are not done, until told to stop.
    pub fn walk(
        &mut self,
        from: u64,
        end: u64,
        mut each: impl FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<(), SpoolError> {
        let end = end.min(self.next());
        let mut expected = self.done.next_free(from);
        if expected >= end {
            return Ok(());
        }
        let mut batches = self.segments.batches(expected, self.cursor);
        while let Some(batch) = batches.next()? {
            if batch.first >= end {
                break;
            }
            self.cursor = Some((batch.segment, batch.offset, batch.first));
            for (index, bytes) in batch.entries() {
                if index < expected || index >= end {
                    continue;
                }
                for lost in self.done.free_within(expected, index) {
                    if each(Found::Lost(lost)).is_break() {
                        return Ok(());
                    }
                }
                expected = index + 1;
                if self.done.contains(index) {
                    continue;
                }
                let found = match postcard::from_bytes::<(Place, Record)>(bytes) {
                    Ok((place, record)) => Found::Record {
                        index,
                        place,
                        record,
                        bytes,
                    },
                    Err(_) => Found::Lost(index..=index),
                };
                if each(found).is_break() {
                    return Ok(());
                }
            }
        }
        for lost in self.done.free_within(expected, end) {
            if each(Found::Lost(lost)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether every record of the segment at an index into the list is done.
    pub fn is_done(&self, at: usize) -> bool {
        let range = self.segments.range(at);
        range.is_some_and(|range| self.done.next_free(range.start) >= range.end)
    }

    /// Whether that is all a durable base needs to know: the segment may be recycled.
    pub fn is_covered(&self, at: usize) -> bool {
        let (Some(segment), Some(range)) = (self.segments.list().nth(at), self.segments.range(at))
        else {
            return false;
        };
        let covered = (segment.number, range.end);
        self.covered.contains(&covered) && self.is_done(at)
    }

    /// Indices into the list of the segments that are done; the one being written only if asked.
    pub fn done_segments(&self, with_last: bool) -> Vec<usize> {
        let count = self.segments.list().len();
        let end = if with_last {
            count
        } else {
            count.saturating_sub(1)
        };
        (0..end).filter(|at| self.is_done(*at)).collect()
    }

    /// Notes that a base with all that is done is durable.
    pub fn cover(&mut self) {
        let done = self.done_segments(true).into_iter();
        let ended = done.filter_map(|at| {
            let segment = self.segments.list().nth(at)?;
            Some((segment.number, self.segments.range(at)?.end))
        });
        self.covered = ended.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_back_to_sinks() {
        for sink in ["cloud", "a.b-c", "ü/ %", ""] {
            for priority in [Priority::Low, Priority::Normal, Priority::High] {
                let name = prefix(sink, priority);
                assert!(!name.contains(['/', '-']), "{name}");
                assert_eq!(parse_prefix(&name), Some((sink.to_owned(), priority)));
            }
        }
        for name in ["cloud", "cloud.other", "%zz.low", "%e.low", "%ff.low"] {
            assert_eq!(parse_prefix(name), None);
        }
    }
}
