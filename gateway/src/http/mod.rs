//! HTTP: serves the page, a JSON API, metrics and health of a running gateway; it changes nothing
//! of it.
//!
//! ```text
//! socket ─▶ door (limits) ─▶ TLS ─▶ guard (who asks, by which name) ─▶ routes ─▶ source
//!                                                                        │
//!                             events ◀── hub: once a second, while somebody listens
//! ```
//! Terms: the *door* is the listening socket with what it counts; the *guard* decides who may ask;
//! the *hub* composes what streams of events tell; a [`Source`] is the running gateway, or in
//! tests a plant made up for them.
//!
//! Invariants: only GET and HEAD, and where the gateway is a witness the one POST of
//! `witnessing`, which changes nothing of the plant; nothing from another place is ever loaded; what the gateway
//! cannot say now is 503, never an empty answer; every answer carries the headers of
//! [`answer::HEADERS`].
//!
//! # Limits
//! | limit | default | why | at the limit |
//! |---|---|---|---|
//! | [`CONNECTIONS_MAX`] | 64 | a browser opens 6, a few people look | 503, counted as `busy` |
//! | [`CONNECTIONS_PER_ADDRESS_MAX`] | 16 | two browsers; an address must not take them all, also before it said who it is; this machine is not held to it | 503, counted as `busy` |
//! | [`STREAMS_MAX`] | 32 | each holds a connection for good; half of them stay for questions | 503, counted as `busy` |
//! | [`SELECTIONS_MAX`] | 8 | each distinct selection is composed every second | 503, counted as `busy` |
//! | [`CHANGES_MAX`] | 8 | events of a stream that is not read | the stream ends, counted as `slow` |
//! | [`HEAD_BYTES_MAX`] | 16 KiB | a browser sends 1 KiB | 431 or 414, connection closed, counted as `malformed` |
//! | [`TARGET_BYTES_MAX`] | 2 KiB | the longest right one has some 200 bytes | 414 |
//! | [`IDLE_MAX`] | 30 s | a head that does not come must not hold a connection | connection closed |
//! | [`HANDSHAKE_MAX`] | 5 s | the same of TLS | connection closed, counted as `slow` |
//! | [`TAKE_MAX`] | 10 s | nor a reader that takes nothing | connection closed, counted as `slow` |
//! | [`WHOLE_MAX`] | 120 s | nor one that takes a little now and then; a ledger of 20 MB at 1.4 Mbit/s | connection closed, counted as `slow` |
//! | [`LARGE_MAX`] | 4 | ledgers, bills and lists of more than 200 devices, of up to 20 MB each | 503, counted as `busy` |
//! | [`ANSWER_MAX`] | 10 s | an answer that is not made must not hold a connection | 503, counted as `unanswered` |
//! | [`FRESH_MAX`] | 1 s | who watches asks each second; the gateway is asked once for all of them | it is asked again |
//! | [`ADDRESSES_MAX`] | 256 | addresses whose wrong passwords are remembered | the one that may come back soonest is forgotten |

pub mod answer;
mod api;
mod chart;
mod counts;
mod credentials;
pub(crate) mod crowd;
mod door;
mod events;
mod guard;
mod guessing;
mod health;
mod large;
mod metrics;
mod newest;
mod pages;
mod query;
mod routes;
mod taking;
#[cfg(test)]
mod tests;
mod witnessing;

use std::net::IpAddr;
use std::time::Duration;

pub use self::counts::{Counts, Meter};
pub use self::credentials::{CredentialsError, check_tls};
pub use self::door::{Door, HttpError};
pub use self::witnessing::Cosigner;
pub use crate::plant::Source;

/// Most connections at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// Most connections at a time of an address that is not this machine's.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 16;
/// Most streams of events at a time.
pub const STREAMS_MAX: usize = 32;
/// Most different selections of devices that streams of events tell at a time.
pub const SELECTIONS_MAX: usize = 8;
/// Most events of a stream that wait for its reader.
pub const CHANGES_MAX: usize = 8;
/// Most bytes of a request's line and headers.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a request's target: path and query.
pub const TARGET_BYTES_MAX: usize = 2 << 10;
/// Longest wait for a request's head, also between two requests of a connection.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest TLS handshake.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Longest time a reader may take nothing of what is there for it.
pub const TAKE_MAX: Duration = Duration::from_secs(10);
/// Longest time a reader may have for a whole answer, or for one event of a stream.
pub const WHOLE_MAX: Duration = Duration::from_mins(2);
/// Most answers at a time that may be large: ledger, bill, more devices than by default.
pub const LARGE_MAX: usize = 4;
/// Longest time an answer may take to be made.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Oldest overview or status that is told again.
pub const FRESH_MAX: Duration = Duration::from_secs(1);
/// Most addresses whose wrong passwords are remembered.
pub const ADDRESSES_MAX: usize = 256;

/// The limits that a test makes small.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    connections_per_address: usize,
    /// Which addresses may have more.
    is_exempt: fn(&IpAddr) -> bool,
    streams: usize,
    idle: Duration,
    handshake: Duration,
    take: Duration,
    whole: Duration,
    large: usize,
    answer: Duration,
    fresh: Duration,
    /// Between two compositions of what streams tell.
    beat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            is_exempt: |address| address.to_canonical().is_loopback(),
            streams: STREAMS_MAX,
            idle: IDLE_MAX,
            handshake: HANDSHAKE_MAX,
            take: TAKE_MAX,
            whole: WHOLE_MAX,
            large: LARGE_MAX,
            answer: ANSWER_MAX,
            fresh: FRESH_MAX,
            beat: Duration::from_secs(1),
        }
    }
}
