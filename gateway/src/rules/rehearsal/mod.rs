//! Tests of rules: from a test's text to a [`Test`] that can run, or to every mistake at once.
//!
//! ```text
//! top       about, config | [[rule]], begin, until, within, others
//! gateway   [gateway] timeline ([`gateway`])
//! device    [device.NAME] hold, clock, sensors, timeline ([`device`], [`steps`])
//! expected  [[expect]] fields of records, [[counts]] sums of counters ([`expected`])
//! ```
//! A test names its configuration or contains rules itself; reading the former is the caller's.

mod counts;
mod device;
mod expected;
mod gateway;
mod steps;
mod time;

#[cfg(test)]
mod tests;

use std::ops::Range;

use tidegate_shared::ids::SiteName;
use toml::Spanned;
use toml::de::DeTable;

use self::expected::Names;
use super::mistake::{Findings, Kind, Mistake};
use super::parse::parse_as;
use super::resolve::rules;
use super::tree::{Section, Value, choice, list, text};
use super::typed::read_rules;
use super::{Rule, RuleSet, settings::Settings};
use crate::entry::Limits;
use crate::rehearsal::{
    CountsWanted, Device, EXPECTED_MAX, Expected, GatewayAct, GatewayStep, Test,
};

/// 2026-01-01T00:00:00Z: the beginning where none is given, a boundary of every window length
/// that divides a day.
const BEGIN_UTC_US: i64 = 1_767_225_600 * 1_000_000;

/// What rules a test runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruled {
    /// Site in the records.
    pub site: SiteName,
    /// The rules.
    pub rules: RuleSet,
    /// Limits that change what the pipeline does.
    pub limits: Limits,
}

impl From<Settings> for Ruled {
    fn from(settings: Settings) -> Self {
        Self {
            site: settings.site,
            rules: settings.rules,
            limits: settings.limits,
        }
    }
}

/// Reads a test; `file` is its name for people. `load` gets the name of a configuration as the
/// test writes it, and gives what stands there or why it cannot be used; a test may name several.
///
/// Gives the test, or every mistake in the order of the text.
pub fn parse_test(
    text: &str,
    file: &str,
    mut load: impl FnMut(&str) -> Result<Ruled, String>,
) -> Result<Test, Vec<Mistake>> {
    let (mut test, _) = parse_as(text, file, |tree, findings| read(tree, &mut load, findings))?;
    // Until here a line is an offset in the text.
    let line = |offset: usize| {
        let before = text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    };
    for one in test.expected.iter_mut().flatten() {
        one.line = line(one.line);
    }
    for one in &mut test.counts {
        one.line = line(one.line);
    }
    Ok(test)
}

fn read(
    tree: &Spanned<DeTable<'_>>,
    load: &mut dyn FnMut(&str) -> Result<Ruled, String>,
    findings: &mut Findings,
) -> Option<Test> {
    let mut top = Section::new("the test", 0..0, tree.get_ref(), &[]);
    let about = top
        .get("about")
        .and_then(|value| text("`about`", value, "a sentence", findings));
    let begin = top.get("begin");
    let begin_utc_us = begin.map_or(Some(BEGIN_UTC_US), |value| {
        time::read_begin(value, findings)
    });
    let until_us = top.get("until").map(|value| {
        let expected = "a duration from the beginning, such as \"10m\"";
        time::read_offset("`until`", value, begin_utc_us, expected, findings)
    });
    let within = top
        .get("within")
        .map_or(Some(0.0), |value| expected::read_within(value, findings));
    let others_ignored = top.get("others").map_or(Some(false), |value| {
        let choices = [("refused", false), ("ignored", true)];
        choice("`others`", value, &choices, findings)
    });
    let ruled = read_ruled(&mut top, load, findings);
    let limits = ruled.as_ref().map(|ruled| ruled.limits);
    let gateway = top.get("gateway").map_or(Some(Vec::new()), |value| {
        gateway::read(value, limits.unwrap_or_default(), load, findings)
    });
    let devices = top
        .need("device", "[device.NAME] with a timeline")
        .map(|value| device::read_devices(value, findings))
        .unwrap_or_default();
    let all_rules = ruled.as_ref().zip(gateway.as_ref());
    let all_rules = all_rules.map(|(ruled, gateway)| all_rules_of(ruled, gateway));
    let names = Names {
        devices: &devices,
        rules: all_rules.as_deref(),
        begin_utc_us: begin_utc_us.unwrap_or(BEGIN_UTC_US),
    };
    let within = within.unwrap_or(0.0);
    let (expected, counts) = read_expectations(&mut top, within, &names, findings);
    top.close(findings);
    let ruled = ruled?;
    Some(Test {
        about: about.map(str::to_owned),
        site: ruled.site,
        begin_utc_us: begin_utc_us?,
        until_us: match until_us {
            Some(until_us) => Some(until_us?),
            None => None,
        },
        rules: ruled.rules,
        limits: ruled.limits,
        gateway: gateway?,
        devices: devices.into_iter().collect::<Option<Vec<Device>>>()?,
        expected,
        others_ignored: others_ignored?,
        counts,
    })
}

