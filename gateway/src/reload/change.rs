//! Change: what another configuration changes of the one in force, and whether it can now.

use crate::budget::Action;
use crate::conductor::Reconfiguration;
use crate::entry::Limits;
use crate::rules::settings::{
    BudgetSettings, IntakeSettings, LogSettings, MqttSettings, Settings, SinkSettings,
};
use crate::rules::{Rule, RuleSet, show_duration, show_size};

/// What another configuration means for a running gateway.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// It says the same.
    Same,
    /// It changes what only a start can; the keys.
    NeedsRestart(Vec<String>),
    /// It can be taken.
    Takes(Change),
}

/// A change that a running gateway can take.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// For the conductor.
    pub reconfiguration: Reconfiguration,
    /// What changes, a line each.
    pub told: Vec<String>,
}

/// Judges `new` against what is in force.
pub fn judge(in_force: &Settings, new: &Settings) -> Judgement {
    let keys = keys_of_a_start(in_force, new);
    if !keys.is_empty() {
        return Judgement::NeedsRestart(keys);
    }
    let mut told = rules(&in_force.rules, &new.rules);
    told.extend(limits(in_force, new));
    told.extend(budget(in_force.budget.as_ref(), new.budget.as_ref()));
    if told.is_empty() {
        return Judgement::Same;
    }
    Judgement::Takes(Change {
        reconfiguration: Reconfiguration {
            rules: (in_force.rules != new.rules).then(|| new.rules.clone()),
            limits: (in_force.limits != new.limits).then_some(new.limits),
            window_max: new.intake.window_max,
            commit_ms: new.log.commit_ms,
            budget: new.budget,
        },
        told,
    })
}

/// The keys that differ and that only a start reads. Every field of the settings is named here or
/// in [`limits`], so that a new one is not forgotten.
fn keys_of_a_start(in_force: &Settings, new: &Settings) -> Vec<String> {
    let Settings {
        site,
        data_dir,
        limits: _,
        intake: IntakeSettings {
            pending_bytes_max,
            window_max: _,
        },
        mqtt,
        log:
            LogSettings {
                commit_ms: _,
                segment_bytes,
                bytes_max,
            },
        budget: _,
        http,
        security,
        witnesses,
        sinks,
        rules: _,
    } = in_force;
    let fixed = [
        ("gateway.site", *site != new.site),
        ("gateway.data_dir", *data_dir != new.data_dir),
        (mqtt_key(mqtt), *mqtt != new.mqtt),
        (
            "limits.pending_bytes_max",
            *pending_bytes_max != new.intake.pending_bytes_max,
        ),
        ("log.segment_bytes", *segment_bytes != new.log.segment_bytes),
        ("http", *http != new.http),
        ("security", *security != new.security),
        ("witness", *witnesses != new.witnesses),
        ("log.bytes_max", *bytes_max != new.log.bytes_max),
    ];
    let differs = fixed.into_iter().filter(|(_, differs)| *differs);
    let mut keys: Vec<String> = differs.map(|(key, _)| format!("{key} changed")).collect();
    keys.extend(changed_sinks(sinks, &new.sinks));
    keys
}

fn mqtt_key(mqtt: &MqttSettings) -> &'static str {
    match mqtt {
        MqttSettings::Embedded { .. } => "mqtt.embedded",
        MqttSettings::External { .. } => "mqtt.url",
    }
}

fn changed_sinks(in_force: &[SinkSettings], new: &[SinkSettings]) -> Vec<String> {
    let find = |name: &str| new.iter().find(|sink| sink.name == name);
    let mut told = Vec::new();
    for sink in in_force {
        match find(&sink.name) {
            None => told.push(format!("sink.{} removed", sink.name)),
            Some(other) if other != sink => told.push(format!("sink.{} changed", sink.name)),
            Some(_) => {}
        }
    }
    let added = new
        .iter()
        .filter(|sink| in_force.iter().all(|one| one.name != sink.name));
    told.extend(added.map(|sink| format!("sink.{} added", sink.name)));
    told
}

