//! Sealed frames: what opens, what is refused, what is answered how.

use tidegate_shared::frame;
use tidegate_shared::ids::{DeviceName, Incarnation, Mark, Term};
use tidegate_shared::message::{Down, RefusedReason, Status, up};
use tidegate_shared::seal::{self, Key, Opening, SEAL_BYTES_MAX, Way};

use super::tests::{
    Bench, INC, TERM, config, entries, hello, mark, name, progress, sequenced, unsequenced,
};
use super::*;
use crate::entry::{FrameEntry, Uncounted};

fn key(id: u8) -> DeviceKey {
    DeviceKey {
        id,
        key: Key::new([id; 32]),
        confirmed: false,
    }
}

fn ring(frames: Frames, keys: &[DeviceKey]) -> Keyring {
    Keyring {
        frames,
        devices: BTreeMap::from([(name("d"), keys.to_vec())]),
        ..Keyring::default()
    }
}

fn bench(frames: Frames, keys: &[DeviceKey]) -> Bench {
    Bench::new(SessionConfig {
        keys: ring(frames, keys),
        first_counter: 1_000,
        ..config()
    })
}

fn sealed(id: u8, counter: u32, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plain.len() + SEAL_BYTES_MAX];
    let way = Way::Up { counter };
    let used = seal::seal(&key(id).key, id, way, plain, &mut out).unwrap();
    out.truncate(used);
    out
}

fn plain_hello(boot: u32) -> Vec<u8> {
    let hello = hello(progress(mark(boot, 1), mark(0, 0), 0));
    unsequenced(INC, boot, up::HELLO, &hello)
}

fn plain_progress(boot: u32) -> Vec<u8> {
    let progress = progress(mark(boot, 1), mark(0, 0), 0);
    unsequenced(INC, boot, up::PROGRESS, &progress)
}

fn batch(boot: u32, sequence: u32) -> Vec<u8> {
    sequenced(INC, mark(boot, sequence), 1).0
}

fn counted(bench: &Bench, reason: Uncounted) -> u64 {
    bench.session.tallies().total(reason)
}

fn said(effects: &[Effect]) -> Vec<Vec<u8>> {
    let payload = |effect: &Effect| match effect {
        Effect::Publish { payload, .. } => Some(payload.clone()),
        _ => None,
    };
    effects.iter().filter_map(payload).collect()
}

fn logged(effects: &[Effect]) -> Vec<FrameEntry> {
    let frame = |entry| match entry {
        Entry::Frame(frame) => Some(frame),
        _ => None,
    };
    entries(effects).into_iter().filter_map(frame).collect()
}

fn status(bench: &mut Bench, payload: &[u8]) -> Vec<Effect> {
    bench.event(Event::Received {
        topic: "tidegate/v1/plant/d/status",
        retained: false,
        payload,
    })
}

#[test]
fn a_sealed_device_is_answered_sealed_and_logged_plain() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    let effects = bench.receive("d", &sealed(3, 5, &plain_hello(1)));
    let mut last = 1_000;
    for payload in said(&effects) {
        let mut room = [0; 200];
        let opening = Opening::Down { boot: 1 };
        let opened = seal::open(&key(3).key, opening, &payload, &mut room).unwrap();
        let expected = Mark {
            boot: TERM.0,
            sequence: 5,
        };
        assert_eq!(opened.frame.header.mark, expected, "the Hello answered");
        assert!(opened.counter > last, "{} after {last}", opened.counter);
        last = opened.counter;
        let message = Down::read(opened.frame.body).unwrap();
        assert!(matches!(message, Down::Welcome(_) | Down::Ack(_)));
    }
    assert_eq!(last, 1_002, "a Welcome and an Ack");
    bench.commit();
    let effects = bench.receive("d", &sealed(3, 0, &batch(1, 1)));
    let frames = logged(&effects);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].key_id, &frames[0].bytes), (3, &batch(1, 1)));
    let effects = bench.commit();
    assert!(effects.contains(&Effect::KeyUsed {
        device: name("d"),
        key_id: 3
    }));
    bench.receive("d", &sealed(3, 0, &batch(1, 2)));
    let again = bench.commit();
    let used = again
        .iter()
        .any(|effect| matches!(effect, Effect::KeyUsed { .. }));
    assert!(!used, "told once");
}

