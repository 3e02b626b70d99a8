//! Rendering from plain data.

use std::collections::BTreeMap;

use super::*;
use crate::audit::asking::Witnessed;
use crate::budget::{Action, Level, Standing};
use crate::mqtt::LinkCounters;
use crate::mqtt::access::{LastRefusal, Why};
use crate::reload::{Refusal, Refused};
use crate::sinks;
use crate::sinks::status::Counters;
use crate::status::{About, Devices, Link};

fn usual() -> Status {
    let sink = Sink {
        delivery: sinks::Status {
            records_waiting: Some(1_234),
            dead_letters: Some(2),
            counters: Counters {
                records: 5_678,
                retries: 3,
                broken: 1,
                ..Counters::default()
            },
            ..sinks::Status::default()
        },
        spool_bytes: Some(4_096),
    };
    Status {
        gateway: About {
            site: "pump-house".into(),
            id: "00000000000000c0".into(),
            start: 3,
            version: "0.1.0".into(),
        },
        works_as_usual: true,
        states: Vec::new(),
        sinks: BTreeMap::from([("cloud".to_owned(), sink)]),
        witnesses: BTreeMap::new(),
        devices: Devices {
            admitted: 12,
            turns: 2,
            paused: 5,
            budget_bytes: 65_536,
            pauses: 9,
            frames_held: Some(0),
        },
        link: Link {
            up: true,
            counters: LinkCounters {
                received: 40_000,
                published: 39_000,
                dropped_away: 2,
                dropped_large: 1,
                lost: 1,
                ..LinkCounters::default()
            },
        },
        refused: None,
        control: None,
        http: None,
        configuration: None,
        budget: None,
        limits: vec![
            limit("limits.devices_max", Some(12), 1_000, Unit::Devices),
            limit("log.bytes_max", Some(1_536), 1 << 30, Unit::Bytes),
        ],
    }
}

fn limit(key: &str, used: Option<u64>, most: u64, unit: Unit) -> Limit {
    Limit {
        key: key.into(),
        used,
        most,
        unit,
    }
}

#[test]
fn a_gateway_that_works_says_so_first() {
    let expected = "\
pump-house works as usual
  gateway 00000000000000c0, start 3, version 0.1.0

sinks, records
         doing  waiting  confirmed  failed attempts  dead letters
  cloud   idle    1,234      5,678                4             2

devices   12 admitted; 2 have a turn, 5 were asked to wait; 0 frames wait for the clock
broker    connected; 40,000 messages in, 39,000 out, 3 dropped; lost or not made 1 times, held back 0 times

limits
                          used   most
  limits.devices_max        12  1,000    1 %
  log.bytes_max       1.50 KiB  1 GiB  < 1 %
";
    assert_eq!(render(&usual()), expected, "\n{}", render(&usual()));
}

