//! The reference board in QEMU: built, started, given temperatures, reset, cut from its power, and
//! its own trace read.
//!
//! The image is the board's with its features `drill`, which prints each sample's counts before and
//! after it is taken, and takes three temperatures as a panic, a hang and a planned stop, and `claim`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_shared::frame::crc32c;

use crate::process::Process;
use crate::rig::repository;
use crate::wall::wait_for;

/// The environment variable that names a built image.
pub const IMAGE: &str = "TIDEGATE_BOARD_IMAGE";
/// Temperatures that the image takes as something else, in m°C.
pub const PANIC: i64 = -55_000;
/// See [`PANIC`].
pub const STOP: i64 = 120_000;
/// See [`PANIC`].
pub const HANG: i64 = 125_000;

/// A cold build of the image on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_mins(15);
/// Longest wait for anything that the emulator does at once.
const PROMPT: Duration = Duration::from_secs(20);

/// A board; its power is cut when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    commands: BufReader<UnixStream>,
}

/// What a boot says of one sensor.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traced {
    /// Taken, as of the last whole sample.
    pub taken: i64,
    /// Of these, failed.
    pub failed: i64,
    /// Whether the boot ended within the next sample: it may be counted or not.
    pub is_torn: bool,
}

/// Boot and sensor, and what was said of them last.
pub type Trace = BTreeMap<(u32, u32), Traced>;

/// The image; `None`, with the reason printed, where there is no emulator. Built once.
pub fn image() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    if Command::new("qemu-system-arm")
        .arg("--version")
        .output()
        .is_err()
    {
        crate::report::say("left out: qemu-system-arm is not installed; tests/run installs it");
        return None;
    }
    if let Some(image) = std::env::var_os(IMAGE) {
        return Some(image.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target
        .unwrap_or_else(|| repository().join("target"))
        .join("boards");
    let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
    let mut command = Command::new("cargo");
    command
        .current_dir(repository().join("firmware/boards/qemu-mps2"))
        .args(["build", "--release", "--quiet", "--features", "drill,claim"])
        .env("CARGO_TARGET_DIR", &target);
    let finished = Process::run("cargo", &mut command, dir.path(), BUILD_LIMIT);
    assert!(finished.status.success(), "the board: {}", finished.err);
    Some(target.join("thumbv7em-none-eabihf/release/tidegate-qemu-mps2"))
}

/// Writes a settings page, as the board's documentation describes it.
pub fn write_settings(path: &Path, device: &str, broker_port: u16) {
    let mut fields = Vec::new();
    for text in ["pump-house", device, "10.0.2.2"] {
        fields.push(u8::try_from(text.len()).expect("a short text"));
        fields.extend(text.as_bytes());
    }
    fields.extend(broker_port.to_le_bytes());
    let mut page = b"TGcf\x01".to_vec();
    page.extend(
        u16::try_from(fields.len())
            .expect("a short page")
            .to_le_bytes(),
    );
    page.extend(fields);
    page.extend(crc32c(&page).to_le_bytes());
    fs::write(path, page).expect("the test's folder takes a file");
}

impl Emulator {
    /// Switches the board on, with `settings.bin` and `eeprom.bin` of `dir`. What it prints goes to
    /// `DIR/NAME.out`.
    pub fn start(image: &Path, dir: &Path, name: &str) -> Self {
        let socket = dir.join(format!("{name}.qmp"));
        let mut command = Command::new(repository().join("firmware/boards/qemu-mps2/run"));
        command
            .arg(image)
            .env("TIDEGATE_SETTINGS", dir.join("settings.bin"))
            .env("TIDEGATE_EEPROM", dir.join("eeprom.bin"))
            .env("TIDEGATE_QMP", &socket)
            .env("TIDEGATE_ONE_SENSOR", "1");
        let process = Process::start(name, &mut command, dir);
        let stream = wait_for("QEMU to take commands", PROMPT, || {
            UnixStream::connect(&socket).ok()
        });
        stream
            .set_read_timeout(Some(PROMPT))
            .expect("a socket takes a timeout");
        let mut emulator = Self {
            process,
            commands: BufReader::new(stream),
        };
        emulator.read();
        emulator.execute(&json!({ "execute": "qmp_capabilities" }));
        emulator
    }

    /// Warms or cools the first thermometer, to so many m°C.
    pub fn set_temperature(&mut self, millidegrees: i64) {
        self.execute(&json!({ "execute": "qom-set", "arguments": {
            "path": "/machine/peripheral/tmp0", "property": "temperature", "value": millidegrees,
        }}));
    }

    /// Pulls the network cable, or puts it in again.
    pub fn plug(&mut self, is_in: bool) {
        let arguments = json!({ "name": "cable", "up": is_in });
        self.execute(&json!({ "execute": "set_link", "arguments": arguments }));
    }

    /// Pulls the reset line: RAM keeps what it held.
    pub fn reset(&mut self) {
        self.execute(&json!({ "execute": "system_reset" }));
    }

    /// Cuts the power.
    pub fn cut(mut self) -> Trace {
        self.process.kill();
        self.trace()
    }

    /// Everything printed so far.
    pub fn log(&self) -> String {
        self.process.out_text()
    }

    /// How often a text was printed so far.
    pub fn count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until a text was printed more than `before` times.
    pub fn wait_for(&self, text: &str, before: usize, limit: Duration) {
        wait_for(text, limit, || (self.count(text) > before).then_some(()));
    }

    /// What each boot took.
    pub fn trace(&self) -> Trace {
        read_trace(&self.log())
    }

    fn execute(&mut self, command: &Value) {
        let stream = self.commands.get_mut();
        writeln!(stream, "{command}").expect("QEMU runs");
        loop {
            let answer = self.read();
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            if answer.get("return").is_some() {
                return;
            }
        }
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.commands.read_line(&mut line).expect("QEMU answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

fn read_trace(log: &str) -> Trace {
    let mut trace = Trace::new();
    for line in log.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_whole = match words.next() {
            Some("took") => true,
            Some("take") => false,
            _ => continue,
        };
        let mut number = || words.next()?.parse::<u32>().ok();
        let (Some(boot), Some(sensor)) = (number(), number()) else {
            continue;
        };
        let traced = trace.entry((boot, sensor)).or_default();
        traced.is_torn = !is_whole;
        // A line that the power cut tore says nothing.
        if let (true, Some(taken), Some(failed)) = (line.ends_with(';'), number(), number()) {
            (traced.taken, traced.failed) = (taken.into(), failed.into());
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_says_what_was_taken_and_what_was_torn() {
        let log = "    0.000 boot\n    0.1 take 1 0 0 0 ;\n    0.1 took 1 0 1 0 ;\n    \
                   0.2 take 1 1 0 0 ;\n    0.2 took 1 1 1 1 ;\n    0.3 take 1 0 1 0 ;\n    0.3 to";
        let trace = read_trace(log);
        let torn = Traced {
            taken: 1,
            failed: 0,
            is_torn: true,
        };
        assert_eq!(trace[&(1, 0)], torn);
        assert_eq!((trace[&(1, 1)].taken, trace[&(1, 1)].failed), (1, 1));
        assert!(!trace[&(1, 1)].is_torn);
    }
}
