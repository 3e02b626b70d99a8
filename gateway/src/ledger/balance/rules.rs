//! Balance (ii): what a rule matched of a sensor, against what it did with it.

use serde::{Deserialize, Serialize};

use super::{signed, terms};
use crate::ledger::counters::{Counters, RuleCounters};

/// Where the samples are that one rule matched of one sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Device name.
    pub device: String,
    /// Sensor name.
    pub sensor: String,
    /// Rule name.
    pub rule: String,
    /// The terms.
    #[serde(flatten)]
    pub terms: RuleTerms,
}

/// The terms of balance (ii): `matched` is the sum of those below it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTerms {
    /// Logged and matched.
    pub matched: i64,
    /// Filtered by the rule.
    pub filtered: i64,
    /// Came behind their window's final close.
    pub late: i64,
    /// Examined by an alert.
    pub examined: i64,
    /// Stand in records.
    pub folded: i64,
    /// Stand in windows not emitted yet.
    pub open: i64,
    /// What nothing explains.
    pub difference: i64,
}

terms!(RuleTerms: matched, filtered, late, examined, folded, open, difference);

/// The rows of every device, sensor and rule.
pub(super) fn rows(counters: &Counters) -> Vec<RuleRow> {
    let mut rows = Vec::new();
    for (device, counts) in &counters.devices {
        for (sensor, counts) in &counts.sensors {
            rows.extend(counts.rules.iter().map(|(rule, counts)| RuleRow {
                device: device.clone(),
                sensor: sensor.clone(),
                rule: rule.clone(),
                terms: of_rule(counts),
            }));
        }
    }
    rows
}

fn of_rule(counts: &RuleCounters) -> RuleTerms {
    let mut terms = RuleTerms {
        matched: signed(counts.matched),
        filtered: signed(counts.filtered.values().sum()),
        late: signed(counts.late),
        examined: signed(counts.examined),
        folded: signed(counts.folded),
        open: signed(counts.open),
        difference: 0,
    };
    let accounted = terms.filtered + terms.late + terms.examined + terms.folded + terms.open;
    terms.difference = terms.matched - accounted;
    terms
}
