//! Scripts of (now, event) → effects, the test being the store.

use std::sync::Arc;

use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{Incarnation, Mark, SiteName, Term};
use tidegate_shared::message::{self, Down, Hello, Presence, Progress, up};

use std::collections::BTreeMap;

use super::*;
use crate::budget::{Action, Level, Sinks};
use crate::rules::settings::BudgetSettings;
use crate::session::{Marks, SessionConfig};
use crate::spool::bill::Month;

mod checkpoints;

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;

fn at(mono_us: u64) -> Timestamp {
    Timestamp {
        mono_us,
        wall_us: 1_800_000_000_000_000 + mono_us as i64,
        wall_trusted: true,
    }
}

/// A conductor and what it said last.
struct Script {
    conductor: Conductor,
    effects: Vec<Effect>,
}

impl Script {
    /// A start whose first batch is durable and settled, subscribed at 0 s.
    fn begun() -> Self {
        let site = SiteName::try_from("plant").unwrap();
        let config = SessionConfig::new(site.clone(), 500, Term(77), 1);
        let session = Session::new(config, Marks::default());
        let config = Config {
            site,
            start: 1,
            term: Term(77),
            commit_ms: 1_000,
            spare_incarnation: 9,
            budget: Budget::new(None, Sinks::default(), Decision::none()),
        };
        let mut script = Self {
            conductor: Conductor::new(
                config,
                session,
                vec![Entry::Tick],
                (TrustWatch::new(None), Word::Synchronised),
                at(0),
            ),
            effects: Vec::new(),
        };
        script.event(0, Event::Subscribed);
        let first = script.batch().expect("a start begins with a batch");
        script.durable(0, first);
        script.settled(0, None);
        assert!(script.conductor.is_at_rest());
        script
    }

    fn event(&mut self, mono_us: u64, event: Event<'_>) {
        self.effects.clear();
        self.conductor.handle(at(mono_us), event, &mut self.effects);
    }

    /// The batch that is to be committed now.
    fn batch(&self) -> Option<Vec<Logged>> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Commit(entries) => Some(entries.clone()),
            _ => None,
        })
    }

    fn durable(&mut self, mono_us: u64, entries: Vec<Logged>) {
        self.event(mono_us, Event::Report(Report::Durable(Arc::new(entries))));
    }

    fn settled(&mut self, mono_us: u64, deadline: Option<u64>) {
        let report = Report::Settled {
            deadline,
            wanted: Vec::new(),
            spent: spent(at(mono_us), 0),
        };
        self.event(mono_us, Event::Report(report));
    }

    /// Settled, so many bytes having been sent this month.
    fn settled_with(&mut self, mono_us: u64, bytes: u64) {
        let report = Report::Settled {
            deadline: None,
            wanted: Vec::new(),
            spent: spent(at(mono_us), bytes),
        };
        self.event(mono_us, Event::Report(report));
    }

    fn refused(&mut self, mono_us: u64, entries: Vec<Logged>, fault: Fault) {
        let why = "no room".to_owned();
        let report = Report::Refused {
            entries,
            fault,
            why,
        };
        self.event(mono_us, Event::Report(report));
    }

    /// A gateway with a lower id says that it owns the site.
    fn stand_by(&mut self, mono_us: u64) {
        let header = Header {
            key_id: 0,
            incarnation: Incarnation(0),
            mark: Mark {
                boot: 0,
                sequence: 0,
            },
        };
        let presence = Down::Presence(Presence {
            gateway: 1,
            term: Term(5),
            start: 1,
            online: true,
        });
        let mut buffer = [0; 128];
        let written = frame::write(&header, &mut buffer, |writer| presence.write(writer));
        let event = Event::Received {
            topic: "tidegate/v1/plant/gateway",
            retained: false,
            payload: written.unwrap().0,
        };
        self.event(mono_us, event);
    }

    /// A device's message arrives.
    fn up(
        &mut self,
        mono_us: u64,
        sequence: u32,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>,
    ) {
        let header = Header {
            key_id: 0,
            incarnation: Incarnation(7),
            mark: Mark { boot: 1, sequence },
        };
        let mut buffer = [0; 512];
        let (bytes, _) = frame::write(&header, &mut buffer, body).unwrap();
        let event = Event::Received {
            topic: "tidegate/v1/plant/pump-1/up",
            retained: false,
            payload: bytes,
        };
        self.event(mono_us, event);
    }

    /// A sequenced frame arrives.
    fn report(&mut self, mono_us: u64, sequence: u32) {
        self.up(mono_us, sequence, |writer| {
            writer.varint(up::BATCH.into())?;
            writer.put(&[sequence as u8; 8])
        });
    }

    fn hello(&mut self, mono_us: u64) {
        let first = Mark {
            boot: 1,
            sequence: 1,
        };
        let hello = Hello {
            protocol_min: 1,
            protocol_max: 1,
            frame_bytes_max: 1_024,
            progress: Progress {
                floor: first,
                depth: 3,
                ..Progress::default()
            },
            ..Hello::default()
        };
        self.up(mono_us, 0, |writer| {
            message::write(writer, up::HELLO, &hello)
        });
    }

    fn acked(&self) -> Vec<u32> {
        let acked = self.effects.iter().filter_map(|effect| match effect {
            Effect::Publish { payload, .. } => {
                let frame = frame::read(payload).unwrap();
                match Down::read(frame.body) {
                    Ok(Down::Ack(ack)) => Some(ack.through),
                    _ => None,
                }
            }
            _ => None,
        });
        acked.collect()
    }

    fn told(&self) -> Vec<&News> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(news) => Some(news),
            _ => None,
        });
        told.collect()
    }

    fn names(&self) -> Vec<&'static str> {
        let conditions = self.conductor.conditions();
        conditions.iter().map(|one| one.name().0).collect()
    }
}

