//! Repair: what a start does with a damaged store, made durable and explained.
//!
//! ```text
//! 1. segments with damaged batches: the file is copied to damaged/, what is valid of it written
//!    to a new file, which takes its name
//! 2. bases that cannot be read: moved to damaged/
//! 3. the store is opened as by a start; what the queues lost is found by reading them through
//! 4. bases are written that cover the loss: the next start finds nothing to complain of
//! ```
//! Invariants: nothing is removed; a name never leads to half a file; what goes wrong in between
//! leaves files that a start salvages as before. Run over an
//! [`OverlayDisk`](crate::disk::overlay::OverlayDisk) it tells what it would do.

use std::sync::Arc;

use serde::Serialize;

use super::Progress;
use super::check::{BaseReport, Report, check};
use super::files::{self, Room, SegmentFile};
use super::walk::walk;
use crate::disk::Disk;
use crate::log::LogError;
use crate::rules::settings::Settings;
use crate::store::{OpenReport, Store, StoreError};
use crate::time::Timestamp;

/// Where damaged files are kept.
pub const ASIDE: &str = "damaged";
const DRAFT: &str = "salvage.tmp";
/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// Why a repair ended early. What it did so far a start understands.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The system cannot read or write.
    #[error(
        "{path} could not be repaired: nothing was removed, damaged files are in {ASIDE}/; check the disk and its space"
    )]
    Disk {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store could not be opened.
    #[error("the store could not be opened; nothing was removed")]
    Store(#[from] StoreError),
}

/// One thing done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub enum Step {
    /// A segment was copied aside and written anew without its damaged batches.
    Salvaged {
        /// The segment.
        file: String,
        /// Where the damaged one is kept.
        kept_as: String,
        /// Entries that are in the new file.
        entries: u64,
        /// Entries that are not: lost.
        entries_lost: u64,
    },
    /// A base that is none was moved aside; another is used.
    MovedAside {
        /// The base.
        file: String,
        /// Where it is kept.
        kept_as: String,
    },
    /// Bases were written that cover what is lost.
    Covered {
        /// Entries that a start would have missed.
        entries_lost: u64,
        /// Records lost in the queues.
        records_lost: u64,
        /// Parts of the state that are lost, as kind and key.
        parts_lost: Vec<String>,
    },
    /// No base was written: the state that record ids count from is lost, and only a start can
    /// begin them anew. It salvages the same, and says so.
    LeftToStart {
        /// Entries that the start will miss.
        entries_lost: u64,
    },
}

/// What was found and done.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// What was found first.
    pub found: Report,
    /// What was done, in order; empty when the store was clean.
    pub steps: Vec<Step>,
}

/// Repairs a store that no gateway runs on. `drawn` is the log incarnation where none is left.
///
/// # Errors
/// The disk refused.
pub fn repair(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    drawn: u32,
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<Repaired, RepairError> {
    let found = check(disk, progress)?;
    let mut steps = Vec::new();
    if found.rooms.values().all(super::check::RoomReport::is_clean) {
        return Ok(Repaired { found, steps });
    }
    for (room, report) in &found.rooms {
        let listed = files::list(&**disk, *room)?;
        for segment in report
            .segments
            .iter()
            .filter(|one| one.walked.damaged_places > 0)
        {
            if let Some(file) = listed
                .segments
                .iter()
                .find(|file| file.path == segment.file)
            {
                let lost = segment
                    .walked
                    .damaged
                    .iter()
                    .map(|one| one.end - one.first)
                    .sum();
                steps.push(salvage(disk, file, lost)?);
            }
        }
        let another = report.bases.iter().any(BaseReport::is_intact);
        for base in &report.bases {
            // One that can be read in part is better than none.
            if !base.readable || (!base.is_intact() && another) {
                steps.push(move_aside(disk, *room, &base.file)?);
            }
        }
    }
    steps.push(cover(disk, settings, drawn, now)?);
    Ok(Repaired { found, steps })
}

fn failed(path: &str) -> impl Fn(std::io::Error) -> RepairError + '_ {
    move |source| RepairError::Disk {
        path: path.to_owned(),
        source,
    }
}

