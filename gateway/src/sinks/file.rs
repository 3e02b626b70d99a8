//! The file sink: NDJSON appended to one file, fsynced before a batch counts as confirmed.
//!
//! # Invariants
//! - The file always ends with a whole line when a batch begins: a line torn by a crash or a
//!   failed write is cut off, its record comes again.
//! - A batch is confirmed only after its fsync. After a failed write or fsync the file is opened
//!   anew and cut back to what was there before it: a failed fsync may have dropped pages that a
//!   second one would call clean.
//! - A crash between fsync and commit makes delivery send the same records again. So on opening,
//!   the ids of the file's last [`TAIL_BYTES`] are read, and lines that are there already are not
//!   written twice. Lines can double only where a batch was larger than that.
//! - A file renamed or removed meanwhile (by a rotation) is begun anew under its path.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::transport::{Attempt, Transport};
use crate::rules::settings::FileSettings;

/// Bytes at the file's end whose ids are known: four default batches.
pub const TAIL_BYTES: u64 = 4 << 20;
/// What every line begins with, up to its id.
const LINE_START: &[u8] = b"{\"id\":\"";
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// Carries batches to one file, on a thread that may block.
#[derive(Debug)]
pub struct FileTransport(Arc<Mutex<FileSink>>);

impl FileTransport {
    /// A transport to the file of these settings. Nothing is opened before the first batch.
    pub fn new(settings: &FileSettings) -> Self {
        Self(Arc::new(Mutex::new(FileSink::new(&settings.path))))
    }
}

impl Transport for FileTransport {
    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        let (file, batch) = (Arc::clone(&self.0), Arc::clone(batch));
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                file.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .deliver(&batch)
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
    path: PathBuf,
    open: Option<OpenFile>,
    /// What to cut back to: set while a write is underway, so after a failed one.
    keep: Option<Kept>,
}

/// A file that ends with a whole line.
#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
    inode: (u64, u64),
    /// Ids of its tail as it was opened, about 15,000 of them.
    tail: BTreeSet<u128>,
}

/// How long a file was when its last batch was confirmed.
#[derive(Debug, Clone, Copy)]
struct Kept {
    bytes: u64,
    inode: (u64, u64),
}

impl FileSink {
    /// A sink that appends to `path`. Nothing is opened before the first batch.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            open: None,
            keep: None,
        }
    }

    /// Appends a batch. Blocks on the disk.
    pub fn deliver(&mut self, batch: &Batch) -> Answer {
        let mut sent_bytes = 0;
        let outcome = match self.append(batch) {
            Ok(bytes) => {
                sent_bytes = bytes;
                Outcome::Confirmed
            }
            Err(error) => {
                self.open = None;
                failed(&self.path, &error)
            }
        };
        Answer {
            outcome,
            sent_bytes,
            header_bytes: 0,
            taken: 0,
        }
    }

    /// Appends and syncs; returns the bytes written.
    fn append(&mut self, batch: &Batch) -> io::Result<u64> {
        let mut open = match self.open.take() {
            Some(open) if is_still_there(&self.path, &open) => open,
            _ => OpenFile::open(&self.path, self.keep)?,
        };
        self.keep = Some(Kept {
            bytes: open.bytes,
            inode: open.inode,
        });
        let lines = open.missing(&batch.body);
        open.file.write_all(&lines)?;
        open.file.sync_data()?;
        let bytes = lines.len() as u64;
        open.bytes += bytes;
        self.keep = None;
        self.open = Some(open);
        Ok(bytes)
    }
}

impl OpenFile {
    /// Opens or creates the file and its folders, cuts a torn line off, and what lies beyond
    /// `keep` if it is the same file.
    fn open(path: &Path, keep: Option<Kept>) -> io::Result<Self> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder)?;
        }
        let is_new = !path.try_exists()?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        if is_new {
            sync_folder(path)?;
        }
        let metadata = file.metadata()?;
        let inode = (metadata.dev(), metadata.ino());
        let kept = keep.filter(|keep| keep.inode == inode && keep.bytes <= metadata.len());
        let whole = match kept {
            Some(keep) => keep.bytes,
            None => whole_lines(&mut file, metadata.len())?,
        };
        if whole < metadata.len() {
            let cut_bytes = metadata.len() - whole;
            tracing::warn!(
                path = %path.display(),
                cut_bytes,
                "cut off an unfinished end of the file; its records are written again"
            );
            file.set_len(whole)?;
            file.sync_data()?;
        }
        let tail = ids(&mut file, whole)?;
        Ok(Self {
            file,
            bytes: whole,
            inode,
            tail,
        })
    }

    /// The lines of a body that are not in the tail yet.
    fn missing(&self, body: &[u8]) -> Vec<u8> {
        if self.tail.is_empty() {
            return body.to_vec();
        }
        body.split_inclusive(|byte| *byte == b'\n')
            .filter(|line| !id(line).is_some_and(|id| self.tail.contains(&id)))
            .flatten()
            .copied()
            .collect()
    }
}

fn is_still_there(path: &Path, open: &OpenFile) -> bool {
    fs::metadata(path).is_ok_and(|metadata| {
        (metadata.dev(), metadata.ino()) == open.inode && metadata.len() == open.bytes
    })
}

/// Length up to the end of the last whole line, in bytes.
fn whole_lines(file: &mut File, bytes: u64) -> io::Result<u64> {
    let mut end = bytes;
    let mut chunk = vec![0; 64 * 1024];
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        let part = &mut chunk[..usize::try_from(end - start).unwrap_or(usize::MAX)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Ids of the lines in the last [`TAIL_BYTES`] before `end`.
fn ids(file: &mut File, end: u64) -> io::Result<BTreeSet<u128>> {
    let start = end.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    Read::by_ref(file)
        .take(end - start)
        .read_to_end(&mut tail)?;
    Ok(tail.split(|byte| *byte == b'\n').filter_map(id).collect())
}

/// The id a line begins with.
fn id(line: &[u8]) -> Option<u128> {
    let digits = line.strip_prefix(LINE_START)?.get(..ID_DIGITS)?;
    u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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

#[cfg(test)]
mod tests;
