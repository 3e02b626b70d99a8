//! Bad input: every reason for which a frame or sample is not used, and nothing else suffers.

use std::collections::BTreeMap;

use tidegate_shared::block::BadSet;
use tidegate_shared::catalog;
use tidegate_shared::ids::CatalogHash;
use tidegate_shared::message::{EventCode, up};

use super::script::{EPOCH_US, Run, S, Script, catalog_bytes, name, rule, sensor, two_sensors};
use crate::entry::{Entry, Limits, Verdict};
use crate::ledger::counters::{DeviceCounters, FrameKind, Rejection};

fn device(run: &Run) -> DeviceCounters {
    run.pipeline.counters().devices["dev"].clone()
}

fn reasons(of: &BTreeMap<Rejection, u64>) -> Vec<(Rejection, u64)> {
    of.iter().map(|(reason, count)| (*reason, *count)).collect()
}

#[test]
fn what_cannot_be_decoded_is_counted_and_changes_nothing() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    let honest = script.clone();
    script.raw(vec![1, 2, 3], Verdict::Next);
    script.raw(Vec::new(), Verdict::Next);
    script.frame(|writer| writer.varint(99));
    script.frame(|writer| writer.varint(up::BATCH.into()));
    script.frame(|writer| {
        writer.varint(up::BATCH.into())?;
        writer.put(&[1, 2, 3, 4, 5, 6, 7, 0xff, 0xff, 0xff])
    });
    script.frame(|writer| writer.varint(up::PROGRESS.into()));
    let sequence = script.mark.sequence;
    let end = |mut script: Script| {
        script.mark.sequence = sequence;
        script.batch(60 * S, &[(0, &[(50 * S, 1)])]);
        script.run()
    };
    let (run, honest) = (end(script), end(honest));
    assert_eq!(run.lines(), honest.lines());
    assert_eq!(run.emitted[0].record, honest.emitted[0].record);
    let device = device(&run);
    assert_eq!(
        reasons(&device.frames_rejected),
        [(Rejection::Undecodable, 6)]
    );
    assert_eq!(device.frames[&FrameKind::Batch], 4);
}

#[test]
fn a_batch_with_a_broken_block_counts_as_a_whole() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    let mut whole = Script::new(&[]);
    whole.batch(
        10 * S,
        &[(0, &[(S, 1), (2 * S, 900)]), (1, &[(S, 5), (2 * S, 77)])],
    );
    let Entry::Frame(frame) = &whole.log[whole.log.len() - 1].entry else {
        panic!("a frame");
    };
    let body = tidegate_shared::frame::read(&frame.bytes)
        .unwrap()
        .body
        .to_vec();
    script.frame(|writer| writer.put(&body[..body.len() - 1]));
    let device = device(&script.run());
    assert_eq!(
        reasons(&device.frames_rejected),
        [(Rejection::Undecodable, 1)]
    );
    assert!(device.sensors.values().all(|sensor| sensor.logged == 0));
}

#[test]
fn samples_are_rejected_by_reason() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    let ahead = (86_400 * 2) * S;
    script.clock(0, script.at.wall_us);
    script.batch(S, &[(0, &[(S, 1)]), (5, &[(S, 1), (2 * S, 2)])]);
    script.batch(S, &[(0, &[(ahead, 2)])]);
    let mut bad = BadSet::default();
    bad.insert(1);
    script.batch_with(2 * S, &[(1, &[(S, 1), (2 * S, 2), (3 * S, 3)])], bad);
    script.clock(0, 0);
    script.batch(9 * S, &[(1, &[(4 * S, 1)])]);
    let device = device(&script.run());
    assert_eq!(
        reasons(&device.samples_rejected),
        [(Rejection::UnknownSensor, 2)]
    );
    let a = &device.sensors["a"];
    assert_eq!(
        (a.logged, reasons(&a.rejected)),
        (1, vec![(Rejection::ImplausibleTime, 1)])
    );
    let b = &device.sensors["b"];
    assert_eq!(b.logged, 2);
    assert_eq!(
        reasons(&b.rejected),
        [(Rejection::BadSample, 1), (Rejection::ImplausibleTime, 1)]
    );
    assert_eq!(device.epochs, 0, "an implausible clock begins no epoch");
}

#[test]
fn an_implausible_watermark_does_not_move_it() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(u64::MAX, &[(0, &[(S, 1)])]);
    script.batch(60 * S, &[(0, &[(2 * S, 1)])]);
    script.run().assert(&["r a 0.0:2/2"]);
}

#[test]
fn while_the_gateways_clock_is_untrusted_there_is_no_upper_bound() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.at.wall_us = 0;
    script.at.wall_trusted = false;
    script.batch(60 * S, &[(0, &[(S, 1)])]);
    script.run().assert(&["r a 0.0:1/1"]);
}

