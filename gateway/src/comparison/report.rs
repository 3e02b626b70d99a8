//! Report: the difference, as it is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::alerts::{Alerts, AlertsCompared};
use super::curves::{Drawn, Name, Shape};
use super::delivered::Delivered;
use super::errors::NotCompared;
use super::side::{Side, Tally};
use super::upstream::{Cost, Sent};
use super::warm_up::WarmUp;
use crate::explain::stretch::Extent;
use crate::record::rfc3339;
use crate::rules::{Rule, RuleSet};

/// What other rules would have made of a stretch of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was replayed.
    pub log: Extent,
    /// Whether the rules tried compute or forward anything else than those in force where the
    /// stretch ends.
    pub rules_differ: bool,
    /// How often the log's own rules changed within the stretch in what they compute.
    pub rules_changed: u64,
    /// Rule by rule, by name.
    pub rules: Vec<RuleRow>,
    /// All rules together.
    pub total: Sides<Sums>,
    /// Sink by sink.
    pub sinks: Vec<SinkRow>,
    /// Sinks that the log's rules forward to and the configuration does not have: what they cost
    /// is not known.
    pub sinks_unknown: Vec<String>,
    /// Alerts gained and lost.
    pub alerts: AlertsCompared,
    /// Rule by rule and sensor by sensor: how near a curve redrawn from the records is.
    pub curves: Vec<CurveRow>,
}

/// The same of both sides.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// Under the log's own rules.
    pub logged: T,
    /// Under the rules tried.
    pub tried: T,
}

/// How a rule tried is to the one in force where the stretch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The same.
    Same,
    /// It computes the same and forwards elsewhere, or in another class.
    Forward,
    /// It computes something else.
    Changed,
    /// The log does not have it there.
    Added,
    /// Only the log has it.
    Removed,
}

/// A rule on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleRow {
    /// Its name.
    pub rule: String,
    /// What the rules tried change of it.
    pub change: Change,
    /// What it gave; `null` on a side that does not have it.
    #[serde(flatten)]
    pub sides: Sides<Option<Sums>>,
    /// Of the rules tried: what began before the replay.
    pub warm_up: Option<WarmUp>,
}

/// Records, samples and bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Records.
    pub records: u64,
    /// Samples they count for the first time.
    pub samples: u64,
    /// Bytes upstream, bodies and heads, over all sinks.
    pub sent_bytes: u64,
    /// What of it goes to which sink.
    pub sinks: BTreeMap<String, Cost>,
}

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkRow {
    /// Its name.
    pub sink: String,
    /// The estimates.
    #[serde(flatten)]
    pub sides: Sides<Sent>,
    /// What it confirmed of the log's own records; `null` when the journal has nothing of them.
    pub delivered: Option<Delivered>,
}

/// A curve on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurveRow {
    /// Rule.
    pub rule: String,
    /// Sensor.
    pub sensor: String,
    /// Its unit.
    pub unit: String,
    /// How near the curve is; `null` on a side without one.
    #[serde(flatten)]
    pub sides: Sides<Option<Fidelity>>,
}

/// How near a redrawn curve is, over all devices; errors in the sensor's unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// How it is drawn.
    pub shape: Shape,
    /// Samples compared.
    pub compared: u64,
    /// The largest error; `null` when nothing was compared.
    pub largest_error: Option<f64>,
    /// Time of the sample that is farthest off.
    pub largest_at: Option<String>,
    /// Its device.
    pub largest_device: Option<String>,
    /// The root of the mean of the squared errors.
    pub rms_error: Option<f64>,
    /// Samples not compared, by reason.
    pub not_compared: NotCompared,
}

/// What a comparison came to, before it is laid side by side.
pub(super) struct Ended<'a> {
    pub extent: Extent,
    pub logged: Side,
    pub tried: Side,
    /// The rules in force where the stretch ends.
    pub in_force: &'a RuleSet,
    pub rules_tried: &'a RuleSet,
    pub rules_changed: u64,
    pub warm_ups: BTreeMap<String, WarmUp>,
    pub sinks_unknown: BTreeSet<String>,
}

struct Summed {
    sums: BTreeMap<String, Sums>,
    sent: BTreeMap<String, Sent>,
    drawn: BTreeMap<Name, Drawn>,
}

