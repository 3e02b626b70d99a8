//! Balance (iii): what a rule folded of a sensor for a sink, against what became of its records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::unknown::{Bound, Reason, Unknown};
use super::{signed, terms};
use crate::ledger::counters::Counters;
use crate::record::GROUP;
use crate::spool::counters::{self as spool, SensorCounts};

/// Where the samples are that one rule folded of one sensor for one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRow {
    /// Device name.
    pub device: String,
    /// Sensor name.
    pub sensor: String,
    /// Rule name.
    pub rule: String,
    /// Sink name.
    pub sink: String,
    /// The terms.
    #[serde(flatten)]
    pub terms: SinkTerms,
    /// What is not known, and why.
    pub unknowns: Vec<Unknown>,
}

/// The terms of balance (iii), in fresh samples: `folded` is the sum of those below it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkTerms {
    /// Stand in records for this sink.
    pub folded: i64,
    /// Confirmed by the sink.
    pub delivered: i64,
    /// Refused by the sink for good.
    pub dead_lettered: i64,
    /// Evicted from the spool to make room.
    pub evicted: i64,
    /// Never put into the spool: the budget was held by higher classes.
    pub dropped: i64,
    /// Sent to no sink: the month's budget was used up.
    #[serde(default)]
    pub dropped_by_budget: i64,
    /// Wait in the spool.
    pub waiting: i64,
    /// Lost by the gateway's disk: what is missing where it is known to have lost records.
    pub lost_here: i64,
    /// What cannot be known.
    pub unknown: i64,
    /// What nothing explains.
    pub difference: i64,
}

terms!(
    SinkTerms: folded,
    delivered,
    dead_lettered,
    evicted,
    dropped,
    dropped_by_budget,
    waiting,
    lost_here,
    unknown,
    difference
);

/// What the counters say of a row.
#[derive(Default)]
struct Row {
    folded: u64,
    counts: SensorCounts,
    cut: u64,
}

/// Device, sensor, rule, sink.
type Key<'k> = (&'k str, &'k str, &'k str, &'k str);

/// The rows of every device, sensor, rule and sink that folding or spooling knows.
pub(super) fn rows(counters: &Counters, spool: &spool::Counters) -> Vec<SinkRow> {
    let mut found: BTreeMap<Key<'_>, Row> = BTreeMap::new();
    for (device, counts) in &counters.devices {
        for (sensor, counts) in &counts.sensors {
            for (rule, counts) in &counts.rules {
                for (sink, folded) in &counts.forwarded {
                    // Records of a group stand for all its sensors.
                    let grouped = counts.forwarded_grouped.get(sink);
                    let alone = folded.checked_sub(grouped.copied().unwrap_or(0));
                    let mut add = |sensor, folded: Option<u64>| {
                        if let Some(folded) = folded {
                            found
                                .entry((device, sensor, rule, sink))
                                .or_default()
                                .folded += folded;
                        }
                    };
                    add(GROUP, grouped.copied());
                    add(
                        sensor,
                        alone.filter(|alone| *alone > 0 || grouped.is_none()),
                    );
                }
            }
        }
    }
    for (sink, rules) in &spool.sinks {
        for (rule, counts) in rules {
            for (device, sensors) in &counts.devices {
                for (sensor, counts) in sensors {
                    found
                        .entry((device, sensor, rule, sink))
                        .or_default()
                        .counts = *counts;
                }
            }
        }
    }
    for (sink, rules) in &counters.cuts {
        for (rule, devices) in rules {
            for (device, sensors) in devices {
                for (sensor, cut) in sensors {
                    found.entry((device, sensor, rule, sink)).or_default().cut = cut.fresh;
                }
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|(key, found)| row(counters, spool, key, &found))
        .collect()
}

fn row(
    counters: &Counters,
    spool: &spool::Counters,
    (device, sensor, rule, sink): Key<'_>,
    found: &Row,
) -> SinkRow {
    let counts = &found.counts;
    let mut terms = SinkTerms {
        folded: signed(found.folded),
        delivered: signed(counts.delivered_fresh),
        dead_lettered: signed(counts.refused_fresh),
        evicted: signed(counts.evicted_fresh),
        dropped: signed(counts.dropped_fresh),
        dropped_by_budget: signed(found.cut),
        waiting: signed(counts.waiting_fresh()),
        ..SinkTerms::default()
    };
    let gone = terms.delivered
        + terms.dead_lettered
        + terms.evicted
        + terms.dropped
        + terms.dropped_by_budget;
    let left = terms.folded - gone - terms.waiting;
    let mut unknowns = Vec::new();
    let parts_lost = counters.devices.get(device).map_or(0, |one| one.parts_lost);
    if left > 0 && spool.lost.get(sink).is_some_and(|lost| *lost > 0) {
        terms.lost_here = left;
    } else if left != 0 {
        let reason = if parts_lost > 0 || counters.parts_lost > 0 {
            Some(Reason::CountersLost)
        } else if left < 0 && counters.entries_lost > 0 {
            Some(Reason::LogLost)
        } else {
            None
        };
        match reason {
            Some(reason) => {
                terms.unknown = left;
                unknowns.push(Unknown {
                    reason,
                    bound: Bound::Samples(left.unsigned_abs()),
                });
            }
            None => terms.difference = left,
        }
    }
    SinkRow {
        device: device.to_owned(),
        sensor: sensor.to_owned(),
        rule: rule.to_owned(),
        sink: sink.to_owned(),
        terms,
        unknowns,
    }
}
