//! Rules: each with its defaults, and the records that one takes from another.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::tree::short;
use crate::rules::typed::{Forward, TypedRule, TypedSource};
use crate::rules::{Aggregate, Group, Rule, RuleSet, Source};

/// The value of records that are a sample each.
const VALUE: &str = "value";

/// Fills in defaults and looks up what rules take from each other; `None` when a part is
/// missing, and then its mistake is among the findings.
pub(in crate::rules) fn resolve(typed: &[TypedRule], findings: &mut Findings) -> Option<RuleSet> {
    check_names(typed, findings);
    let by_name = by_name(typed);
    check_circles(typed, &by_name, findings);
    let rules: Vec<Option<Rule>> = typed
        .iter()
        .map(|rule| {
            let source = match &rule.from {
                Some(from) => Some(resolve_source(rule, from, &by_name, findings)?),
                None => None,
            };
            resolve_rule(rule, source)
        })
        .collect();
    Some(RuleSet {
        rules: rules.into_iter().collect::<Option<_>>()?,
    })
}

/// Fills in the defaults of one rule; what it takes from another is looked up already.
pub(in crate::rules) fn resolve_rule(typed: &TypedRule, from: Option<Source>) -> Option<Rule> {
    Some(Rule {
        name: typed.name.as_ref()?.text.clone(),
        from,
        matching: typed.matching.as_ref()?.resolved(),
        keep: part(typed.keep.as_ref()),
        inputs: parts(&typed.inputs),
        max_age_us: typed.max_age_us.unwrap_or_default(),
        derive: part(typed.derive.as_ref()),
        when: part(typed.when.as_ref()),
        thin: part(typed.thin.as_ref()),
        heartbeat_us: typed.heartbeat_us,
        window: part(typed.window.as_ref()),
        aggregates: parts(&typed.aggregates),
        group: part(typed.group.as_ref()).unwrap_or_default(),
        alert: typed.alert.as_ref().map(|alert| alert.settings.clone()),
        priority: typed.priority.unwrap_or_default(),
        forward: typed
            .forward
            .sinks()
            .iter()
            .map(|sink| sink.text.clone())
            .collect(),
    })
}

fn part<T: Clone>(typed: Option<&Spanned<T>>) -> Option<T> {
    Some(typed?.get_ref().clone())
}

fn parts<T: Clone>(typed: &[Spanned<T>]) -> Vec<T> {
    typed.iter().map(|one| one.get_ref().clone()).collect()
}

/// A rule is its name: no two may share one.
fn check_names(rules: &[TypedRule], findings: &mut Findings) {
    let mut taken = BTreeSet::new();
    for name in rules.iter().filter_map(|rule| rule.name.as_ref()) {
        if !taken.insert(&name.text) {
            findings.mistake(
                Kind::Duplicate,
                name.span.clone(),
                format!("another rule is called \"{}\"", short(&name.text)),
                "a rule is known by its name in records and counters",
            );
        }
    }
}

/// Rules by name, the first of each.
type ByName<'t> = BTreeMap<&'t str, &'t TypedRule>;

fn by_name(typed: &[TypedRule]) -> ByName<'_> {
    let named = typed.iter().rev();
    named
        .filter_map(|rule| Some((rule.name.as_ref()?.text.as_str(), rule)))
        .collect()
}

/// Looks up the rule and the value that records come from.
fn resolve_source(
    rule: &TypedRule,
    from: &TypedSource,
    by_name: &ByName<'_>,
    findings: &mut Findings,
) -> Option<Source> {
    let wanted = &from.rule;
    let Some(made_by) = by_name.get(wanted.text.as_str()) else {
        let help = nearest(&wanted.text, by_name.keys().copied())
            .map(|name| format!("did you mean \"{name}\"?"));
        findings
            .mistake(
                Kind::UnknownName,
                wanted.span.clone(),
                format!("there is no rule \"{}\"", short(&wanted.text)),
                "expected the name of another rule",
            )
            .help_maybe(help);
        return None;
    };
    if made_by.alert.is_some() {
        findings
            .mistake(
                Kind::Conflict,
                wanted.span.clone(),
                format!("{} has an alert", made_by.title),
                "an alert's records are no samples",
            )
            .help("take the records of the rule that the alert itself watches");
        return None;
    }
    let group = made_by.group.as_ref().map(|group| *group.get_ref());
    if group == Some(Group::Device) {
        findings
            .mistake(
                Kind::Conflict,
                wanted.span.clone(),
                format!("records of {} hold several sensors", made_by.title),
                "a sample is one value of one sensor",
            )
            .help("take from a rule without group = \"device\"");
        return None;
    }
    // What a mistaken rule would make is not known.
    if !made_by.sound || !rule.sound {
        return None;
    }
    let made = Made::of(made_by);
    let value = match &from.value {
        None => made.only(from, findings)?,
        Some(value) => made.pick(value, findings)?,
    };
    Some(Source {
        rule: wanted.text.clone(),
        value,
        decimals: from.decimals,
    })
}

