//! Simulation: the device library itself, on this machine, over real MQTT.
//!
//! A simulated device is what runs on a board: gate, batches, outbox, link and shell of
//! `tidegate-firmware`, over a TCP stream. Only what it samples is made up: rows of a CSV
//! trace, or a small physical model of a plant. The link runs on this machine's time, the samplers on
//! the rows' times, which also are the device's clock. A full outbox holds the rows back, unless
//! asked to behave as a sensor, which cannot wait.
//!
//! ```text
//! rows ─► sampler ─► Device ◄─► shell ─► broker        one such line per device, all on one
//!            └─ paced by wall time, held by has_room   thread; figures are looked at by the bar
//! ```

mod args;
mod column;
mod decimal;
mod device;
mod driver;
mod figures;
mod key;
mod plant;
mod refusal;
mod run;
mod seams;
mod source;
mod state;
#[cfg(test)]
#[cfg(feature = "embedded-broker")]
mod tests;
mod time_text;
mod trace;

pub use args::{BrokerAddress, ColumnValue, SimulateArgs, Speed};
pub use figures::{Figures, Summary};
pub use key::KeyFault;
pub use run::{run, run_until};

use std::io;
use std::path::PathBuf;

use tidegate_shared::ids::NameError;

use crate::sinks::tls::TlsError;

/// Why a simulation did not begin, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The site or a device's name cannot be a name.
    #[error("{text:?} cannot be a name: {source}; nothing was sent")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// Site and device make a longer client id than the device's MQTT client takes.
    #[error(
        "site and device {device:?} make a client id of {bytes} bytes, a device's MQTT client takes \
         {bytes_max}; nothing was sent, choose shorter names"
    )]
    NamesTooLong {
        /// The device.
        device: String,
        /// Bytes of its client id.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// The files for TLS cannot be used.
    #[error("{0}; nothing was sent")]
    Tls(#[from] TlsError),
    /// The trace cannot be opened or read.
    #[error("the trace {} cannot be read", path.display())]
    TraceUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A row of the trace is not CSV.
    #[error("line {line} of the trace {} is not a row of the table", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Its line, counted from 1.
        line: u64,
        /// What the reader said.
        source: csv::Error,
    },
    /// No column of the trace holds times.
    #[error(
        "the trace {} has no column of times that is known here (YYYY-MM-DD HH:MM:SS, RFC 3339, \
         seconds or milliseconds since 1970); name it with --time-column",
        path.display()
    )]
    NoTime {
        /// The file.
        path: PathBuf,
    },
    /// A cell of the time column is not a time.
    #[error("line {line} of the trace: {text:?} is not a time; rows before it were sent")]
    Time {
        /// Line in the file, counted from 1.
        line: u64,
        /// What stands there.
        text: String,
    },
    /// A column was named that the trace does not have.
    #[error("the trace has no column {name:?}; it has {}", known.join(", "))]
    NoColumn {
        /// The name given.
        name: String,
        /// What the trace has.
        known: Vec<String>,
    },
    /// A column that was asked for holds text.
    #[error("column {name:?} is not numeric: line {line} has {text:?}; leave it out of --columns")]
    NotNumeric {
        /// The column.
        name: String,
        /// Line in the file, counted from 1.
        line: u64,
        /// What stands there.
        text: String,
    },
    /// No column is left to send.
    #[error("the trace {} has no numeric column beside the time", path.display())]
    NoSensors {
        /// The file.
        path: PathBuf,
    },
    /// More columns than a device has sensors.
    #[error(
        "{columns} numeric columns are more than the {columns_max} sensors of a device; choose with --columns"
    )]
    TooManyColumns {
        /// Numeric columns.
        columns: usize,
        /// Sensors of a device.
        columns_max: usize,
    },
    /// A unit is too long for a catalog.
    #[error("the unit {unit:?} is longer than {bytes_max} bytes")]
    Unit {
        /// What was given.
        unit: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The state file cannot be read or written.
    #[error("the state file {} cannot be used; nothing was sent", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state file is not one of ours.
    #[error("the state file {} is not one: {source}; nothing was sent, give another file", path.display())]
    StateContent {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// The file of the key cannot be read.
    #[error("the key file {} cannot be read; nothing was sent", path.display())]
    KeyUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file gives this device no key.
    #[error("the key file {} cannot be used: {source}; nothing was sent", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFault,
    },
    /// The system gave no random numbers, signals or output.
    #[error("the system refused what a simulation needs")]
    System {
        /// What it said.
        source: io::Error,
    },
    /// A second signal came before everything was acked.
    #[error(
        "ended before the gateway had acked everything: {frames} frames of {devices} devices were \
         still waiting, and are lost with this process"
    )]
    NotDrained {
        /// Frames not acked.
        frames: u64,
        /// Devices that were not done.
        devices: usize,
    },
}
