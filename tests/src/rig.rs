//! A rig: a folder of its own with a configuration, a broker, a receiver, and the gateway that is
//! started in it as often as a test likes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::ports::{self, BROKER_PORT, RECEIVER_PORT};
use crate::process::{Finished, Process};
use crate::receiver::{Mood, Receiver};

/// The documented configuration, word for word.
pub const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
compress = "none"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s" }
aggregate = ["count", "min", "max", "mean", "sum", "first", "last", "stddev", "p50", "p95"]
forward = ["cloud"]
"#;

/// Longest time any short command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A folder, a broker and a receiver.
#[derive(Debug)]
pub struct Rig {
    /// The broker.
    pub broker: Broker,
    /// The receiver.
    pub receiver: Receiver,
    /// The folder; last, so that it goes last.
    pub dir: TempDir,
}

impl Rig {
    /// One on the documented ports; hold [`ports::FixedPorts`].
    pub fn documented() -> Self {
        Self::new(CONFIGURATION, BROKER_PORT, RECEIVER_PORT)
    }

    /// One on free ports, with a configuration that names the documented ones.
    pub fn free(configuration: &str) -> Self {
        Self::new(configuration, ports::free(), ports::free())
    }

    fn new(configuration: &str, broker_port: u16, receiver_port: u16) -> Self {
        let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
        let text = configuration
            .replace(&BROKER_PORT.to_string(), &broker_port.to_string())
            .replace(&RECEIVER_PORT.to_string(), &receiver_port.to_string());
        fs::write(dir.path().join("tidegate.toml"), text).expect("the folder takes a file");
        Self {
            broker: Broker::start(dir.path(), broker_port),
            receiver: Receiver::start(receiver_port, Mood::Prompt),
            dir,
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts `tidegate run`, with further environment variables.
    pub fn gateway(&self, environment: &[(&str, &str)]) -> Process {
        self.gateway_by("tidegate.toml", environment)
    }

    /// As [`Self::gateway`], by another configuration in the folder.
    pub fn gateway_by(&self, configuration: &str, environment: &[(&str, &str)]) -> Process {
        let mut command = Command::new(tidegate());
        command
            .current_dir(self.path())
            .args(["run", "--config", configuration])
            .envs(environment.iter().copied());
        Process::start("gateway", &mut command, self.path())
    }

    /// Runs a short `tidegate` command in the folder.
    pub fn command(&self, arguments: &[&str]) -> Finished {
        command(self.path(), arguments)
    }

    /// The ledger, of the running gateway or of its files.
    pub fn ledger(&self) -> Value {
        let finished = self.command(&["ledger", "--config", "tidegate.toml", "--json"]);
        assert!(
            finished.status.success(),
            "tidegate ledger failed: {}{}",
            finished.out,
            finished.err
        );
        serde_json::from_str(&finished.out)
            .unwrap_or_else(|error| panic!("the ledger is not JSON: {error}: {}", finished.out))
    }
}

/// Runs a short `tidegate` command in a folder.
pub fn command(dir: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(tidegate());
    command.current_dir(dir).args(arguments);
    Process::run("tidegate", &mut command, dir, COMMAND_LIMIT)
}

/// The release binary: `TIDEGATE_BIN`, or where cargo puts it.
pub fn tidegate() -> PathBuf {
    let path = std::env::var_os("TIDEGATE_BIN").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            let target = target.unwrap_or_else(|| repository().join("target"));
            target.join("release/tidegate")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} does not exist; tests/run builds it",
        path.display()
    );
    path
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests' package lies in the repository")
        .to_owned()
}
