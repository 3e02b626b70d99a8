//! Conduct: who is throttled, held and freed, and who never is.

use proptest::prelude::*;
use tidegate_shared::ids::{Incarnation, Term};
use tidegate_shared::message::{Down, Presence, Status, up};
use tidegate_shared::seal::{self, Key, SEAL_BYTES_MAX, Way};

use super::tests::{
    Bench, INC, config, frame_with, hello, mark, name, progress, sequenced, unsequenced,
};
use super::*;
use crate::entry::Uncounted;

const POLICY: Policy = Policy {
    offences: 10,
    within_us: 600_000_000,
    hold_us: Some(3_600_000_000),
    vouched: true,
};

fn bench(policy: Policy) -> Bench {
    let keys = vec![DeviceKey {
        id: 1,
        key: Key::new([1; 32]),
        confirmed: true,
    }];
    let mut bench = Bench::new(SessionConfig {
        keys: Keyring {
            frames: Frames::Require,
            devices: BTreeMap::from([(name("d"), keys.clone()), (name("e"), keys)]),
            ..Keyring::default()
        },
        policy,
        ..config()
    });
    bench.receive("d", &greeting(1, 1));
    bench.commit();
    bench
}

fn sealed(counter: u32, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plain.len() + SEAL_BYTES_MAX];
    let way = Way::Up { counter };
    let used = seal::seal(&Key::new([1; 32]), 1, way, plain, &mut out).unwrap();
    out.truncate(used);
    out
}

fn greeting(boot: u32, counter: u32) -> Vec<u8> {
    let hello = hello(progress(mark(boot, 1), mark(0, 0), 0));
    sealed(counter, &unsequenced(INC, boot, up::HELLO, &hello))
}

fn batch(sequence: u32) -> Vec<u8> {
    sealed(0, &sequenced(INC, mark(1, sequence), 1).0)
}

fn forged() -> Vec<u8> {
    let mut bytes = batch(1);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes
}

fn rulings(effects: &[Effect]) -> Vec<Ruling> {
    let ruling = |effect: &Effect| match effect {
        Effect::Ruled(ruling) => Some(ruling.clone()),
        _ => None,
    };
    effects.iter().filter_map(ruling).collect()
}

fn counted(bench: &Bench, reason: Uncounted) -> u64 {
    bench.session.tallies().total(reason)
}

fn wait(bench: &mut Bench, us: u64) {
    bench.now.mono_us += us;
    bench.now.wall_us += us as i64;
}

#[test]
fn a_forger_is_throttled_then_held_and_freed_when_its_time_is_over() {
    let mut bench = bench(Policy {
        offences: 40,
        ..POLICY
    });
    let standing = |bench: &Bench| bench.session.standing(&name("d"));
    for _ in 0..19 {
        assert_eq!(rulings(&bench.receive("d", &forged())), []);
    }
    assert_eq!(standing(&bench), Standing::Free);
    bench.receive("d", &forged());
    assert_eq!(standing(&bench), Standing::Throttled);
    let mut told = Vec::new();
    for _ in 0..120 {
        told.extend(rulings(&bench.receive("d", &forged())));
        wait(&mut bench, 50_000);
    }
    assert!(
        counted(&bench, Uncounted::Throttled) > 0,
        "a few a second pass"
    );
    assert_eq!(told.len(), 1, "{told:?}");
    let ruling = &told[0];
    assert_eq!((ruling.turn, ruling.is_over), (Turn::Quarantined, false));
    let forged = ruling.why[&Uncounted::Forged];
    assert!((40..45).contains(&forged), "{forged}");
    assert!(
        ruling
            .until_us
            .is_some_and(|until| until > bench.now.wall_us)
    );
    // Neither the forger nor who shares its name is heard.
    assert!(bench.receive("d", &batch(1)).is_empty());
    assert!(counted(&bench, Uncounted::Quarantined) > 0);
    let due = bench.session.next_deadline().unwrap();
    assert!(
        due > bench.now.mono_us,
        "a repeat of the presence comes first"
    );
    wait(&mut bench, 3_600_000_000);
    let over = rulings(&bench.event(Event::Deadline));
    assert_eq!(over.len(), 1);
    assert!(over[0].is_over);
    assert_eq!(standing(&bench), Standing::Free);
    assert!(
        !bench.receive("d", &batch(1)).is_empty(),
        "what it kept is taken"
    );
}

#[test]
fn offences_of_one_cost_another_nothing() {
    let mut bench = bench(POLICY);
    for _ in 0..100 {
        bench.receive("d", &forged());
    }
    assert_eq!(bench.session.standing(&name("d")), Standing::Quarantined);
    assert_eq!(bench.session.standing(&name("e")), Standing::Free);
    assert!(!bench.receive("e", &greeting(1, 1)).is_empty());
}

/// On a broker that lets everyone publish everywhere, anybody could put a device away by forging
/// in its name.
#[test]
fn where_nobody_vouches_for_publishers_offences_are_only_told() {
    let mut bench = bench(Policy {
        vouched: false,
        ..POLICY
    });
    let mut told = Vec::new();
    for _ in 0..1_000 {
        told.extend(rulings(&bench.receive("d", &forged())));
    }
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].turn, told[0].is_over), (Turn::Suspected, false));
    assert!(
        !bench.receive("d", &batch(1)).is_empty(),
        "the device is heard"
    );
    wait(&mut bench, 3_600_000_000);
    assert!(rulings(&bench.event(Event::Deadline))[0].is_over);
}

