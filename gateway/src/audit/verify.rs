//! Verification of a whole log, offline: everything is computed anew from the entries.
//!
//! What is trusted is the log's key, and the keys of witnesses, as the caller has them from
//! elsewhere. In this order, and the first thing that is wrong is told:
//!
//! 1. `public-key` names the key given; `checkpoint` is signed by it.
//! 2. Each bundle holds whole entries, and their hashes are those in the tiles of level 0; each tile
//!    above has the hashes of the full tiles below it.
//! 3. The root hash of all that is the checkpoint's.
//! 4. What witnesses cosigned, the checkpoint that the caller kept from before, and those that went
//!    upstream, are earlier states of this log.
//! 5. What other files there are: older partial tiles begin as the newer ones do; the rest was never
//!    in the log, and is told as not covered.
//! 6. Every entry can be understood and is in canonical form.

use std::collections::BTreeSet;

use tlog_tiles::{Hash, Tile, record_hash, tree_hash};

use super::cosigned;
use super::keys::{LogKey, WitnessKey};
use super::snapshot::{Signed, Snapshot, read_tile};
use super::source::{Source, find};
use super::tiles::{self, Growth, HEIGHT, WIDTH, bundle_of};
use super::told::{Told, ToldReport, hold};
use super::{AuditError, Entry};

/// What a log is held against.
#[derive(Debug, Clone, Copy)]
pub struct Trusted<'a> {
    /// The log's key.
    pub key: &'a LogKey,
    /// Keys of witnesses that must have cosigned.
    pub witnesses: &'a [WitnessKey],
    /// A checkpoint that was seen before.
    pub seen: Option<&'a [u8]>,
    /// Checkpoints that went upstream.
    pub told: &'a [Told],
}

/// What was verified.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint.
    pub signed: Signed,
    /// Tiles and bundles that were computed anew.
    pub tiles: usize,
    /// The times of the first and the last entry, UTC in µs.
    pub span_us: Option<(i64, i64)>,
    /// Of each witness given: its name, how many entries it cosigned, and when, UTC in seconds.
    pub cosigned: Vec<(String, u64, u64)>,
    /// Cosigned checkpoints whose witnesses' keys were not given.
    pub by_others: usize,
    /// How many entries the checkpoint had that was seen before.
    pub seen: Option<u64>,
    /// Checkpoints that went upstream; none where none were given.
    pub told: Option<ToldReport>,
    /// Files that are not part of the log.
    pub not_covered: Vec<String>,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read, or a part of it is missing.
    #[error(transparent)]
    Unreadable(#[from] AuditError),
    /// The folder is another log's.
    #[error("public-key is not the key given: this is another log, or the file was changed")]
    OtherKey,
    /// An entry.
    #[error("entry {index} in {path} {why}")]
    Entry {
        /// Which.
        index: u64,
        /// The bundle's file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A hash of a tile.
    #[error("{path} was changed: hash {number} of it is not the one that the entries give")]
    Tile {
        /// The tile's file.
        path: String,
        /// Which of its hashes, from 0.
        number: usize,
    },
    /// Entries and tiles agree, and the checkpoint is of others.
    #[error(
        "the log was rewritten: its entries and tiles agree with each other, and not with the root hash that is signed; an entry was added, removed, moved or changed, and the tiles with it"
    )]
    Root,
    /// An older partial tile.
    #[error("{path} is no beginning of the tile that took its place: it was changed")]
    Older {
        /// Its file.
        path: String,
    },
    /// A checkpoint of another history.
    #[error(
        "two histories: {what} has {size} entries of this log's name, signed with its key, and they are not how this log begins; one of the two was rewritten. Keep both"
    )]
    TwoHistories {
        /// Where it is from.
        what: String,
        /// How many entries it has.
        size: u64,
    },
    /// A checkpoint of more entries.
    #[error(
        "the log was cut back: {what} has {seen} entries, and this log has {size}. If it is not an old copy, entries were removed"
    )]
    CutBack {
        /// Where it is from.
        what: String,
        /// How many entries it has.
        seen: u64,
        /// How many are there.
        size: u64,
    },
    /// The checkpoint that was seen before is none.
    #[error("the checkpoint to compare with is none of this log: {why}")]
    Seen {
        /// Why.
        why: String,
    },
    /// Checkpoints that went upstream are of another history.
    #[error(
        "of {of} checkpoints that went upstream, {wrong} are not of the log that is here: it was rewritten or cut back since. Keep both"
    )]
    Told {
        /// How many.
        wrong: usize,
        /// Of how many.
        of: usize,
        /// What is wrong with the first.
        #[source]
        first: Box<Wrong>,
    },
    /// Two checkpoints that went upstream are of two histories.
    #[error(
        "two histories: the checkpoints upstream in lines {} and {} are both of {size} entries, both signed with the log's key, and not the same. Keep both",
        lines.0,
        lines.1
    )]
    TwoTold {
        /// How many entries they have.
        size: u64,
        /// Where they begin.
        lines: (usize, usize),
    },
    /// A witness has not cosigned.
    #[error("{witness} has cosigned no checkpoint that is kept here")]
    NotCosigned {
        /// Its name.
        witness: String,
    },
}

