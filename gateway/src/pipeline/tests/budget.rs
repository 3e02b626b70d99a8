//! What decisions about the budget change: records that tell, low ones dropped, longer windows.

use std::sync::Arc;

use super::script::{EPOCH_US, S, Script, passing, rule, site};
use crate::budget::{Action, Budget, Decision, KIND, Level, RULE, Sinks};
use crate::disk::{Disk, FaultDisk};
use crate::entry::{Entry, Logged};
use crate::ledger::balance::balances;
use crate::pipeline::{Pipeline, Restored};
use crate::record::{AlertCause, AlertState, GROUP, Record, Value};
use crate::rules::{Aggregate, Priority, Rule, parse};
use crate::spool::bill::Month;
use crate::spool::counters::Counters as Spooled;
use crate::spool::journal::Shares;
use crate::spool::{Delivery, Outcome};
use crate::store::Store;
use crate::time::{SECOND_US, Timestamp};

fn decision(level: Level, action: Action) -> Decision {
    Decision {
        month: Month::of_wall(EPOCH_US),
        level,
        action,
        used_bytes: 900,
        forecast_bytes: Some(1_100),
        warn_bytes: 800,
        cap_bytes: 1_000,
        sinks: vec!["cloud".into(), "local".into()],
    }
}

fn decide(script: &mut Script, level: Level, action: Action) {
    let text = decision(level, action).to_json();
    let kind = KIND.to_owned();
    script.push(Entry::Decision { kind, text });
}

fn of_class(name: &str, priority: Priority) -> Rule {
    Rule {
        priority,
        aggregates: vec![Aggregate::Count],
        ..rule(name, 60, 0)
    }
}

/// Sensor and state of the records that tell of the budget.
fn told(record: &Record) -> Option<(&str, AlertState)> {
    let alert = record.alert?;
    (alert.cause == AlertCause::Budget).then_some((record.sensor.as_str(), alert.state))
}

#[test]
fn every_step_over_a_level_is_a_record_and_nothing_else_is() {
    let mut script = Script::new(&[]);
    let steps = [
        (Level::Free, vec![]),
        (Level::Warned, vec![("budget.warn", AlertState::Opened)]),
        (Level::Warned, vec![]),
        (Level::Capped, vec![("budget.cap", AlertState::Opened)]),
        (
            Level::Free,
            vec![
                ("budget.cap", AlertState::Cleared),
                ("budget.warn", AlertState::Cleared),
            ],
        ),
        (
            Level::Capped,
            vec![
                ("budget.cap", AlertState::Opened),
                ("budget.warn", AlertState::Opened),
            ],
        ),
    ];
    for (level, _) in &steps {
        script.pass(S);
        decide(&mut script, *level, Action::Nothing);
    }
    let run = script.run();
    let found: Vec<_> = run
        .emitted
        .iter()
        .filter_map(|one| told(&one.record))
        .collect();
    let wanted: Vec<_> = steps.into_iter().flat_map(|(_, told)| told).collect();
    assert_eq!(found, wanted);
    let ids: std::collections::BTreeSet<_> = run.emitted.iter().map(|one| one.record.id).collect();
    assert_eq!(ids.len(), run.emitted.len());
    let first = &run.emitted[0];
    assert_eq!(first.forward, ["cloud", "local"]);
    assert_eq!(first.priority, Priority::High);
    let record = &first.record;
    assert_eq!(
        (record.rule.as_str(), record.device.as_str()),
        (RULE, GROUP)
    );
    assert_eq!(
        (record.samples, record.fresh, record.unit.as_str()),
        (0, 0, "B")
    );
    let values = [("used", 900), ("forecast", 1_100), ("cap", 1_000)];
    let values = values.map(|(name, bytes)| (name.to_owned(), Value::Count(bytes)));
    assert_eq!(record.values, values);
}

/// A log in which low records are dropped for two of four minutes.
fn dropping() -> Script {
    let mut script = Script::new(&[
        of_class("low", Priority::Low),
        of_class("normal", Priority::Normal),
        Rule {
            priority: Priority::Low,
            ..passing("samples")
        },
    ]);
    for minute in 1..=4_u64 {
        script.pass(60 * S);
        match minute {
            2 => decide(&mut script, Level::Capped, Action::DropLow),
            4 => decide(&mut script, Level::Free, Action::DropLow),
            _ => {}
        }
        let samples: Vec<(u64, i64)> = (0..10).map(|n| ((minute * 60 + n) * S, 1)).collect();
        script.batch((minute * 60 + 60) * S, &[(0, &samples)]);
    }
    script
}

