//! A real Mosquitto on 127.0.0.1, with its defaults or behind a [`Door`], which can be restarted at
//! any time.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ports;
use crate::process::Process;
use crate::servers::{Door, PASSWORD, USER, program};
use crate::wall::wait_until;

/// A broker; gone with its guard.
#[derive(Debug)]
pub struct Broker {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    dir: PathBuf,
    door: Door,
    keeps: bool,
    process: Option<Process>,
}

impl Broker {
    /// Starts one that listens on `port` and keeps nothing on disk (Debian's default is to keep
    /// retained messages and sessions; here a restart forgets them).
    pub fn start(dir: &Path, port: u16) -> Self {
        Self::start_behind(dir, port, &Door::default())
    }

    /// As [`Self::start`], behind a door.
    pub fn start_behind(dir: &Path, port: u16, door: &Door) -> Self {
        Self::open(dir, port, door, false)
    }

    /// As [`Self::start_behind`], but with retained messages and sessions kept in `dir` from each
    /// [`Self::stop`] on. A kill forgets those since: Mosquitto saves at its end and every 30 min.
    pub fn start_keeping(dir: &Path, port: u16, door: &Door) -> Self {
        Self::open(dir, port, door, true)
    }

    fn open(dir: &Path, port: u16, door: &Door, keeps: bool) -> Self {
        let mut broker = Self {
            port,
            dir: dir.to_owned(),
            door: door.clone(),
            keeps,
            process: None,
        };
        if door.login {
            broker.write_passwords();
        }
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

    /// Starts it again on the same port, with what it kept.
    pub fn resume(&mut self) {
        if self.process.is_some() {
            return;
        }
        let config = self.dir.join("mosquitto.conf");
        let text = self.configuration();
        fs::write(&config, text).expect("the test's folder takes the broker's configuration");
        let mut command = Command::new(program("mosquitto"));
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

    /// What it wrote to stderr so far, over all its starts.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("mosquitto.err")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn configuration(&self) -> String {
        let mut text = format!("listener {} 127.0.0.1\n", self.port);
        let _ = writeln!(text, "allow_anonymous {}", !self.door.login);
        if let Some(tls) = &self.door.tls {
            let (certificate, key) = (tls.certificate.display(), tls.key.display());
            let _ = writeln!(text, "certfile {certificate}\nkeyfile {key}");
            if let Some(clients) = &self.door.clients {
                let authority = clients.authority.display();
                let _ = writeln!(text, "cafile {authority}\nrequire_certificate true");
            }
        }
        if self.door.login {
            let _ = writeln!(text, "password_file {}", self.passwords().display());
        }
        if self.keeps {
            let dir = self.dir.display();
            let _ = writeln!(text, "persistence true\npersistence_location {dir}/");
        }
        if self.keeps || self.door.login || self.door.tls.is_some() {
            // Started by root it becomes another user otherwise, who cannot read the test's files.
            text.push_str("user root\n");
        }
        text
    }

    fn passwords(&self) -> PathBuf {
        self.dir.join("mosquitto.passwords")
    }

    fn write_passwords(&self) {
        let mut command = Command::new(program("mosquitto_passwd"));
        command.args(["-c", "-b"]).arg(self.passwords());
        command.args([USER, PASSWORD]);
        let limit = Duration::from_secs(10);
        let finished = Process::run("mosquitto_passwd", &mut command, &self.dir, limit);
        assert!(finished.status.success(), "{}", finished.err);
    }
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
