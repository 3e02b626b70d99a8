//! Tallies: what was counted instead of logged, by reason, cumulative over all starts.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_shared::ids::DeviceName;

use super::marks::{Counts, Marks};
use crate::entry::{Entry, Uncounted};

/// Counts of the gateway and of each admitted device. What a crash takes with it is what was
/// counted since the last batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tallies {
    gateway: Counts,
    devices: BTreeMap<DeviceName, Counts>,
    changed: BTreeSet<Option<DeviceName>>,
}

impl Tallies {
    /// What the log holds.
    pub fn from_marks(marks: &Marks) -> Self {
        let devices = marks.devices.iter();
        Self {
            gateway: marks.gateway.tally.clone(),
            devices: devices
                .filter(|(_, device)| !device.tally.is_empty())
                .map(|(name, device)| (name.clone(), device.tally.clone()))
                .collect(),
            changed: BTreeSet::new(),
        }
    }

    /// What belongs to no admitted device.
    pub fn gateway(&self) -> &Counts {
        &self.gateway
    }

    /// What belongs to each device; those without counts are left out.
    pub fn devices(&self) -> &BTreeMap<DeviceName, Counts> {
        &self.devices
    }

    /// One count: of a device, or of the gateway.
    pub fn count(&self, device: Option<&DeviceName>, reason: Uncounted) -> u64 {
        let counts = match device {
            Some(device) => self.devices.get(device),
            None => Some(&self.gateway),
        };
        counts
            .and_then(|counts| counts.get(&reason))
            .copied()
            .unwrap_or(0)
    }

    /// One count over the gateway and all devices.
    pub fn total(&self, reason: Uncounted) -> u64 {
        let devices = self.devices.values();
        devices
            .chain([&self.gateway])
            .filter_map(|counts| counts.get(&reason))
            .sum()
    }

    pub(super) fn add(&mut self, device: Option<&DeviceName>, reason: Uncounted) {
        let counts = match device {
            Some(device) => self.devices.entry(device.clone()).or_default(),
            None => &mut self.gateway,
        };
        *counts.entry(reason).or_default() += 1;
        self.changed.insert(device.cloned());
    }

    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|device| {
                let counts = match &device {
                    Some(name) => self.devices.get(name).cloned().unwrap_or_default(),
                    None => self.gateway.clone(),
                };
                Entry::Tally { device, counts }
            })
            .collect()
    }
}
