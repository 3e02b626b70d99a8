//! A channel: one sensor of a device, read when it is due, whatever the others do.
//!
//! A reading that gives no value is counted as failed. The first of a row of such readings is
//! reported as `SensorFault` with the sensor's own code, and again when the code changes; the
//! first good one after them as `SensorCleared`. So a sensor that stays broken costs one event.

use tidegate_firmware::device::Device;
use tidegate_firmware::outbox::Outbox;
use tidegate_firmware::sensor::Sensor;
use tidegate_shared::message::EventCode;

/// A sensor at its place in the catalog.
#[derive(Debug)]
pub struct Channel<S> {
    sensor: S,
    index: u16,
    /// The code of the fault it has; none while it works.
    fault: Option<u16>,
}

/// What came of reading a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A value, good or doubtful.
    Taken,
    /// No value, as the time before.
    Failed,
    /// No value, for a new reason.
    Fault(u16),
    /// The first value after a fault.
    Cleared,
    /// The device took nothing: it is stopped.
    Stopped,
}

impl<S: Sensor> Channel<S> {
    /// The sensor with this index in the catalog.
    pub fn new(index: u16, sensor: S) -> Self {
        Self {
            sensor,
            index,
            fault: None,
        }
    }

    /// Reads the sensor into `device`, as a sample of uptime `time_us`.
    pub fn read<O: Outbox, const N: usize, const B: usize, const F: usize>(
        &mut self,
        device: &mut Device<'_, O, N, B, F>,
        time_us: u64,
    ) -> Outcome {
        match self.sensor.read() {
            Ok(reading) => {
                if device.sample(self.index, time_us, reading).is_err() {
                    return Outcome::Stopped;
                }
                if self.fault.take().is_none() {
                    return Outcome::Taken;
                }
                device.report(EventCode::SensorCleared { sensor: self.index });
                Outcome::Cleared
            }
            Err(fault) => {
                if device.fail(self.index, time_us).is_err() {
                    return Outcome::Stopped;
                }
                let code = S::code(&fault);
                if self.fault.replace(code) == Some(code) {
                    return Outcome::Failed;
                }
                device.report(EventCode::SensorFault {
                    sensor: self.index,
                    code,
                });
                Outcome::Fault(code)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use tidegate_firmware::device::{DeviceConfig, Identity};
    use tidegate_firmware::outbox::RamOutbox;
    use tidegate_firmware::sensor::Reading;
    use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
    use tidegate_shared::frame;
    use tidegate_shared::ids::{Incarnation, Mark, SensorName};
    use tidegate_shared::message::{ResetReason, Up};

    use super::Outcome::{Cleared, Failed, Fault, Taken};
    use super::*;

    struct Script(Vec<Result<Reading, u16>>);

    impl Sensor for Script {
        type Fault = u16;

        fn read(&mut self) -> Result<Reading, u16> {
            self.0.remove(0)
        }

        fn code(fault: &u16) -> u16 {
            *fault
        }
    }

    #[test]
    fn a_fault_is_reported_once_and_its_end_too() {
        let sensor = SensorInfo {
            id: SensorName::try_from("t").expect("a name"),
            unit: "°C",
            kind: Kind::Gauge,
            scale: Scale::decimal(-1),
            urgent: false,
            tags: heapless::Vec::new(),
        };
        let mut bytes = [0; 64];
        let catalog = catalog::write(&[sensor], &mut bytes).expect("room");
        let identity = Identity {
            incarnation: Incarnation(1),
            boot: 1,
            firmware: "test",
            reset: ResetReason::PowerOn,
            seed: 1,
        };
        let outbox = RamOutbox::<1_024, 8>::new();
        let device =
            Device::<_, 1, 8, 256>::new(identity, DeviceConfig::default(), catalog, outbox);
        let mut device = device.expect("one sensor");
        let good = Ok(Reading::Good(5));
        let script = Script([good, Err(3), Err(3), Err(4), good, good].to_vec());
        let mut channel = Channel::new(0, script);
        let outcomes: Vec<_> = (1..=6)
            .map(|second| channel.read(&mut device, second * 1_000_000))
            .collect();
        let expected = [Taken, Fault(3), Failed, Fault(4), Cleared, Taken];
        assert_eq!(outcomes, expected);
        let counts = device.counts(0);
        assert_eq!((counts.taken, counts.failed), (6, 3));
        let mut events = Vec::new();
        let mut after = Mark::default();
        while let Some(entry) = device.outbox().next_after(after) {
            after = entry.mark;
            let mut out = [0; 256];
            let bytes = device.outbox().read(after, &mut out).expect("held");
            let body = frame::read(&out[..bytes]).expect("whole").body;
            if let Ok(Up::Event(event)) = Up::read(body) {
                events.push(event.code);
            }
        }
        let fault = |code| EventCode::SensorFault { sensor: 0, code };
        let cleared = EventCode::SensorCleared { sensor: 0 };
        assert_eq!(events, [fault(3), fault(4), cleared]);
    }
}
