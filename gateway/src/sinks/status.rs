//! What a sink is doing, as control and ledger show it.

use serde::{Deserialize, Serialize};

/// A snapshot of one sink's delivery.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// The last error, until a batch is confirmed.
    pub last_error: Option<String>,
    /// Attempts at the batch underway.
    pub attempts: u32,
    /// Records of the batch underway.
    pub records_underway: u64,
    /// Records that wait in its queues, those underway among them; unknown when the spool is busy
    /// or was not asked.
    pub records_waiting: Option<u64>,
    /// Records that it refused and that are kept; unknown when the spool is busy or was not asked.
    pub dead_letters: Option<u64>,
    /// The draining of a backlog, while there is one.
    pub drain: Option<Drain>,
    /// Counted since the gateway's start.
    pub counters: Counters,
}

/// A backlog that goes out at its pace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Most body bytes a second, before compression; none: no cap.
    pub bytes_per_s: Option<u64>,
    /// Most records a second; none: no cap.
    pub records_per_s: Option<u64>,
    /// Records sent of it so far, resends among them.
    pub records: u64,
    /// Their body bytes.
    pub bytes: u64,
}

/// What a sink is doing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing waits.
    #[default]
    Idle,
    /// Its queues are being read.
    Reading,
    /// Less than a batch waits, and waits for more.
    Filling,
    /// A request is in flight.
    Sending,
    /// The last attempt failed; the next one is due.
    BackingOff,
    /// A person is needed: see the error. It is tried again slowly.
    CircuitOpen,
    /// The spool is recording a batch: that it begins, was confirmed or refused.
    Committing,
    /// The spool cannot be read or written.
    SpoolFailing,
    /// A backlog waits for its pace: see `drain`.
    Draining,
}

/// Totals of one sink since the gateway's start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Batches confirmed.
    pub batches: u64,
    /// Records confirmed.
    pub records: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Attempts that ended in a retry.
    pub retries: u64,
    /// Attempts that found the sink broken.
    pub broken: u64,
    /// Attempts after which a batch was halved: something in it was refused, or it was too large.
    pub halved: u64,
    /// Attempts at a record alone that were refused.
    pub refused: u64,
    /// Records that were put among the dead letters.
    pub dead_letters: u64,
    /// Body bytes confirmed, before compression.
    pub body_bytes: u64,
    /// Body bytes as sent, by all attempts.
    pub sent_bytes: u64,
    /// Bytes of request and response heads, of all attempts, estimated.
    pub header_bytes: u64,
    /// Of these two, what attempts that were not confirmed took.
    pub failed_bytes: u64,
    /// Backlogs: times that more waited than a batch takes.
    pub drains: u64,
    /// Records of them confirmed.
    pub drained_records: u64,
    /// Their body bytes, before compression.
    pub drained_bytes: u64,
    /// Times that a backlog waited for its pace.
    pub drain_waits: u64,
    /// Reads and commits that the spool failed.
    pub spool_failures: u64,
}
