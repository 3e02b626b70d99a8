//! Why a sensor gave no value, and the numbers that say so in `SensorFault` events.

use embedded_hal::i2c::ErrorKind;

/// A fault of a sensor on a bus. The numbers are part of what a device sends: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Fault {
    /// The bus failed in a way that its driver does not describe, such as a timeout.
    Other = 0,
    /// A line is held, or start or stop came where they do not belong: short, noise, pull-up.
    Bus = 1,
    /// A line did not follow: held low by a stuck chip, or by another master.
    ArbitrationLoss = 2,
    /// No chip answered: unplugged, without power, or at another address.
    NoAcknowledge = 3,
    /// The bus driver lost bytes.
    Overrun = 4,
    /// The chip's checksum does not fit its bytes.
    Checksum = 16,
    /// Another chip answered than the one expected.
    WrongChip = 17,
    /// The chip had not finished, or has forgotten its settings.
    NotReady = 18,
    /// The chip said what it cannot have measured.
    Absurd = 19,
    /// There is a value, outside what the chip is specified for. Such samples are sent, marked
    /// as bad, and not counted as failed.
    OutOfRange = 20,
}

impl Fault {
    /// The first of the numbers that this crate never gives.
    pub const BOARD: u16 = 256;

    /// Its number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The fault that an error of an I2C bus stands for.
    pub fn of_bus(error: &impl embedded_hal::i2c::Error) -> Self {
        match error.kind() {
            ErrorKind::Bus => Self::Bus,
            ErrorKind::ArbitrationLoss => Self::ArbitrationLoss,
            ErrorKind::NoAcknowledge(_) => Self::NoAcknowledge,
            ErrorKind::Overrun => Self::Overrun,
            _ => Self::Other,
        }
    }
}
