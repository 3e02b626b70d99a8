//! Copies: what a copy of a log has to hold, read so that it verifies although the log goes on.
//!
//! ```text
//! written:  tiles ──► checkpoint ──► cosigned ──► (two checkpoints later) partial tiles go
//! read:     cosigned, then the checkpoint, then the tiles that it covers
//! ```
//! A cosigned checkpoint is never newer than the checkpoint that is read behind it. No file that a
//! checkpoint covers is ever written over, so a tile is as it was signed or it is gone; those that
//! can go are named first, and whoever misses one begins anew.

use std::path::Path;
use std::sync::Arc;

use tlog_tiles::Tile;

use super::cosigned::{self, COSIGNED};
use super::keys::LogKey;
use super::snapshot::Signed;
use super::source::{OnDisk, Source, find, refused};
use super::tiles::{self, HEIGHT, WIDTH, bundle_of, edge, levels};
use super::{AuditError, FOLDER, Log, witness};
use crate::disk::Disk;

/// A log at one checkpoint. Paths are those in the data directory.
#[derive(Debug)]
pub struct Parts {
    /// Its small files with their bytes.
    pub small: Vec<(String, Vec<u8>)>,
    /// The tiles and bundles that the checkpoint covers, the partial ones first.
    pub tiles: Vec<String>,
}

/// What a copy of the log has to hold; none where there is no log.
///
/// # Errors
/// The log's checkpoint is gone or is none of it, or a file cannot be read.
pub fn parts(disk: &Arc<dyn Disk>) -> Result<Option<Parts>, AuditError> {
    let source = OnDisk {
        disk: Arc::clone(disk),
    };
    let at = |path: &str| format!("{FOLDER}/{path}");
    let Some(public) = find(&source, "public-key")? else {
        return if Log::is_there(disk) {
            let path = at("public-key");
            Err(AuditError::TileMissing { path })
        } else {
            Ok(None)
        };
    };
    let key = LogKey::parse(String::from_utf8_lossy(&public).trim())?;
    let mut small = vec![(at("public-key"), public)];
    for name in source.list(COSIGNED).map_err(refused(COSIGNED, "read"))? {
        let path = format!("{COSIGNED}/{name}");
        if cosigned::is_path(&path)
            && let Some(bytes) = find(&source, &path)?
        {
            small.push((at(&path), bytes));
        }
    }
    let Some(bytes) = find(&source, "checkpoint")? else {
        return if Log::is_there(disk) {
            let path = at("tile");
            Err(AuditError::CheckpointGone { path })
        } else {
            Ok(None)
        };
    };
    let signed = Signed::read(&bytes, &key, &[]).map_err(|why| {
        let path = at("checkpoint");
        AuditError::Checkpoint { path, why }
    })?;
    small.push((at("checkpoint"), bytes));
    let tiles = covered(signed.size());
    Ok(Some(Parts {
        small,
        tiles: tiles.map(|tile| at(&tiles::path(&tile))).collect(),
    }))
}

/// The tiles and bundles of a log of a size.
fn covered(size: u64) -> impl Iterator<Item = Tile> {
    let full = (0..levels(size)).flat_map(move |level| {
        let count = (size >> (u32::from(HEIGHT) * u32::from(level))) / WIDTH;
        (0..count).flat_map(move |number| {
            let tile = Tile::new(HEIGHT, level, number, WIDTH as u32, false);
            let bundle = (level == 0).then(|| bundle_of(&tile));
            [tile].into_iter().chain(bundle)
        })
    });
    edge(size).into_iter().chain(full)
}

/// Whether a path of a data directory is that of a file which a copy holds: one of the log, or one
/// of what a witness knows.
pub fn is_part(path: &Path) -> bool {
    let Some(path) = path.to_str() else {
        return false;
    };
    let known = path.strip_prefix(witness::FOLDER);
    if let Some(name) = known.and_then(|rest| rest.strip_prefix('/')) {
        return witness::is_name(name);
    }
    let file = path.strip_prefix(FOLDER);
    file.and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|file| {
            matches!(file, "public-key" | "checkpoint")
                || cosigned::is_path(file)
                || tiles::parse(file).is_some()
        })
}
