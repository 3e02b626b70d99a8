//! Coarsening: the rules as they run when windows are to be longer.

use std::collections::BTreeSet;

use crate::rules::{Priority, Rule, RuleSet, Shape};

/// The rules with every tumbling window shorter than `to_us` at that length, but for those of high
/// priority and those whose records reach one of high priority.
#[must_use]
pub fn coarsened(set: &RuleSet, to_us: i64) -> RuleSet {
    let kept = untouched(set);
    let rules = set.rules.iter().map(|rule| {
        if kept.contains(rule.name.as_str()) {
            rule.clone()
        } else {
            coarser(rule, to_us)
        }
    });
    RuleSet {
        rules: rules.collect(),
    }
}

/// Rules of high priority, and those that feed them.
fn untouched(set: &RuleSet) -> BTreeSet<&str> {
    let high = set.rules.iter();
    let high = high.filter(|rule| rule.priority == Priority::High);
    let mut kept: BTreeSet<&str> = high.map(|rule| rule.name.as_str()).collect();
    loop {
        let before = kept.len();
        for rule in &set.rules {
            if let Some(source) = rule
                .from
                .as_ref()
                .filter(|_| kept.contains(rule.name.as_str()))
            {
                kept.insert(&source.rule);
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}

fn coarser(rule: &Rule, to_us: i64) -> Rule {
    let mut rule = rule.clone();
    if let Some(window) = &mut rule.window
        && let Shape::Tumbling { length_us } = &mut window.shape
        && *length_us < to_us
    {
        // A value holds for a window's length unless the rule says otherwise.
        if window.hold_us == *length_us {
            window.hold_us = to_us;
        }
        *length_us = to_us;
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Late, Source, Window};

    const MINUTE_US: i64 = 60_000_000;

    fn rule(name: &str, minutes: i64, priority: Priority) -> Rule {
        Rule {
            name: name.into(),
            window: Some(Window::tumbling(minutes * MINUTE_US, 0, Late::Revise)),
            priority,
            ..Rule::default()
        }
    }

    fn minutes(set: &RuleSet) -> Vec<i64> {
        let windows = set.rules.iter().filter_map(|rule| rule.window.as_ref());
        windows
            .map(|window| match window.shape {
                Shape::Tumbling { length_us } => length_us / MINUTE_US,
                _ => 0,
            })
            .collect()
    }

    #[test]
    fn shorter_windows_of_low_and_normal_rules_become_longer() {
        let set = RuleSet {
            rules: vec![
                rule("low", 1, Priority::Low),
                rule("normal", 5, Priority::Normal),
                rule("high", 1, Priority::High),
                rule("long", 120, Priority::Low),
            ],
        };
        let coarse = coarsened(&set, 60 * MINUTE_US);
        assert_eq!(minutes(&coarse), [60, 60, 1, 120]);
        assert_eq!(
            coarse.rules[0].window.as_ref().unwrap().hold_us,
            60 * MINUTE_US
        );
        assert_eq!(coarsened(&coarse, 60 * MINUTE_US), coarse);
    }

    #[test]
    fn what_feeds_a_high_rule_stays() {
        let from = |rule: &str| {
            Some(Source {
                rule: rule.into(),
                value: "mean".into(),
                decimals: 3,
            })
        };
        let mut middle = rule("middle", 5, Priority::Normal);
        middle.from = from("source");
        let mut top = rule("top", 10, Priority::High);
        top.from = from("middle");
        let mut aside = rule("aside", 5, Priority::Low);
        aside.from = from("source");
        let set = RuleSet {
            rules: vec![aside, top, middle, rule("source", 1, Priority::Low)],
        };
        assert_eq!(minutes(&coarsened(&set, 60 * MINUTE_US)), [60, 10, 5, 1]);
    }
}
