//! Sending: attempts, and what their answers lead to.

use std::sync::Arc;

use super::{
    Answer, Batch, Effect, Machine, News, Note, Outcome, REFUSED_ROW_MAX, RETRY_AFTER_MAX_US,
    RETRY_MOST_US, State, Suspect, Timestamp, later, rank,
};
use crate::record::RecordId;
use crate::sinks::queue::{Delivery, Letter, Written};

/// Bytes of failed attempts that are kept in mind before they are charged: a crash forgets them.
const CHARGE_BYTES: u64 = 64 << 10;
/// Failed attempts after which their bytes are charged in any case.
const CHARGE_ATTEMPTS: u32 = 16;
/// Batches to be confirmed before one twice as large is tried where the receiver called one too
/// large.
const GROW_AFTER_BATCHES: u32 = 64;

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Underway {
    batch: Arc<Batch>,
    /// What its attempts took that is not charged yet, and how many there were.
    spent: Delivery,
    /// It was chosen of a class that was behind.
    is_backlog: bool,
    /// It is a dead letter that goes once more.
    letter: Option<RecordId>,
}

impl Underway {
    pub fn new(batch: Arc<Batch>, is_backlog: bool) -> Self {
        Self {
            batch,
            spent: Delivery::default(),
            is_backlog,
            letter: None,
        }
    }

    pub fn of_letter(batch: Batch, letter: &Letter) -> Self {
        Self {
            letter: Some(letter.record.id),
            ..Self::new(Arc::new(batch), false)
        }
    }

    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    pub fn attempts(&self) -> u32 {
        self.spent.attempts
    }

    /// Adds an attempt's bytes; one that reached nobody has none.
    fn spend(&mut self, answer: &Answer) {
        if answer.sent_bytes > 0 {
            self.spent.bytes_before += self.batch.body.len() as u64;
        }
        self.spent.bytes_after += answer.sent_bytes;
        self.spent.header_bytes += answer.header_bytes;
    }

    /// Has what failed attempts took charged, if they took anything.
    pub fn charge(&mut self) -> Option<Effect> {
        let spent = self.spent;
        if spent.bytes_after + spent.header_bytes == 0 {
            return None;
        }
        self.spent = Delivery {
            attempts: spent.attempts,
            ..Delivery::default()
        };
        Some(Effect::Charge {
            batch: Arc::clone(&self.batch),
            delivery: spent,
        })
    }

    /// The same with its first records only.
    fn first(self, records: usize) -> Self {
        Self {
            batch: Arc::new(self.batch.first(records)),
            ..self
        }
    }
}

impl Machine {
    pub(super) fn send(
        &mut self,
        now: Timestamp,
        mut underway: Underway,
        effects: &mut impl Extend<Effect>,
    ) {
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

    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        mut underway: Underway,
        answer: Answer,
        effects: &mut impl Extend<Effect>,
    ) {
        underway.spend(&answer);
        underway.spent.at = now;
        self.counters.sent_bytes += answer.sent_bytes;
        self.counters.header_bytes += answer.header_bytes;
        let records = underway.batch.records.len();
        if answer.outcome == Outcome::Confirmed {
            return self.confirmed(now, underway, None, effects);
        }
        self.counters.failed_bytes += answer.sent_bytes + answer.header_bytes;
        if (1..records).contains(&answer.taken) {
            let wait_us = self.backoff.next_us();
            let taken = underway.first(answer.taken);
            return self.confirmed(now, taken, Some(later(now, wait_us)), effects);
        }
        match answer.outcome {
            Outcome::Confirmed => {}
            Outcome::Retry { why, after_us } => {
                self.counters.retries += 1;
                if self.failing.is_none() && self.circuit.is_none() {
                    effects.extend([Effect::Tell(News::Failing { why: why.clone() })]);
                }
                self.failing = Some(why);
                let asked_us = after_us.unwrap_or(0).min(RETRY_AFTER_MAX_US);
                let wait_us = self.backoff.next_us().max(asked_us);
                self.pause(now, underway, wait_us, effects);
            }
            Outcome::Broken { why } => self.open_circuit(now, underway, why, effects),
            Outcome::TooLarge { .. } if records > 1 => {
                self.counters.halved += 1;
                self.bytes_shrunk = Some(((underway.batch.body.len() / 2).max(1), 0));
                self.halve(now, underway, effects);
            }
            Outcome::Refused { .. } if records > 1 => {
                self.counters.halved += 1;
                self.suspect = Some(Suspect {
                    class: underway.batch.class,
                    last: underway.batch.last,
                });
                self.halve(now, underway, effects);
            }
            Outcome::TooLarge { why } | Outcome::Refused { why } => {
                self.refused_alone(now, underway, why, effects);
            }
        }
    }

    /// The first half of a batch, as one of its own.
    fn halve(&mut self, now: Timestamp, mut underway: Underway, effects: &mut impl Extend<Effect>) {
        effects.extend(underway.charge());
        let half = underway.batch.records.len().div_ceil(2);
        let mut underway = underway.first(half);
        underway.spent = Delivery::default();
        self.record(now, underway, Note::Begin, effects);
    }

    /// A record that was refused although nothing was with it.
    fn refused_alone(
        &mut self,
        now: Timestamp,
        underway: Underway,
        why: String,
        effects: &mut impl Extend<Effect>,
    ) {
        self.counters.refused += 1;
        if underway.letter.is_some() {
            return self.record(now, underway, Note::Settle { refused: Some(why) }, effects);
        }
        if self.refused_row >= REFUSED_ROW_MAX {
            let why = format!(
                "{REFUSED_ROW_MAX} records in a row were refused, each alone; the last time: {why}"
            );
            return self.open_circuit(now, underway, why, effects);
        }
        self.record(now, underway, Note::Bury { why }, effects);
    }

