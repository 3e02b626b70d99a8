//! Plans: rules with their versions, and what they make of which sensors.
//!
//! A rule is its name. Its version counts changes of what it computes: everything but `forward`
//! and `priority`. A rule that is removed and comes back counts as changed, so that a window cut
//! in two by it never has one id with two contents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_shared::catalog::{Kind, Scale};
use tidegate_shared::mutation::{Mutation, is_on};

use super::sensor::Meta;
use crate::record::Record;
use crate::rules::glob::any_matches;
use crate::rules::{Derivation, Group, Rule, RuleSet, Shape, Thinning, show_duration};

/// Most rules of a set: a lane names its plan by 16 bits, earlier versions included. A larger set
/// is not taken and counts as an unreadable entry.
pub(super) const RULES_MAX: usize = 4_096;

/// How long a swinging door without a heartbeat waits for the next sample before it lets the held
/// one pass: batches of one device are often its hold apart, and a sample a minute is slow.
const DOOR_PATIENCE_US: i64 = 60 * 1_000_000;

/// A rule as it computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub rule: Rule,
    /// Version, from 1.
    pub version: u32,
}

/// What leaves a rule's gate on a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output<'a> {
    pub sensor: &'a str,
    pub kind: Kind,
    pub scale: Scale,
}

impl Plan {
    /// What leaves the rule's gate on a sensor: what is derived is a gauge of its own.
    pub fn output<'a>(&'a self, meta: &'a Meta) -> Output<'a> {
        let sensor = meta.name.as_str();
        match &self.rule.derive {
            Some(derive) => Output {
                sensor,
                kind: Kind::Gauge,
                scale: decimals(derive.decimals),
            },
            None => Output {
                sensor,
                kind: meta.kind,
                scale: meta.scale,
            },
        }
    }

    /// The unit of what leaves the gate: of a rate and an integral, where the rule gives none, made
    /// of the sensor's.
    pub fn unit<'a>(&'a self, meta: &'a Meta) -> Cow<'a, str> {
        let Some(derive) = &self.rule.derive else {
            return Cow::Borrowed(&meta.unit);
        };
        let unit = if meta.unit.is_empty() {
            "1"
        } else {
            &meta.unit
        };
        match (&derive.unit, &derive.what) {
            (Some(unit), _) => Cow::Borrowed(unit),
            (None, Derivation::Value(_)) => Cow::Borrowed(&meta.unit),
            (None, Derivation::Rate { per_us, .. }) => {
                Cow::Owned(format!("{unit}/{}", time_unit(*per_us)))
            }
            (None, Derivation::Integral { per_us, .. }) => {
                Cow::Owned(format!("{unit}·{}", time_unit(*per_us)))
            }
        }
    }

    /// Whether samples of a device's sensors can match; those of records do not.
    pub fn takes_device(&self, site: &str, device: &str) -> bool {
        let matching = &self.rule.matching;
        self.rule.from.is_none()
            && any_matches(&matching.site, site)
            && any_matches(&matching.device, device)
    }

    /// Whether a sensor of such a device matches.
    pub fn takes_sensor(&self, meta: &Meta) -> bool {
        let matching = &self.rule.matching;
        any_matches(&matching.sensor, meta.name.as_str())
            && any_matches(&matching.unit, &meta.unit)
            && any_matches(&matching.kind, kind_name(meta.kind))
            && (matching.tags.is_empty()
                || meta.tags.iter().any(|tag| any_matches(&matching.tags, tag)))
    }

    /// Whether a rule over the site waits for a device's records: as samples or as inputs.
    pub fn waits_for(&self, site: &str, device: &str) -> bool {
        let matching = &self.rule.matching;
        let inputs = self.rule.inputs.iter();
        let mut named = inputs.filter_map(|input| input.device.as_deref());
        self.rule.group == Group::Site
            && (any_matches(&matching.site, site) && any_matches(&matching.device, device)
                || named.any(|one| one == device))
    }

    /// Whether a record of the rule's source matches.
    pub fn takes_record(&self, site: &str, record: &Record) -> bool {
        let matching = &self.rule.matching;
        any_matches(&matching.site, site)
            && any_matches(&matching.device, &record.device)
            && any_matches(&matching.sensor, &record.sensor)
            && any_matches(&matching.unit, &record.unit)
    }

    /// How far behind its end a window closes, in µs; 0 without windows.
    pub fn lateness_us(&self) -> i64 {
        let window = self.rule.window.as_ref();
        window.map_or(0, |window| window.lateness_us.max(0))
    }

    /// How long a device must be silent, beside its hold, for what the rule has open to be over,
    /// in µs.
    pub fn patience_us(&self) -> i64 {
        let gap_us = match self.rule.window.as_ref().map(|window| &window.shape) {
            Some(Shape::Session { gap_us, .. }) => *gap_us,
            _ => 0,
        };
        let door_us = match self.rule.thin {
            Some(Thinning::SwingingDoor { .. }) => {
                self.rule.heartbeat_us.unwrap_or(DOOR_PATIENCE_US)
            }
            _ => 0,
        };
        self.lateness_us()
            .saturating_add(gap_us)
            .saturating_add(door_us)
    }

