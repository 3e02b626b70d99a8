//! What goes into the delivery machine and what comes out of it.

use std::sync::Arc;

use super::pace::DrainLimits;
use crate::rules::Priority;
use crate::sinks::SinkError;
use crate::sinks::batch::Batch;
use crate::sinks::queue::{Delivery, Waiting};

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most records.
    pub records_max: usize,
    /// Most body bytes before compression.
    pub bytes_max: usize,
}

/// What happens to a delivery.
#[derive(Debug)]
pub enum Event {
    /// The spool took records for this sink.
    RecordsWaiting,
    /// A queue was read.
    Read {
        /// Its class.
        class: Priority,
        /// What it holds, or why it could not be read.
        result: Result<Vec<Waiting>, SinkError>,
    },
    /// The sink answered.
    Answer(Answer),
    /// The batch was committed, or why not.
    Committed(Result<(), SinkError>),
    /// The deadline passed.
    Deadline,
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the sink made of it.
    pub outcome: Outcome,
    /// Body bytes as sent, after compression; 0 when no connection was made.
    pub sent_bytes: u64,
    /// Bytes of the request and response heads, estimated.
    pub header_bytes: u64,
}

impl Answer {
    /// Nothing left this machine: try again.
    pub fn unsent(why: String) -> Self {
        Self {
            outcome: Outcome::Retry {
                why,
                after_us: None,
            },
            sent_bytes: 0,
            header_bytes: 0,
        }
    }
}

/// What a sink made of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Confirmed,
    /// Not now.
    Retry {
        /// What went wrong.
        why: String,
        /// What the sink asked for, in µs.
        after_us: Option<u64>,
    },
    /// Not like this: address, credentials or certificates are wrong.
    Broken {
        /// What went wrong.
        why: String,
    },
    /// Not this batch.
    Refused {
        /// What went wrong.
        why: String,
    },
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read a queue's oldest records; answer with [`Event::Read`].
    Read {
        /// Class.
        class: Priority,
        /// Most records.
        records_max: usize,
        /// Most bytes.
        bytes_max: usize,
    },
    /// Send a batch; answer with [`Event::Answer`].
    Send(Arc<Batch>),
    /// Commit `first..=last` of a class; answer with [`Event::Committed`].
    Commit {
        /// Class.
        class: Priority,
        /// First index.
        first: u64,
        /// Last index.
        last: u64,
        /// What it took.
        delivery: Delivery,
    },
    /// Tell people.
    Tell(News),
}

/// What people are told, each once per change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// WARN: attempts fail; they go on.
    Failing {
        /// What went wrong.
        why: String,
    },
    /// ERROR: a person is needed.
    CircuitOpened {
        /// What went wrong.
        why: String,
    },
    /// INFO: confirmed again, after so many attempts at one batch.
    Recovered {
        /// Attempts at that batch.
        attempts: u32,
    },
    /// INFO: the sink is back after an outage, or the gateway after a stop, and more waits than a
    /// batch takes.
    Draining {
        /// At which pace it goes.
        limits: DrainLimits,
        /// When it begins, in µs from now.
        wait_us: u64,
    },
    /// INFO: the backlog that this was told of is on its way.
    Drained {
        /// Records that were sent of it, resends among them.
        records: u64,
    },
    /// ERROR: the spool cannot be read or a delivery not recorded.
    SpoolFailed {
        /// What went wrong.
        why: String,
    },
}
