//! The chip's own temperature, by its factory's two calibration points.
//!
//! Each chip holds what its converter gave at 30 °C and at 110 °C, with 3.3 V (STM32F429 datasheet,
//! tables 80 and 81). Between and beyond them the line through both holds, in integers of
//! thousandths of a degree; a step of the converter is about 320 of them. The chip is warmer than
//! the air around it.

use embassy_stm32::Peri;
use embassy_stm32::adc::{Adc, SampleTime, Temperature};
use embassy_stm32::peripherals::ADC1;
use tidegate_firmware::sensor::{Fault, Reading, Sensor};
use tidegate_shared::catalog::Scale;

/// From raw thousandths to °C.
pub const SCALE: Scale = Scale::decimal(-3);
/// What the chip is specified for, in raw units.
const RANGE: core::ops::RangeInclusive<i64> = -40_000..=125_000;

const LOW: *const u16 = 0x1fff_7a2c as *const u16;
const HIGH: *const u16 = 0x1fff_7a2e as *const u16;

/// The chip's temperature.
pub struct ChipTemperature {
    converter: Adc<'static, ADC1>,
    channel: Temperature,
    /// The converter's values at 30 °C and 110 °C.
    calibration: (i64, i64),
}

impl ChipTemperature {
    /// Takes the first converter.
    pub fn new(converter: Peri<'static, ADC1>) -> Self {
        let converter = Adc::new(converter);
        let channel = converter.enable_temperature();
        // SAFETY: two aligned half-words of the chip's system memory, which anyone may read and
        // nobody can write.
        let (low, high) = unsafe { (LOW.read_volatile(), HIGH.read_volatile()) };
        Self {
            converter,
            channel,
            calibration: (low.into(), high.into()),
        }
    }
}

impl Sensor for ChipTemperature {
    type Fault = Fault;

    fn read(&mut self) -> Result<Reading, Fault> {
        let (low, high) = self.calibration;
        if high <= low {
            // A chip without calibration reads as ones.
            return Err(Fault::WrongChip);
        }
        // 10 µs at least (datasheet); 480 cycles of 21 MHz are 23.
        let value = self
            .converter
            .blocking_read(&mut self.channel, SampleTime::CYCLES480);
        let raw = 30_000 + 80_000 * (i64::from(value) - low) / (high - low);
        Ok(Reading::within(&RANGE, raw))
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}