fn spent(now: Timestamp, bytes: u64) -> Spent {
    Spent {
        month: Month::of(now),
        since_us: Some(0),
        sinks: BTreeMap::from([("cloud".to_owned(), bytes)]),
        gap: false,
    }
}

fn frames(entries: &[Logged]) -> usize {
    let is_frame = |one: &&Logged| matches!(one.entry, Entry::Frame(_));
    entries.iter().filter(is_frame).count()
}

#[test]
fn an_ack_leaves_when_its_batch_is_durable_and_not_before() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.report(2 * S, 1);
    assert!(script.batch().is_none() && script.acked().is_empty());
    assert_eq!(script.conductor.next_deadline(), 3 * S);
    script.event(3 * S, Event::Deadline);
    let batch = script.batch().expect("commit_ms passed");
    assert_eq!(frames(&batch), 1);
    assert!(script.acked().is_empty());
    script.durable(3 * S + 1, batch);
    assert_eq!(script.acked(), [1]);
}

#[test]
fn what_came_during_a_slow_settle_goes_out_behind_it() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.event(3 * S, Event::Deadline);
    let first = script.batch().expect("the hello is an entry");
    script.durable(3 * S, first);
    script.report(3 * S, 1);
    script.event(9 * S, Event::Deadline);
    assert!(script.batch().is_none(), "one batch is out at a time");
    script.settled(9 * S, None);
    let second = script.batch().expect("it waited long enough");
    assert_eq!(frames(&second), 1);
}

#[test]
fn a_refused_batch_is_offered_again_before_all_else_and_nothing_is_acked() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.report(2 * S, 1);
    script.event(3 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    script.refused(3 * S, batch.clone(), Fault::DiskFull);
    assert!(script.acked().is_empty() && script.batch().is_none());
    assert!(matches!(script.told()[..], [News::LogFailing { .. }]));
    assert_eq!(script.names(), ["log-failing"]);
    // A frame that comes meanwhile stays on the device, which is told to wait.
    script.report(3 * S + MS, 2);
    assert_eq!(script.acked(), [0]);
    script.event(3 * S + RETRY_US, Event::Deadline);
    let again = script.batch().expect("it is offered again after a second");
    assert_eq!(again[..batch.len()], batch[..]);
    assert_eq!(frames(&again), 1);
    // The same trouble is told once.
    script.refused(4 * S, again, Fault::DiskFull);
    assert!(script.told().is_empty());
    script.event(5 * S, Event::Deadline);
    let again = script.batch().unwrap();
    script.durable(5 * S, again);
    assert_eq!(script.acked(), [1]);
    script.settled(5 * S, None);
    assert_eq!(script.told(), [&News::StoreWorks]);
    assert!(script.names().is_empty());
}

#[test]
fn a_spool_that_refuses_is_asked_again_and_takes_nothing_meanwhile() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.event(3 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    script.durable(3 * S, batch);
    let report = Report::Unsettled {
        fault: Fault::ReadOnly,
        why: "read-only".to_owned(),
    };
    script.event(3 * S, Event::Report(report));
    assert_eq!(script.names(), ["spool-failing"]);
    script.report(3 * S + MS, 1);
    assert_eq!(script.acked(), [0]);
    script.event(3 * S + RETRY_US, Event::Deadline);
    assert!(script.effects.contains(&Effect::Settle));
    script.settled(4 * S, None);
    assert!(script.names().is_empty());
}

