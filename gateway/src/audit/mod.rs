//! Audit: an append-only log of every privileged act, which nobody can change unseen.
//!
//! A transparency log in the forms of C2SP: [tlog-tiles], [tlog-checkpoint], [signed-note],
//! [tlog-proof], [tlog-witness] and [tlog-cosignature]. Its trees, proofs and notes are made and
//! checked by the crates `tlog_tiles` and `signed_note`; nothing here computes a proof by itself.
//!
//! Terms: an *entry* says that something was done, by whom and when. The *origin* is the log's
//! name. A *checkpoint* is its size and root hash, signed. A *witness* cosigns checkpoints that
//! continue what it has cosigned before.
//!
//! ```text
//! audit/public-key               the log's name and Ed25519 key, as signed-note spells it
//! audit/checkpoint               the newest checkpoint, signed by the log
//! audit/cosigned/<key id>        the newest checkpoint that a witness has cosigned
//! audit/tile/entries/<N>[.p/<W>] 256 entries (or W): each a big-endian u16 length, then JSON
//! audit/tile/<L>/<N>[.p/<W>]     256 hashes (or W) of level L
//! witness/<hash of origin>.json  what this gateway knows of another's log
//! ```
//!
//! Invariants:
//! - An entry's tiles are durable before the checkpoint that covers them; the checkpoint is
//!   replaced as one. After a cut an entry is in or it is not, and the log verifies.
//! - What lies beyond the checkpoint was never in the log: it is dropped at the next start.
//! - A log that does not verify is never gone on with, and never begun anew.
//! - A witness's knowledge is durable before its cosignature is given away.
//!
//! An act takes effect only behind its entry: what could not be noted is not done. An entry whose
//! act then failed stays, and a person sees both.
//!
//! One owner appends: [`Log`] blocks for some fsyncs. Everything that only reads goes through a
//! [`Snapshot`], also beside a running gateway.
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [signed-note]: https://c2sp.org/signed-note
//! [tlog-proof]: https://c2sp.org/tlog-proof
//! [tlog-witness]: https://c2sp.org/tlog-witness
//! [tlog-cosignature]: https://c2sp.org/tlog-cosignature

pub mod asking;
pub mod copy;
pub mod cosigned;
mod diff;
mod entry;
mod error;
mod keys;
mod log;
pub mod newest;
pub mod proof;
mod snapshot;
mod source;
mod standing;
mod sweep;
mod tiles;
pub mod told;
pub mod verify;
pub mod witness;
mod words;

pub use self::diff::{DIFF_BYTES_MAX, Diff};
pub use self::entry::{Act, ENTRY_BYTES_MAX, Entry, Who};
pub use self::error::AuditError;
pub use self::keys::{KeyUnreadable, LogKey, WitnessKey, WitnessSigner, origin_of};
pub use self::log::{FOLDER, Log};
pub use self::snapshot::{Signed, Snapshot};
pub use self::source::{Folder, Source};
pub use self::standing::{Fingerprint, Standing};

#[cfg(test)]
mod tests;
