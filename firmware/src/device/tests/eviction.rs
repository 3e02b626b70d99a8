//! Evictions that acknowledgements overtake before a Progress tells them.

use super::*;

type Tight = Device<'static, RamOutbox<16_384, 6>, 1, 60, 256>;

const TERM: Term = Term(9);

fn mark(sequence: u32) -> Mark {
    Mark { boot: 3, sequence }
}

/// A device that holds at most six frames.
fn tight() -> Tight {
    let catalog = catalog_of(&[sensor("a", false)]);
    let built = Device::new(
        identity(),
        DeviceConfig::default(),
        catalog,
        RamOutbox::new(),
    );
    built.unwrap()
}

fn batch(device: &mut Tight, minute: &mut u64) {
    let time_us = *minute * 60 * SECOND;
    device.sample(0, time_us, Reading::Good(1)).unwrap();
    *minute += 1;
    device.advance(*minute * 60 * SECOND);
}

fn tell(device: &mut Tight, event: link::Event) {
    device.handle(Moment(1), event, &mut Outgoing::default());
}

fn greet(device: &mut Tight) {
    let presence = Presence {
        gateway: 1,
        term: TERM,
        start: 1,
        online: true,
    };
    tell(device, link::Event::Connected);
    tell(device, link::Event::Presence(presence));
}

fn welcome(device: &mut Tight) {
    let welcome = Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term: TERM,
        frame_bytes_max: 1_024,
        window: 7,
    };
    tell(device, link::Event::Welcome(welcome));
}

fn ack(device: &mut Tight, through: u32) {
    let held = device.outbox().get(mark(through));
    let ack = Ack {
        incarnation: Incarnation(0xa1),
        boot: 3,
        through,
        check: held.map(|entry| entry.check).unwrap_or_default(),
        window: 7,
        term: TERM,
        ..Ack::default()
    };
    tell(device, link::Event::Ack(ack));
}

fn said(device: &Tight) -> (u32, u32) {
    let progress = device.progress();
    (progress.floor.sequence, progress.acked.sequence)
}

#[test]
fn two_evictions_with_an_ack_between_are_told_one_after_the_other() {
    let (mut device, mut minute) = (tight(), 0);
    (0..3).for_each(|_| batch(&mut device, &mut minute));
    greet(&mut device);
    // Freezes Totals, 5.
    welcome(&mut device);
    ack(&mut device, 0);
    // The catalog moves to 7, and 2 is evicted.
    (0..2).for_each(|_| batch(&mut device, &mut minute));
    tell(&mut device, link::Event::Tick);
    let first = said(&device);
    assert_eq!(first, (3, 0));
    ack(&mut device, 4);
    // 5 is evicted.
    (0..3).for_each(|_| batch(&mut device, &mut minute));
    tell(&mut device, link::Event::Tick);
    assert_eq!(said(&device), first, "the first one goes first");
    ack(&mut device, 8);
    let mut out = [0; 256];
    device.write(Publish::Progress, &mut out).unwrap();
    assert_eq!(said(&device), (6, 4), "and then the second");
    assert!(device.wants_tick(), "by a Progress of its own");
    ack(&mut device, 8);
    assert_eq!(said(&device), (6, 4), "whatever was acknowledged since");
    device.write(Publish::Progress, &mut out).unwrap();
    assert_eq!(said(&device).1, 8);
}

#[test]
fn an_eviction_between_hello_and_welcome_is_told_though_an_ack_came_first() {
    let mut device = tight();
    let report = |device: &mut Tight| device.report(EventCode::SensorCleared { sensor: 0 });
    (0..6).for_each(|_| report(&mut device));
    greet(&mut device);
    welcome(&mut device);
    ack(&mut device, 0);
    tell(&mut device, link::Event::Disconnected);
    greet(&mut device);
    let mut out = [0; 256];
    device.write(Publish::Hello, &mut out).unwrap();
    assert_eq!(said(&device), (1, 0));
    (0..2).for_each(|_| report(&mut device));
    tell(&mut device, link::Event::Tick);
    welcome(&mut device);
    // The gateway has them from before.
    ack(&mut device, 4);
    assert_eq!(said(&device), (3, 0));
    device.write(Publish::Progress, &mut out).unwrap();
    assert_eq!(said(&device).1, device.link().acked().sequence);
}

#[test]
fn a_batch_that_evicts_its_own_catalog_is_followed_by_it() {
    for events in 0..12 {
        let (mut device, mut minute) = (tight(), 0);
        batch(&mut device, &mut minute);
        for _ in 0..events {
            device.report(EventCode::SensorCleared { sensor: 0 });
        }
        batch(&mut device, &mut minute);
        let frames = held(&device);
        assert!(frames.contains(&Held::Catalog), "{events}: {frames:?}");
    }
}
