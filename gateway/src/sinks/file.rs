//! The file sink: records appended to one file, fsynced before a batch counts as confirmed, and
//! the file closed under a name with its time when it is large or old enough.
//!
//! # Terms
//! - *open file*: what is appended to: the configured path; of Parquet `NAME.open.ndjson` beside
//!   it, since a Parquet file is readable only as a whole.
//! - *closed file*: `NAME-20200208T133000Z.EXT`, the time of its closing in UTC, with `-1`, `-2`, …
//!   behind it where that name is taken.
//!
//! # Invariants
//! - The open file always ends with a whole line when a batch begins: a line torn by a crash or a
//!   failed write is cut off, its record comes again.
//! - A batch is confirmed only after its fsync. After a failed write or fsync the file is opened
//!   anew and cut back to what was there before it: a failed fsync may have dropped pages that a
//!   second one would call clean.
//! - A crash between fsync and commit makes delivery send the same records again. So on opening,
//!   the lines of each id are counted in the last [`TAIL_BYTES`] of the open file and, where it is
//!   shorter, of the newest closed one; so many are left out when the record comes. Lines can
//!   double only where a batch was larger than that.
//! - A file renamed or removed meanwhile (by somebody else's rotation) is begun anew under its path.
//! - Closing is a rename. Of Parquet it is a rename to `….closing.ndjson`, the conversion under
//!   another name, its fsync, a rename to the closed name and only then the removal of the lines:
//!   whatever of this a crash leaves is finished on opening, and nothing twice.
//! - A file is closed before the batch that would make it too large, or that comes when it is old
//!   enough: without records nothing happens.

#[cfg(feature = "parquet")]
mod columns;
mod open;
mod rotation;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use self::open::{Kept, OpenFile};
use self::rotation::Names;
use super::SinkError;
use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::transport::{Attempt, Transport};
use crate::rules::settings::{FileFormat, FileSettings, Rotation};
use crate::time::Clock;

/// Bytes at the file's end whose ids are known: four default batches.
pub const TAIL_BYTES: u64 = 4 << 20;
/// Bytes of lines after which a Parquet file is made where `rotate` says nothing: they are in
/// memory once, while it is.
pub const PARQUET_BYTES: u64 = 64 << 20;
/// Age in ms after which a Parquet file is made where `rotate` says nothing: a day.
pub const PARQUET_AGE_MS: u64 = 86_400_000;

/// Carries batches to one file, on a thread that may block.
pub struct FileTransport {
    sink: Arc<Mutex<FileSink>>,
    clock: Arc<dyn Clock>,
}

impl FileTransport {
    /// A transport to the file of these settings. Nothing is opened before the first batch.
    /// `clock` tells when files are old enough, and what time their names have.
    pub fn new(
        sink: &str,
        settings: &FileSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SinkError> {
        if settings.format == FileFormat::Parquet && !cfg!(feature = "parquet") {
            return Err(SinkError::NoParquet {
                sink: sink.to_owned(),
            });
        }
        Ok(Self {
            sink: Arc::new(Mutex::new(FileSink::new(settings))),
            clock,
        })
    }
}

impl Transport for FileTransport {
    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        let (sink, batch) = (Arc::clone(&self.sink), Arc::clone(batch));
        let wall_us = self.clock.now().wall_us;
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .deliver(&batch, wall_us)
            })
            .await
            .unwrap_or_else(|broken| Answer::unsent(format!("the writer broke off: {broken}")))
        })
    }

    fn may_be_given_up(&self) -> bool {
        false
    }
}

/// Appends batches to one file.
#[derive(Debug)]
pub struct FileSink {
    names: Names,
    rotation: Rotation,
    open: Option<OpenFile>,
    /// What to cut back to: set while a write is underway, so after a failed one.
    keep: Option<Kept>,
}

impl FileSink {
    /// A sink of these settings. Nothing is opened before the first batch.
    pub fn new(settings: &FileSettings) -> Self {
        let mut rotation = settings.rotation;
        let never = rotation.bytes_max.is_none() && rotation.age_max_ms.is_none();
        if settings.format == FileFormat::Parquet && never {
            rotation.bytes_max = Some(PARQUET_BYTES);
            rotation.age_max_ms = Some(PARQUET_AGE_MS);
        }
        Self {
            names: Names::new(&settings.path, settings.format),
            rotation,
            open: None,
            keep: None,
        }
    }

    /// Appends a batch; `wall_us` is the time, UTC in µs. Blocks on the disk.
    pub fn deliver(&mut self, batch: &Batch, wall_us: i64) -> Answer {
        let (outcome, sent_bytes) = match self.append(batch, wall_us) {
            Ok(bytes) => (Outcome::Confirmed, bytes),
            Err(error) => {
                self.open = None;
                (failed(&self.names.open, &error), 0)
            }
        };
        Answer {
            outcome,
            sent_bytes,
            ..Answer::unsent(String::new())
        }
    }

    /// Appends and syncs; returns the bytes written.
    fn append(&mut self, batch: &Batch, wall_us: i64) -> io::Result<u64> {
        let mut open = match self.open.take() {
            Some(open) if open.is_still_there(&self.names.open) => open,
            _ => OpenFile::open(&self.names, self.keep)?,
        };
        // What is to be cut back to is of this file, not of the next one.
        self.keep = None;
        let mut lines = open.missing(&batch.body);
        if lines.is_empty() {
            self.open = Some(open);
            return Ok(0);
        }
        if open.is_due(&self.rotation, lines.len() as u64, wall_us) {
            drop(open);
            self.names.close(wall_us, self.rotation.files_max)?;
            open = OpenFile::open(&self.names, None)?;
            lines = open.missing(&batch.body);
        }
        self.keep = Some(open.kept());
        let bytes = open.append(&lines, wall_us)?;
        self.keep = None;
        self.open = Some(open);
        Ok(bytes)
    }
}

/// What a failed append means: a full disk passes, a wrong path needs a person.
fn failed(path: &Path, error: &io::Error) -> Outcome {
    let why = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidInput => Outcome::Broken { why },
        _ => Outcome::Retry {
            why,
            after_us: None,
        },
    }
}

/// Makes names in a file's folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    std::fs::File::open(folder_of(path))?.sync_all()
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests;
