//! What delivery does when a receiver refuses: batches, records, everything.

use std::collections::BTreeSet;

use super::*;
use crate::sinks::SinkError;
use crate::sinks::delivery::{REFUSED_ROW_MAX, RETRY_MOST_US};
use crate::sinks::queue::{Letter, Queue};

fn refused() -> Outcome {
    Outcome::Refused {
        why: "HTTP 400".into(),
    }
}

fn too_large() -> Outcome {
    Outcome::TooLarge {
        why: "HTTP 413".into(),
    }
}

fn wide(records_max: usize) -> Bench {
    let mut bench = Bench::new();
    bench.machine.limits.records_max = records_max;
    bench
}

/// Answers until nothing is in flight: refuses every batch with a record of `bad`, and tells in
/// order how many records each attempt carried.
fn deliver(bench: &mut Bench, bad: &BTreeSet<u8>) -> Vec<usize> {
    let mut attempts = Vec::new();
    let mut ms = 0;
    let mut effects = bench.waiting(ms);
    loop {
        let is_sent = |effect: &Effect| matches!(effect, Effect::Send(_));
        if !effects.iter().any(is_sent) {
            if bench.machine.next_deadline().is_none() || attempts.len() > 1_000 {
                return attempts;
            }
            ms += bench.wait_ms(ms) + 1;
            effects = bench.handle(ms, Event::Deadline);
            continue;
        }
        let batch = sent(&effects);
        attempts.push(batch.len());
        let is_bad = batch.iter().any(|number| bad.contains(number));
        let outcome = if is_bad {
            refused()
        } else {
            Outcome::Confirmed
        };
        effects = bench.answer(ms, outcome);
    }
}

fn dead(bench: &Bench) -> Vec<u8> {
    let dead = bench.queue.dead();
    dead.iter()
        .map(|(letter, _)| letter.record.id.0[0])
        .collect()
}

#[test]
fn one_bad_record_is_found_by_halving_and_only_it_is_dead_lettered() {
    for bad in 1..=16 {
        let mut bench = wide(16);
        for number in 1..=16 {
            bench.append(Priority::Normal, number, 0);
        }
        let attempts = deliver(&mut bench, &BTreeSet::from([bad]));
        assert_eq!(dead(&bench), [bad]);
        assert!(bench.queue.is_empty());
        // 16, then a half of what holds it each time, and what is left behind it.
        assert!(attempts.len() <= 7, "{bad}: {attempts:?}");
        let delivered: u64 = bench
            .queue
            .commits()
            .iter()
            .map(|commit| commit.last - commit.first + 1)
            .sum();
        assert_eq!(delivered, 15);
        assert_eq!(bench.machine.status().counters.dead_letters, 1);
    }
}

