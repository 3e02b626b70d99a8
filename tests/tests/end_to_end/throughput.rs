//! Frames per second end to end: simulated devices, a default Mosquitto, a gateway that fsyncs.

use std::time::Duration;

use tidegate_tests::report::{data, figure, is_full};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::wall::Stopwatch;

use crate::passage;
use crate::wire::Wire;

const DEVICES: usize = 20;

#[test]
fn frames_per_second_through_a_default_mosquitto() {
    if !is_full("throughput") {
        return;
    }
    let Some(data) = data("throughput") else {
        return;
    };
    let rig = Rig::free(CONFIGURATION);
    let mut simulation = passage::stated(passage::anomaly_free(&data, rig.broker.port));
    simulation.more = vec!["--devices".to_owned(), DEVICES.to_string()];
    let mut gateway = rig.gateway(&[]);
    // Counts the frames; it takes its share of the machine, so the figure errs low.
    let wire = Wire::connect(rig.broker.port);
    let watch = Stopwatch::new();
    let mut process = simulation.start(rig.path());
    passage::wait_simulated(&mut process, Duration::from_mins(10));
    let seconds = watch.elapsed().as_secs_f64();
    assert!(gateway.stop(passage::STOP).success());

    let frames = wire.sequenced_frames();
    let samples = 9_405 * 8 * DEVICES;
    figure(
        "frames end to end",
        &format!(
            "{DEVICES} devices through a default Mosquitto, fsync on: {frames} frames in \
             {seconds:.1} s, {:.0} frames/s, {:.0} samples/s",
            frames as f64 / seconds,
            samples as f64 / seconds
        ),
    );
}
