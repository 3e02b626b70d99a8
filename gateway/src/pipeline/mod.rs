//! Pipeline: the deterministic function from log entries to records.
//!
//! Terms: an *entry* is what the log holds; a *lane* is one rule on one sensor; *arrival time* is
//! the clock of timers, made of what entries say (`arrival`); *event time* is when a sample was
//! taken, UTC. The *watermark* of a device's epoch is the event time up to which it is complete.
//!
//! Invariants:
//! - Same entries, same records, byte for byte: no clock is read, no order comes from a hash map,
//!   arithmetic is integer or + − × ÷ sqrt on `f64` in a fixed order.
//! - [`Pipeline::apply`] never fails: bad content is a counted rejection.
//! - Any entry is also a tick: closes that are due when it was made happen before it is applied.
//! - Snapshot and restore between any two entries changes no record.
//! - While the gateway's clock is untrusted, a device stops at the first frame whose time needs
//!   it, for a bounded time (`hold`).
//!
//! ```text
//! entry ─▶ arrival: closes that are due ─▶ frame ─▶ intake ─▶ clock ─▶ sensor ─▶ lane ─▶ window
//!                                       └▶ rules, limits, link, gap ...            │
//!                          emission (total order) ◀── watermark, early, epoch ─────┘
//! ```

mod accumulator;
mod arrival;
mod books;
mod budget;
mod calendar;
mod catalogs;
mod chain;
mod checkpoint;
mod closing;
mod conduct;
mod decimal;
mod decoded;
mod device;
mod distribution;
mod door;
mod emission;
mod eras;
mod gate;
mod histogram;
mod hold;
mod inputs;
mod intake;
mod lane;
mod occasion;
mod part;
pub mod picture;
mod plan;
pub mod probe;
pub mod program;
mod rhythm;
mod samples;
mod sensor;
mod timeline;
mod trial;
mod watch;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use part::{KIND_BASE, KIND_DEVICE, Part, Restored, VERSION};
use tidegate_shared::ids::{CatalogHash, DeviceName, SiteName};
pub use trial::Observed;

use arrival::Arrival;
use budget::Budget;
use chain::{Around, Chains};
use decoded::Decoded;
use device::{Device, Scene};
use emission::Emission;
use eras::Eras;
use hold::Hold;
use occasion::Occasion;
use plan::{Plan, RULES_MAX, Versions};
use probe::Probe;

use crate::budget::Decision;
use crate::clock::{Moment, Wall};
use crate::entry::{Entry, Limits, LinkChange, LinkEntry, Logged, Uncounted};
use crate::ledger::counters::Counters;
use crate::record::Emitted;
use crate::rules::RuleSet;
use crate::time::Timestamp;

/// Cumulative counts by device and reason.
type Tallies = BTreeMap<Option<DeviceName>, BTreeMap<Uncounted, u64>>;

/// The function of the log, as far as it has been applied.
#[derive(Debug)]
pub struct Pipeline {
    site: String,
    log_incarnation: u32,
    rules: RuleSet,
    versions: Versions,
    plans: Vec<Arc<Plan>>,
    budget: Budget,
    limits: Limits,
    arrival: Arrival,
    wall: Wall,
    hold: Hold,
    /// Devices whose frames wait for the gateway's clock.
    holding: BTreeSet<DeviceName>,
    /// Since when the gateway is subscribed, if it is.
    subscribed_us: Option<i64>,
    devices: BTreeMap<DeviceName, Device>,
    /// The devices that the entry at hand touched, in order.
    touched: Vec<DeviceName>,
    /// Rules over records.
    chains: Chains,
    /// When which device is due, for those with a deadline.
    deadlines: BTreeSet<(i64, DeviceName)>,
    due: BTreeMap<DeviceName, i64>,
    /// No epoch above this was known when the state was restored.
    epoch_base: u32,
    /// What was counted without being logged; `None` is of no admitted device.
    tallies: Tallies,
    entries_unreadable: u64,
    /// The position after the newest entry, once there is one.
    next_position: Option<u64>,
    /// Positions at which no entry came.
    entries_lost: u64,
    parts_lost: u64,
    decoded: Decoded,
    emission: Emission,
    /// Watches one sensor; never part of the state.
    probe: Option<Box<Probe>>,
    /// What arrival times were on the wall clock; never part of the state.
    eras: Eras,
    /// Usable samples, where somebody asked for them; never part of the state.
    observed: Option<Vec<Observed>>,
}

