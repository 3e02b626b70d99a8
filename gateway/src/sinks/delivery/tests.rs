//! Scripts of the delivery machine: what happens, and what it wants done.

use proptest::prelude::*;

mod refusals;

use super::*;
use crate::record::{Place, Record, RecordId, example};
use crate::sinks::queue::{Delivery, MemoryQueue, Written, carry_out};

const LIMITS: BatchLimits = BatchLimits {
    records_max: 3,
    bytes_max: 10_000,
    age_us: 0,
};

fn at(ms: u64) -> Timestamp {
    Timestamp {
        mono_us: ms * 1_000,
        wall_us: i64::try_from(ms * 1_000).unwrap(),
        wall_trusted: true,
    }
}

fn record(number: u8, revision: u32) -> Record {
    Record {
        revision,
        ..example(number)
    }
}

fn place(position: u64) -> Place {
    Place {
        position,
        ordinal: 0,
    }
}

/// A machine over queues in memory: reads and commits are carried out, the rest is returned.
struct Bench {
    machine: Machine,
    queue: MemoryQueue,
    position: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            machine: Machine::new(LIMITS, Encoding::Ndjson, 1),
            queue: MemoryQueue::default(),
            position: 0,
        }
    }

    fn append(&mut self, class: Priority, number: u8, revision: u32) {
        self.position += 1;
        self.queue
            .append(class, place(self.position), record(number, revision));
    }

    fn handle(&mut self, ms: u64, event: Event) -> Vec<Effect> {
        let mut left = Vec::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.machine.handle(at(ms), event, &mut effects);
            assert!(effects.len() <= EFFECTS_MAX);
            for effect in effects {
                match carry_out(&self.queue, effect) {
                    Ok(event) => events.extend(event),
                    Err(effect) => left.push(effect),
                }
            }
        }
        left
    }

    fn waiting(&mut self, ms: u64) -> Vec<Effect> {
        self.handle(ms, Event::RecordsWaiting)
    }

    fn answer(&mut self, ms: u64, outcome: Outcome) -> Vec<Effect> {
        self.handle(
            ms,
            Event::Answer(Answer {
                outcome,
                sent_bytes: 100,
                header_bytes: 20,
                taken: 0,
            }),
        )
    }

    /// ms from `ms` to the deadline.
    fn wait_ms(&self, ms: u64) -> u64 {
        let until = self.machine.next_deadline().unwrap();
        (until.mono_us - ms * 1_000) / 1_000
    }
}

fn retry(why: &str) -> Outcome {
    Outcome::Retry {
        why: why.into(),
        after_us: None,
    }
}

/// The numbers of the records of the only batch sent.
fn sent(effects: &[Effect]) -> Vec<u8> {
    let mut batches = effects.iter().filter_map(|effect| match effect {
        Effect::Send(batch) => Some(
            batch
                .records
                .iter()
                .map(|record| record.id.0[0])
                .collect::<Vec<_>>(),
        ),
        _ => None,
    });
    let batch = batches.next().expect("a batch is sent");
    assert_eq!(batches.next(), None);
    batch
}

#[test]
fn what_waits_goes_at_once_highest_class_first_and_oldest_first() {
    let mut bench = Bench::new();
    for number in 1..=4 {
        bench.append(Priority::Normal, number, 0);
    }
    bench.append(Priority::Low, 5, 0);
    bench.append(Priority::High, 6, 0);
    assert_eq!(sent(&bench.waiting(0)), [6]);
    assert_eq!(sent(&bench.answer(1, Outcome::Confirmed)), [1, 2, 3]);
    bench.append(Priority::High, 7, 0);
    assert_eq!(bench.waiting(2), [], "one request is in flight");
    assert_eq!(sent(&bench.answer(3, Outcome::Confirmed)), [7]);
    assert_eq!(sent(&bench.answer(4, Outcome::Confirmed)), [4]);
    assert_eq!(sent(&bench.answer(5, Outcome::Confirmed)), [5]);
    assert_eq!(bench.answer(6, Outcome::Confirmed), []);
    assert!(bench.queue.is_empty());
    assert_eq!(bench.machine.status().phase, Phase::Idle);
    bench.append(Priority::Low, 8, 0);
    assert_eq!(sent(&bench.waiting(7)), [8]);
}

