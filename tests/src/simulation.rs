//! `tidegate simulate` as the tests call it: the firmware library on the host, fed from a trace.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::Process;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The CSV file; the model of a pump when empty.
    pub trace: PathBuf,
    /// Device name.
    pub device: String,
    /// Site name.
    pub site: String,
    /// Port of the broker (or of the link to it) on 127.0.0.1.
    pub port: u16,
    /// `1`, `60` or `max`.
    pub speed: String,
    /// Resolutions by column title; guessed where not given.
    pub resolutions: Vec<(String, String)>,
    /// Column titles; all when empty.
    pub columns: Vec<String>,
    /// Further arguments.
    pub more: Vec<String>,
}

impl Simulation {
    /// The documented call: every column, guessed resolutions, as fast as it goes.
    pub fn new(trace: &Path, device: &str, port: u16) -> Self {
        Self {
            trace: trace.to_owned(),
            device: device.to_owned(),
            site: "pump-house".to_owned(),
            port,
            speed: "max".to_owned(),
            resolutions: Vec::new(),
            columns: Vec::new(),
            more: Vec::new(),
        }
    }

    /// The model of a pump, `devices` of it, for `seconds` of its own time.
    pub fn plant(device: &str, port: u16, devices: u32, seconds: u64) -> Self {
        let more = [
            "--devices",
            &devices.to_string(),
            "--duration",
            &seconds.to_string(),
        ];
        Self {
            more: more.map(str::to_owned).to_vec(),
            ..Self::new(Path::new(""), device, port)
        }
    }

    /// Starts it in `dir`, with progress as JSON lines.
    pub fn start(&self, dir: &Path) -> Process {
        let mut command = Command::new(crate::rig::tidegate());
        command
            .current_dir(dir)
            .arg("simulate")
            .args(["--device", &self.device, "--site", &self.site])
            .args(["--broker", &format!("mqtt://127.0.0.1:{}", self.port)])
            .args(["--speed", &self.speed, "--json"]);
        if !self.trace.as_os_str().is_empty() {
            command.arg("--trace").arg(&self.trace);
        }
        for (name, resolution) in &self.resolutions {
            command.args(["--resolution", &format!("{name}={resolution}")]);
        }
        if !self.columns.is_empty() {
            command.args(["--columns", &self.columns.join(",")]);
        }
        command.args(&self.more);
        Process::start(&format!("simulate-{}", self.device), &mut command, dir)
    }
}

/// The newest progress line of a simulation, if it wrote one.
pub fn progress(process: &Process) -> Option<Value> {
    process
        .out_text()
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
}

/// The stated resolutions of the pump rig's columns.
pub fn stated_resolutions() -> Vec<(String, String)> {
    [
        ("Accelerometer1RMS", "1e-4"),
        ("Accelerometer2RMS", "1e-4"),
        ("Current", "1e-3"),
        ("Pressure", "1e-3"),
        ("Temperature", "1e-2"),
        ("Thermocouple", "1e-2"),
        ("Voltage", "1e-1"),
        ("Volume Flow RateRMS", "1e-2"),
    ]
    .map(|(name, resolution)| (name.to_owned(), resolution.to_owned()))
    .to_vec()
}
