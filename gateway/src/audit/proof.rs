//! Proofs: that an entry is in a log, as a text that needs nothing else, in the form of tlog-proof.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 12
//! <base64 hash>            from the entry's neighbour up to the root's child
//! …
//!
//! <checkpoint, as signed>
//! ```

use tlog_tiles::{Hash, check_record, record_hash};

use super::keys::{LogKey, WitnessKey};
use super::snapshot::Signed;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes of a proof: a tree has fewer than 2⁶³ entries.
pub const HASHES_MAX: usize = 63;

/// That an entry is in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// Which entry.
    pub index: u64,
    /// The Merkle inclusion proof.
    pub hashes: Vec<Hash>,
    /// A signed checkpoint.
    pub checkpoint: Vec<u8>,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    /// It is no proof.
    #[error("it is no proof in the form of c2sp.org/tlog-proof: {0}")]
    Malformed(&'static str),
    /// Its checkpoint is not the log's.
    #[error("its checkpoint is not to be trusted: {0}")]
    Checkpoint(String),
    /// The entry is not that one.
    #[error(
        "the entry is not entry {index} of the log that the checkpoint is of: it was changed, or the proof is of another"
    )]
    NotIncluded {
        /// Which the proof is of.
        index: u64,
    },
}

impl Proof {
    /// Spells the proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{FIRST_LINE}\nindex {}\n", self.index).into_bytes();
        bytes.extend(hash_lines(&self.hashes).as_bytes());
        bytes.push(b'\n');
        bytes.extend(&self.checkpoint);
        bytes
    }

    /// Reads a proof; extra data is passed over.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unproved> {
        let (head, checkpoint) =
            split_head(bytes).ok_or(Unproved::Malformed("it has no empty line"))?;
        let mut lines = head.lines().peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(Unproved::Malformed("its first line is another"));
        }
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index
            .and_then(decimal)
            .ok_or(Unproved::Malformed("it has no index"))?;
        let hashes = hashes(lines).ok_or(Unproved::Malformed("a line of it is no hash"))?;
        Ok(Self {
            index,
            hashes,
            checkpoint: checkpoint.to_vec(),
        })
    }

    /// Verifies that an entry, as its bytes, is in the log; gives the checkpoint that says so.
    ///
    /// # Errors
    /// It is not proved.
    pub fn check(
        &self,
        entry: &[u8],
        key: &LogKey,
        witnesses: &[WitnessKey],
    ) -> Result<Signed, Unproved> {
        let signed =
            Signed::read(&self.checkpoint, key, witnesses).map_err(Unproved::Checkpoint)?;
        let (size, root, index) = (signed.size(), signed.root(), self.index);
        check_record(&self.hashes, size, root, index, record_hash(entry))
            .map_err(|_| Unproved::NotIncluded { index })?;
        Ok(signed)
    }
}

/// Takes apart what stands before the first empty line and what stands behind it.
pub(super) fn split_head(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let at = bytes.windows(2).position(|two| two == b"\n\n")?;
    let head = std::str::from_utf8(bytes.get(..at)?).ok()?;
    Some((head, bytes.get(at + 2..)?))
}

/// A number without leading zeroes.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Hashes, a line each.
pub(super) fn hash_lines(hashes: &[Hash]) -> String {
    let mut lines = String::new();
    for hash in hashes {
        lines.push_str(&hash.to_string());
        lines.push('\n');
    }
    lines
}

/// Reads them.
pub(super) fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let hashes = lines.map(|line| Hash::parse_hash(line).ok());
    let hashes: Option<Vec<Hash>> = hashes.collect();
    hashes.filter(|hashes| hashes.len() <= HASHES_MAX)
}
