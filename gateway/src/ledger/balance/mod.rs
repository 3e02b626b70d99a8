//! Balances: the three sums of the books, as pure functions of the counters.
//!
//! ```text
//! (i)   per sensor:           taken = suppressed + failed + lost on the device + rejected + logged
//!                                     + lost here + unknown
//! (ii)  per rule and sensor:  matched = filtered + late + examined + folded + open
//! (iii) per rule, sensor and sink:
//!                             folded = delivered + dead-lettered + evicted + dropped
//!                                      + dropped by budget + waiting + lost here + unknown
//! ```
//! Terms: every term has a counter of its own. *Lost here*, by the gateway's disk, is the only one
//! found as a difference, and only where something says that the disk lost something. *Unknown*
//! is what is left and cannot be known, within the bound of its reasons; it is negative when more
//! was counted away than came. The *difference* is what nothing explains: books balance when it is
//! 0 everywhere. Terms are signed, so that balances of two moments can be subtracted
//! ([`Balances::since`]).
//!
//! Samples that no Totals told of, and that did not come, are on no side: on a device, in a boot
//! that died, in frames that wait for a catalog. They have no number here, but a bound among the
//! [`Unknown`]s.

mod rules;
mod samples;
mod since;
mod sinks;
mod unknown;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::rules::{RuleRow, RuleTerms};
pub use self::samples::{SampleRow, SampleTerms};
pub use self::since::Since;
pub use self::sinks::{SinkRow, SinkTerms};
pub use self::unknown::{Bound, Reason, SAMPLES_PER_FRAME, Unknown};

use super::counters::Counters;
use crate::spool::counters as spool;

/// The three balances, per row and in total.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    /// Balance (i): a row per sensor, and one per device for what belongs to no sensor of it.
    pub samples: Vec<SampleRow>,
    /// Balance (ii): a row per device, sensor and rule.
    pub rules: Vec<RuleRow>,
    /// Balance (iii): a row per device, sensor, rule and sink.
    pub sinks: Vec<SinkRow>,
    /// Their sums.
    pub total: Total,
    /// Whether no row has a difference.
    pub balanced: bool,
    /// Whether something is unknown.
    pub unknown: bool,
    /// Number of the delivery journal's first entry that is not counted here.
    pub journaled: u64,
    /// Of which time, when not of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// Sums of the rows.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Of balance (i).
    pub samples: SampleTerms,
    /// Of the logged samples, those that no rule matched.
    pub unmatched: i64,
    /// Of balance (ii).
    pub rules: RuleTerms,
    /// Of balance (iii).
    pub sinks: SinkTerms,
}

/// The balances that the counters of pipeline and spool give.
pub fn balances(counters: &Counters, spool: &spool::Counters) -> Balances {
    let mut balances = Balances {
        samples: samples::rows(counters),
        rules: rules::rows(counters),
        sinks: sinks::rows(counters, spool),
        journaled: spool.journaled,
        ..Balances::default()
    };
    let sensors = counters
        .devices
        .values()
        .flat_map(|one| one.sensors.values());
    balances.total.unmatched = sensors.map(|sensor| signed(sensor.unmatched)).sum();
    balances.add_up();
    balances
}

impl Balances {
    /// Sums the rows, and says what they say together.
    fn add_up(&mut self) {
        let total = &mut self.total;
        total.samples = SampleTerms::sum(self.samples.iter().map(|row| &row.terms));
        total.rules = RuleTerms::sum(self.rules.iter().map(|row| &row.terms));
        total.sinks = SinkTerms::sum(self.sinks.iter().map(|row| &row.terms));
        let samples = self.samples.iter().all(|row| row.terms.difference == 0);
        let rules = self.rules.iter().all(|row| row.terms.difference == 0);
        let sinks = self.sinks.iter().all(|row| row.terms.difference == 0);
        self.balanced = samples && rules && sinks;
        self.unknown = self.samples.iter().any(|row| !row.unknowns.is_empty())
            || self.sinks.iter().any(|row| !row.unknowns.is_empty());
    }
}

/// A count as a term.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Defines the arithmetic that the terms of a balance share: sum and difference, field by field.
macro_rules! terms {
    ($name:ident: $($field:ident),+) => {
        impl $name {
            /// The sum of rows.
            pub(super) fn sum<'t>(rows: impl Iterator<Item = &'t Self>) -> Self {
                rows.fold(Self::default(), |mut sum, one| {
                    $(sum.$field = sum.$field.saturating_add(one.$field);)+
                    sum
                })
            }

            /// These less earlier ones.
            pub(in crate::ledger) fn less(&self, then: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(then.$field)),+ }
            }
        }
    };
}
use terms;
