//! What a sink is doing, as control and ledger show it.

use serde::Serialize;

/// A snapshot of one sink's delivery.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// The last error, until a batch is confirmed.
    pub last_error: Option<String>,
    /// Attempts at the batch underway.
    pub attempts: u32,
    /// Records of the batch underway.
    pub records_underway: u64,
    /// Counted since the gateway's start.
    pub counters: Counters,
}

/// What a sink is doing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing waits.
    #[default]
    Idle,
    /// Its queues are being read.
    Reading,
    /// A request is in flight.
    Sending,
    /// The last attempt failed; the next one is due.
    BackingOff,
    /// A person is needed: see the error. It is tried again slowly.
    CircuitOpen,
    /// Confirmed; the spool is recording it.
    Committing,
    /// The spool cannot be read or written.
    SpoolFailing,
}

/// Totals of one sink since the gateway's start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Batches confirmed.
    pub batches: u64,
    /// Records confirmed.
    pub records: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Attempts that ended in a retry.
    pub retries: u64,
    /// Attempts that found the sink broken or were refused.
    pub broken: u64,
    /// Body bytes confirmed, before compression.
    pub body_bytes: u64,
    /// Body bytes as sent, by all attempts.
    pub sent_bytes: u64,
    /// Bytes of request and response heads, of all attempts, estimated.
    pub header_bytes: u64,
    /// Of these two, what attempts that were not confirmed took.
    pub failed_bytes: u64,
    /// Reads and commits that the spool failed.
    pub spool_failures: u64,
}