#[test]
fn a_retry_sends_the_same_batch_although_more_arrived() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    let first = bench.waiting(0);
    let effects = bench.answer(0, retry("HTTP 503"));
    assert_eq!(
        effects,
        [Effect::Tell(News::Failing {
            why: "HTTP 503".into()
        })]
    );
    assert_eq!(bench.machine.status().phase, Phase::BackingOff);
    bench.append(Priority::High, 2, 0);
    bench.append(Priority::Normal, 3, 0);
    assert_eq!(bench.waiting(1), []);
    let mut ms = 0;
    for ceiling_ms in [
        500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
    ] {
        let wait_ms = bench.wait_ms(ms);
        assert!(
            (ceiling_ms / 2..=ceiling_ms).contains(&wait_ms),
            "{wait_ms}"
        );
        assert_eq!(bench.handle(ms + wait_ms - 1, Event::Deadline), []);
        ms += wait_ms + 1;
        assert_eq!(bench.handle(ms, Event::Deadline), first);
        assert_eq!(bench.answer(ms, retry("HTTP 503")), [], "said once");
    }
    assert_eq!(
        bench.queue.commits(),
        [],
        "nothing unconfirmed is committed"
    );
    ms += 60_001;
    assert_eq!(bench.handle(ms, Event::Deadline), first);
    let effects = bench.answer(ms, Outcome::Confirmed);
    assert_eq!(effects[0], Effect::Tell(News::Recovered { attempts: 11 }));
    assert_eq!(sent(&effects), [2]);
    let commits = bench.queue.commits();
    assert_eq!((commits[0].first, commits[0].last), (0, 0));
    let line = crate::record::to_json(&record(1, 0)).len() as u64 + 1;
    let taken = Delivery {
        at: at(ms),
        bytes_before: 11 * line,
        bytes_after: 1_100,
        header_bytes: 220,
        attempts: 11,
    };
    assert_eq!(commits[0].delivery, taken);
    assert_eq!(bench.machine.status().counters.failed_bytes, 1_200);
}

#[test]
fn retry_after_is_honoured_up_to_an_hour() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.waiting(0);
    let after = |seconds: u64| Outcome::Retry {
        why: "HTTP 429".into(),
        after_us: Some(seconds * 1_000_000),
    };
    bench.answer(0, after(90));
    assert_eq!(bench.wait_ms(0), 90_000);
    bench.handle(90_000, Event::Deadline);
    bench.answer(90_000, after(31_536_000));
    assert_eq!(bench.wait_ms(90_000), 3_600_000);
    bench.handle(3_690_000, Event::Deadline);
    bench.answer(3_690_000, after(0));
    assert!(
        bench.wait_ms(3_690_000) >= 1_000,
        "the backoff is the least"
    );
}

#[test]
fn a_broken_sink_is_tried_slowly_and_loses_nothing() {
    let why = |text: &str| text.to_owned();
    {
        let outcome = Outcome::Broken {
            why: why("HTTP 401"),
        };
        let mut bench = Bench::new();
        bench.append(Priority::Normal, 1, 0);
        let first = bench.waiting(0);
        let opened = Effect::Tell(News::CircuitOpened {
            why: why("HTTP 401"),
        });
        assert_eq!(bench.answer(0, outcome.clone()), [opened]);
        assert_eq!(bench.machine.status().phase, Phase::CircuitOpen);
        assert_eq!(
            bench.machine.status().last_error.as_deref(),
            Some("HTTP 401")
        );
        assert!((30_000..=60_000).contains(&bench.wait_ms(0)));
        assert_eq!(bench.handle(60_000, Event::Deadline), first);
        assert_eq!(bench.answer(60_000, outcome), [], "said once");
        assert_eq!(bench.handle(120_000, Event::Deadline), first);
        let other = bench.answer(120_000, Outcome::Broken { why: why("DNS") });
        assert_eq!(
            other,
            [Effect::Tell(News::CircuitOpened { why: why("DNS") })]
        );
        assert_eq!(bench.queue.len(), 1);
        assert_eq!(bench.handle(180_000, Event::Deadline), first);
        assert_eq!(
            bench.answer(180_000, Outcome::Confirmed),
            [Effect::Tell(News::Recovered { attempts: 4 })]
        );
        assert!(bench.queue.is_empty());
        assert_eq!(bench.machine.status().last_error, None);
    }
}

