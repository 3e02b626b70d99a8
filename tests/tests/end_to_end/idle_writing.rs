//! Bytes that a gateway writes to its device when nothing or little happens, scaled to a day.
//!
//! `write_bytes` in `/proc/PID/io`, read twice: what the kernel accounts to the process as
//! written to a device, in whole pages and when they become dirty, so writing a page twice before
//! it is synced counts once. The file system's own journal is not in it.

use std::time::Duration;

use tidegate_tests::process::Process;
use tidegate_tests::report::{FULL, figure, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{Stopwatch, wait_until};

use crate::whole;

/// Idle devices: connected, a row of samples each thousand seconds.
const IDLE_DEVICES: u32 = 4;
/// Devices that send a frame a minute, and in how many groups, so that not all send at once.
const BUSY_DEVICES: u32 = 100;
const BUSY_GROUPS: u32 = 10;
/// What a day may write, in MB: a flash card of a few GB is worn out by much more.
const IDLE_MB_MAX: f64 = 20.0;
const BUSY_MB_MAX: f64 = 500.0;
/// What is always allowed, or a single write would be too much for a short run: eight pages.
const SHORT_BYTES_MIN: f64 = 32_768.0;

#[test]
fn an_idle_gateway_hardly_writes() {
    let seconds = length("idle writing", 20, 300);
    let rig = Rig::free(CONFIGURATION);
    let gateway = rig.gateway(&[]);
    let mut simulation = Simulation::plant("idle", rig.broker.port, IDLE_DEVICES, 3_600);
    "0.001".clone_into(&mut simulation.speed);
    let process = simulation.start(rig.path());
    wait_until("the devices to be there", Duration::from_secs(30), || {
        whole::simulated(&process, "connections") >= u64::from(IDLE_DEVICES)
    });
    settle(Duration::from_secs(5));
    let bytes = written_in(&gateway, seconds);
    tell(
        &format!("idle, {IDLE_DEVICES} silent devices connected"),
        seconds,
        bytes,
        IDLE_MB_MAX,
    );
}

#[test]
fn a_frame_a_minute_from_a_hundred_devices_is_cheap_to_keep() {
    // Shorter than a minute it would see a part of the frames only.
    if !tidegate_tests::report::is_full("writing of 100 devices") {
        return;
    }
    let seconds = Duration::from_mins(3);
    let rig = Rig::free(CONFIGURATION);
    let gateway = rig.gateway(&[]);
    let began = Stopwatch::new();
    let apart = Duration::from_mins(1) / BUSY_GROUPS;
    let groups: Vec<Process> = (0..BUSY_GROUPS)
        .map(|group| {
            began.pass_until(apart * group);
            let name = format!("busy-{group}");
            let devices = BUSY_DEVICES / BUSY_GROUPS;
            let mut simulation = Simulation::plant(&name, rig.broker.port, devices, 3_600);
            "1".clone_into(&mut simulation.speed);
            simulation.start(rig.path())
        })
        .collect();
    // The windows of a minute, their lateness and their first records are behind by then.
    settle(Duration::from_secs(90));
    let frames = |groups: &[Process]| -> u64 {
        let frames = groups.iter().map(|group| whole::simulated(group, "acked"));
        frames.sum()
    };
    let before = frames(&groups);
    let bytes = written_in(&gateway, seconds);
    let acked = frames(&groups) - before;
    assert!(
        acked >= u64::from(BUSY_DEVICES),
        "only {acked} frames were acked meanwhile"
    );
    let what = format!(
        "{BUSY_DEVICES} devices of 4 sensors at a sample a second, {acked} frames acked meanwhile"
    );
    tell(&what, seconds, bytes, BUSY_MB_MAX);
}

/// How long to measure.
fn length(what: &str, short_s: u64, full_s: u64) -> Duration {
    let is_full = std::env::var_os(FULL).is_some();
    if !is_full {
        say(&format!(
            "{what}: the short form, {short_s} s; {full_s} s in tests/run --full"
        ));
    }
    Duration::from_secs(if is_full { full_s } else { short_s })
}

fn settle(time: Duration) {
    Stopwatch::new().pass_until(time);
}

/// Bytes written in the next `time`; `None` when the kernel does not tell, or the folder is on no
/// device.
fn written_in(gateway: &Process, time: Duration) -> Option<u64> {
    // A start writes: what has none to show is not accounted.
    let before = written(gateway).filter(|bytes| *bytes > 0)?;
    Stopwatch::new().pass_until(time);
    Some(written(gateway)? - before)
}

/// Bytes that the gateway has caused to be written so far.
fn written(gateway: &Process) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/io", gateway.id())).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

fn tell(what: &str, time: Duration, bytes: Option<u64>, mb_max: f64) {
    let Some(bytes) = bytes else {
        say(&format!(
            "{what}: left out: the kernel accounts no writing; is the folder for temporary files on a device?"
        ));
        return;
    };
    let days = time.as_secs_f64() / 86_400.0;
    let mb = bytes as f64 / 1e6 / days;
    figure(
        "idle writing",
        &format!(
            "{what}: {bytes} bytes in {} s, {mb:.1} MB a day of at most {mb_max} (write_bytes of \
             /proc/PID/io, scaled)",
            time.as_secs()
        ),
    );
    let bytes_max = (mb_max * 1e6 * days).max(SHORT_BYTES_MIN);
    assert!(
        bytes as f64 <= bytes_max,
        "{what}: {bytes} bytes in {} s, {mb_max} MB a day are allowed",
        time.as_secs()
    );
}
