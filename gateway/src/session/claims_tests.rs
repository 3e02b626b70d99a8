//! Claims as the session looks at them.

use tidegate_shared::claim::{ClaimId, Claimant, Code, Secret};
use tidegate_shared::message::up;
use tidegate_shared::seal::{self, Key, SEAL_BYTES_MAX, Way};
use tidegate_shared::topic::Topic;

use super::tests::{Bench, INC, at, config, hello, mark, name, progress, unsequenced};
use super::*;
use crate::entry::Uncounted;

const CODE: [u8; 32] = [0xc0; 32];

fn code(id: u32) -> Code {
    Code {
        id: ClaimId(id),
        key: Key::new(CODE),
    }
}

fn said(code: &Code, device: &str, start: u8) -> Vec<u8> {
    let claimant = Claimant {
        code,
        site: &config().site,
        device: &name(device),
    };
    claimant.ask(&Secret::new([start; 32])).to_vec()
}

/// A session with a registered device `pump-9` and a claim of the names `pump-…`.
fn bench() -> Bench {
    let open = OpenClaim {
        code: code(7),
        prefix: name("pump"),
        is_used_up: false,
        waiting: std::collections::BTreeSet::new(),
    };
    let claims = Claims {
        open: BTreeMap::from([(ClaimId(7), open)]),
        ended: BTreeMap::from([(ClaimId(6), Uncounted::ClaimExpired)]),
    };
    let key = DeviceKey {
        id: 1,
        key: Key::new([1; 32]),
        confirmed: true,
    };
    Bench::new(SessionConfig {
        keys: Keyring {
            frames: Frames::Require,
            devices: BTreeMap::from([(name("pump-9"), vec![key])]),
            claims,
        },
        policy: Policy {
            offences: 2,
            vouched: true,
            ..Policy::default()
        },
        ..config()
    })
}

fn counted(bench: &Bench, reason: Uncounted) -> u64 {
    let tallies = bench.session.tallies();
    assert_eq!(tallies.total(reason), tallies.count(None, reason));
    tallies.total(reason)
}

fn claimed(effects: &[Effect]) -> Vec<String> {
    let claimed = |effect: &Effect| match effect {
        Effect::Claimed { device, .. } => Some(device.to_string()),
        _ => None,
    };
    effects.iter().filter_map(claimed).collect()
}

#[test]
fn a_claim_whose_tag_holds_is_handed_out_as_it_came_and_nothing_is_logged() {
    let mut bench = bench();
    let claim = said(&code(7), "pump-1", 1);
    let effects = bench.receive("pump-1", &claim);
    let device = name("pump-1");
    assert_eq!(effects, [Effect::Claimed { device, claim }]);
    let sent = bench.event(Event::Granted {
        device: &name("pump-1"),
        grant: b"a grant",
    });
    assert_eq!(
        sent,
        [Effect::Publish {
            topic: Topic::Down(name("pump-1")),
            retained: false,
            expiry_s: Some(DOWN_EXPIRY_S),
            payload: b"a grant".to_vec(),
        }]
    );
}

#[test]
fn what_is_no_claim_of_here_is_counted_by_reason_and_costs_nobody_anything() {
    let mut bench = bench();
    let good = said(&code(7), "pump-1", 1);
    let mut changed = good.clone();
    changed[20] ^= 1;
    let guessed = Code {
        key: Key::new([0xbe; 32]),
        ..code(7)
    };
    let long = [&good[..], &[0]].concat();
    let attempts = [
        (
            "pump-1",
            said(&code(5), "pump-1", 1),
            Uncounted::ClaimUnknown,
        ),
        (
            "pump-1",
            said(&code(6), "pump-1", 1),
            Uncounted::ClaimExpired,
        ),
        (
            "pump-1",
            said(&guessed, "pump-1", 1),
            Uncounted::ClaimForged,
        ),
        ("pump-1", changed, Uncounted::ClaimForged),
        ("pump-2", good.clone(), Uncounted::ClaimForged),
        ("pump-1", good[..50].to_vec(), Uncounted::Truncated),
        ("pump-1", long, Uncounted::TooLong),
    ];
    for (device, payload, reason) in attempts {
        let before = counted(&bench, reason);
        let effects = bench.receive(device, &payload);
        assert_eq!(claimed(&effects), [""; 0], "{reason:?}");
        assert_eq!(counted(&bench, reason), before + 1, "{reason:?}");
    }
    assert!(bench.batch.is_empty(), "{:?}", bench.batch);
}

