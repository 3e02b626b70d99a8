//! The world of one seed: devices, a network, gateways, sinks, and the faults that befall them.
//!
//! ```text
//! chaos: faults come ──► calm: all is mended, devices stop as planned ──► everything drains
//! ```
//! Time is virtual and jumps to whatever is due next; everything is drawn from the seed, so a
//! seed's run is the same every time.

use std::collections::BTreeMap;

use tidegate_tests::dice::Dice;

use super::books;
use super::draft::{Author, read};
use super::network::{Client, Network, Weather};
use super::node::{Ending, Node, Surroundings};
use super::profile::{Fault, Profile};
use super::story::Story;
use super::unit::Unit;
use super::upstream::{Mood, Upstream};
use super::vault::Vault;

/// Longest time that draining may take once nothing is wrong any more, in µs: 2 h.
const DRAIN_US: u64 = 7_200_000_000;
/// Steps at one moment: more is no progress.
const STEPS_AT_ONCE_MAX: u32 = 20_000;
const SECOND_US: u64 = 1_000_000;

/// Everything there is.
pub struct World {
    pub story: Story,
    pub units: Vec<Unit>,
    pub nodes: Vec<Node>,
    pub upstreams: BTreeMap<String, Upstream>,
    pub author: Author,
    network: Network,
    vault: Vault,
    profile: &'static Profile,
    dice: Dice,
    now_us: u64,
    /// What is to be mended when.
    mends: BTreeMap<(u64, u64), Mend>,
    mend_number: u64,
    chaos_until_us: u64,
}