#[test]
fn a_commit_that_fails_is_tried_again_and_its_batch_is_not_resent() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.waiting(0);
    bench.queue.fail(true);
    let effects = bench.answer(0, Outcome::Confirmed);
    assert!(matches!(
        effects[..],
        [Effect::Tell(News::SpoolFailed { .. })]
    ));
    assert_eq!(bench.machine.status().phase, Phase::SpoolFailing);
    assert_eq!(bench.handle(60_000, Event::Deadline), []);
    bench.queue.fail(false);
    assert_eq!(bench.handle(120_000, Event::Deadline), []);
    assert!(bench.queue.is_empty());
    assert_eq!(bench.queue.commits()[0].delivery.at, at(0));
}

#[test]
fn a_read_that_fails_is_tried_again() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.queue.fail(true);
    assert!(matches!(
        bench.waiting(0)[..],
        [Effect::Tell(News::SpoolFailed { .. })]
    ));
    bench.queue.fail(false);
    assert_eq!(sent(&bench.handle(60_000, Event::Deadline)), [1]);
}

#[test]
fn a_batch_ends_at_its_byte_limit_and_a_larger_record_travels_alone() {
    let mut bench = Bench::new();
    let line = crate::record::to_json(&record(1, 0)).len() + 1;
    bench.machine.limits.bytes_max = 2 * line;
    for number in 1..=3 {
        bench.append(Priority::Normal, number, 0);
    }
    assert_eq!(sent(&bench.waiting(0)), [1, 2]);
    bench.machine.limits.bytes_max = 10;
    assert_eq!(sent(&bench.answer(0, Outcome::Confirmed)), [3]);
}

#[test]
fn a_revision_in_a_higher_class_waits_for_the_one_before_it() {
    let mut bench = Bench::new();
    bench.append(Priority::Low, 1, 0);
    bench.append(Priority::Normal, 2, 0);
    bench.append(Priority::High, 3, 0);
    bench.append(Priority::High, 2, 1);
    bench.append(Priority::High, 4, 0);
    assert_eq!(sent(&bench.waiting(0)), [3], "up to the revision");
    assert_eq!(sent(&bench.answer(0, Outcome::Confirmed)), [1]);
    assert_eq!(sent(&bench.answer(0, Outcome::Confirmed)), [2]);
    assert_eq!(sent(&bench.answer(0, Outcome::Confirmed)), [2, 4]);
    assert_eq!(bench.answer(0, Outcome::Confirmed), []);
}

#[test]
fn events_that_no_state_awaits_change_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.answer(0, Outcome::Confirmed), []);
    assert_eq!(bench.handle(0, Event::Recorded(Ok(Written::Done))), []);
    assert_eq!(bench.handle(0, Event::Deadline), []);
    bench.append(Priority::Low, 1, 0);
    assert_eq!(sent(&bench.waiting(0)), [1]);
    assert_eq!(bench.handle(9, Event::Deadline), []);
    assert_eq!(bench.queue.len(), 1);
}

const DRAIN: DrainLimits = DrainLimits {
    bytes_per_s: None,
    records_per_s: Some(3),
    spread_us: 60_000_000,
};

/// A bench that drains three records a second.
fn draining(records: u8) -> Bench {
    let mut bench = Bench::new();
    bench.machine = Machine::new(LIMITS, Encoding::Ndjson, 1).with_drain(DRAIN);
    for number in 1..=records {
        bench.append(Priority::Normal, number, 0);
    }
    bench
}

