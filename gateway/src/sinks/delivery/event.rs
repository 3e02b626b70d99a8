//! What goes into the delivery machine and what comes out of it.

use std::sync::Arc;

use super::pace::DrainLimits;
use crate::record::RecordId;
use crate::rules::Priority;
use crate::sinks::SinkError;
use crate::sinks::batch::Batch;
use crate::sinks::queue::{Delivery, Found, Written};
use crate::time::Timestamp;

/// How large a batch may be, and how long it may wait to become so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most records.
    pub records_max: usize,
    /// Most body bytes before compression.
    pub bytes_max: usize,
    /// Longest time that records wait for more to come, in µs; 0: what waits goes.
    pub age_us: u64,
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
        result: Result<Found, SinkError>,
    },
    /// The sink answered.
    Answer(Answer),
    /// What was to be written down about a batch is, or why not.
    Recorded(Result<Written, SinkError>),
    /// A person says that the receiver was mended.
    Resume,
    /// The gateway stops.
    Stopping,
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
    /// Leading records that the sink has, where the outcome is not that of all.
    pub taken: usize,
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
            taken: 0,
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
    /// Not so much at once.
    TooLarge {
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
    /// Note that a batch begins; answer with [`Event::Recorded`].
    Begin {
        /// It.
        batch: Arc<Batch>,
        /// When.
        now: Timestamp,
    },
    /// Send a batch; answer with [`Event::Answer`].
    Send(Arc<Batch>),
    /// Take a batch for delivered; answer with [`Event::Recorded`].
    Commit {
        /// It.
        batch: Arc<Batch>,
        /// What it took.
        delivery: Delivery,
    },
    /// Put the batch's only record among the dead letters; answer with [`Event::Recorded`].
    Bury {
        /// It.
        batch: Arc<Batch>,
        /// What the sink said.
        why: String,
        /// What it took.
        delivery: Delivery,
    },
    /// A dead letter was sent once more; answer with [`Event::Recorded`].
    Settle {
        /// It.
        batch: Arc<Batch>,
        /// What the sink said, if it refused it again.
        refused: Option<String>,
        /// What it took.
        delivery: Delivery,
    },
    /// Charge what failed attempts at a batch took; nothing comes back.
    Charge {
        /// It.
        batch: Arc<Batch>,
        /// What they took.
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
    /// WARN: a record was refused and is kept as a dead letter.
    DeadLetter {
        /// Its id.
        id: RecordId,
        /// What the sink said.
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
