//! The log: appends entries and signs what it has become.
//!
//! ```text
//! append ─► bundles and hash tiles ─fsync─► checkpoint.new ─fsync─► checkpoint ─fsync─► index
//! ```
//! A partial tile's file carries its width in its name, so no file that a checkpoint covers is ever
//! written over. Partial tiles of the checkpoint before the newest are kept for whoever reads just
//! then; older ones are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use signed_note::Note;
use tlog_tiles::{
    Checkpoint, EMPTY_HASH, Hash, Tile, record_hash, stored_hash_index, stored_hashes, tree_hash,
};
use zeroize::Zeroizing;

use super::cosigned;
use super::keys::{LogKey, LogSigner};
use super::snapshot::{Signed, Snapshot, read_tile};
use super::source::{OnDisk, Source, find, replace_file, written};
use super::sweep::sweep;
use super::tiles::{self, Growth, HEIGHT, WIDTH, bundle_of, edge};
use super::{AuditError, Entry, Standing};
use crate::disk::Disk;

/// The log's folder in the data directory.
pub const FOLDER: &str = "audit";

/// An audit log and its key: the one that appends.
pub struct Log {
    source: OnDisk,
    signer: LogSigner,
    key: LogKey,
    /// `None` after a failure: the next append reads anew what is on disk.
    state: Option<State>,
    /// Folders whose names are durable.
    folders: BTreeSet<String>,
}

/// What appending needs to know of the log.
struct State {
    hashes: Growth,
    /// Entries of the partial bundle.
    tail: Vec<Vec<u8>>,
}

