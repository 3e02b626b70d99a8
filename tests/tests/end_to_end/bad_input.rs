//! Bad input is counted by reason, and an honest device beside it notices nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidegate_shared::frame::{self, FrameError};
use tidegate_shared::message::{Down, RefusedReason};
use tidegate_tests::dice::Dice;
use tidegate_tests::ledger;
use tidegate_tests::process::Process;
use tidegate_tests::records::{self, Record};
use tidegate_tests::report::say;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::utc;
use tidegate_tests::wall::{poll_for, wait_until};

use crate::passage;
use crate::raw_device::RawDevice;
use crate::wire::Wire;

/// 2020-02-08T12:00:00Z.
const BEGAN_S: i64 = 1_581_163_200;
/// 2100-01-01T00:00:00Z: beyond what is plausible.
const FAR_FUTURE_S: i64 = 4_102_444_800;
/// Event time of the honest device's trace: ten seconds at speed 60.
pub const TRACE_S: i64 = 600;

#[test]
fn bad_input_is_counted_and_hurts_nobody_else() {
    let configuration = CONFIGURATION.replace("[mqtt]", "[limits]\ndevices_max = 3\n\n[mqtt]");
    let alone = Rig::free(&configuration);
    let disturbed = Rig::free(&configuration);
    // Before the honest device, whose Welcome is waited for.
    let wire = Wire::connect(disturbed.broker.port);
    let [run_alone, run_disturbed] = [&alone, &disturbed].map(honest_run);

    wire.answer("pump-1", "the honest device's Welcome", |down| {
        matches!(down, Down::Welcome(_)).then_some(())
    });
    let mut counts = intruder(&wire);
    counts.extend(dreamer(&wire));
    counts.extend(one_too_many(&wire));
    counts.extend(noise(&wire));
    wait_counted(&disturbed, &counts);

    let records_alone = honest_records(&alone, run_alone);
    let records_disturbed = honest_records(&disturbed, run_disturbed);
    assert_eq!(records_alone.len(), 2 * TRACE_S as usize / 60);
    assert_eq!(records_alone, records_disturbed);
    // Counted once and for all: the files of the stopped gateway say the same.
    wait_counted(&disturbed, &counts);
}

/// Counts expected, by section and reason.
type Counts = BTreeMap<(&'static str, &'static str), u64>;

/// A device that is admitted and then breaks the rules.
fn intruder(wire: &Wire) -> Counts {
    let device = RawDevice::new(wire, "intruder", 0xbad1, BEGAN_S);
    device.enter();
    device.send(device.catalog(1));
    device.send(device.batch(2, 0, 10, &[1, 2, 3], &[1]));
    device.send(device.batch(3, 5, 20, &[1, 2], &[]));
    device.send(device.frame(4, |writer| {
        writer.varint(99)?;
        writer.put(&[1, 2, 3])
    }));
    device.wait_acked(4);

    device.send(device.batch(2, 0, 10, &[1, 2, 4], &[1]));
    wire.answer("intruder", "Refused for conflict", |down| match down {
        Down::Refused(refused) if refused.reason == RefusedReason::Conflict => {
            assert_eq!((refused.boot, refused.sequence), (1, 2));
            Some(())
        }
        _ => None,
    });
    device.send(device.batch(9, 0, 90, &[1], &[]));
    BTreeMap::from([
        (("uncounted", "conflict"), 1),
        (("uncounted", "ahead"), 1),
        (("rejected", "bad-sample"), 1),
        (("rejected", "unknown-sensor"), 2),
        (("rejected", "undecodable"), 1),
    ])
}

/// A device whose clock is wrong by decades.
fn dreamer(wire: &Wire) -> Counts {
    let device = RawDevice::new(wire, "dreamer", 0xbad2, FAR_FUTURE_S);
    device.enter();
    device.send(device.catalog(1));
    device.send(device.clock_frame(2));
    device.send(device.batch(3, 0, 10, &[1, 2, 3], &[]));
    device.wait_acked(3);
    BTreeMap::from([(("rejected", "implausible-time"), 3)])
}

/// A device beyond `devices_max`.
fn one_too_many(wire: &Wire) -> Counts {
    let device = RawDevice::new(wire, "one-too-many", 0xbad3, BEGAN_S);
    device.greet();
    let reason = wire.answer("one-too-many", "Refused", |down| match down {
        Down::Refused(refused) => Some(refused.reason),
        _ => None,
    });
    assert_eq!(reason, RefusedReason::DeviceLimit);
    BTreeMap::from([(("uncounted", "device-limit"), 1)])
}