fn is_told_of_draining(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Tell(News::Draining { .. })))
}

#[test]
fn what_fits_one_batch_never_waits() {
    let mut bench = draining(2);
    assert_eq!(sent(&bench.waiting(0)), [1, 2], "not even after a start");
    bench.append(Priority::Normal, 3, 0);
    assert_eq!(sent(&bench.answer(1, Outcome::Confirmed)), [3]);
    assert_eq!(bench.answer(2, Outcome::Confirmed), []);
    let status = bench.machine.status();
    assert_eq!((status.drain, status.counters.drains), (None, 0));
}

#[test]
fn a_backlog_found_at_a_start_begins_after_a_drawn_wait_and_goes_at_its_pace() {
    let mut bench = draining(8);
    let begins = bench.waiting(0);
    assert!(is_told_of_draining(&begins));
    assert_eq!(bench.machine.status().phase, Phase::Draining);
    let mut ms = bench.wait_ms(0);
    assert!(ms <= 60_000);
    assert_eq!(bench.handle(ms - 1, Event::Deadline), []);
    ms += 1;
    assert_eq!(sent(&bench.handle(ms, Event::Deadline)), [1, 2, 3]);
    assert_eq!(bench.answer(ms + 10, Outcome::Confirmed), []);
    let drain = bench.machine.status().drain.unwrap();
    assert_eq!((drain.records, drain.records_per_s), (3, Some(3)));
    assert_eq!(bench.handle(ms + 999, Event::Deadline), []);
    assert_eq!(sent(&bench.handle(ms + 1_000, Event::Deadline)), [4, 5, 6]);
    assert_eq!(bench.answer(ms + 1_900, Outcome::Confirmed), []);
    let last = bench.handle(ms + 2_000, Event::Deadline);
    assert_eq!(last[0], Effect::Tell(News::Drained { records: 6 }));
    assert_eq!(sent(&last), [7, 8]);
    bench.append(Priority::Normal, 9, 0);
    assert_eq!(
        sent(&bench.answer(ms + 2_001, Outcome::Confirmed)),
        [9],
        "live again"
    );
    bench.answer(ms + 2_002, Outcome::Confirmed);
    let status = bench.machine.status();
    assert_eq!((status.phase, status.drain), (Phase::Idle, None));
    let counters = status.counters;
    assert_eq!((counters.drains, counters.drained_records), (1, 8));
    assert_eq!(counters.records, 9);
    assert_eq!(counters.drain_waits, 3);
}

#[test]
fn a_higher_class_passes_a_draining_one() {
    let mut bench = draining(9);
    bench.waiting(0);
    let begins_ms = bench.wait_ms(0) + 1;
    bench.append(Priority::High, 100, 0);
    assert_eq!(sent(&bench.waiting(1)), [100]);
    assert_eq!(bench.answer(2, Outcome::Confirmed), []);
    assert_eq!(bench.machine.status().phase, Phase::Draining);
    assert_eq!(bench.wait_ms(0) + 1, begins_ms, "the wait is the same");
    assert_eq!(bench.waiting(3), [], "nothing above: the backlog waits on");
    bench.append(Priority::Low, 101, 0);
    assert_eq!(bench.waiting(4), [], "nor does a lower class pass");
    assert_eq!(sent(&bench.handle(begins_ms, Event::Deadline)), [1, 2, 3]);
}

#[test]
fn the_spread_after_an_outage_is_a_tenth_of_it() {
    let mut bench = draining(1);
    bench.waiting(0);
    bench.answer(0, retry("HTTP 503"));
    for number in 2..=9 {
        bench.append(Priority::Normal, number, 0);
    }
    let again_ms = bench.wait_ms(0) + 1;
    assert_eq!(sent(&bench.handle(again_ms, Event::Deadline)), [1]);
    let back_ms = 20_000;
    let effects = bench.answer(back_ms, Outcome::Confirmed);
    assert_eq!(effects[0], Effect::Tell(News::Recovered { attempts: 2 }));
    assert!(is_told_of_draining(&effects));
    assert!(bench.wait_ms(back_ms) <= 2_000);
}

