//! A watched sensor's story, told by what the device froze and counted.

use std::vec::Vec;

use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame;
use tidegate_shared::ids::{Incarnation, Mark, SensorName};
use tidegate_shared::message::{ResetReason, Up};

use super::*;
use crate::device::{DeviceConfig, Identity};
use crate::outbox::RamOutbox;

const FINE: Result<Reading, u16> = Ok(Reading::Good(7));
const BAD: Result<Reading, u16> = Ok(Reading::Bad(-999));
const MUTE: Result<Reading, u16> = Err(3);

/// Gives what a script says; an error numbered from 1,000 on comes from `begin`.
struct Scripted {
    script: Vec<Result<Reading, u16>>,
    at: usize,
}

impl Scripted {
    fn new(script: Vec<Result<Reading, u16>>) -> Self {
        Self { script, at: 0 }
    }
}

impl Sensor for Scripted {
    type Fault = u16;

    fn begin(&mut self) -> Result<u32, u16> {
        match self.script[self.at] {
            Err(code) if code >= 1_000 => {
                self.at += 1;
                Err(code)
            }
            _ => Ok(500),
        }
    }

    fn read(&mut self) -> Result<Reading, u16> {
        self.at += 1;
        self.script[self.at - 1]
    }

    fn code(fault: &u16) -> u16 {
        *fault
    }
}

type Roomy = Device<'static, RamOutbox<16_384, 64>, 2, 60, 1_024>;

fn device() -> Roomy {
    let sensor = |name| SensorInfo {
        id: SensorName::try_from(name).unwrap(),
        unit: "",
        kind: Kind::Gauge,
        scale: Scale::default(),
        urgent: false,
        tags: heapless::Vec::new(),
    };
    let mut bytes = [0; 256];
    let bytes = catalog::write(&[sensor("watched"), sensor("other")], &mut bytes).unwrap();
    let catalog = std::boxed::Box::leak(bytes.to_vec().into_boxed_slice());
    let identity = Identity {
        incarnation: Incarnation(1),
        boot: 1,
        firmware: "test",
        reset: ResetReason::PowerOn,
        seed: 1,
    };
    Device::new(identity, DeviceConfig::default(), catalog, RamOutbox::new()).unwrap()
}

fn events(device: &Roomy) -> Vec<EventCode> {
    let (mut after, mut events) = (Mark::default(), Vec::new());
    while let Some(entry) = device.outbox().next_after(after) {
        after = entry.mark;
        let mut out = [0; 1_024];
        let bytes = device.outbox().read(after, &mut out).unwrap();
        let body = frame::read(&out[..bytes]).unwrap().body;
        if let Up::Event(event) = Up::read(body).unwrap() {
            events.push(event.code);
        }
    }
    events
}

/// Runs a script, beside another sensor that works, and returns the device.
fn run(script: Vec<Result<Reading, u16>>) -> Roomy {
    let mut device = device();
    let rounds = script.len() as u64;
    let mut watched = Watched::new(Scripted::new(script), 0);
    let mut other = Watched::new(Scripted::new([FINE].repeat(rounds as usize)), 1);
    for round in 1..=rounds {
        watched.begin();
        watched.sample(&mut device, round * 1_000).unwrap();
        other.sample(&mut device, round * 1_000 + 1).unwrap();
    }
    assert_eq!(device.counts(1).taken, rounds, "the other goes on");
    assert_eq!(device.counts(1).failed, 0);
    device
}

fn fault(code: u16) -> EventCode {
    EventCode::SensorFault { sensor: 0, code }
}

const CLEARED: EventCode = EventCode::SensorCleared { sensor: 0 };

#[test]
fn two_faults_are_counted_and_not_reported() {
    let device = run([[MUTE; 2].as_slice(), &[FINE], &[MUTE; 2], &[FINE]].concat());
    assert_eq!(events(&device), []);
    assert_eq!((device.counts(0).taken, device.counts(0).failed), (6, 4));
}

#[test]
fn a_run_of_faults_is_reported_once_and_cleared_once() {
    let device = run([[MUTE; 40].as_slice(), &[FINE; 40]].concat());
    assert_eq!(events(&device), [fault(3), CLEARED]);
    assert_eq!((device.counts(0).taken, device.counts(0).failed), (80, 40));
}

#[test]
fn nine_good_readings_do_not_clear() {
    let script = [[MUTE; 3].as_slice(), &[FINE; 9], &[MUTE], &[FINE; 9]].concat();
    assert_eq!(events(&run(script)), [fault(3)]);
}

#[test]
fn a_loose_contact_makes_a_pair_of_events_a_period() {
    let period = [[MUTE; 3].as_slice(), &[FINE; 10]].concat();
    let device = run(period.repeat(4));
    let events = events(&device);
    assert_eq!(events.len(), 8);
    for pair in events.chunks(2) {
        assert_eq!(pair, [fault(3), CLEARED]);
    }
}

#[test]
fn bad_readings_are_reported_and_not_counted_as_failed() {
    let device = run([[BAD; 5].as_slice(), &[FINE; 10]].concat());
    assert_eq!(events(&device), [fault(Fault::OutOfRange.code()), CLEARED]);
    assert_eq!((device.counts(0).taken, device.counts(0).failed), (15, 0));
}

#[test]
fn a_measurement_that_does_not_begin_is_a_fault() {
    let device = run([Err(1_001); 3].to_vec());
    assert_eq!(events(&device), [fault(1_001)]);
    assert_eq!(device.counts(0).failed, 3);
}

#[test]
fn begin_says_how_long_to_wait() {
    let mut watched = Watched::new(Scripted::new([FINE, Err(1_000)].to_vec()), 0);
    assert_eq!(watched.begin(), 500);
    watched.sample(&mut device(), 1).unwrap();
    assert_eq!(watched.begin(), 0);
    assert_eq!((watched.fault(), watched.index()), (None, 0));
}