impl Pipeline {
    /// A pipeline before the first entry.
    pub fn new(site: &SiteName) -> Self {
        Self {
            site: site.as_str().to_owned(),
            log_incarnation: 0,
            rules: RuleSet::default(),
            versions: Versions::default(),
            plans: Vec::new(),
            budget: Budget::default(),
            limits: Limits::default(),
            arrival: Arrival::default(),
            wall: Wall::default(),
            hold: Hold::default(),
            holding: BTreeSet::new(),
            subscribed_us: None,
            devices: BTreeMap::new(),
            touched: Vec::new(),
            chains: Chains::default(),
            deadlines: BTreeSet::new(),
            due: BTreeMap::new(),
            epoch_base: 0,
            tallies: Tallies::new(),
            entries_unreadable: 0,
            next_position: None,
            entries_lost: 0,
            parts_lost: 0,
            decoded: Decoded::default(),
            emission: Emission::default(),
            probe: None,
            eras: Eras::default(),
            observed: None,
        }
    }

    /// Applies the entry at a log position, and appends the records it causes to `out`.
    pub fn apply(&mut self, position: u64, logged: &Logged, out: &mut Vec<Emitted>) {
        if matches!(logged.entry, Entry::Started { .. }) {
            // The broker has forgotten this client: while the gateway was gone nobody was idle.
            self.subscribed_us = None;
            self.schedule_all();
        }
        let moment = Moment {
            start: logged.start,
            at: logged.at,
        };
        self.note_position(position);
        self.arrival.advance(logged.start, logged.at);
        self.fire();
        self.tell_time(moment);
        match &logged.entry {
            Entry::Started {
                log_incarnation,
                site,
                ..
            } => {
                self.log_incarnation = *log_incarnation;
                self.site.clone_from(site);
            }
            Entry::Rules { text } => self.set_rules(text),
            Entry::Limits(limits) => {
                self.limits = *limits;
                self.schedule_all();
            }
            Entry::Frame(frame) => self.with_device(&frame.device, |device, scene, decoded| {
                device.frame(scene, decoded, &moment, frame);
            }),
            Entry::Gap(gap) => self.with_device(&gap.device, |device, scene, _| {
                device.gap(gap, scene.now_us);
            }),
            Entry::Link(LinkEntry {
                device: Some(name),
                change,
            }) => self.with_device(name, |device, scene, decoded| {
                device.link(scene, change, &moment);
                device.go_on(scene, decoded);
            }),
            Entry::Link(LinkEntry {
                device: None,
                change,
            }) => self.own_link(change),
            Entry::Tally { device, counts } => {
                self.tallies.insert(device.clone(), counts.clone());
            }
            // A step of the gateway's clock reaches devices as newly learnt offsets; timers run
            // on without it. A tick's time was all it had to say.
            Entry::ClockStep { .. } | Entry::Tick => {}
            Entry::Decision { kind, text } => self.decide(position, logged, (kind, text)),
        }
        if !self.chains.is_empty() {
            self.touched.sort();
            self.touched.dedup();
            let (chains, around, emission) = self.chained();
            chains.take(&around, emission);
        }
        self.touched.clear();
        let first = out.len();
        self.emission.drain(position, out);
        self.budget.cut(&mut out[first..]);
    }

    /// The chains, what surrounds them, and where their records go.
    fn chained(&mut self) -> (&mut Chains, Around<'_>, &mut Emission) {
        let around = Around {
            site: &self.site,
            log_incarnation: self.log_incarnation,
            limits: &self.limits,
            now_us: self.arrival.now_us(),
            arrived_us: self.arrival.at().wall_us,
            devices: &self.devices,
            touched: &self.touched,
        };
        (&mut self.chains, around, &mut self.emission)
    }

    /// Positions are given out in order: those left out were lost by the disk.
    fn note_position(&mut self, position: u64) {
        if let Some(next) = self.next_position {
            self.entries_lost += position.saturating_sub(next);
        }
        self.next_position = Some(position.saturating_add(1));
    }

    /// Has a sensor watched from here on; what is emitted and counted stays the same.
    pub fn watch(&mut self, probe: Probe) {
        self.probe = Some(Box::new(probe));
    }

    /// The probe, if there is one.
    pub fn probe(&mut self) -> Option<&mut Probe> {
        self.probe.as_deref_mut()
    }

