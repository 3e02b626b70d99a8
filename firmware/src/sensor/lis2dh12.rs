//! LIS2DH12 of ST (and LIS3DH, which has the same registers and answers with the same name):
//! vibration as the root mean square of acceleration, over I²C, through the crate `lis2dh12`.
//!
//! ```text
//! begin   settings, if it has none ─► empty the chip's queue and let it fill
//! (31 periods of the rate later)
//! read    drop the first 7 (the filter settles), square the other 24
//! ```
//! The chip measures and keeps the values by itself, so that the processor sleeps meanwhile. What
//! comes out is √(variance of x + of y + of z): gravity and offsets are not in it. In
//! high-resolution mode a value has 12 bits in the upper bits of 16 and covers frequencies up to a
//! ninth of the rate (ST, `DocID025056`). Raw values count sixteenths of a digit.

use ::lis2dh12::{Error, ErrorKind, FifoMode, Lis2dh12, Mode, Odr, RawAccelerometer};
use embedded_hal::i2c::I2c;
use tidegate_shared::catalog::Scale;

use super::{Fault, Reading, Rms, Sensor};

pub use ::lis2dh12::{FullScale, SlaveAddr};

/// Values of each axis in one reading.
pub const WINDOW: u8 = 24;
/// Values dropped before them: what the filter needs to settle after power-on.
const SETTLING: u8 = 7;
/// Both: as many as the chip's queue of 32 can count.
const QUEUED: u8 = WINDOW + SETTLING;
/// A value of 12 bits at the end of its range: the signal was clipped.
const CLIPPED: i16 = 0x7ff0;

/// How often the chip measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// 100 Hz: a reading takes 341 ms and sees up to 11 Hz.
    Hz100,
    /// 400 Hz: a reading takes 86 ms and sees up to 44 Hz.
    Hz400,
    /// 1,344 Hz: a reading takes 26 ms and sees up to 149 Hz.
    Hz1344,
}

impl Rate {
    const fn odr(self) -> Odr {
        match self {
            Self::Hz100 => Odr::Hz100,
            Self::Hz400 => Odr::Hz400,
            Self::Hz1344 => Odr::HighRate1,
        }
    }

    /// Time until the queue has what a reading takes, in µs, with a tenth to spare for the
    /// chip's own clock.
    const fn wait_us(self) -> u32 {
        let period_us = match self {
            Self::Hz100 => 10_000,
            Self::Hz400 => 2_500,
            Self::Hz1344 => 744,
        };
        QUEUED as u32 * period_us * 11 / 10
    }
}

/// From raw sixteenths of a digit to g, for a range: 62.5 µg of ±2 g, 750 µg of ±16 g.
pub const fn scale(range: FullScale) -> Scale {
    let milli_g = match range {
        FullScale::G2 => 1,
        FullScale::G4 => 2,
        FullScale::G8 => 4,
        FullScale::G16 => 12,
    };
    Scale {
        step: 625 * milli_g,
        offset: 0,
        exponent: -7,
    }
}

/// The vibration of one chip.
pub struct Vibration<I> {
    bus: I,
    /// The address pin.
    address: bool,
    range: FullScale,
    rate: Rate,
    /// Whether the chip has its settings; not after a fault: it may have lost power.
    is_set: bool,
}

impl<I: I2c> Vibration<I> {
    /// A chip at 0x18, or 0x19 with its address pin high.
    pub fn new(bus: I, address_pin: bool, range: FullScale, rate: Rate) -> Self {
        Self {
            bus,
            address: address_pin,
            range,
            rate,
            is_set: false,
        }
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> I {
        self.bus
    }

    /// The chip, having told its name.
    fn chip(&mut self) -> Result<Lis2dh12<&mut I>, Fault> {
        let address = SlaveAddr::Alternative(self.address);
        Lis2dh12::new(&mut self.bus, address).map_err(|error| fault(&error))
    }

    fn start(&mut self) -> Result<(), Fault> {
        let (range, rate, is_set) = (self.range, self.rate, self.is_set);
        let mut chip = self.chip()?;
        let mut start = || {
            if !is_set {
                chip.reset()?;
                chip.set_fs(range)?;
                chip.set_bdu(true)?;
                chip.set_mode(Mode::HighResolution)?;
                chip.set_odr(rate.odr())?;
                chip.enable_fifo(true)?;
            }
            chip.set_fm(FifoMode::Bypass)?;
            chip.set_fm(FifoMode::Fifo)
        };
        start().map_err(|error: Error<I::Error>| fault(&error))
    }

    fn measure(&mut self) -> Result<Reading, Fault> {
        let mut chip = self.chip()?;
        let queued = chip.get_stored_samples().map_err(|error| fault(&error))?;
        if queued < QUEUED {
            return Err(Fault::NotReady);
        }
        let (mut rms, mut is_clipped) = (Rms::<3>::default(), false);
        for at in 0..QUEUED {
            let value = chip.accel_raw().map_err(|error| fault(&error))?;
            if at >= SETTLING {
                let axes = [value.x, value.y, value.z];
                is_clipped |= axes
                    .iter()
                    .any(|axis| *axis >= CLIPPED || *axis == i16::MIN);
                rms.push(axes);
            }
        }
        let raw = rms.get().unwrap_or(0).into();
        Ok(if is_clipped {
            Reading::Bad(raw)
        } else {
            Reading::Good(raw)
        })
    }
}

impl<I: I2c> Sensor for Vibration<I> {
    type Fault = Fault;

    fn begin(&mut self) -> Result<u32, Fault> {
        let started = self.start();
        self.is_set = started.is_ok();
        started.map(|()| self.rate.wait_us())
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let measured = self.measure();
        self.is_set &= measured.is_ok();
        measured
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}

fn fault<E: embedded_hal::i2c::Error>(error: &Error<E>) -> Fault {
    match (error.cause(), error.kind()) {
        (Some(error), _) => Fault::of_bus(error),
        (None, ErrorKind::Device) => Fault::WrongChip,
        (None, _) => Fault::Other,
    }
}

#[cfg(test)]
mod tests;