impl Log {
    /// Begins a log, empty and signed.
    ///
    /// # Errors
    /// There is one, or what is left of one; or the disk refused.
    pub fn create(
        disk: Arc<dyn Disk>,
        origin: &str,
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, AuditError> {
        let mut log = Self::of(disk, origin, seed)?;
        if find(&log.source, "checkpoint")?.is_some() {
            let path = format!("{FOLDER}/checkpoint");
            return Err(AuditError::Exists { path });
        }
        log.check_no_entries()?;
        log.folder(FOLDER).map_err(written(FOLDER))?;
        let public = format!("{}\n", log.key.text());
        log.replace("public-key", public.as_bytes())?;
        log.sign(0, EMPTY_HASH)?;
        log.state = Some(log.load()?);
        Ok(log)
    }

    /// Opens a log to go on with it; what was begun beyond its checkpoint is dropped.
    ///
    /// # Errors
    /// There is none, it is signed by another key, or it does not verify.
    pub fn open(disk: Arc<dyn Disk>, seed: &Zeroizing<[u8; 32]>) -> Result<Self, AuditError> {
        let source = OnDisk { disk };
        let path = format!("{FOLDER}/public-key");
        let Some(public) = find(&source, "public-key")? else {
            return Err(AuditError::NoLog { path });
        };
        let named = String::from_utf8_lossy(&public).trim().to_owned();
        let key = LogKey::parse(&named)?;
        let mut log = Self::of(source.disk, key.origin(), seed)?;
        if log.key.text() != key.text() {
            return Err(AuditError::OtherKey { path, named });
        }
        log.state = Some(log.load()?);
        Ok(log)
    }

    fn of(
        disk: Arc<dyn Disk>,
        origin: &str,
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, AuditError> {
        let signer = LogSigner::new(origin, seed);
        let key = LogKey::parse(&signer.public())?;
        Ok(Self {
            source: OnDisk { disk },
            signer,
            key,
            state: None,
            folders: BTreeSet::new(),
        })
    }

    /// Whether a data directory has a log, or what is left of one.
    pub fn is_there(disk: &Arc<dyn Disk>) -> bool {
        disk.open(&format!("{FOLDER}/checkpoint")).is_ok()
            || disk.open(&format!("{FOLDER}/tile/0/000")).is_ok()
            || disk
                .list(&format!("{FOLDER}/tile/0/000.p"))
                .is_ok_and(|names| !names.is_empty())
    }

    /// The log's public key, whose text people keep elsewhere.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// How many entries there are; `None` after a failure, until the next append has looked.
    pub fn size(&self) -> Option<u64> {
        self.state.as_ref().map(|state| state.hashes.size)
    }

    /// Appends an entry and gives its index once it is durable.
    ///
    /// # Errors
    /// As [`Log::append_all`].
    pub fn append(&mut self, entry: &Entry) -> Result<u64, AuditError> {
        let range = self.append_all(std::slice::from_ref(entry))?;
        Ok(range.start)
    }

    /// Appends entries together: all of them are in the log or none.
    ///
    /// # Errors
    /// One is too large; or the disk refused, and then whether they are in the log is
    /// known at the next append, which looks.
    pub fn append_all(&mut self, entries: &[Entry]) -> Result<Range<u64>, AuditError> {
        let bytes: Result<Vec<_>, _> = entries.iter().map(Entry::to_bytes).collect();
        let bytes = bytes?;
        let state = match self.state.take() {
            Some(state) => state,
            None => self.load()?,
        };
        let old = state.hashes.size;
        let state = if bytes.is_empty() {
            state
        } else {
            self.grow(state, bytes)?
        };
        let new = state.hashes.size;
        self.state = Some(state);
        Ok(old..new)
    }

    fn grow(&mut self, mut state: State, bytes: Vec<Vec<u8>>) -> Result<State, AuditError> {
        let old = state.hashes.size;
        let new = old + bytes.len() as u64;
        for (index, entry) in (old..).zip(&bytes) {
            let hashes = stored_hashes(index, entry, &state.hashes).map_err(inconsistent)?;
            let first = stored_hash_index(0, index);
            state.hashes.fresh.extend((first..).zip(hashes));
        }
        let first = old - old % WIDTH;
        state.tail.extend(bytes);
        let mut files = Vec::new();
        for tile in Tile::new_tiles(HEIGHT, old, new) {
            if tile.level() == 0 {
                let start = (tile.level_index() * WIDTH - first) as usize;
                let end = start + tile.width() as usize;
                let entries = state.tail.get(start..end).unwrap_or_default();
                files.push((bundle_of(&tile), tiles::bundle(entries)));
            }
            files.push((tile, tile.read_data(&state.hashes).map_err(inconsistent)?));
        }
        let root = tree_hash(new, &state.hashes).map_err(inconsistent)?;
        self.write_tiles(&files)?;
        self.sign(new, root)?;
        sweep(&self.source.disk, &[old, new]);
        Ok(grown(state, new, files))
    }

    fn write_tiles(&mut self, files: &[(Tile, Vec<u8>)]) -> Result<(), AuditError> {
        let mut folders = BTreeSet::new();
        for (tile, bytes) in files {
            let path = format!("{FOLDER}/{}", tiles::path(tile));
            let folder = path.rsplit_once('/').map_or(FOLDER, |(folder, _)| folder);
            let mut write = || {
                self.folder(folder)?;
                let file = self.source.disk.create(&path, 0)?;
                file.write_at(0, bytes)?;
                file.sync()
            };
            write().map_err(written(&path))?;
            folders.insert(folder.to_owned());
        }
        for folder in folders {
            let synced = self.source.disk.sync_dir(&folder);
            synced.map_err(written(&folder))?;
        }
        Ok(())
    }

    /// Makes a folder with its parents, each name durable.
    fn folder(&mut self, folder: &str) -> io::Result<()> {
        let ends = folder.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([folder.len()]) {
            let part = &folder[..end];
            if !self.folders.contains(part) {
                self.source.disk.create_dir(part)?;
                self.folders.insert(part.to_owned());
            }
        }
        Ok(())
    }

    /// Signs a checkpoint, which takes the place of the one there was.
    fn sign(&self, size: u64, root: Hash) -> Result<(), AuditError> {
        let unsigned = |why: String| AuditError::EntryUnwritable { why };
        let checkpoint = Checkpoint::new(self.key.origin(), size, root, "");
        let checkpoint = checkpoint.map_err(|why| unsigned(why.to_string()))?;
        let mut note = Note::new(&checkpoint.to_bytes(), &[])
            .map_err(|why| unsigned(format!("the checkpoint is no note: {why}")))?;
        note.add_sigs(&[&self.signer])
            .map_err(|why| unsigned(format!("the checkpoint was not signed: {why}")))?;
        self.replace("checkpoint", &note.to_bytes())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
        let replaced = replace_file(&self.source.disk, FOLDER, name, bytes);
        replaced.map_err(written(name))
    }

    /// Reads the right edge of the log from disk and checks it.
    fn load(&self) -> Result<State, AuditError> {
        let Some(bytes) = find(&self.source, "checkpoint")? else {
            self.check_no_entries()?;
            let path = format!("{FOLDER}/checkpoint");
            return Err(AuditError::NoLog { path });
        };
        let wrong = |why| AuditError::Checkpoint {
            path: format!("{FOLDER}/checkpoint"),
            why,
        };
        let signed = Signed::read(&bytes, &self.key, &[]).map_err(wrong)?;
        let size = signed.size();
        for (_, cosigned) in cosigned::all(&self.source, &self.key, &[])? {
            if cosigned.size() > size {
                return Err(wrong(format!(
                    "it has {size} entries, and a witness has cosigned {}: the log was cut back",
                    cosigned.size()
                )));
            }
        }
        for leftover in ["checkpoint.new", "public-key.new"] {
            let path = format!("{FOLDER}/{leftover}");
            if self.source.disk.open(&path).is_ok()
                && let Err(error) = self.source.disk.remove(&path)
            {
                tracing::warn!(%error, path, "what a cut left could not be removed");
            }
        }
        let state = self.load_edge(size)?;
        let root = tree_hash(size, &state.hashes).map_err(inconsistent)?;
        if root != signed.root() {
            return Err(AuditError::Inconsistent);
        }
        sweep(&self.source.disk, &[size]);
        Ok(state)
    }

    fn load_edge(&self, size: u64) -> Result<State, AuditError> {
        let mut state = State {
            hashes: Growth {
                size,
                ..Growth::default()
            },
            tail: Vec::new(),
        };
        for tile in edge(size) {
            let (path, bytes) = read_tile(&self.source, &tile)?;
            if tile.is_data() {
                let split = tiles::split(&bytes, tile.width());
                state.tail = split.map_err(|number| AuditError::TileWrong {
                    path,
                    why: format!("entry {number} of it is not whole"),
                })?;
            } else {
                state.hashes.edge.insert(tile.level(), bytes);
            }
        }
        let first = size - size % WIDTH;
        for (index, entry) in (first..).zip(&state.tail) {
            if state.hashes.hash(stored_hash_index(0, index)).ok() != Some(record_hash(entry)) {
                let bundle = tiles::edge_of(0, size).map(|tile| tiles::path(&bundle_of(&tile)));
                return Err(AuditError::TileWrong {
                    path: bundle.unwrap_or_default(),
                    why: format!("entry {index} is not the one that was logged"),
                });
            }
        }
        Ok(state)
    }

    /// Refuses when there are entries: whoever asks has found no checkpoint.
    fn check_no_entries(&self) -> Result<(), AuditError> {
        if Self::is_there(&self.source.disk) {
            let path = format!("{FOLDER}/tile");
            return Err(AuditError::CheckpointGone { path });
        }
        Ok(())
    }

    /// The log as it is now, to read and prove.
    ///
    /// # Errors
    /// Its checkpoint cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot<impl Source + use<>>, AuditError> {
        Snapshot::newest(self.source.clone(), &self.key)
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> OnDisk {
        self.source.clone()
    }

    /// Which keys of which devices are valid, by every entry.
    ///
    /// # Errors
    /// An entry is not what the checkpoint says, or cannot be understood.
    pub fn standing(&self) -> Result<Standing, AuditError> {
        let snapshot = self.snapshot()?;
        let mut standing = Standing::default();
        snapshot.for_each(0..snapshot.size(), |index, bytes| {
            standing.take(&Entry::parse(index, bytes)?.act);
            Ok(())
        })?;
        Ok(standing)
    }
}

/// What is known after an append.
fn grown(mut state: State, new: u64, files: Vec<(Tile, Vec<u8>)>) -> State {
    let mut written: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for (tile, data) in files {
        if tiles::edge_of(tile.level(), new) == Some(tile) {
            written.insert(tile.level(), data);
        }
    }
    let mut edge = state.hashes.edge;
    edge.extend(written);
    edge.retain(|level, _| tiles::edge_of(*level, new).is_some());
    let left = (new % WIDTH) as usize;
    let tail = state.tail.split_off(state.tail.len() - left);
    State {
        hashes: Growth {
            size: new,
            edge,
            fresh: BTreeMap::new(),
        },
        tail,
    }
}

fn inconsistent(_: tlog_tiles::Error) -> AuditError {
    AuditError::Inconsistent
}
