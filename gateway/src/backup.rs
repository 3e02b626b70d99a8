//! Backup: a data directory as one tar, also while a gateway runs on it, and back.
//!
//! Nothing is asked of the gateway and nothing of it waits: its files are written only at their
//! ends, and the order in which they are read makes the copy one that a power cut could have
//! left, as the order in which they are written is the order of durability.
//!
//! ```text
//! written:  entry ──► its records in the spool ──► base of the log that covers it ──► recycling
//! read:     bases of the log, journal, queues, dead letters, segments of the log
//! ```
//! Invariants:
//! - What a copied base covers is in the copied queues or left them: the base was read first.
//! - No copied queue is ahead of the copied log: the log's segments are read last.
//! - No copied journal misses that a copied queue's segment was recycled: when one goes while the
//!   queues are read, journal and queues are read again.
//! - Of a segment only whole batches are copied; what was being written is left out.
//! - The copied audit log verifies, and has what the copied registry needs (see `trust`).
//! - What is there and cannot be read makes no backup: only what was never there is left out.
//! - The file has its name only when all of it is durable.

mod trust;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use self::trust::SEALED;
use crate::audit::{self, AuditError};
use crate::disk::data_dir::DataDirError;
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::identity;
use crate::inspection::Progress;
use crate::inspection::files::{self, Files, Room, SegmentFile};
use crate::inspection::walk::walk;
use crate::log::LogError;
use crate::registry::store;
use crate::spool::letters;

/// Times that files which went while they were read are read again.
const READINGS_MAX: u32 = 8;
/// What is copied beside the rooms, where it is there.
const SINGLE: [&str; 2] = ["identity", "format"];
/// Most files of a backup that are unpacked.
const FILES_MAX: usize = 1_000_000;

/// Why a backup was not made, or not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store's files cannot be read.
    #[error(transparent)]
    Log(LogError),
    /// A file that is there cannot be read.
    #[error("{path} of the data directory cannot be read: no backup was made")]
    Unreadable {
        /// The file or folder, in the data directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The audit log's files do not fit each other.
    #[error(
        "no backup was made, since the copy's audit log would not verify; tidegate audit verify says what else is wrong with it"
    )]
    Audit(#[source] AuditError),
    /// Files went faster than they could be copied.
    #[error(
        "the gateway recycles its files faster than they can be copied to {path}: no backup was made; write it to a faster disk"
    )]
    TooBusy {
        /// The backup.
        path: PathBuf,
    },
    /// The system cannot write.
    #[error(
        "{path} could not be written: no backup was made and the data directory was not touched"
    )]
    Write {
        /// The backup.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something in the data directory.
    #[error("{dir} is not empty: nothing was unpacked; name an empty gateway.data_dir")]
    NotEmpty {
        /// The data directory.
        dir: PathBuf,
    },
    /// The file is no backup.
    #[error("{path} holds {name:?}, which is no file of a data directory: nothing was unpacked")]
    Foreign {
        /// The backup.
        path: PathBuf,
        /// The name in it.
        name: String,
    },
    /// The file holds more than any data directory.
    #[error(
        "{path} holds more than {files_max} files: nothing was unpacked; it is no backup, or damaged"
    )]
    TooMany {
        /// The backup.
        path: PathBuf,
        /// Files allowed.
        files_max: usize,
    },
    /// The backup cannot be unpacked.
    #[error("{path} could not be unpacked: nothing has taken the place of the data directory")]
    Unpack {
        /// The backup.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<LogError> for BackupError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Read { path, source } => Self::Unreadable { path, source },
            error => Self::Log(error),
        }
    }
}

impl From<AuditError> for BackupError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Io { path, source, .. } => Self::Unreadable {
                path: format!("{}/{path}", audit::FOLDER),
                source,
            },
            error => Self::Audit(error),
        }
    }
}

/// What a backup holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Position after the last entry of the log.
    pub log_end: u64,
    /// Files that were recycled while they were copied and are not in it: older than what a start
    /// needs.
    pub recycled_meanwhile: u64,
    /// Whether the registry of devices is in it.
    pub registry: bool,
    /// Whether the audit log is in it.
    pub audit_log: bool,
}

