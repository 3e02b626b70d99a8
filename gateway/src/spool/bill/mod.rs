//! The bill: what was sent to which sink for which sensor of which rule, month by month.
//!
//! Terms: a *row* is a sensor of a device under a rule to a sink; the *total* of a sending is what
//! its batch took on the wire: its body before and after compression, and the framing around it,
//! which is an estimate ([`crate::sinks`] makes it). Months are those of UTC, by the gateway's
//! clock when the sending ended; while that is not to be trusted, of [`Month::Unknown`].
//!
//! Invariants:
//! - What is billed to the rows of a batch adds up to its totals exactly, in proportion to the
//!   bytes of their records in the body.
//! - The bill follows from a base and the journal behind it: each entry is applied once.
//! - Bounded: rows of sensors stay for two months, older ones are added up by rule; a month has at
//!   most [`BILL_ROWS_MAX`] rows, what comes beyond is billed to [`ALL`] of its rule; at most
//!   [`BILL_MONTHS_MAX`] months.
//! - A bill that lost something says so: its month has a `gap`, and what it shows is a lower bound.

mod month;
mod sharing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::month::{Month, NoMonth};
pub use self::sharing::share;

use super::counters::entry;
use super::journal::{Cost as Spent, Share, Shares};
use crate::record::GROUP;
use crate::time::Timestamp;

/// Months kept, the one of an unknown time beside them: two years.
pub const BILL_MONTHS_MAX: usize = 24;
/// Rows of a month: 100 devices with 8 sensors under 5 rules to 2 sinks are 8,000; about 1 MB.
pub const BILL_ROWS_MAX: usize = 10_000;
/// Where a bill does not tell apart: the device and sensor of what has no row of its own, and the
/// rule where there are [`BILL_ROWS_MAX`] rows of rules. Records of a group stand under it, too.
pub const ALL: &str = GROUP;

/// What sending took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Records confirmed.
    pub records: u64,
    /// Bodies before compression.
    pub bytes_before: u64,
    /// Bodies as sent, every attempt.
    pub bytes_after: u64,
    /// Everything around the bodies; an estimate.
    pub framing_bytes: u64,
}

impl Cost {
    /// All bytes on the wire, an estimate as its framing is.
    pub fn wire_bytes(&self) -> u64 {
        self.bytes_after.saturating_add(self.framing_bytes)
    }

    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let sum = |one: &mut u64, other: u64| *one = one.saturating_add(other);
        sum(&mut self.records, other.records);
        sum(&mut self.bytes_before, other.bytes_before);
        sum(&mut self.bytes_after, other.bytes_after);
        sum(&mut self.framing_bytes, other.framing_bytes);
    }
}

/// Costs by device, then sensor.
pub type Sensors = BTreeMap<String, BTreeMap<String, Cost>>;

/// One month.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthBill {
    /// Something sent in it may be missing here.
    pub gap: bool,
    /// Its rows are rules: sensors are not told apart any more.
    pub by_rule: bool,
    /// By sink, rule, device and sensor.
    pub sinks: BTreeMap<String, BTreeMap<String, Sensors>>,
    /// By sink.
    pub totals: BTreeMap<String, Cost>,
    rows: usize,
}

/// Every month.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// The months something was sent in.
    pub months: BTreeMap<Month, MonthBill>,
    /// Since when it is kept: the first sending ever at a trusted time, UTC in µs.
    pub begun_us: Option<i64>,
    /// Something that was sent before is missing, and which month it was is not known: the next
    /// one that is billed has the gap.
    gap_due: bool,
}

impl Bill {
    /// Bills what attempts at a batch took. Its records count where they were confirmed.
    pub(super) fn charge(&mut self, sink: &str, shares: &Shares, spent: &Spent, confirmed: bool) {
        if !confirmed && spent.bytes_after + spent.header_bytes == 0 {
            return;
        }
        let at = spent.at;
        let month = Month::of(at);
        let gap = std::mem::take(&mut self.gap_due);
        let bill = self.month(month, at);
        bill.gap |= gap;
        bill.charge(sink, shares, spent, confirmed);
    }

    /// Something was sent of which the bill does not know.
    pub fn lost(&mut self) {
        self.gap_due = true;
    }

    /// What was sent in a month to the sinks that `counts` says.
    pub fn sent(&self, month: Month, counts: impl Fn(&str) -> bool) -> Cost {
        let mut sum = Cost::default();
        let totals = self.months.get(&month).map(|bill| &bill.totals);
        for (_, cost) in totals
            .into_iter()
            .flatten()
            .filter(|(sink, _)| counts(sink))
        {
            sum.add(cost);
        }
        sum
    }

