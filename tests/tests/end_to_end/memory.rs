//! Memory of a gateway with a hundred devices, behind a broker of its own and with the one inside.
//!
//! What the kernel says of the process in `smaps_rollup`: `Rss` is all of it that lies in memory,
//! pages of the program included, `Anonymous` what it allocated. The largest of many looks counts
//! while the devices send at sixty times their pace, and the kernel's own `VmHWM` is told beside
//! it, which has the start in it too.

use std::time::Duration;

use tidegate_tests::ports;
use tidegate_tests::process::Process;
use tidegate_tests::report::{figure, is_full};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::whole;

const DEVICES: u32 = 100;
/// An hour of the devices' time, in a minute.
const SECONDS: u64 = 3_600;
/// Of the whole process, in MB (10^6 bytes).
const EXTERNAL_MB_MAX: f64 = 16.0;
const EMBEDDED_MB_MAX: f64 = 24.0;
/// Of what it allocated, with a broker of its own; the one inside has the devices' connections.
const ANONYMOUS_MB_MAX: f64 = 12.0;

#[test]
fn memory_with_a_hundred_devices_behind_a_broker() {
    if !is_full("memory behind a broker") {
        return;
    }
    let rig = Rig::free(CONFIGURATION);
    let most = most_memory(&rig, rig.broker.port);
    most.tell("a broker of its own", EXTERNAL_MB_MAX);
    assert!(most.resident <= EXTERNAL_MB_MAX, "{most:?}");
    assert!(most.anonymous <= ANONYMOUS_MB_MAX, "{most:?}");
}

#[test]
fn memory_with_a_hundred_devices_on_the_broker_inside() {
    if !is_full("memory with the broker inside") {
        return;
    }
    let port = ports::free();
    let inside = format!("embedded = {{ listen = \"127.0.0.1:{port}\" }}");
    let configuration = CONFIGURATION.replace("url = \"mqtt://127.0.0.1:21883\"", &inside);
    assert!(configuration.contains(&inside));
    let rig = Rig::free(&configuration);
    let most = most_memory(&rig, port);
    most.tell("the broker inside", EMBEDDED_MB_MAX);
    assert!(most.resident <= EMBEDDED_MB_MAX, "{most:?}");
    assert!(most.anonymous <= ANONYMOUS_MB_MAX, "{most:?}");
}

/// The most that was seen, in MB.
#[derive(Debug, Default, Clone, Copy)]
struct Most {
    resident: f64,
    anonymous: f64,
    high_water: f64,
    frames: u64,
}

impl Most {
    fn tell(&self, broker: &str, mb_max: f64) {
        figure(
            "memory",
            &format!(
                "{DEVICES} devices of 4 sensors, {} frames, {broker}: {:.1} MB resident of at \
                 most {mb_max}, {:.1} MB anonymous of at most {ANONYMOUS_MB_MAX} (smaps_rollup); \
                 the kernel's high water {:.1} MB",
                self.frames, self.resident, self.anonymous, self.high_water
            ),
        );
    }
}

/// Runs the devices to their end and looks meanwhile.
fn most_memory(rig: &Rig, port: u16) -> Most {
    let gateway = rig.gateway(&[]);
    wait_until("the broker to answer", Duration::from_secs(30), || {
        ports::answers(port)
    });
    let mut simulation = Simulation::plant("pump", port, DEVICES, SECONDS);
    "60".clone_into(&mut simulation.speed);
    let mut process = simulation.start(rig.path());
    let mut most = Most::default();
    wait_until("the devices to be done", Duration::from_mins(5), || {
        let is_done = process.ended().is_some();
        if !is_done {
            most.resident = most.resident.max(mb(&gateway, "smaps_rollup", "Rss:"));
            most.anonymous = most
                .anonymous
                .max(mb(&gateway, "smaps_rollup", "Anonymous:"));
        }
        is_done
    });
    most.high_water = mb(&gateway, "status", "VmHWM:");
    most.frames = whole::simulated(&process, "acked");
    assert!(
        process.ended().is_some_and(|status| status.success()),
        "not everything was acked"
    );
    assert!(most.frames >= u64::from(DEVICES), "{most:?}");
    most
}

/// A line of the kernel's about the gateway, in MB.
fn mb(gateway: &Process, file: &str, name: &str) -> f64 {
    let path = format!("/proc/{}/{file}", gateway.id());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib = kib.and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_else(|| panic!("{path} has no {name}")) * 1_024.0 / 1e6
}
