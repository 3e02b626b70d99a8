//! The disk's fault-injecting twin: in memory, and as treacherous as a real one may be.
//!
//! Terms: *live* is what reads give back while the power is on; *durable* is what a power cut
//! leaves. A sector is 512 bytes and is written whole or not at all.
//!
//! Invariants:
//! - A write becomes durable by a [`DiskFile::sync`] that returned Ok, a name by such a
//!   [`Disk::sync_dir`] of its folder; nothing else makes them so.
//! - A file's sync that failed has forgotten the writes it was asked for: they read back, a later sync
//!   returns Ok, and after a cut they are gone (as Linux does after a write-back error).
//! - A folder's sync that failed has done nothing: file systems keep names in a journal that they
//!   write whole or stop at.
//! - After a cut every operation fails; [`FaultDisk::after_cut`] is the disk as the next start
//!   finds it. A [`Torn::Sectors`] cut also keeps, drawn from the seed, some sectors that were
//!   written but not synced, and a first part of the name changes (journals keep their order).
//!
//! ```text
//!  write_at ──► live ──sync Ok──► durable ──cut──► the next disk's live
//!                 └──sync failed──► live only
//! ```

mod state;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::state::{Dice, Inode, NameChange, State, folder_of};
use super::{Disk, DiskFile};

/// Bytes that are written whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// Nothing.
    Nothing,
    /// Some sectors and some names, drawn from this seed.
    Sectors(u64),
}

/// A disk in memory that can be armed to fail. Clones share it.
#[derive(Clone, Default)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

impl FaultDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far that changed something or made it durable.
    pub fn mutations(&self) -> u64 {
        self.state().mutations
    }

    /// Syncs of files and folders so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes written so far, in whole sectors: what a device would have been given.
    pub fn written_bytes(&self) -> u64 {
        self.state().written_bytes
    }

    /// Cuts the power in the middle of the `nth` mutating operation since the disk was made.
    pub fn cut_at(&self, nth: u64) {
        self.state().cut_at = Some(nth);
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.state().cut = true;
    }

    /// Whether the power is cut.
    pub fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// Fails the `nth` sync (of a file or folder) since the disk was made.
    pub fn fail_sync(&self, nth: u64) {
        self.state().syncs_failing.insert(nth);
    }

    /// Takes back every fault that was armed and has not come.
    pub fn disarm(&self) {
        let mut state = self.state();
        state.cut_at = None;
        state.syncs_failing.clear();
        state.bytes_max = None;
        state.read_only = false;
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let state = self.state();
        let bytes = state.files.values().map(|inode| inode.live.len() as u64);
        bytes.sum()
    }

    /// Lets all files together hold at most this many bytes; `None` for no limit.
    pub fn limit_bytes(&self, bytes_max: Option<u64>) {
        self.state().bytes_max = bytes_max;
    }

    /// Makes the disk read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Makes the sector at an offset of a file unreadable (EIO).
    pub fn make_unreadable(&self, path: &str, offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(path)?;
        state
            .unreadable
            .insert((file, offset / SECTOR_BYTES as u64));
        Ok(())
    }

    /// A file's live content.
    pub fn content(&self, path: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.file(path)?;
        Ok(state
            .files
            .get(&file)
            .map(|inode| inode.live.clone())
            .unwrap_or_default())
    }

    /// Replaces a file, content and name at once durable: how tests damage a store.
    pub fn put(&self, path: &str, content: Vec<u8>) {
        let mut state = self.state();
        let file = state.new_file();
        state.files.insert(
            file,
            Inode {
                live: content.clone(),
                durable: content,
                dirty: BTreeSet::new(),
            },
        );
        state.names.insert(path.to_owned(), file);
        state.names_durable.insert(path.to_owned(), file);
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The disk as the next start finds it: no faults armed, counts at 0.
    #[must_use]
    pub fn after_cut(&self, torn: Torn) -> Self {
        let state = self.state();
        let mut dice = match torn {
            Torn::Nothing => None,
            Torn::Sectors(seed) => Some(Dice(seed)),
        };
        let mut names = state.names_durable.clone();
        if let Some(dice) = &mut dice {
            let kept = dice.below(state.names_pending.len() as u64 + 1) as usize;
            for change in &state.names_pending[..kept] {
                change.apply(&mut names);
            }
        }
        let files = state
            .files
            .iter()
            .map(|(&file, inode)| (file, inode.after_cut(dice.as_mut())))
            .collect();
        Self {
            state: Arc::new(Mutex::new(State {
                files,
                names_durable: names.clone(),
                names,
                file_next: state.file_next,
                ..State::default()
            })),
        }
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.state().file(path)?;
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            file,
        }))
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let cut = state.mutate()?;
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::StorageFull)?;
        state.check_room(bytes)?;
        let file = state.new_file();
        let inode = Inode {
            live: vec![0; bytes],
            ..Inode::default()
        };
        state.files.insert(file, inode);
        state.change_name(None, Some((path.to_owned(), file)));
        state.end(cut)?;
        drop(state);
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            file,
        }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_power()?;
        let inside = state.names.keys().filter(|path| folder_of(path) == folder);
        let name = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(inside.map(name).collect())
    }

    fn create_dir(&self, _folder: &str) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.mutate()?;
        state.end(cut)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(from)?;
        let cut = state.mutate()?;
        state.change_name(Some(from.to_owned()), Some((to.to_owned(), file)));
        state.end(cut)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.file(path)?;
        let cut = state.mutate()?;
        state.change_name(Some(path.to_owned()), None);
        state.end(cut)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.begin_sync()? {
            return Err(sync_failed());
        }
        let pending = std::mem::take(&mut state.names_pending);
        let (of_folder, others) = pending.into_iter().partition(|change| change.is_in(folder));
        state.names_pending = others;
        let of_folder: Vec<NameChange> = of_folder;
        for change in of_folder {
            change.apply(&mut state.names_durable);
        }
        state.drop_unnamed();
        Ok(())
    }
}

