//! Composing from plain data, and from a conductor and a store as they begin.

use std::sync::Arc;

use tidegate_shared::ids::Term;

use super::*;
use crate::budget::{Budget, Decision, Sinks};
use crate::clock::trust::{Distrust, TrustWatch};
use crate::conductor::{self, Condition, Conductor, Event, Fault};
use crate::disk::{Disk, FaultDisk};
use crate::entry::{Entry, Logged};
use crate::rules::parse;
use crate::rules::settings::Settings;
use crate::session::{Marks, Pacing, Session, SessionConfig};
use crate::sinks::status::Phase;
use crate::store::Store;
use crate::time::{Timestamp, Word};

const CONFIGURATION: &str = r#"
    [gateway]
    site = "plant"
    [mqtt]
    url = "mqtt://127.0.0.1"
    [limits]
    devices_max = 20
    pending_bytes_max = "1 MiB"
    [log]
    bytes_max = "64 MiB"
    [sink.cloud]
    type = "file"
    path = "records"
    spool_bytes_max = "2 MiB"
    [[rule]]
    name = "all"
    match = { sensor = "*" }
    forward = ["cloud"]
"#;

fn settings() -> Settings {
    parse(CONFIGURATION, "test").unwrap().0
}

fn parts() -> Parts {
    let cloud = sinks::Status {
        records_waiting: Some(1),
        ..sinks::Status::default()
    };
    Parts {
        core: CorePart {
            conditions: Vec::new(),
            pacing: Pacing {
                turns: 2,
                paused: 3,
                budget_bytes: 65_536,
                pauses: 4,
            },
            pending_bytes: 5_000,
            devices: 12,
            devices_max: 20,
            held: Vec::new(),
            budget: None,
        },
        store: Some(StorePart {
            log_bytes: 70_000,
            frames_held: 6,
            queues: BTreeMap::from([("cloud".to_owned(), (90, 8_192))]),
            letters: BTreeMap::new(),
        }),
        sinks: BTreeMap::from([("cloud".to_owned(), cloud)]),
        witnesses: BTreeMap::new(),
        link: (true, LinkCounters::default()),
        refused: None,
        control: None,
        http: None,
        configuration: None,
    }
}

fn composed(parts: &Parts) -> Status {
    compose(&Setup::new(&settings(), 0xc0, 7), parts)
}

#[test]
fn without_conditions_it_works_as_usual() {
    let status = composed(&parts());
    assert!(status.works_as_usual && status.states.is_empty());
    assert_eq!(status.gateway.id, "00000000000000c0");
    assert_eq!(status.devices.frames_held, Some(6));
    assert_eq!(status.sinks["cloud"].delivery.records_waiting, Some(90));
    let used: Vec<_> = status
        .limits
        .iter()
        .map(|limit| (limit.key.as_str(), limit.used, limit.most))
        .collect();
    assert_eq!(
        used,
        [
            ("limits.devices_max", Some(12), 20),
            ("limits.pending_bytes_max", Some(5_000), 1 << 20),
            ("log.bytes_max", Some(70_000), 64 << 20),
            ("sink.cloud.spool_bytes_max", Some(8_192), 6 << 20),
        ]
    );
}

#[test]
fn a_store_that_does_not_answer_leaves_its_part_unknown() {
    let status = composed(&Parts {
        store: None,
        ..parts()
    });
    assert_eq!(status.devices.frames_held, None);
    assert_eq!(status.sinks["cloud"].spool_bytes, None);
    // What the delivery itself last knew is still told.
    assert_eq!(status.sinks["cloud"].delivery.records_waiting, Some(1));
    let unknown = status.limits.iter().filter(|limit| limit.used.is_none());
    assert_eq!(unknown.count(), 2);
    let json = serde_json::to_value(&status).unwrap();
    assert!(json["limits"][2]["used"].is_null(), "{json}");
}

#[test]
fn a_witness_that_refuses_is_told_and_is_no_trouble_of_the_data() {
    let standing = |refused: Option<&str>, silent: Option<&str>| Witnessed {
        cosigned: 3,
        entries: 5,
        refused: refused.map(str::to_owned),
        silent: silent.map(str::to_owned),
    };
    let witnesses = BTreeMap::from([
        ("barn".to_owned(), standing(None, Some("away"))),
        ("shed".to_owned(), standing(Some("two histories"), None)),
    ]);
    let status = composed(&Parts {
        witnesses: witnesses.clone(),
        ..parts()
    });
    assert!(status.works_as_usual);
    let [state] = &status.states[..] else {
        panic!("{:?}", status.states);
    };
    assert_eq!(state.name, WITNESS_REFUSES);
    assert_eq!(state.why.as_deref(), Some("shed: two histories"));
    assert!(!state.is_trouble());
    assert_eq!(status.witnesses, witnesses);
}

#[test]
fn every_condition_says_what_it_means() {
    let (since_us, why) = (1_772_368_200_000_000, "no space left".to_owned());
    let log = Condition::LogFailing {
        since_us,
        fault: Fault::DiskFull,
        why: why.clone(),
    };
    let conditions = vec![
        log,
        Condition::SpoolFailing {
            since_us,
            fault: Fault::ReadOnly,
            why,
        },
        Condition::ClockUntrusted {
            since_us,
            why: Distrust::Unsynchronised,
        },
        Condition::Standby { since_us },
        Condition::Unsubscribed,
    ];
    let mut all = parts();
    all.core.conditions = conditions;
    let status = composed(&all);
    assert!(!status.works_as_usual);
    let told: Vec<_> = status
        .states
        .iter()
        .map(|state| (state.name.as_str(), state.fault.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("log-failing", Some("disk-full")),
            ("spool-failing", Some("read-only")),
            ("clock-untrusted", None),
            ("standby", None),
            ("unsubscribed", None),
        ]
    );
    assert!(status.states.iter().all(|state| !state.meaning.is_empty()));
    let since = Some("2026-03-01T12:30:00Z".to_owned());
    assert_eq!(status.states[0].since, since);
    assert_eq!(status.states[0].why.as_deref(), Some("no space left"));
    let clock = status.states[2].why.as_deref().unwrap();
    assert!(clock.starts_with("unsynchronised: "), "{clock}");
    assert_eq!(status.states[4].since, None);
}

