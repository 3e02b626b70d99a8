//! The guard, frame by frame; and the peer that other tests seal with.

use core::fmt::Write as _;
use std::vec;
use std::vec::Vec;

use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::Mark;
use tidegate_shared::message::{Ack, Refused, Welcome};
use tidegate_shared::seal::{SEAL_BYTES_MAX, SEALED_BYTES_MAX};

use super::*;

const WHO: (Incarnation, u32) = (Incarnation(0xa1), 3);

/// The other holder of a device's key.
pub(crate) struct Peer {
    pub(crate) key: DeviceKey,
    pub(crate) term: Term,
    pub(crate) counter: u32,
}

impl Peer {
    pub(crate) fn new(id: u8, term: u32) -> Self {
        let key = DeviceKey {
            id,
            bytes: [id; 32],
        };
        Self {
            key,
            term: Term(term),
            counter: 1_000,
        }
    }

    /// Opens what the device said: its counter, and the plain frame.
    pub(crate) fn open(&self, sealed: &[u8]) -> (u32, Vec<u8>) {
        let envelope = seal::envelope(sealed, Opening::Up).unwrap();
        assert_eq!(envelope.header.key_id, self.key.id);
        let mut out = vec![0; SEALED_BYTES_MAX];
        let key = Key::new(self.key.bytes);
        let opened = seal::open(&key, Opening::Up, sealed, &mut out).unwrap();
        (opened.counter, opened.plain.to_vec())
    }

    /// Seals the next answer to a Hello.
    pub(crate) fn say(
        &mut self,
        (incarnation, boot): (Incarnation, u32),
        hello: u32,
        message: &Down<'_>,
    ) -> Vec<u8> {
        self.counter += 1;
        let header = Header {
            incarnation,
            ..Header::default()
        };
        let mut plain = [0; 128];
        let written = frame::write(&header, &mut plain, |writer| message.write(writer));
        let way = Way::Down {
            boot,
            term: self.term,
            hello,
            counter: self.counter,
        };
        let (key, mut out) = (Key::new(self.key.bytes), vec![0; 128 + SEAL_BYTES_MAX]);
        let used = seal::seal(&key, self.key.id, way, written.unwrap().0, &mut out).unwrap();
        out.truncate(used);
        out
    }

    fn ack(&mut self, hello: u32) -> Vec<u8> {
        let ack = Ack {
            term: self.term,
            ..Ack::default()
        };
        self.say(WHO, hello, &Down::Ack(ack))
    }
}

/// A plain frame of the device.
fn plain(sequence: u32) -> Vec<u8> {
    let header = Header {
        key_id: 0,
        incarnation: WHO.0,
        mark: Mark {
            boot: WHO.1,
            sequence,
        },
    };
    let mut out = [0; 64];
    let written = frame::write(&header, &mut out, |writer| writer.put(b"content"));
    written.unwrap().0.to_vec()
}

/// Says something; its counter, as the peer reads it.
fn said(guard: &mut Guard, peer: &Peer, said: Said) -> u32 {
    let frame = plain(u32::from(said == Said::Frame));
    let mut out = [0; 64 + SEAL_BYTES_MAX];
    let used = guard.seal(said, &frame, &mut out).unwrap();
    let (counter, opened) = peer.open(&out[..used]);
    assert_eq!(opened, frame);
    counter
}

fn heard(guard: &mut Guard, sealed: &[u8]) -> Result<(), ReceiveError> {
    guard.open(WHO, sealed, &mut [0; 256]).map(|_| ())
}

#[test]
fn counters_grow_over_connections_and_a_will_stands_before_its_online() {
    let peer = Peer::new(7, 1);
    let mut guard = Guard::new(&peer.key);
    let mut newest = 0;
    for _ in 0..3 {
        let will = said(&mut guard, &peer, Said::Will);
        guard.begin_connection();
        assert!(will > newest);
        let online = said(&mut guard, &peer, Said::Online);
        assert_eq!(online, will + 1);
        assert_eq!(
            said(&mut guard, &peer, Said::Online),
            online,
            "the same frame"
        );
        newest = online;
        for next in [Said::Hello, Said::Progress, Said::Hello, Said::Goodbye] {
            let counter = said(&mut guard, &peer, next);
            assert!(counter > newest, "{next:?}");
            newest = counter;
        }
        assert_eq!(said(&mut guard, &peer, Said::Frame), 0);
    }
}

#[test]
fn when_numbers_run_out_nothing_unsequenced_is_said() {
    let peer = Peer::new(7, 1);
    let mut guard = Guard::new(&peer.key);
    guard.counter = u32::MAX - 1;
    assert_eq!(said(&mut guard, &peer, Said::Hello), u32::MAX);
    let mut out = [0; 128];
    for silent in [Said::Hello, Said::Progress, Said::Will, Said::Online] {
        assert_eq!(guard.seal(silent, &plain(0), &mut out), None);
    }
    assert_eq!(said(&mut guard, &peer, Said::Frame), 0);
}

#[test]
fn a_frame_is_taken_once_and_in_order() {
    let mut peer = Peer::new(7, 1);
    let mut guard = Guard::new(&peer.key);
    let hello = said(&mut guard, &peer, Said::Hello);
    let frames: Vec<_> = (0..3).map(|_| peer.ack(hello)).collect();
    assert_eq!(heard(&mut guard, &frames[0]), Ok(()));
    assert_eq!(heard(&mut guard, &frames[2]), Ok(()));
    for frame in &frames {
        assert_eq!(heard(&mut guard, frame), Err(ReceiveError::Stale));
    }
}

