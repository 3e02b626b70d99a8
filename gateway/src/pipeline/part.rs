//! Parts: the pipeline's state cut into pieces that are stored and read each on its own.
//!
//! One part per device, and one for what all devices share (rules, versions, limits, the arrival
//! clock). A part that cannot be read costs its device the open windows: they close as partial.
//! The damaged device begins in an epoch that no record had before, so no id gets two contents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::mutation::{Mutation, is_on};

use super::arrival::Arrival;
use super::budget::Budget;
use super::chain::Chains;
use super::device::{Damage, Device};
use super::eras::Eras;
use super::hold::Hold;
use super::plan::Versions;
use super::sensor::Owner;
use super::{Pipeline, Tallies};
use crate::clock::Wall;
use crate::entry::Limits;
use crate::rules::RuleSet;

/// Kind of the part that all devices share.
pub const KIND_BASE: u16 = 1;
/// Kind of a device's part.
pub const KIND_DEVICE: u16 = 2;
/// Version of both kinds' bytes; another one is unreadable.
pub const VERSION: u16 = 2;

/// A piece of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is of.
    pub kind: u16,
    /// Version of its bytes.
    pub version: u16,
    /// The device's name; empty for the part that all share.
    pub key: String,
    /// Postcard.
    pub bytes: Vec<u8>,
}

/// What reading parts could not bring back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The shared part could not be read: rules, limits and versions are to be logged again, and
    /// under a new log incarnation, as versions (and so record ids) begin anew.
    pub base_lost: bool,
    /// Devices whose part is missing or could not be read.
    pub devices_lost: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Base {
    site: String,
    log_incarnation: u32,
    rules: RuleSet,
    versions: Versions,
    limits: Limits,
    arrival: Arrival,
    wall: Wall,
    hold: Hold,
    subscribed_us: Option<i64>,
    devices: Vec<DeviceName>,
    epoch_max: u32,
    tallies: Tallies,
    chains: Chains,
    entries_unreadable: u64,
    next_position: Option<u64>,
    entries_lost: u64,
    parts_lost: u64,
}

impl Pipeline {
    /// The state as parts: the shared one first, then devices by name.
    pub fn snapshot(&self) -> Vec<Part> {
        let base = Base {
            site: self.site.clone(),
            log_incarnation: self.log_incarnation,
            rules: self.rules.clone(),
            versions: self.versions.clone(),
            limits: self.limits,
            arrival: self.arrival.clone(),
            wall: self.wall.clone(),
            hold: self.hold.clone(),
            subscribed_us: self.subscribed_us,
            devices: self.devices.keys().cloned().collect(),
            epoch_max: self.epoch_max(),
            tallies: self.tallies.clone(),
            chains: self.chains.clone(),
            entries_unreadable: self.entries_unreadable,
            next_position: self.next_position,
            entries_lost: self.entries_lost,
            parts_lost: self.parts_lost,
        };
        let mut parts = vec![part(KIND_BASE, "", &(base, &self.budget))];
        for (name, device) in &self.devices {
            if is_on(Mutation::CounterNotPersisted) {
                let mut device = device.clone();
                device.counts.frames.clear();
                parts.push(part(KIND_DEVICE, name.as_str(), &device));
                continue;
            }
            parts.push(part(KIND_DEVICE, name.as_str(), device));
        }
        parts
    }