#[test]
fn tallies_wait_for_a_store_that_works() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.event(3 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    script.refused(3 * S, batch.clone(), Fault::DiskFailing);
    script.report(3 * S, 5);
    let due = S + 2 * TALLY_WAIT_US;
    for second in 4..30 {
        script.event(second * S, Event::Deadline);
        if let Some(again) = script.batch() {
            assert_eq!(again, batch, "nothing rides along while it is refused");
            script.refused(second * S, again, Fault::DiskFailing);
        }
    }
    assert!(due < 30 * S);
}

#[test]
fn a_clean_stop_brings_what_is_pending_to_disk_with_its_tallies() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.report(2 * S, 5);
    script.event(2 * S + MS, Event::Stop);
    let batch = script.batch().expect("a stop does not wait for commit_ms");
    let is_tally = |one: &Logged| matches!(one.entry, Entry::Tally { .. });
    assert!(batch.iter().any(is_tally), "{batch:?}");
    script.durable(2 * S + MS, batch);
    script.settled(2 * S + MS, None);
    assert!(script.conductor.is_at_rest());
    script.effects.clear();
    script.conductor.stop(at(3 * S), &mut script.effects);
    let says = |effect: &Effect| matches!(effect, Effect::Publish { retained: true, .. });
    assert!(script.effects.iter().any(says), "it says offline");
}

#[test]
fn a_tick_is_written_only_when_nothing_else_carries_the_time() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.event(3 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    script.durable(3 * S, batch);
    script.settled(3 * S, Some(5 * S));
    assert_eq!(script.conductor.next_deadline(), 5 * S);
    script.event(5 * S, Event::Deadline);
    let batch = script.batch().expect("the pipeline is due");
    assert!(matches!(batch[0].entry, Entry::Tick));
}

#[test]
fn a_standby_writes_no_tick() {
    let mut script = Script::begun();
    script.settled(2 * S, Some(5 * S));
    script.stand_by(3 * S);
    assert!(matches!(script.told()[..], [News::Standby(true)]));
    assert_eq!(script.names(), ["standby"]);
    script.event(4 * S, Event::Deadline);
    let last = script.batch().expect("it says that it hears no more");
    script.durable(4 * S, last);
    script.settled(4 * S, Some(5 * S));
    script.event(5 * S, Event::Deadline);
    assert!(script.batch().is_none());
}

#[test]
fn a_jump_of_the_wall_clock_is_an_entry_before_what_follows_it() {
    let mut script = Script::begun();
    script.effects.clear();
    let mut later = at(2 * S);
    later.wall_us += 86_400_000_000;
    script
        .conductor
        .handle(later, Event::Disconnected, &mut script.effects);
    assert!(matches!(script.told()[..], [News::ClockStepped { .. }]));
    later.mono_us += S;
    later.wall_us += S as i64;
    script.effects.clear();
    script
        .conductor
        .handle(later, Event::Deadline, &mut script.effects);
    let batch = script.batch().unwrap();
    assert!(matches!(batch[0].entry, Entry::ClockStep { .. }));
    assert!(matches!(batch[1].entry, Entry::Link(_)));
}

#[test]
fn a_batch_that_could_not_be_handed_over_comes_back_in_order() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.event(3 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    script.event(3 * S, Event::NotTaken(batch.clone()));
    assert!(script.batch().is_none());
    script.event(4 * S, Event::Deadline);
    assert_eq!(script.batch().unwrap()[..batch.len()], batch[..]);
}

#[test]
fn faults_are_told_apart_by_what_the_system_said() {
    use std::io;

    use crate::log::LogError;
    for (kind, fault) in [
        (io::ErrorKind::StorageFull, Fault::DiskFull),
        (io::ErrorKind::ReadOnlyFilesystem, Fault::ReadOnly),
        (io::ErrorKind::Other, Fault::DiskFailing),
    ] {
        let error = LogError::Write {
            path: "log".to_owned(),
            source: kind.into(),
        };
        let error = crate::store::StoreError::from(error);
        assert_eq!(Fault::of(&error), fault);
    }
}

/// One rule, whose windows are so long.
fn rules(minutes: i64) -> crate::rules::RuleSet {
    let text = format!(
        r#"
        [gateway]
        site = "plant"
        [mqtt]
        url = "mqtt://127.0.0.1"
        [sink.file]
        type = "file"
        path = "records"
        [[rule]]
        name = "all"
        match = {{ sensor = "*" }}
        window = {{ tumbling = "{minutes}m" }}
        aggregate = ["count"]
        forward = ["file"]
        "#
    );
    crate::rules::parse(&text, "test").unwrap().0.rules
}