/// What changes of the rules, in the order of the new set, those that go last.
fn rules(in_force: &RuleSet, new: &RuleSet) -> Vec<String> {
    let find = |set: &RuleSet, name: &str| -> Option<Rule> {
        set.rules.iter().find(|rule| rule.name == name).cloned()
    };
    let mut told = Vec::new();
    for rule in &new.rules {
        let name = &rule.name;
        match find(in_force, name) {
            None => told.push(format!("rule {name} added")),
            Some(old) if old.computed() != rule.computed() => told.push(format!(
                "rule {name} changed: a new version; windows already open finish under the old one"
            )),
            Some(old) if old != *rule => told.push(format!(
                "rule {name} keeps its version: only where its records go, or their class, changed"
            )),
            Some(_) => {}
        }
    }
    let gone = in_force.rules.iter();
    let gone = gone.filter(|rule| find(new, &rule.name).is_none());
    told.extend(gone.map(|rule| format!("rule {} removed: its open windows finish", rule.name)));
    if told.is_empty() && in_force != new {
        told.push("the order of the rules changed".to_owned());
    }
    told
}

/// What changes of the budget.
fn budget(in_force: Option<&BudgetSettings>, new: Option<&BudgetSettings>) -> Vec<String> {
    let words = |budget: Option<&BudgetSettings>| {
        let none = "none".to_owned();
        budget.map_or([none.clone(), none.clone(), none], |budget| {
            let at_cap = match budget.at_cap {
                Action::Nothing => "nothing".to_owned(),
                Action::DropLow => "drop-low".to_owned(),
                Action::Coarsen { to_us } => format!("coarsen to {}", show_duration(to_us)),
            };
            let warn_at = f64::from(budget.warn_permille) / 1_000.0;
            [show_size(budget.cap_bytes), warn_at.to_string(), at_cap]
        })
    };
    let keys = ["budget.bytes_per_month", "budget.warn_at", "budget.at_cap"];
    let pairs = words(in_force).into_iter().zip(words(new));
    let changed = keys.into_iter().zip(pairs);
    changed
        .filter(|(_, (before, after))| before != after)
        .map(|(key, (before, after))| format!("{key}: {before} → {after}"))
        .collect()
}

/// What changes of the limits.
fn limits(in_force: &Settings, new: &Settings) -> Vec<String> {
    let Limits {
        devices_max,
        pending_catalog_max,
        revise_for_us,
        offline_close_us,
        clock_wait_us,
        clock_hold_bytes_max,
    } = in_force.limits;
    let number = |value: u64| value.to_string();
    let time = |us: i64| show_duration(us);
    let size = |bytes: u64| show_size(bytes);
    let limits = &new.limits;
    let pairs = [
        (
            "limits.devices_max",
            number(devices_max.into()),
            number(limits.devices_max.into()),
        ),
        (
            "limits.pending_catalog_max",
            number(pending_catalog_max.into()),
            number(limits.pending_catalog_max.into()),
        ),
        (
            "limits.revise_for",
            time(revise_for_us),
            time(limits.revise_for_us),
        ),
        (
            "limits.offline_close",
            time(offline_close_us),
            time(limits.offline_close_us),
        ),
        (
            "clock.wait",
            time(clock_wait_us),
            time(limits.clock_wait_us),
        ),
        (
            "clock.hold_bytes_max",
            size(clock_hold_bytes_max),
            size(limits.clock_hold_bytes_max),
        ),
        (
            "limits.window_max",
            number(in_force.intake.window_max.into()),
            number(new.intake.window_max.into()),
        ),
        (
            "log.commit_ms",
            number(in_force.log.commit_ms),
            number(new.log.commit_ms),
        ),
    ];
    let changed = pairs
        .into_iter()
        .filter(|(_, before, after)| before != after);
    changed
        .map(|(key, before, after)| format!("{key}: {before} → {after}"))
        .collect()
}
