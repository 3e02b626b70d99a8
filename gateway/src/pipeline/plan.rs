//! Plans: rules with their versions, and their bounds resolved to raw integers of a sensor.
//!
//! A rule is its name. Its version counts changes of what it computes: everything but `forward`
//! and `priority`. A rule that is removed and comes back counts as changed, so that a window cut
//! in two by it never has one id with two contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_shared::catalog::Scale;
use tidegate_shared::mutation::{Mutation, is_on};

use super::decimal;
use crate::rules::{Aggregate, Keep, Late, Rule, RuleSet, Window};

/// Most rules of a set: a lane names its plan by 16 bits, earlier versions included. A larger set
/// is not taken and counts as an unreadable entry.
pub(super) const RULES_MAX: usize = 4_096;

/// A rule as it computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub rule: Rule,
    /// Version, from 1.
    pub version: u32,
}

impl Plan {
    /// Length and lateness of the windows in µs, if there are any.
    pub fn window(&self) -> Option<(i64, i64, Late)> {
        let Window::Tumbling {
            length_us,
            lateness_us,
            late,
        } = self.rule.window?;
        Some((length_us.max(1), lateness_us.max(0), late))
    }

    /// Start and end of the window that holds a time, if there are any.
    pub fn window_at(&self, time_us: i64) -> Option<(i64, i64)> {
        let (length_us, _, _) = self.window()?;
        let start_us = super::lane::window_start(time_us, length_us);
        Some((start_us, start_us.saturating_add(length_us)))
    }

    /// Lateness in µs; 0 without windows.
    pub fn lateness_us(&self) -> i64 {
        self.window().map_or(0, |(_, lateness_us, _)| lateness_us)
    }

    /// Whether sums of squares are asked for.
    pub fn wants_squares(&self) -> bool {
        self.rule.aggregates.contains(&Aggregate::Stddev)
    }

    /// Whether the samples' distribution is asked for.
    pub fn wants_distribution(&self) -> bool {
        let mut all = self.rule.aggregates.iter();
        all.any(|one| matches!(one, Aggregate::Percentile(_)))
    }

    /// Whether both are one rule in one version.
    pub fn is_version_of(&self, other: &Self) -> bool {
        self.rule.name == other.rule.name && self.version == other.version
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

/// A rule's bounds as raw integers of one sensor, so that comparing integers decides exactly as
/// comparing the values' floats would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bounds {
    /// Lowest raw kept.
    pub low: i64,
    /// Highest raw kept; below `low` when nothing is.
    pub high: i64,
    /// Raws closer than this to the last kept one are filtered; 0 filters none.
    pub deadband: u64,
}

impl Bounds {
    /// Resolves a rule's bounds for a sensor.
    pub fn new(rule: &Rule, scale: &Scale) -> Self {
        let value = |raw| decimal::number(scale.mantissa(raw), scale.exponent);
        let Keep { min, max } = rule.keep.unwrap_or(Keep {
            min: None,
            max: None,
        });
        let low = min.map_or(Some(i64::MIN), |min| {
            first(i64::MIN, i64::MAX, |raw| value(raw) >= min)
        });
        let high = max.map_or(Some(i64::MAX), |max| {
            match first(i64::MIN, i64::MAX, |raw| value(raw) > max) {
                Some(above) => above.checked_sub(1),
                None => Some(i64::MAX),
            }
        });
        let (low, high) = low.zip(high).unwrap_or((i64::MAX, i64::MIN));
        let deadband = rule.deadband.map_or(0, |deadband| {
            let step = i128::from(scale.step);
            // Half of the range of differences is searched: a wider deadband filters everything.
            first(0, i64::MAX, |apart| {
                decimal::number(i128::from(apart) * step, scale.exponent) >= deadband
            })
            .map_or(u64::MAX, i64::unsigned_abs)
        });
        Self {
            low,
            high,
            deadband,
        }
    }
}

/// The first integer of `low..=high` for which a monotone condition holds.
fn first(low: i64, high: i64, holds: impl Fn(i64) -> bool) -> Option<i64> {
    let (mut low, mut high) = (i128::from(low), i128::from(high) + 1);
    let end = high;
    while low < high {
        let middle = (low + high).div_euclid(2);
        if holds(middle as i64) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < end).then_some(low as i64)
}

/// Whether a text matches a glob of `*` (any bytes) and `?` (one byte).
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Match, Priority};
    use proptest::prelude::*;

    pub fn rule(name: &str) -> Rule {
        Rule {
            name: name.into(),
            matching: Match {
                device: "*".into(),
                sensor: "*".into(),
            },
            keep: None,
            deadband: None,
            window: None,
            aggregates: Vec::new(),
            priority: Priority::Normal,
            forward: Vec::new(),
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
            deadband: Some(1.0),
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

    #[test]
    fn globs_match_as_shells_do() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("pump-*", "pump-12", true),
            ("pump-*", "pum-12", false),
            ("*.rms", "vibration.rms", true),
            ("*.rms", "vibration.rmsx", false),
            ("p?m*1", "pump-11", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn bounds_that_keep_nothing_keep_nothing() {
        let keep = |min, max| Rule {
            keep: Some(Keep { min, max }),
            ..rule("r")
        };
        let scale = Scale::decimal(-2);
        let none = Bounds::new(&keep(Some(1.0), Some(0.5)), &scale);
        assert!(none.low > none.high);
        let all = Bounds::new(&rule("r"), &scale);
        assert_eq!((all.low, all.high, all.deadband), (i64::MIN, i64::MAX, 0));
        let never = Bounds::new(&keep(Some(f64::MAX), None), &scale);
        assert!(never.low > never.high);
        let never = Bounds::new(&keep(None, Some(f64::MIN)), &scale);
        assert!(never.low > never.high);
    }

    proptest! {
        #[test]
        fn integer_bounds_decide_as_floats_do(
            raws in prop::collection::vec(-2_000_i64..2_000, 1..50),
            min in -10.0_f64..10.0,
            max in -10.0_f64..10.0,
            deadband in 0.0_f64..3.0,
            exponent in -3_i8..=0,
            step in 1_u32..4,
            offset in -100_i64..100,
        ) {
            let scale = Scale { step, offset, exponent };
            let rule = Rule {
                keep: Some(Keep { min: Some(min), max: Some(max) }),
                deadband: Some(deadband),
                ..rule("r")
            };
            let bounds = Bounds::new(&rule, &scale);
            for raw in raws {
                let value = decimal::number(scale.mantissa(raw), exponent);
                prop_assert_eq!(bounds.low <= raw && raw <= bounds.high, min <= value && value <= max);
                let apart = decimal::number(i128::from(raw.unsigned_abs()) * i128::from(step), exponent);
                prop_assert_eq!(raw.unsigned_abs() < bounds.deadband, apart < deadband);
            }
        }
    }
}
