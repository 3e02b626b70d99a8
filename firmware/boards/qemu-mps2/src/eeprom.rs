//! The boot store: an AT24C32 on the bus (Microchip AT24C32E datasheet, sections 7 and 8).
//!
//! A write of up to 32 bytes within a page is one cycle of 5 ms, during which the chip does not
//! answer. Each slot is the beginning of a page of its own.

use embedded_hal::i2c::I2c;
use tidegate_board::boot::{RECORD_BYTES, Slots};

const ADDRESS: u8 = 0x50;
const PAGE_BYTES: u16 = 32;
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
        let at = (slot as u16 * PAGE_BYTES).to_be_bytes();
        let mut record = [0; RECORD_BYTES];
        self.bus.write_read(ADDRESS, &at, &mut record)?;
        Ok(record)
    }

    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), I::Error> {
        let mut bytes = [0; 2 + RECORD_BYTES];
        let (at, content) = bytes.split_at_mut(2);
        at.copy_from_slice(&(slot as u16 * PAGE_BYTES).to_be_bytes());
        content.copy_from_slice(record);
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