fn another(minutes: i64) -> Reconfiguration {
    Reconfiguration {
        rules: Some(rules(minutes)),
        limits: None,
        window_max: 7,
        commit_ms: 1_000,
        budget: None,
    }
}

impl Script {
    fn is_in_force(&self) -> bool {
        self.effects.contains(&Effect::InForce)
    }
}

fn texts(entries: &[Logged]) -> Vec<String> {
    let texts = entries.iter().filter_map(|one| match &one.entry {
        Entry::Rules { text } => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

#[test]
fn a_reconfiguration_goes_to_the_log_at_once_and_holds_when_it_is_durable() {
    let mut script = Script::begun();
    script.hello(2 * S);
    script.report(2 * S, 1);
    script.event(2 * S + MS, Event::Reconfigured(another(5)));
    let batch = script.batch().expect("it does not wait for commit_ms");
    assert_eq!(frames(&batch), 1);
    assert_eq!(texts(&batch), [rules(5).to_json()]);
    let is_rules = |one: &Logged| matches!(one.entry, Entry::Rules { .. });
    let at = |is: &dyn Fn(&Logged) -> bool| batch.iter().position(is);
    let frame = at(&|one| matches!(one.entry, Entry::Frame(_)));
    assert!(frame < at(&is_rules), "what came before it goes before it");
    assert!(!script.is_in_force());
    script.durable(2 * S + 2 * MS, batch);
    assert!(script.is_in_force());
    assert_eq!(script.acked(), [1]);
}

#[test]
fn a_reconfiguration_behind_a_batch_that_is_out_waits_for_its_own() {
    let mut script = Script::begun();
    script.event(2 * S, Event::Reconfigured(another(5)));
    let first = script.batch().unwrap();
    script.durable(2 * S, first);
    assert!(script.is_in_force());
    // The first still settles; what comes now goes behind it.
    script.event(2 * S + MS, Event::Reconfigured(another(6)));
    assert!(script.batch().is_none());
    script.settled(3 * S, None);
    let second = script.batch().expect("it goes out next");
    assert_eq!(texts(&second), [rules(6).to_json()]);
    script.durable(3 * S, second);
    assert!(script.is_in_force());
}

#[test]
fn a_log_that_refuses_leaves_the_old_configuration_in_force() {
    let mut script = Script::begun();
    let slower = Reconfiguration {
        commit_ms: 5_000,
        ..another(5)
    };
    script.event(2 * S, Event::Reconfigured(slower));
    let batch = script.batch().unwrap();
    script.refused(2 * S, batch.clone(), Fault::DiskFull);
    assert!(!script.is_in_force());
    script.event(2 * S + RETRY_US, Event::Deadline);
    let again = script.batch().expect("it is offered again");
    assert_eq!(again, batch, "once, and as it was");
    script.durable(4 * S, again);
    assert!(script.is_in_force());
    script.settled(4 * S, None);
    script.hello(5 * S);
    assert_eq!(script.conductor.next_deadline(), 10 * S, "commit_ms holds");
}

#[test]
fn what_the_log_does_not_hold_is_in_force_at_once_and_writes_nothing() {
    let mut script = Script::begun();
    let new = Reconfiguration {
        rules: None,
        commit_ms: 100,
        ..another(5)
    };
    script.event(2 * S, Event::Reconfigured(new));
    assert!(script.is_in_force() && script.batch().is_none());
    assert!(script.conductor.is_at_rest());
    script.hello(3 * S);
    assert_eq!(script.conductor.next_deadline(), 3 * S + 100 * MS);
}

#[test]
fn limits_hold_for_devices_that_come_when_they_are_durable() {
    let mut script = Script::begun();
    let none = crate::entry::Limits {
        devices_max: 0,
        ..crate::entry::Limits::default()
    };
    let new = Reconfiguration {
        rules: None,
        limits: Some(none),
        ..another(5)
    };
    script.event(2 * S, Event::Reconfigured(new));
    let batch = script.batch().unwrap();
    assert!(matches!(batch[0].entry, Entry::Limits(limits) if limits == none));
    assert_ne!(script.conductor.session().limits().devices_max, 0);
    script.durable(2 * S, batch);
    assert!(script.is_in_force());
    script.settled(2 * S, None);
    script.hello(3 * S);
    assert_eq!(script.conductor.session().marks().devices().count(), 0);
    assert!(script.conductor.is_at_rest(), "the device was refused");
}

#[test]
fn a_standby_takes_its_reconfiguration_when_the_site_is_its_own() {
    let mut script = Script::begun();
    script.stand_by(3 * S);
    script.event(4 * S, Event::Deadline);
    let last = script.batch().expect("it says that it hears no more");
    script.durable(4 * S, last);
    script.settled(4 * S, None);
    script.event(5 * S, Event::Reconfigured(another(5)));
    assert!(script.batch().is_none() && !script.is_in_force());
    script.event(5 * S + session::STANDBY_US, Event::Deadline);
    let batch = script.batch().expect("the site is its own");
    assert_eq!(texts(&batch), [rules(5).to_json()]);
    script.durable(100 * S, batch);
    assert!(script.is_in_force());
}

fn budget(cap_bytes: u64) -> BudgetSettings {
    BudgetSettings {
        cap_bytes,
        warn_permille: 800,
        at_cap: Action::DropLow,
    }
}

/// A start with a budget of 1,000 bytes for one sink.
fn budgeted() -> Script {
    let mut script = Script::begun();
    let sinks = Sinks {
        remote: vec!["cloud".into()],
        all: vec!["cloud".into()],
    };
    script.conductor.config.budget = Budget::new(Some(budget(1_000)), sinks, Decision::none());
    script
}

fn levels(entries: &[Logged]) -> Vec<Level> {
    let decisions = entries.iter().filter_map(|one| match &one.entry {
        Entry::Decision { kind, text } if kind == budget::KIND => {
            Some(serde_json::from_str::<Decision>(text).unwrap().level)
        }
        _ => None,
    });
    decisions.collect()
}

/// Lets what waits go out as a batch, which is durable at once.
fn flushed(script: &mut Script, mono_us: u64) -> Vec<Logged> {
    script.event(mono_us, Event::Deadline);
    let batch = script.batch().unwrap_or_default();
    script.durable(mono_us, batch.clone());
    batch
}

#[test]
fn what_the_budget_asks_for_goes_to_the_log_once() {
    let mut script = budgeted();
    script.settled_with(2 * S, 100);
    assert_eq!(levels(&flushed(&mut script, 4 * S)), []);
    script.settled_with(5 * S, 1_200);
    assert!(matches!(script.told()[..], [News::BudgetDecided(_)]));
    assert!(script.batch().is_none(), "it waits like any entry");
    assert_eq!(levels(&flushed(&mut script, 7 * S)), [Level::Capped]);
    script.settled_with(8 * S, 1_300);
    assert_eq!(levels(&flushed(&mut script, 10 * S)), []);
    let standing = script.conductor.budget(at(10 * S)).unwrap();
    assert_eq!(
        (standing.level, standing.used_bytes),
        (Level::Capped, 1_300)
    );
}

#[test]
fn a_decision_that_the_log_refused_is_offered_again() {
    let mut script = budgeted();
    script.settled_with(2 * S, 1_200);
    script.event(4 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    assert_eq!(levels(&batch), [Level::Capped]);
    script.refused(4 * S, batch.clone(), Fault::DiskFull);
    script.event(6 * S, Event::Deadline);
    assert_eq!(script.batch().unwrap(), batch);
}

#[test]
fn another_budget_holds_at_once_and_is_judged_anew() {
    let mut script = budgeted();
    script.settled_with(2 * S, 900);
    assert_eq!(levels(&flushed(&mut script, 4 * S)), [Level::Warned]);
    script.settled_with(5 * S, 900);
    let new = Reconfiguration {
        rules: None,
        budget: Some(budget(2_000_000)),
        ..another(5)
    };
    script.event(6 * S, Event::Reconfigured(new));
    assert!(script.is_in_force());
    assert_eq!(levels(&flushed(&mut script, 8 * S)), [Level::Free]);
}

#[test]
fn a_clock_that_is_not_trusted_decides_nothing() {
    let mut script = budgeted();
    script.conductor.hear(Word::Unsynchronised);
    let untrusted = Timestamp {
        wall_trusted: false,
        ..at(2 * S)
    };
    script.effects.clear();
    let report = Report::Settled {
        deadline: None,
        wanted: Vec::new(),
        spent: spent(at(2 * S), 5_000),
    };
    let event = Event::Report(report);
    script
        .conductor
        .handle(untrusted, event, &mut script.effects);
    assert_eq!(script.conductor.budget(untrusted), None);
    let batch = script.batch().expect("the clock's step goes out at once");
    assert_eq!(levels(&batch), []);
}