    /// Whether windows of the rule share samples.
    pub fn overlaps(&self) -> bool {
        let shape = self.rule.window.as_ref().map(|window| &window.shape);
        matches!(shape, Some(Shape::Hopping { .. } | Shape::Sliding { .. }))
    }

    /// Whether both are one rule in one version.
    pub fn is_version_of(&self, other: &Self) -> bool {
        self.rule.name == other.rule.name && self.version == other.version
    }
}

/// A time as the part of a unit: `s`, `min`, `h`, `d`, others in words of their own.
fn time_unit(per_us: i64) -> String {
    match per_us {
        1_000_000 => "s".to_owned(),
        60_000_000 => "min".to_owned(),
        3_600_000_000 => "h".to_owned(),
        86_400_000_000 => "d".to_owned(),
        other => show_duration(other),
    }
}

/// The scale of numbers with a number of decimals.
pub(super) fn decimals(decimals: u8) -> Scale {
    // At most 18, which fits.
    Scale::decimal(-(decimals.min(18) as i8))
}

/// A kind's name in rules.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::State => "state",
        Kind::Bool => "bool",
    }
}

/// The versions of every rule name ever seen.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Versions(BTreeMap<String, (u32, Option<Rule>)>);

impl Versions {
    /// Takes a new rule set and gives its plans. Of two rules of one name the first counts.
    pub fn take(&mut self, set: &RuleSet) -> Vec<Arc<Plan>> {
        let mut plans: Vec<Arc<Plan>> = Vec::new();
        for rule in &set.rules {
            if plans.iter().any(|plan| plan.rule.name == rule.name) {
                continue;
            }
            let computes = rule.computed();
            let (version, known) = self.0.entry(rule.name.clone()).or_default();
            if known.as_ref() != Some(&computes) {
                let stays = *version > 0 && is_on(Mutation::ReloadKeepsVersion);
                *version += u32::from(!stays);
                *known = Some(computes);
            }
            plans.push(Arc::new(Plan {
                rule: rule.clone(),
                version: *version,
            }));
        }
        for (name, (_, known)) in &mut self.0 {
            if !plans.iter().any(|plan| plan.rule.name == *name) {
                *known = None;
            }
        }
        plans
    }

    /// The plans of a rule set already taken.
    pub fn plans(&self, set: &RuleSet) -> Vec<Arc<Plan>> {
        self.clone().take(set)
    }
}

/// Serialises shared plans by value.
pub(super) fn serialize<S: Serializer>(
    plans: &[Arc<Plan>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(plans.iter().map(|plan| &**plan))
}

/// Reads plans; sharing is found again by [`share`].
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Arc<Plan>>, D::Error> {
    let plans = Vec::<Plan>::deserialize(deserializer)?;
    Ok(plans.into_iter().map(Arc::new).collect())
}

/// Replaces plans by equal ones of `pool`, so that devices share them in memory.
pub(super) fn share(plans: &mut [Arc<Plan>], pool: &[Arc<Plan>]) {
    for plan in plans {
        if let Some(same) = pool.iter().find(|same| **same == *plan) {
            *plan = Arc::clone(same);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Match, Priority, Thinning};

    pub fn rule(name: &str) -> Rule {
        Rule {
            name: name.into(),
            matching: Match::names("*", "*"),
            keep: None,
            thin: None,
            window: None,
            aggregates: Vec::new(),
            priority: Priority::Normal,
            forward: Vec::new(),
            ..Rule::default()
        }
    }

    fn versions(versions: &mut Versions, rules: &[Rule]) -> Vec<u32> {
        let set = RuleSet {
            rules: rules.to_vec(),
        };
        versions
            .take(&set)
            .iter()
            .map(|plan| plan.version)
            .collect()
    }

    #[test]
    fn a_version_counts_changes_of_what_a_rule_computes() {
        let mut known = Versions::default();
        let (a, b) = (rule("a"), rule("b"));
        let wide = Rule {
            thin: Some(Thinning::deadband(1.0)),
            ..a.clone()
        };
        let loud = Rule {
            priority: Priority::High,
            forward: vec!["x".into()],
            ..a.clone()
        };
        assert_eq!(versions(&mut known, &[a.clone(), b.clone()]), [1, 1]);
        assert_eq!(versions(&mut known, &[loud, b.clone()]), [1, 1]);
        assert_eq!(versions(&mut known, &[wide, b.clone()]), [2, 1]);
        assert_eq!(versions(&mut known, &[b.clone(), a.clone()]), [1, 3]);
        assert_eq!(versions(&mut known, std::slice::from_ref(&a)), [3]);
        assert_eq!(versions(&mut known, &[a.clone(), b]), [3, 2], "b came back");
        assert_eq!(
            versions(&mut known, &[a.clone(), a]),
            [3],
            "one name, one rule"
        );
    }
}
