//! The stage: a gateway with records, for the commands of the documentation.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_tests::ports;
use tidegate_tests::process::Process;
use tidegate_tests::receiver::{Mood, Receiver};
use tidegate_tests::rig::{command, repository, tidegate};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{poll_for, wait_until};

use super::commands;
use crate::passage;

/// What the pages say of the gateway they speak of: one site, a broker inside, two sinks.
const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
[mqtt]
embedded = { listen = "127.0.0.1:1883" }
[http]
listen = "127.0.0.1:8380"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:8080/records"
compress = "none"
[sink.local]
type = "file"
path = "records.ndjson"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s" }
aggregate = ["count", "min", "max", "mean", "p95"]
forward = ["cloud", "local"]
"#;

/// Longest time that a block may take.
const LIMIT: Duration = Duration::from_mins(1);
/// How long a command that goes on is watched, when it says nothing.
const WATCHED: Duration = Duration::from_secs(3);
/// The signal that asks a program to end.
const SIGTERM: i32 = 15;

/// A folder in which commands run, and the ports that those of the pages stand for.
pub struct Place {
    dir: TempDir,
    ports: Vec<(&'static str, u16)>,
    month: String,
}

/// The gateway with its place.
pub struct Stage {
    /// First, so that it ends before its folder goes.
    _gateway: Process,
    _receiver: Receiver,
    place: Place,
}

impl Stage {
    /// Starts a gateway, sends a quarter of an hour of a pump, and waits for records.
    pub fn new() -> Self {
        let receiver_port = ports::free();
        let receiver = Receiver::start(receiver_port, Mood::Prompt);
        let place = Place::new(receiver_port);
        place.furnish();
        let mut gateway = Command::new(tidegate());
        gateway.current_dir(place.path()).arg("run");
        let gateway = Process::start("gateway", &mut gateway, place.path());
        wait_until("the broker inside", Duration::from_secs(20), || {
            ports::answers(place.ports[0].1)
        });
        let mut plant = Simulation::plant("pump-1", place.ports[0].1, 1, 900).start(place.path());
        passage::wait_simulated(&mut plant, LIMIT);
        wait_until("records of a pump", Duration::from_secs(30), || {
            let bill = command(
                place.path(),
                &["bill", "--sink", "cloud", "--rule", "minute"],
            );
            let records = fs::read_to_string(place.path().join("records.ndjson"));
            bill.status.success() && records.is_ok_and(|text| text.lines().count() >= 8)
        });
        Self {
            _gateway: gateway,
            _receiver: receiver,
            place,
        }
    }

    /// Where the gateway runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Another place with the same files, but without a gateway and its data.
    pub fn fresh(&self) -> Place {
        let place = Place::new(ports::free());
        for entry in fs::read_dir(self.place.path())
            .expect("it is a folder")
            .flatten()
        {
            if entry.path().is_file() {
                let to = place.path().join(entry.file_name());
                fs::copy(entry.path(), to).expect("the folder takes a file");
            }
        }
        place.furnish();
        place
    }
}

impl Place {
    fn new(receiver_port: u16) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder for temporary files"),
            ports: vec![
                ("127.0.0.1:1883", ports::free()),
                ("127.0.0.1:8080", receiver_port),
                ("127.0.0.1:8380", ports::free()),
            ],
            month: month(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Puts the configuration, another to try, the examples, and the program there.
    fn furnish(&self) {
        let write = |name: &str, text: &str| {
            fs::write(self.path().join(name), self.localised(text)).expect("it takes a file");
        };
        write("tidegate.toml", CONFIGURATION);
        write("new.toml", &CONFIGURATION.replace("\"1m\"", "\"5m\""));
        let examples = self.path().join("examples");
        fs::create_dir(&examples).expect("the folder takes another one");
        let all = fs::read_dir(repository().join("examples")).expect("there are examples");
        for file in all.flatten().filter(|entry| entry.path().is_file()) {
            let name = file.file_name();
            fs::copy(file.path(), examples.join(&name)).expect("it takes a file");
            let beside = self.path().join(&name);
            if !beside.exists() {
                fs::copy(file.path(), beside).expect("it takes a file");
            }
        }
        let bin = self.path().join("bin");
        fs::create_dir(&bin).expect("the folder takes another one");
        symlink(tidegate(), bin.join("tidegate")).expect("it takes a link");
    }

    /// A text of a page for this place: its ports, this month, the program by its name.
    fn localised(&self, text: &str) -> String {
        let text = text
            .replace("cargo run --release -- ", "tidegate ")
            .replace("2026-10", &self.month);
        self.ports.iter().fold(text, |text, (said, port)| {
            text.replace(said, &format!("127.0.0.1:{port}"))
        })
    }

    fn shell(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.path().join("bin");
        let mut shell = Command::new("sh");
        shell
            .current_dir(self.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .args(["-e", "-c", script]);
        shell
    }

    /// Runs a block to its end, which has to have a code.
    pub fn runs_to_its_end(&self, text: &str, code: i32) -> Result<(), String> {
        let mut shell = self.shell(&self.localised(text));
        let finished = Process::run("block", &mut shell, self.path(), LIMIT);
        if finished.status.code() == Some(code) {
            return Ok(());
        }
        Err(format!(
            "ended with {}, not with {code}:\n{text}{}{}",
            finished.status, finished.out, finished.err
        ))
    }

    /// Runs a command that goes on: it says something, or at least does not end, until it is
    /// stopped.
    pub fn runs_on(&self, line: &str) -> Result<(), String> {
        assert_eq!(commands(line).len(), 1);
        let own = tempfile::tempdir_in(self.path()).expect("the folder takes another one");
        let mut shell = self.shell(&format!("exec {}", self.localised(line)));
        let mut process = Process::start("command", &mut shell, own.path());
        poll_for(WATCHED, || {
            let says = !process.out_text().is_empty() || !process.err_text().is_empty();
            (says || process.ended().is_some()).then_some(())
        });
        let (status, stopped) = match process.ended() {
            Some(status) => (status, false),
            None => (process.stop(Duration::from_secs(20)), true),
        };
        // Another's program need not end as one that was asked to: it was stopped by us.
        if status.success() || stopped && status.signal() == Some(SIGTERM) {
            return Ok(());
        }
        let (out, err) = (process.out_text(), process.err_text());
        Err(format!("`{line}` ended with {status}:\n{out}{err}"))
    }
}

/// This month, such as 2026-10.
fn month() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m"]).output();
    let date = date.expect("the machine has a date").stdout;
    String::from_utf8_lossy(&date).trim().to_owned()
}
