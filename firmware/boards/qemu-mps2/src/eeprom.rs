//! The boot store: an AT24C32 on the bus (Microchip AT24C32E datasheet, sections 7 and 8).
//!
//! A write of up to 32 bytes within a page is one cycle of 5 ms, during which the chip does not
//! answer. Each slot is two pages of its own; a cut between them leaves a record whose check does not
//! hold.

use embedded_hal::i2c::I2c;
use tidegate_board::boot::{RECORD_BYTES, Slots};

const ADDRESS: u8 = 0x50;
const PAGE_BYTES: usize = 32;
const SLOT_BYTES: u16 = 64;
const _: () = assert!(RECORD_BYTES == SLOT_BYTES as usize);
/// Asked so often for the end of a write: at 100 kHz, 0.1 ms each, four times what it may take.
const POLLS_MAX: usize = 200;

/// The chip.
#[derive(Debug)]
pub struct Eeprom<I> {
    bus: I,
}

impl<I: I2c> Eeprom<I> {
    /// The chip on `bus`.
    pub fn new(bus: I) -> Self {
        Self { bus }
    }
}

impl<I: I2c> Slots for Eeprom<I> {
    type Error = I::Error;

    fn read(&mut self, slot: usize) -> Result<[u8; RECORD_BYTES], I::Error> {
        let at = (slot as u16 * SLOT_BYTES).to_be_bytes();
        let mut record = [0; RECORD_BYTES];
        self.bus.write_read(ADDRESS, &at, &mut record)?;
        Ok(record)
    }

    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), I::Error> {
        let pages = record.chunks_exact(PAGE_BYTES);
        let places = (slot as u16 * SLOT_BYTES..).step_by(PAGE_BYTES);
        places
            .zip(pages)
            .try_for_each(|(at, page)| self.write_page(at, page))
    }
}

impl<I: I2c> Eeprom<I> {
    /// Writes within a page and waits for the end of it.
    fn write_page(&mut self, at: u16, content: &[u8]) -> Result<(), I::Error> {
        let mut bytes = [0; 2 + PAGE_BYTES];
        let (place, page) = bytes.split_at_mut(2);
        place.copy_from_slice(&at.to_be_bytes());
        page.copy_from_slice(content);
        self.bus.write(ADDRESS, &bytes)?;
        let mut answer = self.bus.write(ADDRESS, &[]);
        for _ in 0..POLLS_MAX {
            if answer.is_ok() {
                break;
            }
            answer = self.bus.write(ADDRESS, &[]);
        }
        answer
    }
}
