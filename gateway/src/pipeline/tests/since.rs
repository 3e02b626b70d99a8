//! The balances since a moment, from the files of a store.

use std::sync::Arc;

use super::script::{EPOCH_US, S, Script, rule};
use crate::disk::{Disk, FaultDisk};
use crate::entry::Logged;
use crate::ledger::balance::Balances;
use crate::ledger::past;
use crate::rules::settings::Settings;
use crate::rules::{Priority, parse};
use crate::spool::journal::Shares;
use crate::spool::{Delivery, Outcome};
use crate::store::Store;
use crate::time::{SECOND_US, Timestamp};

const CONFIGURATION: &str = r#"
    [gateway]
    site = "site"
    [mqtt]
    url = "mqtt://127.0.0.1"
    [sink.cloud]
    type = "file"
    path = "records"
    [[rule]]
    name = "all"
    match = { sensor = "*" }
    forward = ["cloud"]
"#;

/// Four batches, a minute apart; ten samples each.
fn log() -> Vec<Logged> {
    let mut script = Script::new(&[rule("minute", 60, 0)]);
    for minute in 1..=4_u64 {
        script.pass(60 * S);
        let samples: Vec<(u64, i64)> = (0..10).map(|n| ((minute * 60 + n) * S, 1)).collect();
        script.batch((minute * 60 + 60) * S, &[(0, &samples)]);
    }
    script.log
}

fn filled(disk: &Arc<dyn Disk>, settings: &Settings) -> Store {
    let (mut store, _) = Store::open(disk, settings, 1, Timestamp::default()).unwrap();
    for logged in log() {
        let one = [logged];
        store.append(&one).unwrap();
        store.fold(&one);
        store.settle(one[0].at).unwrap();
        // The sink is a minute behind.
        deliver(&store, one[0].at);
    }
    store
}

fn deliver(store: &Store, at: Timestamp) {
    let spool = store.spool();
    let mut spool = spool.lock().unwrap();
    let queue = spool.queue("cloud", Priority::Normal).unwrap();
    let waiting = spool.read(queue, 0, 10, 1 << 20).unwrap();
    let (Some(first), 2..) = (waiting.first(), waiting.len()) else {
        return;
    };
    let delivery = Delivery {
        outcome: Outcome::Confirmed,
        at,
        bytes_before: 1,
        bytes_after: 1,
        header_bytes: 1,
        attempts: 1,
    };
    spool
        .commit(
            queue,
            first.index..=first.index,
            delivery,
            &Shares::default(),
        )
        .unwrap();
}

fn since(disk: &Arc<dyn Disk>, settings: &Settings, store: &Store, asked_us: i64) -> Balances {
    let mut entries = 0;
    let now = store.balances();
    past::since(disk, settings, now, asked_us, &mut |done, most| {
        assert!(done <= most);
        entries = done;
    })
    .unwrap()
}

#[test]
fn balances_since_a_moment_count_what_came_behind_it() {
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let (settings, _) = parse(CONFIGURATION, "test").unwrap();
    let store = filled(&disk, &settings);
    let begin_us = EPOCH_US + 3_600 * SECOND_US;
    let all = store.balances();
    assert_eq!((all.total.rules.matched, all.total.sinks.folded), (40, 40));
    assert_eq!(
        (all.total.sinks.delivered, all.total.sinks.waiting),
        (30, 10)
    );
    for (minutes, matched, delivered, waiting) in [
        (-1, 40, 30, 10),
        (1, 30, 30, 0),
        (2, 20, 20, 0),
        (3, 10, 10, 0),
        (9, 0, 0, 0),
    ] {
        let asked_us = begin_us + minutes * 60 * SECOND_US;
        let between = since(&disk, &settings, &store, asked_us);
        let total = &between.total;
        assert!(between.balanced, "{minutes}: {between:?}");
        assert_eq!(total.rules.matched, matched, "{minutes}");
        assert_eq!(total.samples.logged, matched, "{minutes}");
        assert_eq!(total.sinks.delivered, delivered, "{minutes}");
        assert_eq!(total.sinks.waiting, waiting, "{minutes}");
        let told = between.since.unwrap();
        assert_eq!(
            told.from_us,
            (minutes >= 0).then_some(asked_us),
            "{minutes}"
        );
    }
}