/// Whatever is claimed in its name, a registered device is none the worse.
#[test]
fn claims_are_never_held_against_a_registered_device() {
    let mut bench = bench();
    let forged = said(&code(5), "pump-9", 1);
    for _ in 0..100 {
        let effects = bench.receive("pump-9", &forged);
        let is_ruling = |effect: &Effect| matches!(effect, Effect::Ruled(_));
        assert!(!effects.iter().any(is_ruling), "{effects:?}");
    }
    assert_eq!(bench.session.standing(&name("pump-9")), Standing::Free);
    assert_eq!(counted(&bench, Uncounted::ClaimUnknown), 100);
}

/// It may have to ask again, so until it is heard whoever has the code speaks in its name.
#[test]
fn what_others_say_in_the_name_of_a_device_that_just_enrolled_is_not_held_against_it() {
    let mut bench = bench();
    let mut keys = bench.session.config.keys.clone();
    let granted = keys.devices[&name("pump-9")].clone();
    keys.devices.insert(name("pump-1"), granted);
    let claim = keys.claims.open.get_mut(&ClaimId(7)).unwrap();
    claim.waiting.insert(name("pump-1"));
    bench.session.set_keys(keys.clone());
    let plain = unsequenced(
        INC,
        1,
        up::HELLO,
        &hello(progress(mark(1, 1), mark(0, 0), 0)),
    );
    let mut sealed = vec![0; plain.len() + SEAL_BYTES_MAX];
    let way = Way::Up { counter: 1 };
    let used = seal::seal(&Key::new([3; 32]), 9, way, &plain, &mut sealed).unwrap();
    sealed.truncate(used);
    let is_ruled = |bench: &mut Bench| {
        let effects = bench.receive("pump-1", &sealed);
        let mut effects = effects.iter();
        effects.any(|effect| matches!(effect, Effect::Ruled(_)))
    };
    for _ in 0..100 {
        assert!(!is_ruled(&mut bench));
    }
    assert_eq!(bench.session.standing(&name("pump-1")), Standing::Free);
    assert_eq!(counted(&bench, Uncounted::Key), 100, "it is counted");
    keys.claims
        .open
        .get_mut(&ClaimId(7))
        .unwrap()
        .waiting
        .clear();
    bench.session.set_keys(keys);
    assert!(!is_ruled(&mut bench), "nothing is left over from before");
    assert!(is_ruled(&mut bench));
}

#[test]
fn refusals_are_told_the_first_time_the_second_the_fourth_and_so_on() {
    let mut bench = bench();
    let forged = said(&code(5), "pump-1", 1);
    let mut told = Vec::new();
    for _ in 0..100 {
        for effect in bench.receive("pump-1", &forged) {
            if let Effect::ClaimRefused { times, .. } = effect {
                told.push(times);
            }
        }
    }
    assert_eq!(told, [1, 2, 4, 8, 16, 32, 64]);
    bench.event(Event::ClaimRefused {
        device: &name("pump-1"),
        reason: Uncounted::ClaimTaken,
    });
    assert_eq!(counted(&bench, Uncounted::ClaimTaken), 1);
}

#[test]
fn a_flood_of_forgeries_keeps_nobody_out_and_claims_that_hold_are_paced() {
    let mut bench = bench();
    for _ in 0..1_000 {
        bench.receive("pump-1", &said(&code(5), "pump-1", 1));
    }
    // A recording of one device's claim takes that name's place, and no other.
    let recorded = said(&code(7), "pump-1", 1);
    let handed = (0..100).flat_map(|_| claimed(&bench.receive("pump-1", &recorded)));
    assert_eq!(handed.collect::<Vec<_>>(), ["pump-1"]);
    let mut handed = Vec::new();
    for number in 2..10 {
        let device = format!("pump-{number}");
        let effects = bench.receive(&device, &said(&code(7), &device, 1));
        handed.extend(claimed(&effects));
    }
    assert_eq!(handed.len(), CLAIMS_MAX - 1, "{handed:?}");
    let throttled = 99 + 8 - (CLAIMS_MAX as u64 - 1);
    assert_eq!(counted(&bench, Uncounted::ClaimThrottled), throttled);
    bench.now = at(bench.now.mono_us + CLAIMS_US);
    let effects = bench.receive("pump-9", &said(&code(7), "pump-9", 1));
    assert_eq!(claimed(&effects), ["pump-9"], "the registry refuses it");
}

#[test]
fn a_gateway_that_stands_by_or_stops_answers_no_claim() {
    let mut bench = bench();
    bench.event(Event::Stop);
    let effects = bench.receive("pump-1", &said(&code(7), "pump-1", 1));
    assert_eq!(claimed(&effects), [""; 0]);
    assert_eq!(counted(&bench, Uncounted::Busy), 1);
}
