//! Sinks: where records go, and the delivery that brings them there exactly as promised.
//!
//! # Terms
//! - *sink*: one destination with its own queues in the spool, one for each priority class.
//! - *batch*: records of one class in one request ([`batch`]).
//! - *delivery*: the machine that picks, resends and commits batches ([`delivery`]).
//! - *encoding*: how records are spelled in a batch ([`encoding`]).
//! - *transport*: what carries a batch and says what became of it ([`transport`]): [`mod@http`],
//!   [`mod@mqtt`], [`mod@nats`], [`mod@file`], [`stdout`].
//! - *secret* and *TLS*: who the sink is, and whom it trusts ([`secret`], [`tls`]).
//!
//! [`spawn`] runs one sink: it owns the socket or file, the timer and the thread for blocking
//! calls, and leaves every decision to the machine.

pub mod batch;
pub mod delivery;
pub mod encoding;
pub mod file;
pub mod framing;
pub mod http;
pub mod mqtt;
pub mod nats;
pub mod probe;
pub mod queue;
pub mod secret;
mod session;
mod shell;
pub mod status;
pub mod stdout;
pub mod tls;
pub mod transport;

pub use queue::{Delivery, Queue, Waiting};
pub use shell::{STOP_MAX, SinkHandle, spawn};
pub use status::Status;

/// What can go wrong around a sink. What a sink answers is no error but an outcome.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// No Parquet in this build.
    #[error(
        "sink `{sink}`: this gateway was built without Parquet; records wait in the spool. \
         Build it with the feature `parquet`, or choose format = \"ndjson\" or \"csv\""
    )]
    NoParquet {
        /// Sink's name.
        sink: String,
    },
    /// The spool cannot be read or a delivery not recorded.
    #[error("the spool failed: {why}; records wait, and nothing is sent until it works")]
    Queue {
        /// What went wrong.
        why: String,
    },
}
