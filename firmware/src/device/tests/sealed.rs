//! A device with a key, against a peer that seals.

use tidegate_shared::seal::SEAL_BYTES_MAX;

use super::*;
use crate::seal::tests::Peer;

/// What a device with a key said: the counter, and the plain frame.
fn said(device: &mut Roomy, peer: &Peer, publish: Publish) -> (u32, Vec<u8>) {
    let mut out = [0; 1_024 + SEAL_BYTES_MAX];
    let used = device.write(publish, &mut out).unwrap();
    peer.open(&out[..used])
}

fn connect(device: &mut Roomy, outgoing: &mut Vec<Publish>) {
    device.handle(Moment(1), link::Event::Connected, outgoing);
    let presence = Presence {
        gateway: 1,
        term: Term(9),
        start: 1,
        online: true,
    };
    let mut out = [0; 64];
    let (bytes, _) = frame::write(&Header::default(), &mut out, |writer| {
        Down::Presence(presence).write(writer)
    })
    .unwrap();
    let heard = device.receive(Moment(1), Channel::Gateway, bytes, outgoing);
    heard.expect("the gateway topic stays plain");
    assert_eq!(outgoing.last(), Some(&Publish::Hello));
}

fn welcome() -> Down<'static> {
    Down::Welcome(Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term: Term(9),
        frame_bytes_max: 1_024,
        window: 7,
    })
}

#[test]
fn what_opens_is_what_a_device_without_a_key_says() {
    let peer = Peer::new(7, 9);
    let (mut plain, mut keyed) = (device(), device());
    keyed.set_key(&peer.key);
    for device in [&mut plain, &mut keyed] {
        device.sample(0, 5, Reading::Good(1)).unwrap();
        device.stop();
    }
    let frames = (1..=plain.frames()).map(|sequence| Publish::Frame(Mark { boot: 3, sequence }));
    for publish in [Publish::Hello, Publish::Progress]
        .into_iter()
        .chain(frames)
    {
        let mut out = [0; 1_024];
        let used = plain.write(publish, &mut out).unwrap();
        assert_eq!(said(&mut keyed, &peer, publish).1, &out[..used]);
    }
    let mut short = [0; 40];
    assert_eq!(keyed.write(Publish::Hello, &mut short), None);
}

#[test]
fn a_status_says_whose_it_is_when_it_is_sealed() {
    let peer = Peer::new(7, 9);
    let mut device = device();
    let mut out = [0; crate::mqtt::STATUS_BYTES_MAX];
    let used = device.write_status(Status::Online, &mut out).unwrap();
    let plain = frame::read(&out[..used]).unwrap();
    assert_eq!(plain.header, Header::default(), "as it always was");
    device.set_key(&peer.key);
    device.identity.boot = u32::MAX;
    let mut counters = vec![];
    for (status, online) in [
        (Status::Will, false),
        (Status::Online, true),
        (Status::Goodbye, false),
    ] {
        let used = device.write_status(status, &mut out).unwrap();
        let (counter, bytes) = peer.open(&out[..used]);
        let frame = frame::read(&bytes).unwrap();
        assert_eq!(frame.header.incarnation, Incarnation(0xa1));
        assert_eq!(frame.header.mark.boot, u32::MAX);
        let read = Up::read(frame.body).unwrap();
        assert!(matches!(read, Up::Status(status) if status.online == online));
        counters.push(counter);
    }
    assert_eq!(counters, [1, 2, 3]);
}

#[test]
fn plain_answers_move_nothing_and_sealed_ones_once() {
    let mut peer = Peer::new(7, 9);
    let mut device = device();
    device.set_key(&peer.key);
    device.report(EventCode::Ended);
    let mut outgoing = vec![];
    connect(&mut device, &mut outgoing);
    let (hello, _) = said(&mut device, &peer, Publish::Hello);
    let mut forged = [0; 64];
    let (forged, _) = frame::write(&Header::default(), &mut forged, |writer| {
        welcome().write(writer)
    })
    .unwrap();
    let ignored = device.receive(Moment(2), Channel::Down, forged, &mut outgoing);
    assert_eq!(ignored, Err(ReceiveError::Unsealed));
    assert!(!device.link().is_welcomed());

    let who = (Incarnation(0xa1), 3);
    let sealed = peer.say(who, hello, &welcome());
    let misplaced = device.receive(Moment(2), Channel::Gateway, &sealed, &mut outgoing);
    assert!(matches!(misplaced, Err(ReceiveError::Frame(_))));
    let heard = device.receive(Moment(2), Channel::Down, &sealed, &mut outgoing);
    assert_eq!(heard, Ok(()));
    assert!(device.link().is_welcomed());
    let through = Mark {
        boot: 3,
        sequence: 1,
    };
    let mut ack = Ack {
        incarnation: who.0,
        boot: 3,
        window: 7,
        term: Term(9),
        ..Ack::default()
    };
    let sealed = peer.say(who, hello, &Down::Ack(ack));
    device
        .receive(Moment(3), Channel::Down, &sealed, &mut outgoing)
        .unwrap();
    assert_eq!(outgoing.last(), Some(&Publish::Frame(through)));
    ack.through = 1;
    ack.check = device.outbox().get(through).unwrap().check;
    let sealed = peer.say(who, hello, &Down::Ack(ack));
    for expected in [Ok(()), Err(ReceiveError::Stale)] {
        let heard = device.receive(Moment(4), Channel::Down, &sealed, &mut outgoing);
        assert_eq!(heard, expected);
    }
    assert!(device.outbox().is_empty());
}

#[test]
fn a_new_incarnation_keeps_key_and_counters() {
    let mut peer = Peer::new(7, 9);
    let mut device = device();
    device.set_key(&peer.key);
    device.report(EventCode::Ended);
    let mut outgoing = vec![];
    connect(&mut device, &mut outgoing);
    let (hello, _) = said(&mut device, &peer, Publish::Hello);
    let held = Mark {
        boot: 3,
        sequence: 1,
    };
    let check = device.outbox().get(held).unwrap().check;
    let old = (Incarnation(0xa1), 3);
    let granted = Ack {
        incarnation: old.0,
        boot: 3,
        window: 7,
        term: Term(9),
        ..Ack::default()
    };
    let refused = Refused {
        incarnation: old.0,
        boot: 3,
        sequence: 1,
        check,
        reason: RefusedReason::Conflict,
        retry_after_ms: 0,
        term: Term(9),
    };
    for message in [welcome(), Down::Ack(granted), Down::Refused(refused)] {
        let sealed = peer.say(old, hello, &message);
        device
            .receive(Moment(2), Channel::Down, &sealed, &mut outgoing)
            .unwrap();
    }
    assert!(device.wants_rename());
    device.rename(Moment(3), Incarnation(0xb2), &mut outgoing);
    let (again, bytes) = said(&mut device, &peer, Publish::Hello);
    assert!(again > hello);
    let header = frame::read(&bytes).unwrap().header;
    assert_eq!(header.incarnation, Incarnation(0xb2));
    let late = peer.say(old, hello, &welcome());
    let ignored = device.receive(Moment(4), Channel::Down, &late, &mut outgoing);
    assert_eq!(ignored, Err(ReceiveError::Stranger));
    let sealed = peer.say((Incarnation(0xb2), 3), again, &welcome());
    let heard = device.receive(Moment(4), Channel::Down, &sealed, &mut outgoing);
    assert_eq!(heard, Ok(()));
}
