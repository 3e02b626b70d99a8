//! Bases: states from which replay begins, each in a file of its own.
//!
//! Terms: a base's *position* is that of the first entry it does not cover. A *part* is a piece
//! of state with a kind, a version and a key; its bytes mean nothing here.
//!
//! Invariants: a damaged part never hides another one; a part whose head can be read is named
//! when its bytes cannot; a file whose own head is damaged is no base.
//!
//! ```text
//! [magic "TGbs"][incarnation u32][position u64][parts u32][crc u32]                   24 bytes
//! per part, on a 16-byte boundary:
//! [magic "TGpt"][kind u16][version u16][key length u32][length u32][crc of the bytes u32]
//! [crc of the above and the key u32][key][bytes][zeros to 16]
//! ```

use super::batch::checksum;
use super::{Base, Part};

const MAGIC: [u8; 4] = *b"TGbs";
const PART_MAGIC: [u8; 4] = *b"TGpt";
const HEAD_BYTES: usize = 24;
const PART_HEAD_BYTES: usize = 24;
const ALIGN_BYTES: usize = 16;
/// Longest key of a part; keys are names, which are far shorter.
pub const KEY_BYTES_MAX: usize = 4 << 10;

/// A base as far as it could be read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ReadBase {
    /// The parts that could be read.
    pub base: Base,
    /// Incarnation of the log when it was written.
    pub incarnation: u32,
    /// Kind and key of the parts whose bytes are damaged.
    pub damaged: Vec<(u16, String)>,
    /// Parts of which not even that is known.
    pub unnamed: u32,
}

impl ReadBase {
    /// Whether every part was read.
    pub fn is_intact(&self) -> bool {
        self.damaged.is_empty() && self.unnamed == 0
    }
}

/// Writes a base as the bytes of its file.
pub(super) fn encode(base: &Base, incarnation: u32) -> Vec<u8> {
    let bytes: usize = base
        .parts
        .iter()
        .map(|part| part.bytes.len() + part.key.len() + 64)
        .sum();
    let mut into = Vec::with_capacity(HEAD_BYTES + ALIGN_BYTES + bytes);
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&incarnation.to_le_bytes());
    into.extend_from_slice(&base.position.to_le_bytes());
    into.extend_from_slice(&(base.parts.len() as u32).to_le_bytes());
    let crc = checksum(&[&into]);
    into.extend_from_slice(&crc.to_le_bytes());
    for part in &base.parts {
        into.resize(into.len().next_multiple_of(ALIGN_BYTES), 0);
        let start = into.len();
        into.extend_from_slice(&PART_MAGIC);
        into.extend_from_slice(&part.kind.to_le_bytes());
        into.extend_from_slice(&part.version.to_le_bytes());
        into.extend_from_slice(&(part.key.len() as u32).to_le_bytes());
        into.extend_from_slice(&(part.bytes.len() as u32).to_le_bytes());
        into.extend_from_slice(&checksum(&[&part.bytes]).to_le_bytes());
        let crc = checksum(&[&into[start..], part.key.as_bytes()]);
        into.extend_from_slice(&crc.to_le_bytes());
        into.extend_from_slice(part.key.as_bytes());
        into.extend_from_slice(&part.bytes);
    }
    into
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Position and incarnation from a base file's first bytes; `None` when it is no base.
pub(super) fn decode_head(file: &[u8]) -> Option<(u64, u32, u32)> {
    let head = file.get(..HEAD_BYTES)?;
    let mut rest = head;
    let magic = take::<4>(&mut rest)?;
    let incarnation = u32::from_le_bytes(take(&mut rest)?);
    let position = u64::from_le_bytes(take(&mut rest)?);
    let parts = u32::from_le_bytes(take(&mut rest)?);
    let crc = u32::from_le_bytes(take(&mut rest)?);
    let holds = magic == MAGIC && crc == checksum(&[&head[..HEAD_BYTES - 4]]);
    holds.then_some((position, incarnation, parts))
}

struct PartHead<'a> {
    kind: u16,
    version: u16,
    key: &'a str,
    bytes_at: usize,
    length: usize,
    crc: u32,
}