impl Report {
    pub(super) fn of(ended: Ended<'_>) -> Self {
        let alerts = Alerts::compare(&ended.logged.alerts, &ended.tried.alerts);
        let logged = Summed::of(ended.logged, ended.in_force);
        let tried = Summed::of(ended.tried, ended.rules_tried);
        let change = |rule: &str| change(find(ended.in_force, rule), find(ended.rules_tried, rule));
        let names: BTreeSet<&String> = logged.sums.keys().chain(tried.sums.keys()).collect();
        let mut warm_ups = ended.warm_ups;
        let rules = names.into_iter().map(|rule| RuleRow {
            rule: rule.clone(),
            change: change(rule),
            sides: Sides {
                logged: logged.sums.get(rule).cloned(),
                tried: tried.sums.get(rule).cloned(),
            },
            warm_up: warm_ups.remove(rule),
        });
        let rules: Vec<RuleRow> = rules.collect();
        let names: BTreeSet<&String> = logged.sent.keys().chain(tried.sent.keys()).collect();
        let sinks = names.into_iter().map(|sink| SinkRow {
            sink: sink.clone(),
            sides: Sides {
                logged: logged.sent.get(sink).copied().unwrap_or_default(),
                tried: tried.sent.get(sink).copied().unwrap_or_default(),
            },
            delivered: None,
        });
        let sinks = sinks.collect();
        let names: BTreeSet<&Name> = logged.drawn.keys().chain(tried.drawn.keys()).collect();
        let curves = names.into_iter().map(|name| CurveRow {
            rule: name.0.clone(),
            sensor: name.1.clone(),
            unit: name.2.clone(),
            sides: Sides {
                logged: logged.drawn.get(name).map(Fidelity::of),
                tried: tried.drawn.get(name).map(Fidelity::of),
            },
        });
        Self {
            log: ended.extent,
            rules_differ: rules.iter().any(|row| row.change != Change::Same),
            rules_changed: ended.rules_changed,
            total: Sides {
                logged: total(&logged.sums),
                tried: total(&tried.sums),
            },
            rules,
            sinks,
            sinks_unknown: ended.sinks_unknown.into_iter().collect(),
            alerts,
            curves: curves.collect(),
        }
    }
}

impl Summed {
    fn of(side: Side, rules: &RuleSet) -> Self {
        let (sent, costs) = side.upstream.end();
        let named = rules.rules.iter().map(|rule| rule.name.clone());
        let mut sums: BTreeMap<String, Sums> = named.map(|name| (name, Sums::default())).collect();
        for (rule, Tally { records, samples }) in side.tally {
            let sum = sums.entry(rule).or_default();
            (sum.records, sum.samples) = (records, samples);
        }
        for (sink, rules) in costs {
            for (rule, cost) in rules {
                let sum = sums.entry(rule).or_default();
                sum.sent_bytes += cost.sent_bytes();
                sum.sinks.insert(sink.clone(), cost);
            }
        }
        Self {
            sums,
            sent,
            drawn: side.curves.end(),
        }
    }
}

fn total(rules: &BTreeMap<String, Sums>) -> Sums {
    let mut total = Sums::default();
    for sums in rules.values() {
        total.records += sums.records;
        total.samples += sums.samples;
        total.sent_bytes += sums.sent_bytes;
        for (sink, cost) in &sums.sinks {
            total.sinks.entry(sink.clone()).or_default().add(cost);
        }
    }
    total
}

/// The rule of a name.
pub(super) fn find<'a>(rules: &'a RuleSet, name: &str) -> Option<&'a Rule> {
    rules.rules.iter().find(|rule| rule.name == name)
}

fn change(in_force: Option<&Rule>, tried: Option<&Rule>) -> Change {
    match (in_force, tried) {
        (None, Some(_)) => Change::Added,
        (_, None) => Change::Removed,
        (Some(before), Some(after)) if before == after => Change::Same,
        (Some(before), Some(after)) if before.computed() == after.computed() => Change::Forward,
        _ => Change::Changed,
    }
}

impl Fidelity {
    fn of(drawn: &Drawn) -> Self {
        let largest = drawn.errors.largest();
        Self {
            shape: drawn.shape,
            compared: drawn.errors.compared,
            largest_error: largest.map(|(error, _)| error),
            largest_at: largest.map(|(_, at_us)| rfc3339(at_us)),
            largest_device: drawn.worst.clone(),
            rms_error: drawn.errors.rms(),
            not_compared: drawn.errors.not_compared,
        }
    }
}