    /// The newest entry's time, on the clocks of the gateway that made it.
    pub fn newest_at(&self) -> Timestamp {
        self.arrival.at()
    }

    /// When a tick is wanted: monotonic time in µs of the newest entry's gateway start.
    pub fn next_deadline(&self) -> Option<u64> {
        let close_us = self.deadlines.first().map(|(due_us, _)| *due_us);
        let hold_us = self.hold.until_us(&self.limits);
        let hold_us = hold_us.filter(|_| !self.holding.is_empty());
        let due_us = close_us.into_iter().chain(hold_us).min()?;
        Some(self.arrival.mono_us(due_us))
    }

    /// Frames that wait for the gateway's clock to be trusted, or behind one that does.
    pub fn held_frames(&self) -> u64 {
        let held = self
            .holding
            .iter()
            .filter_map(|name| self.devices.get(name));
        held.map(|device| device.waiting.len() as u64).sum()
    }

    /// Wall time of the newest trusted entry, in µs: no later wall clock is to be earlier.
    pub fn newest_trusted_us(&self) -> Option<i64> {
        self.wall.newest_trusted_us()
    }

    /// The catalog that a device's frames wait for.
    pub fn wanted(&self, device: &DeviceName) -> Option<CatalogHash> {
        self.devices.get(device)?.wanted
    }

    /// Every catalog that frames wait for.
    pub fn all_wanted(&self) -> Vec<(DeviceName, CatalogHash)> {
        let wanted = self.devices.iter();
        wanted
            .filter_map(|(name, device)| Some((name.clone(), device.wanted?)))
            .collect()
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters {
            entries_unreadable: self.entries_unreadable,
            entries_lost: self.entries_lost,
            parts_lost: self.parts_lost,
            clock_holds_cut_short: self.hold.cut_short,
            cuts: self.budget.cuts().clone(),
            ..Counters::default()
        };
        for (name, device) in &self.devices {
            counters
                .devices
                .insert(name.as_str().to_owned(), device.counters());
        }
        self.chains.count(&mut counters);
        for (device, tally) in &self.tallies {
            match device {
                Some(name) => {
                    let device = counters.devices.entry(name.as_str().to_owned());
                    device.or_default().not_logged.clone_from(tally);
                }
                None => counters.not_logged.clone_from(tally),
            }
        }
        counters
    }

    /// What was decided last about the budget.
    pub fn decided(&self) -> Option<&Decision> {
        self.budget.decided()
    }