fn sync_failed() -> io::Error {
    io::Error::other("the disk failed to make it durable")
}

struct FaultFile {
    disk: FaultDisk,
    file: u64,
}

impl DiskFile for FaultFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        state.check_power()?;
        let live = state
            .files
            .get(&self.file)
            .map_or(&[][..], |inode| &inode.live);
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(live.len());
        let length = into.len().min(live.len() - start);
        let sectors = start / SECTOR_BYTES..(start + length).div_ceil(SECTOR_BYTES);
        for sector in sectors {
            if state.unreadable.contains(&(self.file, sector as u64)) {
                return Err(Errno::IO.into());
            }
        }
        into[..length].copy_from_slice(&live[start..start + length]);
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let cut = state.mutate()?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let end = start + bytes.len();
        let held = state
            .files
            .get(&self.file)
            .map_or(0, |inode| inode.live.len());
        state.check_room(end.saturating_sub(held))?;
        let sectors = start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        state.written_bytes += (sectors.len() * SECTOR_BYTES) as u64;
        if let Some(inode) = state.files.get_mut(&self.file) {
            if inode.live.len() < end {
                inode.live.resize(end, 0);
            }
            inode.live[start..end].copy_from_slice(bytes);
            inode.dirty.extend(sectors);
        }
        state.end(cut)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let works = state.begin_sync()?;
        let inode = state.files.get_mut(&self.file);
        match inode {
            Some(inode) if works => {
                inode.make_durable();
                Ok(())
            }
            Some(inode) => {
                inode.dirty.clear();
                Err(sync_failed())
            }
            None => Ok(()),
        }
    }

    fn bytes(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_power()?;
        Ok(state
            .files
            .get(&self.file)
            .map_or(0, |inode| inode.live.len() as u64))
    }
}

#[cfg(test)]
mod tests;
