//! Sweep: tiles that no checkpoint needs any more, or never did.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tlog_tiles::Tile;

use super::FOLDER;
use super::tiles::{self, HEIGHT, WIDTH, bundle_of, edge, levels};
use crate::disk::Disk;

/// Removes partial tiles that none of some sizes needs, and what lies beyond the last of them.
/// What cannot be removed is in nobody's way: it is tried again, or written over.
pub(super) fn sweep(disk: &Arc<dyn Disk>, sizes: &[u64]) {
    let kept = sizes.iter().flat_map(|size| edge(*size));
    let kept: BTreeSet<String> = kept.map(|tile| tiles::path(&tile)).collect();
    let newest = sizes.iter().copied().max().unwrap_or(0);
    let oldest = sizes.iter().copied().min().unwrap_or(0);
    for level in 0..=levels(newest) {
        let here = (newest >> (u32::from(HEIGHT) * u32::from(level))) / WIDTH;
        let first = oldest >> (u32::from(HEIGHT) * u32::from(level));
        // What a batch began beyond is without a gap: it is written in this order.
        for number in (first / WIDTH).saturating_sub(1).. {
            let tile = Tile::new(HEIGHT, level, number, WIDTH as u32, false);
            let bundle = (level == 0).then(|| bundle_of(&tile));
            let mut found = 0;
            for tile in [tile].into_iter().chain(bundle) {
                match sweep_tile(disk, &tile, number >= here, &kept) {
                    Ok(removed) => found += removed,
                    Err(error) => {
                        tracing::warn!(%error, "an old tile of the audit log could not be removed");
                    }
                }
            }
            if number > here && found == 0 {
                break;
            }
        }
    }
}

/// Removes what a tile has and nobody needs; gives how many files.
fn sweep_tile(
    disk: &Arc<dyn Disk>,
    tile: &Tile,
    is_beyond: bool,
    kept: &BTreeSet<String>,
) -> io::Result<u32> {
    let path = tiles::path(tile);
    let mut removed = 0;
    for name in disk.list(&format!("{FOLDER}/{path}.p"))? {
        if !kept.contains(&format!("{path}.p/{name}")) {
            disk.remove(&format!("{FOLDER}/{path}.p/{name}"))?;
            removed += 1;
        }
    }
    let full = format!("{FOLDER}/{path}");
    if is_beyond && disk.open(&full).is_ok() {
        disk.remove(&full)?;
        removed += 1;
    }
    Ok(removed)
}
