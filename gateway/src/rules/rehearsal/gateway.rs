//! `[gateway]`: what the gateway itself goes through.

use super::Ruled;
use crate::entry::Limits;
use crate::rehearsal::{GatewayAct, GatewayStep, STEP_US_MAX};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::resolve::rules;
use crate::rules::tree::{Section, Value, duration, list, short, text};
use crate::rules::typed::read_rules;

/// The keys of which a step has one.
const ACTS: [&str; 3] = ["restart", "outage", "rules"];

/// Reads the gateway's timeline. `limits` are those in force before; `load` reads a configuration.
pub(super) fn read(
    value: &Value<'_>,
    limits: Limits,
    load: &mut dyn FnMut(&str) -> Result<Ruled, String>,
    findings: &mut Findings,
) -> Option<Vec<GatewayStep>> {
    let expected = "a section that begins with [gateway]";
    let mut section = Section::of_value("[gateway]", value, &[], expected, findings)?;
    let timeline = section.need(
        "timeline",
        "timeline = [{ at = \"10m\", restart = \"30s\" }]",
    );
    let timeline = timeline.and_then(|value| {
        let expected = "a list of steps such as { at = \"10m\", outage = \"5m\" }";
        list("`timeline`", value, expected, findings)
    });
    section.close(findings);
    let mut limits = limits;
    let mut over_us = 0;
    let steps: Vec<Option<GatewayStep>> = timeline?
        .iter()
        .map(|value| {
            let step = read_step(value, over_us, &mut limits, load, findings)?;
            over_us = step.end_us();
            Some(step)
        })
        .collect();
    steps.into_iter().collect()
}

fn read_step(
    value: &Value<'_>,
    over_us: i64,
    limits: &mut Limits,
    load: &mut dyn FnMut(&str) -> Result<Ruled, String>,
    findings: &mut Findings,
) -> Option<GatewayStep> {
    let expected = "a step such as { at = \"10m\", restart = \"30s\" }";
    let mut section = Section::of_value("the step", value, &[], expected, findings)?;
    let at_us = section.get("at").map_or(Some(over_us), |value| {
        let at_us = duration("`at`", value, 0..=STEP_US_MAX, findings)?;
        if at_us < over_us {
            findings.mistake(
                Kind::Conflict,
                value.span(),
                "the step begins before the one before it is over",
                "a gateway goes through one thing at a time, in the order of the list",
            );
            return None;
        }
        Some(at_us)
    });
    let given: Vec<(&str, &Value<'_>)> = ACTS
        .into_iter()
        .filter_map(|name| Some((name, section.get(name)?)))
        .collect();
    let act = if let [(name, value)] = given.as_slice() {
        read_act(name, value, limits, load, findings)
    } else {
        if given.len() > 1 || !ACTS.iter().any(|name| section.misspelt(name)) {
            findings.mistake(
                Kind::Conflict,
                section.span.clone(),
                "the step has not one act",
                format!("expected one of {}", ACTS.join(", ")),
            );
        }
        None
    };
    section.close(findings);
    Some(GatewayStep {
        at_us: at_us?,
        act: act?,
    })
}

fn read_act(
    name: &str,
    value: &Value<'_>,
    limits: &mut Limits,
    load: &mut dyn FnMut(&str) -> Result<Ruled, String>,
    findings: &mut Findings,
) -> Option<GatewayAct> {
    if name != "rules" {
        let us = duration(&format!("`{name}`"), value, 1_000..=STEP_US_MAX, findings)?;
        return Some(match name {
            "restart" => GatewayAct::Restart(us),
            _ => GatewayAct::Outage(us),
        });
    }
    if value.get_ref().is_array() {
        let typed = read_rules(value, findings);
        let rules = rules::resolve(&typed, findings);
        rules::check_purpose(&typed, findings);
        return Some(GatewayAct::Rules(Box::new((rules?, *limits))));
    }
    let expected = "a configuration such as \"other.toml\", or a list of rules";
    let ruled = load_named("`rules`", value, expected, load, findings)?;
    *limits = ruled.limits;
    Some(GatewayAct::Rules(Box::new((ruled.rules, ruled.limits))))
}

/// Reads the configuration that a test names.
pub(super) fn load_named(
    name: &str,
    value: &Value<'_>,
    expected: &str,
    load: &mut dyn FnMut(&str) -> Result<Ruled, String>,
    findings: &mut Findings,
) -> Option<Ruled> {
    let path = text(name, value, expected, findings)?;
    let ruled = load(path);
    if let Err(why) = &ruled {
        findings.mistake(
            Kind::Malformed,
            value.span(),
            format!("the configuration {} cannot be used", short(path)),
            why,
        );
    }
    ruled.ok()
}
