//! A key that is changed while frames wait: they are kept plain, and sealed by the new one.

use std::boxed::Box;

use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::ids::{SensorName, Term};
use tidegate_shared::message::{Ack, Down, Presence, ResetReason, Welcome};
use tidegate_shared::seal::SEAL_BYTES_MAX;

use super::*;
use crate::device::{Channel, Device, DeviceConfig, Identity, Outgoing, Publish};
use crate::link::Event;
use crate::seal::tests::Peer;
use crate::sensor::Reading;
use crate::time::Moment;

type Flash = MockNor<{ 32 * PAGE }, PAGE, 4>;
type Kept = FlashOutbox<Flash, RamOutbox<1_024, 8>, 64, 320>;
type Node = Device<'static, Kept, 1, 60, 256>;

fn node(flash: Flash, boot: u32, peer: &Peer) -> Node {
    let sensor = SensorInfo {
        id: SensorName::try_from("level").unwrap(),
        unit: "m",
        kind: Kind::Gauge,
        scale: Scale::decimal(-3),
        urgent: false,
        tags: heapless::Vec::new(),
    };
    let mut out = [0; 128];
    let catalog = catalog::write(&[sensor], &mut out).unwrap().to_vec();
    let identity = Identity {
        incarnation: Incarnation(9),
        boot,
        firmware: "keyed",
        reset: ResetReason::PowerOn,
        seed: 1,
    };
    let config = FlashConfig {
        range: 0..32 * PAGE as u32,
        ..config()
    };
    let outbox = Kept::open(flash, config, RamOutbox::new()).unwrap();
    let catalog = Box::leak(catalog.into_boxed_slice());
    let mut node = Node::new(identity, DeviceConfig::default(), catalog, outbox).unwrap();
    node.set_key(&peer.key);
    node
}

/// The plain frame at a mark, as the peer opens it.
fn sent(node: &mut Node, peer: &Peer, publish: Publish) -> (u32, Vec<u8>) {
    let mut out = [0; 256 + SEAL_BYTES_MAX];
    let used = node.write(publish, &mut out).unwrap();
    peer.open(&out[..used])
}

#[test]
fn what_waits_goes_out_under_the_new_key_with_the_same_check() {
    let old = Peer::new(1, 5);
    let mut before = node(Flash::new(), 1, &old);
    for second in 1..=200_u64 {
        let raw = (second * 7_919 % 501) as i64;
        before
            .sample(0, second * 1_000_000, Reading::Good(raw))
            .unwrap();
    }
    assert_eq!(before.save(), 0, "all is in flash");
    let marks: Vec<_> = (1..=before.frames())
        .map(|sequence| Mark { boot: 1, sequence })
        .collect();
    assert!(marks.len() > 3);
    let frames: Vec<_> = marks
        .iter()
        .map(|mark| sent(&mut before, &old, Publish::Frame(*mark)).1)
        .collect();

    // Flashed with a new settings page: the power was cut.
    let mut new = Peer::new(2, 5);
    let mut after = node(before.into_outbox().into_flash(), 2, &new);
    let mut outgoing = Outgoing::default();
    let tell = |node: &mut Node, outgoing: &mut Outgoing, event| {
        node.handle(Moment(1), event, outgoing);
    };
    tell(&mut after, &mut outgoing, Event::Connected);
    let presence = Presence {
        gateway: 1,
        term: new.term,
        start: 1,
        online: true,
    };
    tell(&mut after, &mut outgoing, Event::Presence(presence));
    assert_eq!(outgoing.pop(), Some(Publish::Hello));
    let (hello, _) = sent(&mut after, &new, Publish::Hello);
    let who = (Incarnation(9), 2);
    let mut say = |node: &mut Node, outgoing: &mut Outgoing, message: &Down<'_>| {
        let sealed = new.say(who, hello, message);
        let heard = node.receive(Moment(1), Channel::Down, &sealed, outgoing);
        heard.expect("sealed by the new key");
    };
    let welcome = Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term: Term(5),
        frame_bytes_max: 256,
        window: 7,
    };
    say(&mut after, &mut outgoing, &Down::Welcome(welcome));
    let mut ack = Ack {
        incarnation: who.0,
        boot: 1,
        window: 7,
        term: Term(5),
        ..Ack::default()
    };
    say(&mut after, &mut outgoing, &Down::Ack(ack));
    let mut arrived = vec![];
    let peer = Peer::new(2, 5);
    while let Some(publish) = outgoing.pop() {
        let Publish::Frame(mark) = publish else {
            continue;
        };
        let (_, frame) = sent(&mut after, &peer, publish);
        ack.boot = mark.boot;
        ack.through = mark.sequence;
        ack.check = frame::read(&frame).unwrap().check;
        arrived.push(frame);
        say(&mut after, &mut outgoing, &Down::Ack(ack));
    }
    assert_eq!(arrived, frames, "each once, as it was frozen");
    assert!(after.outbox().is_empty());
}
