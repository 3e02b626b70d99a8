//! Tallies: what was counted without being logged. The log holds counts that are cumulative since
//! their gateway start; here they are summed over starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

use crate::entry::Uncounted;

/// Counts by device (`None`: of no admitted device) and reason.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tallies(BTreeMap<Option<DeviceName>, BTreeMap<Uncounted, Tally>>);

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    start: u32,
    latest: u64,
    past: u64,
}

impl Tallies {
    /// Takes the counts of a gateway start.
    pub fn take(
        &mut self,
        start: u32,
        device: Option<&DeviceName>,
        counts: &BTreeMap<Uncounted, u64>,
    ) {
        let known = self.0.entry(device.cloned()).or_default();
        for (reason, count) in counts {
            let tally = known.entry(*reason).or_default();
            if tally.start != start {
                tally.past += tally.latest;
                tally.start = start;
            }
            tally.latest = *count;
        }
    }

    /// Every device's sums.
    pub fn sums(
        &self,
    ) -> impl Iterator<Item = (Option<&DeviceName>, BTreeMap<Uncounted, u64>)> + '_ {
        self.0.iter().map(|(device, counts)| {
            let sums = counts
                .iter()
                .map(|(reason, tally)| (*reason, tally.past.saturating_add(tally.latest)));
            (device.as_ref(), sums.collect())
        })
    }
}
