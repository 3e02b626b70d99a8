//! Snapshot and restore: no cut changes a record, and a lost part costs its device alone.

use tidegate_shared::ids::{Incarnation, Mark};
use tidegate_shared::message::{Counts, EventCode};

use super::script::{EPOCH_US, S, Script, passing, rule, sensor, site, two_sensors};
use crate::entry::LinkChange;
use crate::pipeline::{KIND_BASE, KIND_DEVICE, Part, Pipeline};
use crate::record::{Emitted, to_json};
use crate::rules::{Keep, Rule, Thinning};
use crate::time::SECOND_US;

/// A log in which everything happens.
pub fn eventful() -> Script {
    let kept = Rule {
        keep: Some(Keep {
            min: Some(0.0),
            max: None,
            rate_max: None,
        }),
        thin: Some(Thinning::deadband(0.02)),
        ..rule("kept", 7, 3)
    };
    let mut script = Script::new(&[rule("r", 60, 30), kept.clone(), passing("p")]);
    for at in 0..12_u64 {
        script.pass(17 * S);
        let samples: Vec<_> = (0..40)
            .map(|one| ((at * 20 + one) * S, (one as i64 * 7919) % 23 - 4))
            .collect();
        script.batch((at * 20 + 15) * S, &[(0, &samples), (1, &samples[5..9])]);
        match at {
            2 => script.rules(&[kept.clone(), rule("r", 30, 30)]),
            3 => script.link(LinkChange::Up(false)),
            4 => script.link(LinkChange::Up(true)),
            5 => script.restart(),
            6 => script.subscribed(true),
            7 => {
                script.catalog(&[sensor("a", "bar", -3), sensor("b", "", 0)]);
                script.totals(&[Counts::default(); 2]);
            }
            8 => script.pass(100 * S),
            9 => script.clock(0, EPOCH_US + 5 * SECOND_US),
            _ => {}
        }
    }
    script.event(EventCode::Ended);
    let catalog = [sensor("z", "", 0)];
    script.catalog = tidegate_shared::catalog::hash(&super::script::catalog_bytes(&catalog));
    script.batch(400 * S, &[(0, &[(300 * S, 1)])]);
    let (incarnation, boot) = (script.incarnation, script.mark.boot);
    script.link(LinkChange::Floor {
        held: 0,
        incarnation,
        floor: script.mark,
        acked: Mark { boot, sequence: 3 },
    });
    script.catalog(&catalog);
    script.incarnation = Incarnation(99);
    script.mark = Mark {
        boot: 1,
        sequence: 0,
    };
    let incarnation = script.incarnation;
    script.link(LinkChange::Offset {
        incarnation,
        boot: 1,
        offset_us: EPOCH_US,
    });
    script.catalog(&two_sensors());
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.link(LinkChange::Offset {
        incarnation,
        boot: 1,
        offset_us: EPOCH_US - 3_000,
    });
    script.batch(20 * S, &[(0, &[(20 * S, 1)])]);
    script.pass(2_000 * S);
    script.tick();
    script.pass(48 * 3_600 * S);
    script.tick();
    script
}

fn json(emitted: &[Emitted]) -> Vec<String> {
    let lines = emitted.iter().map(|one| to_json(&one.record));
    lines.collect()
}

#[test]
fn no_cut_changes_a_record() {
    let script = eventful();
    let whole = script.run();
    assert!(whole.emitted.len() > 100, "{}", whole.emitted.len());
    assert!(whole.emitted.iter().any(|one| one.record.revision > 0));
    for cut in 0..script.log.len() {
        let mut pipeline = Pipeline::new(&site());
        let mut emitted = Vec::new();
        for (position, logged) in script.log.iter().enumerate() {
            if position == cut {
                let parts = pipeline.snapshot();
                let deadline = pipeline.next_deadline();
                let (restored, lost) = Pipeline::restore(&site(), &parts);
                assert_eq!(lost, crate::pipeline::Restored::default());
                assert_eq!(restored.snapshot(), parts);
                assert_eq!(restored.next_deadline(), deadline);
                pipeline = restored;
            }
            pipeline.apply(position as u64, logged, &mut emitted);
        }
        assert_eq!(
            json(&emitted),
            json(&whole.emitted),
            "cut before entry {cut}"
        );
        assert_eq!(emitted, whole.emitted);
        assert_eq!(pipeline.counters(), whole.pipeline.counters());
    }
}

#[test]
fn a_cut_before_every_entry_changes_no_record() {
    let script = eventful();
    assert_eq!(script.run_from_every_base().emitted, script.run().emitted);
}

