//! Opening a spool: base, then what the queues got since, then what left them since.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::counters::{Counted, Fate};
use super::journal::{Journal, Journaled, Left, Outcome};
use super::letters::Letters;
use super::queue::{FOLDER, Found, Queue, parse_prefix};
use super::state::{self, QueueState, State};
use super::{ORPHANS_MAX, QueueId, QueueSettings, Spool, SpoolError, SpoolReport};
use crate::disk::Disk;
use crate::log::segments::Segment;
use crate::log::{Base, LogError};
use crate::rules::Priority;

type Name = (String, Priority);

impl Spool {
    /// Opens the spool; writes nothing, but for what a crash left half done with dead letters. Queues on the disk whose sinks are not in `configured` are
    /// kept and reported.
    pub fn open(
        disk: Arc<dyn Disk>,
        configured: &[QueueSettings],
    ) -> Result<(Self, SpoolReport), SpoolError> {
        let (journal, base, recovery) = Journal::open(Arc::clone(&disk))?;
        let mut state = base.as_ref().map(state::decode).unwrap_or_default();
        let mut report = SpoolReport {
            commits_lost: recovery.entries_lost,
            parts_damaged: recovery.parts_damaged.len() as u64
                + u64::from(recovery.parts_unnamed)
                + u64::from(recovery.bases_passed_over)
                + state.unreadable,
            ..SpoolReport::default()
        };
        let mut suspect = report.parts_damaged > 0 || recovery.base_missing;
        let mut spool = Self {
            queues: Vec::new(),
            by_name: BTreeMap::new(),
            journal,
            counters: std::mem::take(&mut state.counters),
            bill: std::mem::take(&mut state.bill),
            drops_held: false,
            base_due: false,
            base_wait: 0,
            base_bytes: base.as_ref().map_or(0, Base::bytes),
            grown: 0,
            synced_us: 0,
            resending: BTreeSet::new(),
            letters: Letters::open(Arc::clone(&disk))?,
            disk,
        };
        spool.open_queues(configured, &mut state)?;
        spool.count_new(&state)?;
        suspect |= spool.replay_journal(recovery.from, &mut state, &mut report)?;
        if suspect || report.commits_lost > 0 {
            spool.bill.lost();
        }
        spool.find_ends(&state, suspect, &mut report)?;
        if let Err(error) = spool.settle_letters() {
            tracing::warn!(%error, "dead letters that a crash left half done stay so until the next start");
        }
        report.letters = spool.letters.len();
        report.letters_unreadable = spool.letters.unreadable();
        let orphan = |queue: &&Queue| queue.bytes_max.is_none() && queue.waiting() > 0;
        for queue in spool.queues.iter().filter(orphan) {
            if report.orphans.len() < ORPHANS_MAX {
                report
                    .orphans
                    .push((queue.sink.clone(), queue.priority, queue.waiting()));
            } else {
                report.orphans_unlisted += 1;
            }
        }
        if report.orphans_unlisted > 0 {
            tracing::warn!(
                queues = report.orphans_unlisted,
                "records wait for further sinks that are not configured; they are kept"
            );
        }
        Ok((spool, report))
    }

    fn open_queues(
        &mut self,
        configured: &[QueueSettings],
        state: &mut State,
    ) -> Result<(), SpoolError> {
        for settings in configured {
            let name = (settings.sink.clone(), settings.priority);
            self.open_queue(name, Some(settings.bytes_max), state)?;
            if let Some(id) = self.queue(&settings.sink, settings.priority) {
                self.get_mut(id)?.letters_max = settings.letters_max;
            }
        }
        let mut others: BTreeSet<Name> = state.queues.keys().cloned().collect();
        let names = self
            .disk
            .list(FOLDER)
            .map_err(|error| LogError::read(FOLDER, error))?;
        let prefixes = names
            .iter()
            .filter_map(|name| parse_prefix(Segment::parse(name)?.0));
        others.extend(prefixes);
        for name in others {
            self.open_queue(name, None, state)?;
        }
        Ok(())
    }

