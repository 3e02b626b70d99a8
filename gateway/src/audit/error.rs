//! Errors of the audit log.

use std::io;

use super::ENTRY_BYTES_MAX;

/// Why the audit log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refused.
    #[error("the audit log's {path} cannot be {to_be}; what was in the log before still is")]
    Io {
        /// The file or folder.
        path: String,
        /// `read` or `written`.
        to_be: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// There is no log.
    #[error("there is no audit log: no {path}")]
    NoLog {
        /// Its checkpoint.
        path: String,
    },
    /// A log was to be made where one is.
    #[error("there is an audit log already: {path} stands; nothing was changed")]
    Exists {
        /// What stands.
        path: String,
    },
    /// There are tiles, and no checkpoint over them.
    #[error(
        "the audit log has entries in {path} and no checkpoint: it was removed, and none is begun over it; put the folder back from a copy, or move it away whole and keep it as evidence"
    )]
    CheckpointGone {
        /// Where the entries are.
        path: String,
    },
    /// The checkpoint is not one of this log.
    #[error(
        "{path} is not a checkpoint of this audit log: {why}; nothing was changed. Compare it with a copy or with what a witness has, and put back the file that is right"
    )]
    Checkpoint {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The key is another.
    #[error(
        "the audit log is signed by another key than the one given: {path} names {named}; nothing was changed. Put back the key that belongs to it"
    )]
    OtherKey {
        /// The file.
        path: String,
        /// Whom it names.
        named: String,
    },
    /// A tile that the checkpoint covers is not there.
    #[error(
        "{path} is missing, and the checkpoint says that it is there: a part of the audit log was removed; put it back from a copy"
    )]
    TileMissing {
        /// The file.
        path: String,
    },
    /// A tile does not fit the checkpoint.
    #[error(
        "{path} does not fit the checkpoint: {why}; the audit log was damaged or changed. tidegate audit verify names the first entry; put the file back from a copy"
    )]
    TileWrong {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The tiles do not give the checkpoint's root hash.
    #[error(
        "the audit log's hash tiles do not give the root hash of its checkpoint: one of them was damaged or changed; tidegate audit verify names it"
    )]
    Inconsistent,
    /// There is no such entry or size.
    #[error("the audit log has {size} entries, which does not reach {asked}")]
    Beyond {
        /// How many there are.
        size: u64,
        /// What was asked for.
        asked: u64,
    },
    /// An entry is too large.
    #[error("an audit entry of {bytes} bytes exceeds {ENTRY_BYTES_MAX}: it was not written")]
    EntryTooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// An entry cannot be spelt.
    #[error("an audit entry was not written: {why}")]
    EntryUnwritable {
        /// Why.
        why: String,
    },
    /// An entry cannot be understood.
    #[error("entry {index} of the audit log cannot be understood: {why}")]
    EntryUnreadable {
        /// Which.
        index: u64,
        /// Why.
        why: String,
    },
    /// Something that was brought to be read is not what it should be.
    #[error("{what} cannot be used: {why}; nothing was changed")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A key text.
    #[error(transparent)]
    Key(#[from] super::KeyUnreadable),
}
