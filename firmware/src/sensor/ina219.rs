//! INA219 of Texas Instruments: current through a shunt, and bus voltage, over I²C, through the
//! crate `ina219`.
//!
//! After power-on the chip measures both every 1.1 ms, to ±320 mV and 32 V in 12 bits (SBOS448).
//! So nothing has to be set, and a chip that lost power for a moment goes on right.
//! Each quantity is a sensor of its own that reads one register. The chip's own calibration and
//! current register are not used: current is the shunt's voltage by Ohm's law, which [`scale`]
//! puts into the catalog, exactly.

use ::ina219::SyncIna219;
use ::ina219::calibration::UnCalibrated;
use ::ina219::errors::{BusVoltageReadError, ShuntVoltageReadError};
use embedded_hal::i2c::I2c;
use tidegate_shared::catalog::Scale;

use super::{Fault, Reading, Sensor};

pub use ::ina219::address::{Address, Pin};

/// The address with both address pins at ground: 0x40.
pub const ADDRESS: Address = Address::from_pins(Pin::Gnd, Pin::Gnd);
/// From raw 4 mV to V.
pub const VOLTAGE_SCALE: Scale = Scale {
    step: 4,
    offset: 0,
    exponent: -3,
};
/// What the chip is specified for: 0 to 26 V, in raw units.
pub const VOLTAGE_RANGE: core::ops::RangeInclusive<i64> = 0..=26_000 / 4;
/// What the chip can measure: ±320 mV at the shunt, in raw 10 µV. At either end it is clipped.
pub const SHUNT_RANGE: core::ops::RangeInclusive<i64> = -31_999..=31_999;

/// From raw 10 µV at a shunt of `micro_ohms` to A; none when that is no multiple of a power of
/// ten, as with 3 mΩ. A shunt of 0.1 Ω has steps of 100 µA and measures 3.2 A.
///
/// ```
/// use tidegate_firmware::sensor::ina219::scale;
/// let amperes = scale(100_000).unwrap();
/// assert_eq!((amperes.step, amperes.exponent), (1, -4));
/// assert_eq!(scale(3_000), None);
/// ```
pub const fn scale(micro_ohms: u32) -> Option<Scale> {
    // 10 µV by micro-ohms, in A: 10 × 10^n by micro-ohms units of 10^-n.
    let (mut numerator, mut exponent) = (10_u64, 0);
    // Finer than 10⁻¹² A is no shunt.
    while exponent >= -12 && micro_ohms > 0 {
        if numerator.is_multiple_of(micro_ohms as u64) {
            let step = numerator / micro_ohms as u64;
            if step > u32::MAX as u64 {
                return None;
            }
            return Some(Scale {
                step: step as u32,
                offset: 0,
                exponent,
            });
        }
        numerator *= 10;
        exponent -= 1;
    }
    None
}

/// The current of one chip.
pub struct Current<I>(SyncIna219<I, UnCalibrated>);

/// The bus voltage of one chip, against its ground.
pub struct Voltage<I>(SyncIna219<I, UnCalibrated>);

impl<I: I2c> Current<I> {
    /// A chip at `address` (see [`ADDRESS`]).
    pub fn new(bus: I, address: Address) -> Self {
        Self(SyncIna219::new_unchecked(bus, address, UnCalibrated))
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> I {
        self.0.destroy()
    }
}

impl<I: I2c> Voltage<I> {
    /// A chip at `address` (see [`ADDRESS`]).
    pub fn new(bus: I, address: Address) -> Self {
        Self(SyncIna219::new_unchecked(bus, address, UnCalibrated))
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> I {
        self.0.destroy()
    }
}

impl<I: I2c> Sensor for Current<I> {
    type Fault = Fault;

    fn read(&mut self) -> Result<Reading, Fault> {
        match self.0.shunt_voltage() {
            Ok(shunt) => Ok(Reading::within(
                &SHUNT_RANGE,
                shunt.shunt_voltage_10uv().into(),
            )),
            Err(ShuntVoltageReadError::I2cError(error)) => Err(Fault::of_bus(&error)),
            Err(ShuntVoltageReadError::ShuntVoltageOutOfRange { .. }) => Err(Fault::Absurd),
        }
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}

impl<I: I2c> Sensor for Voltage<I> {
    type Fault = Fault;

