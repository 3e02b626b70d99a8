//! Delivery: which records go to a sink next, and what its answers mean. A machine without I/O.
//!
//! ```text
//!  Idle ──waiting──▶ Gathering ──batch──▶ Recording(begin) ──▶ Sending ──confirmed──▶ Recording(commit)
//!   ▲                 │  ▲  ▲                 ▲  ▲ half of it   │  ▲                        │
//!   └──nothing left───┤  │  └─────────────────┼──┼──────────────┼──┼────────────────────────┘
//!      not full, young▼  │deadline            │  └──refused─────┤  │deadline
//!             Filling, Draining,              │                 ▼  │
//!             ReadLater                       └───────────── Pausing
//! ```
//!
//! # Invariants
//! - One request is in flight. A batch's bounds are written down before its first attempt and
//!   taken up again after a crash, so every attempt carries the same records under the same key.
//!   Nothing is committed that was not confirmed, nothing is dropped here.
//! - Within a class records leave oldest first; the highest class that has any goes first.
//! - **Revision n is never sent after n+1.** Within a class by order. Across classes (a rule's
//!   priority was changed while its windows were open) by place: a record with revision > 0 is
//!   held while any other class still holds an older record, which may be the revision before
//!   it. Only revisions wait for this: they correct what the sink has already.
//! - What waits when the sink is free goes, so that a group of windows that close together makes
//!   one request; where an age is set, a batch that is not full waits up to it for more. The
//!   highest class never waits.
//! - Backlog goes at the pace of its cap; what is not backlog never waits for it.
//! - A record is dead-lettered only when it was refused alone. While the store of dead letters is
//!   full, or too many in a row were refused alone, nothing leaves the queue.
//!
//! # Answers
//! | outcome | cause | then |
//! |---|---|---|
//! | confirmed | 2xx, fsync, acknowledged | commit |
//! | retry | network, timeout, 408, 425, 429, 5xx | again after a growing wait up to 60 s, or what Retry-After asks (at most 1 h) |
//! | broken | 401, 403, 404, 405, 407, 421, redirects, DNS, TLS | circuit open: a person is needed; again every 30–60 s |
//! | too large | 413, a message beyond the server's limit | the first half of it; later batches are as small. Alone: as refused |
//! | refused | 400, 415, 422, other 4xx | the first half of it, down to the record; refused alone it is dead-lettered |
//! | of any of these, some taken | brokers, message by message | those are committed, the rest comes again |

mod event;
mod gathering;
mod pace;
mod sending;

pub use event::{Answer, BatchLimits, Effect, Event, News, Outcome};
pub use pace::DrainLimits;

use gathering::Gathering;
use pace::Pace;
use sending::Underway;

use super::batch::Batch;
use super::encoding::Encoding;
use super::queue::CLASSES;
use super::status::{Counters, Drain, Phase, Status};
use crate::backoff::Backoff;
use crate::rules::Priority;
use crate::time::Timestamp;

/// Most effects of one event.
pub const EFFECTS_MAX: usize = 4;
/// First wait after a failed attempt, in µs.
pub const RETRY_FIRST_US: u64 = 500_000;
/// Longest wait after a failed attempt, and between attempts at a broken sink, in µs.
pub const RETRY_MOST_US: u64 = 60_000_000;
/// Longest wait that a Retry-After may ask for, in µs: longer ones are typing errors or malice.
pub const RETRY_AFTER_MAX_US: u64 = 3_600_000_000;
/// Records that may be refused alone, one after another with none taken between, before the
/// circuit opens: so many are the receiver's trouble, not the records'.
pub const REFUSED_ROW_MAX: u32 = 8;

/// What the spool is to write down about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Note {
    /// That it begins: before its first attempt.
    Begin,
    /// That it was confirmed. `then` is when the next batch may go, if not at once.
    Commit { then: Option<Timestamp> },
    /// That its only record was refused, and why.
    Bury { why: String },
    /// What became of a dead letter: confirmed, or refused again, and why.
    Settle { refused: Option<String> },
}