#[test]
fn plain_words_are_refused_once_any_device_is_registered() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    for device in ["d", "stranger"] {
        let effects = bench.receive(device, &plain_hello(1));
        let said = said(&effects);
        assert_eq!(said.len(), 1, "{effects:?}");
        let frame = frame::read(&said[0]).unwrap();
        let Ok(Down::Refused(refused)) = Down::read(frame.body) else {
            panic!("{frame:?}");
        };
        assert_eq!(refused.reason, RefusedReason::Key);
        assert!(bench.receive(device, &batch(1, 1)).is_empty());
    }
    assert_eq!(counted(&bench, Uncounted::Plain), 4);
}

/// Whoever forges a plain Hello must not make the gateway say anything that a device with a key
/// would take.
#[test]
fn a_plain_hello_puts_nobody_off_who_has_a_key() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    bench.receive("d", &sealed(3, 1, &plain_hello(1)));
    let effects = bench.receive("d", &plain_hello(1));
    assert!(
        said(&effects)
            .iter()
            .all(|payload| !seal::is_sealed(payload))
    );
    assert_eq!(counted(&bench, Uncounted::Plain), 1);
}

#[test]
fn plain_devices_may_speak_until_they_sealed_once() {
    let mut bench = bench(Frames::AllowPlain, &[key(3)]);
    assert!(!said(&bench.receive("stranger", &plain_hello(1))).is_empty());
    assert!(!said(&bench.receive("d", &plain_hello(1))).is_empty());
    assert_eq!(counted(&bench, Uncounted::Plain), 0);
    bench.receive("d", &sealed(3, 1, &plain_hello(2)));
    bench.receive("d", &plain_hello(3));
    assert_eq!(counted(&bench, Uncounted::Plain), 1);
    // Also behind a restart: its key was seen to be in use.
    let confirmed = DeviceKey {
        confirmed: true,
        ..key(3)
    };
    bench
        .session
        .set_keys(ring(Frames::AllowPlain, &[confirmed]));
    bench.receive("d", &plain_hello(4));
    assert_eq!(counted(&bench, Uncounted::Plain), 2);
}

#[test]
fn without_registered_devices_everything_is_plain() {
    let mut bench = Bench::new(config());
    assert!(!said(&bench.receive("d", &plain_hello(1))).is_empty());
    bench.receive("d", &sealed(3, 1, &plain_hello(1)));
    assert_eq!(counted(&bench, Uncounted::Key), 1);
}

#[test]
fn what_does_not_open_is_counted_and_not_answered() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    bench.receive("d", &sealed(3, 1, &plain_hello(1)));
    bench.commit();
    let good = sealed(3, 0, &batch(1, 1));
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let effects = bench.receive("d", &changed);
        assert!(effects.is_empty(), "byte {at}: {effects:?}");
    }
    for cut in 0..good.len() {
        assert!(bench.receive("d", &good[..cut]).is_empty());
    }
    // Under the number of another key, and as another device.
    assert!(bench.receive("d", &sealed(4, 0, &batch(1, 1))).is_empty());
    assert!(bench.receive("e", &good).is_empty());
    assert!(counted(&bench, Uncounted::Forged) > 0);
    assert!(counted(&bench, Uncounted::Key) > 0);
    assert_eq!(
        logged(&bench.receive("d", &good)).len(),
        1,
        "the true one is taken"
    );
}

#[test]
fn an_unsequenced_frame_is_taken_once() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    let first = sealed(3, 1, &plain_hello(1));
    let later = sealed(3, 2, &plain_progress(1));
    bench.receive("d", &first);
    bench.receive("d", &later);
    assert!(bench.receive("d", &first).is_empty());
    assert_eq!(counted(&bench, Uncounted::Replayed), 1);
    // The broker may deliver the newest one twice: nobody did wrong.
    assert!(bench.receive("d", &later).is_empty());
    assert_eq!(counted(&bench, Uncounted::Duplicate), 1);
    // The next boot counts from 1; after it the former one has nothing to say.
    assert!(
        !bench
            .receive("d", &sealed(3, 1, &plain_hello(2)))
            .is_empty()
    );
    assert!(
        bench
            .receive("d", &sealed(3, 9, &plain_hello(1)))
            .is_empty()
    );
    assert_eq!(counted(&bench, Uncounted::Replayed), 2);
}

