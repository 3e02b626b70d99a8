//! Counters: Totals over boots, evicted frames that were logged nevertheless, gaps, tallies.

use std::collections::BTreeMap;

use tidegate_shared::ids::Mark;
use tidegate_shared::message::Counts;

use super::script::{S, Script, name, rule};
use crate::entry::{Entry, GapEntry, Limits, LinkChange, Uncounted, Verdict};
use crate::ledger::balance::{Balances, Reason, balances};
use crate::ledger::counters::{FrameKind, Rejection, SensorCounters};
use crate::rules::{Match, Rule};
use crate::spool::counters as spool;

fn counts(taken: u64, evicted: u64) -> Counts {
    Counts {
        taken,
        suppressed: 1,
        failed: 2,
        evicted,
    }
}

fn sensor(script: &Script, name: &str) -> SensorCounters {
    script.run().pipeline.counters().devices["dev"].sensors[name].clone()
}

fn floor(script: &Script, floor: u32, acked: u32) -> LinkChange {
    let mark = |sequence| Mark { boot: 1, sequence };
    LinkChange::Floor {
        held: 0,
        incarnation: script.incarnation,
        floor: mark(floor),
        acked: mark(acked),
    }
}

#[test]
fn totals_are_the_latest_of_each_boot_summed() {
    let mut script = Script::new(&[]);
    script.totals(&[counts(10, 0), counts(5, 0)]);
    script.totals(&[counts(12, 1), counts(6, 0)]);
    script.mark = Mark {
        boot: 2,
        sequence: 0,
    };
    script.totals(&[counts(3, 0)]);
    let a = sensor(&script, "a");
    assert_eq!(
        (a.taken, a.suppressed, a.failed, a.evicted),
        (Some(15), Some(2), Some(4), Some(1))
    );
    assert_eq!(sensor(&script, "b").taken, Some(6));
    let frames = script.run().pipeline.counters().devices["dev"]
        .frames
        .clone();
    assert_eq!(frames[&FrameKind::Totals], 3);
    assert_eq!(frames[&FrameKind::Catalog], 2);
}

#[test]
fn evicted_frames_that_were_logged_are_taken_off_once() {
    let mut script = Script::new(&[]);
    for at in 1..=3 {
        script.batch(
            at * S,
            &[(0, &[(at * S, 1), (at * S + 1, 1)]), (1, &[(at * S, 1)])],
        );
    }
    // Sequences 4, 5, 6 hold samples; 5 and 6 were logged, but their acks never arrived.
    script.totals(&[counts(9, 8), counts(4, 3)]);
    for _ in 0..2 {
        let change = floor(&script, 7, 4);
        script.link(change);
    }
    let a = sensor(&script, "a");
    assert_eq!((a.evicted, a.evicted_but_logged), (Some(4), 4));
    let b = sensor(&script, "b");
    assert_eq!((b.evicted, b.evicted_but_logged), (Some(1), 2));
}

#[test]
fn a_boot_that_forgot_its_acks_has_not_evicted_what_was_logged_before() {
    let mut script = Script::new(&[]);
    script.batch(S, &[(0, &[(S, 1), (S + 1, 1)])]);
    script.totals(&[counts(5, 0)]);
    script.mark = Mark {
        boot: 2,
        sequence: 0,
    };
    script.open(1_000);
    script.link(LinkChange::Floor {
        held: 0,
        incarnation: script.incarnation,
        floor: Mark {
            boot: 2,
            sequence: 1,
        },
        acked: Mark::default(),
    });
    let a = sensor(&script, "a");
    assert_eq!((a.evicted, a.evicted_but_logged), (Some(0), 0));
    // What this boot evicts before its first ack is taken off as ever.
    script.batch(S, &[(0, &[(S, 1)])]);
    script.totals(&[counts(2, 1)]);
    script.link(LinkChange::Floor {
        held: 0,
        incarnation: script.incarnation,
        floor: Mark {
            boot: 2,
            sequence: 9,
        },
        acked: Mark::default(),
    });
    let a = sensor(&script, "a");
    assert_eq!((a.evicted, a.evicted_but_logged), (Some(0), 1));
}

#[test]
fn evicted_frames_are_taken_off_though_they_waited_for_their_catalog() {
    let mut script = Script::new(&[]);
    let catalog = [super::script::sensor("z", "", 0)];
    let bytes = super::script::catalog_bytes(&catalog);
    script.catalog = tidegate_shared::catalog::hash(&bytes);
    script.batch(S, &[(0, &[(S, 1)])]);
    let change = floor(&script, 9, 3);
    script.link(change.clone());
    script.catalog(&catalog);
    script.totals(&[counts(1, 1)]);
    script.link(change);
    let z = sensor(&script, "z");
    assert_eq!((z.logged, z.evicted, z.evicted_but_logged), (1, Some(0), 1));
}

