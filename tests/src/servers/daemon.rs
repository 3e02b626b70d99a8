//! A server's process, with the command that starts it again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::program;
use crate::ports;
use crate::process::Process;
use crate::wall::wait_until;

/// Longest time until a server answers.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Longest time until a server that was asked to stop is gone.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A server that runs, or could again.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Daemon {
    /// A program that will listen on `port`, not yet running. Its output goes to
    /// `DIR/NAME.out` and `.err`.
    pub fn new(name: &'static str, port: u16, dir: &Path, arguments: Vec<String>) -> Self {
        Self {
            name,
            port,
            dir: dir.to_owned(),
            arguments,
            process: None,
        }
    }

    /// Starts it, unless it runs, and waits until it listens and `ready` says so too.
    pub fn start(&mut self, ready: impl Fn() -> bool) {
        if self.process.is_some() {
            return;
        }
        let mut command = Command::new(program(self.name));
        command.args(&self.arguments).current_dir(&self.dir);
        let mut process = Process::start(self.name, &mut command, &self.dir);
        let (name, port) = (self.name, self.port);
        wait_until(&format!("{name} to be ready"), START_LIMIT, || {
            let ended = process.ended();
            assert!(ended.is_none(), "{name} ended: {}", process.err_text());
            ports::answers(port) && ready()
        });
        self.process = Some(process);
    }

    /// Kills it (SIGKILL), if it runs.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it cleanly (SIGTERM), if it runs.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(STOP_LIMIT);
        }
    }

    /// What it wrote to stderr so far, over all its starts.
    pub fn log(&self) -> String {
        let path = self.dir.join(format!("{}.err", self.name));
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
