//! The chip's own temperature, by the formula of the RP2040's datasheet (4.9.5).
//!
//! ```text
//! °C = 27 - (value × 3.3 / 4096 - 0.706) / 0.001721 = 437.226612 - value × 0.468137
//! ```
//! The catalog's scale is that formula: raw is the converter's value, negated, since a step is
//! positive. A step is half a degree, and the formula holds within a few degrees from chip to chip.

use embassy_rp::Peri;
use embassy_rp::adc::{Adc, Blocking, Channel, Config};
use embassy_rp::peripherals::{ADC, ADC_TEMP_SENSOR};
use tidegate_firmware::sensor::{Fault, Reading, Sensor};
use tidegate_shared::catalog::Scale;

/// From the negated value to °C.
pub const SCALE: Scale = Scale {
    step: 468_137,
    offset: 437_226_612,
    exponent: -6,
};
/// What the chip is specified for, -20 °C to 85 °C, in raw units.
const RANGE: core::ops::RangeInclusive<i64> = -976..=-753;

/// The chip's temperature.
pub struct ChipTemperature {
    converter: Adc<'static, Blocking>,
    channel: Channel<'static>,
}

impl ChipTemperature {
    /// Takes the converter.
    pub fn new(converter: Peri<'static, ADC>, sensor: Peri<'static, ADC_TEMP_SENSOR>) -> Self {
        Self {
            converter: Adc::new_blocking(converter, Config::default()),
            channel: Channel::new_temp_sensor(sensor),
        }
    }
}

impl Sensor for ChipTemperature {
    type Fault = Fault;

    fn read(&mut self) -> Result<Reading, Fault> {
        let value = self.converter.blocking_read(&mut self.channel);
        let value = value.map_err(|_| Fault::Other)?;
        Ok(Reading::within(&RANGE, -i64::from(value)))
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}
