//! Snapshots: a log as its checkpoint says it is, read and proved from its tiles.
//!
//! Whatever a snapshot gives was checked on the way. The partial tiles at the right edge are
//! read at once: together they give the checkpoint's root hash. A full tile's subtree hash stands in
//! the tile above it, up to one at the edge. (The crate's own `TileHashReader` is not used: where
//! two subtrees of the root share a tile, it leaves some full tiles unchecked.)

use std::cell::RefCell;
use std::ops::Range;

use signed_note::{Note, NoteError, Signature, Verifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Hash, HashReader, Tile, prove_record, prove_tree, record_hash,
    stored_hash_index, tree_hash,
};

use super::keys::{LogKey, WitnessKey, cosigned_at};
use super::proof::Proof;
use super::source::{Source, find};
use super::tiles::{self, Growth, HEIGHT, WIDTH, edge_of, levels};
use super::witness::Request;
use super::{AuditError, Entry};

/// Most entries of a log whose checkpoint is believed: what is computed from it stays far from the
/// ends of 64 bits.
pub const SIZE_MAX: u64 = 1 << 48;

/// A checkpoint whose signature by the log has been verified.
#[derive(Debug)]
pub struct Signed {
    checkpoint: Checkpoint,
    note: Note,
    signatures: Vec<Signature>,
    cosignatures: Vec<(String, u64)>,
}

impl Signed {
    /// Reads and verifies a checkpoint; cosignatures of witnesses that are not given are ignored.
    ///
    /// # Errors
    /// Why it is none of this log.
    pub fn read(bytes: &[u8], key: &LogKey, witnesses: &[WitnessKey]) -> Result<Self, String> {
        let note = Note::from_bytes(bytes).map_err(|_| "it is no signed note".to_owned())?;
        let mut known: Vec<Box<dyn Verifier>> = vec![key.verifier()];
        for witness in witnesses {
            known.push(Box::new(witness.clone()));
        }
        let verified = note.verify(&VerifierList::new(known));
        let (verified, unknown) = verified.map_err(|why| unverified(&why, key))?;
        let by_log = |one: &Signature| one.name() == key.origin() && one.id() == key.id();
        if !verified.iter().any(by_log) {
            return Err(format!("{} has not signed it", key.origin()));
        }
        let checkpoint =
            Checkpoint::from_bytes(note.text()).map_err(|_| "it is no checkpoint".to_owned())?;
        if checkpoint.size() > SIZE_MAX {
            return Err(format!("it has more than {SIZE_MAX} entries"));
        }
        let is_canonical = checkpoint.to_bytes() == note.text() && note.to_bytes() == bytes;
        if !is_canonical || checkpoint.origin() != key.origin() {
            return Err(format!("it is not one of {}", key.origin()));
        }
        let by_witnesses = verified.iter().filter(|one| !by_log(one));
        let cosignatures = by_witnesses
            .map(|one| {
                let at_s = cosigned_at(one.signature()).unwrap_or(0);
                (one.name().to_owned(), at_s)
            })
            .collect();
        let signatures = verified.into_iter().chain(unknown).collect();
        Ok(Self {
            checkpoint,
            note,
            signatures,
            cosignatures,
        })
    }

    /// Reads a log's newest checkpoint.
    ///
    /// # Errors
    /// There is none, or it is not one that this key signed.
    pub fn newest(source: &dyn Source, key: &LogKey) -> Result<Self, AuditError> {
        let path = "checkpoint".to_owned();
        match find(source, &path)? {
            Some(bytes) => {
                Self::read(&bytes, key, &[]).map_err(|why| AuditError::Checkpoint { path, why })
            }
            None => Err(AuditError::NoLog { path }),
        }
    }

    /// How many entries the log has.
    pub fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// The root hash of their tree.
    pub fn root(&self) -> Hash {
        *self.checkpoint.hash()
    }

    /// The signed note.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_bytes()
    }

    /// The text that is signed.
    pub(super) fn text(&self) -> &[u8] {
        self.note.text()
    }

    /// All signatures.
    pub(super) fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Which of the witnesses given cosigned it, and when: UTC in seconds.
    pub fn cosignatures(&self) -> &[(String, u64)] {
        &self.cosignatures
    }
}

