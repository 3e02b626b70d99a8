//! Curves: one for each rule and sensor, redrawn from the records of one side and compared with
//! the samples that the rule was given.
//!
//! A rule's version has a curve of its own. When another one comes in force, the one before it
//! may still finish windows; the one before that is done.

use std::collections::BTreeMap;

use super::errors::Errors;
use super::line::Line;
use super::steps::{self, Steps};
use crate::pipeline::{Observed, Pipeline};
use crate::record::{Emitted, Record, Value};
use crate::rules::{self as window, Group, Keep, Rule, glob};

/// How a rule's records are joined to a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// At a value from a window's start to its end.
    Steps,
    /// From one passed-through sample to the next: straight, or held where a rule leaves out what
    /// does not change (`deadband`, `on_change`).
    Line,
    /// Not at all: no value of a record stands for its samples. So it is with windows that
    /// overlap or have no fixed ends, with derived values, groups and alerts.
    Nothing,
}

/// A rule, a sensor and its unit.
pub(super) type Name = (String, String, String);

/// The errors of a rule's curves of one sensor, of all devices together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawn {
    pub shape: Shape,
    pub errors: Errors,
    /// The device whose curve has the largest error.
    pub worst: Option<String>,
}

/// Rule, version, device, sensor.
type Key = (String, u32, String, String);

/// The curves of one side.
#[derive(Debug, Default)]
pub(super) struct Curves {
    rules: Vec<(Rule, u32)>,
    drawn: BTreeMap<Key, Curve>,
    /// The curves of each device and sensor, as far as samples came.
    of: BTreeMap<(String, String), Vec<Key>>,
    /// Samples that wait in all lines.
    waiting: usize,
    done: BTreeMap<Name, Drawn>,
}

#[derive(Debug)]
struct Curve {
    unit: String,
    keep: Option<Keep>,
    drawing: Drawing,
    implausible: u64,
    is_retired: bool,
}

#[derive(Debug)]
enum Drawing {
    Steps(Steps),
    Line(Line),
    Nothing(u64),
}

impl Curves {
    /// Other rules, or the first, are in force.
    pub fn set_rules(&mut self, pipeline: &Pipeline) {
        self.rules = pipeline
            .versions()
            .map(|(rule, version)| (rule.clone(), version))
            .collect();
        self.of.clear();
        let rules = &self.rules;
        let in_force = |key: &Key| {
            let mut rules = rules.iter();
            rules.any(|(rule, version)| rule.name == key.0 && *version == key.1)
        };
        let mut over = Vec::new();
        for (key, curve) in &mut self.drawn {
            if in_force(key) {
                curve.is_retired = false;
            } else if std::mem::replace(&mut curve.is_retired, true) {
                over.push(key.clone());
            }
        }
        for key in over {
            self.finish(key);
        }
    }

    /// Whether the rules in force now compute anything else than those set last, if any were.
    pub fn are_changed(&self, pipeline: &Pipeline) -> bool {
        let now = pipeline
            .versions()
            .map(|(rule, version)| (&rule.name, version));
        let before = self
            .rules
            .iter()
            .map(|(rule, version)| (&rule.name, *version));
        !self.rules.is_empty() && !now.eq(before)
    }

    /// Takes what an entry brought: samples, then the records it caused, then how far the devices
    /// are complete.
    pub fn take(&mut self, pipeline: &Pipeline, observed: &[Observed], emitted: &[Emitted]) {
        for block in observed {
            self.samples(block);
        }
        for one in emitted {
            self.record(&one.record);
        }
        let blocks = observed.iter().map(|one| (&one.device, &one.sensor));
        for (device, sensor) in blocks {
            let Some((epoch, watermark_us)) = pipeline.tide(device) else {
                continue;
            };
            let keys = self.of.get(&(device.clone(), sensor.clone()));
            for key in keys.into_iter().flatten() {
                if let Some(Drawing::Steps(steps)) =
                    self.drawn.get_mut(key).map(|curve| &mut curve.drawing)
                {
                    steps.advance(epoch, watermark_us);
                }
            }
        }
    }

    fn samples(&mut self, block: &Observed) {
        let name = (block.device.clone(), block.sensor.clone());
        if !self.of.contains_key(&name) {
            let keys = self.begin(block);
            self.of.insert(name.clone(), keys);
        }
        for key in self.of.get(&name).into_iter().flatten() {
            if let Some(curve) = self.drawn.get_mut(key) {
                for (time_us, value) in &block.samples {
                    curve.sample(&mut self.waiting, block.epoch, *time_us, *value);
                }
            }
        }
    }