#[test]
fn low_records_go_nowhere_while_the_budget_is_used_up_and_are_counted() {
    let run = dropping().run();
    let forwarded = |rule: &str| {
        let of_rule = run.emitted.iter().filter(|one| one.record.rule == rule);
        let sinks: Vec<usize> = of_rule.map(|one| one.forward.len()).collect();
        sinks
    };
    assert_eq!(forwarded("low"), [1, 0, 0, 1]);
    assert_eq!(forwarded("normal"), [1, 1, 1, 1]);
    let samples = forwarded("samples");
    assert_eq!((samples.len(), samples.iter().sum::<usize>()), (40, 20));
    let counters = run.pipeline.counters();
    let cut = counters.cuts["cloud"]["low"]["dev"]["a"];
    assert_eq!((cut.records, cut.fresh), (2, 20));
}

#[test]
fn the_books_balance_with_what_the_budget_dropped() {
    let run = dropping().run();
    // What went into the queues, all of it waiting.
    let mut spooled = Spooled::default();
    for one in &run.emitted {
        for sink in &one.forward {
            spooled.expect(sink, &one.record);
        }
    }
    let balances = balances(&run.pipeline.counters(), &spooled);
    assert!(balances.balanced, "{balances:?}");
    assert!(balances.sinks.iter().all(|row| row.unknowns.is_empty()));
    let sinks = balances.total.sinks;
    assert_eq!(
        (sinks.folded, sinks.dropped_by_budget, sinks.waiting),
        (120, 40, 80)
    );
    let low = balances.sinks.iter().find(|row| row.rule == "low").unwrap();
    assert_eq!((low.terms.dropped_by_budget, low.terms.waiting), (20, 20));
}

/// A log in which minute windows become five-minute ones and minute ones again.
fn coarsening() -> Script {
    let mut script = Script::new(&[
        of_class("low", Priority::Low),
        of_class("high", Priority::High),
    ]);
    let to_us = 300 * SECOND_US;
    for minute in 0..20_u64 {
        script.pass(60 * S);
        match minute {
            2 => decide(&mut script, Level::Capped, Action::Coarsen { to_us }),
            // The same rules again are no change.
            5 => script.rules(&[
                of_class("low", Priority::Low),
                of_class("high", Priority::High),
            ]),
            12 => decide(&mut script, Level::Free, Action::Coarsen { to_us }),
            _ => {}
        }
        let samples: Vec<(u64, i64)> = (0..10).map(|n| ((minute * 60 + n) * S, 1)).collect();
        script.batch((minute * 60 + 30) * S, &[(0, &samples)]);
    }
    script.batch(3_600 * S, &[]);
    script
}

#[test]
fn windows_become_longer_as_a_new_version_and_open_ones_finish_under_the_old() {
    let run = coarsening().run();
    let windows = |rule: &str| -> Vec<(u32, i64, u64)> {
        let of_rule = run.emitted.iter().filter(|one| one.record.rule == rule);
        of_rule
            .map(|one| {
                let record = &one.record;
                let minutes = (record.end_us - record.start_us) / (60 * SECOND_US);
                (record.version, minutes, record.fresh)
            })
            .collect()
    };
    let low = windows("low");
    let of_version = |version| {
        let of_version = low.iter().filter(|(of, ..)| *of == version);
        of_version
            .map(|(_, minutes, _)| *minutes)
            .collect::<Vec<_>>()
    };
    assert!(of_version(1).iter().all(|minutes| *minutes == 1), "{low:?}");
    assert!(
        of_version(2).len() >= 2 && of_version(2).iter().all(|minutes| *minutes == 5),
        "{low:?}"
    );
    assert!(
        of_version(3).len() >= 5 && of_version(3).iter().all(|minutes| *minutes == 1),
        "{low:?}"
    );
    assert_eq!(low.iter().map(|(.., fresh)| fresh).sum::<u64>(), 200);
    let high = windows("high");
    assert_eq!(high.len(), 20);
    assert!(high.iter().all(|window| *window == (1, 1, 10)), "{high:?}");
    // What was given is what a start compares its configuration with.
    let given = &run.pipeline.rules().rules[0];
    assert_eq!(*given, of_class("low", Priority::Low));
}

#[test]
fn decisions_are_part_of_the_state() {
    for script in [dropping(), coarsening()] {
        let whole = script.run();
        let mut pipeline = Pipeline::new(&site());
        let mut emitted = Vec::new();
        for (position, logged) in script.log.iter().enumerate() {
            let parts = pipeline.snapshot();
            let (restored, lost) = Pipeline::restore(&site(), &parts);
            assert_eq!(lost, Restored::default());
            assert_eq!(restored.snapshot(), parts);
            pipeline = restored;
            pipeline.apply(position as u64, logged, &mut emitted);
        }
        assert_eq!(emitted, whole.emitted);
        assert_eq!(pipeline.counters(), whole.pipeline.counters());
        assert_eq!(pipeline.decided(), whole.pipeline.decided());
    }
}

#[test]
fn a_state_of_before_there_were_budgets_is_read() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    let mut parts = script.run().pipeline.snapshot();
    // It ended where the budget begins, which is two bytes while nothing was decided.
    let base = &mut parts[0].bytes;
    base.truncate(base.len() - 2);
    let (restored, lost) = Pipeline::restore(&site(), &parts);
    assert_eq!(lost, Restored::default());
    assert_eq!(restored.decided(), None);
    assert_eq!(restored.counters(), script.run().pipeline.counters());
}

