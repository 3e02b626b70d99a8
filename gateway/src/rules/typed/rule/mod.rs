//! `[[rule]]`: what to do with which samples.
//!
//! ```text
//! matching     from, match, with, max_age       which samples
//! steps        keep, derive, when, thinning     what becomes of each
//! window       window                           how they are grouped in time
//! aggregate    aggregate                        what is computed of a group
//! alert        alert                            the condition that is watched
//! combination  which of these go together
//! ```

mod aggregate;
mod alert;
mod combination;
mod formula;
mod matching;
mod steps;
mod window;

#[cfg(test)]
mod tests;

use std::ops::Range;

use toml::Spanned;

pub(in crate::rules) use self::alert::TypedAlert;
pub(in crate::rules) use self::matching::{TypedMatch, TypedSource};
use super::{Named, SINKS_MAX, check_name};
use crate::budget::RESERVED;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::{Section, Value, choice, list, short, text};
use crate::rules::{Aggregate, Derive, Expression, Group, Input, Keep, Priority, Thinning, Window};

/// What the schema says of a rule's keys beside their types.
pub(in crate::rules) mod bounds {
    pub(in crate::rules) use super::aggregate::{AGGREGATES_MAX, BOUNDS_MAX, aggregate_names};
    pub(in crate::rules) use super::alert::HISTORIC_US;
    pub(in crate::rules) use super::matching::{
        DECIMALS, DECIMALS_MOST, GLOB_BYTES_MAX, GLOBS_MAX, INPUTS_MAX,
    };
    pub(in crate::rules) use super::steps::GAP_US;
    pub(in crate::rules) use super::window::{COUNTS, LATENESS_US, SESSION_US};
}

/// Longest time that a rule may name: a month.
pub(in crate::rules) const TIME_US_MAX: i64 = 31 * 86_400 * 1_000_000;
/// Shortest time that a rule may name where 0 makes no sense: what quantities are written in.
pub(in crate::rules) const TIME_US_MIN: i64 = 1_000;

/// Keys of a rule that later versions know.
const LATER: &[&str] = &["budget"];
/// Keys that people look for in a rule itself, and what to write instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("by", "did you mean `group`?"),
    ("clear", "put it into `alert`: alert = { clear = \"…\" }"),
    ("device", "put it into `match`: match = { device = \"…\" }"),
    ("every", "put it into `window`: window = { every = \"…\" }"),
    ("filter", "did you mean `when`?"),
    ("for", "put it into `alert`: alert = { for = \"…\" }"),
    (
        "historic_after",
        "put it into `alert`: alert = { historic_after = \"…\" }",
    ),
    ("hold", "put it into `window`: window = { hold = \"…\" }"),
    (
        "hopping",
        "put it into `window`: window = { hopping = \"…\" }",
    ),
    ("join", "did you mean `with`?"),
    ("kind", "put it into `match`: match = { kind = \"…\" }"),
    ("late", "put it into `window`: window = { late = \"…\" }"),
    (
        "lateness",
        "put it into `window`: window = { lateness = \"…\" }",
    ),
    ("max", "put it into `keep`: keep = { max = … }"),
    (
        "max_gap",
        "put it into `derive`: derive = { max_gap = \"…\" }",
    ),
    ("min", "put it into `keep`: keep = { min = … }"),
    ("rate_max", "put it into `keep`: keep = { rate_max = … }"),
    ("repeat", "put it into `alert`: alert = { repeat = \"…\" }"),
    ("sensor", "put it into `match`: match = { sensor = \"…\" }"),
    (
        "session",
        "put it into `window`: window = { session = \"…\" }",
    ),
    (
        "silent_for",
        "put it into `alert`: alert = { silent_for = \"…\" }",
    ),
    ("site", "put it into `match`: match = { site = \"…\" }"),
    (
        "sliding",
        "put it into `window`: window = { sliding = \"…\" }",
    ),
    ("tags", "put it into `match`: match = { tags = \"…\" }"),
    (
        "tumbling",
        "put it into `window`: window = { tumbling = \"…\" }",
    ),
    ("unit", "put it into `match`: match = { unit = \"…\" }"),
    ("where", "did you mean `when`?"),
];

