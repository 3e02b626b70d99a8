//! Counters: where every record went, per sink, rule, device and sensor.
//!
//! Terms: *fresh* samples are those a record counts for the first time; summed over the records
//! of a sensor they are its samples.
//!
//! Invariants, for every sink, rule, device and sensor:
//! - folded = spooled + dropped, and spooled = delivered + refused + evicted + waiting.
//! - A record is counted as spooled when it is durable in its queue, and as anything else once.
//!
//! Their number is bounded by what bounds rules, devices and sensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bill::share;
use super::journal::{Cost, Shares};
use crate::record::Record;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Spooled,
    Delivered,
    Refused,
    Evicted,
    Dropped,
}

/// Fresh samples of one sensor under one rule on their way to one sink.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorCounts {
    /// Put into a queue.
    pub spooled_fresh: u64,
    /// Confirmed by the sink.
    pub delivered_fresh: u64,
    /// Refused by the sink for good: dead-lettered.
    pub refused_fresh: u64,
    /// Evicted from a queue to make room.
    pub evicted_fresh: u64,
    /// Never put into a queue because the budget was held by higher classes, or too small.
    pub dropped_fresh: u64,
}

impl SensorCounts {
    /// Samples in records that wait in a queue.
    pub fn waiting_fresh(&self) -> u64 {
        let gone = self.delivered_fresh + self.refused_fresh + self.evicted_fresh;
        self.spooled_fresh.saturating_sub(gone)
    }

    fn slot(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Spooled => &mut self.spooled_fresh,
            Fate::Delivered => &mut self.delivered_fresh,
            Fate::Refused => &mut self.refused_fresh,
            Fate::Evicted => &mut self.evicted_fresh,
            Fate::Dropped => &mut self.dropped_fresh,
        }
    }
}

/// Records and bytes of one rule on their way to one sink.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCounts {
    /// Records put into a queue.
    pub spooled_records: u64,
    /// Records confirmed.
    pub delivered_records: u64,
    /// Records refused for good.
    pub refused_records: u64,
    /// Records evicted.
    pub evicted_records: u64,
    /// Records dropped.
    pub dropped_records: u64,
    /// Body bytes before compression. A batch's bytes are shared among its rules in proportion to
    /// their records' part of its body; the shares add up exactly.
    pub bytes_before: u64,
    /// Body bytes as sent.
    pub bytes_after: u64,
    /// Header bytes.
    pub header_bytes: u64,
    /// By device, then sensor.
    pub devices: BTreeMap<String, BTreeMap<String, SensorCounts>>,
}

impl RuleCounts {
    /// Records that wait in a queue.
    pub fn waiting_records(&self) -> u64 {
        let gone = self.delivered_records + self.refused_records + self.evicted_records;
        self.spooled_records.saturating_sub(gone)
    }

    fn slot(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Spooled => &mut self.spooled_records,
            Fate::Delivered => &mut self.delivered_records,
            Fate::Refused => &mut self.refused_records,
            Fate::Evicted => &mut self.evicted_records,
            Fate::Dropped => &mut self.dropped_records,
        }
    }

    fn sensor(&mut self, device: &str, sensor: &str) -> &mut SensorCounts {
        entry(entry(&mut self.devices, device), sensor)
    }

    /// Takes what waits as given, and what was spooled as its consequence.
    fn set_waiting(&mut self, waiting: &RuleCounts) {
        self.spooled_records = self.delivered_records
            + self.refused_records
            + self.evicted_records
            + waiting.spooled_records;
        for counts in self.devices.values_mut().flat_map(BTreeMap::values_mut) {
            counts.spooled_fresh =
                counts.delivered_fresh + counts.refused_fresh + counts.evicted_fresh;
        }
        for (device, sensors) in &waiting.devices {
            for (sensor, counts) in sensors {
                self.sensor(device, sensor).spooled_fresh += counts.spooled_fresh;
            }
        }
    }
}

/// `map[key]`, made when missing, without a copy of the key when not.
pub(super) fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, key: &str) -> &'a mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.get_mut(key).expect("the key was inserted above")
}

/// What became of a rule's records, over all sinks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Records confirmed.
    pub delivered_records: u64,
    /// Records that wait.
    pub waiting_records: u64,
    /// Bytes sent for them, bodies and what is around them; an estimate.
    pub sent_bytes: u64,
}

/// What a counter is kept by, and by how much it grows: a record without its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Rule.
    pub rule: String,
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// Fresh samples.
    pub fresh: u64,
}

impl From<&Record> for Counted {
    fn from(record: &Record) -> Self {
        Self {
            rule: record.rule.clone(),
            device: record.device.clone(),
            sensor: record.sensor.clone(),
            fresh: record.fresh,
        }
    }
}

/// Counts of every sink, then rule.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// By sink, then rule.
    pub sinks: BTreeMap<String, BTreeMap<String, RuleCounts>>,
    /// Records that the disk lost, by sink; those without are left out.
    pub lost: BTreeMap<String, u64>,
    /// Number of the delivery journal's next entry: those before it are counted here.
    pub journaled: u64,
}