/// A free name in `damaged/` for a file.
fn aside(disk: &dyn Disk, path: &str) -> Result<String, RepairError> {
    disk.create_dir(ASIDE).map_err(failed(ASIDE))?;
    let taken = disk.list(ASIDE).map_err(failed(ASIDE))?;
    let plain = path.replace('/', ".");
    let numbered = (1_u32..).map(|number| format!("{plain}.{number}"));
    let free = numbered.into_iter().find(|name| !taken.contains(name));
    Ok(format!("{ASIDE}/{}", free.unwrap_or(plain)))
}

fn move_aside(disk: &Arc<dyn Disk>, room: Room, path: &str) -> Result<Step, RepairError> {
    let kept_as = aside(&**disk, path)?;
    disk.rename(path, &kept_as)
        .and_then(|()| disk.sync_dir(ASIDE))
        .and_then(|()| disk.sync_dir(room.folder()))
        .map_err(failed(path))?;
    Ok(Step::MovedAside {
        file: path.to_owned(),
        kept_as,
    })
}

/// Copies a segment aside, then puts a file with its valid batches in its place.
fn salvage(
    disk: &Arc<dyn Disk>,
    segment: &SegmentFile,
    entries_lost: u64,
) -> Result<Step, RepairError> {
    let path = &segment.path;
    let kept_as = aside(&**disk, path)?;
    copy(&**disk, path, &kept_as, 0, segment.bytes).map_err(failed(path))?;
    disk.sync_dir(ASIDE).map_err(failed(ASIDE))?;
    let mut batches = Vec::new();
    let walked = walk(disk, segment, |batch, _| {
        batches.push((batch.offset, batch.bytes));
    })?;
    let draft = format!("{}/{DRAFT}", segment.room.folder());
    let write = || {
        // As long as before: the file is recycled by its length. A batch's check covers the
        // segment's number and not its place in the file.
        let to = disk.create(&draft, segment.bytes)?;
        let from = disk.open(path)?;
        let mut at = 0;
        for &(offset, bytes) in &batches {
            let mut batch = vec![0; usize::try_from(bytes).unwrap_or(0)];
            let read = from.read_at(offset, &mut batch)?;
            to.write_at(at, &batch[..read])?;
            at += bytes;
        }
        to.sync()?;
        disk.rename(&draft, path)?;
        disk.sync_dir(segment.room.folder())
    };
    write().map_err(failed(path))?;
    Ok(Step::Salvaged {
        file: path.clone(),
        kept_as,
        entries: walked.entries,
        entries_lost,
    })
}

fn copy(disk: &dyn Disk, from: &str, to: &str, begin: u64, end: u64) -> std::io::Result<()> {
    let (from, to) = (disk.open(from)?, disk.create(to, 0)?);
    let mut piece = vec![0; COPY_BYTES];
    let mut at = begin;
    while at < end {
        let read = from.read_at(at, &mut piece)?;
        if read == 0 {
            break;
        }
        to.write_at(at, &piece[..read])?;
        at += read as u64;
    }
    to.sync()
}

/// Opens the store as a start does, finds what its queues lost, and writes bases behind it all.
fn cover(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    drawn: u32,
    now: Timestamp,
) -> Result<Step, RepairError> {
    let (mut store, report) = Store::open(disk, settings, drawn, now)?;
    if report.ids_begin_anew {
        return Ok(Step::LeftToStart {
            entries_lost: report.recovery.entries_lost,
        });
    }
    let records_lost = store.find_losses()?;
    store.stop(now)?;
    let OpenReport {
        recovery,
        spool,
        mut parts_lost,
        ..
    } = report;
    let damaged = recovery.parts_damaged.iter();
    parts_lost.extend(damaged.map(|(kind, key)| format!("{kind} {key:?}")));
    Ok(Step::Covered {
        entries_lost: recovery.entries_lost,
        records_lost: spool.records_lost + records_lost,
        parts_lost,
    })
}
