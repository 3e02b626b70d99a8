//! Account: after every entry the counters of all rules must say where its samples went.

use std::collections::BTreeMap;

use tidegate_gateway::ledger::counters::{Counters, RuleCounters, SensorCounters};
use tidegate_gateway::record::{Emitted, GROUP};
use tidegate_gateway::rules::Group;

use super::editions::{Editions, Takes};
use super::story::Story;

/// An entry: what it caused, and what held and was counted before and behind it.
pub struct Account<'a> {
    pub emitted: &'a [Emitted],
    pub rules: (&'a Editions, &'a Editions),
    pub counters: (&'a Counters, &'a Counters),
}

/// Device, sensor, rule.
type Place<'a> = (&'a str, &'a str, &'a str);

impl Account<'_> {
    /// What an entry brought was matched once by every rule in force that takes it, and what was
    /// folded is what the records say.
    pub fn check(&self, story: &mut Story) {
        self.folds(story);
        for (device, counts) in &self.counters.1.devices {
            for (sensor, counts) in &counts.sensors {
                let before = self.before(device, sensor);
                if before == Some(counts) {
                    continue;
                }
                self.matches((device, sensor), before, counts, story);
                let rules = self.rules.0;
                let mut names = rules.names();
                let missed = names.find(|name| {
                    rules.takes(name, device, sensor) == Takes::Yes
                        && device != GROUP
                        && counts.logged > 0
                        && !counts.rules.contains_key(*name)
                });
                story.check("no rule in force is left out", missed.is_none(), || {
                    format!("{device} {sensor}: {missed:?}")
                });
            }
        }
        self.chains(story);
    }

    fn before(&self, device: &str, sensor: &str) -> Option<&SensorCounters> {
        self.counters.0.devices.get(device)?.sensors.get(sensor)
    }

    fn matches(
        &self,
        (device, sensor): (&str, &str),
        before: Option<&SensorCounters>,
        counts: &SensorCounters,
        story: &mut Story,
    ) {
        let none = RuleCounters::default();
        let logged = counts.logged - before.map_or(0, |known| known.logged);
        for (rule, counts) in &counts.rules {
            let before = before.and_then(|known| known.rules.get(rule));
            let before = before.unwrap_or(&none);
            let gone = counts.filtered.values().sum::<u64>() + counts.late + counts.examined;
            let balances = counts.matched == gone + counts.folded + counts.open;
            story.check("every entry balances", balances, || {
                format!("{device} {sensor} {rule}: {before:?}, then {counts:?}")
            });
            let takes_records =
                |one: &Editions| one.rule(rule).is_some_and(|one| one.from.is_some());
            if takes_records(self.rules.0) || takes_records(self.rules.1) {
                continue;
            }
            let matched = counts.matched - before.matched;
            let takes = self.rules.0.takes(rule, device, sensor);
            // A rule that is gone, or takes others now, finishes the windows it has open.
            let once = matched == logged || takes != Takes::Yes && matched < logged;
            story.check("a rule takes a sample once", once, || {
                format!("{device} {sensor} {rule}: {matched} of {logged}, {takes:?}")
            });
        }
    }

    /// What was folded of a sensor is what its records say; of a rule that made records of several
    /// sensors, it is so for the device.
    fn folds(&self, story: &mut Story) {
        let mut sums: BTreeMap<Place<'_>, (u64, u64)> = BTreeMap::new();
        let grouped = |rule: &str| self.rules.1.ever(rule, |rule| rule.group == Group::Device);
        let of = |sensor| if sensor == GROUP { "" } else { sensor };
        for one in self.emitted {
            let record = &one.record;
            let sensor = if grouped(&record.rule) {
                ""
            } else {
                of(record.sensor.as_str())
            };
            let place = (record.device.as_str(), sensor, record.rule.as_str());
            sums.entry(place).or_default().0 += record.fresh;
        }
        for (device, counts) in &self.counters.1.devices {
            for (sensor, counts) in &counts.sensors {
                let before = self.before(device, sensor);
                for (rule, counts) in &counts.rules {
                    let before = before.and_then(|known| known.rules.get(rule));
                    let folded = counts.folded - before.map_or(0, |known| known.folded);
                    let sensor = if grouped(rule) { "" } else { of(sensor) };
                    sums.entry((device, sensor, rule)).or_default().1 += folded;
                }
            }
        }
        for (place, (sent, folded)) in sums {
            story.check("what is folded is sent", sent == folded, || {
                format!("{place:?}: {folded} folded, {sent} fresh in records")
            });
        }
    }

    /// A rule over records takes each record of its source once.
    fn chains(&self, story: &mut Story) {
        let matched = |counters: &Counters, rule: &str| -> u64 {
            let devices = counters.devices.values();
            let sensors = devices.flat_map(|device| device.sensors.values());
            let rules = sensors.filter_map(|sensor| sensor.rules.get(rule));
            rules.map(|counts| counts.matched).sum()
        };
        let logged = |counters: &Counters| -> u64 {
            let devices = counters.devices.values();
            let sensors = devices.flat_map(|device| device.sensors.values());
            sensors.map(|sensor| sensor.logged).sum()
        };
        for name in self.rules.1.names() {
            let Some(rule) = self.rules.1.rule(name).filter(|rule| rule.from.is_some()) else {
                continue;
            };
            let wanted = self.rules.1.taken(rule, self.emitted);
            let found = matched(self.counters.1, name) - matched(self.counters.0, name);
            // One that took samples of sensors before finishes the windows it has open.
            let more = if self.rules.1.ever(name, |rule| rule.from.is_none()) {
                logged(self.counters.1) - logged(self.counters.0)
            } else {
                0
            };
            let once = (wanted..=wanted + more).contains(&found);
            story.check("a rule takes a record once", once, || {
                format!("{name}: {found} of {wanted}")
            });
        }
    }
}
