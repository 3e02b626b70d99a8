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

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

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

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    names_pending: Vec<NameChange>,
    file_next: u64,
    mutations: u64,
    syncs: u64,
    written_bytes: u64,
    cut: bool,
    cut_at: Option<u64>,
    syncs_failing: BTreeSet<u64>,
    bytes_max: Option<u64>,
    read_only: bool,
    unreadable: BTreeSet<(u64, u64)>,
}

#[derive(Default, Clone)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// A change of the name space: `gone` loses its name, `set` gets the file.
#[derive(Clone)]
struct NameChange {
    gone: Option<String>,
    set: Option<(String, u64)>,
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

/// `SplitMix64`: enough randomness for drawing sectors, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, file)) = &self.set {
            names.insert(path.clone(), *file);
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        let of_set = self.set.as_ref().map(|(path, _)| path);
        self.gone
            .iter()
            .chain(of_set)
            .any(|path| folder_of(path) == folder)
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Inode {
    fn after_cut(&self, dice: Option<&mut Dice>) -> Self {
        let mut kept = self.durable.clone();
        if let Some(dice) = dice {
            for &sector in &self.dirty {
                if dice.below(2) == 0 {
                    copy_sector(&self.live, &mut kept, sector);
                }
            }
        }
        Self {
            live: kept.clone(),
            durable: kept,
            dirty: BTreeSet::new(),
        }
    }

    fn make_durable(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.live, &mut self.durable, sector);
        }
    }
}

fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(from.len());
    if start < end {
        if to.len() < end {
            to.resize(end, 0);
        }
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

impl State {
    fn file(&self, path: &str) -> io::Result<u64> {
        self.check_power()?;
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn new_file(&mut self) -> u64 {
        self.file_next += 1;
        self.file_next
    }

    fn check_power(&self) -> io::Result<()> {
        if self.cut {
            Err(power_is_cut())
        } else {
            Ok(())
        }
    }

    /// Counts a mutating operation; true when the power goes in the middle of it.
    fn mutate(&mut self) -> io::Result<bool> {
        self.check_power()?;
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.mutations += 1;
        Ok(self.cut_at == Some(self.mutations))
    }

    /// Ends an operation that was applied: with an error if the power went meanwhile.
    fn end(&mut self, cut: bool) -> io::Result<()> {
        self.cut |= cut;
        self.check_power()
    }

    /// Begins a sync: an error when it must not have any effect.
    fn begin_sync(&mut self) -> io::Result<bool> {
        let cut = self.mutate()?;
        self.end(cut)?;
        self.syncs += 1;
        Ok(!self.syncs_failing.remove(&self.syncs))
    }

    fn check_room(&self, more: usize) -> io::Result<()> {
        let Some(bytes_max) = self.bytes_max else {
            return Ok(());
        };
        let held: usize = self.files.values().map(|inode| inode.live.len()).sum();
        if (held + more) as u64 > bytes_max {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn change_name(&mut self, gone: Option<String>, set: Option<(String, u64)>) {
        let change = NameChange { gone, set };
        change.apply(&mut self.names);
        self.names_pending.push(change);
        self.drop_unnamed();
    }

    /// Forgets files that no name can lead to any more, as their space is free again.
    fn drop_unnamed(&mut self) {
        let pending = self
            .names_pending
            .iter()
            .filter_map(|change| change.set.as_ref());
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.names_durable.values())
            .copied()
            .chain(pending.map(|(_, file)| *file))
            .collect();
        self.files.retain(|file, _| named.contains(file));
    }
}

fn power_is_cut() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the power is cut")
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
mod tests {
    use super::*;

    fn written(disk: &FaultDisk, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.create(path, 0).unwrap();
        file.write_at(0, bytes).unwrap();
        file
    }

    #[test]
    fn only_what_was_synced_outlives_a_cut() {
        let disk = FaultDisk::new();
        let file = written(&disk, "a/kept", b"first");
        file.sync().unwrap();
        written(&disk, "a/unnamed", b"x").sync().unwrap();
        disk.sync_dir("a").unwrap();
        written(&disk, "a/late", b"x").sync().unwrap();
        disk.rename("a/unnamed", "a/renamed").unwrap();
        file.write_at(0, b"other").unwrap();
        disk.cut();
        assert!(file.sync().is_err() && disk.list("a").is_err());
        let next = disk.after_cut(Torn::Nothing);
        assert_eq!(next.list("a").unwrap(), ["kept", "unnamed"]);
        assert_eq!(next.content("a/kept").unwrap(), b"first");
    }

    #[test]
    fn a_torn_cut_keeps_some_sectors_whole() {
        let disk = FaultDisk::new();
        let file = disk.create("a", 0).unwrap();
        file.write_at(0, &[1; 8 * SECTOR_BYTES]).unwrap();
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(0, &[2; 8 * SECTOR_BYTES]).unwrap();
        let kept: BTreeSet<usize> = (0..20)
            .map(|seed| {
                let content = disk.after_cut(Torn::Sectors(seed)).content("a").unwrap();
                for sector in content.chunks(SECTOR_BYTES) {
                    assert!(sector.iter().all(|byte| *byte == sector[0]));
                }
                content.iter().filter(|byte| **byte == 2).count() / SECTOR_BYTES
            })
            .collect();
        assert!(kept.len() > 3, "{kept:?}");
    }

    #[test]
    fn a_failed_sync_forgets_though_it_reads_back() {
        let disk = FaultDisk::new();
        let file = written(&disk, "a", b"new");
        disk.sync_dir("").unwrap();
        disk.fail_sync(2);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(disk.content("a").unwrap(), b"new");
        assert_eq!(
            disk.after_cut(Torn::Sectors(1)).content("a").unwrap(),
            [0; 3]
        );
    }

    #[test]
    fn a_cut_at_an_operation_fails_it_and_all_after() {
        let disk = FaultDisk::new();
        disk.cut_at(3);
        let file = written(&disk, "a", b"x");
        assert!(file.sync().is_err() && disk.is_cut());
        assert!(file.write_at(0, b"y").is_err());
        assert_eq!(disk.mutations(), 3);
    }

    #[test]
    fn a_full_and_a_read_only_disk_say_so() {
        let disk = FaultDisk::new();
        disk.limit_bytes(Some(1_000));
        let file = disk.create("a", 900).unwrap();
        let full = disk.create("b", 200).map(|_| ()).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(file.write_at(950, &[0; 51]).is_err());
        file.write_at(950, &[0; 50]).unwrap();
        disk.remove("a").unwrap();
        disk.sync_dir("").unwrap();
        disk.create("b", 1_000).unwrap();
        disk.set_read_only(true);
        let kind = disk.remove("b").unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::ReadOnlyFilesystem);
        disk.make_unreadable("b", 600).unwrap();
        let mut into = [0; 10];
        let file = disk.open("b").unwrap();
        assert!(file.read_at(620, &mut into).is_err() && file.read_at(0, &mut into).is_ok());
    }
}
