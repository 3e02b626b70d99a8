//! Watches a sensor: a run of faults becomes one `SensorFault`, a run of good readings after it
//! one `SensorCleared`. Sensors are watched one by one, so the others go on.
//!
//! ```text
//!          RAISE_AFTER faults or bad readings in a row
//! fine ───────────────────────────────────────────────► faulty (says the newest one's number)
//!      ◄───────────────────────────────────────────────
//!          CLEAR_AFTER good readings in a row
//! ```
//! A reading without a value counts as failed, whatever the state. A loose contact that comes and
//! goes makes at most one pair of events in `RAISE_AFTER + CLEAR_AFTER` readings.

use tidegate_shared::message::EventCode;

use super::{Fault, Reading, Sensor};
use crate::device::{Device, SampleError};
use crate::outbox::Outbox;

/// Faults or bad readings in a row that are reported: one may be noise on a cable.
pub const RAISE_AFTER: u8 = 3;
/// Good readings in a row after which a sensor works again.
pub const CLEAR_AFTER: u8 = 10;

/// The state of one sensor.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The number that was reported; none while the sensor is fine.
    fault: Option<u16>,
    /// Readings in a row that speak for the other state.
    run: u8,
}

impl Watch {
    /// Looks at what a reading gave: a value, or the number of a fault. Says what to report of
    /// the sensor with this index, if anything.
    pub fn look(&mut self, sensor: u16, taken: Result<Reading, u16>) -> Option<EventCode> {
        let code = match taken {
            Ok(Reading::Good(_)) => None,
            Ok(Reading::Bad(_)) => Some(Fault::OutOfRange.code()),
            Err(code) => Some(code),
        };
        if self.fault.is_some() == code.is_some() {
            self.run = 0;
            return None;
        }
        self.run += 1;
        let run_max = match self.fault {
            Some(_) => CLEAR_AFTER,
            None => RAISE_AFTER,
        };
        if self.run < run_max {
            return None;
        }
        *self = Self {
            fault: code,
            run: 0,
        };
        Some(match code {
            Some(code) => EventCode::SensorFault { sensor, code },
            None => EventCode::SensorCleared { sensor },
        })
    }

    /// The number of the fault that was reported and not cleared.
    pub fn fault(&self) -> Option<u16> {
        self.fault
    }
}

/// A sensor of a device, with its index in the catalog, watched.
#[derive(Debug)]
pub struct Watched<S> {
    sensor: S,
    index: u16,
    watch: Watch,
    /// The number of the fault at which the measurement did not begin.
    unbegun: Option<u16>,
}

impl<S: Sensor> Watched<S> {
    /// A sensor that has not been read yet.
    pub const fn new(sensor: S, index: u16) -> Self {
        Self {
            sensor,
            index,
            watch: Watch {
                fault: None,
                run: 0,
            },
            unbegun: None,
        }
    }

    /// Begins a measurement and says after how many µs to call [`Watched::sample`]: at once when
    /// it did not begin.
    pub fn begin(&mut self) -> u32 {
        let begun = self.sensor.begin();
        self.unbegun = begun.as_ref().err().map(S::code);
        begun.unwrap_or(0)
    }

    /// Reads the sensor and gives the device a sample, or a failed one, at uptime `time_us`, and
    /// an event when the sensor began to fail or works again.
    pub fn sample<O: Outbox, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>(
        &mut self,
        device: &mut Device<'_, O, SENSORS, SAMPLES, FRAME>,
        time_us: u64,
    ) -> Result<(), SampleError> {
        let taken = match self.unbegun.take() {
            Some(code) => Err(code),
            None => self.sensor.read().map_err(|fault| S::code(&fault)),
        };
        match taken {
            Ok(reading) => device.sample(self.index, time_us, reading)?,
            Err(_) => device.fail(self.index, time_us)?,
        }
        if let Some(event) = self.watch.look(self.index, taken) {
            device.report(event);
        }
        Ok(())
    }

    /// The number of the fault that was reported and not cleared.
    pub fn fault(&self) -> Option<u16> {
        self.watch.fault()
    }

    /// Its index in the catalog.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Gives the sensor back.
    pub fn into_inner(self) -> S {
        self.sensor
    }
}

#[cfg(test)]
mod tests;