#[test]
fn a_decision_that_cannot_be_read_changes_nothing_and_counts() {
    let mut script = Script::new(&[of_class("low", Priority::Low)]);
    for (kind, text) in [
        (KIND, "{"),
        (
            "another",
            decision(Level::Capped, Action::DropLow).to_json().as_str(),
        ),
    ] {
        script.push(Entry::Decision {
            kind: kind.to_owned(),
            text: text.to_owned(),
        });
    }
    script.batch(60 * S, &[(0, &[(10 * S, 1)])]);
    let run = script.run();
    assert_eq!(run.emitted.len(), 1);
    assert_eq!(run.emitted[0].forward, ["cloud"]);
    assert_eq!(run.pipeline.counters().entries_unreadable, 2);
}

const CONFIGURATION: &str = r#"
    [gateway]
    site = "site"
    [mqtt]
    url = "mqtt://127.0.0.1"
    [budget]
    bytes_per_month = "100kB"
    at_cap = "drop-low"
    [sink.cloud]
    type = "http"
    url = "http://127.0.0.1:9/"
    [[rule]]
    name = "all"
    match = { sensor = "*" }
    priority = "low"
    forward = ["cloud"]
"#;

fn store(disk: &Arc<dyn Disk>) -> (Store, Budget) {
    let (settings, _) = parse(CONFIGURATION, "test").unwrap();
    let (store, _) = Store::open(disk, &settings, 1, Timestamp::default()).unwrap();
    let held = store.decided().unwrap_or_else(Decision::none);
    let budget = Budget::new(settings.budget, Sinks::of(&settings.sinks), held);
    (store, budget)
}

fn take(store: &mut Store, logged: &Logged) {
    let one = std::slice::from_ref(logged);
    store.append(one).unwrap();
    store.fold(one);
    store.settle(logged.at).unwrap();
}

/// The sink confirms everything that waits in a class; it took so many bytes.
fn deliver(store: &Store, class: Priority, at: Timestamp, bytes_after: u64) -> usize {
    let spool = store.spool();
    let mut spool = spool.lock().unwrap();
    let Some(queue) = spool.queue("cloud", class) else {
        return 0;
    };
    let waiting = spool.read(queue, 0, 1_000, 1 << 20).unwrap();
    if let (Some(first), Some(last)) = (waiting.first(), waiting.last()) {
        let delivery = Delivery {
            outcome: Outcome::Confirmed,
            at,
            bytes_before: 2 * bytes_after,
            bytes_after,
            header_bytes: 0,
            attempts: 1,
        };
        spool
            .commit(
                queue,
                first.index..=last.index,
                delivery,
                &Shares::default(),
            )
            .unwrap();
    }
    waiting.len()
}

#[test]
fn from_the_bill_to_the_ledger_also_over_a_restart() {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let (mut running, mut budget) = store(&disk);
    let mut script = Script::new(&[Rule {
        priority: Priority::Low,
        ..passing("all")
    }]);
    let mut taken = 0;
    let mut levels = Vec::new();
    for minute in 0..6_u64 {
        script.pass(60 * S);
        let at_s = minute * 60;
        script.batch(
            (at_s + 60) * S,
            &[(0, &[(at_s * S, 1), ((at_s + 1) * S, 2)])],
        );
        for logged in &script.log[taken..] {
            take(&mut running, logged);
        }
        deliver(&running, Priority::Low, script.at, 30_000);
        deliver(&running, Priority::High, script.at, 1_000);
        budget.hear(running.spent(script.at));
        if let Some(decision) = budget.decide(script.at) {
            levels.push((minute, decision.level));
            let kind = KIND.to_owned();
            let text = decision.to_json();
            script.push(Entry::Decision { kind, text });
        }
        taken = script.log.len();
        if let Some(Logged {
            entry: Entry::Decision { .. },
            ..
        }) = script.log.last()
        {
            take(&mut running, script.log.last().unwrap());
        }
        // Killed and started again, every other minute.
        if minute % 2 == 1 {
            drop(running);
            (running, budget) = store(&disk);
        }
    }
    assert_eq!(levels, [(2, Level::Warned), (3, Level::Capped)]);
    let books = running.balances();
    assert!(books.balanced, "{books:?}");
    assert!(books.sinks.iter().all(|row| row.unknowns.is_empty()));
    let sinks = books.total.sinks;
    assert_eq!(
        (
            sinks.folded,
            sinks.delivered,
            sinks.dropped_by_budget,
            sinks.waiting
        ),
        (12, 8, 4, 0)
    );
    let month = Month::of(script.at);
    let sent = running.bill().sent(month, |_| true);
    // Four batches of samples and the two that told.
    assert_eq!((sent.records, sent.bytes_after), (10, 122_000));
}
