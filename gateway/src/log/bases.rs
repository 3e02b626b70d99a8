//! The bases of a log as files: which there are, which to begin from, and writing the next.

use std::cmp::Reverse;
use std::sync::Arc;

use super::base::{self, ReadBase};
use super::{Base, LogError};
use crate::disk::Disk;

/// Bases kept at least: a damaged one has another behind it.
const BASES_MIN: usize = 2;
/// Names of the bases of clean stops.
pub(crate) const STOPS: [&str; 2] = ["stop-a", "stop-b"];
const DRAFT: &str = "base.tmp";
/// Bytes of a base written at a time.
const WRITE_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
struct BaseFile {
    position: u64,
    bytes: u64,
}

/// A file that may hold a base.
struct Candidate {
    path: String,
    position: u64,
}

/// The base to begin from.
pub(super) struct Chosen {
    /// As far as it could be read; `None` when there is none.
    pub read: Option<ReadBase>,
    /// Newer ones that could not be used.
    pub passed_over: u32,
}

/// Base files of a folder, oldest first, and its two stop files.
pub(super) struct Bases {
    disk: Arc<dyn Disk>,
    folder: String,
    files: Vec<BaseFile>,
    stop_next: usize,
}

pub(crate) fn read_file(disk: &dyn Disk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.bytes().ok()?).ok()?];
    let read = file.read_at(0, &mut bytes).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

impl Bases {
    pub fn open(disk: Arc<dyn Disk>, folder: &str) -> Result<Self, LogError> {
        let names = disk
            .list(folder)
            .map_err(|error| LogError::read(folder, error))?;
        let mut bases = Self {
            disk,
            folder: folder.to_owned(),
            files: Vec::new(),
            stop_next: 0,
        };
        for name in names {
            let Some(position) = name
                .strip_prefix("base-")
                .and_then(|text| text.parse().ok())
            else {
                continue;
            };
            let path = bases.path(position);
            let bytes = bases.disk.open(&path).and_then(|file| file.bytes());
            bases.files.push(BaseFile {
                position,
                bytes: bytes.map_err(|error| LogError::read(&path, error))?,
            });
        }
        bases.files.sort_unstable_by_key(|file| file.position);
        Ok(bases)
    }

    fn path(&self, position: u64) -> String {
        format!("{}/base-{position:020}", self.folder)
    }

    /// The newest intact base at or behind `oldest` that `is_ours` (by its incarnation), else the
    /// newest of them that can be read in part.
    pub fn choose(&mut self, oldest: u64, is_ours: impl Fn(u32) -> bool) -> Chosen {
        let mut partial = None;
        let mut passed_over = 0;
        for candidate in self.candidates() {
            let read = read_file(&*self.disk, &candidate.path)
                .and_then(|bytes| base::decode(&bytes))
                .filter(|read| read.base.position == candidate.position)
                .filter(|read| candidate.position >= oldest && is_ours(read.incarnation));
            if read.as_ref().is_some_and(ReadBase::is_intact) {
                return Chosen { read, passed_over };
            }
            passed_over += 1;
            partial = partial.or(read);
        }
        Chosen {
            passed_over: passed_over - u32::from(partial.is_some()),
            read: partial,
        }
    }

    /// Files, newest position first. Also finds which stop file is to be written next: the one
    /// that is older, or no base at all.
    fn candidates(&mut self) -> Vec<Candidate> {
        let rolled = self.files.iter().map(|file| Candidate {
            path: self.path(file.position),
            position: file.position,
        });
        let mut candidates: Vec<Candidate> = rolled.collect();
        let mut newest_stop = None;
        for (index, name) in STOPS.iter().enumerate() {
            let path = format!("{}/{name}", self.folder);
            if let Some((position, ..)) = self.read_head(&path) {
                candidates.push(Candidate { path, position });
                if newest_stop.is_none_or(|newest| position >= newest) {
                    newest_stop = Some(position);
                    self.stop_next = 1 - index;
                }
            }
        }
        candidates.sort_by_key(|candidate| Reverse(candidate.position));
        candidates
    }

    fn read_head(&self, path: &str) -> Option<(u64, u32, u32)> {
        let mut head = [0; 64];
        let read = self.disk.open(path).ok()?.read_at(0, &mut head).ok()?;
        base::decode_head(head.get(..read)?)
    }

    /// Reads the base at a position, as far as it can be read.
    pub fn read(&self, position: u64) -> Result<ReadBase, LogError> {
        read_file(&*self.disk, &self.path(position))
            .and_then(|bytes| base::decode(&bytes))
            .ok_or(LogError::NoBase { position })
    }

    /// Positions, oldest first.
    pub fn positions(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator {
        self.files.iter().map(|file| file.position)
    }

    /// Bytes of all files but the stop files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Position of the oldest base that must be kept, so that the newest has one behind it.
    pub fn oldest_kept(&self) -> Option<u64> {
        let at = self.files.len().checked_sub(BASES_MIN)?;
        self.files.get(at).map(|file| file.position)
    }

    /// Writes a base and returns its bytes; durable, name and all.
    pub fn write(&mut self, base: &Base, incarnation: u32) -> Result<u64, LogError> {
        let path = self.path(base.position);
        let bytes = self.write_named(&path, base, incarnation)?;
        self.files.retain(|file| file.position != base.position);
        self.files.push(BaseFile {
            position: base.position,
            bytes,
        });
        Ok(bytes)
    }

    /// Writes the base of a clean stop over the older of the two.
    pub fn write_stop(&mut self, base: &Base, incarnation: u32) -> Result<(), LogError> {
        let path = format!("{}/{}", self.folder, STOPS[self.stop_next]);
        self.write_named(&path, base, incarnation)?;
        self.stop_next = 1 - self.stop_next;
        Ok(())
    }

    /// Writes a base under a draft's name first: a name never leads to half a base.
    fn write_named(&self, path: &str, base: &Base, incarnation: u32) -> Result<u64, LogError> {
        let draft = format!("{}/{DRAFT}", self.folder);
        let written = self.write_whole(&draft, base, incarnation);
        if written.is_err() {
            // A part of a base only takes room, which may be what was missing.
            self.disk.remove(&draft).ok();
        }
        let bytes = written?;
        self.disk
            .rename(&draft, path)
            .and_then(|()| self.disk.sync_dir(&self.folder))
            .map_err(|error| LogError::write(path, error))?;
        Ok(bytes)
    }

    fn write_whole(&self, path: &str, base: &Base, incarnation: u32) -> Result<u64, LogError> {
        let bytes = base::encode(base, incarnation);
        let written = || {
            self.disk.create_dir(&self.folder)?;
            let file = self.disk.create(path, 0)?;
            for (index, piece) in bytes.chunks(WRITE_BYTES).enumerate() {
                file.write_at((index * WRITE_BYTES) as u64, piece)?;
            }
            file.sync()
        };
        written().map_err(|error| LogError::write(path, error))?;
        Ok(bytes.len() as u64)
    }

    /// Removes the bases before a position, but for the newest two. Returns whether there were
    /// any; durable with the folder's next sync.
    pub fn remove_before(&mut self, position: u64) -> Result<bool, LogError> {
        let before = self.files.len();
        while self.files.len() > BASES_MIN && self.files[0].position < position {
            let path = self.path(self.files[0].position);
            self.disk
                .remove(&path)
                .map_err(|error| LogError::write(&path, error))?;
            self.files.remove(0);
        }
        Ok(self.files.len() < before)
    }
}
