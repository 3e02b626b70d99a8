//! What the twin holds: files with what is live and durable of them, names, and armed faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::SECTOR_BYTES;

#[derive(Default)]
pub(super) struct State {
    pub files: BTreeMap<u64, Inode>,
    pub names: BTreeMap<String, u64>,
    pub names_durable: BTreeMap<String, u64>,
    pub names_pending: Vec<NameChange>,
    pub file_next: u64,
    pub mutations: u64,
    pub syncs: u64,
    pub written_bytes: u64,
    pub cut: bool,
    pub cut_at: Option<u64>,
    pub syncs_failing: BTreeSet<u64>,
    pub bytes_max: Option<u64>,
    pub read_only: bool,
    pub unreadable: BTreeSet<(u64, u64)>,
}

#[derive(Default, Clone)]
pub(super) struct Inode {
    pub live: Vec<u8>,
    pub durable: Vec<u8>,
    pub dirty: BTreeSet<usize>,
}

/// A change of the name space: `gone` loses its name, `set` gets the file.
#[derive(Clone)]
pub(super) struct NameChange {
    pub gone: Option<String>,
    pub set: Option<(String, u64)>,
}

/// `SplitMix64`: enough randomness for drawing sectors, and the same on every machine.
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

impl NameChange {
    pub fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, file)) = &self.set {
            names.insert(path.clone(), *file);
        }
    }

    pub fn is_in(&self, folder: &str) -> bool {
        let of_set = self.set.as_ref().map(|(path, _)| path);
        self.gone
            .iter()
            .chain(of_set)
            .any(|path| folder_of(path) == folder)
    }
}

pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Inode {
    pub fn after_cut(&self, dice: Option<&mut Dice>) -> Self {
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

    pub fn make_durable(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.live, &mut self.durable, sector);
        }
    }
}

pub(super) fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
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
    pub fn file(&self, path: &str) -> io::Result<u64> {
        self.check_power()?;
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn new_file(&mut self) -> u64 {
        self.file_next += 1;
        self.file_next
    }

    pub fn check_power(&self) -> io::Result<()> {
        if self.cut {
            Err(power_is_cut())
        } else {
            Ok(())
        }
    }

    /// Counts a mutating operation; true when the power goes in the middle of it.
    pub fn mutate(&mut self) -> io::Result<bool> {
        self.check_power()?;
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.mutations += 1;
        Ok(self.cut_at == Some(self.mutations))
    }

    /// Ends an operation that was applied: with an error if the power went meanwhile.
    pub fn end(&mut self, cut: bool) -> io::Result<()> {
        self.cut |= cut;
        self.check_power()
    }

    /// Begins a sync: an error when it must not have any effect.
    pub fn begin_sync(&mut self) -> io::Result<bool> {
        let cut = self.mutate()?;
        self.end(cut)?;
        self.syncs += 1;
        Ok(!self.syncs_failing.remove(&self.syncs))
    }

    pub fn check_room(&self, more: usize) -> io::Result<()> {
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

    pub fn change_name(&mut self, gone: Option<String>, set: Option<(String, u64)>) {
        let change = NameChange { gone, set };
        change.apply(&mut self.names);
        self.names_pending.push(change);
        self.drop_unnamed();
    }

    /// Forgets files that no name can lead to any more, as their space is free again.
    pub fn drop_unnamed(&mut self) {
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

pub(super) fn power_is_cut() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the power is cut")
}