#[test]
fn a_flood_of_what_was_taken_already_is_an_offence_and_a_resend_is_none() {
    let mut bench = bench(POLICY);
    bench.receive("d", &batch(1));
    bench.commit();
    for _ in 0..NOISE_MAX - 1 {
        bench.receive("d", &batch(1));
    }
    assert_eq!(bench.session.standing(&name("d")), Standing::Free);
    for _ in 0..20 {
        bench.receive("d", &batch(1));
    }
    assert_eq!(bench.session.standing(&name("d")), Standing::Quarantined);
}

#[test]
fn what_the_broker_refused_counts_and_a_person_can_release() {
    let mut bench = bench(Policy {
        hold_us: None,
        ..POLICY
    });
    let mut told = Vec::new();
    for _ in 0..10 {
        told.extend(rulings(&bench.event(Event::Foreign(&name("e")))));
    }
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].until_us, None, "until somebody releases it");
    wait(&mut bench, 1_000_000_000_000);
    assert!(rulings(&bench.event(Event::Deadline)).is_empty());
    assert_eq!(bench.session.standing(&name("e")), Standing::Quarantined);
    assert!(rulings(&bench.event(Event::Release(&name("e"))))[0].is_over);
    assert_eq!(bench.session.standing(&name("e")), Standing::Free);
    assert!(rulings(&bench.event(Event::Release(&name("e")))).is_empty());
    assert!(rulings(&bench.event(Event::Foreign(&name("nobody")))).is_empty());
}

#[test]
fn a_quarantine_of_an_earlier_start_goes_on() {
    let mut bench = bench(POLICY);
    let until = bench.now.wall_us + 5_000_000;
    let now = bench.now;
    bench.session.hold(now, name("d"), Some(until));
    assert!(bench.receive("d", &batch(1)).is_empty());
    let held: Vec<Held> = bench.session.held().collect();
    let until_us = Some(bench.now.mono_us + 5_000_000);
    assert_eq!(
        held,
        [Held {
            device: name("d"),
            why: BTreeMap::new(),
            until_us,
        }]
    );
    wait(&mut bench, 5_000_000);
    assert!(rulings(&bench.event(Event::Deadline))[0].is_over);
    assert_eq!(bench.session.held().count(), 0);
}

/// Another gateway owns the site, and says so.
fn stand_by(bench: &mut Bench) {
    let owner = Presence {
        gateway: 100,
        term: Term(9),
        start: 1,
        online: true,
    };
    let (owner, _) = frame_with(Incarnation(0), mark(0, 0), |writer| {
        Down::Presence(owner).write(writer)
    });
    bench.event(Event::Received {
        topic: "tidegate/v1/plant/gateway",
        retained: false,
        payload: &owner,
    });
    assert!(bench.session.is_standby());
}

#[test]
fn a_standby_frees_nobody_by_an_entry_and_waits_for_no_such_deadline() {
    let mut bench = bench(POLICY);
    for _ in 0..100 {
        bench.receive("d", &forged());
    }
    assert_eq!(bench.session.standing(&name("d")), Standing::Quarantined);
    stand_by(&mut bench);
    wait(&mut bench, 3_600_000_000);
    // The owner is still there.
    stand_by(&mut bench);
    let now_us = bench.now.mono_us;
    assert!(rulings(&bench.event(Event::Deadline)).is_empty());
    let due = bench.session.next_deadline();
    assert!(due.is_none_or(|due| due > now_us), "{due:?} at {now_us}");
    assert!(rulings(&bench.event(Event::Release(&name("d")))).is_empty());
    assert_eq!(bench.session.standing(&name("d")), Standing::Free);
}

/// One word of a device over a network that is as bad as they come.
#[derive(Debug, Clone, Copy)]
enum Word {
    /// The next frames, as many as the window.
    Window,
    /// The same again: no ack came.
    Resend,
    /// A Hello on a new connection, and what the old one held comes late and in any order.
    Reconnect(usize),
    /// The gateway wrote nothing meanwhile.
    Pause,
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        3 => Just(Word::Window),
        4 => Just(Word::Resend),
        2 => (0..12_usize).prop_map(Word::Reconnect),
        1 => Just(Word::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Resends, doubled and late deliveries, lost acks and reconnects, for hours: at the pace that
    /// the device library keeps, none of it is a reason.
    #[test]
    fn an_honest_device_behind_a_bad_network_is_never_held(
        words in proptest::collection::vec((word(), 1..=3_usize), 100..=200),
    ) {
        let mut bench = bench(Policy { offences: 100, ..POLICY });
        let (mut next, mut counter, mut sent) = (1, 2, Vec::new());
        let mut late: Vec<Vec<u8>> = Vec::new();
        for (word, times) in words {
            let mut out: Vec<Vec<u8>> = Vec::new();
            match word {
                Word::Window => {
                    sent = (next..next + 64).map(batch).collect();
                    next += 64;
                    out.clone_from(&sent);
                }
                Word::Resend => {
                    out.push(sealed(counter, &unsequenced(
                        INC, 1, up::PROGRESS, &progress(mark(1, 1), mark(0, 0), 64),
                    )));
                    counter += 1;
                    out.extend(sent.iter().cloned());
                }
                Word::Reconnect(held) => {
                    let online = Status { online: true };
                    out.push(sealed(counter + 1, &unsequenced(INC, 1, up::STATUS, &online)));
                    out.push(greeting(1, counter + 2));
                    counter += 3;
                    let from = late.len().saturating_sub(held);
                    out.extend(late.drain(from..));
                }
                Word::Pause => {
                    bench.commit();
                }
            }
            for _ in 0..times.min(2) {
                for bytes in &out {
                    let told = rulings(&bench.receive("d", bytes));
                    prop_assert!(told.is_empty(), "{told:?}");
                }
            }
            late = out;
            // What a link waits at least before it sends the same again or connects anew.
            wait(&mut bench, 4_000_000);
        }
        prop_assert_eq!(bench.session.standing(&name("d")), Standing::Free);
    }
}
