//! Typed: the configuration as somebody typed it, each part read on its own and with its place.
//!
//! A part that was mistaken is absent here and noted in the findings; what the parts mean
//! together is worked out in [`super::resolve`].

mod budget;
mod gateway;
mod http;
mod listen;
mod mqtt;
mod rule;
mod security;
mod sink;
mod tls;
mod witness;

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

pub(super) use self::budget::{AT_CAP, TypedBudget};
pub(super) use self::gateway::DEVICES_MAX_BOUND;
pub(super) use self::gateway::{TypedClock, TypedGateway, TypedLimits, TypedLog};
pub(super) use self::http::{HOST_BYTES_MAX, HOSTS_MAX, TypedHttp};
pub(super) use self::rule::{Forward, TypedAlert, TypedMatch, TypedRule, TypedSource, bounds};
pub(super) use self::security::{FRAMES, OFFENCES, PUBLISHERS, UNTIL_RELEASED};
pub(super) use self::sink::{HEADERS_MAX, TypedSink, type_names};
pub(super) use self::witness::{TypedWitnesses, WITNESSES_MAX};
use super::mistake::{Findings, Kind};
use super::settings::{MqttSettings, SecuritySettings};
use super::tree::{Section, Value, list};

/// Most rules of a configuration: each costs a match per sensor of a catalog and state per
/// window, and what needs more is better said with globs.
pub const RULES_MAX: usize = 1_000;
/// Most sinks of a configuration: each costs a connection and a queue per priority.
pub const SINKS_MAX: usize = 64;
/// Bytes of a sink's or rule's name, which becomes part of a path or of a counter's name.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Sections of later versions.
const LATER: &[&str] = &["alert", "audit", "device", "pipeline", "update"];

/// A text of the file with its place.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The text.
    pub(super) text: String,
    /// Where it stands.
    pub(super) span: Range<usize>,
}

/// Something was given and is among the findings.
struct Mistaken;

/// What was typed; what is absent was not given or was mistaken.
#[derive(Debug, Default)]
pub(super) struct Typed {
    pub(super) gateway: TypedGateway,
    pub(super) mqtt: Option<MqttSettings>,
    pub(super) log: TypedLog,
    pub(super) limits: TypedLimits,
    pub(super) clock: TypedClock,
    pub(super) budget: Option<TypedBudget>,
    pub(super) http: TypedHttp,
    pub(super) security: SecuritySettings,
    pub(super) witnesses: TypedWitnesses,
    pub(super) sinks: Vec<TypedSink>,
    pub(super) rules: Vec<TypedRule>,
    /// Whether rules were typed at all, be it in a way that cannot be read.
    pub(super) rules_given: bool,
}

impl Typed {
    /// Reads the whole tree.
    pub(super) fn read(tree: &Spanned<DeTable<'_>>, findings: &mut Findings) -> Self {
        let mut top = Section::new("the configuration", 0..0, tree.get_ref(), LATER);
        let gateway = top
            .need("gateway", "[gateway] with site = \"pump-house\"")
            .and_then(|value| section("[gateway]", value, gateway::LATER, findings))
            .map(|section| TypedGateway::read(section, findings))
            .unwrap_or_default();
        let mqtt = top
            .need(
                "mqtt",
                "[mqtt] with url = \"mqtt://127.0.0.1:1883\" or embedded = { listen = \"127.0.0.1:1883\" }")
            .and_then(|value| section("[mqtt]", value, mqtt::LATER, findings))
            .and_then(|section| mqtt::read(section, findings));
        let log = top
            .get("log")
            .and_then(|value| section("[log]", value, &[], findings))
            .map(|section| TypedLog::read(section, findings))
            .unwrap_or_default();
        let limits = top
            .get("limits")
            .and_then(|value| section("[limits]", value, gateway::LATER_LIMITS, findings))
            .map(|section| TypedLimits::read(section, findings))
            .unwrap_or_default();
        let clock = top
            .get("clock")
            .and_then(|value| section("[clock]", value, &[], findings))
            .map(|section| TypedClock::read(section, findings))
            .unwrap_or_default();
        let budget = top
            .get("budget")
            .and_then(|value| section("[budget]", value, &[], findings))
            .map(|section| TypedBudget::read(section, findings));
        let http = top
            .get("http")
            .and_then(|value| section("[http]", value, &[], findings))
            .map(|section| http::read(section, findings))
            .unwrap_or_default();
        let security = top
            .get("security")
            .and_then(|value| section("[security]", value, &[], findings))
            .map(|section| security::read(section, findings))
            .unwrap_or_default();
        let witnesses = top
            .get("witness")
            .and_then(|value| witness::read(value, findings))
            .unwrap_or_default();
        let sinks = top
            .get("sink")
            .map(|value| read_sinks(value, findings))
            .unwrap_or_default();
        let rules = top
            .get("rule")
            .map(|value| read_rules(value, findings))
            .unwrap_or_default();
        let rules_given = top.get("rule").is_some() || top.misspelt("rule");
        top.close(findings);
        Self {
            gateway,
            mqtt,
            log,
            limits,
            clock,
            budget,
            http,
            security,
            witnesses,
            sinks,
            rules,
            rules_given,
        }
    }
}

fn section<'v, 't>(
    title: &str,
    value: &'v Value<'t>,
    later: &'static [&'static str],
    findings: &mut Findings,
) -> Option<Section<'v, 't>> {
    let expected = format!("a section that begins with {title}");
    Section::of_value(title, value, later, &expected, findings)
}

fn read_sinks(value: &Value<'_>, findings: &mut Findings) -> Vec<TypedSink> {
    let expected = "sections that begin with [sink.NAME]";
    let Some(section) = Section::of_value("`sink`", value, &[], expected, findings) else {
        return Vec::new();
    };
    too_many(
        "sinks",
        section.entries().count(),
        SINKS_MAX,
        value,
        findings,
    );
    section
        .entries()
        .take(SINKS_MAX)
        .map(|(name, span, value)| TypedSink::read(name, span, value, findings))
        .collect()
}

pub(super) fn read_rules(value: &Value<'_>, findings: &mut Findings) -> Vec<TypedRule> {
    if value.get_ref().is_table() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "[rule] is one table, rules are a list",
                "two brackets on each side",
            )
            .help("write [[rule]] before each rule");
        return Vec::new();
    }
    let Some(values) = list(
        "`rule`",
        value,
        "sections that begin with [[rule]]",
        findings,
    ) else {
        return Vec::new();
    };
    too_many("rules", values.len(), RULES_MAX, value, findings);
    values
        .iter()
        .take(RULES_MAX)
        .enumerate()
        .filter_map(|(index, value)| TypedRule::read(index, value, findings))
        .collect()
}

fn too_many(what: &str, found: usize, max: usize, value: &Value<'_>, findings: &mut Findings) {
    if found > max {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            format!("there are {found} {what}"),
            format!("at most {max} {what} are allowed"),
        );
    }
}

/// Checks the name of a sink or a rule: `[A-Za-z0-9._-]`, beginning with a letter or digit.
fn check_name(what: &str, name: &str, span: Range<usize>, findings: &mut Findings) -> bool {
    let begins = name.starts_with(|sign: char| sign.is_ascii_alphanumeric());
    let signs = name.bytes().all(tidegate_shared::ids::is_name_byte);
    let fits = begins && signs && name.len() <= NAME_BYTES_MAX;
    if !fits {
        findings.mistake(
            Kind::Malformed,
            span,
            format!("this cannot be the name of a {what}"),
            format!(
                "expected 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
            ),
        );
    }
    fits
}
