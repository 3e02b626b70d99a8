//! A small file system of its own, filled up while devices send, and freed again: the gateway
//! stops acking, says why, and goes on by itself.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidegate_tests::process::Process;
use tidegate_tests::records;
use tidegate_tests::report::{figure, say};
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{Stopwatch, wait_until};

use crate::{passage, whole};

const SIZE: &str = "24m";
const DEVICES: u32 = 10;
/// Seconds of the model per second: about 100 frames a second come from all devices.
const SPEED: u64 = 600;
/// How long the model runs at that speed.
const SECONDS: u64 = 25;
/// How long the gateway is watched to ack nothing.
const WATCHED: Duration = Duration::from_secs(3);

/// A mounted tmpfs; gone with its guard.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts one of a size, or says why that cannot be done.
    pub fn new(at: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir(at).expect("the rig's folder takes another one");
        let mut command = Command::new("mount");
        let options = format!("size={size}");
        command.args(["-t", "tmpfs", "-o", &options, "tidegate-full-disk"]);
        let done = command.arg(at).output();
        let done = done.map_err(|error| format!("cannot run mount: {error}"))?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr);
            return Err(why.trim().to_owned());
        }
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let plainly = Command::new("umount").arg(&self.0).status();
        if !plainly.is_ok_and(|status| status.success()) {
            // Somebody still holds a file: it goes with the last of them.
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

#[test]
fn a_disk_that_fills_up_is_waited_for() {
    let configuration = CONFIGURATION.replace(
        "compress",
        "drain_spread = \"0s\"\nspool_bytes_max = \"4 MiB\"\ncompress",
    ) + "[log]\nsegment_bytes = 65536\nbytes_max = \"16 MiB\"\n";
    let rig = Rig::free(&configuration);
    let data_dir = rig.path().join("data");
    // A loop device would need the same right.
    let mount = match Mount::new(&data_dir, SIZE) {
        Ok(mount) => mount,
        Err(why) => {
            say(&format!(
                "full disk: left out: no file system can be mounted here: {why}"
            ));
            return;
        }
    };
    let mut simulation = Simulation::plant("pump", rig.broker.port, DEVICES, SPEED * SECONDS);
    simulation.speed = SPEED.to_string();
    let mut gateway = rig.gateway(&[]);
    let id = gateway.id();
    let mut process = simulation.start(rig.path());
    wait_until("the load to run", Duration::from_secs(30), || {
        whole::simulated(&process, "acked") > 100
    });

    let filler = data_dir.join("filler");
    let mut filled = fill(&filler);
    let watch = Stopwatch::new();
    wait_until("the gateway to say so", Duration::from_secs(30), || {
        // What it gives back itself is taken as well.
        filled += fill(&filler);
        gateway.err_text().contains("disk-full")
    });
    let noticed = watch.elapsed();
    let acked_full = still(&process, || filled += fill(&filler));
    // The ledger is still told.
    rig.ledger();
    assert_eq!(gateway.ended(), None, "a full disk ends no gateway");
    assert!(process.ended().is_none(), "it acked all on a full disk");

    fs::remove_file(&filler).expect("the filler can be removed");
    let freed = Stopwatch::new();
    wait_until("frames to be acked again", Duration::from_secs(40), || {
        whole::simulated(&process, "acked") > acked_full
    });
    let recovered = freed.elapsed();
    passage::wait_simulated(&mut process, Duration::from_mins(3));
    let samples = whole::all_samples(&process);
    whole::wait_whole(&rig, samples, Duration::from_mins(1));
    assert_eq!(
        (gateway.id(), gateway.ended()),
        (id, None),
        "the same process"
    );
    assert!(gateway.err_text().contains("the store works again"));
    let status = gateway.stop(passage::STOP);
    assert!(status.success(), "the gateway stopped with {status}");
    let received = whole::wait_whole(&rig, samples, Duration::ZERO);
    whole::assert_books(&rig, samples);
    figure(
        "full disk",
        &format!(
            "a tmpfs of {SIZE} filled with {filled} bytes: said after {:.1} s, nothing acked for \
             {} s, acking {:.1} s after it was freed, by the same process; {samples} samples of \
             {} records, each upstream once, {} taken again",
            noticed.as_secs_f32(),
            WATCHED.as_secs(),
            recovered.as_secs_f32(),
            received.len(),
            records::repeats(&received).len(),
        ),
    );
    drop(mount);
}

/// Waits until nothing was acked for as long as `WATCHED`, `fill`ing up what the gateway gave back
/// by itself; frames acked until then.
fn still(process: &Process, mut fill: impl FnMut()) -> u64 {
    let mut acked = whole::simulated(process, "acked");
    let mut since = Stopwatch::new();
    let what = "frames to be acked no more";
    wait_until(what, Duration::from_secs(30), || {
        fill();
        let now = whole::simulated(process, "acked");
        if now != acked {
            (acked, since) = (now, Stopwatch::new());
        }
        since.elapsed() >= WATCHED
    });
    let waiting = whole::simulated(process, "depth");
    assert!(waiting > 0, "no frame waits for its ack");
    acked
}

/// Appends to a file until the file system is full; how many bytes it took.
fn fill(path: &Path) -> u64 {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .expect("the mounted folder takes a file");
    let mut bytes = 0;
    for block in [vec![0x5a; 65_536], vec![0x5a; 512]] {
        loop {
            match file.write(&block) {
                Ok(0) => break,
                Ok(count) => bytes += count as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("cannot fill the file system: {error}"),
            }
        }
    }
    bytes
}
