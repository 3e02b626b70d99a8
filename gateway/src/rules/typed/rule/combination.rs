//! Combination: which keys of a rule go together.

use super::TypedRule;
use crate::rules::mistake::{Findings, Kind};
use crate::rules::tree::Section;
use crate::rules::{Group, Shape};

/// Ways to leave out samples, of which a rule has at most one.
const THINNING: [&str; 4] = ["deadband", "on_change", "decimate", "max_error"];

/// Keys that exclude each other: which, beside which, why, and what to do.
const APART: &[(&str, &str, &str, &str)] = &[
    (
        "max_error",
        "window",
        "which samples pass is known only behind them",
        "thin by `deadband`, `on_change` or `decimate`, or leave `window` out",
    ),
    (
        "max_error",
        "alert",
        "which samples pass is known only behind them",
        "an alert looks at every sample: leave `max_error` out",
    ),
    (
        "deadband",
        "alert",
        "an alert looks at every sample",
        "leave `deadband` out; `clear` and `for` keep an alert steady",
    ),
    (
        "on_change",
        "alert",
        "an alert looks at every sample",
        "leave `on_change` out; `clear` and `for` keep an alert steady",
    ),
    (
        "decimate",
        "alert",
        "an alert looks at every sample",
        "leave `decimate` out; `clear` and `for` keep an alert steady",
    ),
    (
        "window",
        "alert",
        "an alert watches samples as they come",
        "watch a window's values by a second rule with `from` this one",
    ),
    (
        "aggregate",
        "alert",
        "an alert watches samples as they come",
        "watch a window's values by a second rule with `from` this one",
    ),
];

/// Checks the keys of a rule against each other. Ask when every key was asked for.
pub(super) fn check(rule: &TypedRule, section: &Section<'_, '_>, findings: &mut Findings) {
    check_thinning(section, findings);
    for (key, other, why, help) in APART {
        if section.holds(key) && section.holds(other) {
            conflict(section, key, other, why, findings).help(*help);
        }
    }
    check_window(section, findings);
    check_group(rule, section, findings);
    check_inputs(rule, section, findings);
    let alert = rule.alert.as_ref().map(|alert| &alert.settings);
    if alert.is_some_and(|alert| alert.silent_for_us.is_some()) && section.holds("from") {
        conflict(
            section,
            "alert",
            "from",
            "records have no silence",
            findings,
        )
        .help("put `silent_for` into a rule over the sensors themselves");
    }
}

fn conflict<'f>(
    section: &Section<'_, '_>,
    key: &str,
    other: &str,
    why: &str,
    findings: &'f mut Findings,
) -> &'f mut crate::rules::mistake::Found {
    findings.mistake(
        Kind::Conflict,
        section.place(key),
        format!("`{key}` in {} beside `{other}`", section.title),
        why,
    )
}

fn check_thinning(section: &Section<'_, '_>, findings: &mut Findings) {
    let given: Vec<&str> = THINNING
        .into_iter()
        .filter(|key| section.holds(key))
        .collect();
    if let [first, others @ ..] = given.as_slice() {
        for other in others {
            let why = "a rule thins its samples in one way";
            conflict(section, other, first, why, findings);
        }
        return;
    }
    if section.holds("heartbeat") && !THINNING.iter().any(|key| section.misspelt(key)) {
        findings
            .mistake(
                Kind::Conflict,
                section.place("heartbeat"),
                format!("`heartbeat` in {} has nothing to break", section.title),
                "it lets a sample pass that thinning would leave out",
            )
            .help("add deadband = 0.2, or take `heartbeat` out");
    }
}

