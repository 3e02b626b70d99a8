//! Inspection: reading the store's files as they lie, beside a running gateway or without one.
//!
//! Terms: a *room* is one of the store's three folders of segments and bases: log, spool and
//! journal. A *damaged* batch has a valid one behind it and was therefore durable; what lies
//! behind the last one is *torn*: its write was cut and nobody was told that it happened.
//!
//! Invariants:
//! - Nothing is written but by [`repair`], and nothing is ever removed: what is replaced is kept
//!   in `damaged/` beside.
//! - A file that is recycled while it is read is reported as such, never as damage; the newest
//!   segment is read again until two readings agree.
//!
//! ```text
//! files ──► walk (one segment, batch by batch) ──► check    counts, damage by file and offset
//!                                             └──► entries  JSON and lines for people
//! repair: damaged files aside ──► what every start does ──► bases that cover the loss
//! ```

pub mod check;
pub mod entries;
pub mod files;
pub mod headers;
pub mod repair;
pub mod walk;

mod frames;

#[cfg(test)]
mod tests;

pub use files::Room;

/// Told about long work: bytes done of bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);
