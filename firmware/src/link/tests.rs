//! Scripts of (moment, event) → effects.

use std::vec::Vec;

use tidegate_shared::frame::{self, Header};

use super::*;
use crate::outbox::{Content, Entry, RamOutbox};

const IDENTITY: Incarnation = Incarnation(0xa1);
const TERM: Term = Term(0x7e);
const OTHER: Term = Term(0x0f);

/// A link, an outbox with frames, and the time.
struct Bench {
    link: Link,
    outbox: RamOutbox<4_096, 32>,
    now: Moment,
    next: u32,
}

impl Bench {
    fn new(frames: u32) -> Self {
        let before = mark(0);
        let mut bench = Self {
            link: Link::new(
                LinkConfig::default(),
                IDENTITY,
                (Mark::default(), before),
                1,
            ),
            outbox: RamOutbox::new(),
            now: Moment(1_000_000),
            next: 1,
        };
        for _ in 0..frames {
            bench.freeze(Content::Other);
        }
        bench
    }

    fn freeze(&mut self, content: Content) {
        let header = Header {
            incarnation: IDENTITY,
            mark: mark(self.next),
            ..Header::default()
        };
        let mut out = [0; 64];
        let (bytes, check) = frame::write(&header, &mut out, |writer| writer.put(&[7])).unwrap();
        let entry = Entry {
            mark: header.mark,
            check,
            content,
        };
        self.outbox.push(entry, bytes, [].into_iter()).unwrap();
        self.next += 1;
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = heapless::Vec::<Effect, EFFECTS_MAX>::new();
        self.link
            .handle(self.now, event, &self.outbox, mark(self.next), &mut effects);
        for effect in &effects {
            if let Effect::Release(through) = effect {
                self.outbox.pop_through(*through);
            }
        }
        effects.iter().copied().collect()
    }

    /// Goes to the next deadline.
    fn due(&mut self) -> Vec<Effect> {
        self.now = self.link.next_deadline().expect("a deadline");
        self.on(Event::Tick)
    }

    /// Connects and is welcomed with a window; the first Ack is still to come.
    fn greet(&mut self, window: u16) {
        self.on(Event::Connected);
        assert_eq!(self.on(presence(TERM, true)), [Effect::Hello]);
        assert_eq!(self.on(welcome(window)), []);
    }

    fn ack(&self, sequence: u32) -> Ack {
        let check = self
            .outbox
            .get(mark(sequence))
            .map_or(Check(0), |entry| entry.check);
        Ack {
            incarnation: IDENTITY,
            boot: 1,
            through: sequence,
            check,
            window: 3,
            term: TERM,
            ..Ack::default()
        }
    }

    fn refused(&self, sequence: u32, reason: RefusedReason) -> Refused {
        let check = self
            .outbox
            .get(mark(sequence))
            .map_or(Check(0), |entry| entry.check);
        Refused {
            incarnation: IDENTITY,
            boot: 1,
            sequence,
            check,
            reason,
            retry_after_ms: 90_000,
            term: TERM,
        }
    }
}

fn mark(sequence: u32) -> Mark {
    Mark { boot: 1, sequence }
}

fn presence(term: Term, online: bool) -> Event {
    Event::Presence(Presence {
        gateway: 1,
        term,
        start: 1,
        online,
    })
}

fn welcome(window: u16) -> Event {
    Event::Welcome(Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term: TERM,
        frame_bytes_max: 1_024,
        window,
    })
}

fn sends(sequences: core::ops::RangeInclusive<u32>) -> Vec<Effect> {
    sequences
        .map(|sequence| Effect::Send(mark(sequence)))
        .collect()
}

#[test]
fn nothing_goes_out_before_the_gateway_is_online() {
    let mut bench = Bench::new(3);
    assert_eq!(bench.on(Event::Connected), []);
    assert_eq!(
        bench.link.next_deadline(),
        None,
        "waits for the gateway topic"
    );
    assert_eq!(bench.on(presence(TERM, false)), []);
    assert_eq!(bench.on(presence(TERM, true)), [Effect::Hello]);
}

