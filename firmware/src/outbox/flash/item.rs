//! A frame as it lies in flash: one item of the queue.
//!
//! ```text
//! format u8 = 1 | content u8 | receipt pairs u16 | catalog u32
//! incarnation u32 | boot u32 | sequence u32 | check u32          all lowest byte first
//! receipt: 2 bytes a pair: sensor, samples
//! frame
//! ```
//! `content` is 0 other, 1 catalog, 2 batch, 3 totals; `catalog` is 0 where there is none. The
//! queue keeps a CRC of the whole item. The head repeats what the frame says, so that a frame
//! that was corrupt before it was written keeps its place and its receipt.

use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark};

use crate::outbox::{Content, Entry};

/// Bytes before the receipt.
pub(super) const HEAD_BYTES: usize = 24;

const FORMAT: u8 = 1;

/// What the head of an item says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) entry: Entry,
    pub(super) incarnation: Incarnation,
    /// Sensors in the receipt.
    pub(super) pairs: u16,
}

impl Head {
    pub(super) fn write(&self) -> [u8; HEAD_BYTES] {
        let (content, catalog) = match self.entry.content {
            Content::Other => (0, 0),
            Content::Catalog(CatalogHash(hash)) => (1, hash),
            Content::Batch(CatalogHash(hash)) => (2, hash),
            Content::Totals => (3, 0),
        };
        let [pairs_low, pairs_high] = self.pairs.to_le_bytes();
        let mut out = [0; HEAD_BYTES];
        let words = [
            u32::from_le_bytes([FORMAT, content, pairs_low, pairs_high]),
            catalog,
            self.incarnation.0,
            self.entry.mark.boot,
            self.entry.mark.sequence,
            self.entry.check.0,
        ];
        for (there, word) in out.chunks_exact_mut(4).zip(words) {
            there.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// The head of an item; none where it is not one of ours.
    pub(super) fn read(item: &[u8]) -> Option<Self> {
        let mut words = [0; HEAD_BYTES / 4];
        for (word, bytes) in words
            .iter_mut()
            .zip(item.get(..HEAD_BYTES)?.chunks_exact(4))
        {
            *word = u32::from_le_bytes(bytes.try_into().ok()?);
        }
        let [first, catalog, incarnation, boot, sequence, check] = words;
        let [format, content, pairs_low, pairs_high] = first.to_le_bytes();
        let pairs = u16::from_le_bytes([pairs_low, pairs_high]);
        let content = match content {
            0 => Content::Other,
            1 => Content::Catalog(CatalogHash(catalog)),
            2 => Content::Batch(CatalogHash(catalog)),
            3 => Content::Totals,
            _ => return None,
        };
        let is_ours = format == FORMAT && item.len() >= HEAD_BYTES + 2 * usize::from(pairs);
        is_ours.then_some(Self {
            entry: Entry {
                mark: Mark { boot, sequence },
                check: Check(check),
                content,
            },
            incarnation: Incarnation(incarnation),
            pairs,
        })
    }

    /// The receipt's bytes in this head's item.
    pub(super) fn receipt<'i>(&self, item: &'i [u8]) -> &'i [u8] {
        let end = HEAD_BYTES + 2 * usize::from(self.pairs);
        item.get(HEAD_BYTES..end).unwrap_or_default()
    }

    /// The frame in this head's item.
    pub(super) fn frame<'i>(&self, item: &'i [u8]) -> &'i [u8] {
        let start = HEAD_BYTES + 2 * usize::from(self.pairs);
        item.get(start..).unwrap_or_default()
    }
}

/// Tells the pairs of a receipt.
pub(super) fn tell(receipt: &[u8], mut each: impl FnMut(u8, u8)) {
    for pair in receipt.chunks_exact(2) {
        if let [sensor, samples] = *pair {
            each(sensor, samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn heads_read_as_written_and_others_do_not() {
        let contents = [
            Content::Other,
            Content::Catalog(CatalogHash(7)),
            Content::Batch(CatalogHash(0xffff_fffe)),
            Content::Totals,
        ];
        for content in contents {
            let head = Head {
                entry: Entry {
                    mark: Mark {
                        boot: 3,
                        sequence: 70_000,
                    },
                    check: Check(0x0102_0304),
                    content,
                },
                incarnation: Incarnation(9),
                pairs: 1,
            };
            let mut item: Vec<u8> = head.write().to_vec();
            item.extend([4, 60, 1, 2, 3]);
            assert_eq!(Head::read(&item), Some(head));
            assert_eq!(head.receipt(&item), [4, 60]);
            assert_eq!(head.frame(&item), [1, 2, 3]);
            assert_eq!(Head::read(&item[..25]), None, "the receipt is cut off");
            item[0] = 2;
            assert_eq!(Head::read(&item), None, "another format");
        }
        assert_eq!(Head::read(&[1; 4]), None);
    }
}