/// Copies a data directory into the file at `path`.
///
/// # Errors
/// It cannot be read, or the file not written; then there is no file of that name, or the one
/// that was there before.
pub fn back_up(
    disk: &Arc<dyn Disk>,
    path: &Path,
    mtime_s: u64,
    progress: Progress<'_>,
) -> Result<Summary, BackupError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let failed = |source| BackupError::Write {
        path: path.to_owned(),
        source,
    };
    let file = create_tar(&partial).map_err(failed)?;
    let mut packer = Packer {
        disk,
        tar: tar::Builder::new(file),
        mtime_s,
        path,
        done: 0,
        total: 0,
        progress,
        summary: Summary::default(),
    };
    let summary = packer.pack().and_then(|()| packer.finish());
    let named = summary.and_then(|summary| {
        fs::rename(&partial, path)
            .and_then(|()| File::open(folder_of(path))?.sync_all())
            .map(|()| summary)
            .map_err(failed)
    });
    if named.is_err() {
        fs::remove_file(&partial).ok();
    }
    named
}

/// A file for its owner alone from the first moment on; what an earlier backup left is removed.
fn create_tar(partial: &Path) -> io::Result<File> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options.open(partial)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

struct Packer<'a> {
    disk: &'a Arc<dyn Disk>,
    tar: tar::Builder<File>,
    mtime_s: u64,
    path: &'a Path,
    done: u64,
    total: u64,
    progress: Progress<'a>,
    summary: Summary,
}

/// A bookmark in the tar, to take back what is behind it.
#[derive(Clone, Copy)]
struct Bookmark {
    offset: u64,
    summary: Summary,
}

