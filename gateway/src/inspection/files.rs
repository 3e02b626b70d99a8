//! Files: which segments and bases a data directory has.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::Serialize;

use crate::disk::Disk;
use crate::log::LogError;
use crate::log::bases::STOPS;
use crate::log::segments::Segment;

/// A folder of segments and bases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Room {
    /// What happened.
    Log,
    /// What waits for the sinks.
    Spool,
    /// What left the spool.
    Journal,
}

impl Room {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Log, Self::Spool, Self::Journal];

    /// Its folder in the data directory.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Spool => "spool",
            Self::Journal => "journal",
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

impl FromStr for Room {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|room| room.folder() == text);
        found.ok_or_else(|| "write log, spool or journal".to_owned())
    }
}

/// A segment's file, from its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// Where it is, relative to the data directory.
    pub path: String,
    /// In which room.
    pub room: Room,
    /// What its name begins with: the queue of a spool's segment.
    pub prefix: String,
    /// Counts the segments of this prefix.
    pub number: u64,
    /// First position it may hold.
    pub first: u64,
    /// Position that the next file of this prefix begins with; `None` for the newest.
    pub limit: Option<u64>,
    /// Whether files that stood before the next one are gone: recycled, or lost.
    pub limit_is_far: bool,
    /// Incarnation of its batches.
    pub incarnation: u32,
    /// Length.
    pub bytes: u64,
}

/// A base's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFile {
    /// Where it is, relative to the data directory.
    pub path: String,
    /// In which room.
    pub room: Room,
    /// The position in its name; `None` for the base of a clean stop.
    pub position: Option<u64>,
    /// Length.
    pub bytes: u64,
}

/// What a data directory has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Files {
    /// Segments by room, prefix and position.
    pub segments: Vec<SegmentFile>,
    /// Bases by room, those of clean stops last.
    pub bases: Vec<BaseFile>,
}

impl Files {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|file| file.bytes);
        segments
            .chain(self.bases.iter().map(|file| file.bytes))
            .sum()
    }
}

/// Lists the files of a room.
///
/// # Errors
/// The folder, or a file in it, cannot be read.
pub fn list(disk: &dyn Disk, room: Room) -> Result<Files, LogError> {
    let folder = room.folder();
    let failed = |error| LogError::read(folder, error);
    let mut files = Files::default();
    for name in disk.list(folder).map_err(failed)? {
        let path = format!("{folder}/{name}");
        let bytes = match disk.open(&path).and_then(|file| file.bytes()) {
            Ok(bytes) => bytes,
            // A file that went since the listing was recycled.
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            Err(why) => return Err(LogError::read(&path, why)),
        };
        if let Some((prefix, segment)) = Segment::parse(&name)
            && segment.name(prefix) == name
        {
            files.segments.push(SegmentFile {
                path,
                room,
                prefix: prefix.to_owned(),
                number: segment.number,
                first: segment.first,
                limit: None,
                limit_is_far: false,
                incarnation: segment.incarnation,
                bytes,
            });
            continue;
        }
        let position = base_position(&name);
        if position.is_some() || STOPS.contains(&name.as_str()) {
            files.bases.push(BaseFile {
                path,
                room,
                position,
                bytes,
            });
        }
    }
    order(&mut files);
    Ok(files)
}

/// The position in a base's name; `None` for that of a clean stop and for other files.
fn base_position(name: &str) -> Option<u64> {
    name.strip_prefix("base-")?.parse().ok()
}

fn order(files: &mut Files) {
    files
        .bases
        .sort_by_key(|base| (base.position.is_none(), base.position));
    let key = |file: &SegmentFile| (file.prefix.clone(), file.first, file.number);
    files.segments.sort_by_key(key);
    for at in 1..files.segments.len() {
        let (before, rest) = files.segments.split_at_mut(at);
        let (Some(this), Some(next)) = (before.last_mut(), rest.first()) else {
            continue;
        };
        if this.prefix == next.prefix {
            this.limit = Some(next.first);
            this.limit_is_far = next.number != this.number + 1;
        }
    }
}
