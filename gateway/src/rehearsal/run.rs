//! Run: the log of a test, through the pipeline, on virtual time.

use super::outcome::Outcome;
use super::player::play;
use super::{Difference, Test, counts, pairing};
use crate::entry::{ENGINE, Entry, LinkChange, LinkEntry, Logged};
use crate::pipeline::Pipeline;
use crate::record::Emitted;
use crate::time::Timestamp;

/// Runs a test: the records and counters it gives, and where they differ from what is expected.
pub fn rehearse(test: &Test) -> Outcome {
    let mut differences = Vec::new();
    let mut entries: Vec<(i64, Entry)> = gateway(test).into_iter().map(|one| (0, one)).collect();
    for (number, device) in test.devices.iter().enumerate() {
        let played = play(device, number as u32, test.begin_utc_us);
        entries.extend(played.entries);
        if played.not_taken > 0 {
            differences.push(Difference::NotTaken {
                device: device.name.as_str().to_owned(),
                samples: played.not_taken,
            });
        }
    }
    // Stable: what happens at one time happens in the order of the devices.
    entries.sort_by_key(|(at_us, _)| *at_us);
    let mut stage = Stage::new(test);
    for (at_us, entry) in entries {
        if test.until_us.is_some_and(|until_us| at_us > until_us) {
            break;
        }
        stage.tick_before(at_us);
        stage.apply(at_us, entry);
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

/// What a gateway writes when it starts and has subscribed.
fn gateway(test: &Test) -> [Entry; 4] {
    [
        Entry::Started {
            engine: ENGINE,
            log_incarnation: 1,
            term: 1,
            site: test.site.as_str().to_owned(),
        },
        Entry::Rules {
            text: test.rules.to_json(),
        },
        Entry::Limits(test.limits),
        Entry::Link(LinkEntry {
            device: None,
            change: LinkChange::Subscribed(true),
        }),
    ]
}

struct Stage {
    pipeline: Pipeline,
    begin_utc_us: i64,
    now_us: i64,
    position: u64,
    records: Vec<Emitted>,
}

impl Stage {
    fn new(test: &Test) -> Self {
        Self {
            pipeline: Pipeline::new(&test.site),
            begin_utc_us: test.begin_utc_us,
            now_us: 0,
            position: 0,
            records: Vec::new(),
        }
    }

    fn apply(&mut self, at_us: i64, entry: Entry) {
        self.now_us = at_us;
        let logged = Logged {
            start: 1,
            at: Timestamp {
                mono_us: at_us.unsigned_abs(),
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
        let mut ticked_us = None;
        while let Some(due_us) = self.pipeline.next_deadline() {
            let due_us = i64::try_from(due_us).unwrap_or(i64::MAX).max(self.now_us);
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
        if let Some(until_us) = until_us {
            self.apply(until_us.max(self.now_us), Entry::Tick);
        }
    }
}