fn unverified(why: &NoteError, key: &LogKey) -> String {
    match why {
        NoteError::InvalidSignature { name, .. } => {
            format!("the signature of {name} does not verify: it was damaged or changed")
        }
        _ => format!("{} has not signed it", key.origin()),
    }
}

/// A log as a checkpoint says it is.
pub struct Snapshot<S> {
    source: S,
    signed: Signed,
    edge: Growth,
}

impl<S: Source> Snapshot<S> {
    /// Reads the newest checkpoint and the tiles at the right edge.
    ///
    /// # Errors
    /// There is none, it is not one that this key signed, or the tiles are wrong.
    pub fn newest(source: S, key: &LogKey) -> Result<Self, AuditError> {
        let signed = Signed::newest(&source, key)?;
        let edge = read_edge(&source, &signed)?;
        Ok(Self {
            source,
            signed,
            edge,
        })
    }

    /// The checkpoint.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The checkpoint alone.
    pub fn into_signed(self) -> Signed {
        self.signed
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.signed.size()
    }

    /// Does something with the hashes of the tree, each proven to be in it.
    fn with_hashes<T>(
        &self,
        act: impl FnOnce(&Hashes<'_, S>) -> Result<T, Error>,
    ) -> Result<T, AuditError> {
        let hashes = Hashes {
            of: self,
            failed: RefCell::new(None),
        };
        let done = act(&hashes);
        let failed = hashes.failed.into_inner();
        done.map_err(|_| failed.unwrap_or(AuditError::Inconsistent))
    }

    /// A tile, proven to be of the tree.
    fn tile(&self, tile: &Tile) -> Result<Vec<u8>, AuditError> {
        if let Some(data) = self.edge.data(tile) {
            return Ok(data.clone());
        }
        let (path, data) = read_tile(&self.source, tile)?;
        let above = tile
            .parent(1, self.size())
            .ok_or(AuditError::Inconsistent)?;
        let index = stored_hash_index(HEIGHT * above.level(), tile.level_index());
        let signed = above.hash_at_index(&self.tile(&above)?, index);
        if signed.ok() != Some(Tile::subtree_hash(&data)) {
            let why = "its hashes are not those that the tile above it stands for".to_owned();
            return Err(AuditError::TileWrong { path, why });
        }
        Ok(data)
    }

    fn hash(&self, index: u64) -> Result<Hash, AuditError> {
        let tile = Tile::from_index(HEIGHT, index).parent(0, self.size());
        let tile = tile.ok_or(AuditError::Inconsistent)?;
        tile.hash_at_index(&self.tile(&tile)?, index)
            .map_err(|_| AuditError::Inconsistent)
    }

    fn within(&self, asked: u64) -> Result<(), AuditError> {
        let size = self.size();
        if asked > size {
            return Err(AuditError::Beyond { size, asked });
        }
        Ok(())
    }

    /// The root hash that the log had at an earlier size.
    ///
    /// # Errors
    /// It never had it, or its tiles are wrong.
    pub fn root_at(&self, size: u64) -> Result<Hash, AuditError> {
        self.within(size)?;
        self.with_hashes(|reader| tree_hash(size, reader))
    }

    /// The hash of an entry, proven to be in the tree.
    pub(super) fn leaf(&self, index: u64) -> Result<Hash, AuditError> {
        self.hash(stored_hash_index(0, index))
    }

    /// Gives each entry of a range, as its bytes.
    ///
    /// # Errors
    /// One of them is not what the checkpoint says.
    pub fn for_each(
        &self,
        range: Range<u64>,
        mut act: impl FnMut(u64, &[u8]) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        self.within(range.end)?;
        let mut next = range.start;
        while next < range.end {
            let first = next - next % WIDTH;
            let entries = self.bundle(first / WIDTH)?;
            for (index, entry) in (first..).zip(&entries) {
                if range.contains(&index) {
                    act(index, entry)?;
                }
            }
            next = first + WIDTH;
        }
        Ok(())
    }

    /// The entries of a range.
    ///
    /// # Errors
    /// One of them is not what the checkpoint says, or cannot be understood.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<(u64, Entry)>, AuditError> {
        let mut entries = Vec::new();
        self.for_each(range, |index, bytes| {
            entries.push((index, Entry::parse(index, bytes)?));
            Ok(())
        })?;
        Ok(entries)
    }

