//! The oracle: what a log must give, worked out on lists of samples, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregates::{Wanted, values};
use super::case::{Batch, What};
use super::gate::Gate;
use super::windows::{Coming, Held, Windows};
use super::{HOLD_US, NAMES, Reading, decimals_of, value_of};
use crate::ledger::counters::Filter;
use crate::record::GROUP;
use crate::rules::{Group, Rule, Shape};
use crate::time::SECOND_US;

const REVISE_FOR_US: i64 = 24 * 3_600 * SECOND_US;
const OFFLINE_CLOSE_US: i64 = 900 * SECOND_US;

/// A record that has to come.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub key: Key,
    pub samples: u64,
    pub fresh: u64,
    pub values: Vec<(String, Wanted)>,
}

/// Rule, version, sensor, epoch, start, end, revision.
pub type Key = (String, u32, String, u32, i64, i64, u32);

/// Where the samples of one rule and sensor went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    pub matched: u64,
    pub filtered: BTreeMap<Filter, u64>,
    pub late: u64,
    pub folded: u64,
    pub open: u64,
}

/// A rule in one version.
#[derive(Debug, Clone)]
struct Instance {
    rule: Rule,
    version: u32,
    is_active: bool,
    gates: [Gate; 2],
    /// By sensor, or the first alone for a group.
    windows: [Windows; 2],
}

#[derive(Debug, Default)]
pub struct Oracle {
    now_us: i64,
    instances: Vec<Instance>,
    versions: BTreeMap<String, (u32, Option<Rule>)>,
    watermark_us: Option<i64>,
    epoch: u32,
    incarnation: Option<u32>,
    unit: Option<u8>,
    newest: [Option<Reading>; 2],
    down_us: Option<i64>,
    up_us: i64,
    frame_us: i64,
    subscribed_us: Option<i64>,
    books: BTreeMap<(String, usize), Book>,
    expected: Vec<Expected>,
}

impl Instance {
    fn takes(&self, sensor: usize) -> bool {
        let globs = &self.rule.matching.sensor;
        globs
            .iter()
            .any(|glob| glob == "*" || glob == NAMES[sensor])
    }

    fn is_shared(&self) -> bool {
        self.rule.group == Group::Device
    }

    fn of(&mut self, sensor: usize) -> &mut Windows {
        &mut self.windows[if self.is_shared() { 0 } else { sensor }]
    }

    fn covers(&self, sensor: usize, time_us: i64) -> bool {
        let at = if self.is_shared() { 0 } else { sensor };
        let window = self.rule.window.as_ref();
        window.is_some_and(|window| self.windows[at].covers(window, time_us))
    }

    fn overlaps(&self) -> bool {
        let shape = self.rule.window.as_ref().map(|window| &window.shape);
        matches!(shape, Some(Shape::Hopping { .. } | Shape::Sliding { .. }))
    }

    fn is_open(&self) -> bool {
        self.windows.iter().any(|one| !one.held.is_empty())
    }
}

impl Oracle {
    /// Applies an entry logged at an arrival time; what it gives.
    pub fn apply(&mut self, now_us: i64, what: &What) -> Vec<Expected> {
        if let What::Restarted = what {
            self.subscribed_us = None;
        }
        self.now_us = now_us;
        self.time_passes();
        match what {
            What::Nothing | What::Restarted => {}
            What::Rules(rules) => self.rules(rules),
            What::Subscribed(subscribed) => {
                let since_us = self.subscribed_us.unwrap_or(now_us);
                self.subscribed_us = subscribed.then_some(since_us);
            }
            What::Up(true) => {
                if self.down_us.take().is_some() {
                    self.up_us = now_us;
                }
            }
            What::Up(false) => {
                self.down_us.get_or_insert(now_us);
            }
            What::Frame(incarnation) => self.enter(*incarnation),
            What::Ended(incarnation) => {
                self.enter(*incarnation);
                self.close(|_, windows| windows.early(now_us));
            }
            What::Batch(batch) => self.batch(batch),
        }
        self.instances.retain(|one| one.is_active || one.is_open());
        std::mem::take(&mut self.expected)
    }

