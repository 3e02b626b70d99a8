//! Reading batches back out of segment files, whatever happened to them.
//!
//! A batch counts when its magic and CRC hold, its incarnation is the one in the file's name, and
//! its positions lie at or behind the end of the batch before it and before the start of the next
//! segment; the CRC covers the segment's number. Everything else is walked over, block by block, until one counts again: what remains
//! of a recycled file's former life has lower positions and never does.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::LogError;
use super::batch::{BATCH_BYTES_MAX, BLOCK_BYTES, HEADER_BYTES, Header, take_entry};
use crate::disk::{Disk, DiskFile};

/// Bytes read from a file at a time.
const WINDOW_BYTES: usize = 128 << 10;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Where to look for batches: one segment file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Number of the segment in its folder.
    pub number: u64,
    /// Its file.
    pub path: String,
    /// First position it may hold.
    pub first: u64,
    /// Positions from here on belong to the next segment.
    pub limit: u64,
    /// Incarnation of its batches.
    pub incarnation: u32,
    /// Where in the file to begin.
    pub offset: u64,
}

/// One batch read back.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Position of its first entry.
    pub first: u64,
    /// Number of the segment it is in.
    pub segment: u64,
    /// Where in that segment's file.
    pub offset: u64,
    limit: u64,
    count: u32,
    entries: Vec<u8>,
}

impl Batch {
    /// Its entries with their positions; those rewritten in a newer segment are left out.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = &self.entries[..];
        (self.first..self.first + u64::from(self.count))
            .take_while(|position| *position < self.limit)
            .map_while(move |position| Some((position, take_entry(&mut rest)?)))
    }

    /// Position after its last entry.
    pub fn end(&self) -> u64 {
        (self.first + u64::from(self.count)).min(self.limit)
    }
}

/// What lies behind the last batch of a segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where the next batch may be written.
    pub offset: u64,
    /// Bytes of what looks like the remains of a batch; 0 when the rest was never written, or
    /// belongs to the file's former life.
    pub torn_bytes: u64,
}

/// A file seen through a window that moves forward.
struct Window {
    file: Arc<dyn DiskFile>,
    bytes: u64,
    held: Vec<u8>,
    held_at: u64,
}

impl Window {
    fn open(disk: &dyn Disk, path: &str) -> io::Result<Self> {
        let file = disk.open(path)?;
        let bytes = file.bytes()?;
        Ok(Self {
            file,
            bytes,
            held: Vec::new(),
            held_at: 0,
        })
    }

    /// Bytes from an offset; fewer than asked for only at the file's end.
    fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let held = self.held_at..=self.held_at + self.held.len() as u64;
        if !(held.contains(&offset) && held.contains(&(offset + length as u64))) {
            self.held.resize(length.max(WINDOW_BYTES).min(left), 0);
            self.held_at = offset;
            let read = read_what_can_be(&*self.file, offset, &mut self.held)?;
            self.held.truncate(read);
        }
        let start = (offset - self.held_at) as usize;
        let end = (start + length).min(self.held.len());
        Ok(self.held.get(start..end).unwrap_or_default())
    }
}

/// Reads, taking blocks that the disk cannot read any more as zeros: they are corruption like any
/// other and must not keep the rest from being read.
fn read_what_can_be(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let is_bad_block = |error: &io::Error| error.raw_os_error() == Some(Errno::IO.raw_os_error());
    match file.read_at(offset, into) {
        Err(error) if is_bad_block(&error) => {}
        read => return read,
    }
    let mut at = offset;
    for block in into.chunks_mut(BLOCK_BYTES) {
        match file.read_at(at, block) {
            Ok(_) => {}
            Err(error) if is_bad_block(&error) => block.fill(0),
            Err(error) => return Err(error),
        }
        at += block.len() as u64;
    }
    Ok(into.len())
}

enum Found {
    Batch { header: Header, offset: u64 },
    Tail(Tail),
}

/// Finds the next batch of `source` at or behind `from` whose positions begin at or behind
/// `expected`.
fn find(window: &mut Window, source: &Source, from: u64, expected: u64) -> io::Result<Found> {
    let mut offset = from;
    let mut former_life = false;
    let mut torn_bytes = 0;
    let mut used_to = from;
    while offset < window.bytes {
        let file_bytes = window.bytes;
        let block = window.get(offset, BLOCK_BYTES)?;
        if *block != ZEROS[..block.len()] {
            used_to = offset + block.len() as u64;
        }
        if let Some(header) = Header::parse(block) {
            let counts = header.incarnation == source.incarnation
                && header.first >= expected
                && header.first < source.limit;
            let whole = offset + header.bytes() as u64 <= file_bytes;
            if counts
                && whole
                && header.verifies(window.get(offset, header.bytes())?, source.number)
            {
                return Ok(Found::Batch { header, offset });
            }
            if counts && header.first == expected && offset == from {
                torn_bytes = header.bytes() as u64;
            }
            former_life |= header.first < source.first;
        }
        offset += BLOCK_BYTES as u64;
    }
    if !former_life {
        torn_bytes = torn_bytes.max(used_to - from);
    }
    Ok(Found::Tail(Tail {
        offset: from,
        torn_bytes,
    }))
}

/// The batches of several segments, in order.
pub(crate) struct Batches {
    disk: Arc<dyn Disk>,
    sources: VecDeque<Source>,
    window: Option<Window>,
    offset: u64,
    expected: u64,
    tail: Tail,
}

impl Batches {
    pub(crate) fn new(disk: Arc<dyn Disk>, sources: VecDeque<Source>) -> Self {
        let mut batches = Self {
            disk,
            sources,
            window: None,
            offset: 0,
            expected: 0,
            tail: Tail::default(),
        };
        batches.enter();
        batches
    }

    fn enter(&mut self) {
        self.window = None;
        if let Some(source) = self.sources.front() {
            self.offset = source.offset;
            self.expected = source.first;
        }
    }

    /// The next batch, or `None` behind the last one.
    pub fn next(&mut self) -> Result<Option<Batch>, LogError> {
        while let Some(source) = self.sources.front() {
            let failed = |source_error| LogError::read(&source.path, source_error);
            let window = match &mut self.window {
                Some(window) => window,
                none => none.insert(Window::open(&*self.disk, &source.path).map_err(failed)?),
            };
            match find(window, source, self.offset, self.expected).map_err(failed)? {
                Found::Batch { header, offset } => {
                    let bytes = window.get(offset, header.bytes()).map_err(failed)?;
                    let batch = Batch {
                        first: header.first,
                        segment: source.number,
                        offset,
                        limit: source.limit,
                        count: header.count,
                        entries: bytes.get(HEADER_BYTES..).unwrap_or_default().to_vec(),
                    };
                    self.offset = offset + header.bytes_padded();
                    self.expected = header.end();
                    return Ok(Some(batch));
                }
                Found::Tail(tail) => {
                    self.tail = tail;
                    self.sources.pop_front();
                    self.enter();
                }
            }
        }
        Ok(None)
    }

    /// What lies behind the last batch of the last segment, once [`Self::next`] gave `None`.
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// Where in the segment's file the next batch is looked for.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

const _: () = assert!(
    BATCH_BYTES_MAX < u32::MAX as usize,
    "lengths are 32 bits wide"
);