/// The end of a fault.
#[derive(Debug, Clone)]
enum Mend {
    Weather,
    Broker,
    Disk(usize),
    Sink(String),
    Clock(usize),
    /// Of nothing: a gateway is killed while it takes another configuration.
    Reload(usize),
    /// Of nothing: a device is to have another key.
    Rotation(usize),
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, profile: &'static Profile) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x71de_9a7e);
        let author = Author::new(&mut dice);
        let text = author.text();
        let units = (0..2 + dice.below(3) as usize).map(|number| Unit::new(number, &mut dice));
        let mut units: Vec<Unit> = units.collect();
        let mut vault = Vault::new(seed);
        for unit in &mut units {
            unit.key = vault.draw(&unit.name);
        }
        let nodes = (0..=usize::from(profile.second_gateway))
            .map(|number| Node::new(number, &text, &mut dice))
            .collect();
        let upstreams = read(&text)
            .sinks
            .into_iter()
            .map(|sink| (sink.name, Upstream::new()))
            .collect();
        let chaos_us = (10 + dice.below(30)) * 60 * SECOND_US;
        let mends: BTreeMap<(u64, u64), Mend> = if vault.ring().is_some() {
            let dice = vault.dice();
            (0..=dice.below(6))
                .map(|number| {
                    let unit = dice.below(units.len() as u64) as usize;
                    ((dice.below(chaos_us), number), Mend::Rotation(unit))
                })
                .collect()
        } else {
            BTreeMap::new()
        };
        Self {
            story: Story::default(),
            units,
            nodes,
            upstreams,
            author,
            network: Network::new(dice.bits()),
            vault,
            profile,
            dice,
            now_us: 0,
            mend_number: mends.len() as u64,
            mends,
            chaos_until_us: chaos_us,
        }
    }

    /// Runs to the end, or to the first broken promise.
    pub fn run(&mut self) {
        self.check_author();
        let mut fault_at_us = self.next_fault_us();
        while self.now_us < self.chaos_until_us && self.story.broken.is_none() {
            let until_us = fault_at_us.min(self.chaos_until_us);
            self.pass(until_us, |_| false);
            if self.now_us >= fault_at_us {
                self.strike();
                fault_at_us = self.next_fault_us();
            }
        }
        self.calm();
        let until_us = self.now_us + DRAIN_US;
        self.pass(until_us, Self::is_drained);
        if self.story.broken.is_none() {
            let drained = self.is_drained();
            let why = || {
                let units = self.units.iter().filter(|unit| !unit.is_drained());
                let units: Vec<String> = units.map(Unit::state).collect();
                let nodes: Vec<String> = self.nodes.iter().map(Node::state).collect();
                format!("{}\n{}", units.join("\n"), nodes.join("\n"))
            };
            self.story.check("everything drains", drained, why);
        }
        if self.story.broken.is_none() {
            books::check(self);
        }
        let (lost, repeated) = (self.network.lost, self.network.repeated);
        let faults = &mut self.story.coverage.faults;
        *faults.entry("message lost").or_default() += lost;
        *faults.entry("message repeated").or_default() += repeated;
        self.story.coverage.virtual_us = self.now_us;
    }

    fn check_author(&mut self) {
        let refused = self.author.refused();
        self.story
            .check("a right draft is taken", refused.is_none(), || {
                format!("{refused:?}")
            });
    }

    fn next_fault_us(&mut self) -> u64 {
        let every_us = self.profile.every_s * SECOND_US;
        self.now_us + SECOND_US + self.dice.below(2 * every_us)
    }

    fn is_drained(&self) -> bool {
        let nodes = self.nodes.iter();
        self.units.iter().all(Unit::is_drained) && nodes.clone().all(Node::is_at_rest)
    }

    /// Lets time pass until then, or until `done`.
    fn pass(&mut self, until_us: u64, done: impl Fn(&Self) -> bool) {
        let mut steps = 0;
        while self.story.broken.is_none() && !done(self) {
            let units = self.units.iter().map(|unit| unit.next_us(&self.network));
            let nodes = self.nodes.iter().map(|node| node.next_us(&self.network));
            let mends = self.mends.first_key_value().map(|((at_us, _), _)| *at_us);
            let others = self.network.next_us().into_iter().chain(mends);
            let next_us = units.chain(nodes).chain(others).min().unwrap_or(u64::MAX);
            if next_us > until_us {
                self.now_us = until_us;
                self.story.now_us = until_us;
                return;
            }
            steps = if next_us > self.now_us { 0 } else { steps + 1 };
            self.now_us = self.now_us.max(next_us);
            self.story.now_us = self.now_us;
            self.story
                .check("time goes on", steps < STEPS_AT_ONCE_MAX, String::new);
            self.step();
        }
    }

    fn step(&mut self) {
        let due = self.mends.first_entry();
        if let Some(due) = due.filter(|due| due.key().0 <= self.now_us) {
            let mend = due.remove();
            self.mend(&mend);
        }
        while let Some((client, message)) = self.network.take_due(self.now_us) {
            match client {
                Client::Device(number) => self.units[number].receive(self.now_us, &message),
                Client::Gateway(number) => {
                    let (node, mut around) = self.at(number);
                    node.receive(&message, &mut around);
                }
            }
        }
        for number in 0..self.units.len() {
            if self.units[number].next_us(&self.network) <= self.now_us {
                let unit = &mut self.units[number];
                let thrown = unit.step(self.now_us, &mut self.network, &mut self.story);
                if let Some(thrown) = thrown {
                    self.lose(thrown);
                }
            }
        }
        for number in 0..self.nodes.len() {
            if self.nodes[number].next_us(&self.network) <= self.now_us {
                let (node, mut around) = self.at(number);
                node.step(&mut around);
            }
        }
        for (topic, payload) in std::mem::take(&mut self.network.said) {
            self.vault.note(&topic, &payload, &mut self.story);
        }
    }

    fn at(&mut self, number: usize) -> (&mut Node, Surroundings<'_>) {
        let around = Surroundings {
            now_us: self.now_us,
            network: &mut self.network,
            vault: &mut self.vault,
            upstreams: &mut self.upstreams,
            story: &mut self.story,
        };
        (&mut self.nodes[number], around)
    }

    fn lose(&mut self, client: Client) {
        match client {
            Client::Device(number) => self.units[number].lose_connection(self.now_us),
            Client::Gateway(number) => {
                let (node, mut around) = self.at(number);
                node.lose_connection(&mut around);
            }
        }
    }

    fn mend_later(&mut self, mend: Mend, most_s: u64) {
        let at_us = self.now_us + SECOND_US + self.dice.below(most_s * SECOND_US);
        self.mend_number += 1;
        self.mends.insert((at_us, self.mend_number), mend);
    }

    fn mend(&mut self, mend: &Mend) {
        self.story.tell(|| format!("mended: {mend:?}"));
        match mend {
            Mend::Weather => self.network.weather = Weather::FAIR,
            Mend::Broker => self.network.is_up = true,
            Mend::Disk(number) => {
                let disk = &self.nodes[*number].disk;
                disk.set_read_only(false);
                disk.limit_bytes(None);
            }
            Mend::Sink(name) => {
                if let Some(upstream) = self.upstreams.get_mut(name) {
                    upstream.mood = Mood::Well;
                }
            }
            Mend::Clock(number) => {
                let node = &mut self.nodes[*number];
                node.wall_off_us = 0;
                node.trusted = true;
            }
            Mend::Reload(number) => {
                self.end(*number, Ending::Killed, "gateway killed behind a reload");
            }
            Mend::Rotation(unit) => self.rotate(*unit),
        }
    }

    /// Mends everything; devices take no more.
    fn calm(&mut self) {
        self.story
            .tell(|| "all is mended; devices stop as planned".to_owned());
        let mends: Vec<Mend> = std::mem::take(&mut self.mends).into_values().collect();
        for mend in mends {
            self.mend(&mend);
        }
        for unit in &mut self.units {
            unit.end();
        }
        for node in &mut self.nodes {
            node.disk.disarm();
            node.start_soon(self.now_us);
        }
    }

    fn strike(&mut self) {
        let faults = self.profile.faults;
        let all: u64 = faults.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.dice.below(all);
        let struck = faults.iter().find(|(_, weight)| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        let Some((fault, _)) = struck else { return };
        let unit = self.dice.below(self.units.len() as u64) as usize;
        let node = self.dice.below(self.nodes.len() as u64) as usize;
        match fault {
            Fault::DeviceReset => self.reset(unit, (false, false), "device reset"),
            Fault::FirmwareChange => self.reset(unit, (false, true), "firmware changed"),
            Fault::StoreErased => self.reset(unit, (true, false), "device store erased"),
            Fault::Cloned => self.copy(unit),
            Fault::Astray => self.mislead(unit, node),
            Fault::Burst => {
                self.story.fault("device bursts", || unit.to_string());
                let lasts_us = self.dice.below(60) * SECOND_US;
                self.units[unit].hurry(self.now_us + lasts_us);
            }
            Fault::DeviceCutOff => {
                self.cut_off(Client::Device(unit), "device cut off");
            }
            Fault::GatewayCutOff => self.cut_off(Client::Gateway(node), "gateway cut off"),
            Fault::Storm => self.storm(),
            Fault::BrokerForgets => {
                self.story.fault("broker forgets", String::new);
                for client in self.network.stop_broker() {
                    self.lose(client);
                }
                self.mend_later(Mend::Broker, 60);
            }
            Fault::GatewayKilled => self.end(node, Ending::Killed, "gateway killed"),
            Fault::PowerCut => self.power_cut(node),
            Fault::GatewayStopped => {
                self.story.fault("gateway stopped", || node.to_string());
                let (node, mut around) = self.at(node);
                node.stop(&mut around);
            }
            Fault::Outage => {
                self.end(node, Ending::Killed, "long outage");
                let until_us = self.now_us + (5 + self.dice.below(15)) * 60 * SECOND_US;
                self.nodes[node].stay_off(until_us);
            }
            Fault::SyncFails | Fault::DiskFull | Fault::ReadOnly => self.spoil(node, *fault),
            Fault::ImageKept => {
                self.story.fault("disk image kept", || node.to_string());
                self.nodes[node].keep_image();
            }
            Fault::ImageRestored => self.restore(node),
            Fault::ClockJumps | Fault::ClockUntrusted => self.shift(node, *fault),
            Fault::SinkFails => self.sour(),
            Fault::Rewritten => self.rewrite(node),
        }
    }

    fn mislead(&mut self, unit: usize, node: usize) {
        let refuses = self.dice.percent(50);
        let term = self.nodes[node].term();
        let unit = &mut self.units[unit];
        let message = term.and_then(|term| unit.answer_for_another(term, refuses));
        if let Some(message) = message {
            self.story.fault("answer astray", || unit.name.to_string());
            unit.receive(self.now_us, &message);
        }
    }

    fn reset(&mut self, unit: usize, how: (bool, bool), kind: &'static str) {
        let name = &self.units[unit].name;
        self.story.fault(kind, || name.to_string());
        self.units[unit].switch_off(self.now_us, how, &mut self.network);
    }

    /// The registry has another key for a device, which takes it at its next start: now, or when
    /// its power goes anyway.
    fn rotate(&mut self, unit: usize) {
        let Some(key) = self.vault.draw(&self.units[unit].name) else {
            return;
        };
        let name = &self.units[unit].name;
        self.story.fault("key rotated", || name.to_string());
        self.units[unit].key = Some(key);
        if self.vault.dice().percent(70) {
            self.reset(unit, (false, false), "device reset for its key");
        }
    }

    /// Not in a world with keys: see [`Unit::copy`].
    fn copy(&mut self, unit: usize) {
        if self.vault.ring().is_some() {
            return;
        }
        let name = self.units[unit].name.clone();
        let same = self.units.iter().filter(|other| other.name == name);
        if same.count() < 2 {
            self.story.fault("identity cloned", || name.to_string());
            let number = self.units.len();
            let copy = self.units[unit].copy(number);
            self.units.push(copy);
            if self.network.weather != Weather::FAIR {
                self.mix();
            }
        }
    }

    /// Two that speak as one through a network that mixes their frames cannot be told apart.
    fn mix(&mut self) {
        for unit in &self.units {
            let same = self.units.iter().filter(|other| other.name == unit.name);
            if same.count() > 1 {
                for node in &mut self.nodes {
                    node.witness.mixed.insert(unit.name.to_string());
                }
            }
        }
    }

    fn cut_off(&mut self, client: Client, kind: &'static str) {
        self.story.fault(kind, || format!("{client:?}"));
        let at_once = self.dice.percent(50);
        self.network.disconnect(client, at_once, self.now_us);
        self.lose(client);
    }

    fn storm(&mut self) {
        let weather = Weather {
            loss: 1 + self.dice.below(40),
            repeats: self.dice.below(30),
            delay_us: 1 + self.dice.below(20_000_000),
            reorders: self.dice.percent(60),
        };
        self.story.fault("storm", || format!("{weather:?}"));
        self.network.weather = weather;
        self.mix();
        self.mend_later(Mend::Weather, 600);
    }

    fn end(&mut self, number: usize, ending: Ending, kind: &'static str) {
        if self.nodes[number].is_running() {
            self.story.fault(kind, || number.to_string());
            let client = Client::Gateway(number);
            self.network.disconnect(client, false, self.now_us);
            self.nodes[number].end(ending, self.now_us, &mut self.story);
        }
    }

    fn power_cut(&mut self, number: usize) {
        if self.dice.percent(30) {
            return self.end(number, Ending::PowerCut, "power cut");
        }
        let disk = &self.nodes[number].disk;
        let at = disk.mutations() + 1 + self.dice.below(60);
        disk.cut_at(at);
        self.story.fault("power cut in a write", || at.to_string());
    }

    fn spoil(&mut self, number: usize, fault: Fault) {
        let disk = self.nodes[number].disk.clone();
        match fault {
            Fault::SyncFails => {
                let at = disk.syncs() + 1 + self.dice.below(40);
                disk.fail_sync(at);
                self.story.fault("sync fails", || at.to_string());
            }
            Fault::DiskFull => {
                let bytes = disk.bytes() + self.dice.below(40_000);
                disk.limit_bytes(Some(bytes));
                self.story
                    .fault("disk full", || format!("at {bytes} bytes"));
                self.mend_later(Mend::Disk(number), 300);
            }
            _ => {
                disk.set_read_only(true);
                self.story.fault("read-only", || number.to_string());
                self.mend_later(Mend::Disk(number), 300);
            }
        }
    }

    fn restore(&mut self, number: usize) {
        let (now_us, client) = (self.now_us, Client::Gateway(number));
        if self.nodes[number].restore_image(now_us, &mut self.story) {
            self.story
                .fault("disk image restored", || number.to_string());
            self.network.disconnect(client, false, now_us);
        }
    }

    fn shift(&mut self, number: usize, fault: Fault) {
        let day_us = 86_400 * SECOND_US as i64;
        let jump_us = if self.dice.percent(50) {
            self.dice.below(5) as i64 * day_us + self.dice.below(3_600_000_000) as i64
        } else {
            self.dice.below(60_000_000) as i64
        };
        let sign = if self.dice.percent(50) { 1 } else { -1 };
        let node = &mut self.nodes[number];
        node.wall_off_us += sign * jump_us;
        node.wall_ahead_us = node.wall_ahead_us.max(node.wall_off_us);
        if fault == Fault::ClockUntrusted {
            node.trusted = false;
            self.story
                .fault("clock untrusted", || format!("{} µs", sign * jump_us));
        } else {
            self.story
                .fault("clock jumps", || format!("by {} µs", sign * jump_us));
        }
        self.mend_later(Mend::Clock(number), 600);
    }

    /// Somebody writes another configuration or two, perhaps just before a crash.
    fn rewrite(&mut self, number: usize) {
        for _ in 0..=u32::from(self.dice.percent(25)) {
            let (text, about) = self.author.write();
            self.check_author();
            self.story
                .fault("configuration written", || format!("{about}: {text}"));
            self.story.happen(about);
            let (node, mut around) = self.at(number);
            node.write_configuration(text, &mut around);
        }
        match self.dice.below(10) {
            0 => {
                // Mostly before it is durable.
                let most_us = if self.dice.percent(60) {
                    50_000
                } else {
                    900_000
                };
                let at_us = self.now_us + self.dice.below(most_us);
                self.mend_number += 1;
                let mend = Mend::Reload(number);
                self.mends.insert((at_us, self.mend_number), mend);
            }
            1 => {
                let disk = &self.nodes[number].disk;
                let at = disk.mutations() + 1 + self.dice.below(12);
                disk.cut_at(at);
                self.story
                    .fault("power cut behind a reload", || at.to_string());
            }
            _ => {}
        }
    }

    fn sour(&mut self) {
        let moods = [
            Mood::Failing,
            Mood::Hanging,
            Mood::Refusing,
            Mood::Lying,
            Mood::Choosy,
            Mood::Narrow,
            Mood::Closed,
            Mood::Busy,
            Mood::Patchy,
            Mood::Slow,
        ];
        let mood = moods[self.dice.below(moods.len() as u64) as usize];
        let names: Vec<String> = self.upstreams.keys().cloned().collect();
        let name = names[self.dice.below(names.len() as u64) as usize].clone();
        let kind = match mood {
            Mood::Hanging => "sink hangs",
            Mood::Refusing => "sink refuses",
            Mood::Lying => "sink lies",
            Mood::Choosy => "sink refuses some records",
            Mood::Narrow => "sink takes small batches only",
            Mood::Closed => "sink refuses credentials",
            Mood::Busy => "sink asks for patience",
            Mood::Patchy => "sink takes parts of batches",
            Mood::Slow => "sink is slow",
            Mood::Failing | Mood::Well => "sink fails",
        };
        self.story.fault(kind, || name.clone());
        if let Some(upstream) = self.upstreams.get_mut(&name) {
            upstream.mood = mood;
        }
        self.mend_later(Mend::Sink(name), 900);
    }
}