    /// The books by rule and sensor, as they stand.
    pub fn books(&self) -> BTreeMap<(String, usize), Book> {
        let mut books = self.books.clone();
        for one in &self.instances {
            for (at, held) in one
                .windows
                .iter()
                .enumerate()
                .flat_map(|(at, windows)| windows.held.iter().map(move |held| (at, held)))
            {
                for (sensor, column) in &held.columns {
                    assert!(one.is_shared() || *sensor == at);
                    let key = (one.rule.name.clone(), *sensor);
                    books.entry(key).or_default().open += column.fresh;
                }
            }
        }
        books
    }

    /// Closes windows, and expects the records of those that `closing` gives.
    fn close(&mut self, mut closing: impl FnMut(&Rule, &mut Windows) -> Vec<Held>) {
        let mut instances = std::mem::take(&mut self.instances);
        for one in instances.iter_mut().filter(|one| one.rule.window.is_some()) {
            for at in 0..2 {
                for held in closing(&one.rule, &mut one.windows[at]) {
                    self.expect(one, &held);
                }
            }
        }
        self.instances = instances;
    }

    fn expect(&mut self, one: &Instance, held: &Held) {
        let mut all = Vec::new();
        let mut name = GROUP.to_owned();
        for (sensor, column) in &held.columns {
            let key = (one.rule.name.clone(), *sensor);
            self.books.entry(key).or_default().folded += column.fresh;
            let found = values(&one.rule, *sensor, held, column, self.watermark_us);
            if one.is_shared() {
                let prefix = NAMES[*sensor];
                all.extend(
                    found
                        .into_iter()
                        .map(|(name, one)| (format!("{prefix}.{name}"), one)),
                );
            } else {
                NAMES[*sensor].clone_into(&mut name);
                all = found;
            }
        }
        let times = (held.start_us, held.end_us);
        self.expected.push(Expected {
            key: self.key(one, name, times, held.revision),
            samples: held.samples(),
            fresh: held.fresh(),
            values: all,
        });
    }

    fn key(&self, one: &Instance, sensor: String, times: (i64, i64), revision: u32) -> Key {
        let name = one.rule.name.clone();
        (
            name,
            one.version,
            sensor,
            self.epoch,
            times.0,
            times.1,
            revision,
        )
    }

    fn time_passes(&mut self) {
        let now_us = self.now_us;
        let (is_offline, since_us) = match (self.down_us, self.subscribed_us) {
            (Some(down_us), _) => (true, Some(down_us.max(self.frame_us) + OFFLINE_CLOSE_US)),
            (None, Some(subscribed_us)) => {
                let since_us = self.frame_us.max(self.up_us).max(subscribed_us);
                (false, Some(since_us + HOLD_US))
            }
            (None, None) => (false, None),
        };
        self.close(|rule, windows| {
            let window = rule.window.as_ref().unwrap();
            let patience_us = match window.shape {
                // It waits for its samples.
                Shape::Count { .. } => return vec![],
                _ if is_offline => 0,
                Shape::Session { gap_us, .. } => window.lateness_us + gap_us,
                _ => window.lateness_us,
            };
            match since_us {
                Some(since_us) if since_us + patience_us <= now_us => windows.early(now_us),
                _ => vec![],
            }
        });
        self.close(|_, windows| windows.expired(now_us - REVISE_FOR_US));
        self.instances.retain(|one| one.is_active || one.is_open());
    }

    fn rules(&mut self, rules: &[Rule]) {
        let mut active = Vec::new();
        for rule in rules {
            let (version, known) = self.versions.entry(rule.name.clone()).or_default();
            if known.as_ref() != Some(rule) {
                *version += 1;
                *known = Some(rule.clone());
            }
            let version = *version;
            let same = |one: &Instance| one.rule.name == rule.name && one.version == version;
            let known = self.instances.iter().position(same);
            let known = known.map(|at| self.instances.remove(at));
            active.push(known.unwrap_or_else(|| Instance {
                rule: rule.clone(),
                version,
                is_active: true,
                gates: Default::default(),
                windows: Default::default(),
            }));
        }
        for (name, (_, known)) in &mut self.versions {
            if !rules.iter().any(|rule| rule.name == *name) {
                *known = None;
            }
        }
        for one in &mut self.instances {
            one.is_active = false;
        }
        self.instances.retain(Instance::is_open);
        self.instances.extend(active);
    }