/// A window and aggregates need each other.
fn check_window(section: &Section<'_, '_>, findings: &mut Findings) {
    if section.holds("alert") {
        return;
    }
    match (section.holds("window"), section.holds("aggregate")) {
        (true, false) if !section.misspelt("aggregate") => findings
            .mistake(
                Kind::Missing,
                section.value_place("window"),
                format!("{} has a window but no `aggregate`", section.title),
                "nothing is computed of this window",
            )
            .help("add aggregate = [\"count\", \"mean\"]"),
        (false, true) if !section.misspelt("window") => findings
            .mistake(
                Kind::Missing,
                section.value_place("aggregate"),
                format!("{} has aggregates but no `window`", section.title),
                "there is nothing to compute these of",
            )
            .help("add window = { tumbling = \"1m\", lateness = \"30s\" }"),
        _ => {}
    }
}

fn check_group(rule: &TypedRule, section: &Section<'_, '_>, findings: &mut Findings) {
    let Some(group) = &rule.group else { return };
    let place = group.span();
    let title = &section.title;
    let mut refuse = |message: String, why: &str, help: &str| {
        findings
            .mistake(Kind::Conflict, place.clone(), message, why)
            .help(help);
    };
    let group = *group.get_ref();
    if group == Group::Sensor {
        return;
    }
    for key in ["alert", "max_error"] {
        if section.holds(key) {
            refuse(
                format!("`group` in {title} beside `{key}`"),
                "it is worked out for each sensor alone",
                "leave `group` out",
            );
        }
    }
    let help = "add window = { tumbling = \"1m\" } and aggregate = [\"mean\"]";
    if group == Group::Site && !section.holds("from") && !section.misspelt("from") {
        refuse(
            format!("`group` in {title} is \"site\" without `from`"),
            "devices meet in a rule over records",
            "make records by a rule for each device, and name it: from = { rule = \"minute\", value = \"mean\" }",
        );
    }
    if group != Group::Device || section.holds("alert") {
        return;
    }
    if section.holds("from") {
        refuse(
            format!("`group` in {title} is \"device\" beside `from`"),
            "a rule over records makes a record for each sensor, or one over the site",
            "leave `group` out, or write group = \"site\"",
        );
        return;
    }
    if !section.holds("window") && !section.misspelt("window") && !section.holds("max_error") {
        refuse(
            format!("`group` in {title} is \"device\" without `window`"),
            "without a window each sample is a record of its own",
            help,
        );
    }
    let shape = rule.window.as_ref().map(|window| &window.get_ref().shape);
    let kind = match shape {
        Some(Shape::Session { .. }) => "session",
        Some(Shape::Count { .. }) => "count",
        Some(Shape::Sliding { .. }) => "sliding",
        _ => return,
    };
    refuse(
        format!("`group` in {title} is \"device\" with {kind} windows"),
        "these begin and end with each sensor's own samples",
        "use tumbling, hopping or calendar windows, which all sensors share",
    );
}

fn check_inputs(rule: &TypedRule, section: &Section<'_, '_>, findings: &mut Findings) {
    let title = &section.title;
    match (section.holds("with"), section.holds("max_age")) {
        (true, false) if !section.misspelt("max_age") => findings
            .mistake(
                Kind::Missing,
                section.place("with"),
                format!("{title} has `with` but no `max_age`"),
                "`max_age` says how old another sensor's value may be",
            )
            .help("add max_age = \"10s\""),
        (false, true) if !section.misspelt("with") => findings
            .mistake(
                Kind::Conflict,
                section.place("max_age"),
                format!("`max_age` in {title} without `with`"),
                "there is no other sensor whose value could be old",
            )
            .help("add with = { q = \"flow\" }, or take `max_age` out"),
        _ => {}
    }
    let group = rule.group.as_ref().map(|group| *group.get_ref());
    let over_devices = section.holds("from") && group == Some(Group::Site);
    let unclear = section.holds("group") && group.is_none();
    if over_devices || unclear {
        return;
    }
    for input in &rule.inputs {
        if input.get_ref().device.is_some() {
            findings
                .mistake(
                    Kind::Conflict,
                    input.span(),
                    format!(
                        "`{}` of {title} is a sensor of another device",
                        input.get_ref().alias
                    ),
                    "devices meet in a rule with `from` and group = \"site\"",
                )
                .help("leave `device` out to take the sample's own device");
        }
    }
}
