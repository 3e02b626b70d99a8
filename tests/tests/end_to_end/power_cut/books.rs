//! The books: counters of the store against each other, and against what is in the queues.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_gateway::rules::Priority;
use tidegate_gateway::spool::Spool;
use tidegate_gateway::store::Store;

use super::script::{MINUTE, ROOMY, SMALL};

/// Rule, device and sensor.
pub type Key = (String, String, String);

/// Fresh samples on their way to one sink.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Confirmed by the sink.
    pub delivered: u64,
    /// Evicted.
    pub evicted: u64,
    /// Found no room.
    pub dropped: u64,
    /// In the queues, counted by reading them.
    pub waiting: u64,
}

/// The counters that must balance.
#[derive(Debug, Default)]
pub struct Books {
    /// Samples logged, by device and sensor.
    pub logged: BTreeMap<(String, String), u64>,
    /// Samples in emitted records.
    pub folded: BTreeMap<Key, u64>,
    /// By sink.
    pub sent: BTreeMap<String, BTreeMap<Key, Sent>>,
}

/// Reads the books of a store at rest, and checks that they balance exactly.
pub fn balanced(store: &Store) -> Books {
    let ledger = store.ledger();
    let mut books = Books::default();
    for (device, counters) in fields(&ledger["devices"]) {
        for (sensor, counters) in fields(&counters["sensors"]) {
            let logged = count(&counters["logged"]);
            assert_eq!(sum(&counters["rejected"]), 0, "{counters}");
            assert_eq!(count(&counters["unmatched"]), 0, "{counters}");
            let minute = &counters["rules"][MINUTE];
            assert_eq!(count(&minute["matched"]), logged, "{counters}");
            books
                .logged
                .insert((device.clone(), sensor.clone()), logged);
            for (rule, counters) in fields(&counters["rules"]) {
                let folded = count(&counters["folded"]);
                let gone = sum(&counters["filtered"]) + count(&counters["late"]) + folded;
                let accounted = gone + count(&counters["open"]);
                assert_eq!(count(&counters["matched"]), accounted, "{rule}: {counters}");
                let key = (rule.clone(), device.clone(), sensor.clone());
                books.folded.insert(key, folded);
            }
        }
    }
    let spool = store.spool();
    let mut spool = spool.lock().expect("no panic while it was held");
    for sink in [ROOMY, SMALL] {
        let sent = of_sink(&ledger, &mut spool, sink, &books.folded);
        books.sent.insert(sink.to_owned(), sent);
    }
    books
}

fn of_sink(
    ledger: &Value,
    spool: &mut Spool,
    sink: &str,
    folded: &BTreeMap<Key, u64>,
) -> BTreeMap<Key, Sent> {
    let waiting = waiting(spool, sink);
    let keys = folded.iter().map(|(key, folded)| {
        let (rule, device, sensor) = key;
        let counts = &ledger["sinks"][sink][rule]["devices"][device][sensor];
        let sent = Sent {
            delivered: count(&counts["delivered_fresh"]),
            evicted: count(&counts["evicted_fresh"]),
            dropped: count(&counts["dropped_fresh"]),
            waiting: waiting.get(key).copied().unwrap_or(0),
        };
        let gone = sent.delivered + sent.evicted + sent.dropped;
        assert_eq!(*folded, gone + sent.waiting, "{sink} {key:?}: {sent:?}");
        assert_eq!(count(&counts["refused_fresh"]), 0);
        assert_eq!(count(&counts["waiting"]), sent.waiting, "{sink} {key:?}");
        (key.clone(), sent)
    });
    keys.collect()
}

/// Fresh samples in a sink's queues.
fn waiting(spool: &mut Spool, sink: &str) -> BTreeMap<Key, u64> {
    let mut fresh = BTreeMap::new();
    for class in [Priority::Low, Priority::Normal, Priority::High] {
        let queue = spool.queue(sink, class).expect("every class has a queue");
        let mut after = 0;
        loop {
            let found = spool.read(queue, after, 64, 1 << 20);
            let found = found.expect("the queues can be read");
            let Some(last) = found.last() else { break };
            after = last.index;
            for one in found {
                let record = one.record;
                let key = (record.rule, record.device, record.sensor);
                *fresh.entry(key).or_default() += record.fresh;
            }
        }
        let backlog = spool.waiting(queue).expect("the queue exists");
        assert_eq!(backlog.lost_records, 0, "{sink} {class:?}");
    }
    fresh
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn sum(value: &Value) -> u64 {
    fields(value).map(|(_, one)| count(one)).sum()
}