proptest! {
    #[test]
    fn every_good_record_is_delivered_and_every_bad_one_dead_lettered(
        bad in proptest::collection::btree_set(1_u8..=60, 0..7),
        records_max in 1_usize..40,
    ) {
        let mut bench = wide(records_max);
        for number in 1..=60 {
            bench.append(Priority::Normal, number, 0);
        }
        deliver(&mut bench, &bad);
        prop_assert!(bench.queue.is_empty());
        prop_assert_eq!(dead(&bench), bad.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_dead_letter_says_what_the_sink_said() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.waiting(0);
    let effects = bench.answer(0, refused());
    let id = RecordId([1; 16]);
    let why = "HTTP 400".to_owned();
    assert_eq!(effects, [Effect::Tell(News::DeadLetter { id, why })]);
    assert_eq!(bench.queue.dead()[0].1, "HTTP 400");
    assert_eq!(bench.machine.status().phase, Phase::Idle);
}

#[test]
fn many_refused_in_a_row_open_the_circuit_until_one_is_taken() {
    let mut bench = wide(1);
    for number in 1..=20 {
        bench.append(Priority::Normal, number, 0);
    }
    let mut effects = bench.waiting(0);
    for _ in 0..REFUSED_ROW_MAX {
        sent(&effects);
        effects = bench.answer(0, refused());
    }
    sent(&effects);
    let effects = bench.answer(0, refused());
    assert!(
        matches!(&effects[..], [Effect::Tell(News::CircuitOpened { why })] if why.contains("in a row")),
        "{effects:?}"
    );
    let row = REFUSED_ROW_MAX as usize;
    assert_eq!((dead(&bench).len(), bench.queue.len()), (row, 20 - row));
    // However often it is tried, nothing more leaves.
    for minute in 1..=10 {
        let ms = minute * RETRY_MOST_US / 1_000;
        assert_eq!(sent(&bench.handle(ms, Event::Deadline)), [9]);
        assert_eq!(bench.answer(ms, refused()), []);
    }
    assert_eq!(dead(&bench).len(), row);
    assert_eq!(bench.machine.status().phase, Phase::CircuitOpen);
    // The receiver is mended: the next attempt goes through, and the rest follows.
    sent(&bench.handle(660_000, Event::Deadline));
    let effects = bench.answer(660_000, Outcome::Confirmed);
    assert!(matches!(effects[0], Effect::Tell(News::Recovered { .. })));
    assert_eq!(sent(&effects), [10]);
}

#[test]
fn a_person_who_says_resume_is_believed_at_once() {
    let mut bench = wide(1);
    for number in 1..=30 {
        bench.append(Priority::Normal, number, 0);
    }
    let mut effects = bench.waiting(0);
    while !effects.is_empty() {
        effects = bench.answer(0, refused());
        effects.retain(|effect| matches!(effect, Effect::Send(_)));
    }
    assert_eq!(sent(&bench.handle(1, Event::Resume)), [9]);
    // Refused again, it is dead-lettered: a person has seen it.
    assert_eq!(sent(&bench.answer(1, refused())), [10]);
    assert_eq!(dead(&bench).last(), Some(&9));
}

#[test]
fn a_full_store_of_dead_letters_opens_the_circuit_and_evicts_nothing() {
    let mut bench = wide(1);
    bench.queue.set_letters_max(Some(1));
    for number in 1..=3 {
        bench.append(Priority::Normal, number, 0);
    }
    bench.waiting(0);
    assert_eq!(sent(&bench.answer(0, refused())), [2]);
    let effects = bench.answer(0, refused());
    assert!(
        matches!(&effects[..], [Effect::Tell(News::CircuitOpened { why })] if why.contains("dead letters")),
        "{effects:?}"
    );
    assert_eq!((dead(&bench), bench.queue.len()), (vec![1], 2));
    // With room for it again the next attempt moves on.
    bench.queue.set_letters_max(Some(2));
    assert_eq!(sent(&bench.handle(60_000, Event::Deadline)), [2]);
    assert_eq!(sent(&bench.answer(60_000, refused())), [3]);
    assert_eq!(dead(&bench), [1, 2]);
    // The store had room: that the circuit was open is over.
    let status = bench.machine.status();
    assert_eq!((status.phase, status.last_error), (Phase::Sending, None));
}

/// The message says "resend or drop some": what is resent must go, although a record has no room.
#[test]
fn a_full_store_still_sends_what_is_to_go_again() {
    let mut bench = wide(1);
    bench.queue.set_letters_max(Some(1));
    bench.append(Priority::Normal, 1, 0);
    bench.append(Priority::Normal, 2, 0);
    bench.waiting(0);
    bench.answer(0, refused());
    bench.answer(0, refused());
    assert_eq!(bench.machine.status().phase, Phase::CircuitOpen);
    let (letter, _) = bench.queue.dead().remove(0);
    bench.queue.resend(letter);
    let effects = bench.handle(60_000, Event::Deadline);
    assert_eq!(sent(&effects), [1]);
    assert_eq!(sent(&bench.answer(60_000, Outcome::Confirmed)), [2]);
    bench.answer(60_000, refused());
    assert_eq!(dead(&bench), [2]);
}

#[test]
fn a_batch_too_large_is_halved_and_later_ones_are_as_small() {
    let mut bench = wide(8);
    for number in 1..=24 {
        bench.append(Priority::Normal, number, 0);
    }
    assert_eq!(sent(&bench.waiting(0)).len(), 8);
    assert_eq!(sent(&bench.answer(0, too_large())), [1, 2, 3, 4]);
    assert_eq!(sent(&bench.answer(0, too_large())), [1, 2]);
    let mut batches = Vec::new();
    let mut effects = bench.answer(0, Outcome::Confirmed);
    while effects
        .iter()
        .any(|effect| matches!(effect, Effect::Send(_)))
    {
        batches.push(sent(&effects).len());
        effects = bench.answer(0, Outcome::Confirmed);
    }
    assert_eq!(batches, [2; 11]);
    assert_eq!(dead(&bench), [0; 0]);
}

#[test]
fn a_record_too_large_alone_is_dead_lettered() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.append(Priority::Normal, 2, 0);
    bench.waiting(0);
    assert_eq!(sent(&bench.answer(0, too_large())), [1]);
    let effects = bench.answer(0, too_large());
    assert_eq!(dead(&bench), [1]);
    assert_eq!(sent(&effects), [2]);
}

#[test]
fn what_a_broker_took_of_a_batch_is_committed_and_the_rest_comes_again() {
    let mut bench = Bench::new();
    for number in 1..=3 {
        bench.append(Priority::Normal, number, 0);
    }
    assert_eq!(sent(&bench.waiting(0)), [1, 2, 3]);
    let answer = Answer {
        outcome: retry("connection lost"),
        sent_bytes: 100,
        header_bytes: 20,
        taken: 2,
    };
    bench.handle(0, Event::Answer(answer));
    assert_eq!(bench.queue.len(), 1);
    assert_eq!(bench.machine.status().phase, Phase::BackingOff);
    let wait_ms = bench.wait_ms(0);
    assert_eq!(sent(&bench.handle(wait_ms + 1, Event::Deadline)), [3]);
    assert_eq!(bench.answer(wait_ms + 1, Outcome::Confirmed), []);
    assert!(bench.queue.is_empty());
}

#[test]
fn a_batch_begun_before_a_crash_goes_again_as_it_was() {
    let mut bench = Bench::new();
    for number in 1..=2 {
        bench.append(Priority::Normal, number, 0);
    }
    let Effect::Send(first) = bench.waiting(0).remove(0) else {
        panic!("a batch is sent");
    };
    bench.append(Priority::Normal, 3, 0);
    bench.append(Priority::Normal, 4, 0);
    // The gateway is ended and starts again, with smaller batches: the bounds were written down.
    bench.machine = Machine::new(
        BatchLimits {
            records_max: 1,
            ..LIMITS
        },
        Encoding::Ndjson,
        2,
    );
    let effects = bench.waiting(0);
    let again = effects.iter().find_map(|effect| match effect {
        Effect::Send(batch) => Some(batch),
        _ => None,
    });
    let again = again.expect("a batch is sent");
    assert_eq!((again.key(), &again.body), (first.key(), &first.body));
    let more = bench.answer(0, Outcome::Confirmed);
    assert_eq!(sent(&more), [3]);
}

#[test]
fn bounds_are_written_before_the_first_attempt() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench
        .machine
        .handle(at(0), Event::RecordsWaiting, &mut Vec::new());
    let mut effects = Vec::new();
    for class in CLASSES {
        effects.clear();
        let result = bench.queue.read(class, 3, 1_000);
        let event = Event::Read { class, result };
        bench.machine.handle(at(0), event, &mut effects);
        if !matches!(effects[0], Effect::Read { .. }) {
            break;
        }
    }
    assert!(matches!(effects[..], [Effect::Begin { .. }]), "{effects:?}");
    // Not written: not sent.
    let failed = SinkError::Queue { why: "disk".into() };
    let mut effects = Vec::new();
    bench
        .machine
        .handle(at(0), Event::Recorded(Err(failed)), &mut effects);
    assert!(matches!(
        effects[..],
        [Effect::Tell(News::SpoolFailed { .. })]
    ));
}

