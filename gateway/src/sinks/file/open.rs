//! The open file: whole lines, and which records they are of.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::rotation::Names;
use super::{TAIL_BYTES, sync_folder};
use crate::rules::settings::{FileFormat, Rotation};
use crate::sinks::encoding::csv;

/// What a line of JSON begins with, up to its id.
const LINE_START: &[u8] = b"{\"id\":\"";
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// Lines that are there already, by id.
pub(super) type Tail = BTreeMap<u128, u32>;

/// A file that ends with a whole line.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    format: FileFormat,
    bytes: u64,
    inode: (u64, u64),
    /// Since when it has records, UTC in µs; None: it has none.
    since_us: Option<i64>,
    /// Lines of its tail as it was opened, of about 15,000 ids.
    tail: Tail,
}

/// How long a file was when its last batch was confirmed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    bytes: u64,
    inode: (u64, u64),
}

impl OpenFile {
    /// Opens or creates the file and its folders, cuts a torn line off, and what lies beyond
    /// `keep` if it is the same file; before that it finishes what a crash left half closed.
    pub fn open(names: &Names, keep: Option<Kept>) -> io::Result<Self> {
        let path = &names.open;
        fs::create_dir_all(super::folder_of(path))?;
        names.finish_closing()?;
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
        let bytes = match kept {
            Some(keep) => keep.bytes,
            None => whole_lines(&mut file, metadata.len())?,
        };
        if bytes < metadata.len() {
            cut(&file, path, metadata.len(), bytes)?;
        }
        let mut tail = lines_by_id(&mut file, bytes, TAIL_BYTES, names.format)?;
        if bytes < TAIL_BYTES {
            for (id, lines) in names.newest_closed_tail(TAIL_BYTES - bytes)? {
                *tail.entry(id).or_default() += lines;
            }
        }
        Ok(Self {
            file,
            format: names.format,
            bytes,
            inode,
            since_us: (bytes > 0).then(|| made_us(&metadata)),
            tail,
        })
    }

    /// Whether it is still what its path names, as it was left.
    pub fn is_still_there(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| {
            (metadata.dev(), metadata.ino()) == self.inode && metadata.len() == self.bytes
        })
    }

    /// Whether it has to be closed before so many bytes more.
    pub fn is_due(&self, rotation: &Rotation, more: u64, wall_us: i64) -> bool {
        let Some(since_us) = self.since_us else {
            return false;
        };
        let age_ms = u64::try_from(wall_us.saturating_sub(since_us)).unwrap_or(0) / 1_000;
        let is_large = |max: u64| self.bytes.saturating_add(more) > max;
        rotation.bytes_max.is_some_and(is_large)
            || rotation.age_max_ms.is_some_and(|max| age_ms >= max)
    }

    /// What to cut back to when a write fails.
    pub fn kept(&self) -> Kept {
        Kept {
            bytes: self.bytes,
            inode: self.inode,
        }
    }

    /// The lines of a body that are not there yet.
    pub fn missing(&self, body: &[u8]) -> Vec<u8> {
        if self.tail.is_empty() {
            return body.to_vec();
        }
        // Lines of one record stand together, in the order in which they were written.
        let mut at = None;
        let mut lines = 0;
        body.split_inclusive(|byte| *byte == b'\n')
            .filter(|line| {
                let id = id(line, self.format);
                lines = if id == at { lines + 1 } else { 1 };
                at = id;
                id.and_then(|id| self.tail.get(&id))
                    .is_none_or(|there| lines > *there)
            })
            .flatten()
            .copied()
            .collect()
    }

    /// Appends lines, behind the line of names in an empty CSV file, and syncs; returns the bytes
    /// written. After an error the file is not to be used again.
    pub fn append(&mut self, lines: &[u8], wall_us: i64) -> io::Result<u64> {
        let mut text = Vec::new();
        if self.bytes == 0 && self.format == FileFormat::Csv {
            text.extend_from_slice(csv::header().as_bytes());
        }
        text.extend_from_slice(lines);
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        let bytes = text.len() as u64;
        self.bytes += bytes;
        self.since_us.get_or_insert(wall_us);
        Ok(bytes)
    }
}

/// When a file was made, or where the file system does not know, last written.
fn made_us(metadata: &Metadata) -> i64 {
    let made = metadata.created().or_else(|_| metadata.modified());
    let since = made
        .ok()
        .and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    since.map_or(i64::MAX, |since| since.as_micros() as i64)
}

fn cut(file: &File, path: &Path, from: u64, to: u64) -> io::Result<()> {
    tracing::warn!(
        path = %path.display(),
        cut_bytes = from - to,
        "cut off an unfinished end of the file; its records are written again"
    );
    file.set_len(to)?;
    file.sync_data()
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

/// How many lines of each id are in the last `bytes` before `end`.
pub(super) fn lines_by_id(
    file: &mut File,
    end: u64,
    bytes: u64,
    format: FileFormat,
) -> io::Result<Tail> {
    let start = end.saturating_sub(bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    Read::by_ref(file)
        .take(end - start)
        .read_to_end(&mut text)?;
    let mut tail = Tail::new();
    for id in text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| id(line, format))
    {
        *tail.entry(id).or_default() += 1;
    }
    Ok(tail)
}

/// The id a line begins with.
fn id(line: &[u8], format: FileFormat) -> Option<u128> {
    let from_id = match format {
        FileFormat::Csv => line,
        FileFormat::Ndjson | FileFormat::Parquet => line.strip_prefix(LINE_START)?,
    };
    let digits = from_id.get(..ID_DIGITS)?;
    u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}