#[test]
fn frames_of_a_stale_boot_are_counted_by_sensor_as_far_as_known() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(S, &[(0, &[(S, 1)])]);
    script.batch(2 * S, &[(0, &[(2 * S, 1), (3 * S, 1)]), (9, &[(S, 1)])]);
    let last = script.log.len() - 1;
    if let Entry::Frame(frame) = &mut script.log[last].entry {
        frame.verdict = Verdict::StaleBoot;
    }
    let device = device(&script.run());
    assert_eq!(
        reasons(&device.frames_rejected),
        [(Rejection::StaleBoot, 1)]
    );
    assert_eq!(
        reasons(&device.samples_rejected),
        [(Rejection::StaleBoot, 1)]
    );
    let a = &device.sensors["a"];
    assert_eq!(
        (a.logged, reasons(&a.rejected)),
        (1, vec![(Rejection::StaleBoot, 2)])
    );
}

/// A device whose batch names a catalog that did not come.
fn without_catalog(pending_catalog_max: u32) -> Script {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.push(Entry::Limits(Limits {
        pending_catalog_max,
        ..Limits::default()
    }));
    script.catalog = catalog::hash(&catalog_bytes(&[sensor("z", "", 0)]));
    for at in 1..=3 {
        script.batch(at * 60 * S, &[(0, &[(at * 60 * S - 1, 1)])]);
    }
    script.clock(0, EPOCH_US);
    script
}

#[test]
fn batches_wait_for_their_catalog_in_order() {
    let mut script = without_catalog(100);
    let run = script.run();
    run.assert(&[]);
    assert_eq!(run.pipeline.wanted(&name("dev")), Some(script.catalog));
    let waiting = device(&run);
    assert_eq!((waiting.frames_waiting, waiting.samples_waiting), (4, 3));
    assert_eq!(run.pipeline.next_deadline(), None, "who waits is not idle");
    script.catalog(&[sensor("z", "", 0)]);
    let run = script.run();
    run.assert(&["r z 0.0:1/1", "r z 60.0:1/1", "r z 120.0:1/1"]);
    assert_eq!(run.pipeline.wanted(&name("dev")), None);
    assert_eq!(device(&run).frames_waiting, 0);
}

#[test]
fn batches_beyond_the_limit_or_given_up_are_rejected() {
    let mut script = without_catalog(2);
    let crowded = device(&script.run());
    assert_eq!(
        reasons(&crowded.frames_rejected),
        [(Rejection::NoCatalog, 1)]
    );
    assert_eq!(
        reasons(&crowded.samples_rejected),
        [(Rejection::NoCatalog, 1)]
    );
    script.event(EventCode::NoSuchCatalog {
        hash: CatalogHash(1),
    });
    assert_eq!(device(&script.run()).frames_waiting, 2, "another one");
    script.event(EventCode::NoSuchCatalog {
        hash: script.catalog,
    });
    let run = script.run();
    assert_eq!(run.pipeline.wanted(&name("dev")), None);
    let given_up = device(&run);
    assert_eq!(given_up.frames_waiting, 0);
    assert_eq!(
        reasons(&given_up.samples_rejected),
        [(Rejection::NoCatalog, 3)]
    );
    script.catalog(&two_sensors());
    script.batch(240 * S, &[(0, &[(200 * S, 1)])]);
    script.run().assert(&["r a 180.0:1/1"]);
}

#[test]
fn batches_of_an_unreadable_catalog_are_rejected_at_once() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.catalog(&[sensor("z", "", 0), sensor("z", "", 1)]);
    script.batch(S, &[(0, &[(S, 1)])]);
    let device = device(&script.run());
    assert_eq!(
        reasons(&device.frames_rejected),
        [(Rejection::Undecodable, 1), (Rejection::NoCatalog, 1)]
    );
    assert_eq!(device.frames_waiting, 0);
}

#[test]
fn rules_that_cannot_be_read_leave_the_old_ones_in_force() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.push(Entry::Rules {
        text: "{nonsense".into(),
    });
    script.batch(60 * S, &[(0, &[(S, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:1/1"]);
    assert_eq!(run.pipeline.counters().entries_unreadable, 1);
}

#[test]
fn no_bytes_make_the_pipeline_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut script = Script::new(&[rule("r", 60, 0), super::script::passing("p")]);
    for _ in 0..2_000 {
        let number = random() % 10;
        let bytes: Vec<u8> = (0..random() % 60).map(|_| random() as u8).collect();
        let catalog = script.catalog.0.to_le_bytes();
        script.frame(|writer| {
            writer.varint(number)?;
            if number == u64::from(up::BATCH) {
                writer.put(&catalog)?;
            }
            writer.put(&bytes)
        });
        script.pass(random() % (20 * S));
    }
    let run = script.run();
    let device = device(&run);
    assert!(device.frames_rejected[&Rejection::Undecodable] > 100);
}