#[test]
fn only_hellos_of_this_connection_are_answered_and_none_older_than_the_last() {
    let mut peer = Peer::new(7, 1);
    let mut guard = Guard::new(&peer.key);
    assert_eq!(heard(&mut guard, &peer.ack(1)), Err(ReceiveError::Stale));
    let first = said(&mut guard, &peer, Said::Hello);
    let kept = peer.ack(first);
    let second = said(&mut guard, &peer, Said::Hello);
    assert_eq!(
        heard(&mut guard, &peer.ack(second + 1)),
        Err(ReceiveError::Stale)
    );
    assert_eq!(heard(&mut guard, &peer.ack(first)), Ok(()));
    // A gateway that starts again counts from anywhere.
    let mut other = Peer::new(7, 2);
    other.counter = 0;
    assert_eq!(heard(&mut guard, &other.ack(second)), Ok(()));
    assert_eq!(heard(&mut guard, &kept), Err(ReceiveError::Stale));
    assert_eq!(
        heard(&mut guard, &peer.ack(first)),
        Err(ReceiveError::Stale)
    );
    let late = peer.ack(second);
    guard.begin_connection();
    assert_eq!(heard(&mut guard, &late), Err(ReceiveError::Stale));
    let third = said(&mut guard, &peer, Said::Hello);
    assert_eq!(heard(&mut guard, &late), Err(ReceiveError::Stale));
    assert_eq!(heard(&mut guard, &peer.ack(third)), Ok(()));
}

#[test]
fn owner_and_standby_may_answer_one_hello_each_frame_once() {
    let (mut owner, mut standby) = (Peer::new(7, 1), Peer::new(7, 2));
    let mut guard = Guard::new(&owner.key);
    let hello = said(&mut guard, &owner, Said::Hello);
    let refused = Refused {
        term: standby.term,
        ..Refused::default()
    };
    let refused = standby.say(WHO, hello, &Down::Refused(refused));
    let acked = owner.ack(hello);
    assert_eq!(heard(&mut guard, &refused), Ok(()));
    assert_eq!(heard(&mut guard, &acked), Ok(()), "the owner comes second");
    assert_eq!(heard(&mut guard, &refused), Err(ReceiveError::Stale));
    assert_eq!(heard(&mut guard, &acked), Err(ReceiveError::Stale));
    let third = Peer::new(7, 3).ack(hello);
    assert_eq!(heard(&mut guard, &third), Err(ReceiveError::Stale));
    assert_eq!(heard(&mut guard, &owner.ack(hello)), Ok(()));
}

#[test]
fn what_is_plain_foreign_or_changed_is_ignored_and_harms_nothing() {
    let mut peer = Peer::new(7, 1);
    let mut guard = Guard::new(&peer.key);
    let hello = said(&mut guard, &peer, Said::Hello);
    assert_eq!(heard(&mut guard, &plain(0)), Err(ReceiveError::Unsealed));
    assert_eq!(heard(&mut guard, b""), Err(ReceiveError::Unsealed));
    let other = Peer::new(8, 1).ack(hello);
    assert_eq!(heard(&mut guard, &other), Err(ReceiveError::OtherKey));
    let mut thief = Peer::new(7, 1);
    thief.key.bytes = [8; 32];
    assert_eq!(
        heard(&mut guard, &thief.ack(hello)),
        Err(ReceiveError::Forged)
    );
    let ack = Down::Ack(Ack {
        term: peer.term,
        ..Ack::default()
    });
    let renamed = peer.say((Incarnation(0xa2), WHO.1), hello, &ack);
    assert_eq!(heard(&mut guard, &renamed), Err(ReceiveError::Stranger));
    let last_boot = peer.say((WHO.0, WHO.1 - 1), hello, &ack);
    assert_eq!(heard(&mut guard, &last_boot), Err(ReceiveError::Forged));
    let sealed = peer.ack(hello);
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(
                heard(&mut guard, &changed).is_err(),
                "bit {bit} of byte {at}"
            );
        }
        assert!(heard(&mut guard, &sealed[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(heard(&mut guard, &sealed), Ok(()), "and then the right one");
}

#[test]
fn a_message_of_another_term_than_its_header_is_ignored() {
    let mut peer = Peer::new(7, 1);
    let mut guard = Guard::new(&peer.key);
    let hello = said(&mut guard, &peer, Said::Hello);
    let term = Term(2);
    for wrong in [
        Down::Welcome(Welcome {
            term,
            ..Welcome::default()
        }),
        Down::Ack(Ack {
            term,
            ..Ack::default()
        }),
        Down::Refused(Refused {
            term,
            ..Refused::default()
        }),
    ] {
        let sealed = peer.say(WHO, hello, &wrong);
        assert_eq!(heard(&mut guard, &sealed), Err(ReceiveError::Forged));
    }
}

#[test]
fn a_password_is_made_of_the_key_and_is_not_the_key() {
    let key = DeviceKey {
        id: 7,
        bytes: core::array::from_fn(|at| at as u8),
    };
    let bytes = Key::new(key.bytes).password();
    let mut digits = std::string::String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").unwrap();
    }
    assert_eq!(key.password(), digits.as_str());
    assert_ne!(bytes, key.bytes[..16]);
}
