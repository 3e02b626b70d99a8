//! Counts: what the server did since it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What the server did, since it began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections that are open.
    pub connections: u64,
    /// Streams of events that are open.
    pub streams: u64,
    /// Requests answered, refusals among them.
    pub answered: u64,
    /// Of these, requests with a wrong password or token.
    pub unauthorised: u64,
    /// Of these, requests not looked at because too many wrong ones came from their address.
    pub guessing: u64,
    /// Of these, requests that called the server by a name that it does not have.
    pub foreign_host: u64,
    /// Of these, requests that the gateway was too busy, or stopping, to answer.
    pub unanswered: u64,
    /// Requests and TLS handshakes that could not be read, or were too long.
    pub malformed: u64,
    /// Connections, streams and large answers refused because there were enough.
    pub busy: u64,
    /// Connections and streams ended because their reader took nothing, not all, or shook no hand,
    /// in time.
    pub slow: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) streams: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) unauthorised: AtomicU64,
    pub(super) guessing: AtomicU64,
    pub(super) foreign_host: AtomicU64,
    pub(super) unanswered: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) slow: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Tells what a server did, without keeping it open.
#[derive(Debug, Default, Clone)]
pub struct Meter(pub(super) Arc<Counters>);

impl Meter {
    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0;
        Counts {
            connections: read(&counters.connections),
            streams: read(&counters.streams),
            answered: read(&counters.answered),
            unauthorised: read(&counters.unauthorised),
            guessing: read(&counters.guessing),
            foreign_host: read(&counters.foreign_host),
            unanswered: read(&counters.unanswered),
            malformed: read(&counters.malformed),
            busy: read(&counters.busy),
            slow: read(&counters.slow),
        }
    }
}

/// Something open, counted while it is.
#[derive(Debug)]
pub(super) struct Open {
    counters: Arc<Counters>,
    of: fn(&Counters) -> &AtomicU64,
}

impl Open {
    /// Counts one more, unless there are `most`.
    pub(super) fn one(
        counters: &Arc<Counters>,
        of: fn(&Counters) -> &AtomicU64,
        most: usize,
    ) -> Option<Self> {
        let more = |open| (open < most as u64).then_some(open + 1);
        of(counters)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self {
            counters: Arc::clone(counters),
            of,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.of)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}
