//! Two starts of a board without a network: a driver whose link is down, a store in memory.

use std::boxed::Box;
use std::cell::Cell;
use std::task::{Context, Waker};
use std::vec::Vec;

use embassy_net::driver::{Capabilities, HardwareAddress, LinkState, RxToken, TxToken};
use tidegate_firmware::outbox::Outbox;
use tidegate_firmware::sensor::Reading;
use tidegate_shared::catalog::{Kind, Scale};
use tidegate_shared::frame;
use tidegate_shared::ids::{Mark, SensorName};
use tidegate_shared::message::Up;

use super::*;
use crate::boot::RECORD_BYTES;

/// A cable that is not plugged.
struct Unplugged;

enum Never {}

impl RxToken for Never {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: F) -> R {
        match self {}
    }
}

impl TxToken for Never {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}

impl Driver for Unplugged {
    type RxToken<'a> = Never;
    type TxToken<'a> = Never;

    fn receive(&mut self, _: &mut Context<'_>) -> Option<(Never, Never)> {
        None
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Never> {
        None
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Down
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet([2, 0, 0, 0, 0, 1])
    }
}

/// Slots in memory; `None` is a store that does not answer.
#[derive(Clone, Copy)]
struct Memory<'m>(Option<&'m Cell<[[u8; RECORD_BYTES]; 2]>>);

impl Slots for Memory<'_> {
    type Error = ();

    fn read(&mut self, slot: usize) -> Result<[u8; RECORD_BYTES], ()> {
        Ok(self.0.ok_or(())?.get()[slot])
    }

    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), ()> {
        let cell = self.0.ok_or(())?;
        let mut slots = cell.get();
        slots[slot] = *record;
        cell.set(slots);
        Ok(())
    }
}

struct Counting(u32);

impl Entropy for Counting {
    fn draw(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

type Frames = Remains<1, 2_048, 16>;

/// What a start was, as its device tells it, and the messages that it holds.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    boot: u32,
    reset: ResetReason,
    held: Vec<(u32, &'static str)>,
}

/// One start: takes a sample, and tells.
fn start(store: Memory<'_>, remains: &mut Frames, panic: Option<&str>) -> Told {
    let sensor = SensorInfo {
        id: SensorName::try_from("level").expect("a name"),
        unit: "m",
        kind: Kind::Gauge,
        scale: Scale::decimal(-2),
        urgent: false,
        tags: heapless::Vec::new(),
    };
    let parts = Parts {
        network: Unplugged,
        slots: store,
        entropy: Counting(0),
        remains,
        settings: Settings::new("site", "device", "127.0.0.1", 1883).expect("names"),
        number: None,
        firmware: "test",
        reset: ResetReason::Software,
        panic: panic.map(|text| text.try_into().expect("short")),
    };
    let told = Cell::new(None);
    let sensors = [sensor];
    let node = run(parts, &sensors, async |shared| {
        shared.with(|device| {
            let now_us = Clock::uptime_us().max(1);
            device.sample(0, now_us, Reading::Good(7)).expect("taken");
            told.set(Some(tell(device)));
        });
        core::future::pending().await
    });
    let mut node = Box::pin(node);
    let polled = node.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "a node never ends");
    told.take()
        .expect("sampling runs at once, without a network")
}

fn tell(device: &Node<'_, 1, 2_048, 16>) -> Told {
    let (mut after, mut held) = (Mark::default(), Vec::new());
    while let Some(entry) = device.outbox().next_after(after) {
        after = entry.mark;
        let mut out = [0; FRAME_BYTES];
        let bytes = device.outbox().read(after, &mut out).expect("held");
        let body = frame::read(&out[..bytes]).expect("whole").body;
        held.push((
            after.boot,
            match Up::read(body).expect("a message") {
                Up::Totals(_) => "totals",
                Up::Event(event) if event.code == EventCode::Ended => "ended",
                Up::Event(_) => "event",
                _ => "other",
            },
        ));
    }
    Told {
        boot: device.identity().boot,
        reset: device.identity().reset,
        held,
    }
}

#[test]
fn the_next_start_ends_the_boot_before_it_and_reports_its_panic() {
    let store = Cell::new([[0xff; RECORD_BYTES]; 2]);
    let store = Memory(Some(&store));
    let mut remains = Frames::new();
    let first = start(store, &mut remains, None);
    let expected = Told {
        boot: 1,
        reset: ResetReason::Software,
        held: Vec::new(),
    };
    assert_eq!(first, expected);
    let second = start(store, &mut remains, Some("main.rs:7 why"));
    assert_eq!((second.boot, second.reset), (2, ResetReason::Panic));
    assert_eq!(second.held, [(1, "totals"), (1, "ended"), (2, "event")]);
}

#[test]
fn a_store_that_does_not_answer_makes_a_first_boot_of_every_start() {
    let mut remains = Frames::new();
    for _ in 0..2 {
        assert_eq!(start(Memory(None), &mut remains, None).boot, 1);
    }
}
