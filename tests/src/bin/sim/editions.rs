//! Editions: the rules as a log's entries put them in force, their versions counted anew here, to
//! hold records against.

use std::collections::BTreeMap;

use tidegate_gateway::record::{Emitted, Record, Value};
use tidegate_gateway::rules::glob::any_matches;
use tidegate_gateway::rules::{Aggregate, Late, Rule, RuleSet, Shape};

use super::story::Story;
use super::unit::is_of;

/// Every version of every rule so far.
#[derive(Debug, Default)]
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

    /// Whether a rule in force takes a device's sensor.
    pub fn takes(&self, name: &str, device: &str, sensor: &str) -> bool {
        let version = self.in_force.get(name).copied();
        let rule = version.and_then(|version| self.get(name, version));
        rule.is_some_and(|rule| takes(rule, device, sensor))
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

    /// Whether a rule ever counted samples as late that came to a window closed early.
    pub fn ever_drops(&self, name: &str) -> bool {
        let mut versions = self.all.iter().filter(|((of, _), _)| of == name);
        versions.any(|(_, rule)| windows(rule).is_some_and(|windows| windows.drops))
    }

    /// How long a version's windows stay open behind their end, in µs.
    pub fn lateness_us(&self, name: &str, version: u32) -> i64 {
        let windows = self.get(name, version).and_then(windows);
        windows.map_or(0, |windows| windows.lateness_us)
    }

    /// What is sent where, and in which class, is what the version's rule says.
    pub fn check_way(&self, emitted: &Emitted, story: &mut Story) {
        let record = &emitted.record;
        let rule = self.get(&record.rule, record.version);
        let right = rule.is_some_and(|rule| {
            rule.forward == emitted.forward && rule.priority == emitted.priority
        });
        story.check("a record goes where its rule says", right, || {
            format!("{emitted:?}, of {rule:?}")
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
        let right = match windows(rule) {
            Some(Windows { length_us, .. }) => {
                record.start_us.rem_euclid(length_us) == 0
                    && record.end_us == record.start_us + length_us
                    && is_part(&record.values, rule)
            }
            None => record.start_us == record.end_us && record.samples == 1 && record.fresh == 1,
        };
        story.check("a record is of a version that was", right, || {
            format!("{record:?} of {rule:?}")
        });
        for (name, value) in &record.values {
            let right = match (name.as_str(), value) {
                ("count", value) => *value == Value::Count(record.samples),
                ("stddev", Value::Number(value)) => *value >= 0.0,
                ("sum", Value::Number(value)) => {
                    is_of(&record.sensor, *value / record.samples as f64)
                }
                (_, Value::Number(value)) => is_of(&record.sensor, *value),
                (_, Value::Count(_) | Value::Counts(_)) => false,
            };
            story.check("values are the sensor's own", right, || {
                format!("{} {} {name} = {value:?}", record.device, record.sensor)
            });
        }
    }
}

/// Whether values are what a rule asks for, in its order; one that cannot be said may be absent.
fn is_part(values: &[(String, Value)], rule: &Rule) -> bool {
    let mut asked = rule.aggregates.iter().map(Aggregate::name);
    let in_order = values
        .iter()
        .all(|(name, _)| asked.any(|asked| asked == *name));
    let few = rule.aggregates.len() - values.len();
    in_order && few <= usize::from(rule.aggregates.iter().any(|one| one.name() == "stddev"))
}

/// What is known of a rule's windows.
struct Windows {
    length_us: i64,
    lateness_us: i64,
    /// Whether samples of a window that was closed early are late.
    drops: bool,
}

fn windows(rule: &Rule) -> Option<Windows> {
    let window = rule.window.as_ref()?;
    let Shape::Tumbling { length_us } = window.shape else {
        return None;
    };
    Some(Windows {
        length_us,
        lateness_us: window.lateness_us,
        drops: window.late == Late::Drop,
    })
}

/// Whether a rule takes a device's sensor.
fn takes(rule: &Rule, device: &str, sensor: &str) -> bool {
    any_matches(&rule.matching.device, device) && any_matches(&rule.matching.sensor, sensor)
}
