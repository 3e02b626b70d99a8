//! What delivery needs of a spool: read the oldest, commit what was confirmed.
//!
//! [`MemoryQueue`] is its twin in memory, with a switch that makes it fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::SinkError;
use crate::record::{Place, Record};
use crate::rules::Priority;
use crate::time::Timestamp;

/// The classes of a sink's queues, highest first.
pub const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// A record that waits for its sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its number in its queue, ascending without a gap between neighbours of one read.
    pub index: u64,
    /// Its place in the order of emission, over all queues of the sink.
    pub place: Place,
    /// The record.
    pub record: Record,
}

/// What confirming a batch took: a line of the delivery journal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When the sink confirmed.
    pub at: Timestamp,
    /// Body bytes before compression, over all attempts that reached someone.
    pub bytes_before: u64,
    /// Body bytes as sent, over all attempts.
    pub bytes_after: u64,
    /// Bytes of request and response heads over all attempts, estimated; without TLS and TCP.
    pub header_bytes: u64,
    /// Attempts, the confirmed one included.
    pub attempts: u32,
}

/// The queues of one sink, one for each class. Calls may block on a disk.
///
/// Records become visible in order of [`Place`] over all classes (or several at once): what a
/// later read of any class adds is newer than all that an earlier read of another class held.
pub trait Queue: Send + Sync + 'static {
    /// The oldest records of a class that are not committed, oldest first: at most `records_max`
    /// of them and about `bytes_max` bytes as stored, but one where there is one.
    fn read(
        &self,
        class: Priority,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Waiting>, SinkError>;

    /// Takes `first..=last` of a class for delivered: durable on return. Some of them may have
    /// been evicted while they were sent.
    fn commit(
        &self,
        class: Priority,
        first: u64,
        last: u64,
        delivery: &Delivery,
    ) -> Result<(), SinkError>;

    /// How many records wait over all classes; none when that cannot be said at once.
    fn waiting(&self) -> Option<u64> {
        None
    }
}

/// A commit that a [`MemoryQueue`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Class.
    pub class: Priority,
    /// First index.
    pub first: u64,
    /// Last index.
    pub last: u64,
    /// What it took.
    pub delivery: Delivery,
}

/// Queues in memory, unbounded: for tests and simulations, which bound what they put in.
#[derive(Debug, Default)]
pub struct MemoryQueue(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    waiting: BTreeMap<Priority, VecDeque<Waiting>>,
    next: BTreeMap<Priority, u64>,
    commits: Vec<Commit>,
    failing: bool,
}

impl MemoryQueue {
    /// Appends a record to a class.
    pub fn append(&self, class: Priority, place: Place, record: Record) {
        let mut contents = self.contents();
        let next = contents.next.entry(class).or_default();
        let index = *next;
        *next += 1;
        contents
            .waiting
            .entry(class)
            .or_default()
            .push_back(Waiting {
                index,
                place,
                record,
            });
    }

    /// Makes every call fail, or work again.
    pub fn fail(&self, failing: bool) {
        self.contents().failing = failing;
    }

    /// The commits taken so far.
    pub fn commits(&self) -> Vec<Commit> {
        self.contents().commits.clone()
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.contents().waiting.values().map(VecDeque::len).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for MemoryQueue {
    fn waiting(&self) -> Option<u64> {
        Some(self.len() as u64)
    }

    fn read(
        &self,
        class: Priority,
        records_max: usize,
        _bytes_max: usize,
    ) -> Result<Vec<Waiting>, SinkError> {
        let contents = self.contents();
        if contents.failing {
            return Err(SinkError::Queue {
                why: "switched to fail".into(),
            });
        }
        let waiting = contents.waiting.get(&class).into_iter().flatten();
        Ok(waiting.take(records_max).cloned().collect())
    }

    fn commit(
        &self,
        class: Priority,
        first: u64,
        last: u64,
        delivery: &Delivery,
    ) -> Result<(), SinkError> {
        let mut contents = self.contents();
        if contents.failing {
            return Err(SinkError::Queue {
                why: "switched to fail".into(),
            });
        }
        if let Some(waiting) = contents.waiting.get_mut(&class) {
            waiting.retain(|waiting| !(first..=last).contains(&waiting.index));
        }
        contents.commits.push(Commit {
            class,
            first,
            last,
            delivery: *delivery,
        });
        Ok(())
    }
}