/// A rule as typed.
#[derive(Debug)]
pub(in crate::rules) struct TypedRule {
    /// What it is called in messages.
    pub(in crate::rules) title: String,
    /// Whether all of it could be read: what it makes is certain.
    pub(in crate::rules) sound: bool,
    /// `name`.
    pub(in crate::rules) name: Option<Named>,
    /// `from`: a name not yet looked up.
    pub(in crate::rules) from: Option<TypedSource>,
    /// `match`.
    pub(in crate::rules) matching: Option<TypedMatch>,
    /// `keep`.
    pub(in crate::rules) keep: Option<Spanned<Keep>>,
    /// `with`.
    pub(in crate::rules) inputs: Vec<Spanned<Input>>,
    /// `max_age` in µs.
    pub(in crate::rules) max_age_us: Option<i64>,
    /// `derive`.
    pub(in crate::rules) derive: Option<Spanned<Derive>>,
    /// `when`.
    pub(in crate::rules) when: Option<Spanned<Expression>>,
    /// `deadband`, `on_change`, `decimate` or `max_error`.
    pub(in crate::rules) thin: Option<Spanned<Thinning>>,
    /// `heartbeat` in µs.
    pub(in crate::rules) heartbeat_us: Option<i64>,
    /// `window`.
    pub(in crate::rules) window: Option<Spanned<Window>>,
    /// `aggregate`.
    pub(in crate::rules) aggregates: Vec<Spanned<Aggregate>>,
    /// `group`.
    pub(in crate::rules) group: Option<Spanned<Group>>,
    /// `alert`.
    pub(in crate::rules) alert: Option<TypedAlert>,
    /// `priority`.
    pub(in crate::rules) priority: Option<Priority>,
    /// `forward`: names not yet looked up.
    pub(in crate::rules) forward: Forward,
}

/// `forward` as typed.
#[derive(Debug)]
pub(in crate::rules) enum Forward {
    /// Sinks; none when what was typed is mistaken.
    Sinks(Vec<Named>),
    /// It is missing or names none: its place, or the rule's.
    Nowhere(Range<usize>),
}

impl Forward {
    /// The sinks' names.
    pub(in crate::rules) fn sinks(&self) -> &[Named] {
        match self {
            Self::Sinks(sinks) => sinks,
            Self::Nowhere(_) => &[],
        }
    }
}

impl TypedRule {
    pub(in crate::rules::typed) fn read(
        index: usize,
        value: &Value<'_>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let before = findings.mistakes();
        let title = value
            .get_ref()
            .get("name")
            .and_then(|name| name.get_ref().as_str())
            .map_or_else(
                || format!("[[rule]] number {}", index + 1),
                |name| format!("rule \"{}\"", short(name)),
            );
        let expected = "a section that begins with [[rule]]";
        let mut section = Section::of_value(title, value, LATER, expected, findings)?;
        section.elsewhere = ELSEWHERE;
        let rule = Self::read_keys(&mut section, findings);
        combination::check(&rule, &section, findings);
        section.close(findings);
        Some(Self {
            sound: findings.mistakes() == before,
            ..rule
        })
    }

    fn read_keys(section: &mut Section<'_, '_>, findings: &mut Findings) -> Self {
        let name = section
            .need("name", "name = \"minute\"")
            .and_then(|value| read_name(value, findings));
        let from = section
            .get("from")
            .and_then(|value| matching::read_source(value, findings));
        let matching = matching::read_match(section, findings);
        let keep = section
            .get("keep")
            .and_then(|value| steps::read_keep(value, findings));
        let with = section.get("with");
        let inputs = with.map(|value| matching::read_inputs(value, findings));
        let inputs = inputs.unwrap_or_default();
        let max_age_us = matching::read_max_age(section, findings);
        let names = formula::Names::of(with);
        let derive = section
            .get("derive")
            .and_then(|value| steps::read_derive(value, &names, findings));
        let when = section
            .get("when")
            .and_then(|value| names.condition("`when`", value, findings));
        let thin = steps::read_thinning(section, findings);
        let heartbeat_us = section
            .get("heartbeat")
            .and_then(|value| time("`heartbeat`", value, findings));
        let window = section
            .get("window")
            .and_then(|value| window::read_window(value, findings));
        let aggregates = section
            .get("aggregate")
            .map(|value| aggregate::read_aggregates(value, findings));
        let group = section.get("group").and_then(|value| {
            let choices = [
                ("sensor", Group::Sensor),
                ("device", Group::Device),
                ("site", Group::Site),
            ];
            let group = choice("`group`", value, &choices, findings)?;
            Some(Spanned::new(value.span(), group))
        });
        let alert = section
            .get("alert")
            .and_then(|value| alert::read_alert(value, &names, findings));
        let priority = section.get("priority").and_then(|value| {
            let choices = [
                ("low", Priority::Low),
                ("normal", Priority::Normal),
                ("high", Priority::High),
            ];
            choice("`priority`", value, &choices, findings)
        });
        let forward = read_forward(section, findings);
        Self {
            title: section.title.clone(),
            sound: false,
            name,
            from,
            matching,
            keep,
            inputs,
            max_age_us,
            derive,
            when,
            thin,
            heartbeat_us,
            window,
            aggregates: aggregates.unwrap_or_default(),
            group,
            alert,
            priority,
            forward,
        }
    }
}

