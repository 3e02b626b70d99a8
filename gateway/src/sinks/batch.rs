//! Batches: records of one class that travel in one request, rendered once.
//!
//! The body is fixed before the first attempt, so every attempt sends the same bytes under the
//! same key. After a restart the same records may travel in other batches; their ids are the
//! same.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::queue::Waiting;
use crate::record::RecordId;
use crate::record::to_json;
use crate::rules::Priority;

/// Records of one class, oldest first, as one NDJSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Class.
    pub class: Priority,
    /// Index of its first record.
    pub first: u64,
    /// Index of its last record.
    pub last: u64,
    /// Ids, in order.
    pub ids: Vec<RecordId>,
    /// One JSON object a line, each line ended by `\n`.
    pub body: Vec<u8>,
}

impl Batch {
    /// Renders the longest prefix of `waiting` within `records_max` records and `bytes_max` body
    /// bytes; a first record that is larger travels alone. None when nothing waits.
    pub fn render(
        class: Priority,
        waiting: &[Waiting],
        records_max: usize,
        bytes_max: usize,
    ) -> Option<Self> {
        let first = waiting.first()?.index;
        let mut batch = Self {
            class,
            first,
            last: first,
            ids: Vec::new(),
            body: Vec::new(),
        };
        for waiting in waiting.iter().take(records_max.max(1)) {
            let line = to_json(&waiting.record);
            if !batch.ids.is_empty() && batch.body.len() + line.len() + 1 > bytes_max {
                break;
            }
            batch.body.extend_from_slice(line.as_bytes());
            batch.body.push(b'\n');
            batch.ids.push(waiting.record.id);
            batch.last = waiting.index;
        }
        Some(batch)
    }

    /// A name of the batch: 128 bits of SHA-256 over its ids, in hexadecimal. Equal for every
    /// attempt at it.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        for id in &self.ids {
            hash.update(id.0);
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
