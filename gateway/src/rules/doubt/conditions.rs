//! Conditions that hold never or always, alerts that flap, inputs that nothing looks at.

use std::ops::Range;

use super::values::{Holding, Values};
use crate::rules::expression::Tree;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::typed::{TypedAlert, TypedRule};
use crate::rules::{Aggregate, Derivation, Expression};

/// Notes what is doubtful about the conditions of a rule.
pub(super) fn note(rule: &TypedRule, findings: &mut Findings) {
    // What `derive` makes of a value may be any number.
    let mut possible = match (&rule.derive, &rule.keep) {
        (None, Some(keep)) => Values::kept(keep.get_ref()),
        _ => Values::all(),
    };
    if let Some(when) = &rule.when {
        let holding = holding(when.get_ref());
        note_when(rule, when.span(), &holding, &possible, findings);
        possible = possible.and(&holding.perhaps);
    }
    if possible.is_empty() {
        return;
    }
    if let Some(alert) = &rule.alert {
        note_alert(rule, alert, &possible, findings);
    }
    for aggregate in &rule.aggregates {
        let Aggregate::ShareOfTime { name, condition } = aggregate.get_ref() else {
            continue;
        };
        let share = match Fate::of(&holding(condition), &possible) {
            Fate::Never => 0,
            Fate::Always => 1,
            Fate::Open => continue,
        };
        findings
            .warning(
                Kind::Never,
                aggregate.span(),
                format!("the share of time `{name}` is always {share}"),
                "no value that comes this far changes it",
            )
            .help("mend its condition, or take it out");
    }
    note_inputs(rule, findings);
}

fn holding(expression: &Expression) -> Holding {
    match expression.tree() {
        Tree::Condition(condition) => Holding::of(condition),
        Tree::Number(_) | Tree::Text(_) => Holding::open(),
    }
}

/// What becomes of a condition over the values that come to it.
enum Fate {
    Never,
    Always,
    Open,
}

impl Fate {
    fn of(holding: &Holding, possible: &Values) -> Self {
        if holding.perhaps.and(possible).is_empty() {
            Self::Never
        } else if holding.surely.covers(possible) {
            Self::Always
        } else {
            Self::Open
        }
    }
}

/// Why a condition is decided that comes behind some steps.
fn why(possible: &Values, behind: &'static str) -> &'static str {
    if *possible == Values::all() {
        "whatever the value is"
    } else {
        behind
    }
}

const BEHIND_KEEP: &str = "for every value that `keep` lets through";
const BEHIND_WHEN: &str = "for every value that `keep` and `when` let through";

fn note_when(
    rule: &TypedRule,
    place: Range<usize>,
    holding: &Holding,
    possible: &Values,
    findings: &mut Findings,
) {
    match Fate::of(holding, possible) {
        Fate::Never => findings
            .warning(
                Kind::Never,
                place,
                format!("{} never does anything: `when` does not hold", rule.title),
                why(possible, BEHIND_KEEP),
            )
            .help("mend the condition, or take the rule out"),
        Fate::Always => findings
            .warning(
                Kind::Unused,
                place,
                format!("`when` of {} always holds", rule.title),
                why(possible, BEHIND_KEEP),
            )
            .help("take it out"),
        Fate::Open => {}
    }
}

fn note_alert(rule: &TypedRule, alert: &TypedAlert, possible: &Values, findings: &mut Findings) {
    let Some(when) = &alert.settings.when else {
        return;
    };
    let when = holding(when);
    match Fate::of(&when, possible) {
        Fate::Never => findings
            .warning(
                Kind::Never,
                alert.when.clone(),
                format!("the alert of {} never opens", rule.title),
                format!("`when` does not hold, {}", why(possible, BEHIND_WHEN)),
            )
            .help("mend the condition"),
        Fate::Always => findings
            .warning(
                Kind::Doubtful,
                alert.when.clone(),
                format!("the alert of {} opens with the first sample", rule.title),
                format!("`when` holds, {}", why(possible, BEHIND_WHEN)),
            )
            .help("mend the condition"),
        Fate::Open => {}
    }
    let Some(clear) = &alert.settings.clear else {
        return;
    };
    let clear = holding(clear);
    if let Fate::Never = Fate::of(&clear, possible) {
        findings
            .warning(
                Kind::Never,
                alert.clear.clone(),
                format!("the alert of {} never clears", rule.title),
                format!("`clear` does not hold, {}", why(possible, BEHIND_WHEN)),
            )
            .help("leave `clear` out to clear it when `when` does not hold");
        return;
    }
    let both = when.surely.and(&clear.surely).and(possible);
    if let Some(value) = both.example() {
        findings
            .warning(
                Kind::Doubtful,
                alert.clear.clone(),
                format!("the alert of {} flaps", rule.title),
                format!("at {value} `when` and `clear` hold together"),
            )
            .help("leave a gap between them, or leave `clear` out");
    }
}

/// Every sensor that a rule waits for should matter.
fn note_inputs(rule: &TypedRule, findings: &mut Findings) {
    let derived = rule
        .derive
        .as_ref()
        .and_then(|derive| match &derive.get_ref().what {
            Derivation::Value(expression) => Some(expression),
            Derivation::Rate { .. } | Derivation::Integral { .. } => None,
        });
    let alert = rule.alert.as_ref().map(|alert| &alert.settings);
    let expressions = [
        derived,
        rule.when.as_ref().map(toml::Spanned::get_ref),
        alert.and_then(|alert| alert.when.as_ref()),
        alert.and_then(|alert| alert.clear.as_ref()),
    ];
    for input in &rule.inputs {
        let alias = &input.get_ref().alias;
        let mut used = expressions.iter().flatten();
        if used.any(|expression| names(&expression.text, alias)) {
            continue;
        }
        findings
            .warning(
                Kind::Unused,
                input.span(),
                format!("nothing in {} looks at `{alias}`", rule.title),
                "`derive`, `when` and `alert` may",
            )
            .help("take it out");
    }
}

/// Whether a word is in an expression, be it inside a text.
fn names(expression: &str, word: &str) -> bool {
    expression
        .split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_')
        .any(|one| one == word)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_name_is_a_whole_word() {
        assert!(names("value * q", "q"));
        assert!(names("(q)", "q"));
        assert!(!names("value * q2 + iq", "q"));
    }
}
