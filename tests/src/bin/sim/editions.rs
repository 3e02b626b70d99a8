//! Editions: the rules as a log's entries put them in force, their versions counted anew here, to
//! hold records against.

use std::collections::BTreeMap;

use tidegate_gateway::record::{Emitted, Record};
use tidegate_gateway::rules::glob::any_matches as any;
use tidegate_gateway::rules::{Late, Rule, RuleSet, Shape};

use super::shapes;
use super::story::Story;
use super::unit::SITE;

/// Every version of every rule so far.
#[derive(Debug, Default, Clone)]
pub struct Editions {
    /// By name and version; the newest `forward` and `priority` of each.
    all: BTreeMap<(String, u32), Rule>,
    /// Those in force, with their versions.
    in_force: BTreeMap<String, u32>,
    /// Versions counted of each name.
    counted: BTreeMap<String, u32>,
}

impl Editions {
    /// An entry puts a rule set in force.
    pub fn take(&mut self, text: &str) {
        let set = RuleSet::from_json(text).expect("the log holds rule sets");
        let before = std::mem::take(&mut self.in_force);
        for rule in set.rules {
            let name = rule.name.clone();
            let same = before.get(&name).filter(|version| {
                let known = self.all.get(&(name.clone(), **version));
                known.is_some_and(|known| known.computed() == rule.computed())
            });
            let version = same.copied().unwrap_or_else(|| {
                let counted = self.counted.entry(name.clone()).or_default();
                *counted += 1;
                *counted
            });
            self.in_force.insert(name.clone(), version);
            self.all.insert((name, version), rule);
        }
    }

    /// A rule in a version.
    pub fn get(&self, name: &str, version: u32) -> Option<&Rule> {
        self.all.get(&(name.to_owned(), version))
    }

    /// A rule in force.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.get(name, *self.in_force.get(name)?)
    }

    /// Whether a rule in force takes a device's sensor.
    pub fn takes(&self, name: &str, device: &str, sensor: &str) -> Takes {
        match self.rule(name) {
            Some(rule) if rule.from.is_none() => takes(rule, device, sensor),
            _ => Takes::No,
        }
    }

    /// How many of the records of an entry are samples of a rule in force over records.
    pub fn taken(&self, rule: &Rule, emitted: &[Emitted]) -> u64 {
        let records = emitted.iter().map(|one| &one.record);
        let taken = records.filter(|record| {
            let from = rule.from.as_ref();
            from.is_some_and(|from| from.rule == record.rule)
                && record.alert.is_none()
                && takes(rule, &record.device, &record.sensor) != Takes::No
                && any(&rule.matching.unit, &record.unit)
        });
        taken.count() as u64
    }

    /// Whether a rule was of a kind in any version.
    pub fn ever(&self, name: &str, kind: impl Fn(&Rule) -> bool) -> bool {
        let mut versions = self.all.iter().filter(|((of, _), _)| of == name);
        versions.any(|(_, rule)| kind(rule))
    }

    /// The versions that are not in force any more.
    pub fn over(&self) -> Vec<(String, u32)> {
        let all = self.all.keys();
        let over = all.filter(|(name, version)| self.in_force.get(name) != Some(version));
        over.cloned().collect()
    }

    /// Names of the rules in force.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.in_force.keys()
    }

    /// Versions beyond the first of their rule.
    pub fn changes(&self) -> u64 {
        self.counted
            .values()
            .map(|version| u64::from(version - 1))
            .sum()
    }

    /// Whether a rule ever counted samples as late that came to a window closed early, or that
    /// were revisions of records.
    pub fn ever_drops(&self, name: &str) -> bool {
        self.ever(name, |rule| {
            let window = rule.window.as_ref();
            rule.from.is_some() || window.is_some_and(|window| window.late == Late::Drop)
        })
    }

    /// How long a version's windows stay open behind their end, in µs, and how long a device must
    /// be silent until they end; `None` where neither says when they close.
    pub fn patience_us(&self, name: &str, version: u32) -> Option<(i64, i64)> {
        let rule = self.get(name, version)?;
        let window = rule.window.as_ref().filter(|_| rule.from.is_none())?;
        let gap_us = match &window.shape {
            Shape::Session { gap_us, .. } => *gap_us,
            // So many samples are enough; so many windows are too many.
            Shape::Count { .. } | Shape::Sliding { .. } => return None,
            _ => 0,
        };
        Some((window.lateness_us, gap_us))
    }

    /// What is sent where, and in which class, is what the version's rule says.
    pub fn goes_its_way(&self, emitted: &Emitted) -> bool {
        let rule = self.get(&emitted.record.rule, emitted.record.version);
        rule.is_some_and(|rule| {
            rule.forward == emitted.forward && rule.priority == emitted.priority
        })
    }

    /// As [`Self::goes_its_way`], checked.
    pub fn check_way(&self, emitted: &Emitted, story: &mut Story) {
        let right = self.goes_its_way(emitted);
        story.check("a record goes where its rule says", right, || {
            let record = &emitted.record;
            format!(
                "{emitted:?}, of {:?}",
                self.get(&record.rule, record.version)
            )
        });
    }

    /// A record is what the rule in its version would make.
    pub fn check(&self, record: &Record, story: &mut Story) {
        let Some(rule) = self.get(&record.rule, record.version) else {
            story.check("a record is of a version that was", false, || {
                format!("{record:?}")
            });
            return;
        };
        story.check(
            "a record is of a version that was",
            shapes::fits(record, rule),
            || format!("{record:?} of {rule:?}"),
        );
        for (name, value) in &record.values {
            let right = shapes::is_right(record, rule, name, value);
            story.check("values are the sensor's own", right, || {
                format!("{} {} {name} = {value:?}", record.device, record.sensor)
            });
        }
    }
}

/// Whether a rule takes a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Yes,
    No,
    /// With one catalog it does, with another it does not.
    Depends,
}

fn takes(rule: &Rule, device: &str, sensor: &str) -> Takes {
    let matching = &rule.matching;
    let named = any(&matching.site, SITE)
        && any(&matching.device, device)
        && any(&matching.sensor, sensor)
        && any(&matching.kind, "gauge")
        && (matching.tags.is_empty() || rule.from.is_some());
    if !named {
        Takes::No
    } else if matching.unit.is_empty() || rule.from.is_some() {
        Takes::Yes
    } else {
        Takes::Depends
    }
}