#[test]
fn hello_is_repeated_with_backoff_until_welcome() {
    let mut bench = Bench::new(1);
    bench.on(Event::Connected);
    bench.on(presence(TERM, true));
    let mut waits_ms = Vec::new();
    for _ in 0..9 {
        let before = bench.now;
        assert_eq!(bench.due(), [Effect::Hello]);
        waits_ms.push((bench.now.0 - before.0) / 1_000);
    }
    let caps_ms = [
        1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000,
    ];
    for (wait_ms, cap_ms) in waits_ms.iter().zip(caps_ms) {
        assert!((cap_ms / 2..=cap_ms).contains(wait_ms), "{waits_ms:?}");
    }
    bench.on(welcome(3));
    assert!(bench.link.is_welcomed());
}

#[test]
fn frames_wait_for_the_ack_that_follows_welcome_then_fill_the_window() {
    let mut bench = Bench::new(9);
    bench.greet(3);
    assert_eq!(bench.on(Event::Ack(bench.ack(0))), sends(1..=3));
    assert_eq!(bench.on(Event::Tick), [], "no more than granted");
    let mut expected = Vec::from([Effect::Release(mark(2))]);
    expected.extend(sends(4..=5));
    assert_eq!(bench.on(Event::Ack(bench.ack(2))), expected);
    assert_eq!(bench.link.acked(), mark(2));
}

#[test]
fn a_frame_frozen_later_goes_out_at_once() {
    let mut bench = Bench::new(0);
    bench.greet(3);
    assert_eq!(bench.on(Event::Ack(bench.ack(0))), []);
    assert_eq!(bench.link.next_deadline(), None, "nothing to wait for");
    bench.freeze(Content::Other);
    assert_eq!(bench.on(Event::Tick), sends(1..=1));
}

#[test]
fn at_most_seven_are_in_flight_whatever_is_granted() {
    let mut bench = Bench::new(20);
    bench.greet(64);
    let ack = Ack {
        window: 64,
        ..bench.ack(0)
    };
    assert_eq!(bench.on(Event::Ack(ack)), sends(1..=7));
}

#[test]
fn an_ack_that_is_lost_leads_to_a_resend_behind_a_progress() {
    let mut bench = Bench::new(5);
    bench.greet(3);
    bench.on(Event::Ack(bench.ack(0)));
    let before = bench.now;
    let mut expected = Vec::from([Effect::Progress]);
    expected.extend(sends(1..=3));
    assert_eq!(bench.due(), expected);
    assert!((4_000_000..=5_000_000).contains(&(bench.now.0 - before.0)));
    let before = bench.now;
    assert_eq!(bench.due(), expected);
    assert!((8_000_000..=10_000_000).contains(&(bench.now.0 - before.0)));
    assert_eq!(bench.due(), expected);
    assert_eq!(
        bench.due(),
        [Effect::Hello],
        "after three resends without progress"
    );
}

#[test]
fn an_ack_for_anything_else_releases_nothing() {
    let mut bench = Bench::new(5);
    bench.greet(2);
    bench.on(Event::Ack(bench.ack(0)));
    let beyond = bench.ack(4);
    let wrong_check = Ack {
        check: Check(9),
        ..bench.ack(2)
    };
    let no_check = Ack {
        check: Check(0),
        ..bench.ack(2)
    };
    let stranger = Ack {
        incarnation: Incarnation(2),
        ..bench.ack(2)
    };
    let other_boot = Ack {
        boot: 2,
        ..bench.ack(2)
    };
    for ack in [beyond, wrong_check, no_check, stranger, other_boot] {
        assert_eq!(bench.on(Event::Ack(ack)), [], "{ack:?}");
    }
    assert_eq!(bench.outbox.len(), 5);
    let other_term = Ack {
        term: OTHER,
        ..bench.ack(2)
    };
    assert_eq!(
        bench.on(Event::Ack(other_term)),
        [Effect::Hello],
        "another term: say Hello"
    );
    assert_eq!(bench.outbox.len(), 5);
}

#[test]
fn another_term_on_the_gateway_topic_asks_for_a_hello() {
    let mut bench = Bench::new(2);
    bench.greet(3);
    assert_eq!(bench.on(presence(TERM, true)), [], "repeated every 30 s");
    assert_eq!(
        bench.on(presence(OTHER, false)),
        [],
        "a late will of another start"
    );
    assert_eq!(bench.on(presence(OTHER, true)), [Effect::Hello]);
    assert_eq!(bench.on(presence(OTHER, false)), []);
    assert_eq!(bench.link.next_deadline(), None, "offline: nothing is sent");
}

