//! Delivery: which records go to a sink next, and what its answers mean. A machine without I/O.
//!
//! ```text
//!  Idle ──waiting──▶ Gathering ──batch──▶ Sending ──confirmed──▶ Committing ──▶ Gathering …
//!   ▲                 │    ▲               │  ▲                   │    ▲
//!   └──nothing left───┤    │deadline   else│  │deadline     failed│    │deadline
//!      failed, backlog▼    │               ▼  │                   ▼    │
//!            ReadLater, Draining          Pausing              CommitLater
//! ```
//!
//! # Invariants
//! - One request is in flight. A batch is fixed before its first attempt and resent identically
//!   until it is confirmed; nothing is committed that was not, nothing is dropped here.
//! - Within a class records leave oldest first; the highest class that has any goes first.
//! - **Revision n is never sent after n+1.** Within a class by order. Across classes (a rule's
//!   priority was changed while its windows were open) by place: a record with revision > 0 is
//!   held while any other class still holds an older record, which may be the revision before
//!   it. Only revisions wait for this: they correct what the sink has already.
//! - No batch waits to be filled: what waits when the sink is free goes, so that a group of
//!   windows that close together makes one request.
//! - Backlog goes at the pace of its cap; what is not backlog never waits for it.
//!
//! # Answers
//! | outcome | cause | then |
//! |---|---|---|
//! | confirmed | 2xx, fsync | commit |
//! | retry | network, timeout, 408, 425, 429, 5xx | again after a growing wait up to 60 s, or what Retry-After asks (at most 1 h) |
//! | broken | 401, 403, 404, 405, 407, 421, redirects, DNS, TLS | circuit open: a person is needed; again every 30–60 s |
//! | refused | other 4xx | as broken: this version drops nothing |

mod event;
mod pace;

use std::sync::Arc;

pub use event::{Answer, BatchLimits, Effect, Event, News, Outcome};
pub use pace::DrainLimits;

use pace::Pace;

use super::SinkError;
use super::batch::Batch;
use super::encoding::Encoding;
use super::queue::{CLASSES, Delivery, Waiting};
use super::status::{Counters, Drain, Phase, Status};
use crate::backoff::Backoff;
use crate::record::Place;
use crate::rules::Priority;
use crate::time::Timestamp;

/// Most effects of one event.
pub const EFFECTS_MAX: usize = 3;
/// First wait after a failed attempt, in µs.
pub const RETRY_FIRST_US: u64 = 500_000;
/// Longest wait after a failed attempt, and between attempts at a broken sink, in µs.
pub const RETRY_MOST_US: u64 = 60_000_000;
/// Longest wait that a Retry-After may ask for, in µs: longer ones are typing errors or malice.
pub const RETRY_AFTER_MAX_US: u64 = 3_600_000_000;

/// A batch on its way.
#[derive(Debug)]
struct Underway {
    batch: Arc<Batch>,
    /// What its attempts took so far.
    spent: Delivery,
    /// It was chosen of a class that was behind.
    is_backlog: bool,
}

impl Underway {
    /// Adds an attempt's bytes; one that reached nobody has none.
    fn spend(&mut self, sent_bytes: u64, header_bytes: u64) {
        if sent_bytes > 0 {
            self.spent.bytes_before += self.batch.body.len() as u64;
        }
        self.spent.bytes_after += sent_bytes;
        self.spent.header_bytes += header_bytes;
    }
}

#[derive(Debug)]
enum State {
    /// Nothing waits.
    Idle,
    /// Looking for the next batch.
    Gathering(Gathering),
    /// A request is in flight.
    Sending(Underway),
    /// The same batch goes again at the deadline.
    Pausing {
        underway: Underway,
        until: Timestamp,
    },
    /// Confirmed; the spool is recording it.
    Committing(Underway),
    /// The spool could not record it; again at the deadline. It is not sent again meanwhile.
    CommitLater {
        underway: Underway,
        until: Timestamp,
    },
    /// The spool could not be read; again at the deadline.
    ReadLater { until: Timestamp },
    /// Backlog of the class at this rank goes at the deadline; higher classes go meanwhile.
    Draining { until: Timestamp, rank: usize },
}