#[derive(Debug)]
enum State {
    /// Nothing waits.
    Idle,
    /// Looking for the next batch.
    Gathering(Gathering),
    /// What waits is less than a batch and not old yet: looked at again at the deadline.
    Filling { until: Timestamp },
    /// The spool is writing something down.
    Recording { underway: Underway, note: Note },
    /// The spool could not write it down; again at the deadline. Nothing is sent meanwhile.
    RecordLater {
        underway: Underway,
        note: Note,
        until: Timestamp,
    },
    /// A request is in flight.
    Sending(Underway),
    /// The same batch goes again at the deadline.
    Pausing {
        underway: Underway,
        until: Timestamp,
    },
    /// The queues are read again at the deadline: the spool could not be read, or the sink took
    /// only part of a batch.
    ReadLater { until: Timestamp },
    /// Backlog of the class at this rank goes at the deadline; higher classes go meanwhile.
    Draining { until: Timestamp, rank: usize },
}

/// Records of which one at least was refused among others.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    class: Priority,
    /// Index of the last of them.
    last: u64,
}

/// Delivery to one sink.
#[derive(Debug)]
pub struct Machine {
    limits: BatchLimits,
    encoding: Encoding,
    backoff: Backoff,
    pace: Pace,
    state: State,
    /// Records arrived since the reading began.
    arrived: bool,
    /// Until when what waits in each class may wait for more, if it is less than a batch.
    fill_until: [Option<Timestamp>; CLASSES.len()],
    /// What the receiver called too large, halved: the most body bytes of a batch, if that is
    /// less than its limit, and the batches confirmed since. It doubles now and then.
    bytes_shrunk: Option<(usize, u32)>,
    suspect: Option<Suspect>,
    /// Records refused alone since one was taken.
    refused_row: u32,
    /// Why attempts fail, if they do.
    failing: Option<String>,
    /// Why the circuit is open, if it is.
    circuit: Option<String>,
    /// Why the spool fails, if it does.
    spool_failing: Option<String>,
    counters: Counters,
}

impl Machine {
    /// A delivery that knows of nothing yet: tell it [`Event::RecordsWaiting`] first, because the
    /// spool may hold records from before. Its backlog goes as fast as the sink confirms, unless
    /// [`Self::with_drain`] says otherwise.
    pub fn new(limits: BatchLimits, encoding: Encoding, seed: u64) -> Self {
        Self {
            limits,
            encoding,
            backoff: Backoff::new(RETRY_FIRST_US, RETRY_MOST_US, seed),
            pace: Pace::new(DrainLimits::NONE),
            state: State::Idle,
            arrived: false,
            fill_until: [None; CLASSES.len()],
            bytes_shrunk: None,
            suspect: None,
            refused_row: 0,
            failing: None,
            circuit: None,
            spool_failing: None,
            counters: Counters::default(),
        }
    }

    /// The same with limits to how fast a backlog goes out.
    #[must_use]
    pub fn with_drain(mut self, drain: DrainLimits) -> Self {
        self.pace = Pace::new(drain);
        self
    }

    /// Takes an event; one that the state does not await is ignored.
    pub fn handle(&mut self, now: Timestamp, event: Event, effects: &mut impl Extend<Effect>) {
        match (event, std::mem::replace(&mut self.state, State::Idle)) {
            (Event::RecordsWaiting, State::Idle | State::Filling { .. }) => {
                self.gather(None, effects);
            }
            (Event::RecordsWaiting, State::Draining { until, rank }) if rank > 0 => {
                self.gather(Some((rank, until)), effects);
            }
            (Event::RecordsWaiting, state) => {
                self.arrived = true;
                self.state = state;
            }
            (Event::Read { class, result }, State::Gathering(gathering)) => match result {
                Ok(found) => {
                    self.spool_failing = None;
                    self.gathered(now, gathering, class, found, effects);
                }
                Err(failed) => {
                    let until = self.spool_failed(now, failed.to_string(), effects);
                    self.state = State::ReadLater { until };
                }
            },
            (Event::Answer(answer), State::Sending(underway)) => {
                self.answered(now, underway, answer, effects);
            }
            (Event::Recorded(result), State::Recording { underway, note }) => match result {
                Ok(written) => {
                    self.spool_failing = None;
                    self.recorded(now, underway, note, written, effects);
                }
                Err(failed) => {
                    let until = self.spool_failed(now, failed.to_string(), effects);
                    self.state = State::RecordLater {
                        underway,
                        note,
                        until,
                    };
                }
            },
            (Event::Resume, state) => self.resume(now, state, effects),
            (Event::Stopping, state) => self.stop(state, effects),
            (Event::Deadline, state) => self.wake(now, state, effects),
            (_, state) => self.state = state,
        }
    }

