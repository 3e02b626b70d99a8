//! Batches: records of one class that travel in one request, encoded once.
//!
//! The body is fixed before the first attempt, so every attempt sends the same bytes under the
//! same key. It is the records' pieces one after another: what stands around them (the brackets
//! of a JSON array) is the transport's to add.

use std::collections::BTreeSet;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::encoding::Encoding;
use super::queue::{Letter, Waiting};
use crate::record::Record;
use crate::rules::Priority;
use crate::spool::journal::{Share, Shares};

/// Records of one class, oldest first, as one body.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Class.
    pub class: Priority,
    /// Index of its first record.
    pub first: u64,
    /// Index of its last record.
    pub last: u64,
    /// The records, in order.
    pub records: Vec<Record>,
    /// Their pieces, one after another.
    pub body: Vec<u8>,
    /// Where each record's piece ends in the body, in bytes.
    pub ends: Vec<usize>,
    /// Each record's index in its queue.
    pub indices: Vec<u64>,
}

impl Batch {
    /// Encodes the longest prefix of `waiting` within `records_max` records and `bytes_max` body
    /// bytes; a first record that is larger travels alone. None when nothing waits.
    pub fn render(
        class: Priority,
        waiting: &[Waiting],
        records_max: usize,
        bytes_max: usize,
        encoding: &Encoding,
    ) -> Option<Self> {
        let first = waiting.first()?.index;
        let mut batch = Self {
            class,
            first,
            last: first,
            records: Vec::new(),
            body: Vec::new(),
            ends: Vec::new(),
            indices: Vec::new(),
        };
        let mut series = BTreeSet::new();
        for waiting in waiting.iter().take(records_max.max(1)) {
            if !encoding.may_repeat_series() && !series.insert(series_of(&waiting.record)) {
                break;
            }
            let before = batch.body.len();
            encoding.encode(&waiting.record, &mut batch.body);
            if before > 0 && batch.body.len() > bytes_max {
                batch.body.truncate(before);
                break;
            }
            batch.ends.push(batch.body.len());
            batch.records.push(waiting.record.clone());
            batch.indices.push(waiting.index);
            batch.last = waiting.index;
        }
        Some(batch)
    }

    /// A dead letter's only record.
    pub fn of_letter(letter: &Letter, encoding: &Encoding) -> Self {
        let mut body = Vec::new();
        encoding.encode(&letter.record, &mut body);
        Self {
            class: letter.class,
            first: letter.index,
            last: letter.index,
            records: vec![letter.record.clone()],
            ends: vec![body.len()],
            body,
            indices: vec![letter.index],
        }
    }

    /// The first so many records, at least one.
    #[must_use]
    pub fn first(&self, records: usize) -> Self {
        let records = records.clamp(1, self.records.len());
        Self {
            class: self.class,
            first: self.first,
            last: self.indices[records - 1],
            records: self.records[..records].to_vec(),
            body: self.body[..self.ends[records - 1]].to_vec(),
            ends: self.ends[..records].to_vec(),
            indices: self.indices[..records].to_vec(),
        }
    }

    /// What each rule, device and sensor has of the body.
    pub fn shares(&self) -> Shares {
        let mut shares = Shares::default();
        for (record, piece) in self.pieces() {
            let part = Share {
                bytes: piece.len() as u64,
                ..Share::default()
            };
            shares.add(record, part);
        }
        shares
    }

    /// Each record with its piece of the body.
    pub fn pieces(&self) -> impl Iterator<Item = (&Record, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let pieces = begins
            .zip(&self.ends)
            .map(|(begin, end)| &self.body[begin..*end]);
        self.records.iter().zip(pieces)
    }

    /// A name of the batch: 128 bits of SHA-256 over its ids, in hexadecimal. Equal for every
    /// attempt at it.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        for record in &self.records {
            hash.update(record.id.0);
        }
        hash.finalize()
            .iter()
            .take(16)
            .fold(String::with_capacity(32), |mut key, byte| {
                // Writing to a String cannot fail.
                let _ = write!(key, "{byte:02x}");
                key
            })
    }
}

/// What one series at a receiver is made of.
fn series_of(record: &Record) -> (&str, &str, &str) {
    (&record.rule, &record.device, &record.sensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Place, example};

    /// Prometheus takes the newest sample of a series again, and none before it: a batch that it
    /// stored without an answer can be sent again only if it held one of each.
    #[test]
    fn a_batch_for_prometheus_has_a_series_once() {
        let record = |number: u8, sensor: &str| Record {
            sensor: sensor.into(),
            ..example(number)
        };
        let records = [
            record(1, "a"),
            record(1, "b"),
            record(2, "a"),
            record(2, "b"),
        ];
        let waiting: Vec<_> = (1..)
            .zip(records)
            .map(|(index, record)| Waiting {
                index,
                place: Place::default(),
                record,
            })
            .collect();
        let prometheus = Encoding::Prometheus("tidegate".into());
        for (encoding, last) in [(prometheus, 2), (Encoding::Ndjson, 4)] {
            let batch = Batch::render(Priority::Normal, &waiting, 9, 1 << 20, &encoding);
            assert_eq!(batch.unwrap().last, last);
        }
    }
}
