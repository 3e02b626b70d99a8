//! Resolve: from what was typed to what runs, with the checks that need more than one part.

mod budget;
pub(super) mod rules;
mod sinks;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tidegate_shared::ids::SiteName;

use super::doubt;
use super::mistake::{Findings, Kind, nearest};
use super::quantity::show_size;
use super::settings::{IntakeSettings, LogSettings, Settings};
use super::tree::short;
use super::typed::{Forward, Typed, TypedClock, TypedLimits, TypedLog};
use crate::entry::Limits;

/// Where the data directory is when `gateway.data_dir` is not given.
pub(super) const DATA_DIR: &str = "./tidegate-data";

/// Fills in defaults and checks the parts against each other; `None` when a part is missing, and
/// then its mistake is among the findings.
pub(super) fn resolve(typed: Typed, findings: &mut Findings) -> Option<Settings> {
    let rules = rules::resolve(&typed.rules, findings);
    rules::check_purpose(&typed.rules, findings);
    check_forwards(&typed, findings);
    let site = typed.gateway.site.as_ref().map(SiteName::as_str);
    doubt::note(&typed.rules, site, findings);
    sinks::check(&typed, findings);
    check_witnesses(&typed, findings);
    let log = resolve_log(&typed.log, findings);
    let limits = resolve_limits(&typed.limits, &typed.clock);
    let intake = resolve_intake(&typed.limits);
    let site = typed.gateway.site.as_ref().map(SiteName::as_str);
    let sinks = sinks::resolve(typed.sinks, site);
    let budget = typed.budget;
    let (sinks, rules) = (sinks?, rules?);
    if let Some(budget) = &budget {
        budget::doubt(budget, &sinks, &rules, findings);
    }
    Some(Settings {
        site: typed.gateway.site?,
        data_dir: typed
            .gateway
            .data_dir
            .unwrap_or_else(|| PathBuf::from(DATA_DIR)),
        limits,
        intake,
        mqtt: typed.mqtt?,
        log,
        // A budget that is mistaken is among the findings: nothing runs then.
        budget: budget.and_then(|budget| budget.settings),
        http: typed.http.settings,
        security: typed.security,
        witnesses: typed.witnesses.settings,
        sinks,
        rules,
    })
}

/// Without a key there is no audit log that a witness could cosign, and no witness.
fn check_witnesses(typed: &Typed, findings: &mut Findings) {
    if typed.security.key.is_some() {
        return;
    }
    if let Some(place) = &typed.http.witness {
        findings
            .mistake(
                Kind::Missing,
                place.clone(),
                "a witness has a secret, and there is no key that it could be sealed under",
                "a gateway is one where [security] names a key",
            )
            .help("add key = { file = \"…\" } under [security], or set witness = false");
    }
    if typed.witnesses.settings.is_empty() {
        return;
    }
    findings
        .mistake(
            Kind::Missing,
            typed.witnesses.place.clone(),
            "a witness is named, and there is no audit log that it could cosign",
            "a gateway has one where [security] names a key",
        )
        .help("add key = { file = \"…\" } under [security], or take the witness out");
}

fn resolve_limits(typed: &TypedLimits, clock: &TypedClock) -> Limits {
    let default = Limits::default();
    Limits {
        devices_max: typed.devices_max.unwrap_or(default.devices_max),
        pending_catalog_max: typed
            .pending_catalog_max
            .unwrap_or(default.pending_catalog_max),
        revise_for_us: typed.revise_for_us.unwrap_or(default.revise_for_us),
        offline_close_us: typed.offline_close_us.unwrap_or(default.offline_close_us),
        clock_wait_us: clock.wait_us.unwrap_or(default.clock_wait_us),
        clock_hold_bytes_max: clock.hold_bytes_max.unwrap_or(default.clock_hold_bytes_max),
    }
}

fn resolve_intake(typed: &TypedLimits) -> IntakeSettings {
    let default = IntakeSettings::default();
    IntakeSettings {
        pending_bytes_max: typed.pending_bytes_max.unwrap_or(default.pending_bytes_max),
        window_max: typed.window_max.unwrap_or(default.window_max),
    }
}

fn resolve_log(typed: &TypedLog, findings: &mut Findings) -> LogSettings {
    let default = LogSettings::default();
    let segment_bytes = typed.segment_bytes.unwrap_or(default.segment_bytes);
    if let Some((bytes_max, named)) = &typed.bytes_max
        && *bytes_max < segment_bytes
    {
        findings
            .mistake(
                Kind::Conflict,
                named.span.clone(),
                format!(
                    "`bytes_max` is less than one segment ({})",
                    show_size(segment_bytes)
                ),
                format!("{} would keep nothing for replay", named.text),
            )
            .help("raise `bytes_max` or lower `segment_bytes`");
    }
    LogSettings {
        commit_ms: typed.commit_ms.unwrap_or(default.commit_ms),
        segment_bytes,
        bytes_max: typed
            .bytes_max
            .as_ref()
            .map_or(default.bytes_max.max(segment_bytes), |(bytes, _)| *bytes),
    }
}

/// Every sink forwarded to must exist; every sink that exists should be forwarded to.
fn check_forwards(typed: &Typed, findings: &mut Findings) {
    let sinks: BTreeSet<&str> = typed
        .sinks
        .iter()
        .map(|sink| sink.name.text.as_str())
        .collect();
    let forwards = || typed.rules.iter().flat_map(|rule| rule.forward.sinks());
    for named in forwards().filter(|named| !sinks.contains(named.text.as_str())) {
        let help = nearest(&named.text, sinks.iter().copied()).map_or_else(
            || {
                if sinks.is_empty() {
                    "add a section [sink.NAME]".to_owned()
                } else {
                    let names: Vec<&str> = sinks.iter().copied().take(8).collect();
                    format!("the sinks are: {}", names.join(", "))
                }
            },
            |name| format!("did you mean \"{name}\"?"),
        );
        findings
            .mistake(
                Kind::UnknownName,
                named.span.clone(),
                format!("there is no sink \"{}\"", short(&named.text)),
                "expected the name of a [sink.NAME]",
            )
            .help(help);
    }
    if !typed.rules_given {
        findings
            .warning(
                Kind::Unused,
                0..0,
                "there are no rules",
                "samples are logged and counted as unmatched, nothing is sent",
            )
            .help("add a [[rule]]");
    }
    // Where a rule's sinks are not known for certain, neither is what nobody forwards to.
    let certain = !typed.rules.is_empty()
        && typed.rules.iter().all(|rule| match &rule.forward {
            Forward::Sinks(sinks) => !sinks.is_empty(),
            Forward::Nowhere(_) => rule.sound,
        })
        && forwards().all(|named| sinks.contains(named.text.as_str()));
    if !certain {
        return;
    }
    let used: BTreeSet<&str> = forwards().map(|named| named.text.as_str()).collect();
    for sink in typed
        .sinks
        .iter()
        .filter(|sink| !used.contains(sink.name.text.as_str()))
    {
        findings
            .warning(
                Kind::Unused,
                sink.name.span.clone(),
                format!(
                    "no rule forwards to the sink \"{}\"",
                    short(&sink.name.text)
                ),
                "nothing will be sent there",
            )
            .help("name it in a rule's `forward`, or take it out");
    }
}
