//! Past: the balances as they stood at an earlier moment, from the log and the journal.
//!
//! ```text
//! log      base ──replay──▶ T                    counters of the pipeline at T
//! journal                   T ──▶ now            what left the queues since: sinks then = now − that
//! ```
//! What waited in a queue then is what was folded and had not left it. Where log or journal do
//! not reach back to the moment asked for, the earliest moment both reach is taken, and said. The
//! files are only read; a gateway may run on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::balance::{Balances, Since, SinkRow, SinkTerms, balances};
use crate::disk::Disk;
use crate::entry::Logged;
use crate::log::{Base, LocalLog, Log, LogError};
use crate::pipeline::Pipeline;
use crate::rules::settings::Settings;
use crate::spool::SpoolError;
use crate::spool::counters as spool;
use crate::spool::journal::{self, Journaled, Outcome, Shares};
use crate::store;

/// Why the balances of an earlier moment cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The log cannot be read.
    #[error(
        "the log could not be read back; nothing was changed: ask again, a running gateway may have recycled what was being read"
    )]
    Log(#[from] LogError),
    /// The delivery journal cannot be read.
    #[error("the delivery journal could not be read back; nothing was changed: ask again")]
    Journal(#[from] SpoolError),
}

/// The balances between a moment (UTC in µs) and `now`, the present ones. `progress` is told the
/// entries replayed and how many there are at most.
///
/// # Errors
/// Log or journal could not be read.
pub fn since(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    now: Balances,
    asked_us: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Balances, PastError> {
    let log = LocalLog::open(Arc::clone(disk), store::LOG, settings.log, 0)?.log;
    let left = Departures::read(disk, now.journaled, asked_us)?;
    let (cut_us, reach) = reach(&log, &left, asked_us)?;
    let (pipeline, position) = replay(&log, settings, cut_us, progress)?;
    let mut then = balances(&pipeline.counters(), &spool::Counters::default());
    let left = if cut_us == asked_us {
        left
    } else {
        Departures::read(disk, now.journaled, cut_us)?
    };
    left.put_back(&mut then, &now);
    let since = Since {
        asked_us,
        from_us: reach.then_some(cut_us),
        position,
    };
    Ok(now.since(&then, since))
}

/// The moment asked for, or the earliest one that log and journal reach, and whether it is one
/// of these two rather than before the first entry.
fn reach(log: &LocalLog, left: &Departures, asked_us: i64) -> Result<(i64, bool), PastError> {
    let start = log.start_position();
    let first_us = time_at(log, start)?;
    let log_us = first_us.filter(|_| start > 0);
    let earliest_us = log_us.max(left.reaches_us);
    let cut_us = earliest_us.map_or(asked_us, |earliest_us| earliest_us.max(asked_us));
    let within = start > 0 || first_us.is_some_and(|first_us| first_us <= cut_us);
    Ok((cut_us, within))
}

/// The wall clock of the first entry at or behind a position.
fn time_at(log: &LocalLog, position: u64) -> Result<Option<i64>, PastError> {
    for entry in log.read(store::PARTITION, position)? {
        let (_, bytes) = entry?;
        if let Ok(logged) = postcard::from_bytes::<Logged>(&bytes) {
            return Ok(Some(logged.at.wall_us));
        }
    }
    Ok(None)
}

/// The pipeline as it stood at a moment, and the position after the last entry it holds.
fn replay(
    log: &LocalLog,
    settings: &Settings,
    cut_us: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Pipeline, u64), PastError> {
    let (base, from) = base_before(log, cut_us)?;
    let mut pipeline = store::restore_pipeline(settings, base);
    let mut position = from;
    let mut emitted = Vec::new();
    for entry in log.read(store::PARTITION, from)? {
        let (at, bytes) = entry?;
        let Ok(logged) = postcard::from_bytes::<Logged>(&bytes) else {
            continue;
        };
        // A clock that is not trusted says nothing about when an entry was made.
        if logged.at.wall_trusted && logged.at.wall_us > cut_us {
            break;
        }
        pipeline.apply(at, &logged, &mut emitted);
        emitted.clear();
        position = at + 1;
        progress(position - from, log.end() - from);
    }
    Ok((pipeline, position))
}

/// The newest base behind which comes an entry of before the moment, and its position; none when
/// replay begins with the first entry.
fn base_before(log: &LocalLog, cut_us: i64) -> Result<(Option<Base>, u64), PastError> {
    let start = log.start_position();
    let mut positions: Vec<u64> = log.base_positions().filter(|at| *at >= start).collect();
    while let Some(position) = positions.pop() {
        let is_before = time_at(log, position)?.is_some_and(|us| us <= cut_us);
        let is_last = start > 0 && positions.is_empty();
        if !(is_before || is_last) {
            continue;
        }
        match log.read_base(position) {
            Ok(read) if read.is_intact() || is_last => return Ok((Some(read.base), position)),
            _ => {}
        }
    }
    Ok((None, start))
}

/// Rule, device, sensor.
type Key = (String, String, String);

/// What left the queues behind a moment, by sink.
#[derive(Debug, Default)]
struct Departures {
    sinks: BTreeMap<(String, Key), SinkTerms>,
    /// The earliest moment that the journal knows of, when it does not reach its first entry.
    reaches_us: Option<i64>,
}

impl Departures {
    fn read(disk: &Arc<dyn Disk>, until: u64, after_us: i64) -> Result<Self, PastError> {
        let mut left = Self::default();
        let mut is_first = true;
        for entry in journal::look(Arc::clone(disk))? {
            let (number, entry) = entry?;
            if number >= until {
                break;
            }
            let at_us = entry.at().wall_us;
            if std::mem::take(&mut is_first) && number > 0 {
                left.reaches_us = Some(at_us);
            }
            if at_us > after_us {
                left.add(&entry);
            }
        }
        Ok(left)
    }

    fn add(&mut self, entry: &Journaled) {
        match entry {
            Journaled::Left(batch) => {
                let outcome = batch.delivery.outcome;
                self.add_shares(&batch.sink, &batch.shares, outcome);
            }
            Journaled::Dropped(dropped) => {
                for (_, counted) in &dropped.records {
                    let key = (
                        counted.rule.clone(),
                        counted.device.clone(),
                        counted.sensor.clone(),
                    );
                    self.terms(&dropped.sink, key).dropped += counted.fresh.cast_signed();
                }
            }
            Journaled::Resent(resent) => {
                let counted = &resent.counted;
                let key = (
                    counted.rule.clone(),
                    counted.device.clone(),
                    counted.sensor.clone(),
                );
                let terms = self.terms(&resent.sink, key);
                terms.dead_lettered -= counted.fresh.cast_signed();
                terms.delivered += counted.fresh.cast_signed();
            }
            Journaled::Begun(_) | Journaled::Tried(_) => {}
        }
    }

    fn add_shares(&mut self, sink: &str, shares: &Shares, outcome: Outcome) {
        for (rule, device, sensor, share) in shares.iter() {
            let key = (rule.to_owned(), device.to_owned(), sensor.to_owned());
            let terms = self.terms(sink, key);
            let term = match outcome {
                Outcome::Confirmed => &mut terms.delivered,
                Outcome::Refused => &mut terms.dead_lettered,
                Outcome::Evicted => &mut terms.evicted,
            };
            *term += share.fresh.cast_signed();
        }
    }

    fn terms(&mut self, sink: &str, key: Key) -> &mut SinkTerms {
        self.sinks.entry((sink.to_owned(), key)).or_default()
    }

    /// Fills in the sinks' terms of then: those of now less what left since; the rest waited.
    fn put_back(&self, then: &mut Balances, now: &Balances) {
        let known = then.sinks.iter();
        let known: BTreeMap<(String, Key), SinkTerms> =
            known.map(|row| (key_of(row), row.terms)).collect();
        then.sinks.clone_from(&now.sinks);
        for row in &mut then.sinks {
            let key = key_of(row);
            let left = self.sinks.get(&key).copied().unwrap_or_default();
            let terms = &mut row.terms;
            *terms = terms.less(&left);
            // What the log says is known of then; the rest is found from what left.
            let known = known.get(&key).copied().unwrap_or_default();
            terms.folded = known.folded;
            terms.dropped_by_budget = known.dropped_by_budget;
            let gone = terms.delivered
                + terms.dead_lettered
                + terms.evicted
                + terms.dropped
                + terms.dropped_by_budget;
            let apart = terms.lost_here + terms.unknown + terms.difference;
            terms.waiting = terms.folded - gone - apart;
        }
    }
}

fn key_of(row: &SinkRow) -> (String, Key) {
    let key = (row.rule.clone(), row.device.clone(), row.sensor.clone());
    (row.sink.clone(), key)
}
