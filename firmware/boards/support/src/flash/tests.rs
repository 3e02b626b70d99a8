//! Starts from a flash that refuses illegal writes, and whose power fails at every byte.

use std::vec;
use std::vec::Vec;

use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use tidegate_firmware::shell::Entropy;

use super::*;
use crate::boot::{self, Boot, Found};

const SECTOR_BYTES: usize = 256;

/// Two sectors of four cells, behind a sector of somebody else.
struct Nor {
    bytes: Vec<u8>,
    /// Bytes that can still be changed before the power fails.
    power: usize,
    erases: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum NorError {
    Illegal,
    PowerCut,
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl Nor {
    fn new() -> Self {
        let mut bytes = vec![0xff; 3 * SECTOR_BYTES];
        bytes[..SECTOR_BYTES].fill(0x55);
        Self {
            bytes,
            power: usize::MAX,
            erases: 0,
        }
    }

    fn change(&mut self, at: usize, byte: u8) -> Result<(), NorError> {
        self.power = self.power.checked_sub(1).ok_or(NorError::PowerCut)?;
        // The last byte before the cut is changed in half of its bits only.
        let mask = if self.power == 0 { 0x0f } else { 0xff };
        self.bytes[at] = (self.bytes[at] & !mask) | (byte & mask);
        Ok(())
    }
}

impl ErrorType for Nor {
    type Error = NorError;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        if !from.is_multiple_of(SECTOR_BYTES as u32) || to - from != SECTOR_BYTES as u32 {
            return Err(NorError::Illegal);
        }
        self.erases += 1;
        (from..to).try_for_each(|at| self.change(at as usize, 0xff))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        for (at, byte) in (offset as usize..).zip(bytes) {
            if self.bytes[at] != 0xff {
                return Err(NorError::Illegal);
            }
            self.change(at, *byte)?;
        }
        Ok(())
    }
}

/// Draws 1, 2, 3 …
struct Counting(u32);

impl Entropy for Counting {
    fn draw(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

fn start(nor: Nor) -> (Nor, Result<Boot, boot::StoreError<NorError>>) {
    let mut slots = FlashSlots::new(nor, SECTOR_BYTES as u32);
    let begun = boot::begin(&mut slots, &mut Counting(0));
    (slots.into_flash(), begun)
}

#[test]
fn starts_are_counted_and_erases_are_rare() {
    let mut nor = Nor::new();
    for boot in 1..=400 {
        let (after, begun) = start(nor);
        nor = after;
        let begun = begun.expect("a boot");
        assert_eq!((begun.incarnation.0, begun.boot), (1, boot));
        let found = if boot == 1 {
            Found::Empty
        } else {
            Found::Record
        };
        assert_eq!(begun.found, found);
    }
    assert_eq!(nor.erases, 98, "one in four, after the first eight");
    assert!(nor.bytes[..SECTOR_BYTES].iter().all(|byte| *byte == 0x55));
}

#[test]
fn a_power_cut_at_any_byte_costs_at_most_that_start() {
    for cut in 0..3_000 {
        let (mut nor, mut newest) = (Nor::new(), 0);
        nor.power = cut;
        for _ in 0..30 {
            let (after, begun) = start(nor);
            nor = after;
            match begun {
                Ok(begun) => {
                    // Never one that was told before; the one that was cut may be left out.
                    let next = newest + 1..=newest + 2;
                    assert!(next.contains(&begun.boot), "cut at {cut}");
                    newest = begun.boot;
                }
                Err(error) => {
                    // The cut may come in the record's last byte: then it reads back otherwise.
                    let cut = boot::StoreError::Slots(NorError::PowerCut);
                    assert!(
                        [cut, boot::StoreError::ReadBack].contains(&error),
                        "{error:?}"
                    );
                    nor.power = usize::MAX;
                }
            }
        }
        assert!(newest >= 29, "cut at {cut}: {newest}");
    }
}
