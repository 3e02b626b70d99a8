//! Warm-up: windows of the rules tried that had begun when the replay did, and lack samples.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report;
use crate::pipeline::{Observed, Pipeline};
use crate::record::{Emitted, rfc3339};
use crate::rules::{Rule, RuleSet, Shape, glob};

/// Windows that were cut by where the replay began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarmUp {
    /// Their records.
    pub records_cut: u64,
    /// Samples that fell into them; without a record they are still open.
    pub samples_cut: u64,
    /// Start of the first window that is whole on every device.
    pub whole_from: String,
}

/// What the devices were complete up to when the replay began, and the rules that begin there.
pub(super) struct WarmingUp {
    /// Epoch and event time by device.
    devices: BTreeMap<String, (u32, i64)>,
    rules: BTreeMap<String, Warming>,
}

/// A rule with windows that did not go on.
struct Warming {
    rule: Rule,
    length_us: i64,
    whole_us: i64,
    records_cut: u64,
    samples_cut: u64,
}

impl WarmingUp {
    /// Of a state in which rules are about to be tried.
    pub fn of(pipeline: &Pipeline, tried: &RuleSet) -> Self {
        let names = pipeline.device_names().map(str::to_owned);
        let devices: BTreeMap<String, (u32, i64)> = names
            .filter_map(|name| {
                let (epoch, watermark_us) = pipeline.tide(&name)?;
                Some((name, (epoch, watermark_us?)))
            })
            .collect();
        let begins = tried.rules.iter().filter(|rule| {
            let before = report::find(pipeline.rules(), &rule.name);
            before.is_none_or(|before| before.computed() != rule.computed())
        });
        let rules = begins.filter_map(|rule| {
            // Windows of other shapes have no start that is known before their samples.
            let Shape::Tumbling { length_us } = rule.window.as_ref()?.shape else {
                return None;
            };
            let matching = devices
                .iter()
                .filter(|(name, _)| glob::any_matches(&rule.matching.device, name));
            let newest_us = matching.map(|(_, (_, until_us))| *until_us).max()?;
            let warming = Warming {
                rule: rule.clone(),
                length_us,
                whole_us: whole_from(newest_us, length_us),
                records_cut: 0,
                samples_cut: 0,
            };
            Some((rule.name.clone(), warming))
        });
        Self {
            rules: rules.collect(),
            devices,
        }
    }

    /// Takes what an entry brought, and what the rules tried made of it.
    pub fn take(&mut self, observed: &[Observed], emitted: &[Emitted]) {
        for block in observed {
            let Some((epoch, until_us)) = self.devices.get(&block.device) else {
                continue;
            };
            if block.epoch != *epoch {
                continue;
            }
            for warming in self.rules.values_mut() {
                let whole_us = whole_from(*until_us, warming.length_us);
                let times = block.samples.iter().map(|(time_us, _)| *time_us);
                let cut = times.filter(|time_us| *time_us < whole_us).count() as u64;
                if cut > 0 && warming.matches(block) {
                    warming.samples_cut += cut;
                }
            }
        }
        for record in emitted.iter().map(|one| &one.record) {
            let before = self.devices.get(&record.device);
            let is_cut = before.is_some_and(|(epoch, until_us)| {
                record.epoch == *epoch && record.start_us < *until_us
            });
            if is_cut && let Some(warming) = self.rules.get_mut(&record.rule) {
                warming.records_cut += 1;
            }
        }
    }

    /// What was cut, by rule.
    pub fn end(self) -> BTreeMap<String, WarmUp> {
        let cut = self
            .rules
            .into_iter()
            .filter(|(_, one)| one.records_cut + one.samples_cut > 0);
        cut.map(|(rule, one)| {
            let warm_up = WarmUp {
                records_cut: one.records_cut,
                samples_cut: one.samples_cut,
                whole_from: rfc3339(one.whole_us),
            };
            (rule, warm_up)
        })
        .collect()
    }
}

impl Warming {
    fn matches(&self, block: &Observed) -> bool {
        let matching = &self.rule.matching;
        self.rule.from.is_none()
            && glob::any_matches(&matching.device, &block.device)
            && glob::any_matches(&matching.sensor, &block.sensor)
            && glob::any_matches(&matching.unit, &block.unit)
    }
}

/// The first start of a window at or behind a time.
fn whole_from(time_us: i64, length_us: i64) -> i64 {
    let into_us = time_us.rem_euclid(length_us.max(1));
    let rest_us = if into_us == 0 { 0 } else { length_us - into_us };
    time_us.saturating_add(rest_us)
}