    /// The rules in force, as they were given.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn set_rules(&mut self, text: &str) {
        let rules = serde_json::from_str::<RuleSet>(text).ok();
        let Some(rules) = rules.filter(|set| set.rules.len() <= RULES_MAX) else {
            self.entries_unreadable += 1;
            return;
        };
        self.rules = rules;
        self.put_rules_in_force();
    }

    /// Has lanes follow the rules as they run: those given, coarsened where the budget says so.
    fn put_rules_in_force(&mut self) {
        let applied = self.budget.applied(&self.rules);
        self.plans = self.versions.take(&applied);
        let plans = self.plans.clone();
        let names: Vec<DeviceName> = self.devices.keys().cloned().collect();
        for name in names {
            self.with_device(&name, |device, scene, _| device.set_rules(scene, &plans));
        }
        let (chains, around, emission) = self.chained();
        chains.set_rules(&plans, &around, emission);
        self.schedule_all();
    }

    /// Takes a decision of a kind that is known; of another it is not known what it would change.
    fn decide(&mut self, position: u64, logged: &Logged, (kind, text): (&str, &str)) {
        let occasion = Occasion {
            site: &self.site,
            log_incarnation: self.log_incarnation,
            position,
            logged,
        };
        if kind == crate::conduct::KIND
            && let Ok(decision) = serde_json::from_str(text)
        {
            return self.emission.tell(conduct::tell(&occasion, &decision));
        }
        if kind == crate::checkpoint::KIND
            && let Some(decision) = crate::checkpoint::Decision::parse(text)
        {
            return self.emission.tell(checkpoint::tell(&occasion, decision));
        }
        let decision = serde_json::from_str::<Decision>(text).ok();
        let Some(decision) = decision.filter(|_| kind == crate::budget::KIND) else {
            self.entries_unreadable += 1;
            return;
        };
        let ran = self.budget.applied(&self.rules).into_owned();
        for told in self.budget.decide(&occasion, decision) {
            self.emission.tell(told);
        }
        if *self.budget.applied(&self.rules) != ran {
            self.put_rules_in_force();
        }
    }

    /// Takes what an entry says of the gateway's clock; devices that it kept waiting go on.
    fn tell_time(&mut self, moment: Moment) {
        let became_known = self.wall.advance(moment);
        self.eras.take(&self.arrival, &self.wall);
        if became_known {
            for device in self.devices.values_mut() {
                device.clocks.correct(&self.wall);
            }
        }
        let anyone = !self.holding.is_empty();
        let now_us = self.arrival.now_us();
        let limits = &self.limits;
        let is_over = self
            .hold
            .advance(moment.start, &self.wall, anyone, now_us, limits);
        if became_known || is_over {
            for name in self.holding.clone() {
                self.with_device(&name, Device::go_on);
            }
        }
    }

    fn own_link(&mut self, change: &LinkChange) {
        if let LinkChange::Subscribed(subscribed) = change {
            let since_us = self.subscribed_us.unwrap_or(self.arrival.now_us());
            self.subscribed_us = subscribed.then_some(since_us);
            self.schedule_all();
        }
    }

    /// Does something with a device, which is made if it is not known, and its surroundings.
    fn with_device(
        &mut self,
        name: &DeviceName,
        act: impl FnOnce(&mut Device, &mut Scene<'_>, &mut Decoded),
    ) {
        let is_new = !self.devices.contains_key(name);
        let device = self.devices.entry(name.clone()).or_insert_with(Device::new);
        let mut scene = Scene {
            site: &self.site,
            log_incarnation: self.log_incarnation,
            device: name.as_str(),
            limits: &self.limits,
            now_us: self.arrival.now_us(),
            wall: &self.wall,
            holds: self.hold.is_on(),
            held_bytes: &mut self.hold.bytes,
            emission: &mut self.emission,
            probe: self
                .probe
                .as_deref_mut()
                .filter(|probe| probe.is_of(name.as_str())),
            observed: self.observed.as_mut(),
        };
        if is_new {
            device.set_rules(&mut scene, &self.plans);
        }
        act(device, &mut scene, &mut self.decoded);
        if device.holds {
            self.holding.insert(name.clone());
        } else {
            self.holding.remove(name);
        }
        let due_us = self.due_us(name);
        self.schedule(name, due_us);
        if !self.chains.is_empty() {
            self.touched.push(name.clone());
        }
    }

    /// Does the closes that are due now.
    fn fire(&mut self) {
        let now_us = self.arrival.now_us();
        let subscribed_us = self.subscribed_us;
        let due = self.deadlines.iter();
        let names: Vec<DeviceName> = due
            .take_while(|(due_us, _)| *due_us <= now_us)
            .map(|(_, name)| name.clone())
            .collect();
        for name in names {
            self.with_device(&name, |device, scene, _| device.fire(scene, subscribed_us));
        }
    }

    /// When something is due at a device, in arrival time.
    fn due_us(&self, name: &DeviceName) -> Option<i64> {
        let device = self.devices.get(name)?;
        let close_us = device.deadline_us(self.subscribed_us, &self.limits);
        let quiet_us = device.next_quiet_us(self.arrival.now_us(), self.limits.offline_close_us);
        let quiet_us = quiet_us.filter(|_| !self.chains.is_empty());
        close_us.into_iter().chain(quiet_us).min()
    }

    fn schedule(&mut self, name: &DeviceName, due_us: Option<i64>) {
        let known = self.due.get(name).copied();
        if known == due_us {
            return;
        }
        if let Some(known_us) = known {
            self.deadlines.remove(&(known_us, name.clone()));
            self.due.remove(name);
        }
        if let Some(due_us) = due_us {
            self.deadlines.insert((due_us, name.clone()));
            self.due.insert(name.clone(), due_us);
        }
    }

    fn schedule_all(&mut self) {
        let names = self.devices.keys();
        let due: Vec<_> = names
            .map(|name| (name.clone(), self.due_us(name)))
            .collect();
        for (name, due_us) in due {
            self.schedule(&name, due_us);
        }
    }

    fn epoch_max(&self) -> u32 {
        let epochs = self.devices.values().map(|device| device.epoch);
        epochs.max().unwrap_or(0).max(self.epoch_base)
    }
}

#[cfg(test)]
pub(crate) mod tests;