    fn begin_epoch(&mut self) {
        self.close(|_, windows| windows.all());
        self.instances.retain(|one| one.is_active);
        for one in &mut self.instances {
            one.gates = Default::default();
        }
        self.newest = [None; 2];
        self.watermark_us = None;
        self.epoch += 1;
    }

    fn enter(&mut self, incarnation: u32) {
        self.frame_us = self.now_us;
        if self
            .incarnation
            .replace(incarnation)
            .is_some_and(|one| one != incarnation)
        {
            self.begin_epoch();
        }
    }

    fn batch(&mut self, batch: &Batch) {
        self.enter(batch.incarnation);
        if self
            .unit
            .replace(batch.unit)
            .is_some_and(|one| one != batch.unit)
        {
            self.begin_epoch();
        }
        let inputs: Vec<Reading> = {
            let new = batch.blocks.iter().filter(|(sensor, _)| *sensor == 1);
            let new = new.flat_map(|(_, samples)| samples.iter().copied());
            let mut all: Vec<_> = self.newest[1].into_iter().chain(new).collect();
            all.sort_by_key(|(time_us, _)| *time_us);
            all
        };
        for (sensor, samples) in &batch.blocks {
            for sample in samples {
                self.sample(*sensor, *sample, &inputs);
                if self.newest[*sensor].is_none_or(|newest| newest.0 <= sample.0) {
                    self.newest[*sensor] = Some(*sample);
                }
            }
        }
        self.watermark_us = self.watermark_us.max(Some(batch.complete_us));
        let watermark_us = self.watermark_us;
        self.close(|rule, windows| windows.passed(rule.window.as_ref().unwrap(), watermark_us));
    }

    /// Earlier versions first: what they take the one in force does not, but of windows that
    /// share their samples.
    fn sample(&mut self, sensor: usize, sample: Reading, inputs: &[Reading]) {
        let mut instances = std::mem::take(&mut self.instances);
        let in_force: BTreeSet<String> = instances
            .iter()
            .filter(|one| one.is_active && one.takes(sensor))
            .map(|one| one.rule.name.clone())
            .collect();
        let mut gone = BTreeSet::new();
        for one in &mut instances {
            let is_wanted = one.is_active || one.covers(sensor, sample.0);
            // Windows that share samples share them with other versions, too.
            let shares = one.overlaps() && !one.is_active;
            let is_gone = gone.contains(&one.rule.name);
            if !one.takes(sensor) || is_gone && !shares || !is_wanted {
                continue;
            }
            let is_beside = one.overlaps() && in_force.contains(&one.rule.name);
            let counts = one.is_active || !is_beside && !is_gone;
            if counts {
                gone.insert(one.rule.name.clone());
            }
            self.take(one, sensor, sample, inputs, counts);
        }
        self.instances = instances;
    }

    fn take(
        &mut self,
        one: &mut Instance,
        sensor: usize,
        sample: Reading,
        inputs: &[Reading],
        counts: bool,
    ) {
        let mut discarded = Book::default();
        let key = (one.rule.name.clone(), sensor);
        let kept = self.books.entry(key).or_default();
        let book = if counts { kept } else { &mut discarded };
        book.matched += 1;
        let input = inputs.iter().rfind(|(at_us, _)| *at_us <= sample.0);
        let input = input.filter(|(at_us, _)| sample.0 - at_us <= one.rule.max_age_us);
        let input = input.map(|(_, raw)| value_of(*raw, decimals_of(&Rule::default(), 1)));
        let raw = match one.gates[sensor].take(&one.rule, sensor, sample, input) {
            Ok(raw) => raw,
            Err(filter) => {
                *book.filtered.entry(filter).or_default() += 1;
                return;
            }
        };
        if one.rule.window.is_none() {
            book.folded += 1;
            let value = value_of(raw, decimals_of(&one.rule, sensor));
            self.expected.push(Expected {
                key: self.key(one, NAMES[sensor].to_owned(), (sample.0, sample.0), 0),
                samples: 1,
                fresh: 1,
                values: vec![("value".to_owned(), Wanted::Near(value, 1e-9))],
            });
            return;
        }
        let coming = Coming {
            sensor,
            at: (sample.0, raw),
            watermark_us: self.watermark_us,
            opens: one.is_active,
            counts,
        };
        let rule = one.rule.clone();
        if !one.of(sensor).take(&rule, coming) {
            book.late += 1;
        }
    }
}
