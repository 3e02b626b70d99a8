//! Sensors: where a sample begins, as a raw integer in the units of the catalog.

pub mod lm75;

/// What a sensor gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A value that can be trusted: raw, by the catalog's scale.
    Good(i64),
    /// A value that the sensor itself doubts, such as one outside its range. It is sent, marked.
    Bad(i64),
}

/// A sensor that can be read.
pub trait Sensor {
    /// Why a reading gave no value.
    type Fault;

    /// Takes one reading. An error means that there is no value at all: the sample is counted
    /// as failed.
    fn read(&mut self) -> Result<Reading, Self::Fault>;

    /// The board's own number for a fault, as sent in `SensorFault` events.
    fn code(fault: &Self::Fault) -> u16;
}