#[test]
fn a_dead_letter_goes_again_before_anything_else_and_is_settled() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.waiting(0);
    bench.answer(0, refused());
    let (letter, _) = bench.queue.dead().remove(0);
    bench.append(Priority::High, 2, 0);
    bench.queue.resend(letter.clone());
    assert_eq!(sent(&bench.waiting(1)), [1]);
    // Refused again it stays one, with what was said last; and the rest goes.
    let other = Outcome::Refused {
        why: "still not".into(),
    };
    assert_eq!(sent(&bench.answer(1, other)), [2]);
    assert_eq!(bench.queue.dead()[0].1, "still not");
    bench.answer(2, Outcome::Confirmed);
    bench.queue.resend(Letter { ..letter });
    assert_eq!(sent(&bench.waiting(3)), [1]);
    assert_eq!(bench.answer(3, Outcome::Confirmed), []);
    assert!(bench.queue.dead().is_empty());
}

#[test]
fn what_failed_attempts_take_is_charged_once() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.waiting(0);
    let mut ms = 0;
    for _ in 0..40 {
        bench.answer(ms, retry("HTTP 503"));
        ms += bench.wait_ms(ms) + 1;
        bench.handle(ms, Event::Deadline);
    }
    bench.answer(ms, Outcome::Confirmed);
    let charged = bench.queue.charged();
    let failed: u64 = charged.iter().map(|delivery| delivery.bytes_after).sum();
    let confirmed = bench.queue.commits()[0].delivery;
    assert_eq!(charged.len(), 2, "every sixteenth attempt");
    assert_eq!(failed + confirmed.bytes_after, 41 * 100);
    assert_eq!(confirmed.attempts, 41);
}