    /// The bytes of one entry.
    ///
    /// # Errors
    /// There is none, or it is not what the checkpoint says.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, AuditError> {
        let mut found = Vec::new();
        self.for_each(index..index.saturating_add(1), |_, bytes| {
            found.extend(bytes);
            Ok(())
        })?;
        Ok(found)
    }

    /// A bundle's entries, checked.
    fn bundle(&self, number: u64) -> Result<Vec<Vec<u8>>, AuditError> {
        let first = number * WIDTH;
        let width = (self.size() - first).min(WIDTH) as u32;
        let tile = Tile::new(HEIGHT, 0, number, width, true);
        let (path, bytes) = read_tile(&self.source, &tile)?;
        let wrong = |number: u64, why: &str| AuditError::TileWrong {
            path: path.clone(),
            why: format!("entry {number} {why}"),
        };
        let entries = tiles::split(&bytes, width)
            .map_err(|number| wrong(first + number as u64, "is not whole"))?;
        let leaves = self.tile(&Tile::new(HEIGHT, 0, number, width, false))?;
        let leaves = leaves.chunks(tlog_tiles::HASH_SIZE);
        for ((entry, hash), index) in entries.iter().zip(leaves).zip(first..) {
            if record_hash(entry).0 != hash {
                return Err(wrong(index, "is not the one that was logged"));
            }
        }
        Ok(entries)
    }

    /// Proves that an entry is in the log, by a checkpoint not newer than this one.
    ///
    /// # Errors
    /// It is not, or the tiles are wrong.
    pub fn prove(&self, index: u64, by: &Signed) -> Result<Proof, AuditError> {
        self.within(by.size())?;
        if index >= by.size() {
            return Err(AuditError::Beyond {
                size: by.size(),
                asked: index.saturating_add(1),
            });
        }
        let hashes = self.with_hashes(|reader| prove_record(by.size(), index, reader))?;
        Ok(Proof {
            index,
            hashes,
            checkpoint: by.to_bytes(),
        })
    }

    /// What a witness is asked that has cosigned an old size, 0 when none.
    ///
    /// # Errors
    /// The log never had that size, or its tiles are wrong.
    pub fn request(&self, old_size: u64) -> Result<Request, AuditError> {
        self.within(old_size)?;
        let proof = if old_size == 0 || old_size == self.size() {
            Vec::new()
        } else {
            self.with_hashes(|reader| prove_tree(self.size(), old_size, reader))?
        };
        Ok(Request {
            old_size,
            proof,
            checkpoint: self.signed.to_bytes(),
        })
    }
}

/// Reads a tile, whose bytes are not trusted yet.
pub(super) fn read_tile(source: &dyn Source, tile: &Tile) -> Result<(String, Vec<u8>), AuditError> {
    let path = tiles::path(tile);
    let Some(bytes) = find(source, &path)? else {
        return Err(AuditError::TileMissing { path });
    };
    let expected = tile.width() as usize * tlog_tiles::HASH_SIZE;
    if !tile.is_data() && bytes.len() != expected {
        let why = format!("it has {} bytes instead of {expected}", bytes.len());
        return Err(AuditError::TileWrong { path, why });
    }
    Ok((path, bytes))
}

/// Reads the partial tiles of a tree, which together give its root hash.
fn read_edge(source: &dyn Source, signed: &Signed) -> Result<Growth, AuditError> {
    let mut edge = Growth {
        size: signed.size(),
        ..Growth::default()
    };
    for tile in (0..levels(edge.size)).filter_map(|level| edge_of(level, edge.size)) {
        let (_, data) = read_tile(source, &tile)?;
        edge.edge.insert(tile.level(), data);
    }
    match tree_hash(edge.size, &edge) {
        Ok(root) if root == signed.root() => Ok(edge),
        _ => Err(AuditError::Inconsistent),
    }
}

struct Hashes<'a, S> {
    of: &'a Snapshot<S>,
    /// Why reading failed: the crate's error cannot say it.
    failed: RefCell<Option<AuditError>>,
}

impl<S: Source> HashReader for Hashes<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = indexes.iter().map(|index| self.of.hash(*index));
        let read: Result<Vec<Hash>, AuditError> = read.collect();
        read.map_err(|why| {
            self.failed.replace(Some(why));
            Error::InvalidTile
        })
    }
}