fn read_name(value: &Value<'_>, findings: &mut Findings) -> Option<Named> {
    let typed = text("`name`", value, "a text such as \"minute\"", findings)?;
    if typed.starts_with(RESERVED) {
        findings
            .mistake(
                Kind::Malformed,
                value.span(),
                format!("names that begin with \"{RESERVED}\" are the gateway's own"),
                "its own records carry them, such as those that tell of the budget",
            )
            .help("choose another name");
        return None;
    }
    check_name("rule", typed, value.span(), findings).then(|| named(typed, value.span()))
}

fn named(text: &str, span: Range<usize>) -> Named {
    Named {
        text: text.to_owned(),
        span,
    }
}

/// Reads a time that cannot be 0, in µs.
fn time(name: &str, value: &Value<'_>, findings: &mut Findings) -> Option<i64> {
    let bounds = TIME_US_MIN..=TIME_US_MAX;
    crate::rules::tree::duration(name, value, bounds, findings)
}

/// Whether a text can be the name of a value or an alias: `[a-z_][a-z0-9_]*`, at most 32.
fn is_word(typed: &str) -> bool {
    typed.len() <= 32
        && typed.starts_with(|sign: char| sign.is_ascii_lowercase() || sign == '_')
        && typed
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Notes a table in which exactly one of some keys must be given; gives the one that is.
fn one_of<'v, 't>(
    name: &str,
    section: &mut Section<'v, 't>,
    keys: &[&'static str],
    example: &str,
    findings: &mut Findings,
) -> Option<(&'static str, &'v Value<'t>)> {
    let mut given = keys
        .iter()
        .filter_map(|key| Some((*key, section.get(key)?)))
        .collect::<Vec<_>>()
        .into_iter();
    let first = given.next();
    for (key, _) in given {
        let other = first.map(|(key, _)| key).unwrap_or_default();
        findings.mistake(
            Kind::Conflict,
            section.place(key),
            format!("`{key}` in {name} beside `{other}`"),
            "only one of them can be",
        );
    }
    if first.is_none() && !keys.iter().any(|key| section.misspelt(key)) {
        findings
            .mistake(
                Kind::Missing,
                section.span.clone(),
                format!("{name} does not say what it is"),
                format!("expected one of {}", keys.join(", ")),
            )
            .help(format!("write {example}"));
    }
    first
}

fn read_forward(section: &mut Section<'_, '_>, findings: &mut Findings) -> Forward {
    let Some(value) = section.get("forward") else {
        let place = section.span.clone();
        return if section.misspelt("forward") {
            Forward::Sinks(Vec::new())
        } else {
            Forward::Nowhere(place)
        };
    };
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`forward` is a text",
                "expected a list of sinks",
            )
            .help(format!("write forward = [\"{}\"]", short(typed)));
        return Forward::Sinks(vec![named(typed, value.span())]);
    }
    let Some(values) = list("`forward`", value, "a list such as [\"cloud\"]", findings) else {
        return Forward::Sinks(Vec::new());
    };
    if values.is_empty() {
        return Forward::Nowhere(value.span());
    }
    if values.len() > SINKS_MAX {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("`forward` has {} names", values.len()),
            format!("at most {SINKS_MAX} sinks are allowed"),
        );
    }
    Forward::Sinks(read_sinks(values, findings))
}

fn read_sinks(values: &[Value<'_>], findings: &mut Findings) -> Vec<Named> {
    let mut sinks: Vec<Named> = Vec::new();
    for value in values.iter().take(SINKS_MAX) {
        let Some(typed) = text("a sink's name", value, "a text such as \"cloud\"", findings) else {
            continue;
        };
        if sinks.iter().any(|sink| sink.text == typed) {
            findings.mistake(
                Kind::Duplicate,
                value.span(),
                format!("the sink \"{}\" is there twice", short(typed)),
                "a record goes to each sink once",
            );
            continue;
        }
        sinks.push(named(typed, value.span()));
    }
    sinks
}