#[test]
fn witnesses_and_what_the_broker_refused_have_a_line_each() {
    let mut status = usual();
    let witness = Witnessed {
        cosigned: 3,
        entries: 5,
        refused: None,
        silent: Some("no connection".into()),
    };
    status.witnesses = BTreeMap::from([("shed".to_owned(), witness)]);
    status.refused = Some(RefusalCounts {
        by_reason: BTreeMap::from([(Why::WrongPassword, 3), (Why::Revoked, 1)]),
        untold: 0,
        last: Some(LastRefusal {
            device: Some("pump-1".into()),
            is_proved: false,
            peer: "192.0.2.7".into(),
            why: Why::Revoked,
        }),
    });
    let text = render(&status);
    for line in [
        "witness   shed has cosigned 3 of 5 entries of the audit log; it cannot be asked: no connection",
        "refused   wrong-password 3, revoked 1 at the broker inside; last who says that it is pump-1 from 192.0.2.7: the device is revoked",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    // Nothing is said of nothing.
    status.refused = Some(RefusalCounts::default());
    assert!(!render(&status).contains("refused   "));
}

#[test]
fn every_state_is_told_before_all_else_with_what_it_means() {
    let mut status = usual();
    status.works_as_usual = false;
    status.states = vec![
        State {
            name: "log-failing".into(),
            fault: Some("disk-full".into()),
            since: Some("2026-03-01T12:30:00Z".into()),
            why: Some("no space left".into()),
            meaning: "nothing is acked until it can".into(),
            ..State::default()
        },
        State {
            name: "sink-circuit-open".into(),
            sink: Some("cloud".into()),
            meaning: "records wait".into(),
            ..State::default()
        },
    ];
    let text = render(&status);
    let told: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(
        told,
        [
            "pump-house: log-failing (disk-full) since 2026-03-01T12:30:00Z: nothing is acked until it can",
            "  because: no space left",
            "pump-house, sink cloud: sink-circuit-open: records wait",
        ]
    );
    assert!(!text.contains("works as usual"), "{text}");
}

#[test]
fn what_is_unknown_is_no_number() {
    let mut status = usual();
    let sink = status.sinks.get_mut("cloud").unwrap();
    sink.delivery.records_waiting = None;
    sink.spool_bytes = None;
    status.devices.frames_held = None;
    status.limits = vec![limit("log.bytes_max", None, 1 << 30, Unit::Bytes)];
    let text = render(&status);
    for line in [
        "  cloud   idle  unknown",
        "; unknown frames wait for the clock",
        "  log.bytes_max  unknown  1 GiB\n",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    let json = serde_json::to_value(&status).unwrap();
    assert!(json["limits"][0]["used"].is_null(), "{json}");
    assert!(json["sinks"]["cloud"]["records_waiting"].is_null());
    assert!(json["devices"]["frames_held"].is_null());
}

#[test]
fn a_sink_in_trouble_says_why_and_a_backlog_at_which_pace() {
    let mut status = usual();
    let sink = status.sinks.get_mut("cloud").unwrap();
    sink.delivery.phase = Phase::BackingOff;
    sink.delivery.attempts = 4;
    sink.delivery.last_error = Some("connection refused".into());
    sink.delivery.drain = Some(Drain {
        bytes_per_s: Some(1 << 20),
        records_per_s: Some(5_000),
        records: 3_000,
        bytes: 1,
    });
    let text = render(&status);
    for line in [
        "pump-house works as usual; not reached at the moment, records wait for: cloud\n",
        "  cloud  backing-off ",
        "  cloud: after 4 attempts: connection refused\n",
        "  cloud: a backlog goes out, at most 1 MiB a second and 5,000 records a second; 3,000 records of it sent\n",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn shares_are_neither_nothing_nor_full_too_early() {
    for (used, most, told) in [
        (0, 10, "0 %"),
        (1, 1_000, "< 1 %"),
        (999, 1_000, "99 %"),
        (1_000, 1_000, "100 %"),
        (u64::MAX, u64::MAX, "100 %"),
        (3, 2, "150 %"),
        (0, 0, "0 %"),
    ] {
        assert_eq!(share(used, most), told);
    }
}

#[test]
fn the_configuration_in_force_and_the_one_refused_are_told() {
    let mut status = usual();
    let mut in_force = InForce {
        file: "tidegate.toml".into(),
        hash: "ba7816bf8f01".into(),
        since: "2026-03-01T12:30:00Z".into(),
        reloads: 2,
        refusals: 1,
        pending: false,
        refused: Some(Refused {
            at: "2026-03-01T12:40:00Z".into(),
            is_current: true,
            refusal: Refusal {
                hash: None,
                why: "it takes a restart".into(),
                places: vec!["gateway.site changed".into()],
            },
        }),
    };
    status.configuration = Some(in_force.clone());
    let text = render(&status);
    let told = "\
  configuration ba7816bf8f01 of tidegate.toml, in force since 2026-03-01T12:30:00Z
  the file is not in force: refused at 2026-03-01T12:40:00Z: it takes a restart
    gateway.site changed
";
    assert!(text.contains(told), "{text}");
    in_force.pending = true;
    in_force.refused.as_mut().unwrap().is_current = false;
    status.configuration = Some(in_force);
    let text = render(&status);
    for line in [
        "  another one is right and waits for its entry to be on disk\n",
        "  the last one refused, before that: at 2026-03-01T12:40:00Z: it takes a restart\n",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    assert!(!text.contains("gateway.site"), "{text}");
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}

#[test]
fn a_budget_has_a_line_where_there_is_one() {
    let mut status = usual();
    status.budget = Some(Standing {
        month: "2026-11".parse().unwrap(),
        level: Level::Capped,
        action: Action::Coarsen {
            to_us: 3_600_000_000,
        },
        used_bytes: 510_000_000,
        gap: false,
        forecast_bytes: Some(600_000_000),
        warn_bytes: 400_000_000,
        cap_bytes: 500_000_000,
    });
    let line = "\nbudget    510,000,000 of 500,000,000 bytes used (102.0 %), about 600,000,000 by \
                the month's end at this pace; used up, windows shorter than 1h run at 1h\n";
    assert!(render(&status).contains(line), "{}", render(&status));
}