/// A device without a boot store begins one with each start, and each of its Hellos may have been
/// recorded: said again in turn, none takes the place of another.
#[test]
fn recorded_words_of_many_incarnations_count_once() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    let word = |incarnation| {
        let hello = hello(progress(mark(1, 1), mark(0, 0), 0));
        let hello = unsequenced(Incarnation(incarnation), 1, up::HELLO, &hello);
        sealed(3, 1, &hello)
    };
    for incarnation in 1..=40 {
        assert!(!bench.receive("d", &word(incarnation)).is_empty());
        bench.commit();
    }
    for _ in 0..3 {
        for incarnation in 1..=40 {
            assert_eq!(bench.receive("d", &word(incarnation)), []);
        }
    }
    assert_eq!(counted(&bench, Uncounted::Duplicate), 3 * 40);
}

/// Who recorded what a device said under many incarnations can have some of them forgotten, but
/// not the one that lives.
#[test]
fn words_of_former_incarnations_do_not_bring_back_those_of_the_living_one() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    let word = |incarnation, counter| {
        let hello = hello(progress(mark(1, 1), mark(0, 0), 0));
        let hello = unsequenced(Incarnation(incarnation), 1, up::HELLO, &hello);
        sealed(3, counter, &hello)
    };
    let formers = 101..=100 + HEARD_MAX as u32;
    for former in formers.clone().rev() {
        bench.receive("d", &word(former, 1));
        bench.commit();
    }
    for counter in [1, 2] {
        bench.receive("d", &word(100, counter));
        bench.commit();
    }
    for former in formers {
        bench.receive("d", &word(former, 1));
    }
    let before = counted(&bench, Uncounted::Replayed);
    assert!(bench.receive("d", &word(100, 1)).is_empty());
    assert_eq!(counted(&bench, Uncounted::Replayed), before + 1);
}

#[test]
fn a_will_counts_for_its_own_connection() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    let word = |counter, online| {
        let plain = unsequenced(INC, 1, up::STATUS, &Status { online });
        sealed(3, counter, &plain)
    };
    bench.receive("d", &sealed(3, 3, &plain_hello(1)));
    bench.commit();
    let up = |bench: &Bench| bench.session.links[&name("d")].up;
    status(&mut bench, &word(2, true));
    assert_eq!(up(&bench), Some(true));
    status(&mut bench, &word(1, false));
    assert_eq!(up(&bench), Some(false), "its will");
    status(&mut bench, &word(5, true));
    assert_eq!(up(&bench), Some(true));
    status(&mut bench, &word(1, false));
    status(&mut bench, &word(2, true));
    assert_eq!(up(&bench), Some(true), "an old will says nothing");
    assert_eq!(counted(&bench, Uncounted::Replayed), 2);
    status(&mut bench, &word(9, false));
    assert_eq!(up(&bench), Some(false), "a goodbye of its own");
}

/// The device drew another incarnation while it was connected, or its first Hello comes later.
#[test]
fn a_will_of_the_incarnation_that_the_connection_began_with_counts() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    let word = |incarnation, boot, counter, online| {
        let plain = unsequenced(incarnation, boot, up::STATUS, &Status { online });
        sealed(3, counter, &plain)
    };
    bench.receive("d", &sealed(3, 3, &plain_hello(1)));
    bench.commit();
    status(&mut bench, &word(INC, 1, 2, true));
    let renamed = Incarnation(0xbeef);
    let hello = hello(progress(mark(1, 1), mark(0, 0), 0));
    let hello = unsequenced(renamed, 1, up::HELLO, &hello);
    bench.receive("d", &sealed(3, 4, &hello));
    bench.commit();
    status(&mut bench, &word(INC, 1, 1, false));
    assert_eq!(bench.session.links[&name("d")].up, Some(false), "its will");
    // The next boot is connected, and its Hello has not come.
    status(&mut bench, &word(renamed, 2, 2, true));
    status(&mut bench, &word(renamed, 2, 1, false));
    assert_eq!(bench.session.links[&name("d")].up, Some(false), "its will");
    status(&mut bench, &word(INC, 1, 2, true));
    assert_eq!(counted(&bench, Uncounted::Replayed), 1);
}

