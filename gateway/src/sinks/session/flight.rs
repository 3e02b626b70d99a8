//! Flight: the messages of one batch that a broker acknowledges one by one.
//!
//! ```text
//!  waiting ──next──▶ sent ──confirmed──▶ confirmed
//!                     └────failed──────▶ failed: nothing more is sent, what is sent is heard out
//! ```
//!
//! # Invariants
//! - Messages are sent in order, each once, at most a window of them unacknowledged.
//! - [`Flight::taken`] counts the leading confirmed ones only: a batch is committed from its
//!   front. What else was confirmed is remembered by [`Acknowledged`], so that another attempt
//!   does not send it again.
//! - After a failure the outcome is that of the first message that failed, and when all that was
//!   sent is answered, `taken` is exactly its index.

use std::collections::BTreeSet;

use crate::record::RecordId;
use crate::sinks::batch::Batch;
use crate::sinks::delivery::Outcome;

/// Records that are remembered as acknowledged; beyond, all are forgotten and sent again.
pub const ACKNOWLEDGED_MAX: usize = 100_000;

/// Records that were acknowledged in an attempt that did not confirm its whole batch, so that a
/// later one does not send them again.
#[derive(Debug, Default)]
pub struct Acknowledged(BTreeSet<RecordId>);

impl Acknowledged {
    /// A flight of a batch without them.
    pub fn flight(&self, batch: &Batch) -> Flight {
        let is_acknowledged = |index: usize| {
            let record = batch.records.get(index);
            record.is_some_and(|record| self.0.contains(&record.id))
        };
        let mut flight = Flight::new(batch.records.len(), is_acknowledged);
        // A revision must not be taken before one that it corrects, which may fail alone.
        flight.is_ordered = batch.records.iter().any(|record| record.revision > 0);
        flight
    }

    /// Remembers those of a flight that is over and did not take its whole batch; those of a whole
    /// one leave with it. What other batches had acknowledged, such as the half of this one that
    /// is still to come, stays remembered.
    pub fn keep(&mut self, batch: &Batch, flight: &Flight) {
        if flight.taken() == batch.records.len() {
            for record in &batch.records {
                self.0.remove(&record.id);
            }
            return;
        }
        let acknowledged = flight.acknowledged();
        let ids = acknowledged.filter_map(|index| Some(batch.records.get(index)?.id));
        self.0.extend(ids);
        // Evicted ones never come again: better twice than remembered without an end.
        if self.0.len() > ACKNOWLEDGED_MAX {
            self.0.clear();
        }
    }
}

/// Messages of one batch on their way.
#[derive(Debug)]
pub struct Flight {
    stages: Vec<Stage>,
    /// The first one not sent yet.
    next: usize,
    unanswered: usize,
    /// Leading ones that are confirmed.
    taken: usize,
    /// Leading ones that were confirmed before.
    begin: usize,
    /// The first one that failed, and how.
    failed: Option<(usize, Outcome)>,
    /// The first one that is sent goes alone.
    is_careful: bool,
    /// Each is sent when the one before it is answered.
    is_ordered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Sent,
    Confirmed,
    Failed,
}

impl Flight {
    /// A flight of `count` messages; those that `confirmed_before` names are not sent again.
    pub fn new(count: usize, confirmed_before: impl Fn(usize) -> bool) -> Self {
        let stage = |index| {
            if confirmed_before(index) {
                Stage::Confirmed
            } else {
                Stage::Waiting
            }
        };
        let mut flight = Self {
            stages: (0..count).map(stage).collect(),
            next: 0,
            unanswered: 0,
            taken: 0,
            begin: 0,
            failed: None,
            is_careful: false,
            is_ordered: false,
        };
        flight.advance();
        flight.begin = flight.taken;
        flight
    }

    /// The same, with the first message that is sent alone in flight until it is answered.
    #[must_use]
    pub fn carefully(mut self, is_careful: bool) -> Self {
        self.is_careful = is_careful;
        self
    }

    /// The message to send next, if there is room for one in the window.
    pub fn next(&mut self, window: usize) -> Option<usize> {
        let window = if self.is_ordered || (self.is_careful && !self.has_advanced()) {
            1
        } else {
            window.max(1)
        };
        if self.failed.is_some() || self.unanswered >= window {
            return None;
        }
        while self.stages.get(self.next) == Some(&Stage::Confirmed) {
            self.next += 1;
        }
        let index = self.next;
        *self.stages.get_mut(index)? = Stage::Sent;
        self.next += 1;
        self.unanswered += 1;
        Some(index)
    }