#[test]
fn a_pause_is_kept() {
    let mut bench = Bench::new(5);
    bench.greet(2);
    bench.on(Event::Ack(bench.ack(0)));
    let pause = Ack {
        retry_after_ms: 10_000,
        ..bench.ack(1)
    };
    assert_eq!(bench.on(Event::Ack(pause)), [Effect::Release(mark(1))]);
    let before = bench.now;
    assert_eq!(bench.due(), sends(4..=4), "2 and 3 are in flight");
    assert_eq!(bench.now.0 - before.0, 10_000_000);
}

#[test]
fn no_window_is_asked_about_again() {
    let mut bench = Bench::new(1);
    bench.greet(3);
    let closed = Ack {
        window: 0,
        ..bench.ack(0)
    };
    assert_eq!(bench.on(Event::Ack(closed)), []);
    for _ in 0..3 {
        assert_eq!(bench.due(), [Effect::Progress]);
    }
    assert_eq!(bench.due(), [Effect::Hello]);
}

#[test]
fn eviction_is_told_and_moves_on() {
    let mut bench = Bench::new(6);
    bench.greet(3);
    bench.on(Event::Ack(bench.ack(0)));
    for _ in 0..4 {
        bench.outbox.evict(|_, _| ());
    }
    let mut expected = Vec::from([Effect::Progress]);
    expected.extend(sends(5..=6));
    assert_eq!(bench.on(Event::Evicted), expected);
}

#[test]
fn a_refused_device_comes_back_later_and_keeps_its_frames() {
    let mut bench = Bench::new(2);
    bench.on(Event::Connected);
    bench.on(presence(TERM, true));
    let refused = bench.refused(0, RefusedReason::DeviceLimit);
    assert_eq!(bench.on(Event::Refused(refused)), []);
    let before = bench.now;
    assert_eq!(bench.due(), [Effect::Hello]);
    assert_eq!(bench.now.0 - before.0, 90_000_000);
    assert_eq!(bench.outbox.len(), 2);
}

#[test]
fn a_conflict_asks_for_a_new_incarnation_once_it_is_proven() {
    let mut bench = Bench::new(3);
    bench.greet(3);
    bench.on(Event::Ack(bench.ack(0)));
    let other = Refused {
        check: Check(1),
        ..bench.refused(2, RefusedReason::Conflict)
    };
    assert_eq!(bench.on(Event::Refused(other)), []);
    let old_term = Refused {
        term: OTHER,
        ..bench.refused(2, RefusedReason::Conflict)
    };
    assert_eq!(bench.on(Event::Refused(old_term)), []);
    let conflict = bench.refused(2, RefusedReason::Conflict);
    assert_eq!(
        bench.on(Event::Refused(conflict)),
        [Effect::Rename(mark(2))]
    );
    assert_eq!(bench.link.next_deadline(), None);
    assert_eq!(bench.on(Event::Renamed(Incarnation(0xb2))), [Effect::Hello]);
    assert_eq!(bench.link.incarnation(), Incarnation(0xb2));
    assert_eq!(bench.link.acked(), Mark::default());
}

#[test]
fn no_common_protocol_is_tried_again_rarely() {
    let mut bench = Bench::new(1);
    bench.on(Event::Connected);
    bench.on(presence(TERM, true));
    let Event::Welcome(newer) = welcome(3) else {
        unreachable!()
    };
    let newer = Welcome {
        protocol_min: 2,
        protocol_max: 9,
        ..newer
    };
    assert_eq!(bench.on(Event::Welcome(newer)), []);
    let before = bench.now;
    assert_eq!(bench.due(), [Effect::Hello]);
    assert!(bench.now.0 - before.0 >= 30_000_000);
}

#[test]
fn a_lost_connection_begins_anew() {
    let mut bench = Bench::new(2);
    bench.greet(3);
    bench.on(Event::Ack(bench.ack(0)));
    assert_eq!(bench.on(Event::Disconnected), []);
    assert_eq!(bench.link.next_deadline(), None);
    assert_eq!(bench.on(Event::Ack(bench.ack(1))), [], "nobody is there");
    bench.greet(3);
    // The gateway had logged both before the connection went.
    assert_eq!(
        bench.on(Event::Ack(bench.ack(2))),
        [Effect::Release(mark(2))]
    );
}