/// Verifies a log, all of whose files are named.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    source: &dyn Source,
    paths: &BTreeSet<String>,
    trusted: Trusted<'_>,
) -> Result<Report, Wrong> {
    let key = trusted.key;
    match find(source, "public-key")? {
        Some(text) if text == format!("{}\n", key.text()).as_bytes() => {}
        Some(_) => return Err(Wrong::OtherKey),
        None => {
            let path = "public-key".to_owned();
            return Err(AuditError::TileMissing { path }.into());
        }
    }
    let signed = Signed::newest(source, key)?;
    let size = signed.size();
    let mut walk = Walk {
        source,
        key,
        size,
        expected: BTreeSet::new(),
    };
    let hashes = walk.tree()?;
    if tree_hash(size, &hashes).ok() != Some(signed.root()) {
        return Err(Wrong::Root);
    }
    let snapshot = Snapshot::newest(source, key)?;
    let (cosigned, by_others) = check_cosigned(&snapshot, source, trusted)?;
    let seen = trusted.seen.map(|bytes| {
        let seen = Signed::read(bytes, key, &[]).map_err(|why| Wrong::Seen { why })?;
        check_earlier(&snapshot, "the checkpoint seen before", &seen)?;
        Ok::<_, Wrong>(seen.size())
    });
    let seen = seen.transpose()?;
    let told = match trusted.told {
        [] => None,
        told => Some(hold(&snapshot, told)?),
    };
    let not_covered = walk.others(paths)?;
    let (tiles, span_us) = (walk.expected.len(), understand(&snapshot)?);
    Ok(Report {
        signed: snapshot.into_signed(),
        tiles,
        span_us,
        cosigned,
        by_others,
        seen,
        told,
        not_covered,
    })
}

struct Walk<'a> {
    source: &'a dyn Source,
    key: &'a LogKey,
    size: u64,
    /// Tiles and bundles that the checkpoint covers.
    expected: BTreeSet<String>,
}