    /// A message was acknowledged. One that was not sent, or was answered already, is ignored.
    pub fn confirmed(&mut self, index: usize) {
        if self.answer(index, Stage::Confirmed) {
            self.advance();
        }
    }

    /// A message was refused or cannot be sent.
    pub fn failed(&mut self, index: usize, outcome: Outcome) {
        if self.answer(index, Stage::Failed)
            && self.failed.as_ref().is_none_or(|(first, _)| index < *first)
        {
            self.failed = Some((index, outcome));
        }
    }

    /// The connection is gone: what was sent and not answered never will be.
    pub fn lost(&mut self, outcome: Outcome) {
        let unanswered = |stage: &Stage| matches!(stage, Stage::Sent | Stage::Waiting);
        if let Some(index) = self.stages.iter().position(unanswered) {
            self.stages
                .iter_mut()
                .filter(|stage| **stage == Stage::Sent)
                .for_each(|stage| *stage = Stage::Failed);
            self.unanswered = 0;
            if self.failed.as_ref().is_none_or(|(first, _)| index < *first) {
                self.failed = Some((index, outcome));
            }
        }
    }

    /// Whether nothing more will happen: all is confirmed, or something failed and the rest of
    /// what was sent is answered.
    pub fn is_over(&self) -> bool {
        self.unanswered == 0 && (self.failed.is_some() || self.taken == self.stages.len())
    }

    /// Messages sent and not answered.
    pub fn in_flight(&self) -> usize {
        self.unanswered
    }

    /// Whether the first message that was sent is confirmed.
    pub fn has_advanced(&self) -> bool {
        self.taken > self.begin
    }

    /// How many leading messages are confirmed.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Messages that are confirmed, whether leading or not.
    pub fn acknowledged(&self) -> impl Iterator<Item = usize> {
        let stages = self.stages.iter().enumerate();
        stages
            .filter(|(_, stage)| **stage == Stage::Confirmed)
            .map(|(index, _)| index)
    }

    /// What became of the batch.
    pub fn outcome(&self) -> Outcome {
        match &self.failed {
            Some((_, outcome)) => outcome.clone(),
            None if self.taken == self.stages.len() => Outcome::Confirmed,
            None => Outcome::Retry {
                why: "not every record was acknowledged".into(),
                after_us: None,
            },
        }
    }

    /// Answers a message in flight; whether it was in flight.
    fn answer(&mut self, index: usize, answer: Stage) -> bool {
        match self.stages.get_mut(index) {
            Some(stage) if *stage == Stage::Sent => {
                *stage = answer;
                self.unanswered -= 1;
                true
            }
            _ => false,
        }
    }

