//! Control: a Unix socket on which commands ask the running gateway.
//!
//! `control.sock` lies in the data directory and belongs to its owner alone (mode 0600): whoever
//! may open it may ask, so nothing asks for a password.
//!
//! # Format
//! A request is one line of JSON, a response is one line of JSON; a connection carries as many as
//! the client likes, one after the other.
//!
//! ```text
//! → {"command":"ledger"}
//! ← {"ok":{"devices":{…}}}        the answer
//! → {"command":"status"}
//! ← {"ok":{"works_as_usual":true,…}}
//! → {"command":"reload"}
//! ← {"ok":{"outcome":"taken",…}}
//! → {"command":"resume","about":"cloud"}
//! ← {"ok":{"phase":"circuit-open",…}}
//! → {"command":"devices","about":{"match":"pump-*","limit":50}}
//! ← {"ok":{"total":3,"offset":0,"devices":[…]}}
//! → {"command":"tap","about":{"device":"pump-*"}}
//! ← {"ok":"tapped"}               from here on a line for each sample and record that flows by
//! ← {"sample":{…}}
//! ← {"record":{…}}
//! ← {"missed":120}                so many were not told: the client is too slow
//! ← {"error":"…"}                 what went wrong, for a person; the connection stays usable
//! ```
//!
//! A tap ends with its connection: when the client closes it or writes anything, when it takes
//! nothing for [`TAP_STUCK_MAX`], or when the gateway stops.
//!
//! Fields that a side does not know are ignored; a command that it does not know is refused by
//! name.
//!
//! # Limits
//! | limit | default | why | at the limit |
//! |---|---|---|---|
//! | [`REQUEST_BYTES_MAX`] | 4 KiB | commands are short | refused, connection closed, counted |
//! | [`RESPONSE_BYTES_MAX`] | 64 MiB | the ledger of 10,000 devices is about 20 MB | refused by both sides |
//! | [`CONNECTIONS_MAX`] | 8 | each may hold a whole ledger | refused as busy, counted |
//! | [`EXCHANGE_MAX`] | 10 s | a stuck client must not hold a place | connection closed, counted |
//! | [`TAPS_MAX`] | 4 | half of the connections stay for commands | refused as busy, counted |
//! | [`TAP_STUCK_MAX`] | 60 s | whoever reads may pause | connection closed, counted |

mod client;
mod server;
mod tapping;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dead_letters;
use crate::plant::{Selection, TapFilter};
use crate::registry;

pub use self::client::{AskError, Tapped, Tick, ask, tap};
pub use self::server::{Control, ControlError, Counts, Handler, Meter};

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
/// Most bytes of a request line.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;
/// Most bytes of a response line.
pub const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// Most connections at a time.
pub const CONNECTIONS_MAX: usize = 8;
/// Longest time a connection may be silent, and longest time an answer may take to be made or to
/// be taken.
pub const EXCHANGE_MAX: Duration = Duration::from_secs(10);

/// Most taps at a time.
pub const TAPS_MAX: u64 = 4;
/// Longest time that a tap's client may take nothing.
pub const TAP_STUCK_MAX: Duration = Duration::from_mins(1);

/// What can be asked; a request is this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "about", rename_all = "kebab-case")]
pub enum Command {
    /// Every counter by reason.
    Ledger,
    /// What keeps the gateway from working as usual, its sinks, its limits.
    Status,
    /// To read the configuration again and take it, if it is right.
    Reload,
    /// A sink's dead letters: to list, show, resend or drop.
    DeadLetters(dead_letters::Order),
    /// To try a sink at once whose receiver was mended: the sink's name.
    Resume(String),
    /// What was sent, month by month, and where the budget stands.
    Bill,
    /// The gateway and its plant without the devices.
    Overview,
    /// Devices with their sensors.
    Devices(Selection),
    /// Devices and their keys: to list, add, rotate, revoke and the like.
    Device(registry::Order),
    /// Samples and records as they flow, a line each, until the connection is closed.
    Tap(TapFilter),
}

impl Command {
    /// Every command's name.
    pub const NAMES: [&str; 10] = [
        "ledger",
        "status",
        "reload",
        "dead-letters",
        "resume",
        "bill",
        "overview",
        "devices",
        "device",
        "tap",
    ];
}

/// As much of a request as tells an unknown command from a mistaken one.
#[derive(Debug, Deserialize)]
struct Named {
    command: String,
}

/// A response as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Response {
    Ok(Value),
    Error(String),
}

/// Where the socket of a data directory is.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

#[cfg(test)]
mod tests;