    /// When to come back with [`Event::Deadline`].
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Pausing { until, .. }
            | State::RecordLater { until, .. }
            | State::ReadLater { until }
            | State::Filling { until }
            | State::Draining { until, .. } => Some(*until),
            State::Idle | State::Gathering(_) | State::Sending(_) | State::Recording { .. } => None,
        }
    }

    /// What is going on, for people.
    pub fn status(&self) -> Status {
        let (phase, underway) = match &self.state {
            State::Idle => (Phase::Idle, None),
            State::Gathering(_) => (Phase::Reading, None),
            State::Filling { .. } => (Phase::Filling, None),
            State::Sending(underway) => (Phase::Sending, Some(underway)),
            State::Pausing { underway, .. } => (Phase::BackingOff, Some(underway)),
            State::Recording { underway, .. } => (Phase::Committing, Some(underway)),
            State::RecordLater { underway, .. } => (Phase::SpoolFailing, Some(underway)),
            State::ReadLater { .. } if self.spool_failing.is_some() => (Phase::SpoolFailing, None),
            State::ReadLater { .. } => (Phase::BackingOff, None),
            State::Draining { .. } => (Phase::Draining, None),
        };
        let phase = match (phase, &self.circuit) {
            (Phase::Sending | Phase::BackingOff, Some(_)) => Phase::CircuitOpen,
            (phase, _) => phase,
        };
        Status {
            phase,
            last_error: [&self.spool_failing, &self.circuit, &self.failing]
                .into_iter()
                .find_map(Clone::clone),
            attempts: underway.map_or(0, Underway::attempts),
            records_underway: underway.map_or(0, |underway| underway.batch().records.len() as u64),
            records_waiting: None,
            dead_letters: None,
            drain: self.drain(),
            counters: self.counters,
        }
    }

    /// The draining that goes on, if one does.
    fn drain(&self) -> Option<Drain> {
        let limits = self.pace.limits();
        let drained = self.pace.drained();
        self.pace.is_behind().then_some(Drain {
            bytes_per_s: limits.bytes_per_s,
            records_per_s: limits.records_per_s,
            records: drained.records,
            bytes: drained.bytes,
        })
    }

    fn spool_failed(
        &mut self,
        now: Timestamp,
        why: String,
        effects: &mut impl Extend<Effect>,
    ) -> Timestamp {
        self.counters.spool_failures += 1;
        if self.spool_failing.is_none() {
            effects.extend([Effect::Tell(News::SpoolFailed { why: why.clone() })]);
        }
        self.spool_failing = Some(why);
        later(now, self.backoff.next_us())
    }

    /// A person says that the receiver was mended: what waits for its next attempt goes at once.
    fn resume(&mut self, now: Timestamp, state: State, effects: &mut impl Extend<Effect>) {
        self.refused_row = 0;
        self.backoff.reset();
        match state {
            State::Pausing { underway, .. } => self.send(now, underway, effects),
            State::ReadLater { .. } => self.gather(None, effects),
            state => self.state = state,
        }
    }

    /// The gateway stops: what failed attempts took is charged now. What is in flight or about to
    /// go comes again after the next start.
    fn stop(&mut self, state: State, effects: &mut impl Extend<Effect>) {
        let mut state = state;
        if let State::Sending(underway) | State::Pausing { underway, .. } = &mut state {
            effects.extend(underway.charge());
        }
        self.state = state;
    }

    fn wake(&mut self, now: Timestamp, state: State, effects: &mut impl Extend<Effect>) {
        let due = |until: Timestamp| until.mono_us <= now.mono_us;
        match state {
            State::Pausing { underway, until } if due(until) => {
                self.send(now, underway, effects);
            }
            State::RecordLater {
                underway,
                note,
                until,
            } if due(until) => self.record(now, underway, note, effects),
            State::ReadLater { until }
            | State::Filling { until }
            | State::Draining { until, .. }
                if due(until) =>
            {
                self.gather(None, effects);
            }
            state => self.state = state,
        }
    }
}

/// A class's place in [`CLASSES`].
fn rank(class: Priority) -> usize {
    match class {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

fn later(now: Timestamp, wait_us: u64) -> Timestamp {
    Timestamp {
        mono_us: now.mono_us.saturating_add(wait_us),
        wall_us: now.wall_us.saturating_add_unsigned(wait_us),
        wall_trusted: now.wall_trusted,
    }
}

#[cfg(test)]
mod tests;
