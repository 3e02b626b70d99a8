//! Real input, right answers: a pump's sensors through the documented configuration.

use std::time::Duration;

use tidegate_tests::ports;
use tidegate_tests::ports::FixedPorts;
use tidegate_tests::proxy::Proxy;
use tidegate_tests::report::{data, figure, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::trace::Trace;
use tidegate_tests::wall::Stopwatch;

use crate::passage;
use crate::wire::Wire;

/// Longest a simulation at full speed may take.
const FAST: Duration = Duration::from_mins(2);
/// Event time of the anomaly-free trace at sixty times its pace.
const PACED: Duration = Duration::from_secs(166);

#[test]
fn guessed_resolutions_give_the_right_answers() {
    let Some(data) = data("real input, guessed resolutions") else {
        return;
    };
    let _held = FixedPorts::hold();
    let rig = Rig::documented();
    let simulation = passage::anomaly_free(&data, ports::BROKER_PORT);
    let last = passage::undisturbed(&rig, &simulation, FAST);
    say(&format!(
        "real input, guessed resolutions: right {:.1} s after the simulation's end",
        last.as_secs_f32()
    ));
}

#[test]
fn stated_resolutions_give_the_right_answers() {
    let Some(data) = data("real input, stated resolutions") else {
        return;
    };
    let _held = FixedPorts::hold();
    let rig = Rig::documented();
    let simulation = passage::stated(passage::anomaly_free(&data, ports::BROKER_PORT));
    let wire = Wire::connect(rig.broker.port);
    let last = passage::undisturbed(&rig, &simulation, FAST);
    say(&format!(
        "real input, stated resolutions: right {:.1} s after the simulation's end",
        last.as_secs_f32()
    ));

    let bytes = wire.up_bytes() as f64;
    let samples = Trace::read(&simulation.trace, &[]).samples() as f64;
    figure(
        "wire bytes",
        &format!(
            "{:.3} bytes per sample: {bytes} bytes of {} frames from Hello to ended, sequenced or \
             not, trailers included, for {samples} samples; raw f32 takes 4",
            bytes / samples,
            wire.frames()
        ),
    );
    assert!(bytes / samples <= 1.05, "the wire costs too much");
}

#[test]
fn a_cut_link_changes_no_answer() {
    let Some(data) = data("real input, the link cut") else {
        return;
    };
    let _held = FixedPorts::hold();
    let rig = Rig::documented();
    let link = Proxy::start(ports::free(), rig.broker.port);
    let mut simulation = passage::stated(passage::anomaly_free(&data, link.port));
    "60".clone_into(&mut simulation.speed);
    let expected = passage::expected(&simulation, 60);

    let mut gateway = rig.gateway(&[]);
    let watch = Stopwatch::new();
    let mut process = simulation.start(rig.path());
    watch.pass_until(PACED / 2);
    link.cut();
    watch.pass_until(PACED / 2 + Duration::from_secs(5));
    let (swallowed, connections) = (link.swallowed(), link.connections());
    link.mend();
    assert!(swallowed > 0, "the cut hit nothing");

    passage::wait_simulated(&mut process, PACED + Duration::from_mins(2));
    assert!(link.connections() > connections, "nobody came back");
    let took = watch.elapsed();
    let last = passage::finish(&rig, &mut gateway, &expected);
    say(&format!(
        "real input, link cut for 5 of {:.0} s: {swallowed} bytes vanished, right {:.1} s after \
         the simulation's end",
        took.as_secs_f32(),
        last.as_secs_f32()
    ));
}

#[test]
fn every_valve_file_gives_the_right_answers() {
    let Some(data) = data("real input, valve1") else {
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(data.join("skab/valve1"))
        .expect("the data has a folder valve1")
        .map(|file| file.expect("the folder can be read").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 16, "valve1 holds 16 files");
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let rig = Rig::free(CONFIGURATION);
        let device = format!("valve-{name}");
        let simulation = Simulation::new(&file, &device, rig.broker.port);
        let simulation = passage::without_labels(passage::stated(simulation));
        passage::undisturbed(&rig, &simulation, FAST);
    }
    say("real input: 16 files of valve1 right");
}