    pub(super) fn open_circuit(
        &mut self,
        now: Timestamp,
        underway: Underway,
        why: String,
        effects: &mut impl Extend<Effect>,
    ) {
        self.counters.broken += 1;
        if self.circuit.as_ref() != Some(&why) {
            effects.extend([Effect::Tell(News::CircuitOpened { why: why.clone() })]);
        }
        self.circuit = Some(why);
        let wait_us = self.backoff.jitter_us(RETRY_MOST_US);
        self.pause(now, underway, wait_us, effects);
    }

    /// The same batch again after a wait, backlog not before its pace allows.
    fn pause(
        &mut self,
        now: Timestamp,
        mut underway: Underway,
        wait_us: u64,
        effects: &mut impl Extend<Effect>,
    ) {
        let spent = &underway.spent;
        if spent.bytes_after + spent.header_bytes >= CHARGE_BYTES
            || spent.attempts.is_multiple_of(CHARGE_ATTEMPTS)
        {
            effects.extend(underway.charge());
        }
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

    /// The sink has the batch. `then` is when the next one may go, if not at once.
    fn confirmed(
        &mut self,
        now: Timestamp,
        underway: Underway,
        then: Option<Timestamp>,
        effects: &mut impl Extend<Effect>,
    ) {
        if then.is_none() {
            self.backoff.reset();
        }
        self.pace.back(now.mono_us);
        self.refused_row = 0;
        self.recovered(&underway, effects);
        let batch = &underway.batch;
        self.counters.batches += 1;
        self.counters.records += batch.records.len() as u64;
        self.counters.body_bytes += batch.body.len() as u64;
        if underway.is_backlog {
            self.counters.drained_records += batch.records.len() as u64;
            self.counters.drained_bytes += batch.body.len() as u64;
        }
        if self
            .suspect
            .is_some_and(|suspect| suspect.class == batch.class && suspect.last <= batch.last)
        {
            self.suspect = None;
        }
        self.grow();
        let note = match underway.letter {
            Some(_) => Note::Settle { refused: None },
            None => Note::Commit { then },
        };
        self.record(now, underway, note, effects);
    }

    /// What was in the way is over: attempts that failed, a receiver that took nothing, a store of
    /// dead letters without room.
    fn recovered(&mut self, underway: &Underway, effects: &mut impl Extend<Effect>) {
        let was_failing = self.failing.take().is_some();
        let was_open = self.circuit.take().is_some();
        if was_failing || was_open {
            let attempts = underway.spent.attempts;
            effects.extend([Effect::Tell(News::Recovered { attempts })]);
        }
    }

    /// Lets batches grow again, now and then, where one was too large.
    fn grow(&mut self) {
        let Some((bytes, confirmed)) = &mut self.bytes_shrunk else {
            return;
        };
        *confirmed += 1;
        if *confirmed >= GROW_AFTER_BATCHES {
            *confirmed = 0;
            *bytes = bytes.saturating_mul(2);
            if *bytes >= self.limits.bytes_max {
                self.bytes_shrunk = None;
            }
        }
    }

    /// Has something written down about a batch.
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        underway: Underway,
        note: Note,
        effects: &mut impl Extend<Effect>,
    ) {
        let batch = Arc::clone(&underway.batch);
        let delivery = underway.spent;
        effects.extend([match &note {
            Note::Begin => Effect::Begin { batch, now },
            Note::Commit { .. } => Effect::Commit { batch, delivery },
            Note::Bury { why } => Effect::Bury {
                batch,
                why: why.clone(),
                delivery,
            },
            Note::Settle { refused } => Effect::Settle {
                batch,
                refused: refused.clone(),
                delivery,
            },
        }]);
        self.state = State::Recording { underway, note };
    }

    /// It is written down.
    pub(super) fn recorded(
        &mut self,
        now: Timestamp,
        underway: Underway,
        note: Note,
        written: Written,
        effects: &mut impl Extend<Effect>,
    ) {
        match (note, written) {
            (Note::Begin, _) => self.send(now, underway, effects),
            (Note::Bury { why }, Written::NoRoom { letters_max }) => {
                let why = format!(
                    "{letters_max} dead letters are kept already and no more may be: resend or \
                     drop some; the record that waits was refused: {why}"
                );
                let mut underway = underway;
                effects.extend(underway.charge());
                self.open_circuit(now, underway, why, effects);
                // Letters that are to go again go before the record that has no room.
                if let Some(until) = self.next_deadline() {
                    self.state = State::ReadLater { until };
                }
            }
            (Note::Bury { why }, Written::Done) => {
                self.refused_row += 1;
                self.suspect = None;
                self.counters.dead_letters += 1;
                self.backoff.reset();
                self.recovered(&underway, effects);
                effects.extend([Effect::Tell(News::DeadLetter {
                    id: underway.batch.records[0].id,
                    why,
                })]);
                self.gather(None, effects);
            }
            (Note::Commit { then: Some(until) }, _) => self.state = State::ReadLater { until },
            (Note::Commit { then: None } | Note::Settle { .. }, _) => {
                self.recovered(&underway, effects);
                self.backoff.reset();
                self.gather(None, effects);
            }
        }
    }
}
