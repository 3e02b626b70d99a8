//! Counts: what became of the samples, summed over the devices, sensors and rules named.

use super::outcome::Difference;
use crate::ledger::counters::{Counters, Filter, RuleCounters, SensorCounters};

/// Counts that have to come out.
#[derive(Debug, Clone, PartialEq)]
pub struct CountsWanted {
    /// Its number among the expectations of counts, from 1.
    pub number: usize,
    /// Line in the file, from 1.
    pub line: usize,
    /// Only of this device.
    pub device: Option<String>,
    /// Only of this sensor.
    pub sensor: Option<String>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Which count has to be what.
    pub counts: Vec<(Count, u64)>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Samples logged and usable.
    Logged,
    /// Samples logged but not usable.
    Rejected,
    /// Samples that no rule matched.
    Unmatched,
    /// Samples that a rule matched.
    Matched,
    /// Of those, outside `keep`.
    FilteredKeep,
    /// Of those, within `deadband`.
    FilteredDeadband,
    /// Of those, behind their window's final close.
    Late,
    /// Of those, in records.
    Folded,
    /// Of those, in windows not emitted yet.
    Open,
}

impl Count {
    /// Its key in a test.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Rejected => "rejected",
            Self::Unmatched => "unmatched",
            Self::Matched => "matched",
            Self::FilteredKeep => "filtered.keep",
            Self::FilteredDeadband => "filtered.deadband",
            Self::Late => "late",
            Self::Folded => "folded",
            Self::Open => "open",
        }
    }

    /// Whether it is counted by rule; else by sensor.
    pub fn is_of_rules(self) -> bool {
        !matches!(self, Self::Logged | Self::Rejected | Self::Unmatched)
    }

    fn of_sensor(self, sensor: &SensorCounters) -> u64 {
        match self {
            Self::Logged => sensor.logged,
            Self::Rejected => sensor.rejected.values().sum(),
            Self::Unmatched => sensor.unmatched,
            _ => 0,
        }
    }

    fn of_rule(self, rule: &RuleCounters) -> u64 {
        let filtered = |why| rule.filtered.get(&why).copied().unwrap_or(0);
        match self {
            Self::Matched => rule.matched,
            Self::FilteredKeep => filtered(Filter::Keep),
            Self::FilteredDeadband => filtered(Filter::Deadband),
            Self::Late => rule.late,
            Self::Folded => rule.folded,
            Self::Open => rule.open,
            Self::Logged | Self::Rejected | Self::Unmatched => 0,
        }
    }
}

impl CountsWanted {
    /// Of what it is, for people.
    fn of(&self) -> String {
        let parts = [&self.rule, &self.device, &self.sensor];
        let named: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        if named.is_empty() {
            "everything".to_owned()
        } else {
            named.join(" ")
        }
    }

    fn sum(&self, count: Count, counters: &Counters) -> u64 {
        let is =
            |wanted: &Option<String>, name: &String| wanted.as_ref().is_none_or(|one| one == name);
        let devices = counters.devices.iter();
        let devices = devices.filter(|(name, _)| is(&self.device, name));
        let sensors = devices.flat_map(|(_, device)| &device.sensors);
        let sensors = sensors.filter(|(name, _)| is(&self.sensor, name));
        sensors
            .map(|(_, sensor)| {
                let rules = sensor.rules.iter();
                let rules = rules.filter(|(name, _)| is(&self.rule, name));
                let of_rules: u64 = rules.map(|(_, rule)| count.of_rule(rule)).sum();
                of_rules + count.of_sensor(sensor)
            })
            .sum()
    }
}

/// Compares what was counted with what is expected.
pub(super) fn compare(
    wanted: &[CountsWanted],
    counters: &Counters,
    differences: &mut Vec<Difference>,
) {
    for one in wanted {
        for (count, wanted) in &one.counts {
            let found = one.sum(*count, counters);
            if found != *wanted {
                differences.push(Difference::Count {
                    number: one.number,
                    line: one.line,
                    of: one.of(),
                    name: count.name().to_owned(),
                    wanted: *wanted,
                    found,
                });
            }
        }
    }
}