    fn open_queue(
        &mut self,
        (sink, priority): Name,
        bytes_max: Option<u64>,
        state: &mut State,
    ) -> Result<(), SpoolError> {
        if self.queue(&sink, priority).is_some() {
            return Ok(());
        }
        let disk = Arc::clone(&self.disk);
        let state = state.queues.entry((sink.clone(), priority)).or_default();
        let queue = Queue::open(disk, &sink, priority, bytes_max, state)?;
        self.add(queue);
        Ok(())
    }

    /// Counts the records that came after the base.
    fn count_new(&mut self, state: &State) -> Result<(), SpoolError> {
        for queue in &mut self.queues {
            let from = of_queue(state, queue).next.max(1);
            let (sink, counters) = (queue.sink.clone(), &mut self.counters);
            let grown = &mut self.grown;
            queue.walk(from, u64::MAX, |found| {
                if let Found::Record { record, bytes, .. } = found {
                    *grown += bytes.len() as u64;
                    counters.count(&sink, &Counted::from(&record), Fate::Spooled);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    /// Applies what left the queues after the base. Returns whether some of it could not be
    /// counted.
    fn replay_journal(
        &mut self,
        from: u64,
        state: &mut State,
        report: &mut SpoolReport,
    ) -> Result<bool, SpoolError> {
        let mut uncounted = false;
        let entries: Vec<_> = self.journal(from)?.collect::<Result<_, _>>()?;
        for (_, entry) in entries {
            let (sink, priority) = entry.queue();
            self.open_queue((sink.to_owned(), priority), None, state)?;
            let Some(id) = self.queue(sink, priority) else {
                continue;
            };
            match entry {
                Journaled::Dropped(dropped) => self.apply_dropped(id, &dropped)?,
                Journaled::Left(left) => uncounted |= self.leave_again(id, &left, report)?,
                Journaled::Begun(begun) => {
                    self.get_mut(id)?.begun = Some((begun.first, begun.last));
                }
                Journaled::Tried(tried) => {
                    self.charge(&tried.sink, &tried.shares, &tried.cost, false);
                }
                Journaled::Resent(resent) => self.apply_resent(&resent),
            }
        }
        Ok(uncounted)
    }

    /// Applies a journaled batch once more. Returns whether records of it are gone uncounted.
    fn leave_again(
        &mut self,
        id: QueueId,
        left: &Left,
        report: &mut SpoolReport,
    ) -> Result<bool, SpoolError> {
        let queue = self.get_mut(id)?;
        // Its records may be lost at the end of the queue: their indices stay used.
        queue.segments.advance_to(left.last + 1);
        let already = queue.done.count();
        let again = self.finish(id, left.first..=left.last, left.delivery)?;
        let cost = left.delivery.cost();
        let confirmed = left.delivery.outcome == Outcome::Confirmed;
        self.charge(&left.sink, &left.shares, &cost, confirmed);
        let queue = self.get_mut(id)?;
        queue
            .done
            .insert(left.last..=left.last, Some(left.last_place));
        let newly = queue.done.count() - already;
        let counted = again.map_or(0, |(again, _)| again.records);
        // What the sink has is not lost, whether or not it can still be counted; what could not
        // be read when the batch left was lost then.
        queue.lost_records += newly.saturating_sub(counted.max(left.records));
        report.commits_uncounted += u64::from(newly > counted);
        Ok(newly > counted)
    }

    /// Finds every queue's end and mark, and what the disk lost.
    fn find_ends(
        &mut self,
        state: &State,
        suspect: bool,
        report: &mut SpoolReport,
    ) -> Result<(), SpoolError> {
        let mut sinks = BTreeSet::new();
        for queue in &mut self.queues {
            let lost = queue.find_end(&of_queue(state, queue))?;
            report.records_lost += lost;
            report.torn_bytes += queue.torn_bytes;
            if lost > 0 || suspect {
                sinks.insert(queue.sink.clone());
            }
        }
        for sink in &sinks {
            self.recount(sink)?;
            self.base_due = true;
            report.recounted = true;
        }
        Ok(())
    }
}

fn of_queue(state: &State, queue: &Queue) -> QueueState {
    let name = (queue.sink.clone(), queue.priority);
    state.queues.get(&name).cloned().unwrap_or_default()
}