impl Counters {
    /// Counts of a rule's records for a sink.
    pub fn rule(&self, sink: &str, rule: &str) -> Option<&RuleCounts> {
        self.sinks.get(sink)?.get(rule)
    }

    /// What became of each rule's records.
    pub fn sums(&self) -> BTreeMap<&str, Sum> {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for (rule, counts) in self.sinks.values().flatten() {
            let sum = sums.entry(rule).or_default();
            sum.delivered_records += counts.delivered_records;
            sum.waiting_records += counts.waiting_records();
            sum.sent_bytes += counts.bytes_after + counts.header_bytes;
        }
        sums
    }

    /// Counts fresh samples that a record not yet in its queue brings.
    pub fn expect(&mut self, sink: &str, record: &Record) {
        self.count(sink, &Counted::from(record), Fate::Spooled);
    }

    pub(super) fn count(&mut self, sink: &str, record: &Counted, fate: Fate) {
        let counts = entry(entry(&mut self.sinks, sink), &record.rule);
        *counts.slot(fate) += 1;
        *counts.sensor(&record.device, &record.sensor).slot(fate) += record.fresh;
    }

    /// A dead letter was delivered after all.
    pub(super) fn revive(&mut self, sink: &str, record: &Counted) {
        let counts = entry(entry(&mut self.sinks, sink), &record.rule);
        counts.refused_records = counts.refused_records.saturating_sub(1);
        counts.delivered_records += 1;
        let sensor = counts.sensor(&record.device, &record.sensor);
        sensor.refused_fresh = sensor.refused_fresh.saturating_sub(record.fresh);
        sensor.delivered_fresh += record.fresh;
    }

    /// Charges what attempts took to the rules whose records they carried, by body bytes.
    pub(super) fn charge(&mut self, sink: &str, shares: &Shares, cost: &Cost) {
        let bytes = (cost.bytes_before, cost.bytes_after, cost.header_bytes);
        self.share_bytes(sink, &shares.weights(), bytes);
    }

    /// Shares a batch's bytes among rules by weight.
    fn share_bytes(
        &mut self,
        sink: &str,
        weights: &BTreeMap<String, u64>,
        (before, after, headers): (u64, u64, u64),
    ) {
        let sizes: Vec<u64> = weights.values().copied().collect();
        for (rule, part) in weights.keys().zip(share(&sizes, [before, after, headers])) {
            let [before, after, headers] = part;
            let counts = entry(entry(&mut self.sinks, sink), rule);
            counts.bytes_before += before;
            counts.bytes_after += after;
            counts.header_bytes += headers;
        }
    }

    /// Sets what waits at a sink to what was found in its queues.
    pub(super) fn set_waiting(&mut self, sink: &str, mut waiting: Counters) {
        let mut found = waiting.sinks.remove(sink).unwrap_or_default();
        for (rule, counts) in entry(&mut self.sinks, sink) {
            counts.set_waiting(&found.remove(rule).unwrap_or_default());
        }
        for (rule, counts) in found {
            entry(&mut self.sinks, sink).insert(rule, counts);
        }
    }
}

/// The part of `bytes` that falls to the first `weight` of `whole`.
pub(super) fn up_to(bytes: u64, weight: u64, whole: u64) -> u64 {
    let part = u128::from(bytes) * u128::from(weight) / u128::from(whole.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        let mut counters = Counters::default();
        let weights = [("a", 1), ("b", 1), ("c", 1)];
        let weights = weights
            .map(|(rule, weight)| (rule.to_owned(), weight))
            .into();
        counters.share_bytes("cloud", &weights, (100, 50, 1));
        let rules = &counters.sinks["cloud"];
        let before: Vec<u64> = rules.values().map(|counts| counts.bytes_before).collect();
        assert_eq!(before, [33, 33, 34]);
        assert_eq!(
            rules.values().map(|counts| counts.bytes_after).sum::<u64>(),
            50
        );
        assert_eq!(
            rules
                .values()
                .map(|counts| counts.header_bytes)
                .sum::<u64>(),
            1
        );
    }

    #[test]
    fn what_waits_is_what_was_spooled_and_is_not_gone() {
        let mut counters = Counters::default();
        let record = Counted {
            rule: "minute".into(),
            device: "pump-1".into(),
            sensor: "Pressure".into(),
            fresh: 13,
        };
        for _ in 0..4 {
            counters.count("cloud", &record, Fate::Spooled);
        }
        counters.count("cloud", &record, Fate::Delivered);
        counters.count("cloud", &record, Fate::Evicted);
        let counts = counters.rule("cloud", "minute").unwrap();
        assert_eq!(counts.devices["pump-1"]["Pressure"].waiting_fresh(), 26);
        assert_eq!(counts.waiting_records(), 2);
        let mut found = Counters::default();
        found.count("cloud", &record, Fate::Spooled);
        counters.set_waiting("cloud", found);
        let counts = counters.rule("cloud", "minute").unwrap();
        assert_eq!(counts.devices["pump-1"]["Pressure"].waiting_fresh(), 13);
        assert_eq!(counts.spooled_records, 3);
    }
}