    fn advance(&mut self) {
        while self.stages.get(self.taken) == Some(&Stage::Confirmed) {
            self.taken += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Place, Record, example};
    use crate::rules::Priority;
    use crate::sinks::encoding::Encoding;
    use crate::sinks::queue::Waiting;

    fn refused(why: &str) -> Outcome {
        Outcome::Refused { why: why.into() }
    }

    fn lost() -> Outcome {
        Outcome::Retry {
            why: "lost".into(),
            after_us: None,
        }
    }

    fn sent(count: usize, window: usize) -> Flight {
        let mut flight = Flight::new(count, |_| false);
        while flight.next(window).is_some() {}
        flight
    }

    #[test]
    fn a_window_is_never_exceeded_and_moves_with_each_acknowledgement() {
        let mut flight = Flight::new(5, |_| false);
        assert_eq!(flight.next(2), Some(0));
        assert_eq!(flight.next(2), Some(1));
        assert_eq!(flight.next(2), None);
        flight.confirmed(1);
        assert_eq!(flight.taken(), 0);
        assert_eq!(flight.next(2), Some(2));
        assert_eq!(flight.next(2), None);
        flight.confirmed(0);
        assert_eq!(flight.taken(), 2);
    }

    /// One record is refused: what stands behind it and was acknowledged is not sent again when
    /// the halves come by themselves.
    #[test]
    fn what_was_acknowledged_stays_so_while_a_batch_is_taken_apart() {
        let waiting: Vec<_> = (1..=4)
            .map(|number| Waiting {
                index: u64::from(number),
                place: Place::default(),
                record: example(number),
            })
            .collect();
        let batch = |records: std::ops::Range<usize>| {
            let records = &waiting[records];
            let batch = Batch::render(Priority::Normal, records, 9, 9_999, &Encoding::Ndjson);
            batch.unwrap()
        };
        let mut acknowledged = Acknowledged::default();
        let mut flight = acknowledged.flight(&batch(0..4));
        while flight.next(4).is_some() {}
        flight.failed(1, refused("no"));
        for index in [0, 2, 3] {
            flight.confirmed(index);
        }
        acknowledged.keep(&batch(0..4), &flight);
        let mut alone = acknowledged.flight(&batch(1..2));
        assert_eq!(alone.next(4), Some(0));
        alone.failed(0, refused("no"));
        acknowledged.keep(&batch(1..2), &alone);
        let mut rest = acknowledged.flight(&batch(2..4));
        assert_eq!((rest.next(4), rest.taken()), (None, 2));
    }

    /// Revision 1 must not be taken while revision 0, before it, may still fail.
    #[test]
    fn a_batch_with_revisions_goes_one_by_one() {
        let waiting: Vec<_> = (0..3)
            .map(|revision| Waiting {
                index: u64::from(revision),
                place: Place::default(),
                record: Record {
                    revision,
                    ..example(1)
                },
            })
            .collect();
        let batch = Batch::render(Priority::Normal, &waiting, 9, 9_999, &Encoding::Ndjson);
        let mut flight = Acknowledged::default().flight(&batch.unwrap());
        assert_eq!((flight.next(9), flight.next(9)), (Some(0), None));
        flight.failed(0, lost());
        assert_eq!(flight.next(9), None);
    }

    #[test]
    fn all_acknowledged_is_confirmed() {
        let mut flight = sent(3, 3);
        for index in [2, 0, 1] {
            assert!(!flight.is_over());
            flight.confirmed(index);
        }
        assert!(flight.is_over());
        assert_eq!(flight.outcome(), Outcome::Confirmed);
        assert_eq!(flight.taken(), 3);
    }

    #[test]
    fn an_acknowledgement_that_is_not_due_changes_nothing() {
        let mut flight = Flight::new(2, |_| false);
        flight.confirmed(0);
        flight.confirmed(7);
        assert_eq!(flight.taken(), 0);
        assert_eq!(flight.next(1), Some(0));
        flight.confirmed(0);
        flight.confirmed(0);
        assert_eq!((flight.taken(), flight.in_flight()), (1, 0));
    }

    #[test]
    fn a_lost_connection_takes_the_leading_ones_and_remembers_the_others() {
        let mut flight = sent(6, 5);
        for index in [0, 1, 3] {
            flight.confirmed(index);
        }
        flight.lost(lost());
        assert!(flight.is_over());
        assert_eq!(flight.outcome(), lost());
        assert_eq!(flight.taken(), 2);
        assert_eq!(flight.acknowledged().collect::<Vec<_>>(), [0, 1, 3]);

        let mut again = Flight::new(4, |index| index == 1);
        assert_eq!(again.next(9), Some(0));
        assert_eq!(again.next(9), Some(2));
        assert_eq!(again.next(9), Some(3));
        assert_eq!(again.next(9), None);
        for index in [0, 2, 3] {
            again.confirmed(index);
        }
        assert_eq!(again.outcome(), Outcome::Confirmed);
    }

    #[test]
    fn the_first_failure_counts_and_stops_the_rest() {
        let mut flight = sent(4, 3);
        flight.failed(2, refused("two"));
        assert_eq!(flight.next(3), None);
        assert!(!flight.is_over());
        flight.failed(1, refused("one"));
        flight.confirmed(0);
        assert!(flight.is_over());
        assert_eq!((flight.outcome(), flight.taken()), (refused("one"), 1));
    }

    #[test]
    fn a_loss_before_the_failed_one_is_answered_by_a_retry() {
        let mut flight = sent(3, 3);
        flight.failed(2, refused("two"));
        flight.confirmed(0);
        flight.lost(lost());
        assert_eq!((flight.outcome(), flight.taken()), (lost(), 1));
    }

    #[test]
    fn a_careful_flight_sends_its_first_alone() {
        let mut flight = Flight::new(4, |index| index == 0).carefully(true);
        assert_eq!(flight.next(8), Some(1));
        assert_eq!(flight.next(8), None);
        assert!(!flight.has_advanced());
        flight.confirmed(1);
        assert!(flight.has_advanced());
        assert_eq!(flight.next(8), Some(2));
        assert_eq!(flight.next(8), Some(3));
    }

    #[test]
    fn nothing_to_send_is_confirmed_at_once() {
        let flight = Flight::new(2, |_| true);
        assert!(flight.is_over());
        assert_eq!(flight.outcome(), Outcome::Confirmed);
        assert!(Flight::new(0, |_| false).is_over());
    }
}
