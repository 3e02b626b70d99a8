//! A real Mosquitto on 127.0.0.1 with its defaults, which can be restarted at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ports;
use crate::process::Process;
use crate::wall::wait_until;

/// A broker; gone with its guard.
#[derive(Debug)]
pub struct Broker {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    dir: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// Starts one that listens on `port` and keeps nothing on disk (Debian's default is to keep
    /// retained messages and sessions; here a restart forgets them).
    pub fn start(dir: &Path, port: u16) -> Self {
        let mut broker = Self {
            port,
            dir: dir.to_owned(),
            process: None,
        };
        broker.resume();
        broker
    }

    /// Stops it cleanly (SIGTERM).
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Duration::from_secs(10));
        }
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on the same port, with nothing remembered.
    pub fn resume(&mut self) {
        if self.process.is_some() {
            return;
        }
        let config = self.dir.join("mosquitto.conf");
        let text = format!("listener {} 127.0.0.1\nallow_anonymous true\n", self.port);
        fs::write(&config, text).expect("the test's folder takes the broker's configuration");
        let mut command = Command::new(program());
        command.arg("-c").arg(&config);
        let mut process = Process::start("mosquitto", &mut command, &self.dir);
        let port = self.port;
        wait_until("Mosquitto to listen", Duration::from_secs(10), || {
            let ended = process.ended();
            assert!(ended.is_none(), "Mosquitto ended: {}", process.err_text());
            ports::answers(port)
        });
        self.process = Some(process);
    }
}

/// Where Debian puts it is not on every user's path.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("mosquitto"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("mosquitto is not installed; tests/run installs it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_stops_resumes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Broker::start(dir.path(), ports::free());
        let port = broker.port;
        broker.kill();
        assert!(!ports::answers(port));
        broker.resume();
        broker.stop();
        broker.resume();
        assert!(ports::answers(port));
        drop(broker);
        assert!(!ports::answers(port));
    }
}
