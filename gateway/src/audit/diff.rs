//! Diffs of rules, bounded: a longer one is cut and says so, with the hash of the whole.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Most bytes of a diff as they stand in an entry's JSON; the rest is for the entry's other fields.
pub const DIFF_BYTES_MAX: usize = 60_000;

/// How two texts differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The diff, or how it begins.
    pub text: String,
    /// What was cut off.
    pub cut: Option<Cut>,
}

/// The whole that a diff was cut from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

impl Diff {
    /// Takes a diff, as much of it as fits.
    pub fn new(whole: &str) -> Self {
        let end = end_within(whole, DIFF_BYTES_MAX);
        let cut = (end < whole.len()).then(|| Cut {
            bytes: whole.len() as u64,
            sha256: hex(&Sha256::digest(whole.as_bytes())),
        });
        Self {
            text: whole[..end].to_owned(),
            cut,
        }
    }
}

/// Where a text has to end for its JSON to have at most so many bytes.
fn end_within(text: &str, bytes_max: usize) -> usize {
    let mut bytes = 0;
    for (at, sign) in text.char_indices() {
        bytes += match sign {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            other => other.len_utf8(),
        };
        if bytes > bytes_max {
            return at;
        }
    }
    text.len()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
