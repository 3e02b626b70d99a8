//! How long a gateway with a large log takes from its start to its first ack.
//!
//! The log is written in this process, through the gateway's own store, as 100 devices would have
//! it written in years; it ends as after a power cut, without a last base.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_gateway::disk::data_dir::DataDir;
use tidegate_gateway::disk::{Disk, RealDisk};
use tidegate_gateway::entry::{ENGINE, Entry, FrameEntry, LinkChange, LinkEntry, Logged, Verdict};
use tidegate_gateway::identity;
use tidegate_gateway::rules;
use tidegate_gateway::store::Store;
use tidegate_gateway::time::{Clock, SystemClock, Timestamp};
use tidegate_shared::ids::DeviceName;
use tidegate_tests::dice::Dice;
use tidegate_tests::report::{FULL, figure, say};
use tidegate_tests::rig::Rig;
use tidegate_tests::wall::{Stopwatch, wait_for};

use crate::raw_device::RawDevice;
use crate::wire::Wire;

const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
[[rule]]
name = "hour"
match = { sensor = "*" }
window = { tumbling = "1h", lateness = "30s" }
aggregate = ["count", "min", "max", "mean"]
forward = ["cloud"]
"#;
const DEVICES: u32 = 100;
/// Samples of a frame, which are random: about 1.6 KB.
const SAMPLES: u32 = 255;
/// Frames of every device that are made durable together.
const ROUND_FRAMES: u32 = 4;
/// Start to first ack, for a log of 1 GiB.
const SECONDS_MAX: f64 = 2.0;
/// When the devices' uptimes began: 2020-01-01.
const BEGAN_S: i64 = 1_577_836_800;

#[test]
fn a_large_log_does_not_delay_the_first_ack() {
    let full = std::env::var_os(FULL).is_some();
    let log_bytes: u64 = if full { 1 << 30 } else { 64 << 20 };
    if !full {
        say("restart: a log of 64 MiB; 1 GiB in tests/run --full");
    }
    let rig = Rig::free(CONFIGURATION);
    let wire = Wire::connect(rig.broker.port);
    let (bytes, replayed_max) = fill(rig.path(), &wire, log_bytes);

    let watch = Stopwatch::new();
    let _gateway = rig.gateway(&[]);
    wait_for("the gateway to say online", Duration::from_mins(1), || {
        wire.messages("gateway").pop()
    });
    let device = RawDevice::new(&wire, "late", 1, BEGAN_S);
    device.greet();
    device.send(device.catalog(1));
    device.wait_acked(1);
    let seconds = watch.elapsed().as_secs_f64();
    figure(
        "restart",
        &format!(
            "a log of {} MiB of {DEVICES} devices, ended as by a power cut, at most {} KiB of it \
             behind its base: {seconds:.2} s from the start of the process to the first ack (of \
             at most {SECONDS_MAX} for 1 GiB)",
            bytes >> 20,
            replayed_max >> 10,
        ),
    );
}

/// Returns the bytes of the log, and the largest that a segment may reach before the next base.
fn fill(dir: &Path, wire: &Wire, log_bytes: u64) -> (u64, u64) {
    let (settings, _) = rules::parse(CONFIGURATION, "tidegate.toml").expect("it is well formed");
    let data = dir.join("data");
    let _held = DataDir::hold(&data).expect("the folder is new");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&data).expect("the folder is there"));
    let start = identity::begin(&disk, 7).expect("the disk takes it").start;
    let clock = SystemClock::new();
    let (mut store, _) =
        Store::open(&disk, &settings, 1, clock.now()).expect("an empty store opens");
    let mut devices: Vec<Sender> = (0..DEVICES).map(|at| Sender::new(wire, at)).collect();
    let mut entries = vec![
        Entry::Started {
            engine: ENGINE,
            log_incarnation: store.log_incarnation(),
            term: 1,
            site: settings.site.to_string(),
        },
        Entry::Rules {
            text: settings.rules.to_json(),
        },
        Entry::Limits(settings.limits),
    ];
    entries.extend(devices.iter_mut().flat_map(Sender::open));
    let mut written = 0;
    loop {
        written += write(&mut store, start, clock.now(), entries);
        if written >= log_bytes {
            return (store.log_bytes(), settings.log.segment_bytes);
        }
        entries = Vec::new();
        for _ in 0..ROUND_FRAMES {
            entries.extend(devices.iter_mut().map(Sender::next_batch));
        }
    }
}

/// Returns the bytes of the frames among the entries.
fn write(store: &mut Store, start: u32, at: Timestamp, entries: Vec<Entry>) -> u64 {
    let bytes = |entry: &Entry| match entry {
        Entry::Frame(frame) => frame.bytes.len() as u64,
        _ => 0,
    };
    let written = entries.iter().map(bytes).sum();
    let log = |entry| Logged { start, at, entry };
    let logged: Vec<Logged> = entries.into_iter().map(log).collect();
    store.append(&logged).expect("the disk takes it");
    store.fold(&logged);
    store.settle(at).expect("the disk takes it");
    written
}

/// A device whose frames are logged here instead of sent.
struct Sender<'w> {
    device: RawDevice<'w>,
    name: DeviceName,
    sequence: u32,
    dice: Dice,
}

impl<'w> Sender<'w> {
    fn new(wire: &'w Wire, at: u32) -> Self {
        let name = format!("device-{at}");
        Self {
            device: RawDevice::new(wire, &name, at + 1, BEGAN_S),
            name: DeviceName::try_from(name.as_str()).expect("it is a name"),
            sequence: 2,
            dice: Dice::new(at.into()),
        }
    }

    /// What the log holds of a device before its first batch.
    fn open(&mut self) -> Vec<Entry> {
        let opened = LinkChange::Opened {
            incarnation: self.device.incarnation(),
            boot: 1,
            hold_ms: 1_000,
            has_clock: true,
            firmware: "raw 1".to_owned(),
        };
        let link = LinkEntry {
            device: Some(self.name.clone()),
            change: opened,
        };
        vec![
            Entry::Link(link),
            self.entry(self.device.catalog(1)),
            self.entry(self.device.clock_frame(2)),
        ]
    }

    fn next_batch(&mut self) -> Entry {
        self.sequence += 1;
        let from_s = (self.sequence - 2) * SAMPLES;
        let draw = |_| (self.dice.bits() >> 16) as i64;
        let raws: Vec<i64> = (0..SAMPLES).map(draw).collect();
        self.entry(self.device.batch(self.sequence, 0, from_s, &raws, &[]))
    }

    fn entry(&self, bytes: Vec<u8>) -> Entry {
        Entry::Frame(FrameEntry {
            device: self.name.clone(),
            key_id: 0,
            verdict: Verdict::Next,
            bytes,
        })
    }
}