/// Two devices with an open window each.
fn two_devices() -> Script {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.device = "other";
    script.mark.sequence = 0;
    script.open(10_000);
    script.catalog(&two_sensors());
    script.clock(0, EPOCH_US);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script
}

/// Applies what follows once `break_part` was let loose on the parts.
fn after_damage(break_part: fn(&mut Vec<Part>)) -> (Vec<Emitted>, Pipeline) {
    let mut script = two_devices();
    let cut = script.log.len();
    for device in ["other", "dev"] {
        script.device = device;
        script.catalog(&two_sensors());
        script.clock(0, EPOCH_US);
        script.batch(95 * S, &[(0, &[(11 * S, 1), (94 * S, 1)])]);
        script.batch(300 * S, &[(0, &[(200 * S, 1)])]);
    }
    let mut pipeline = Pipeline::new(&site());
    let mut emitted = Vec::new();
    for (position, logged) in script.log.iter().enumerate() {
        if position == cut {
            let mut parts = pipeline.snapshot();
            break_part(&mut parts);
            let (restored, lost) = Pipeline::restore(&site(), &parts);
            assert!(!lost.base_lost);
            assert_eq!(lost.devices_lost, ["dev"]);
            pipeline = restored;
        }
        pipeline.apply(position as u64, logged, &mut emitted);
    }
    (emitted, pipeline)
}

#[test]
fn a_lost_part_makes_its_devices_windows_partial_and_leaves_others_alone() {
    let cut_short = |parts: &mut Vec<Part>| {
        for part in parts.iter_mut().filter(|part| part.key == "dev") {
            part.bytes.truncate(part.bytes.len() / 2);
        }
    };
    let missing = |parts: &mut Vec<Part>| parts.retain(|part| part.key != "dev");
    let newer = |parts: &mut Vec<Part>| {
        for part in parts.iter_mut().filter(|part| part.key == "dev") {
            part.version += 1;
        }
    };
    for break_part in [cut_short, missing, newer] {
        let (emitted, pipeline) = after_damage(break_part);
        let of = |device: &str| -> Vec<_> {
            let records = emitted.iter().map(|one| &one.record);
            let records = records.filter(|record| record.device == device);
            records
                .map(|record| (super::script::line(record), record.partial, record.epoch))
                .collect()
        };
        let wanted = |line: &str, partial, epoch| (line.to_owned(), partial, epoch);
        assert_eq!(
            of("other"),
            [
                wanted("r a 0.0:2/2", false, 0),
                wanted("r a 60.0:1/1", false, 0),
                wanted("r a 180.0:1/1", false, 0)
            ]
        );
        assert_eq!(
            of("dev"),
            [
                wanted("r a 0.0:1/1", true, 1),
                wanted("r a 60.0:1/1", true, 1),
                wanted("r a 180.0:1/1", false, 1)
            ]
        );
        let counters = pipeline.counters();
        assert_eq!(counters.parts_lost, 1);
        assert_eq!(counters.devices["dev"].parts_lost, 1);
    }
}

#[test]
fn a_lost_base_is_told_and_windows_still_close() {
    let mut script = two_devices();
    let run = script.run();
    let mut parts = run.pipeline.snapshot();
    parts.retain(|part| part.kind != KIND_BASE);
    assert!(parts.iter().all(|part| part.kind == KIND_DEVICE));
    let (mut pipeline, lost) = Pipeline::restore(&site(), &parts);
    assert!(lost.base_lost);
    assert_eq!(lost.devices_lost, [""; 0]);
    let before = script.log.len();
    script.restart();
    script.subscribed(true);
    script.pass(60 * S);
    script.tick();
    let mut emitted = Vec::new();
    for (position, logged) in script.log.iter().enumerate().skip(before) {
        pipeline.apply(position as u64, logged, &mut emitted);
    }
    assert_eq!(emitted.len(), 2);
}

#[test]
fn random_bytes_are_no_part() {
    let run = two_devices().run();
    for at in 0..200 {
        let mut parts = run.pipeline.snapshot();
        for part in &mut parts {
            let index = (at * 7_919) % part.bytes.len();
            part.bytes[index] ^= (at as u8) | 1;
        }
        let (mut pipeline, _) = Pipeline::restore(&site(), &parts);
        let mut emitted = Vec::new();
        for (position, logged) in two_devices().log.iter().enumerate() {
            pipeline.apply(position as u64, logged, &mut emitted);
        }
    }
}
