//! Run: the log of a test, through the pipeline, on virtual time.

use super::gateway::{self, Cue};
use super::outcome::Outcome;
use super::player::play;
use super::{Difference, Test, counts, pairing};
use crate::entry::{Entry, Logged};
use crate::pipeline::Pipeline;
use crate::record::Emitted;
use crate::time::Timestamp;

/// Runs a test: the records and counters it gives, and where they differ from what is expected.
pub fn rehearse(test: &Test) -> Outcome {
    let mut differences = Vec::new();
    let gateway::Played {
        before: mut cues,
        behind,
    } = gateway::play(test);
    for (number, device) in test.devices.iter().enumerate() {
        let played = play(device, number as u32, test);
        let entries = played.entries.into_iter();
        cues.extend(entries.map(|(at_us, entry)| (at_us, Cue::Entry(entry))));
        if played.not_taken > 0 {
            differences.push(Difference::NotTaken {
                device: device.name.as_str().to_owned(),
                samples: played.not_taken,
            });
        }
    }
    cues.extend(behind);
    // Stable: what happens at one time happens in the order of the devices.
    cues.sort_by_key(|(at_us, _)| *at_us);
    let mut stage = Stage::new(test);
    for (at_us, cue) in cues {
        if test.until_us.is_some_and(|until_us| at_us > until_us) {
            break;
        }
        stage.tick_before(at_us);
        match cue {
            Cue::Entry(entry) => stage.apply(at_us, entry),
            Cue::Off => stage.is_off = true,
            Cue::On => stage.start(at_us),
        }
    }
    stage.end(test.until_us);
    let counters = stage.pipeline.counters();
    if let Some(expected) = &test.expected {
        pairing::compare(test, expected, &stage.records, &mut differences);
    }
    counts::compare(&test.counts, &counters, &mut differences);
    Outcome {
        records: stage.records,
        counters,
        differences,
    }
}

struct Stage {
    pipeline: Pipeline,
    begin_utc_us: i64,
    now_us: i64,
    /// Starts of the gateway, and when the newest was: its monotonic clock counts from there.
    start: u32,
    started_us: i64,
    is_off: bool,
    position: u64,
    records: Vec<Emitted>,
}

impl Stage {
    fn new(test: &Test) -> Self {
        Self {
            pipeline: Pipeline::new(&test.site),
            begin_utc_us: test.begin_utc_us,
            now_us: 0,
            start: 1,
            started_us: 0,
            is_off: false,
            position: 0,
            records: Vec::new(),
        }
    }

    /// The gateway starts again.
    fn start(&mut self, at_us: i64) {
        self.start += 1;
        self.started_us = at_us;
        self.is_off = false;
    }

    fn apply(&mut self, at_us: i64, entry: Entry) {
        self.now_us = at_us;
        let logged = Logged {
            start: self.start,
            at: Timestamp {
                mono_us: (at_us - self.started_us).unsigned_abs(),
                wall_us: self.begin_utc_us + at_us,
                wall_trusted: true,
            },
            entry,
        };
        self.pipeline
            .apply(self.position, &logged, &mut self.records);
        self.position += 1;
    }

    /// Ticks at every deadline before a moment; the entry of that moment is a tick itself.
    fn tick_before(&mut self, until_us: i64) {
        if self.is_off {
            return;
        }
        let mut ticked_us = None;
        while let Some(due_us) = self.pipeline.next_deadline() {
            let due_us = i64::try_from(due_us).unwrap_or(i64::MAX);
            let due_us = due_us.saturating_add(self.started_us).max(self.now_us);
            // A tick does everything that is due: one asked for again would change nothing.
            if due_us >= until_us || ticked_us == Some(due_us) {
                return;
            }
            self.apply(due_us, Entry::Tick);
            ticked_us = Some(due_us);
        }
    }

    /// Time runs on until a moment, or until nothing is open any more.
    fn end(&mut self, until_us: Option<i64>) {
        self.tick_before(until_us.unwrap_or(i64::MAX));
        if let Some(until_us) = until_us.filter(|_| !self.is_off) {
            self.apply(until_us.max(self.now_us), Entry::Tick);
        }
    }
}