impl Walk<'_> {
    /// Computes every tile anew and gives the hashes at the right edge.
    fn tree(&mut self) -> Result<Growth, Wrong> {
        let size = self.size;
        let mut edge = Growth {
            size,
            ..Growth::default()
        };
        let mut below = Vec::new();
        for level in 0..tiles::levels(size) {
            let count = size >> (u32::from(HEIGHT) * u32::from(level));
            let mut full = Vec::new();
            for number in 0..count.div_ceil(WIDTH) {
                let width = (count - number * WIDTH).min(WIDTH);
                let tile = Tile::new(HEIGHT, level, number, width as u32, false);
                let data = if level == 0 {
                    self.leaves(&tile)?
                } else {
                    let start = (number * WIDTH) as usize;
                    below[start..start + width as usize].to_vec()
                };
                let data = self.compare(&tile, &data)?;
                if width == WIDTH {
                    full.push(Tile::subtree_hash(&data));
                } else {
                    edge.edge.insert(level, data);
                }
            }
            below = full;
        }
        Ok(edge)
    }

    /// The hashes of a bundle's entries.
    fn leaves(&mut self, tile: &Tile) -> Result<Vec<Hash>, Wrong> {
        let (path, bytes) = read_tile(self.source, &bundle_of(tile))?;
        let first = tile.level_index() * WIDTH;
        let entries = tiles::split(&bytes, tile.width()).map_err(|number| Wrong::Entry {
            index: first + number as u64,
            path: path.clone(),
            why: "is not whole, or something stands where no entry should be".to_owned(),
        })?;
        self.expected.insert(path);
        Ok(entries.iter().map(|entry| record_hash(entry)).collect())
    }

    /// Holds a tile's file against the hashes that it should have.
    fn compare(&mut self, tile: &Tile, hashes: &[Hash]) -> Result<Vec<u8>, Wrong> {
        let (path, bytes) = read_tile(self.source, tile)?;
        let mut right = hashes.iter().zip(bytes.chunks(tlog_tiles::HASH_SIZE));
        if let Some(number) = right.position(|(hash, there)| hash.0 != there) {
            let index = tile.level_index() * WIDTH + number as u64;
            // The tile's own hash leads to the signed root: then it is the entry that was changed.
            let is_signed = tile.level() == 0
                && Snapshot::newest(self.source, self.key)
                    .is_ok_and(|snapshot| snapshot.leaf(index).is_ok());
            return Err(if is_signed {
                Wrong::Entry {
                    index,
                    path: tiles::path(&bundle_of(tile)),
                    why: "is not the one that was logged: it was changed, moved or replaced"
                        .to_owned(),
                }
            } else {
                Wrong::Tile { path, number }
            });
        }
        self.expected.insert(path);
        Ok(bytes)
    }

    /// Looks at the files that the checkpoint does not cover.
    fn others(&self, paths: &BTreeSet<String>) -> Result<Vec<String>, Wrong> {
        let mut not_covered = Vec::new();
        for path in paths.difference(&self.expected) {
            let is_known =
                ["checkpoint", "public-key"].contains(&path.as_str()) || cosigned::is_path(path);
            if is_known {
                continue;
            }
            let tile = tiles::parse(path);
            let pair = tile.and_then(|tile| Some((tile, self.successor(&tile)?)));
            match pair {
                Some((older, newer)) => self.older(&older, &newer)?,
                None => not_covered.push(path.clone()),
            }
        }
        Ok(not_covered)
    }

    /// Holds a partial tile against the one that took its place.
    fn older(&self, older: &Tile, newer: &Tile) -> Result<(), Wrong> {
        let (path, bytes) = read_tile(self.source, older)?;
        let (_, newer) = read_tile(self.source, newer)?;
        let is_whole = !older.is_data() || tiles::split(&bytes, older.width()).is_ok();
        if is_whole && newer.starts_with(&bytes) {
            Ok(())
        } else {
            Err(Wrong::Older { path })
        }
    }

    /// The tile that took the place of a partial one.
    fn successor(&self, older: &Tile) -> Option<Tile> {
        let newer = older.parent(0, self.size)?;
        (newer.width() > older.width()).then_some(newer)
    }
}

/// Reads every entry, and gives the times of the first and the last.
fn understand(snapshot: &Snapshot<&dyn Source>) -> Result<Option<(i64, i64)>, AuditError> {
    let mut span_us = None;
    snapshot.for_each(0..snapshot.size(), |index, bytes| {
        let at_us = Entry::parse(index, bytes)?.at_us;
        span_us = Some((span_us.map_or(at_us, |(first, _)| first), at_us));
        Ok(())
    })?;
    Ok(span_us)
}

type Cosigned = (Vec<(String, u64, u64)>, usize);

fn check_cosigned(
    snapshot: &Snapshot<&dyn Source>,
    source: &dyn Source,
    trusted: Trusted<'_>,
) -> Result<Cosigned, Wrong> {
    let (mut by, mut by_others) = (Vec::new(), 0);
    for (path, signed) in cosigned::all(source, trusted.key, trusted.witnesses)? {
        check_earlier(snapshot, &path, &signed)?;
        if signed.cosignatures().is_empty() {
            by_others += 1;
        }
        for (name, at_s) in signed.cosignatures() {
            by.push((name.clone(), signed.size(), *at_s));
        }
    }
    for witness in trusted.witnesses {
        if !by.iter().any(|(name, _, _)| name == witness.name()) {
            let witness = witness.name().to_owned();
            return Err(Wrong::NotCosigned { witness });
        }
    }
    Ok((by, by_others))
}

/// Whether a checkpoint is an earlier state of a log, or the same.
pub(super) fn check_earlier<S: Source>(
    snapshot: &Snapshot<S>,
    what: &str,
    earlier: &Signed,
) -> Result<(), Wrong> {
    let (size, what) = (snapshot.size(), what.to_owned());
    if earlier.size() > size {
        let seen = earlier.size();
        return Err(Wrong::CutBack { what, seen, size });
    }
    if snapshot.root_at(earlier.size())? != earlier.root() {
        let size = earlier.size();
        return Err(Wrong::TwoHistories { what, size });
    }
    Ok(())
}