/// The rules that are in force at some time.
fn all_rules_of(ruled: &Ruled, gateway: &[GatewayStep]) -> Vec<Rule> {
    let later = gateway.iter().flat_map(|step| match &step.act {
        GatewayAct::Rules(ruled) => ruled.0.rules.as_slice(),
        GatewayAct::Restart(_) | GatewayAct::Outage(_) => &[],
    });
    ruled.rules.rules.iter().chain(later).cloned().collect()
}

/// `[[expect]]` and `[[counts]]`, one of which there must be.
fn read_expectations(
    top: &mut Section<'_, '_>,
    within: f64,
    names: &Names<'_>,
    findings: &mut Findings,
) -> (Option<Vec<Expected>>, Vec<CountsWanted>) {
    let expected = top.get("expect").map(|value| {
        let values = sections("expect", value, findings);
        let read = |(number, value)| expected::read(number, value, within, names, findings);
        (1..).zip(values).filter_map(read).collect()
    });
    let counts_typed = top.get("counts");
    let counts = counts_typed
        .map(|value| {
            let values = sections("counts", value, findings);
            let read = |(number, value)| counts::read(number, value, names, findings);
            (1..).zip(values).filter_map(read).collect()
        })
        .unwrap_or_default();
    if expected.is_none() && counts_typed.is_none() && !top.misspelt("expect") {
        findings
            .mistake(
                Kind::Missing,
                0..0,
                "the test expects nothing",
                "`expect` or `counts` must be given",
            )
            .help("add [[expect]] with fields of a record, or expect = [] if none is to come");
    }
    (expected, counts)
}

/// The rules: of the configuration named, or those that stand here.
fn read_ruled(
    top: &mut Section<'_, '_>,
    load: &mut dyn FnMut(&str) -> Result<Ruled, String>,
    findings: &mut Findings,
) -> Option<Ruled> {
    let config = top.get("config");
    let own = top.get("rule");
    match (config, own) {
        (Some(config), None) => {
            let expected = "a path from this file, such as \"tidegate.toml\"";
            gateway::load_named("`config`", config, expected, load, findings)
        }
        (None, Some(own)) => {
            let typed = read_rules(own, findings);
            let rules = rules::resolve(&typed, findings);
            rules::check_purpose(&typed, findings);
            Some(Ruled {
                site: SiteName::try_from("test").ok()?,
                rules: rules?,
                limits: Limits::default(),
            })
        }
        (Some(config), Some(_)) => {
            findings
                .mistake(
                    Kind::Conflict,
                    config.span(),
                    "the test names a configuration and has rules of its own",
                    "only one of the two is run",
                )
                .help("take out `config` or every [[rule]]");
            None
        }
        (None, None) => {
            if !top.misspelt("config") && !top.misspelt("rule") {
                findings
                    .mistake(
                        Kind::Missing,
                        0..0,
                        "the test has no rules",
                        "`config` or [[rule]] must be given",
                    )
                    .help("add config = \"tidegate.toml\", a path from this file");
            }
            None
        }
    }
}

/// The tables of `[[expect]]` or `[[counts]]`, not more than are allowed.
fn sections<'v, 't>(
    name: &'static str,
    value: &'v Value<'t>,
    findings: &mut Findings,
) -> &'v [Value<'t>] {
    let expected = format!("sections that begin with [[{name}]]");
    let values = list(&format!("`{name}`"), value, &expected, findings).unwrap_or_default();
    check_most(name, values.len(), EXPECTED_MAX, value.span(), findings);
    values.get(..EXPECTED_MAX).unwrap_or(values)
}

/// Notes when there are too many of something.
fn check_most(what: &str, found: usize, max: usize, span: Range<usize>, findings: &mut Findings) {
    if found > max {
        findings.mistake(
            Kind::OutOfRange,
            span,
            format!("`{what}` has {found} entries"),
            format!("at most {max} are allowed"),
        );
    }
}
