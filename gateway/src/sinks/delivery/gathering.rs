//! Gathering: which records make the next batch.

use std::sync::Arc;

use super::{
    Batch, BatchLimits, CLASSES, Effect, Machine, News, Note, Priority, State, Suspect, Timestamp,
    Underway, later, rank,
};
use crate::record::Place;
use crate::sinks::queue::{Found, Waiting};

/// What is known while queues are read, highest class first.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Oldest place of each class that was read, in the order of [`CLASSES`].
    heads: [Option<Place>; CLASSES.len()],
    /// Records to send, unless they turn out to be held.
    chosen: Option<(Priority, Found)>,
    /// All heads are known and the class of the oldest is being read.
    oldest_first: bool,
    /// The backlog that waits for its pace meanwhile: only what is above it is looked for.
    below: Option<(usize, Timestamp)>,
}

impl Machine {
    /// Reads the queues, highest class first; all of them, or those above a backlog that waits.
    pub(super) fn gather(
        &mut self,
        below: Option<(usize, Timestamp)>,
        effects: &mut impl Extend<Effect>,
    ) {
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

    pub(super) fn gathered(
        &mut self,
        now: Timestamp,
        mut gathering: Gathering,
        class: Priority,
        found: Found,
        effects: &mut impl Extend<Effect>,
    ) {
        if let Some(letter) = &found.letter {
            let batch = Batch::of_letter(letter, &self.encoding);
            return self.send(now, Underway::of_letter(batch, letter), effects);
        }
        let rank = rank(class);
        let waiting = &found.waiting;
        gathering.heads[rank] = waiting.first().map(|waiting| waiting.place);
        if gathering.oldest_first {
            gathering.chosen = Some((class, found));
            return self.choose(now, gathering, effects);
        }
        if waiting.is_empty() {
            self.pace.emptied(rank);
        }
        if gathering.chosen.is_none() && !waiting.is_empty() {
            gathering.chosen = Some((class, found));
        }
        let looking_on = gathering.chosen.as_ref().is_none_or(|(_, chosen)| {
            let mut chosen = chosen.waiting.iter();
            chosen.any(|waiting| waiting.record.revision > 0)
        });
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
        let Some((class, found)) = gathering.chosen.take() else {
            return self.rest(effects);
        };
        let waiting = &found.waiting;
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
            _ => self.offer(now, class, &found, free, effects),
        }
    }

    /// Sends a batch of the first `free` records found now, or when age or pace allow.
    fn offer(
        &mut self,
        now: Timestamp,
        class: Priority,
        found: &Found,
        free: usize,
        effects: &mut impl Extend<Effect>,
    ) {
        let rank = rank(class);
        if self.pace.wait(now.mono_us, rank).is_some() {
            return self.drain_later(now, rank);
        }
        let Some((batch, more)) = self.cut(class, found, free) else {
            return self.rest(effects);
        };
        let was_behind = self.pace.is_class_behind(rank);
        if !more && !was_behind && found.bound.is_none() && self.may_fill(now, class) {
            return;
        }
        self.fill_until[rank] = None;
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
        let underway = Underway::new(batch, more || was_behind);
        if found.bound.is_some() {
            self.send(now, underway, effects);
        } else {
            self.record(now, underway, Note::Begin, effects);
        }
    }

    /// The next batch of the first `free` records found, and whether it leaves some of a backlog.
    fn cut(&self, class: Priority, found: &Found, free: usize) -> Option<(Arc<Batch>, bool)> {
        let BatchLimits {
            records_max,
            bytes_max,
            ..
        } = self.limits;
        let free = &found.waiting[..free];
        // A batch that was begun before a crash or an eviction goes as it was.
        if let Some(bound) = found.bound {
            let whole: Vec<Waiting> = found
                .waiting
                .iter()
                .take_while(|waiting| waiting.index <= bound)
                .cloned()
                .collect();
            let batch = Batch::render(class, &whole, whole.len(), usize::MAX, &self.encoding)?;
            return Some((Arc::new(batch), found.waiting.len() > whole.len()));
        }
        let suspects = match self.suspect {
            Some(Suspect { class: of, last }) if of == class => free
                .iter()
                .take_while(|waiting| waiting.index <= last)
                .count(),
            _ => 0,
        };
        let records = match suspects {
            0 => records_max.max(1),
            // The first half of those among which one was refused; the last of them alone.
            some => some.div_ceil(2).min(records_max.max(1)),
        };
        let bytes = self
            .bytes_shrunk
            .map_or(bytes_max, |(bytes, _)| bytes.min(bytes_max));
        let batch = Batch::render(class, free, records, bytes, &self.encoding)?;
        let fills = found.waiting.len() >= records_max.max(1);
        let more = fills || (suspects == 0 && batch.records.len() < free.len());
        Some((Arc::new(batch), more))
    }

    /// Whether what waits may wait for more; then it does.
    fn may_fill(&mut self, now: Timestamp, class: Priority) -> bool {
        let is_urgent = class == CLASSES[0] || self.suspect.is_some() || self.pace.is_behind();
        if self.limits.age_us == 0 || is_urgent {
            return false;
        }
        let until =
            *self.fill_until[rank(class)].get_or_insert_with(|| later(now, self.limits.age_us));
        let fills = until.mono_us > now.mono_us;
        if fills {
            self.state = State::Filling { until };
        }
        fills
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
        self.fill_until = [None; CLASSES.len()];
        self.pace.rest();
        if self.arrived {
            self.gather(None, effects);
        } else {
            self.state = State::Idle;
        }
    }
}
