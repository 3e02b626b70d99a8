//! The shell over the transport in memory, on a hand-driven executor and clock.

mod enrol;

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{Incarnation, Mark, SensorName, Term};
use tidegate_shared::message::{Ack, Down, Presence, ResetReason, Status, Up, Welcome};

use super::*;
use crate::device::{DeviceConfig, Identity};
use crate::outbox::RamOutbox;
use crate::sensor::Reading;
use crate::time::Moment;
use crate::transport::memory::{MemoryBroker, MemoryTransport};

/// A clock set by hand.
#[derive(Default)]
struct Hands(Cell<u64>);

impl Timer for Hands {
    fn now(&self) -> Moment {
        Moment(self.0.get())
    }

    async fn until(&self, at: Moment) {
        poll_fn(|_| {
            if self.now() >= at {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

struct Dice(u32);

impl Entropy for Dice {
    fn draw(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

type TestDevice = Device<'static, RamOutbox<4_096, 16>, 1, 60, 512>;

fn device() -> TestDevice {
    let sensor = SensorInfo {
        id: SensorName::try_from("t").unwrap(),
        unit: "°C",
        kind: Kind::Gauge,
        scale: Scale::decimal(-1),
        urgent: false,
        tags: heapless::Vec::new(),
    };
    let mut out = [0; 128];
    let catalog = catalog::write(&[sensor], &mut out).unwrap().to_vec();
    let identity = Identity {
        incarnation: Incarnation(7),
        boot: 1,
        firmware: "shell",
        reset: ResetReason::PowerOn,
        seed: 1,
    };
    let catalog = Box::leak(catalog.into_boxed_slice());
    Device::new(identity, DeviceConfig::default(), catalog, RamOutbox::new()).unwrap()
}

fn down(broker: &MemoryBroker<16>, channel: Channel, retained: bool, message: &Down<'_>) {
    let mut out = [0; 128];
    let (bytes, _) =
        frame::write(&Header::default(), &mut out, |writer| message.write(writer)).unwrap();
    assert!(broker.send(channel, retained, bytes));
}

/// What a device published, in short.
fn said(broker: &MemoryBroker<16>) -> Vec<(Outlet, &'static str, u32)> {
    let mut all = vec![];
    while let Some((outlet, bytes)) = broker.take() {
        let frame = frame::read(&bytes).unwrap();
        let name = match Up::read(frame.body).unwrap() {
            Up::Hello(_) => "hello",
            Up::Progress(_) => "progress",
            Up::Status(Status { online: true }) => "online",
            Up::Status(Status { online: false }) => "offline",
            Up::Catalog(_) => "catalog",
            Up::Batch(_) => "batch",
            Up::Totals(_) => "totals",
            Up::Event(_) => "event",
            Up::Clock(_) | Up::Report(_) => "other",
        };
        all.push((outlet, name, frame.header.mark.sequence));
    }
    all
}

#[test]
fn a_conversation_from_status_to_goodbye() {
    let (shared, broker, hands) = (
        Shared::new(device()),
        MemoryBroker::<16>::default(),
        Hands::default(),
    );
    let mut transport = MemoryTransport::new(&broker);
    let notices = RefCell::new(vec![]);
    let mut conversation = Conversation {
        shared: &shared,
        timer: &hands,
        write_ms: 1_000,
        outgoing: Outgoing::default(),
        welcomed: false,
    };
    let (mut dice, mut notice) = (Dice(0), |one| notices.borrow_mut().push(one));
    let mut talk = pin!(conversation.run(&mut transport, &mut dice, &mut notice));
    let mut context = Context::from_waker(Waker::noop());
    let mut turn = || talk.as_mut().poll(&mut context);

    assert!(turn().is_pending());
    assert_eq!(said(&broker), [(Outlet::Status, "online", 0)]);
    let term = Term(3);
    let presence = Presence {
        gateway: 1,
        term,
        start: 1,
        online: true,
    };
    down(&broker, Channel::Gateway, true, &Down::Presence(presence));
    assert!(turn().is_pending());
    assert_eq!(said(&broker), [(Outlet::Up, "hello", 0)]);

    let welcome = Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term,
        frame_bytes_max: 512,
        window: 4,
    };
    down(&broker, Channel::Down, true, &Down::Welcome(welcome));
    assert!(turn().is_pending());
    assert_eq!(
        notices.borrow().last(),
        Some(&Notice::Ignored),
        "retained: proves nothing"
    );
    hands.0.set(1_000_000);
    assert!(turn().is_pending());
    assert_eq!(
        said(&broker),
        [(Outlet::Up, "hello", 0)],
        "again after the backoff"
    );

    down(&broker, Channel::Down, false, &Down::Welcome(welcome));
    let ack = Ack {
        incarnation: Incarnation(7),
        boot: 1,
        window: 4,
        term,
        ..Ack::default()
    };
    down(&broker, Channel::Down, false, &Down::Ack(ack));
    shared.with(|device| {
        device.sample(0, 5, Reading::Good(1)).unwrap();
        device.stop();
    });
    assert!(turn().is_pending());
    let up = |name, sequence| (Outlet::Up, name, sequence);
    assert_eq!(
        said(&broker),
        [
            up("catalog", 1),
            up("batch", 2),
            up("totals", 3),
            up("event", 4)
        ]
    );

    let check = shared
        .with(|device| {
            device.outbox().get(Mark {
                boot: 1,
                sequence: 4,
            })
        })
        .unwrap()
        .check;
    down(
        &broker,
        Channel::Down,
        false,
        &Down::Ack(Ack {
            through: 4,
            check,
            ..ack
        }),
    );
    assert_eq!(turn(), Poll::Ready(Ended::Drained));
    assert_eq!(said(&broker), [(Outlet::Status, "offline", 0)]);
}

#[test]
fn a_cut_ends_the_conversation() {
    let (shared, broker, hands) = (
        Shared::new(device()),
        MemoryBroker::<16>::default(),
        Hands::default(),
    );
    let mut transport = MemoryTransport::new(&broker);
    let mut conversation = Conversation {
        shared: &shared,
        timer: &hands,
        write_ms: 1_000,
        outgoing: Outgoing::default(),
        welcomed: false,
    };
    let (mut dice, mut notice) = (Dice(0), |_| ());
    let mut talk = pin!(conversation.run(&mut transport, &mut dice, &mut notice));
    let mut context = Context::from_waker(Waker::noop());
    assert!(talk.as_mut().poll(&mut context).is_pending());
    broker.set_cut(true);
    assert_eq!(talk.as_mut().poll(&mut context), Poll::Ready(Ended::Lost));
}

#[test]
fn a_sampler_waits_for_room_and_wakes() {
    let shared = Shared::new(device());
    let has_seen = Cell::new(false);
    let mut waits = pin!(async {
        shared
            .until(|device| device.frames() > 0 && device.outbox().is_empty())
            .await;
        has_seen.set(true);
    });
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    shared.with(|device| {
        device.sample(0, 5, Reading::Good(1)).unwrap();
        device.advance(100_000_000);
    });
    assert!(waits.as_mut().poll(&mut context).is_pending());
    assert!(!has_seen.get());
}