    /// A pipeline as its parts say, and what they could not say.
    pub fn restore(site: &SiteName, parts: &[Part]) -> (Self, Restored) {
        let mut restored = Restored::default();
        let mut pipeline = Self::new(site);
        let base = parts.iter().find(|part| part.kind == KIND_BASE);
        let base = base
            .and_then(read_base)
            .filter(|(base, _)| base.chains.is_sound());
        let mut expected = Vec::new();
        if let Some((base, budget)) = base {
            pipeline.budget = budget;
            pipeline.site = base.site;
            pipeline.log_incarnation = base.log_incarnation;
            let applied = pipeline.budget.applied(&base.rules);
            pipeline.plans = base.versions.plans(&applied);
            pipeline.rules = base.rules;
            pipeline.versions = base.versions;
            pipeline.limits = base.limits;
            pipeline.arrival = base.arrival;
            pipeline.wall = base.wall;
            pipeline.hold = base.hold;
            pipeline.subscribed_us = base.subscribed_us;
            pipeline.epoch_base = base.epoch_max;
            pipeline.tallies = base.tallies;
            pipeline.chains = base.chains;
            pipeline.chains.rebind(&pipeline.site);
            pipeline.entries_unreadable = base.entries_unreadable;
            pipeline.next_position = base.next_position;
            pipeline.entries_lost = base.entries_lost;
            pipeline.parts_lost = base.parts_lost;
            expected = base.devices;
        } else {
            restored.base_lost = true;
            pipeline.parts_lost += 1;
        }
        let mut devices: BTreeMap<DeviceName, Option<Device>> =
            expected.into_iter().map(|name| (name, None)).collect();
        for part in parts.iter().filter(|part| part.kind == KIND_DEVICE) {
            if let Ok(name) = DeviceName::try_from(part.key.as_str()) {
                let device = read::<Device>(part).filter(Device::is_sound);
                devices.insert(name, device);
            }
        }
        let readable = devices.values().flatten().map(|device| device.epoch).max();
        if restored.base_lost {
            let newest = devices
                .values()
                .flatten()
                .map(|device| device.link.frame_us);
            pipeline.arrival = Arrival::resumed(newest.max().unwrap_or(0));
        }
        pipeline.eras = Eras::resumed(&pipeline.arrival, &pipeline.wall);
        let epoch_lost = pipeline.epoch_base.max(readable.unwrap_or(0)) + 1;
        for (name, device) in devices {
            let device = if let Some(mut device) = device {
                device.share_plans(&pipeline.plans);
                device.rebind(&Owner {
                    site: &pipeline.site,
                    device: name.as_str(),
                });
                device
            } else {
                restored.devices_lost.push(name.as_str().to_owned());
                pipeline.parts_lost += 1;
                let now_us = pipeline.arrival.now_us();
                Device::damaged(epoch_lost, now_us)
            };
            if device.holds {
                pipeline.holding.insert(name.clone());
            }
            let is_damaged = device.damage == Damage::Fresh && device.plans.is_empty();
            pipeline.devices.insert(name.clone(), device);
            if restored.base_lost || is_damaged {
                // Nothing of it is open that could be emitted here.
                let plans = pipeline.plans.clone();
                pipeline.with_device(&name, |device, scene, _| device.set_rules(scene, &plans));
            }
        }
        pipeline.schedule_all();
        (pipeline, restored)
    }
}

fn part<T: Serialize>(kind: u16, key: &str, value: &T) -> Part {
    let bytes = postcard::to_stdvec(value)
        .expect("the state has only types that postcard can write, and a vector never fills up");
    Part {
        kind,
        version: VERSION,
        key: key.to_owned(),
        bytes,
    }
}

/// The shared part. Behind it stands the budget; parts of before there was one have none.
fn read_base(part: &Part) -> Option<(Base, Budget)> {
    if part.version != VERSION {
        return None;
    }
    let (base, rest) = postcard::take_from_bytes(&part.bytes).ok()?;
    let budget = if rest.is_empty() {
        Budget::default()
    } else {
        let (budget, rest) = postcard::take_from_bytes(rest).ok()?;
        Some(budget).filter(|_| rest.is_empty())?
    };
    Some((base, budget))
}

fn read<T: for<'de> Deserialize<'de>>(part: &Part) -> Option<T> {
    if part.version != VERSION {
        return None;
    }
    let (value, rest) = postcard::take_from_bytes(&part.bytes).ok()?;
    rest.is_empty().then_some(value)
}
