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
//! ← {"error":"…"}                 what went wrong, for a person; the connection stays usable
//! ```
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

mod client;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dead_letters;

pub use self::client::{AskError, ask};
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
}

impl Command {
    /// Every command's name.
    pub const NAMES: [&str; 6] = [
        "ledger",
        "status",
        "reload",
        "dead-letters",
        "resume",
        "bill",
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