#[test]
fn gaps_tell_who_lost_the_frames() {
    let mut script = Script::new(&[]);
    let incarnation = script.incarnation;
    for (from, through, lost_here) in [(4, 9, 6), (11, 12, 0), (20, u32::MAX, 20), (5, 4, 0)] {
        script.push(Entry::Gap(GapEntry {
            device: name("dev"),
            incarnation,
            boot: 1,
            from,
            through,
            lost_here,
        }));
    }
    let counters = script.run().pipeline.counters();
    let device = &counters.devices["dev"];
    assert_eq!(device.frames_lost_here, 4);
    assert_eq!(device.frames_lost_on_device, 5);
    assert_eq!(device.gaps_open, 1);
}

#[test]
fn tallies_are_cumulative_over_starts() {
    let mut script = Script::empty();
    let tally = |device: Option<&str>, count| Entry::Tally {
        device: device.map(name),
        counts: BTreeMap::from([(Uncounted::Ahead, count)]),
    };
    script.push(tally(Some("dev"), 3));
    script.push(tally(Some("dev"), 5));
    script.restart();
    script.push(tally(Some("dev"), 6));
    script.push(tally(None, 7));
    let counters = script.run().pipeline.counters();
    assert_eq!(counters.devices["dev"].not_logged[&Uncounted::Ahead], 6);
    assert_eq!(counters.not_logged[&Uncounted::Ahead], 7);
}

#[test]
fn samples_that_no_rule_matches_are_unmatched() {
    let only_b = Rule {
        matching: Match::names("d*", "b"),
        ..rule("r", 60, 0)
    };
    let other = Rule {
        matching: Match::names("x*", "*"),
        ..rule("x", 60, 0)
    };
    let mut script = Script::new(&[only_b, other]);
    script.batch(S, &[(0, &[(S, 1), (2 * S, 1)]), (1, &[(S, 1)])]);
    let (a, b) = (sensor(&script, "a"), sensor(&script, "b"));
    assert_eq!((a.logged, a.unmatched, a.rules.len()), (2, 2, 0));
    assert_eq!((b.logged, b.unmatched, b.rules["r"].open), (1, 0, 1));
}

fn books(script: &Script) -> Balances {
    balances(
        &script.run().pipeline.counters(),
        &spool::Counters::default(),
    )
}

#[test]
fn a_batch_rejected_whole_and_then_evicted_counts_once() {
    let mut script = Script::new(&[]);
    script.batch(S / 2, &[(0, &[(1, 1)])]);
    script.batch(S, &[(0, &[(S, 1), (2 * S, 1)])]);
    let Some(Entry::Frame(frame)) = script.log.pop().map(|one| one.entry) else {
        panic!("a batch is a frame");
    };
    let mark = script.mark.sequence;
    script.raw(frame.bytes, Verdict::StaleBoot);
    let change = floor(&script, mark + 1, mark - 1);
    script.link(change);
    script.totals(&[Counts {
        taken: 1,
        suppressed: 0,
        failed: 0,
        evicted: 2,
    }]);
    let a = sensor(&script, "a");
    assert_eq!((a.rejected[&Rejection::StaleBoot], a.evicted), (2, Some(0)));
    let books = books(&script);
    assert!(books.balanced);
    assert_eq!(books.samples[0].terms.unknown, 0);
    assert_eq!(books.samples[0].taken, Some(3));
}

#[test]
fn batches_beyond_those_that_may_wait_for_a_catalog_are_still_accounted_for() {
    let mut script = Script::new(&[]);
    script.push(Entry::Limits(Limits {
        pending_catalog_max: 2,
        ..Limits::default()
    }));
    let catalog = [super::script::sensor("z", "", 0)];
    let bytes = super::script::catalog_bytes(&catalog);
    script.catalog = tidegate_shared::catalog::hash(&bytes);
    for at in 1..=4 {
        script.batch(at * S, &[(0, &[(at * S, 1)])]);
    }
    let waiting = books(&script);
    assert!(waiting.balanced && waiting.unknown);
    assert_eq!(waiting.total.samples.waiting_for_catalog, 2);
    assert_eq!(waiting.total.samples.rejected, 2);
    script.catalog(&catalog);
    script.totals(&[Counts {
        taken: 4,
        ..Counts::default()
    }]);
    let books = books(&script);
    let z = books
        .samples
        .iter()
        .find(|row| row.sensor.as_deref() == Some("z"));
    let z = z.unwrap();
    assert_eq!((z.taken, z.terms.logged, z.terms.unknown), (Some(4), 2, 2));
    assert_eq!(z.unknowns[0].reason, Reason::SensorUnknown);
    let total = &books.total.samples;
    assert_eq!((total.taken_min, total.rejected, total.unknown), (4, 2, 0));
    assert!(books.balanced);
}

#[test]
fn a_sequence_that_the_log_lost_is_lost_here() {
    let mut script = Script::new(&[]);
    script.batch(S, &[(0, &[(S, 1)])]);
    script.batch(2 * S, &[(0, &[(2 * S, 1), (2 * S + 1, 1)])]);
    let lost = script.log.len() - 1;
    script.totals(&[Counts {
        taken: 3,
        ..Counts::default()
    }]);
    script.log.remove(lost);
    let counters = script.run().pipeline.counters();
    assert_eq!(counters.devices["dev"].frames_lost_here, 1);
    let row = &books(&script).samples[0];
    assert_eq!((row.terms.lost_here, row.terms.difference), (2, 0));
}
