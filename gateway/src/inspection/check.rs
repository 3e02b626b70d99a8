//! Checking every segment and base: what is there, what is damaged, what is missing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::Progress;
use super::entries;
use super::files::{self, BaseFile, Files, Room, SegmentFile};
use super::walk::{Walked, walk};
use crate::disk::Disk;
use crate::identity;
use crate::log::LogError;
use crate::log::base;
use crate::log::bases::read_file;

/// Readings of the newest segment until two must agree.
const READINGS_MAX: usize = 4;

/// What was found in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// Its file.
    pub file: String,
    /// What it holds.
    #[serde(flatten)]
    pub walked: Walked,
    /// Entries whose bytes are as written and cannot be understood: of a newer version.
    pub entries_unreadable: u64,
}

/// What was found in a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseReport {
    /// Its file.
    pub file: String,
    /// Whether its head can be read and says what its name says; without it, it is no base.
    pub readable: bool,
    /// Position of the first entry it does not cover.
    pub position: Option<u64>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Parts that can be read.
    pub parts: u64,
    /// Kind and key of the parts that are damaged.
    pub parts_damaged: Vec<String>,
    /// Damaged parts of which not even that is known.
    pub parts_unnamed: u32,
}

impl BaseReport {
    /// Whether all of it can be read.
    pub fn is_intact(&self) -> bool {
        self.readable && self.parts_damaged.is_empty() && self.parts_unnamed == 0
    }
}

/// What was found in one room.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct RoomReport {
    /// Segments, by prefix and position.
    pub segments: Vec<SegmentReport>,
    /// Bases.
    pub bases: Vec<BaseReport>,
    /// Files that were recycled while they were to be read: no damage.
    pub recycled_meanwhile: u64,
    /// Positions that are in no file and that no base covers: the next start misses them.
    pub missing: Vec<Range<u64>>,
    /// Positions that are in no file, though a base covers them: replay and explain miss them.
    pub missing_before_base: Vec<Range<u64>>,
}

impl RoomReport {
    /// Whether everything durable is there.
    pub fn is_clean(&self) -> bool {
        let segments_whole = self
            .segments
            .iter()
            .all(|one| one.walked.damaged_places == 0 && one.entries_unreadable == 0);
        segments_whole && self.missing.is_empty() && self.bases.iter().all(BaseReport::is_intact)
    }

    /// A sum over its segments.
    pub fn sum(&self, of: impl Fn(&SegmentReport) -> u64) -> u64 {
        self.segments.iter().map(of).sum()
    }
}

/// What was found in a data directory.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing durable is damaged.
    pub clean: bool,
    /// Whether the identity can be read; without it the next start draws another gateway id.
    pub identity_readable: bool,
    /// By room.
    pub rooms: BTreeMap<Room, RoomReport>,
}

/// Checks a data directory.
///
/// # Errors
/// The system cannot read a file; damage is no error.
pub fn check(disk: &Arc<dyn Disk>, progress: Progress<'_>) -> Result<Report, LogError> {
    let mut listed: BTreeMap<Room, Files> = BTreeMap::new();
    for room in Room::ALL {
        listed.insert(room, files::list(&**disk, room)?);
    }
    let total = listed.values().map(Files::bytes).sum();
    let mut done = 0;
    let mut report = Report {
        identity_readable: identity::read(disk).is_some(),
        ..Report::default()
    };
    for (room, files) in listed {
        let mut step = |bytes| {
            done += bytes;
            progress(done, total);
        };
        report
            .rooms
            .insert(room, check_room(disk, room, &files, &mut step)?);
    }
    let rooms_clean = report.rooms.values().all(RoomReport::is_clean);
    report.clean = rooms_clean && report.identity_readable;
    Ok(report)
}

fn check_room(
    disk: &Arc<dyn Disk>,
    room: Room,
    files: &Files,
    step: &mut dyn FnMut(u64),
) -> Result<RoomReport, LogError> {
    let mut report = RoomReport::default();
    for file in &files.bases {
        match check_base(disk, file) {
            Some(base) => report.bases.push(base),
            None => report.recycled_meanwhile += 1,
        }
        step(file.bytes);
    }
    for file in &files.segments {
        match check_segment(disk, file)? {
            Some(segment) => report.segments.push(segment),
            None => report.recycled_meanwhile += 1,
        }
        step(file.bytes);
    }
    find_missing(room, &mut report);
    Ok(report)
}

fn is_gone(disk: &Arc<dyn Disk>, path: &str) -> bool {
    disk.open(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// `None` when it was removed meanwhile.
fn check_base(disk: &Arc<dyn Disk>, file: &BaseFile) -> Option<BaseReport> {
    let read = read_file(&**disk, &file.path).and_then(|bytes| base::decode(&bytes));
    let read = read.filter(|read| file.position.is_none_or(|at| at == read.base.position));
    if read.is_none() && is_gone(disk, &file.path) {
        return None;
    }
    let mut report = BaseReport {
        file: file.path.clone(),
        readable: read.is_some(),
        position: file.position,
        bytes: file.bytes,
        parts: 0,
        parts_damaged: Vec::new(),
        parts_unnamed: 0,
    };
    if let Some(read) = read {
        report.position = Some(read.base.position);
        report.parts = read.base.parts.len() as u64;
        let damaged = read.damaged.iter();
        report.parts_damaged = damaged
            .map(|(kind, key)| format!("{kind} {key:?}"))
            .collect();
        report.parts_unnamed = read.unnamed;
    }
    Some(report)
}

/// `None` when it was recycled meanwhile.
fn check_segment(
    disk: &Arc<dyn Disk>,
    file: &SegmentFile,
) -> Result<Option<SegmentReport>, LogError> {
    let mut last: Option<SegmentReport> = None;
    for _ in 0..READINGS_MAX {
        let report = match read_segment(disk, file) {
            Ok(report) => report,
            Err(_) if is_gone(disk, &file.path) => return Ok(None),
            Err(error) => return Err(error),
        };
        if report.walked.damaged_places == 0 {
            return Ok(Some(report));
        }
        if is_gone(disk, &file.path) {
            return Ok(None);
        }
        // Two readings that agree were not misled by a write in between.
        if last
            .as_ref()
            .is_some_and(|last| last.walked.damaged == report.walked.damaged)
        {
            return Ok(Some(report));
        }
        last = Some(report);
    }
    Ok(last)
}

fn read_segment(disk: &Arc<dyn Disk>, file: &SegmentFile) -> Result<SegmentReport, LogError> {
    let mut entries_unreadable = 0;
    let walked = walk(disk, file, |_, entries| {
        let unreadable = entries.filter(|(_, bytes)| !entries::is_readable(file.room, bytes));
        entries_unreadable += unreadable.count() as u64;
    })?;
    Ok(SegmentReport {
        file: file.path.clone(),
        walked,
        entries_unreadable,
    })
}

/// Sorts what is missing by whether the newest intact base covers it.
fn find_missing(room: Room, report: &mut RoomReport) {
    let bases = report.bases.iter().filter(|base| base.is_intact());
    let covered = bases.filter_map(|base| base.position).max().unwrap_or(0);
    for segment in &report.segments {
        let damaged = segment.walked.damaged.iter().map(|one| one.first..one.end);
        for gap in damaged.chain(segment.walked.missing.clone()) {
            if gap.is_empty() {
                continue;
            }
            // The spool's bases are the journal's: what its queues miss is told by the start.
            if room != Room::Spool && gap.end <= covered {
                report.missing_before_base.push(gap);
            } else {
                report.missing.push(gap);
            }
        }
    }
}
