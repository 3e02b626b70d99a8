//! A passage: one simulated device through one gateway, from the first sample to a clean stop.

use std::path::Path;
use std::time::Duration;

use tidegate_tests::answers::{self, Expected};
use tidegate_tests::process::Process;
use tidegate_tests::recomputation::{Answer, Key, recompute};
use tidegate_tests::records::{self, Received, Record};
use tidegate_tests::report::data;
use tidegate_tests::rig::Rig;
use tidegate_tests::simulation::{Simulation, stated_resolutions};
use tidegate_tests::trace::{Trace, sensor_name};
use tidegate_tests::utc;
use tidegate_tests::wall::{Stopwatch, poll_for};

/// Label columns of the rig's files: not sensors.
pub const LABELS: [&str; 2] = ["anomaly", "changepoint"];
/// Within which the last windows must have come when the simulation has ended.
const LAST_WINDOWS: Duration = Duration::from_secs(10);
/// Longest a clean stop may take.
pub const STOP: Duration = Duration::from_secs(20);

/// What a trace must give under the documented rule, at the resolutions of `simulation`: those it
/// states, or for columns that it leaves to guessing every digit of the file.
pub fn expected(simulation: &Simulation, window_s: i64) -> Expected {
    let trace = Trace::read(&simulation.trace, &LABELS);
    let mut resolutions = trace.finest_resolutions();
    for (title, resolution) in &simulation.resolutions {
        let value = resolution.parse().expect("a stated resolution is a number");
        resolutions.insert(sensor_name(title), value);
    }
    Expected {
        site: simulation.site.clone(),
        device: simulation.device.clone(),
        rule: "minute".to_owned(),
        window_s,
        resolutions,
        answers: recompute(&trace, window_s),
    }
}

/// `simulation` with the resolutions that its data's description states.
pub fn stated(mut simulation: Simulation) -> Simulation {
    simulation.resolutions = stated_resolutions();
    simulation
}

/// `simulation` without the label columns.
pub fn without_labels(mut simulation: Simulation) -> Simulation {
    let trace = Trace::read(&simulation.trace, &LABELS);
    simulation.columns = trace.titles().into_iter().map(str::to_owned).collect();
    simulation
}

/// Waits for a simulation to end well.
pub fn wait_simulated(process: &mut Process, limit: Duration) {
    let status = process.wait(limit);
    assert!(status.success(), "the simulation ended with {status}");
}

/// Waits until what was taken is right, stops the gateway, and checks that it still is; for
/// passages in which nothing was killed, so that nothing may have been taken twice.
pub fn finish(rig: &Rig, gateway: &mut Process, expected: &Expected) -> Duration {
    let (seconds, received) = wait_right(rig, expected, LAST_WINDOWS);
    answers::assert_none("right answers", &answers::faults(expected, &received));
    let status = gateway.stop(STOP);
    assert!(status.success(), "the gateway stopped with {status}");
    let received = records::read(&rig.receiver.requests());
    answers::assert_none("after the stop", &answers::faults(expected, &received));
    answers::assert_none("identity", &records::identity_faults(&received));
    answers::assert_none("taken once", &records::repeats(&received));
    seconds
}

/// Waits until what was taken is right, or `limit` has passed; how long that took, and all that
/// was received.
pub fn wait_right(rig: &Rig, expected: &Expected, limit: Duration) -> (Duration, Vec<Received>) {
    let watch = Stopwatch::new();
    let mut requests_seen = usize::MAX;
    poll_for(limit, || {
        let requests = rig.receiver.count();
        if requests == requests_seen {
            return None;
        }
        requests_seen = requests;
        let received = records::read(&rig.receiver.requests());
        answers::faults(expected, &received)
            .is_empty()
            .then_some(())
    });
    (watch.elapsed(), records::read(&rig.receiver.requests()))
}

/// A whole passage without disturbance.
pub fn undisturbed(rig: &Rig, simulation: &Simulation, limit: Duration) -> Duration {
    let expected = expected(simulation, 60);
    let mut gateway = rig.gateway(&[]);
    let mut process = simulation.start(rig.path());
    wait_simulated(&mut process, limit);
    finish(rig, &mut gateway, &expected)
}

/// The pump rig's undisturbed run.
pub fn anomaly_free(data: &Path, port: u16) -> Simulation {
    Simulation::new(&data.join("skab/anomaly-free.csv"), "pump-1", port)
}

/// The judge itself, on the real trace: rounding to the stated resolutions is within every
/// tolerance, and one sample moved to its neighbour's window is not.
#[test]
fn rounding_is_forgiven_and_a_moved_sample_is_not() {
    let Some(data) = data("the judge on real input") else {
        return;
    };
    let simulation = stated(anomaly_free(&data, 1));
    let expected = expected(&simulation, 60);
    let mut trace = Trace::read(&simulation.trace, &[]);
    for (sensor, column) in &mut trace.columns {
        let resolution = expected.resolutions[sensor];
        for value in &mut column.values {
            *value = (*value / resolution).round() * resolution;
        }
    }
    let faults = |trace: &Trace| answers::faults(&expected, &delivered(&expected, trace));
    answers::assert_none("rounding", &faults(&trace));
    // 13:30:59 becomes 13:31:00: one sample of each sensor changes its window.
    let moved = trace.times_s.iter_mut().find(|time| **time % 60 == 59);
    *moved.expect("some row is the last of its minute") += 1;
    assert!(faults(&trace).len() >= 2 * trace.columns.len());
}

/// Records as a gateway would deliver them for `trace`.
fn delivered(expected: &Expected, trace: &Trace) -> Vec<Received> {
    let record = |((sensor, start), answer): (Key, Answer)| Record {
        id: format!("{sensor}-{start}"),
        site: expected.site.clone(),
        device: expected.device.clone(),
        sensor,
        unit: String::new(),
        rule: expected.rule.clone(),
        version: 1,
        epoch: 0,
        start: utc::text(start),
        end: utc::text(start + expected.window_s),
        revision: 0,
        samples: answer.count,
        fresh: answer.count,
        clock: "device".to_owned(),
        partial: false,
        values: answer
            .values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    recompute(trace, expected.window_s)
        .into_iter()
        .map(|answer| Received {
            record: record(answer),
            line: String::new(),
            request: 0,
            taken: true,
        })
        .collect()
}