#[test]
fn two_keys_hold_until_the_new_one_is_on_disk() {
    let mut bench = bench(Frames::Require, &[key(3), key(4)]);
    bench.receive("d", &sealed(3, 1, &plain_hello(1)));
    bench.commit();
    assert_eq!(
        logged(&bench.receive("d", &sealed(3, 0, &batch(1, 1)))).len(),
        1
    );
    let used = |effects: &[Effect], key_id| {
        let device = name("d");
        effects.contains(&Effect::KeyUsed { device, key_id })
    };
    assert!(used(&bench.commit(), 3));
    // The device was written anew: its outbox comes under the new key.
    let again = hello(progress(mark(1, 2), mark(1, 1), 1));
    let again = unsequenced(INC, 2, up::HELLO, &again);
    bench.receive("d", &sealed(4, 1, &again));
    bench.commit();
    assert_eq!(
        logged(&bench.receive("d", &sealed(4, 0, &batch(1, 2)))).len(),
        1
    );
    assert!(used(&bench.commit(), 4));
    bench.session.set_keys(ring(Frames::Require, &[key(4)]));
    assert!(bench.receive("d", &sealed(3, 0, &batch(1, 3))).is_empty());
    assert_eq!(
        logged(&bench.receive("d", &sealed(4, 0, &batch(1, 3)))).len(),
        1
    );
}

#[test]
fn a_revoked_device_is_neither_heard_nor_answered() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    bench.receive("d", &sealed(3, 1, &plain_hello(1)));
    bench.commit();
    bench.receive("d", &sealed(3, 0, &batch(1, 1)));
    bench.session.set_keys(ring(Frames::Require, &[]));
    let effects = bench.commit();
    assert!(
        said(&effects).is_empty(),
        "what it was acked, it does not hear"
    );
    assert!(bench.receive("d", &sealed(3, 0, &batch(1, 2))).is_empty());
    assert!(
        bench
            .receive("d", &sealed(3, 2, &plain_hello(1)))
            .is_empty()
    );
    assert_eq!(counted(&bench, Uncounted::Key), 2);
    bench.session.set_keys(ring(Frames::AllowPlain, &[]));
    bench.receive("d", &plain_hello(1));
    assert_eq!(counted(&bench, Uncounted::Plain), 1, "nor plainly");
}

/// A gateway that was restored from an older image begins where that one began, but for what it
/// draws: no nonce may come twice.
#[test]
fn a_restored_gateway_repeats_no_nonce() {
    let mut nonces = std::collections::BTreeSet::new();
    for (term, first_counter) in [(Term(77), 1_000), (Term(78), 1_000), (Term(77), 900_000)] {
        let mut bench = Bench::new(SessionConfig {
            keys: ring(Frames::Require, &[key(3)]),
            term,
            first_counter,
            ..config()
        });
        for counter in 1..=50 {
            let effects = bench.receive("d", &sealed(3, counter, &plain_hello(1)));
            for payload in said(&effects) {
                let said = seal::envelope(&payload, Opening::Down { boot: 1 }).unwrap();
                let of = said.header;
                assert!(nonces.insert((
                    of.incarnation,
                    of.mark.boot,
                    of.mark.sequence,
                    said.counter
                )));
            }
        }
    }
    assert!(nonces.len() >= 300);
}

#[test]
fn a_sealed_frame_may_be_as_long_as_a_plain_one_and_its_seal() {
    let mut bench = Bench::new(SessionConfig {
        keys: ring(Frames::Require, &[key(3)]),
        frame_bytes_max: 256,
        ..config()
    });
    bench.receive("d", &sealed(3, 1, &plain_hello(1)));
    bench.commit();
    let of = |sequence, bytes: usize| {
        let (plain, _) = tests::frame_with(INC, mark(1, sequence), |writer| {
            writer.put(&vec![1; bytes - 13])
        });
        assert_eq!(plain.len(), bytes);
        sealed(3, 0, &plain)
    };
    assert_eq!(logged(&bench.receive("d", &of(1, 256))).len(), 1);
    assert!(bench.receive("d", &of(2, 257)).is_empty());
    assert_eq!(counted(&bench, Uncounted::TooLong), 1);
}

/// Every name is one that the registry could hold.
#[test]
fn a_stranger_costs_nothing_but_a_count() {
    let mut bench = bench(Frames::Require, &[key(3)]);
    for at in 0..100 {
        let stranger: DeviceName = name(&format!("s{at}"));
        bench.receive(stranger.as_str(), &sealed(3, 1, &plain_hello(1)));
        bench.receive(stranger.as_str(), &plain_hello(1));
    }
    assert!(bench.session.links.is_empty());
    assert_eq!(counted(&bench, Uncounted::Key), 100);
    assert_eq!(counted(&bench, Uncounted::Plain), 100);
}
