//! Twins: rules that compute the same and send it to the same sinks.

use std::collections::BTreeMap;

use crate::rules::mistake::{Findings, Kind};
use crate::rules::resolve::rules::resolve_rule;
use crate::rules::typed::TypedRule;
use crate::rules::{Rule, RuleSet, Source};

/// Notes each rule that an earlier one makes useless.
pub(super) fn note(rules: &[TypedRule], findings: &mut Findings) {
    let mut seen: BTreeMap<String, &TypedRule> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.sound) {
        let (Some(name), Some(does)) = (&rule.name, does(rule)) else {
            continue;
        };
        let Some(earlier) = seen.get(&does) else {
            seen.insert(does, rule);
            continue;
        };
        findings
            .warning(
                Kind::Unused,
                name.span.clone(),
                format!("{} does what {} does", rule.title, earlier.title),
                "every record goes out twice, under two names",
            )
            .help("take one of them out");
    }
}

/// What a rule does, as a text; its name and class say nothing of that.
fn does(typed: &TypedRule) -> Option<String> {
    let from = typed.from.as_ref().map(|from| Source {
        rule: from.rule.text.clone(),
        value: from
            .value
            .as_ref()
            .map(|value| value.text.clone())
            .unwrap_or_default(),
        decimals: from.decimals,
    });
    let rule = resolve_rule(typed, from)?;
    // What feeds other rules alone is one thing for each of them.
    if rule.forward.is_empty() {
        return None;
    }
    let mut forward = rule.forward.clone();
    forward.sort();
    let rule = Rule {
        name: String::new(),
        forward,
        ..rule.computed()
    };
    Some(RuleSet { rules: vec![rule] }.to_json())
}
