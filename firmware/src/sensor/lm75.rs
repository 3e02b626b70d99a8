//! LM75 and its family (TMP105, TMP102, TMP75): temperature over I²C.
//!
//! Register 0 holds the temperature as two bytes, most significant first: a signed number of
//! 1/256 °C of which the chip fills the upper 9 to 12 bits (Texas Instruments SNOS808, SBOS648).
//! Register 1 is the configuration; its bits 5 and 6 choose the resolution of a TMP105. Raw
//! values count 1/16 °C, which is 625 × 10⁻⁴ °C exactly: no float is needed anywhere.

use embedded_hal::i2c::I2c;
use tidegate_shared::catalog::Scale;

use super::{Fault, Reading, Sensor};

const TEMPERATURE: u8 = 0;
const CONFIGURATION: u8 = 1;
const TWELVE_BITS: u8 = 0x60;

/// The address with all address pins low.
pub const ADDRESS: u8 = 0x48;
/// From raw 1/16 °C to °C.
pub const SCALE: Scale = Scale {
    step: 625,
    offset: 0,
    exponent: -4,
};
/// What the chips are specified for: -55 °C to 125 °C, in raw units.
pub const RAW_RANGE: core::ops::RangeInclusive<i64> = -55 * 16..=125 * 16;

/// One chip on a bus.
#[derive(Debug)]
pub struct Lm75<I> {
    bus: I,
    address: u8,
    /// Twelve bits were asked for.
    is_twelve_bits: bool,
    /// A fault came after that: the chip may have lost power and its resolution.
    is_doubtful: bool,
}

impl<I: I2c> Lm75<I> {
    /// A chip at `address` (see [`ADDRESS`]).
    pub fn new(bus: I, address: u8) -> Self {
        Self {
            bus,
            address,
            is_twelve_bits: false,
            is_doubtful: false,
        }
    }

    /// A chip at `address` that is asked for 12 bits when its first measurement begins.
    pub fn twelve_bits(bus: I, address: u8) -> Self {
        Self {
            bus,
            address,
            is_twelve_bits: true,
            is_doubtful: true,
        }
    }

    /// Asks for 12 bits: 1/16 °C instead of the 1/2 °C after power-on. An LM75 ignores it. Asked
    /// for again at the beginning of a measurement after a fault.
    pub fn set_twelve_bits(&mut self) -> Result<(), I::Error> {
        self.is_twelve_bits = true;
        self.is_doubtful = true;
        self.bus
            .write(self.address, &[CONFIGURATION, TWELVE_BITS])?;
        self.is_doubtful = false;
        Ok(())
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> I {
        self.bus
    }
}

impl<I: I2c> Sensor for Lm75<I> {
    type Fault = Fault;

    fn begin(&mut self) -> Result<u32, Fault> {
        if self.is_twelve_bits && self.is_doubtful {
            let set = self.set_twelve_bits();
            set.map_err(|error| Fault::of_bus(&error))?;
        }
        Ok(0)
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let mut bytes = [0; 2];
        let read = self
            .bus
            .write_read(self.address, &[TEMPERATURE], &mut bytes);
        self.is_doubtful |= read.is_err();
        read.map_err(|error| Fault::of_bus(&error))?;
        // Twelve bits leave the lowest four at 0: ones come from a line that stays high.
        if self.is_twelve_bits && bytes == [0xff; 2] {
            return Err(Fault::Absurd);
        }
        let raw = i64::from(i16::from_be_bytes(bytes) >> 4);
        Ok(Reading::within(&RAW_RANGE, raw))
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
    use std::vec;

    use super::*;

    fn read_once(bytes: [u8; 2]) -> Reading {
        let script = [Transaction::write_read(ADDRESS, vec![0], bytes.to_vec())];
        let mut sensor = Lm75::new(Mock::new(&script), ADDRESS);
        let reading = sensor.read().unwrap();
        sensor.into_bus().done();
        reading
    }

    #[test]
    fn temperatures_of_the_datasheet_are_read() {
        // SBOS648 table 8: temperature and register.
        for (sixteenths, bytes) in [
            (100 * 16, [0x64, 0x00]),
            (25 * 16, [0x19, 0x00]),
            (4, [0x00, 0x40]),
            (0, [0x00, 0x00]),
            (-4, [0xff, 0xc0]),
            (-25 * 16, [0xe7, 0x00]),
        ] {
            assert_eq!(read_once(bytes), Reading::Good(sixteenths));
        }
        assert_eq!(SCALE.mantissa(4), 2_500, "a quarter of a degree");
    }

    #[test]
    fn a_temperature_beyond_the_chip_is_bad() {
        assert_eq!(read_once([0x7f, 0xf0]), Reading::Bad(2_047));
    }

    #[test]
    fn a_silent_chip_is_a_fault_with_a_code() {
        let kind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let script = [
            Transaction::write(ADDRESS, vec![1, 0x60]),
            Transaction::write_read(ADDRESS, vec![0], vec![0, 0]).with_error(kind),
        ];
        let mut sensor = Lm75::new(Mock::new(&script), ADDRESS);
        sensor.set_twelve_bits().unwrap();
        let fault = sensor.read().unwrap_err();
        assert_eq!(Lm75::<Mock>::code(&fault), 3);
        sensor.into_bus().done();
    }

    #[test]
    fn a_line_that_stays_high_is_a_fault() {
        let script = [
            Transaction::write(ADDRESS, vec![1, 0x60]),
            Transaction::write_read(ADDRESS, vec![0], vec![0xff; 2]),
        ];
        let mut sensor = Lm75::new(Mock::new(&script), ADDRESS);
        sensor.set_twelve_bits().unwrap();
        assert_eq!(sensor.read(), Err(Fault::Absurd));
        sensor.into_bus().done();
    }

    #[test]
    fn a_chip_that_was_away_gets_its_resolution_again() {
        let away = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let configure = Transaction::write(ADDRESS, vec![1, 0x60]);
        let read = Transaction::write_read(ADDRESS, vec![0], vec![0x17, 0xa0]);
        let script = [
            configure.clone(),
            read.clone().with_error(away),
            configure.clone().with_error(away),
            configure,
            read.clone(),
            read,
        ];
        let mut sensor = Lm75::twelve_bits(Mock::new(&script), ADDRESS);
        assert_eq!(sensor.begin(), Ok(0));
        assert_eq!(sensor.read(), Err(Fault::NoAcknowledge));
        assert_eq!(sensor.begin(), Err(Fault::NoAcknowledge));
        for _ in 0..2 {
            assert_eq!(sensor.begin(), Ok(0));
            assert_eq!(sensor.read(), Ok(Reading::Good(378)), "23.625 °C");
        }
        sensor.into_bus().done();
    }
}
