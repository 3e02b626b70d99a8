//! The boot store's two slots in NOR flash: a sector each, written cell by cell.
//!
//! ```text
//! sector of slot 0 | record | record | record | blank … |
//! sector of slot 1 | record | record | blank           … |
//! ```
//! A slot is its newest cell, the last one that is not blank. A start writes one cell; a sector is
//! erased only when it is full, so that one of 16 KiB wears by one erase in five hundred starts. A
//! cell is a record at a multiple of its length, which is whole words of any flash that computes an
//! ECC.
//!
//! Whatever a cut write or erase leaves in one sector, the other is not touched by it.

use embedded_storage::nor_flash::NorFlash;

use crate::boot::{RECORD_BYTES, Slots};

/// Bytes of a cell.
pub const CELL_BYTES: u32 = RECORD_BYTES as u32;

type Cell = [u8; RECORD_BYTES];
const BLANK: Cell = [0xff; RECORD_BYTES];

/// Two neighbouring sectors of a flash.
#[derive(Debug)]
pub struct FlashSlots<F> {
    flash: F,
    /// Where the first sector begins, as the flash counts.
    start: u32,
}

impl<F: NorFlash> FlashSlots<F> {
    const SECTOR_BYTES: u32 = {
        assert!(
            (F::ERASE_SIZE as u32).is_multiple_of(CELL_BYTES)
                && CELL_BYTES.is_multiple_of(F::WRITE_SIZE as u32),
            "cells fill a sector, and words a cell"
        );
        F::ERASE_SIZE as u32
    };

    /// The two sectors of `flash` from `start` on, a multiple of their size.
    pub const fn new(flash: F, start: u32) -> Self {
        Self { flash, start }
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    fn sector(&self, slot: usize) -> u32 {
        self.start + slot as u32 * Self::SECTOR_BYTES
    }

    /// The newest cell and where it ends in the sector; none in a blank one.
    fn newest(&mut self, slot: usize) -> Result<Option<(Cell, u32)>, F::Error> {
        let sector = self.sector(slot);
        let mut end = Self::SECTOR_BYTES;
        while end > 0 {
            let mut cell = BLANK;
            self.flash.read(sector + end - CELL_BYTES, &mut cell)?;
            if cell != BLANK {
                return Ok(Some((cell, end)));
            }
            end -= CELL_BYTES;
        }
        Ok(None)
    }
}

impl<F: NorFlash> Slots for FlashSlots<F> {
    type Error = F::Error;

    fn read(&mut self, slot: usize) -> Result<[u8; RECORD_BYTES], F::Error> {
        Ok(self.newest(slot)?.map_or(BLANK, |(cell, _)| cell))
    }

    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), F::Error> {
        let sector = self.sector(slot);
        let mut at = self.newest(slot)?.map_or(0, |(_, end)| end);
        if at == Self::SECTOR_BYTES {
            self.flash.erase(sector, sector + Self::SECTOR_BYTES)?;
            at = 0;
        }
        self.flash.write(sector + at, record)
    }
}

#[cfg(test)]
mod tests;
