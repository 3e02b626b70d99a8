//! Sensors: where a sample begins, as a raw integer in the units of the catalog.
//!
//! A sampler begins a measurement, waits as long as the sensor said, and reads. [`Watched`] does
//! this for one sensor of a device, and reports a sensor that stays faulty.

mod fault;
#[cfg(feature = "ina219")]
pub mod ina219;
#[cfg(feature = "lis2dh12")]
pub mod lis2dh12;
pub mod lm75;
mod rms;
#[cfg(feature = "shtc3")]
pub mod shtc3;
mod watch;

pub use fault::Fault;
pub use rms::Rms;
pub use watch::{CLEAR_AFTER, RAISE_AFTER, Watch, Watched};

/// What a sensor gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A value that can be trusted: raw, by the catalog's scale.
    Good(i64),
    /// A value that the sensor itself doubts, such as one outside its range. It is sent, marked.
    Bad(i64),
}

impl Reading {
    /// Good within the range that the sensor is specified for, else bad.
    pub fn within(range: &core::ops::RangeInclusive<i64>, raw: i64) -> Self {
        if range.contains(&raw) {
            Self::Good(raw)
        } else {
            Self::Bad(raw)
        }
    }
}

/// A sensor that can be read.
pub trait Sensor {
    /// Why a reading gave no value.
    type Fault;

    /// Begins a measurement, and says after how many µs it can be read. Sensors that measure all
    /// the time have nothing to begin. A sensor that lost its settings gets them again here.
    fn begin(&mut self) -> Result<u32, Self::Fault> {
        Ok(0)
    }

    /// Takes one reading. An error means that there is no value at all: the sample is counted
    /// as failed.
    fn read(&mut self) -> Result<Reading, Self::Fault>;

    /// The number of a fault, as sent in `SensorFault` events: see [`Fault`]; from
    /// [`Fault::BOARD`] on they are the board's own.
    fn code(fault: &Self::Fault) -> u16;
}
