//! Reload: another configuration for a gateway that runs, without I/O or clock.
//!
//! Terms: *in force* is the configuration that holds; a file is *taken*, *refused* or found to say
//! the *same*. [`crate::run`] reads the file and owns the watch, the signal and the socket.
//!
//! ```text
//! text ─parse─► settings ─judge against those in force─┬─► same: nothing is written
//!   │ mistakes               │ needs a restart         └─► change ─► conductor ─► in force
//!   └────────────────────────┴─► refused: nothing changes
//! ```
//! Invariants: a file is taken whole or not at all; one that is refused changes nothing, and why
//! is told; what holds is what the log holds.

mod change;
mod debounce;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use change::{Change, Judgement, judge};
pub use debounce::{Debounce, LATEST_US, QUIET_US};

use crate::causes;
use crate::rules::settings::Settings;
use crate::rules::{Mistake, Severity, parse};

/// Hex digits of a configuration's hash that are shown.
const HASH_DIGITS: usize = 12;

/// What names a configuration: the first 12 hex digits of its file's SHA-256, as `sha256sum`
/// prints it.
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    let mut shown: String = digits.collect();
    shown.truncate(HASH_DIGITS);
    shown
}

/// What became of a configuration that was to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is in force.
    Taken {
        /// Its hash.
        hash: String,
        /// What changed, a line each.
        changes: Vec<String>,
    },
    /// It says what is in force already: nothing was written.
    Same {
        /// Its hash.
        hash: String,
    },
    /// It is not taken: what was in force still is.
    Refused(Refusal),
    /// It is right and will be in force once its entries are on disk, which takes long; or the
    /// one before it is that far.
    Pending,
}

/// Why a configuration is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its hash; absent when it could not be read.
    pub hash: Option<String>,
    /// Why, and what to do, in a sentence.
    pub why: String,
    /// Each mistake, or each key that needs a restart.
    pub places: Vec<String>,
}

impl Refusal {
    /// It cannot be read.
    pub fn unreadable(file: &Path, error: &io::Error) -> Self {
        let file = file.display();
        let why = causes::told(error);
        Self {
            hash: None,
            why: format!("{file} cannot be read: {why}"),
            places: Vec::new(),
        }
    }

    /// It has mistakes.
    fn mistaken(file: &str, hash: String, findings: &[Mistake]) -> Self {
        let mistakes = findings.iter();
        let mistakes = mistakes.filter(|one| one.severity == Severity::Mistake);
        let places: Vec<String> = mistakes.map(Mistake::to_string).collect();
        let many = match places.len() {
            1 => "a mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        Self {
            hash: Some(hash),
            why: format!("{file} has {many}: correct it; `tidegate check {file}` shows each"),
            places,
        }
    }

    /// Says it in the log beside the hash of what stays in force. A person is needed: who saved it
    /// believes that it is in force.
    pub fn log(&self, in_force: &str) {
        tracing::error!(
            hash = self.hash,
            in_force,
            places = self.places.join("; "),
            "the configuration is refused and nothing changes: {}",
            self.why
        );
    }

    /// It changes what only a start can.
    fn needs_restart(file: &str, hash: String, keys: Vec<String>) -> Self {
        Self {
            hash: Some(hash),
            why: format!(
                "{file} changes what takes a restart, so nothing of it is taken: restart the \
                 gateway, or undo these changes"
            ),
            places: keys,
        }
    }
}

/// Reads a text as `tidegate check` does and judges it against what is in force.
///
/// # Errors
/// It is not to be taken.
pub fn examine(
    text: &str,
    file: &str,
    in_force: &Settings,
) -> Result<(Settings, Option<Change>), Refusal> {
    match parse(text, file) {
        Err(findings) => Err(Refusal::mistaken(file, hash(text), &findings)),
        Ok((settings, _)) => match judge(in_force, &settings) {
            Judgement::NeedsRestart(keys) => Err(Refusal::needs_restart(file, hash(text), keys)),
            Judgement::Same => Ok((settings, None)),
            Judgement::Takes(change) => Ok((settings, Some(change))),
        },
    }
}

/// Which configuration is in force, and what became of the others since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The file.
    pub file: String,
    /// Hash of the text that says what is in force.
    pub hash: String,
    /// Since when, by the gateway's clock, RFC 3339: its start or the last reload.
    pub since: String,
    /// Configurations taken since the start.
    pub reloads: u64,
    /// Configurations refused since the start.
    pub refusals: u64,
    /// Whether another is right and waits for its entries to be on disk.
    pub pending: bool,
    /// The last one refused.
    pub refused: Option<Refused>,
}

/// A configuration that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When, by the gateway's clock, RFC 3339.
    pub at: String,
    /// Whether the file still is that one, as far as is known.
    pub is_current: bool,
    /// Why.
    #[serde(flatten)]
    pub refusal: Refusal,
}