    /// The curves of a sensor, made where they are missing.
    fn begin(&mut self, block: &Observed) -> Vec<Key> {
        let mut keys = Vec::new();
        for (rule, version) in &self.rules {
            let matching = &rule.matching;
            if rule.from.is_none()
                && glob::any_matches(&matching.device, &block.device)
                && glob::any_matches(&matching.sensor, &block.sensor)
                && glob::any_matches(&matching.unit, &block.unit)
            {
                let key = (
                    rule.name.clone(),
                    *version,
                    block.device.clone(),
                    block.sensor.clone(),
                );
                let curve = self.drawn.entry(key.clone());
                curve.or_insert_with(|| Curve::new(rule, &block.unit));
                keys.push(key);
            }
        }
        keys
    }

    fn record(&mut self, record: &Record) {
        let key = (
            record.rule.clone(),
            record.version,
            record.device.clone(),
            record.sensor.clone(),
        );
        if let Some(curve) = self.drawn.get_mut(&key) {
            curve.record(&mut self.waiting, record);
        }
    }

    fn finish(&mut self, key: Key) {
        let Some(curve) = self.drawn.remove(&key) else {
            return;
        };
        let (rule, _, device, sensor) = key;
        let name = (rule, sensor, curve.unit.clone());
        let (shape, errors) = curve.end(&mut self.waiting);
        let drawn = self.done.entry(name).or_insert_with(|| Drawn {
            shape,
            errors: Errors::default(),
            worst: None,
        });
        // The newest version says how it is drawn.
        drawn.shape = shape;
        if drawn.errors.merge(&errors) {
            drawn.worst = Some(device);
        }
    }

    /// The errors, by rule, sensor and unit, when nothing comes any more.
    pub fn end(mut self) -> BTreeMap<Name, Drawn> {
        let keys: Vec<Key> = self.drawn.keys().cloned().collect();
        for key in keys {
            self.finish(key);
        }
        self.done
    }
}

impl Curve {
    fn new(rule: &Rule, unit: &str) -> Self {
        let is_other = rule.derive.is_some() || rule.alert.is_some() || rule.group != Group::Sensor;
        let drawing = match &rule.window {
            _ if is_other => Drawing::Nothing(0),
            None => Drawing::Line(Line::of(rule.thin.as_ref())),
            Some(_) if !steps::has_value(rule) => Drawing::Nothing(0),
            Some(window) => match window.shape {
                window::Shape::Tumbling { length_us } => {
                    Drawing::Steps(Steps::new(length_us, window.lateness_us))
                }
                // Windows that overlap, or whose ends only their records tell.
                _ => Drawing::Nothing(0),
            },
        };
        Self {
            unit: unit.to_owned(),
            keep: rule.keep,
            drawing,
            implausible: 0,
            is_retired: false,
        }
    }

    fn sample(&mut self, waiting: &mut usize, epoch: u32, time_us: i64, value: f64) {
        let is_kept = self.keep.is_none_or(|keep| {
            keep.min.is_none_or(|min| min <= value) && keep.max.is_none_or(|max| value <= max)
        });
        if !is_kept {
            self.implausible += 1;
            return;
        }
        match &mut self.drawing {
            Drawing::Steps(steps) => steps.sample(epoch, time_us, value),
            Drawing::Line(line) => line.sample(waiting, epoch, time_us, value),
            Drawing::Nothing(samples) => *samples += 1,
        }
    }

    fn record(&mut self, waiting: &mut usize, record: &Record) {
        match &mut self.drawing {
            Drawing::Steps(steps) => steps.record(record),
            Drawing::Line(line) => {
                if let Some((_, Value::Number(value))) = record.values.first() {
                    line.record(waiting, record.epoch, record.start_us, *value);
                }
            }
            Drawing::Nothing(_) => {}
        }
    }

    fn end(self, waiting: &mut usize) -> (Shape, Errors) {
        let (shape, mut errors) = match self.drawing {
            Drawing::Steps(steps) => (Shape::Steps, steps.end()),
            Drawing::Line(line) => (Shape::Line, line.end(waiting)),
            Drawing::Nothing(samples) => {
                let mut errors = Errors::default();
                errors.not_compared.without_value = samples;
                (Shape::Nothing, errors)
            }
        };
        errors.not_compared.implausible += self.implausible;
        (shape, errors)
    }
}