    fn read(&mut self) -> Result<Reading, Fault> {
        match self.0.bus_voltage() {
            Ok(bus) => Ok(Reading::within(&VOLTAGE_RANGE, bus.voltage_4mv().into())),
            Err(BusVoltageReadError::I2cError(error)) => Err(Fault::of_bus(&error)),
            Err(BusVoltageReadError::BusVoltageOutOfRange { .. }) => Err(Fault::Absurd),
        }
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

    fn register(number: u8, value: u16) -> Transaction {
        let bytes = value.to_be_bytes().to_vec();
        Transaction::write_read(ADDRESS.as_byte(), vec![number], bytes)
    }

    fn current(read: Transaction) -> Result<Reading, Fault> {
        let mut sensor = Current::new(Mock::new(&[read]), ADDRESS);
        let taken = sensor.read();
        sensor.into_bus().done();
        taken
    }

    fn voltage(read: Transaction) -> Result<Reading, Fault> {
        let mut sensor = Voltage::new(Mock::new(&[read]), ADDRESS);
        let taken = sensor.read();
        sensor.into_bus().done();
        taken
    }

    #[test]
    fn the_values_of_the_datasheet_are_read() {
        // SBOS448, shunt voltage register: 320 mV is written as 0x7d00.
        for (value, raw) in [
            (0x7cff, 31_999),
            (0x0fa0, 4_000),
            (0xf05f, -4_001),
            (0xf060, -4_000),
            (0x0000, 0),
        ] {
            assert_eq!(current(register(1, value)), Ok(Reading::Good(raw)));
        }
        // Its programming example: 11.98 V reads as 0x5d98, 2,995 × 4 mV; ready is bit 1.
        assert_eq!(voltage(register(2, 0x5d98 | 2)), Ok(Reading::Good(2_995)));
        assert_eq!(VOLTAGE_SCALE.mantissa(2_995), 11_980);
    }

    #[test]
    fn clipped_and_unspecified_values_are_bad() {
        assert_eq!(current(register(1, 0x7d00)), Ok(Reading::Bad(32_000)));
        assert_eq!(current(register(1, 0x8300)), Ok(Reading::Bad(-32_000)));
        assert_eq!(voltage(register(2, 7_000 << 3)), Ok(Reading::Bad(7_000)));
    }

    #[test]
    fn what_the_chip_cannot_measure_is_a_fault() {
        assert_eq!(current(register(1, 0x7fff)), Err(Fault::Absurd));
        // A line that stays high.
        assert_eq!(voltage(register(2, 0xffff)), Err(Fault::Absurd));
    }

    #[test]
    fn bus_errors_are_faults_with_codes() {
        let silent = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        for (kind, code) in [
            (silent, 3),
            (ErrorKind::ArbitrationLoss, 2),
            (ErrorKind::Bus, 1),
            (ErrorKind::Other, 0),
        ] {
            let fault = current(register(1, 0).with_error(kind)).unwrap_err();
            assert_eq!(Current::<Mock>::code(&fault), code);
            let fault = voltage(register(2, 0).with_error(kind)).unwrap_err();
            assert_eq!(Voltage::<Mock>::code(&fault), code);
        }
    }

    #[test]
    fn shunts_have_exact_scales() {
        // 0.1 Ω, 10 mΩ, 2 mΩ, 1 mΩ, 0.5 mΩ.
        for (micro_ohms, step, exponent) in [
            (100_000, 1, -4),
            (10_000, 1, -3),
            (2_000, 5, -3),
            (1_000, 1, -2),
            (500, 2, -2),
        ] {
            let scale = scale(micro_ohms).unwrap();
            assert_eq!((scale.step, scale.exponent), (step, exponent));
            // 10 µV of a µΩ is 10 A.
            let amperes = 10_f64.powi(scale.exponent.into()) * f64::from(scale.step);
            assert!((amperes * f64::from(micro_ohms) - 10.0).abs() < 1e-9);
        }
        assert_eq!(scale(75_000), None);
        assert_eq!(scale(0), None);
    }
}