/// Bytes that are no frames: random ones, and a frame cut, altered or of another version.
fn noise(wire: &Wire) -> Counts {
    let device = RawDevice::new(wire, "noise", 0xbad4, BEGAN_S);
    let whole = device.batch(1, 0, 10, &[1, 2, 3], &[]);
    let mut dice = Dice::announced("bad input");
    let mut payloads: Vec<Vec<u8>> = (0..40)
        .map(|_| {
            let length = dice.below(300) as usize;
            (0..length).map(|_| dice.bits() as u8).collect()
        })
        .collect();
    // Random bytes that pass for this version, so that the trailer has to tell.
    for payload in payloads.iter_mut().skip(20) {
        payload.splice(..payload.len().min(2), [frame::VERSION, 0]);
    }
    payloads.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
    for (at, change) in [(0, 8), (1, 0x80), (whole.len() - 1, 1)] {
        let mut altered = whole.clone();
        altered[at] ^= change;
        payloads.push(altered);
    }
    payloads.push(vec![0; 9_000]);

    let mut counts = Counts::new();
    for payload in payloads {
        let reason = match frame::read(&payload) {
            Err(FrameError::Truncated { .. }) => "truncated",
            Err(FrameError::TooLong { .. }) => "too-long",
            Err(FrameError::Version { .. }) => "version",
            Err(FrameError::Flags { .. }) => "flags",
            Err(FrameError::Header { .. }) => "header",
            Err(FrameError::Trailer { .. }) => "trailer",
            Ok(_) => panic!("noise passes for a frame: {payload:02x?}"),
        };
        *counts.entry(("uncounted", reason)).or_default() += 1;
        device.send(payload);
    }
    for reason in ["truncated", "too-long", "version", "flags", "trailer"] {
        assert!(counts.contains_key(&("uncounted", reason)), "no {reason}");
    }
    counts
}

fn wait_counted(rig: &Rig, expected: &Counts) {
    let found = |ledger: &Value| -> Counts {
        let count = |(section, reason): &(&'static str, &'static str)| {
            ((*section, *reason), ledger::count(ledger, section, reason))
        };
        expected.keys().map(count).collect()
    };
    poll_for(Duration::from_secs(15), || {
        (found(&rig.ledger()) == *expected).then_some(())
    });
    let ledger = rig.ledger();
    assert_eq!(found(&ledger), *expected, "the ledger says {ledger:#}");
    let mut text = String::new();
    for ((_, reason), count) in expected {
        let _ = write!(text, " {reason} {count}");
    }
    say(&format!("bad input counted:{text}"));
}

fn honest_run(rig: &Rig) -> (Process, Process) {
    let gateway = rig.gateway(&[]);
    let trace = write_trace(rig.path());
    let mut simulation = Simulation::new(&trace, "pump-1", rig.broker.port);
    "60".clone_into(&mut simulation.speed);
    (gateway, simulation.start(rig.path()))
}

fn honest_records(rig: &Rig, (mut gateway, mut simulation): (Process, Process)) -> Vec<Record> {
    passage::wait_simulated(&mut simulation, Duration::from_mins(1));
    let records = || -> Vec<Record> {
        let received = records::read(&rig.receiver.requests());
        let honest = received.iter().filter(|one| one.record.device == "pump-1");
        let mut records: Vec<Record> = honest.map(|one| one.record.content()).collect();
        records.sort_by_key(Record::window);
        records
    };
    let windows = 2 * TRACE_S as usize / 60;
    wait_until(
        "the honest device's records",
        Duration::from_secs(10),
        || records().len() >= windows,
    );
    assert!(gateway.stop(passage::STOP).success());
    records()
}

/// Two columns that are no straight lines, a row a second.
pub fn write_trace(dir: &Path) -> PathBuf {
    let mut text = "time,level,flow\n".to_owned();
    for second in 0..TRACE_S {
        let time = utc::text(BEGAN_S + second);
        let (level, flow) = (second * second % 1_009, second * 37 % 211);
        let _ = writeln!(text, "{time},{level}.5,0.{flow:03}");
    }
    let path = dir.join("honest.csv");
    fs::write(&path, text).expect("the folder takes a file");
    path
}
