//! Counts: what became of the samples, summed over the devices, sensors and rules named.

use std::collections::BTreeMap;

use super::outcome::Difference;
use crate::ledger::counters::{Counters, Filter, Rejection, RuleCounters, SensorCounters};

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
    /// Of those, the ones of a reason.
    RejectedAs(Rejection),
    /// Samples that no rule matched.
    Unmatched,
    /// Samples that a rule matched.
    Matched,
    /// Of those, filtered for a reason.
    Filtered(Filter),
    /// Of those, behind their window's final close.
    Late,
    /// Of those, examined by an alert.
    Examined,
    /// Of those, in records.
    Folded,
    /// Of those, in windows not emitted yet.
    Open,
}

impl Count {
    /// Its key in a test.
    pub fn name(self) -> String {
        match self {
            Self::Logged => "logged".into(),
            Self::Rejected => "rejected".into(),
            Self::RejectedAs(why) => format!("rejected.{}", rejection(why)),
            Self::Unmatched => "unmatched".into(),
            Self::Matched => "matched".into(),
            Self::Filtered(why) => format!("filtered.{}", filter(why)),
            Self::Late => "late".into(),
            Self::Examined => "examined".into(),
            Self::Folded => "folded".into(),
            Self::Open => "open".into(),
        }
    }

    /// Whether it is counted by rule; else by sensor.
    pub fn is_of_rules(self) -> bool {
        !matches!(
            self,
            Self::Logged | Self::Rejected | Self::RejectedAs(_) | Self::Unmatched
        )
    }

    fn of_sensor(self, sensor: &SensorCounters) -> u64 {
        match self {
            Self::Logged => sensor.logged,
            Self::Unmatched => sensor.unmatched,
            _ => self.of_rejected(&sensor.rejected),
        }
    }

    fn of_rejected(self, rejected: &BTreeMap<Rejection, u64>) -> u64 {
        match self {
            Self::Rejected => rejected.values().sum(),
            Self::RejectedAs(why) => rejected.get(&why).copied().unwrap_or(0),
            _ => 0,
        }
    }

    fn of_rule(self, rule: &RuleCounters) -> u64 {
        match self {
            Self::Matched => rule.matched,
            Self::Filtered(why) => rule.filtered.get(&why).copied().unwrap_or(0),
            Self::Late => rule.late,
            Self::Examined => rule.examined,
            Self::Folded => rule.folded,
            Self::Open => rule.open,
            Self::Logged | Self::Rejected | Self::RejectedAs(_) | Self::Unmatched => 0,
        }
    }
}

/// The reasons for which samples are filtered.
pub const FILTERS: [Filter; 8] = [
    Filter::Keep,
    Filter::Rate,
    Filter::Undefined,
    Filter::When,
    Filter::Deadband,
    Filter::OnChange,
    Filter::Decimate,
    Filter::MaxError,
];

/// A filter's name, as in the ledger.
pub fn filter(filter: Filter) -> &'static str {
    match filter {
        Filter::Keep => "keep",
        Filter::Rate => "rate",
        Filter::Undefined => "undefined",
        Filter::When => "when",
        Filter::Deadband => "deadband",
        Filter::OnChange => "on-change",
        Filter::Decimate => "decimate",
        Filter::MaxError => "max-error",
    }
}

/// The reasons for which samples are rejected.
pub const REJECTIONS: [Rejection; 6] = [
    Rejection::Undecodable,
    Rejection::NoCatalog,
    Rejection::UnknownSensor,
    Rejection::BadSample,
    Rejection::StaleBoot,
    Rejection::ImplausibleTime,
];

/// A rejection's name, as in the ledger.
pub fn rejection(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Undecodable => "undecodable",
        Rejection::NoCatalog => "no-catalog",
        Rejection::UnknownSensor => "unknown-sensor",
        Rejection::BadSample => "bad-sample",
        Rejection::StaleBoot => "stale-boot",
        Rejection::ImplausibleTime => "implausible-time",
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
        devices
            .map(|(_, device)| {
                let sensors = device.sensors.iter();
                let sensors = sensors.filter(|(name, _)| is(&self.sensor, name));
                let known: u64 = sensors
                    .map(|(_, sensor)| {
                        let rules = sensor.rules.iter();
                        let rules = rules.filter(|(name, _)| is(&self.rule, name));
                        let of_rules: u64 = rules.map(|(_, rule)| count.of_rule(rule)).sum();
                        of_rules + count.of_sensor(sensor)
                    })
                    .sum();
                // Of rejected samples the sensor may not be known.
                let unknown = match self.sensor {
                    Some(_) => 0,
                    None => count.of_rejected(&device.samples_rejected),
                };
                known + unknown
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
                    name: count.name(),
                    wanted: *wanted,
                    found,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_named_as_in_the_ledger() {
        for one in FILTERS {
            assert_eq!(serde_json::to_value(one).unwrap(), filter(one));
        }
        for one in REJECTIONS {
            assert_eq!(serde_json::to_value(one).unwrap(), rejection(one));
        }
    }
}