    /// What its months have in common.
    pub(super) fn head(&self) -> (Option<i64>, bool) {
        (self.begun_us, self.gap_due)
    }

    /// Takes it back.
    pub(super) fn take_head(&mut self, (begun_us, gap_due): (Option<i64>, bool)) {
        self.begun_us = begun_us;
        self.gap_due |= gap_due;
    }

    /// The bill of a month, begun when there is none; older ones lose their rows or their place.
    fn month(&mut self, month: Month, at: Timestamp) -> &mut MonthBill {
        if month != Month::Unknown {
            let begun_us = self.begun_us.get_or_insert(at.wall_us);
            *begun_us = at.wall_us.min(*begun_us);
        }
        let is_new = !self.months.contains_key(&month);
        // A clock that was set back by years: there is no place before the oldest month.
        let month = if is_new && self.is_full_after(month) {
            Month::Unknown
        } else {
            month
        };
        self.months.entry(month).or_default();
        if is_new {
            self.bound();
        }
        self.months.entry(month).or_default()
    }

    /// Months whose time is known.
    fn known(&self) -> impl DoubleEndedIterator<Item = Month> {
        let months = self.months.keys().copied();
        months.filter(|month| *month != Month::Unknown)
    }

    /// Whether there are as many months as may be, all of them later.
    fn is_full_after(&self, month: Month) -> bool {
        self.known().count() >= BILL_MONTHS_MAX
            && self.known().next().is_some_and(|oldest| month < oldest)
    }

    fn bound(&mut self) {
        let newest = self.known().next_back();
        let beyond = self.known().count().saturating_sub(BILL_MONTHS_MAX);
        let oldest: Vec<Month> = self.known().take(beyond).collect();
        for month in oldest {
            self.months.remove(&month);
        }
        let kept_from = newest.map(Month::previous);
        for (month, bill) in &mut self.months {
            if *month != Month::Unknown && Some(*month) < kept_from {
                bill.add_up_by_rule();
            }
        }
    }
}

impl MonthBill {
    fn charge(&mut self, sink: &str, shares: &Shares, spent: &Spent, confirmed: bool) {
        let mut rows: Vec<(&str, &str, &str, &Share)> = shares.iter().collect();
        let nothing = Share::default();
        if rows.is_empty() {
            // No byte without a row.
            rows.push((ALL, ALL, ALL, &nothing));
        }
        let weights: Vec<u64> = rows.iter().map(|(.., share)| share.bytes).collect();
        let totals = [spent.bytes_before, spent.bytes_after, spent.header_bytes];
        for ((rule, device, sensor, of), part) in rows.into_iter().zip(share(&weights, totals)) {
            let [bytes_before, bytes_after, framing_bytes] = part;
            let cost = Cost {
                records: if confirmed { of.records } else { 0 },
                bytes_before,
                bytes_after,
                framing_bytes,
            };
            entry(&mut self.totals, sink).add(&cost);
            self.row(sink, rule, device, sensor).add(&cost);
        }
    }

    /// The row of a sensor, or the one that stands for those without.
    fn row(&mut self, sink: &str, rule: &str, device: &str, sensor: &str) -> &mut Cost {
        let is_full = self.rows >= BILL_ROWS_MAX;
        let rules = entry(&mut self.sinks, sink);
        let of_rule = rules.get(rule);
        let is_known = of_rule
            .and_then(|devices| devices.get(device)?.get(sensor))
            .is_some();
        let apart = is_known || !(is_full || self.by_rule);
        let (device, sensor) = if apart { (device, sensor) } else { (ALL, ALL) };
        // Rules that came beyond the rows have one row each, up to as many again.
        let rule = if of_rule.is_none() && self.rows >= 2 * BILL_ROWS_MAX {
            ALL
        } else {
            rule
        };
        let sensors = entry(entry(rules, rule), device);
        self.rows += usize::from(!sensors.contains_key(sensor));
        entry(sensors, sensor)
    }

    /// Leaves one row for each rule.
    fn add_up_by_rule(&mut self) {
        if std::mem::replace(&mut self.by_rule, true) {
            return;
        }
        self.rows = 0;
        for devices in self.sinks.values_mut().flat_map(BTreeMap::values_mut) {
            let mut sum = Cost::default();
            for cost in devices.values().flat_map(BTreeMap::values) {
                sum.add(cost);
            }
            *devices = Sensors::from([(ALL.to_owned(), [(ALL.to_owned(), sum)].into())]);
            self.rows += 1;
        }
    }
}

#[cfg(test)]
mod tests;