/// What is known while queues are read, highest class first.
#[derive(Debug, Default)]
struct Gathering {
    /// Oldest place of each class that was read, in the order of [`CLASSES`].
    heads: [Option<Place>; CLASSES.len()],
    /// Records to send, unless they turn out to be held.
    chosen: Option<(Priority, Vec<Waiting>)>,
    /// All heads are known and the class of the oldest is being read.
    oldest_first: bool,
    /// The backlog that waits for its pace meanwhile: only what is above it is looked for.
    below: Option<(usize, Timestamp)>,
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
            (Event::RecordsWaiting, State::Idle) => self.gather(None, effects),
            (Event::RecordsWaiting, State::Draining { until, rank }) if rank > 0 => {
                self.gather(Some((rank, until)), effects);
            }
            (Event::RecordsWaiting, state) => {
                self.arrived = true;
                self.state = state;
            }
            (Event::Read { class, result }, State::Gathering(gathering)) => match result {
                Ok(waiting) => {
                    self.spool_failing = None;
                    self.gathered(now, gathering, class, waiting, effects);
                }
                Err(failed) => {
                    let until = self.spool_failed(now, failed.to_string(), effects);
                    self.state = State::ReadLater { until };
                }
            },
            (Event::Answer(answer), State::Sending(underway)) => {
                self.answered(now, underway, answer, effects);
            }
            (Event::Committed(result), State::Committing(underway)) => {
                self.committed(now, underway, result, effects);
            }
            (Event::Deadline, state) => self.wake(now, state, effects),
            (_, state) => self.state = state,
        }
    }

    /// When to come back with [`Event::Deadline`].
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Pausing { until, .. }
            | State::CommitLater { until, .. }
            | State::ReadLater { until }
            | State::Draining { until, .. } => Some(*until),
            State::Idle | State::Gathering(_) | State::Sending(_) | State::Committing(_) => None,
        }
    }

    /// What is going on, for people.
    pub fn status(&self) -> Status {
        let (phase, underway) = match &self.state {
            State::Idle => (Phase::Idle, None),
            State::Gathering(_) => (Phase::Reading, None),
            State::Sending(underway) => (Phase::Sending, Some(underway)),
            State::Pausing { underway, .. } => (Phase::BackingOff, Some(underway)),
            State::Committing(underway) => (Phase::Committing, Some(underway)),
            State::CommitLater { underway, .. } => (Phase::SpoolFailing, Some(underway)),
            State::ReadLater { .. } => (Phase::SpoolFailing, None),
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
            attempts: underway.map_or(0, |underway| underway.spent.attempts),
            records_underway: underway.map_or(0, |underway| underway.batch.records.len() as u64),
            records_waiting: None,
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

    /// Reads the queues, highest class first; all of them, or those above a backlog that waits.
    fn gather(&mut self, below: Option<(usize, Timestamp)>, effects: &mut impl Extend<Effect>) {
        self.arrived = false;
        self.state = State::Gathering(Gathering {
            below,
            ..Gathering::default()
        });
        effects.extend([self.read_batch(CLASSES[0])]);
    }

    fn read_batch(&self, class: Priority) -> Effect {
        Effect::Read {
            class,
            records_max: self.limits.records_max.max(1),
            bytes_max: self.limits.bytes_max,
        }
    }

    fn gathered(
        &mut self,
        now: Timestamp,
        mut gathering: Gathering,
        class: Priority,
        waiting: Vec<Waiting>,
        effects: &mut impl Extend<Effect>,
    ) {
        let rank = rank(class);
        gathering.heads[rank] = waiting.first().map(|waiting| waiting.place);
        if gathering.oldest_first {
            gathering.chosen = Some((class, waiting));
            return self.choose(now, gathering, effects);
        }
        if waiting.is_empty() {
            self.pace.emptied(rank);
        }
        if gathering.chosen.is_none() && !waiting.is_empty() {
            gathering.chosen = Some((class, waiting));
        }
        let looking_on = gathering
            .chosen
            .as_ref()
            .is_none_or(|(_, chosen)| chosen.iter().any(|waiting| waiting.record.revision > 0));
        if let Some((backlog, until)) = gathering.below
            && gathering.chosen.is_none()
            && rank + 1 == backlog
        {
            self.state = State::Draining {
                until,
                rank: backlog,
            };
            return;
        }
        match CLASSES.get(rank + 1) {
            Some(&next) if looking_on => {
                let read = if gathering.chosen.is_some() {
                    // Only its oldest place is asked for.
                    Effect::Read {
                        class: next,
                        records_max: 1,
                        bytes_max: 1,
                    }
                } else {
                    self.read_batch(next)
                };
                self.state = State::Gathering(gathering);
                effects.extend([read]);
            }
            _ => self.choose(now, gathering, effects),
        }
    }

    /// Sends what may go of the records chosen; where none may, the class of the oldest first.
    fn choose(
        &mut self,
        now: Timestamp,
        mut gathering: Gathering,
        effects: &mut impl Extend<Effect>,
    ) {
        let Some((class, waiting)) = gathering.chosen.take() else {
            return self.rest(effects);
        };
        let others = gathering
            .heads
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != rank(class))
            .filter_map(|(at, head)| head.map(|place| (place, at)))
            .min();
        let free = match others {
            Some((oldest, _)) => waiting
                .iter()
                .take_while(|waiting| waiting.record.revision == 0 || waiting.place < oldest)
                .count(),
            None => waiting.len(),
        };
        match (free, others) {
            (0, Some((_, at))) if !gathering.oldest_first => {
                gathering.oldest_first = true;
                self.state = State::Gathering(gathering);
                effects.extend([self.read_batch(CLASSES[at])]);
            }
            // What was seen has been evicted meanwhile: look again, if anything is left.
            (0, Some(_)) => self.gather(None, effects),
            (0, None) => self.rest(effects),
            _ => {
                let fills = waiting.len() >= self.limits.records_max.max(1);
                self.offer(now, class, &waiting[..free], fills, effects);
            }
        }
    }

    /// Sends a batch of these records now, or when the pace allows. `fills` says that the read
    /// they came of held as many records as a batch takes: there may be more.
    fn offer(
        &mut self,
        now: Timestamp,
        class: Priority,
        free: &[Waiting],
        fills: bool,
        effects: &mut impl Extend<Effect>,
    ) {
        let rank = rank(class);
        if self.pace.wait(now.mono_us, rank).is_some() {
            return self.drain_later(now, rank);
        }
        let BatchLimits {
            records_max,
            bytes_max,
        } = self.limits;
        let Some(batch) = Batch::render(class, free, records_max, bytes_max, &self.encoding) else {
            return self.rest(effects);
        };
        let more = fills || batch.records.len() < free.len();
        let was_behind = self.pace.is_class_behind(rank);
        let backoff = &mut self.backoff;
        let begins = self
            .pace
            .choose(now.mono_us, rank, more, |most| backoff.draw_up_to(most));
        if begins {
            self.begin_drain(now, rank, effects);
        }
        if self.pace.wait(now.mono_us, rank).is_some() {
            return self.drain_later(now, rank);
        }
        if !more && was_behind {
            self.end_drain(rank, effects);
        }
        let underway = Underway {
            batch: Arc::new(batch),
            spent: Delivery::default(),
            is_backlog: more || was_behind,
        };
        self.send(now, underway, effects);
    }

    fn begin_drain(&mut self, now: Timestamp, rank: usize, effects: &mut impl Extend<Effect>) {
        self.counters.drains += 1;
        let until_us = self.pace.wait(now.mono_us, rank).unwrap_or(now.mono_us);
        // Every minute's group of windows may be more than a batch: that is no news.
        let wait_us = until_us - now.mono_us;
        if wait_us > 0 {
            effects.extend([Effect::Tell(News::Draining {
                limits: self.pace.limits(),
                wait_us,
            })]);
        }
    }

    fn end_drain(&mut self, rank: usize, effects: &mut impl Extend<Effect>) {
        self.pace.emptied(rank);
        if !self.pace.is_behind() && self.pace.is_told() {
            effects.extend([Effect::Tell(News::Drained {
                records: self.pace.drained().records,
            })]);
        }
    }

    fn drain_later(&mut self, now: Timestamp, rank: usize) {
        let until_us = self.pace.wait(now.mono_us, rank).unwrap_or(now.mono_us);
        self.counters.drain_waits += 1;
        self.state = State::Draining {
            until: later(now, until_us - now.mono_us),
            rank,
        };
    }

    /// Nothing waits; unless something arrived while the queues were read.
    fn rest(&mut self, effects: &mut impl Extend<Effect>) {
        if self.arrived {
            self.gather(None, effects);
        } else {
            self.state = State::Idle;
        }
    }

    fn send(&mut self, now: Timestamp, mut underway: Underway, effects: &mut impl Extend<Effect>) {
        underway.spent.attempts = underway.spent.attempts.saturating_add(1);
        self.counters.attempts += 1;
        if underway.is_backlog {
            let batch = &underway.batch;
            let (records, bytes) = (batch.records.len() as u64, batch.body.len() as u64);
            self.pace.spend(now.mono_us, records, bytes);
        }
        effects.extend([Effect::Send(Arc::clone(&underway.batch))]);
        self.state = State::Sending(underway);
    }

    fn answered(
        &mut self,
        now: Timestamp,
        mut underway: Underway,
        answer: Answer,
        effects: &mut impl Extend<Effect>,
    ) {
        underway.spend(answer.sent_bytes, answer.header_bytes);
        self.counters.sent_bytes += answer.sent_bytes;
        self.counters.header_bytes += answer.header_bytes;
        let wait_us = match answer.outcome {
            Outcome::Confirmed => return self.confirmed(now, underway, effects),
            Outcome::Retry { why, after_us } => {
                self.counters.retries += 1;
                if self.failing.is_none() && self.circuit.is_none() {
                    effects.extend([Effect::Tell(News::Failing { why: why.clone() })]);
                }
                self.failing = Some(why);
                let asked_us = after_us.unwrap_or(0).min(RETRY_AFTER_MAX_US);
                self.backoff.next_us().max(asked_us)
            }
            Outcome::Broken { why } | Outcome::Refused { why } => {
                self.counters.broken += 1;
                if self.circuit.as_ref() != Some(&why) {
                    effects.extend([Effect::Tell(News::CircuitOpened { why: why.clone() })]);
                }
                self.circuit = Some(why);
                self.backoff.jitter_us(RETRY_MOST_US)
            }
        };
        self.counters.failed_bytes += answer.sent_bytes + answer.header_bytes;
        self.pace.away(now.mono_us);
        let rank = rank(underway.batch.class);
        let paced = underway
            .is_backlog
            .then(|| self.pace.wait(now.mono_us, rank));
        let paced_us = paced.flatten().map_or(0, |until_us| until_us - now.mono_us);
        self.state = State::Pausing {
            underway,
            until: later(now, wait_us.max(paced_us)),
        };
    }

    fn confirmed(
        &mut self,
        now: Timestamp,
        mut underway: Underway,
        effects: &mut impl Extend<Effect>,
    ) {
        underway.spent.at = now;
        self.backoff.reset();
        self.pace.back(now.mono_us);
        let was_failing = self.failing.take().is_some();
        let was_open = self.circuit.take().is_some();
        if was_failing || was_open {
            let attempts = underway.spent.attempts;
            effects.extend([Effect::Tell(News::Recovered { attempts })]);
        }
        self.counters.batches += 1;
        self.counters.records += underway.batch.records.len() as u64;
        self.counters.body_bytes += underway.batch.body.len() as u64;
        if underway.is_backlog {
            self.counters.drained_records += underway.batch.records.len() as u64;
            self.counters.drained_bytes += underway.batch.body.len() as u64;
        }
        self.commit(underway, effects);
    }

    fn commit(&mut self, underway: Underway, effects: &mut impl Extend<Effect>) {
        effects.extend([Effect::Commit {
            class: underway.batch.class,
            first: underway.batch.first,
            last: underway.batch.last,
            delivery: underway.spent,
        }]);
        self.state = State::Committing(underway);
    }

    fn committed(
        &mut self,
        now: Timestamp,
        underway: Underway,
        result: Result<(), SinkError>,
        effects: &mut impl Extend<Effect>,
    ) {
        match result {
            Ok(()) => {
                self.spool_failing = None;
                self.backoff.reset();
                self.gather(None, effects);
            }
            Err(failed) => {
                let until = self.spool_failed(now, failed.to_string(), effects);
                self.state = State::CommitLater { underway, until };
            }
        }
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

    fn wake(&mut self, now: Timestamp, state: State, effects: &mut impl Extend<Effect>) {
        let due = |until: Timestamp| until.mono_us <= now.mono_us;
        match state {
            State::Pausing { underway, until } if due(until) => {
                self.send(now, underway, effects);
            }
            State::CommitLater { underway, until } if due(until) => self.commit(underway, effects),
            State::ReadLater { until } | State::Draining { until, .. } if due(until) => {
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