impl Packer<'_> {
    fn failed(&self) -> impl Fn(io::Error) -> BackupError + use<> {
        let path = self.path.to_owned();
        move |source| BackupError::Write {
            path: path.clone(),
            source,
        }
    }

    fn pack(&mut self) -> Result<(), BackupError> {
        for room in Room::ALL {
            self.total += files::list(&**self.disk, room)?.bytes();
        }
        for _ in 0..READINGS_MAX {
            let begin = self.bookmark()?;
            if self.pack_once()? {
                self.pack_singles()?;
                return self.pack_trust();
            }
            self.back_to(begin)?;
        }
        Err(BackupError::TooBusy {
            path: self.path.to_owned(),
        })
    }

    /// False when what was needed went meanwhile.
    fn pack_once(&mut self) -> Result<bool, BackupError> {
        let newest = self.pack_bases(Room::Log)?;
        if !self.pack_spool()? {
            return Ok(false);
        }
        if !self.pack_letters()? {
            return Ok(false);
        }
        let log = files::list(&**self.disk, Room::Log)?;
        let mut oldest = None;
        for segment in &log.segments {
            if self.pack_segment(segment)? {
                oldest = oldest.or(Some(segment.first));
            } else {
                self.summary.recycled_meanwhile += 1;
                oldest = None;
            }
        }
        // Without any base replay begins with the first entry.
        Ok(oldest.is_none_or(|oldest| oldest <= newest.unwrap_or(0)))
    }

    /// Packs a room's bases; returns the newest one's position.
    fn pack_bases(&mut self, room: Room) -> Result<Option<u64>, BackupError> {
        let Files { bases, .. } = files::list(&**self.disk, room)?;
        let mut newest = None;
        for base in bases {
            if self.pack_file(&base.path, u64::MAX)? {
                newest = newest.max(base.position);
            }
        }
        Ok(newest)
    }

    /// Packs journal and queues; false when a file of them went meanwhile.
    fn pack_spool(&mut self) -> Result<bool, BackupError> {
        let before = files::list(&**self.disk, Room::Spool)?;
        self.pack_bases(Room::Journal)?;
        for room in [Room::Journal, Room::Spool] {
            for segment in files::list(&**self.disk, room)?.segments {
                if !self.pack_segment(&segment)? {
                    return Ok(false);
                }
            }
        }
        for segment in &before.segments {
            if self.open(&segment.path)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Packs the dead letters; false when one changed its name meanwhile. The journal was read
    /// before: a letter that it does not know of yet is removed at the next start, as its record
    /// is still in its queue.
    fn pack_letters(&mut self) -> Result<bool, BackupError> {
        let names = |packer: &Self| {
            let listed = packer.disk.list(letters::FOLDER);
            listed.map_err(|source| LogError::read(letters::FOLDER, source))
        };
        let before = names(self)?;
        for name in &before {
            self.pack_file(&format!("{}/{name}", letters::FOLDER), u64::MAX)?;
        }
        Ok(names(self)? == before)
    }

    /// Packs a segment as far as its batches go; false when it went meanwhile.
    fn pack_segment(&mut self, segment: &SegmentFile) -> Result<bool, BackupError> {
        let mut bytes = 0;
        let walked = walk(self.disk, segment, |batch, _| {
            bytes = batch.offset + batch.bytes;
        });
        let walked = match walked {
            Ok(walked) => walked,
            Err(_) if self.open(&segment.path)?.is_none() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let packed = self.pack_file(&segment.path, bytes)?;
        if packed && segment.room == Room::Log {
            self.summary.log_end = self.summary.log_end.max(walked.end);
        }
        Ok(packed)
    }

    fn pack_singles(&mut self) -> Result<(), BackupError> {
        for name in SINGLE {
            self.pack_file(name, u64::MAX)?;
        }
        Ok(())
    }

    /// Packs a file's first bytes; false when there is no such file, or not any more.
    fn pack_file(&mut self, path: &str, bytes_max: u64) -> Result<bool, BackupError> {
        let read = |source| LogError::read(path, source);
        let Some(file) = self.open(path)? else {
            return Ok(false);
        };
        let bytes = file.bytes().map_err(read)?.min(bytes_max);
        let begin = self.bookmark()?;
        let reader = FileReader {
            file,
            at: 0,
            end: bytes,
        };
        self.append(path, bytes, reader)?;
        // A file that lost its name was read while another segment was written into it.
        if self.open(path)?.is_none() {
            self.back_to(begin)?;
            return Ok(false);
        }
        self.count(bytes);
        Ok(true)
    }

    /// Opens a file; none when there is no such file, or not any more.
    fn open(&self, path: &str) -> Result<Option<Arc<dyn DiskFile>>, BackupError> {
        match self.disk.open(path) {
            Ok(file) => Ok(Some(file)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(LogError::read(path, why).into()),
        }
    }

    /// Packs what was read before.
    fn pack_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.append(path, bytes.len() as u64, bytes)?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: u64, reader: impl Read) -> Result<(), BackupError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.mtime_s);
        let appended = self.tar.append_data(&mut header, path, reader);
        appended.map_err(self.failed())
    }

    fn count(&mut self, bytes: u64) {
        self.summary.files += 1;
        self.summary.bytes += bytes;
        self.done += bytes;
        (self.progress)(self.done, self.total.max(self.done));
    }

    fn bookmark(&mut self) -> Result<Bookmark, BackupError> {
        let failed = self.failed();
        Ok(Bookmark {
            offset: self.tar.get_mut().stream_position().map_err(failed)?,
            summary: self.summary,
        })
    }

    fn back_to(&mut self, bookmark: Bookmark) -> Result<(), BackupError> {
        let failed = self.failed();
        let file = self.tar.get_mut();
        file.set_len(bookmark.offset)
            .and_then(|()| file.seek(SeekFrom::Start(bookmark.offset)))
            .map_err(failed)?;
        self.summary = bookmark.summary;
        Ok(())
    }

    fn finish(&mut self) -> Result<Summary, BackupError> {
        let failed = self.failed();
        self.tar
            .finish()
            .and_then(|()| self.tar.get_mut().sync_all())
            .map_err(failed)?;
        Ok(self.summary)
    }
}

/// A file of the store, read from its beginning up to `end`; what is missing by then is zeros, as
/// the tar has promised its length.
struct FileReader {
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = left.min(into.len());
        let Some(into) = into.get_mut(..length).filter(|into| !into.is_empty()) else {
            return Ok(0);
        };
        let read = match self.file.read_at(self.at, into)? {
            0 => {
                into.fill(0);
                into.len()
            }
            read => read,
        };
        self.at += read as u64;
        Ok(read)
    }
}