#[test]
fn a_sink_that_needs_a_person_is_a_state_and_one_that_tries_again_is_not() {
    for (phase, state) in [
        (Phase::CircuitOpen, Some("sink-circuit-open")),
        (Phase::SpoolFailing, Some("sink-spool-failing")),
        (Phase::BackingOff, None),
        (Phase::Draining, None),
    ] {
        let mut all = parts();
        let cloud = all.sinks.get_mut("cloud").unwrap();
        cloud.phase = phase;
        cloud.last_error = Some("401".into());
        let status = composed(&all);
        assert_eq!(status.works_as_usual, state.is_none());
        let names: Vec<_> = status.states.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, state.into_iter().collect::<Vec<_>>());
        for one in &status.states {
            assert_eq!(one.sink.as_deref(), Some("cloud"));
            assert_eq!(one.why.as_deref(), Some("401"));
        }
    }
}

#[test]
fn dead_letters_are_told_and_no_fault() {
    let mut all = parts();
    assert_eq!(composed(&all).sinks["cloud"].delivery.dead_letters, Some(0));
    let letters = &mut all.store.as_mut().unwrap().letters;
    letters.insert("cloud".to_owned(), 3);
    let status = composed(&all);
    assert!(status.works_as_usual);
    let told: Vec<_> = status.states.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(told, [DEAD_LETTERS]);
    assert!(status.states[0].why.as_ref().unwrap().ends_with(": 3"));
    assert_eq!(status.sinks["cloud"].delivery.dead_letters, Some(3));
    // Asked of a store that does not answer, it is what the sink knew last.
    all.store = None;
    assert_eq!(composed(&all).sinks["cloud"].delivery.dead_letters, None);
}

#[test]
fn devices_in_quarantine_are_told_with_the_reason_and_no_fault() {
    let held = |number: u32, until_us| HeldDevice {
        device: format!("pump-{number}"),
        why: BTreeMap::from([("forged".to_owned(), 57), ("key".to_owned(), 2)]),
        until_us,
    };
    let mut all = parts();
    all.core.held = vec![held(1, Some(1_772_368_200_000_000)), held(2, None)];
    let status = composed(&all);
    assert!(status.works_as_usual);
    let [state] = &status.states[..] else {
        panic!("{:?}", status.states);
    };
    assert_eq!(state.name, DEVICES_HELD);
    assert!(!state.is_trouble());
    assert_eq!(
        state.why.as_deref(),
        Some(
            "pump-1 (forged 57, key 2, until 2026-03-01T12:30:00Z); \
             pump-2 (forged 57, key 2, until it is released)"
        )
    );
    all.core.held = (0..11).map(|number| held(number, None)).collect();
    let status = composed(&all);
    let why = status.states[0].why.as_deref().unwrap();
    assert!(why.contains("pump-7 ") && !why.contains("pump-8 "), "{why}");
    assert!(why.ends_with("; 3 more"), "{why}");
}

#[test]
fn a_status_survives_its_json() {
    let mut all = parts();
    all.core.conditions = vec![Condition::Unsubscribed];
    all.control = Some(Counts {
        answered: 3,
        ..Counts::default()
    });
    for all in [all, parts()] {
        let status = composed(&all);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }
}

#[test]
fn core_and_store_say_what_they_hold() {
    let settings = settings();
    let site = settings.site.clone();
    let config = SessionConfig::new(site.clone(), 500, Term(77), 1);
    let config = (
        config,
        conductor::Config {
            site,
            start: 1,
            term: Term(77),
            commit_ms: 1_000,
            spare_incarnation: 9,
            budget: Budget::new(None, Sinks::default(), Decision::none()),
        },
    );
    let now = Timestamp {
        mono_us: 0,
        wall_us: 1_800_000_000_000_000,
        wall_trusted: true,
    };
    let mut conductor = Conductor::new(
        config.1,
        Session::new(config.0, Marks::default()),
        vec![Entry::Tick],
        (TrustWatch::new(None), Word::Synchronised),
        now,
    );
    assert_eq!(
        CorePart::of(&conductor, Timestamp::default()).conditions,
        [Condition::Unsubscribed]
    );
    conductor.handle(now, Event::Subscribed, &mut Vec::new());
    let core = CorePart::of(&conductor, Timestamp::default());
    assert_eq!(
        (core.conditions.len(), core.devices, core.pending_bytes),
        (0, 0, 0)
    );

    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let (mut store, _) = Store::open(&disk, &settings, 7, now).unwrap();
    let before = StorePart::of(&store);
    let tick = Logged {
        start: 1,
        at: now,
        entry: Entry::Tick,
    };
    store.append(&[tick]).unwrap();
    let after = StorePart::of(&store);
    assert!(after.log_bytes > before.log_bytes, "{before:?} {after:?}");
    assert_eq!(after.queues["cloud"].0, 0);
    assert_eq!(after.frames_held, 0);
}