fn decode_part_head(file: &[u8], at: usize) -> Option<PartHead<'_>> {
    let head = file.get(at..at + PART_HEAD_BYTES)?;
    let mut rest = head;
    if take::<4>(&mut rest)? != PART_MAGIC {
        return None;
    }
    let kind = u16::from_le_bytes(take(&mut rest)?);
    let version = u16::from_le_bytes(take(&mut rest)?);
    let key_length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let crc = u32::from_le_bytes(take(&mut rest)?);
    let head_crc = u32::from_le_bytes(take(&mut rest)?);
    if key_length > KEY_BYTES_MAX {
        return None;
    }
    let key_at = at + PART_HEAD_BYTES;
    let key = file.get(key_at..key_at + key_length)?;
    if checksum(&[&head[..PART_HEAD_BYTES - 4], key]) != head_crc {
        return None;
    }
    Some(PartHead {
        kind,
        version,
        key: std::str::from_utf8(key).ok()?,
        bytes_at: key_at + key_length,
        length,
        crc,
    })
}

/// Reads a base file; `None` when it is no base.
pub(crate) fn decode(file: &[u8]) -> Option<ReadBase> {
    let (position, incarnation, parts) = decode_head(file)?;
    let mut read = ReadBase {
        base: Base {
            position,
            parts: Vec::new(),
        },
        incarnation,
        ..ReadBase::default()
    };
    let mut at = HEAD_BYTES.next_multiple_of(ALIGN_BYTES);
    while at < file.len() && read.found() < parts {
        let Some(head) = decode_part_head(file, at) else {
            // Look for the next part's head: only this one is lost.
            at += ALIGN_BYTES;
            continue;
        };
        let end = head.bytes_at.saturating_add(head.length);
        match file.get(head.bytes_at..end) {
            Some(bytes) if checksum(&[bytes]) == head.crc => read.base.parts.push(Part {
                kind: head.kind,
                version: head.version,
                key: head.key.to_owned(),
                bytes: bytes.to_vec(),
            }),
            _ => read.damaged.push((head.kind, head.key.to_owned())),
        }
        at = end.next_multiple_of(ALIGN_BYTES);
    }
    read.unnamed = parts - read.found();
    Some(read)
}

impl ReadBase {
    fn found(&self) -> u32 {
        (self.base.parts.len() + self.damaged.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_base() -> Base {
        let part = |kind, key: &str, bytes: Vec<u8>| Part {
            kind,
            version: 1,
            key: key.to_owned(),
            bytes,
        };
        Base {
            position: 77,
            parts: vec![
                part(1, "pump-1", vec![3; 100]),
                part(2, "", vec![]),
                part(1, "pump-2", (0..=255).collect()),
            ],
        }
    }

    #[test]
    fn a_base_is_read_back() {
        let read = decode(&encode(&sample_base(), 5)).unwrap();
        assert!(read.is_intact());
        assert_eq!((read.base, read.incarnation), (sample_base(), 5));
    }

    #[test]
    fn every_flipped_byte_costs_at_most_one_part() {
        let base = sample_base();
        let bytes = encode(&base, 5);
        let mut named = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            let Some(read) = decode(&flipped) else {
                assert!(at < HEAD_BYTES);
                continue;
            };
            let lost = base.parts.len() - read.base.parts.len();
            assert!(lost <= 1, "byte {at} cost {lost} parts");
            assert_eq!(lost, read.damaged.len() + read.unnamed as usize);
            assert!(read.base.parts.iter().all(|part| base.parts.contains(part)));
            named += read.damaged.len();
        }
        assert_eq!(named, 356, "a flip in a part's bytes names the part");
    }

    #[test]
    fn every_cut_leaves_the_parts_before_it() {
        let base = sample_base();
        let bytes = encode(&base, 5);
        for length in 0..bytes.len() {
            let Some(read) = decode(&bytes[..length]) else {
                assert!(length < HEAD_BYTES);
                continue;
            };
            assert!(!read.is_intact());
            assert_eq!(read.base.parts, base.parts[..read.base.parts.len()]);
        }
    }
}