/// The values of a rule's records.
struct Made {
    title: String,
    /// Those that are one number.
    numbers: Vec<String>,
    histograms: Vec<String>,
}

impl Made {
    fn of(rule: &TypedRule) -> Self {
        let mut made = Self {
            title: rule.title.clone(),
            numbers: Vec::new(),
            histograms: Vec::new(),
        };
        if rule.window.is_none() {
            made.numbers.push(VALUE.to_owned());
        }
        for aggregate in &rule.aggregates {
            let name = aggregate.get_ref().name();
            match aggregate.get_ref() {
                Aggregate::Histogram { .. } => made.histograms.push(name),
                _ => made.numbers.push(name),
            }
        }
        made
    }

    /// The one value there is, for who names none.
    fn only(&self, from: &TypedSource, findings: &mut Findings) -> Option<String> {
        if let [only] = self.numbers.as_slice() {
            return Some(only.clone());
        }
        let rule = &from.rule.text;
        let (expected, help) = match self.numbers.first() {
            Some(first) => (
                format!("its values are: {}", self.numbers.join(", ")),
                Some(format!(
                    "write from = {{ rule = \"{rule}\", value = \"{first}\" }}"
                )),
            ),
            None => ("a histogram is no sample".to_owned(), None),
        };
        findings
            .mistake(
                Kind::Missing,
                from.rule.span.clone(),
                format!("`from` names no value of {}", self.title),
                expected,
            )
            .help_maybe(help);
        None
    }

    /// The value with a name.
    fn pick(&self, value: &crate::rules::typed::Named, findings: &mut Findings) -> Option<String> {
        if self.numbers.contains(&value.text) {
            return Some(value.text.clone());
        }
        let (message, help) = if self.histograms.contains(&value.text) {
            (
                format!("`{}` of {} is a histogram", value.text, self.title),
                None,
            )
        } else {
            (
                format!("{} makes no value `{}`", self.title, short(&value.text)),
                nearest(&value.text, self.numbers.iter().map(String::as_str)),
            )
        };
        findings
            .mistake(
                Kind::UnknownName,
                value.span.clone(),
                message,
                if self.numbers.is_empty() {
                    "a histogram is no sample".to_owned()
                } else {
                    format!("expected one of: {}", self.numbers.join(", "))
                },
            )
            .help_maybe(help.map(|name| format!("did you mean \"{name}\"?")));
        None
    }
}

/// No rule may take, over others or not, from itself.
fn check_circles(typed: &[TypedRule], by_name: &ByName<'_>, findings: &mut Findings) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for rule in typed {
        let mut chain: Vec<&str> = Vec::new();
        let mut next = rule.name.as_ref().map(|name| name.text.as_str());
        while let Some(name) = next.filter(|name| !seen.contains(name)) {
            seen.insert(name);
            chain.push(name);
            let from = by_name.get(name).and_then(|rule| rule.from.as_ref());
            next = from.map(|from| from.rule.text.as_str());
        }
        let closed = next.and_then(|name| chain.iter().position(|one| *one == name));
        let Some(circle) = closed.and_then(|begin| chain.get(begin..)) else {
            continue;
        };
        let from = circle
            .first()
            .and_then(|name| by_name.get(name)?.from.as_ref());
        let Some(from) = from else { continue };
        let (message, expected) = if circle.len() == 1 {
            ("a rule takes from itself".to_owned(), String::new())
        } else {
            let names = circle.iter().chain(circle.first());
            let names: Vec<String> = names.map(|name| short(name)).collect();
            (
                "rules take from each other in a circle".to_owned(),
                names.join(" from "),
            )
        };
        findings
            .mistake(Kind::Conflict, from.rule.span.clone(), message, expected)
            .help("take from a rule over sensors");
    }
}

/// A rule whose records go to no sink needs another one that takes them.
pub(in crate::rules) fn check_purpose(typed: &[TypedRule], findings: &mut Findings) {
    let taken: BTreeSet<&str> = typed
        .iter()
        .filter_map(|rule| Some(rule.from.as_ref()?.rule.text.as_str()))
        .collect();
    for rule in typed {
        let Forward::Nowhere(place) = &rule.forward else {
            continue;
        };
        let name = rule.name.as_ref().map(|name| name.text.as_str());
        if name.is_some_and(|name| taken.contains(name)) {
            continue;
        }
        findings
            .mistake(
                Kind::Missing,
                place.clone(),
                format!("{} forwards nowhere", rule.title),
                "expected at least one sink, or another rule with `from` this one",
            )
            .help("add forward = [\"NAME\"] with the name of a [sink.NAME]");
    }
}
