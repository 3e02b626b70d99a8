//! Tiles: where they are, what a bundle of entries looks like, and which ones a tree has at its
//! right edge.
//!
//! The crate's paths carry the tiles' height; those of tlog-tiles do not, since it is always 8.

use std::collections::BTreeMap;

use tlog_tiles::{Error, Hash, HashReader, Tile};

use super::entry::ENTRY_BYTES_MAX;

/// Tiles have 2⁸ hashes.
pub(super) const HEIGHT: u8 = 8;
/// Hashes of a full tile, and entries of a full bundle.
pub(super) const WIDTH: u64 = 1 << HEIGHT;
/// Most bytes of a file of the log: a full bundle of the largest entries.
pub(super) const FILE_BYTES_MAX: usize = (1 << HEIGHT) * (2 + ENTRY_BYTES_MAX);

/// A tile's file, relative to the log's folder.
pub(super) fn path(tile: &Tile) -> String {
    let path = tile.path();
    let rest = path.strip_prefix("tile/8/").unwrap_or(&path);
    match rest.strip_prefix("data/") {
        Some(rest) => format!("tile/entries/{rest}"),
        None => format!("tile/{rest}"),
    }
}

/// The tile that a file holds; `None` when its name is none of a tile.
pub(super) fn parse(file: &str) -> Option<Tile> {
    let rest = file.strip_prefix("tile/")?;
    let (level, rest) = rest.split_once('/')?;
    let level = if level == "entries" { "data" } else { level };
    // The crate panics at these instead of refusing them.
    let is_level = level == "data" || level.parse::<u8>().is_ok_and(|level| level < 64);
    let is_empty = rest
        .rsplit_once(".p/")
        .is_some_and(|(_, width)| !width.starts_with(|digit| matches!(digit, '1'..='9')));
    if !is_level || is_empty {
        return None;
    }
    let tile = Tile::from_path(&format!("tile/8/{level}/{rest}")).ok()?;
    (path(&tile) == file).then_some(tile)
}

/// The bundle of entries beside a tile of level 0.
pub(super) fn bundle_of(tile: &Tile) -> Tile {
    let mut bundle = *tile;
    bundle.set_is_data();
    bundle
}

/// The tile of a level that is at the right edge of a tree, if it is partial.
pub(super) fn edge_of(level: u8, size: u64) -> Option<Tile> {
    let hashes = size.checked_shr(u32::from(HEIGHT) * u32::from(level))?;
    let width = u32::try_from(hashes % WIDTH)
        .ok()
        .filter(|width| *width > 0)?;
    Some(Tile::new(HEIGHT, level, hashes / WIDTH, width, false))
}

/// Levels of tiles that a tree has.
pub(super) fn levels(size: u64) -> u8 {
    let is_there = |level: &u8| size >> (u32::from(HEIGHT) * u32::from(*level)) > 0;
    (0..8).take_while(is_there).count() as u8
}

/// The partial tiles of a tree, and the bundle.
pub(super) fn edge(size: u64) -> Vec<Tile> {
    let hashes = (0..levels(size)).filter_map(|level| edge_of(level, size));
    let bundle = edge_of(0, size).map(|tile| bundle_of(&tile));
    hashes.chain(bundle).collect()
}

/// Spells a bundle.
pub(super) fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

/// Takes a bundle of so many entries apart; else the number of the first that is not whole.
pub(super) fn split(bytes: &[u8], width: u32) -> Result<Vec<Vec<u8>>, usize> {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    for number in 0..width as usize {
        let taken = rest.split_first_chunk::<2>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let (entry, behind) = taken.ok_or(number)?;
        entries.push(entry.to_vec());
        rest = behind;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(width as usize)
    }
}

/// Hashes of a tree that grows: those in the tiles of its right edge, and those that are new.
#[derive(Debug, Default, Clone)]
pub(super) struct Growth {
    /// The size of the tree that the tiles are of.
    pub(super) size: u64,
    /// The partial tiles of its right edge, by level.
    pub(super) edge: BTreeMap<u8, Vec<u8>>,
    /// New hashes by their index in storage.
    pub(super) fresh: BTreeMap<u64, Hash>,
}

impl Growth {
    pub(super) fn hash(&self, index: u64) -> Result<Hash, Error> {
        if let Some(hash) = self.fresh.get(&index) {
            return Ok(*hash);
        }
        let tile = Tile::from_index(HEIGHT, index).parent(0, self.size);
        let tile = tile.ok_or(Error::IndexesNotInTree)?;
        let data = self.data(&tile).ok_or(Error::IndexesNotInTree)?;
        tile.hash_at_index(data, index)
    }

    /// The hashes of a tile, if it is at the edge.
    pub(super) fn data(&self, tile: &Tile) -> Option<&Vec<u8>> {
        let is_edge = edge_of(tile.level(), self.size).as_ref() == Some(tile);
        let data = self.edge.get(&tile.level());
        data.filter(|_| is_edge)
    }
}

impl HashReader for Growth {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        indexes.iter().map(|index| self.hash(*index)).collect()
    }
}