#[test]
fn gateways_that_lost_one_receiver_come_back_out_of_step() {
    let begins: std::collections::BTreeSet<u64> = (0..100)
        .map(|seed| {
            let mut bench = draining(8);
            bench.machine = Machine::new(LIMITS, Encoding::Ndjson, seed).with_drain(DRAIN);
            bench.waiting(0);
            bench.wait_ms(0) / 600
        })
        .collect();
    assert!(begins.len() > 50, "{} of 100 slots", begins.len());
}

#[test]
fn a_resend_of_backlog_keeps_to_the_pace() {
    let mut bench = draining(8);
    bench.machine = Machine::new(LIMITS, Encoding::Ndjson, 1).with_drain(DrainLimits {
        records_per_s: Some(1),
        spread_us: 0,
        ..DRAIN
    });
    assert_eq!(sent(&bench.waiting(0)), [1, 2, 3]);
    bench.answer(0, retry("HTTP 503"));
    assert_eq!(bench.wait_ms(0), 3_000, "the backoff alone would be 0.5 s");
}

#[test]
fn a_backlog_that_was_evicted_meanwhile_ends_the_draining() {
    let mut bench = draining(8);
    bench.waiting(0);
    bench.queue = MemoryQueue::default();
    assert_eq!(bench.handle(60_001, Event::Deadline), []);
    let status = bench.machine.status();
    assert_eq!((status.phase, status.drain), (Phase::Idle, None));
}

proptest! {
    /// Whatever the classes, revisions and answers: all is confirmed in the end, each record in
    /// one confirmed batch, and no revision after a later one of the same window.
    #[test]
    fn every_record_is_confirmed_once_and_revisions_stay_in_order(
        emitted in prop::collection::vec((0_usize..3, 0_u8..4), 1..40),
        answers in prop::collection::vec(0_u8..4, 0..60),
        arrivals in 1_usize..8,
        is_paced: bool,
    ) {
        let mut bench = Bench::new();
        if is_paced {
            bench.machine = Machine::new(LIMITS, Encoding::Ndjson, 1).with_drain(DRAIN);
        }
        let mut revisions = [0_u32; 4];
        let mut emitted = emitted.into_iter();
        let mut total = 0;
        let mut effects = Vec::new();
        let mut answers = answers.into_iter();
        let mut confirmed = Vec::new();
        let mut ms = 0;
        loop {
            for (class, window) in emitted.by_ref().take(arrivals) {
                let revision = &mut revisions[usize::from(window)];
                bench.append(CLASSES[class], window, *revision);
                *revision += 1;
                total += 1;
            }
            ms += 61_000;
            effects.extend(bench.waiting(ms));
            effects.extend(bench.handle(ms, Event::Deadline));
            let sent = effects.drain(..).find_map(|effect| match effect {
                Effect::Send(batch) => Some(batch),
                _ => None,
            });
            let Some(batch) = sent else {
                if bench.machine.next_deadline().is_some() {
                    continue;
                }
                break;
            };
            let outcome = match answers.next().unwrap_or(0) {
                0 => Outcome::Confirmed,
                1 => retry("x"),
                2 => Outcome::Broken { why: "x".into() },
                _ => Outcome::Refused { why: "x".into() },
            };
            if outcome == Outcome::Confirmed {
                let body = String::from_utf8(batch.body.clone()).unwrap();
                confirmed.extend(body.lines().map(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    (line["start"].to_string(), line["revision"].as_u64().unwrap())
                }));
            }
            effects.extend(bench.answer(ms, outcome));
        }
        prop_assert_eq!(confirmed.len() + bench.queue.dead().len(), total);
        let mut newest = std::collections::BTreeMap::new();
        for (window, revision) in confirmed {
            let before = newest.insert(window, revision);
            prop_assert!(before < Some(revision), "{before:?} before {revision}");
        }
    }
}
