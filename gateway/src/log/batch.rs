//! Commit batches: what one write puts into a segment.
//!
//! ```text
//! 0      4             8                16      20       24    28
//! [magic][incarnation ][first position ][count ][length ][crc ][entries … length bytes][zeros to 512]
//!                                                               └ each: varint length, bytes
//! ```
//! All numbers are little-endian. The CRC is CRC-32C over the number of the segment (u64, from its
//! file's name), the 24 bytes before the CRC, and the entries: what remains of a recycled file's
//! former life, as another segment, never verifies.
//! A batch begins on a 512-byte boundary, so that a torn write of one can never hide the next.

use crc::{CRC_32_ISCSI, Crc, Table};

use super::LogError;

/// Batches begin at multiples of this: the smallest piece that disks write whole.
pub const BLOCK_BYTES: usize = 512;
/// Bytes of a batch before its entries.
pub const HEADER_BYTES: usize = 28;
/// Most bytes of one batch: bounds what recovery must hold in memory.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"TGcb");
const CRC_AT: usize = 24;
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// CRC-32C of several pieces in a row.
pub(super) fn checksum(pieces: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize()
}

/// What stands before a batch's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which life of the log wrote it.
    pub incarnation: u32,
    /// Position of its first entry.
    pub first: u64,
    /// Entries.
    pub count: u32,
    /// Bytes of the entries with their lengths.
    pub length: u32,
    crc: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Header {
    /// Reads a header; `None` when the magic is another or the length impossible.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if u32_at(bytes, 0)? != MAGIC {
            return None;
        }
        let header = Self {
            incarnation: u32_at(bytes, 4)?,
            first: u64_at(bytes, 8)?,
            count: u32_at(bytes, 16)?,
            length: u32_at(bytes, 20)?,
            crc: u32_at(bytes, CRC_AT)?,
        };
        let possible = header.length as usize <= BATCH_BYTES_MAX
            && header.count <= header.length
            && header.first.checked_add(u64::from(header.count)).is_some();
        possible.then_some(header)
    }

    /// Whether `batch` (header and entries, without padding) carries this header's CRC as a batch
    /// of the segment with this number.
    pub fn verifies(&self, batch: &[u8], segment: u64) -> bool {
        match (batch.get(..CRC_AT), batch.get(HEADER_BYTES..)) {
            (Some(head), Some(entries)) => {
                checksum(&[&segment.to_le_bytes(), head, entries]) == self.crc
            }
            _ => false,
        }
    }

    /// Position after its last entry.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Bytes of header and entries.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    /// Bytes it takes in its file.
    pub fn bytes_padded(&self) -> u64 {
        self.bytes().next_multiple_of(BLOCK_BYTES) as u64
    }
}

/// Writes one batch, padding included, into `into` (cleared before). It counts nowhere until it is
/// [sealed](seal) for a segment.
pub fn encode(
    into: &mut Vec<u8>,
    incarnation: u32,
    first: u64,
    entries: &[impl AsRef<[u8]>],
) -> Result<(), LogError> {
    into.clear();
    into.resize(HEADER_BYTES, 0);
    for entry in entries {
        let entry = entry.as_ref();
        push_varint(into, entry.len());
        into.extend_from_slice(entry);
        if into.len() > BATCH_BYTES_MAX {
            return Err(LogError::BatchTooLong {
                bytes_max: BATCH_BYTES_MAX,
            });
        }
    }
    let length = (into.len() - HEADER_BYTES) as u32;
    into[..4].copy_from_slice(&MAGIC.to_le_bytes());
    into[4..8].copy_from_slice(&incarnation.to_le_bytes());
    into[8..16].copy_from_slice(&first.to_le_bytes());
    into[16..20].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    into[20..24].copy_from_slice(&length.to_le_bytes());
    into.resize(into.len().next_multiple_of(BLOCK_BYTES), 0);
    Ok(())
}

/// Gives an encoded batch the CRC it has in the segment with this number.
pub fn seal(batch: &mut [u8], segment: u64) {
    let Some(header) = Header::parse(batch) else {
        return;
    };
    let (Some(head), Some(entries)) =
        (batch.get(..CRC_AT), batch.get(HEADER_BYTES..header.bytes()))
    else {
        return;
    };
    let crc = checksum(&[&segment.to_le_bytes(), head, entries]);
    batch[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn push_varint(into: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Takes one entry off the front; `None` when the bytes do not hold one.
pub fn take_entry<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (entry, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            return Some(entry);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_taken_back(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            first in 0..u64::MAX / 2,
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, 7, first, &entries).unwrap();
            prop_assert_eq!(bytes.len() % BLOCK_BYTES, 0);
            seal(&mut bytes, 3);
            let header = Header::parse(&bytes).unwrap();
            prop_assert!(header.verifies(&bytes[..header.bytes()], 3));
            prop_assert!(!header.verifies(&bytes[..header.bytes()], 4));
            prop_assert_eq!((header.first, header.incarnation), (first, 7));
            let mut rest = &bytes[HEADER_BYTES..header.bytes()];
            let taken: Vec<Vec<u8>> =
                (0..header.count).map(|_| take_entry(&mut rest).unwrap().to_vec()).collect();
            prop_assert_eq!(taken, entries);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(header) = Header::parse(&bytes) {
                header.verifies(&bytes, 1);
                seal(&mut bytes.clone(), 1);
            }
            while take_entry(&mut &bytes[..]).is_some_and(|entry| entry.len() > bytes.len()) {}
        }
    }
}