#[test]
fn a_stop_charges_what_was_not() {
    let mut bench = Bench::new();
    bench.append(Priority::Normal, 1, 0);
    bench.waiting(0);
    bench.answer(0, retry("HTTP 503"));
    assert_eq!(bench.queue.charged().len(), 0);
    bench.handle(1, Event::Stopping);
    assert_eq!(bench.queue.charged()[0].bytes_after, 100);
}

#[test]
fn what_is_less_than_a_batch_waits_for_more_up_to_its_age() {
    let mut bench = Bench::new();
    bench.machine.limits.age_us = 10_000_000;
    bench.append(Priority::Normal, 1, 0);
    assert_eq!(bench.waiting(0), []);
    assert_eq!(bench.machine.status().phase, Phase::Filling);
    bench.append(Priority::Normal, 2, 0);
    assert_eq!(bench.waiting(4_000), []);
    assert_eq!(bench.wait_ms(4_000), 6_000, "counted from the first");
    assert_eq!(sent(&bench.handle(10_000, Event::Deadline)), [1, 2]);
    bench.answer(10_100, Outcome::Confirmed);
    // A full batch goes at once, and so does the highest class.
    bench.append(Priority::Normal, 3, 0);
    assert_eq!(bench.waiting(11_000), []);
    bench.append(Priority::Normal, 4, 0);
    bench.append(Priority::Normal, 5, 0);
    assert_eq!(sent(&bench.waiting(11_001)), [3, 4, 5]);
    bench.answer(11_002, Outcome::Confirmed);
    bench.append(Priority::High, 6, 0);
    assert_eq!(sent(&bench.waiting(11_003)), [6]);
}

#[test]
fn a_higher_class_does_not_begin_the_wait_of_a_lower_one_anew() {
    let mut bench = Bench::new();
    bench.machine.limits.age_us = 10_000_000;
    bench.append(Priority::Normal, 1, 0);
    assert_eq!(bench.waiting(0), []);
    for (ms, number) in [(4_000, 2), (8_000, 3)] {
        bench.append(Priority::High, number, 0);
        assert_eq!(sent(&bench.waiting(ms)), [number]);
        bench.answer(ms, Outcome::Confirmed);
    }
    assert_eq!(sent(&bench.handle(10_000, Event::Deadline)), [1]);
}

#[test]
fn after_an_outage_a_backlog_waits_for_its_lot_although_an_alert_went_first() {
    let drain = DrainLimits {
        bytes_per_s: None,
        records_per_s: None,
        spread_us: 60_000_000,
    };
    let mut bench = Bench::new();
    bench.machine = Machine::new(
        BatchLimits {
            records_max: 2,
            ..LIMITS
        },
        Encoding::Ndjson,
        5,
    )
    .with_drain(drain);
    bench.append(Priority::High, 1, 0);
    for number in 2..=4 {
        bench.append(Priority::Normal, number, 0);
    }
    // The first one, alone in its class, is no backlog: it goes, and does not use up the lot.
    assert_eq!(sent(&bench.waiting(0)), [1]);
    bench.answer(0, Outcome::Confirmed);
    assert_eq!(bench.machine.status().phase, Phase::Draining);
}