/// Unpacks a backup into a data directory that is empty or missing. Nobody may run on it.
///
/// The next start begins a new log incarnation: record ids of what is logged from then on are not
/// those that the original gave. With `gateway` it is another gateway: for a copy that is to run
/// beside the original.
///
/// # Errors
/// The directory is not empty, or the file is no backup; then nothing has changed.
pub fn restore(path: &Path, dir: &Path, gateway: Option<u64>) -> Result<Summary, BackupError> {
    let failed = |source| BackupError::Unpack {
        path: path.to_owned(),
        source,
    };
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BackupError::NotEmpty {
            dir: dir.to_owned(),
        });
    }
    let mut partial = dir.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    let unpacked = unpack(path, &partial).and_then(|mut summary| {
        summary.log_end = leave_log(&partial, gateway, path)?;
        fs::rename(&partial, dir)
            .and_then(|()| File::open(folder_of(dir))?.sync_all())
            .map(|()| summary)
            .map_err(failed)
    });
    if unpacked.is_err() {
        fs::remove_dir_all(&partial).ok();
    }
    unpacked
}

/// Notes in the identity that the log is a copy. Returns where the log ends.
fn leave_log(dir: &Path, gateway: Option<u64>, path: &Path) -> Result<u64, BackupError> {
    let failed = |source| BackupError::Unpack {
        path: path.to_owned(),
        source,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(dir).map_err(failed)?);
    let Some(newest) = files::list(&*disk, Room::Log)?.segments.pop() else {
        return Ok(0);
    };
    identity::leave_log(&disk, newest.incarnation, gateway)
        .map_err(|error| failed(io::Error::other(error)))?;
    Ok(walk(&disk, &newest, |_, _| ())?.end)
}

fn unpack(path: &Path, into: &Path) -> Result<Summary, BackupError> {
    let failed = |source| BackupError::Unpack {
        path: path.to_owned(),
        source,
    };
    let mut archive = tar::Archive::new(io::BufReader::new(File::open(path).map_err(failed)?));
    let mut summary = Summary::default();
    let mut folders = BTreeSet::from([into.to_owned(), into.join(letters::FOLDER)]);
    folders.extend(Room::ALL.map(|room| into.join(room.folder())));
    for folder in &folders {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    for (files, entry) in archive.entries().map_err(failed)?.enumerate() {
        // What is left out of a restore would be lost without a word.
        if files >= FILES_MAX {
            return Err(BackupError::TooMany {
                path: path.to_owned(),
                files_max: FILES_MAX,
            });
        }
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.into_owned();
        if !entry.header().entry_type().is_file() || !is_ours(&name) {
            return Err(BackupError::Foreign {
                path: path.to_owned(),
                name: name.to_string_lossy().into_owned(),
            });
        }
        let mut folder = into.to_owned();
        for part in name.parent().into_iter().flat_map(Path::components) {
            folder.push(part);
            if folders.insert(folder.clone()) {
                fs::create_dir_all(&folder).map_err(failed)?;
            }
        }
        let mut file = create(into, &name).map_err(failed)?;
        summary.bytes += io::copy(&mut entry, &mut file).map_err(failed)?;
        file.flush()
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        summary.files += 1;
        summary.registry |= name == Path::new(store::FILE);
        summary.audit_log |= name == Path::new(audit::FOLDER).join("checkpoint");
    }
    for folder in folders {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
    }
    Ok(summary)
}

/// Creates a file, for its owner alone if it is sealed.
fn create(into: &Path, name: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if is_sealed(name) {
        options.mode(0o600);
    }
    options.open(into.join(name))
}

fn is_sealed(name: &Path) -> bool {
    SEALED.iter().any(|sealed| name.as_os_str() == *sealed)
}

/// Whether a name in a backup is that of a file of a data directory.
fn is_ours(name: &Path) -> bool {
    if is_sealed(name) || audit::copy::is_part(name) {
        return true;
    }
    let mut parts = name.components().map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    match (parts.next().flatten(), parts.next(), parts.next()) {
        (Some(single), None, None) => SINGLE.contains(&single),
        (Some(folder), Some(Some(_)), None) => {
            folder == letters::FOLDER || Room::ALL.into_iter().any(|room| room.folder() == folder)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
