//! SHTC3 of Sensirion: relative humidity and temperature over I²C, through the crate `shtcx`.
//!
//! Each quantity is a sensor of its own: it begins its own measurement (12.1 ms at most, section
//! 3.1 of its datasheet) and reads two bytes with their checksum. The driver turns them
//! into thousandths in integers, rounded down: a step of the chip is 1.5 thousandths of a percent
//! or 2.7 of a degree, so that different readings stay different.

use ::shtcx::{Error, PowerMode, ShtC3, max_measurement_duration};
use embedded_hal::i2c::I2c;
use tidegate_shared::catalog::Scale;

use super::{Fault, Reading, Sensor};

/// From raw thousandths to % of relative humidity, or °C.
pub const SCALE: Scale = Scale::decimal(-3);
/// What the chip is specified for, in raw units: 0 to 100 %.
pub const HUMIDITY_RANGE: core::ops::RangeInclusive<i64> = 0..=100_000;
/// What the chip is specified for, in raw units: -40 to 125 °C.
pub const TEMPERATURE_RANGE: core::ops::RangeInclusive<i64> = -40_000..=125_000;

/// The relative humidity of one chip.
pub struct Humidity<I>(ShtC3<I>);

/// The temperature of one chip.
pub struct Temperature<I>(ShtC3<I>);

impl<I: I2c> Humidity<I> {
    /// The chip at its only address, 0x70.
    pub fn new(bus: I) -> Self {
        Self(shtcx::shtc3(bus))
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> I {
        self.0.destroy()
    }
}

impl<I: I2c> Temperature<I> {
    /// The chip at its only address, 0x70.
    pub fn new(bus: I) -> Self {
        Self(shtcx::shtc3(bus))
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> I {
        self.0.destroy()
    }
}

impl<I: I2c> Sensor for Humidity<I> {
    type Fault = Fault;

    fn begin(&mut self) -> Result<u32, Fault> {
        let begun = self.0.start_humidity_measurement(PowerMode::NormalMode);
        begun.map_err(|error| fault(&error))?;
        Ok(max_measurement_duration(&self.0, PowerMode::NormalMode))
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let read = self.0.get_humidity_measurement_result();
        let raw = read.map_err(|error| fault(&error))?.as_millipercent();
        Ok(Reading::within(&HUMIDITY_RANGE, raw.into()))
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}

impl<I: I2c> Sensor for Temperature<I> {
    type Fault = Fault;

    fn begin(&mut self) -> Result<u32, Fault> {
        let begun = self.0.start_temperature_measurement(PowerMode::NormalMode);
        begun.map_err(|error| fault(&error))?;
        Ok(max_measurement_duration(&self.0, PowerMode::NormalMode))
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let read = self.0.get_temperature_measurement_result();
        let celsius = read.map_err(|error| fault(&error))?;
        let raw = celsius.as_millidegrees_celsius();
        Ok(Reading::within(&TEMPERATURE_RANGE, raw.into()))
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}

fn fault<E: embedded_hal::i2c::Error>(error: &Error<E>) -> Fault {
    match error {
        Error::I2c(error) => Fault::of_bus(error),
        Error::Crc => Fault::Checksum,
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
    use std::vec;

    use super::*;

    const ADDRESS: u8 = 0x70;

    fn measure<S: Sensor>(sensor: &mut S) -> Result<Reading, S::Fault> {
        assert_eq!(sensor.begin()?, 12_100);
        sensor.read()
    }

    fn humidity(read: Transaction) -> Result<Reading, Fault> {
        let command = Transaction::write(ADDRESS, vec![0x58, 0xe0]);
        let mut sensor = Humidity::new(Mock::new(&[command, read]));
        let measured = measure(&mut sensor);
        sensor.into_bus().done();
        measured
    }

    fn temperature(read: Transaction) -> Result<Reading, Fault> {
        let command = Transaction::write(ADDRESS, vec![0x78, 0x66]);
        let mut sensor = Temperature::new(Mock::new(&[command, read]));
        let measured = measure(&mut sensor);
        sensor.into_bus().done();
        measured
    }

    fn read(bytes: [u8; 3]) -> Transaction {
        Transaction::read(ADDRESS, bytes.to_vec())
    }

    #[test]
    fn the_example_of_the_datasheet_is_read() {
        // Section 5.11: 63 % and 23.7 °C; section 5.10: checksum of 0xbeef is 0x92.
        assert_eq!(
            humidity(read([0xa1, 0x33, 0x1c])),
            Ok(Reading::Good(62_968))
        );
        assert_eq!(
            temperature(read([0x64, 0x8b, 0xc7])),
            Ok(Reading::Good(23_730))
        );
        assert_eq!(
            humidity(read([0xbe, 0xef, 0x92])),
            Ok(Reading::Good(74_583))
        );
        assert_eq!(SCALE.mantissa(62_968), 62_968);
    }

    #[test]
    fn a_flipped_bit_is_a_fault() {
        assert_eq!(humidity(read([0xbe, 0xee, 0x92])), Err(Fault::Checksum));
    }

    #[test]
    fn lines_stuck_high_or_low_are_faults() {
        assert_eq!(humidity(read([0xff; 3])), Err(Fault::Checksum));
        assert_eq!(temperature(read([0x00; 3])), Err(Fault::Checksum));
        let stuck = read([0; 3]).with_error(ErrorKind::ArbitrationLoss);
        assert_eq!(temperature(stuck), Err(Fault::ArbitrationLoss));
    }

    #[test]
    fn a_temperature_beyond_the_chip_is_bad() {
        // 0xffff is 129.99 °C.
        assert_eq!(
            temperature(read([0xff, 0xff, 0xac])),
            Ok(Reading::Bad(129_997))
        );
        assert_eq!(
            temperature(read([0x00, 0x00, 0x81])),
            Ok(Reading::Bad(-45_000))
        );
    }

    #[test]
    fn a_silent_chip_is_a_fault_with_a_code() {
        let kind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let script = [Transaction::write(ADDRESS, vec![0x58, 0xe0]).with_error(kind)];
        let mut sensor = Humidity::new(Mock::new(&script));
        let fault = sensor.begin().unwrap_err();
        assert_eq!(Humidity::<Mock>::code(&fault), 3);
        sensor.into_bus().done();
    }

    #[test]
    fn different_readings_stay_different() {
        for raw in 0..u16::MAX {
            let thousandths = |raw| shtcx::Humidity::from_raw(raw).as_millipercent();
            assert!(thousandths(raw) < thousandths(raw + 1));
        }
    }
}
