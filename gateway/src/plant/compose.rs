//! Compose: what is shown, from the store's state and what is recent; pure functions.

use std::collections::BTreeMap;

use super::health::{SensorFacts, Verdict, of_sensor};
use super::{
    ALERTS_MAX, Alert, Books, Chart, DEVICES_MAX, Device, Devices, Flow, Health, MonthSum, Rule,
    SPARK_MAX, Selection, Sensor, message, trend,
};
use crate::clock::Moment;
use crate::ledger::balance::Balances;
use crate::pipeline::picture::{DeviceView, OpenAlert, Picture, RuleSum, SensorView};
use crate::recent::{Recent, Track};
use crate::record::rfc3339;
use crate::rules::glob::matches;
use crate::spool::Spool;
use crate::spool::bill::{Bill, Cost, Month};
use crate::spool::counters::Sum;

/// The store's part of an overview.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct StoreView {
    /// What went in and out, but for what the link counts.
    pub flow: Flow,
    /// Devices by health.
    pub devices: BTreeMap<Health, u64>,
    /// Each rule in force.
    pub rules: Vec<Rule>,
    /// Alerts that are open, newest first.
    pub alerts: Vec<Alert>,
    /// How many are open.
    pub alerts_open: u64,
    /// This month's bill.
    pub bill: Option<MonthSum>,
}

/// What the spool says of the whole plant, taken out of it: deliveries need it meanwhile.
#[derive(Debug, Default)]
pub struct Upstream {
    of_rules: BTreeMap<String, Sum>,
    /// This month by rule, and in sum; absent while the month is not known.
    month: Option<(BTreeMap<String, Cost>, MonthSum)>,
}

impl Upstream {
    /// Of a spool, now.
    pub fn of(spool: &Spool, now: Moment) -> Self {
        let month = Some(Month::of(now.at)).filter(|month| *month != Month::Unknown);
        let of_rules = spool.sums().into_iter();
        Self {
            of_rules: of_rules.map(|(rule, sum)| (rule.to_owned(), sum)).collect(),
            month: month.map(|month| (costs(spool.bill(), month), month_sum(spool.bill(), month))),
        }
    }
}

/// What pipeline and spool say of the whole plant at a moment.
pub fn overview(picture: Picture<'_>, upstream: Upstream) -> StoreView {
    let Upstream { of_rules, month } = upstream;
    let mut view = StoreView::default();
    for device in picture.devices() {
        let health = Verdict::of(&device.facts()).health();
        *view.devices.entry(health).or_default() += 1;
    }
    let site = picture.site();
    let sums = picture.sums(&|device, sensor, unit| message::bytes(site, device, sensor, unit));
    let (sent, bill) = month.unzip();
    view.bill = bill;
    view.flow = Flow {
        samples: sums.logged,
        samples_as_json_bytes: sums.logged_weight,
        received_bytes: 0,
        records: of_rules.values().map(|sum| sum.delivered_records).sum(),
        sent_bytes: of_rules.values().map(|sum| sum.sent_bytes).sum(),
    };
    let mut alerts = Alerts::default();
    picture.alerts(&mut |alert| alerts.take(alert));
    view.rules = sums
        .rules
        .iter()
        .map(|sum| {
            let of_rule = of_rules.get(sum.name).copied().unwrap_or_default();
            let sent = sent.as_ref().map(|costs| costs.get(sum.name));
            let sent = sent.map(|cost| cost.copied().unwrap_or_default());
            let open = alerts.open.get(sum.name).copied().unwrap_or(0);
            rule(sum, of_rule, sent, open)
        })
        .collect();
    view.alerts_open = alerts.open.values().sum();
    view.alerts = alerts.newest();
    view
}

fn rule(sum: &RuleSum<'_>, of_rule: Sum, sent: Option<Cost>, alerts_open: u64) -> Rule {
    let Sum {
        delivered_records,
        waiting_records,
        sent_bytes,
    } = of_rule;
    let is_known = sent_bytes > 0 && sum.matched_weight > 0;
    let share = sent_bytes as f64 / sum.matched_weight as f64;
    Rule {
        name: sum.name.to_owned(),
        version: sum.version,
        forward: sum.forward.to_vec(),
        samples: sum.matched,
        left_out: sum.left_out,
        records: delivered_records,
        waiting: waiting_records,
        sent,
        sent_bytes,
        savings_percent: is_known.then_some(100.0 * (1.0 - share)),
        alerts_open,
    }
}

/// What each rule cost in a month, over its sinks.
fn costs(bill: &Bill, month: Month) -> BTreeMap<String, Cost> {
    let mut costs: BTreeMap<String, Cost> = BTreeMap::new();
    let sinks = bill.months.get(&month).map(|month| month.sinks.values());
    for (rule, devices) in sinks.into_iter().flatten().flatten() {
        let sum = costs.entry(rule.clone()).or_default();
        for cost in devices.values().flat_map(BTreeMap::values) {
            sum.add(cost);
        }
    }
    costs
}

fn month_sum(bill: &Bill, month: Month) -> MonthSum {
    let of_month = bill.months.get(&month);
    MonthSum {
        month,
        gap: of_month.is_some_and(|one| one.gap),
        sinks: of_month.map(|one| one.totals.clone()).unwrap_or_default(),
    }
}

/// The newest alerts of all that are open.
#[derive(Default)]
struct Alerts<'p> {
    found: Vec<OpenAlert<'p>>,
    /// By rule.
    open: BTreeMap<&'p str, u64>,
}

impl<'p> Alerts<'p> {
    fn take(&mut self, alert: OpenAlert<'p>) {
        *self.open.entry(alert.rule).or_default() += 1;
        self.found.push(alert);
        if self.found.len() >= 2 * ALERTS_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.found.sort_by(|a, b| {
            let names = |one: &OpenAlert<'p>| (one.device, one.sensor, one.rule, one.cause);
            let newest_first = b.since_us.cmp(&a.since_us);
            newest_first.then_with(|| names(a).cmp(&names(b)))
        });
        self.found.truncate(ALERTS_MAX);
    }

    fn newest(mut self) -> Vec<Alert> {
        self.cut();
        let found = self.found.into_iter();
        found
            .map(|one| Alert {
                rule: one.rule.to_owned(),
                device: one.device.to_owned(),
                sensor: one.sensor.to_owned(),
                cause: one.cause,
                since: rfc3339(one.since_us),
                historic: one.historic,
                value: one.value,
                unit: one.unit.to_owned(),
            })
            .collect()
    }
}

/// The devices that a selection asks for.
pub fn devices(picture: Picture<'_>, recent: &Recent, selection: &Selection) -> Devices {
    let limit = selection.limit.min(DEVICES_MAX);
    let glob = selection.glob.as_deref();
    let mut found = Devices {
        offset: selection.offset as u64,
        ..Devices::default()
    };
    for view in picture.devices() {
        if glob.is_some_and(|glob| !matches(glob, view.name())) {
            continue;
        }
        let verdict = Verdict::of(&view.facts());
        let wanted = selection.health.unwrap_or(verdict.health());
        if wanted != verdict.health() {
            continue;
        }
        found.total += 1;
        let is_behind = found.total > found.offset;
        if is_behind && found.devices.len() < limit {
            found.devices.push(device(view, verdict, recent));
        }
    }
    found
}

fn device(view: DeviceView<'_>, verdict: Verdict, recent: &Recent) -> Device {
    let facts = view.facts();
    let sensors = view.sensors();
    let sensors = sensors.map(|one| sensor(&one, verdict.health(), facts.patience_us, recent));
    Device {
        name: view.name().to_owned(),
        health: verdict.health(),
        why: verdict.words(),
        heard: view.heard_us().map(rfc3339),
        is_down: facts.down_us.is_some(),
        down_since: view.down_since_us().map(rfc3339),
        backlog: facts.backlog,
        frames_waiting: facts.frames_waiting,
        clock: view.clock(),
        epoch: view.epoch(),
        sensors: sensors.collect(),
    }
}

fn sensor(view: &SensorView<'_>, device: Health, patience_us: i64, recent: &Recent) -> Sensor {
    let track = recent.track(view.device().name(), view.name());
    let newest = view.newest();
    let complete_us = view.device().complete_us();
    let facts = SensorFacts {
        behind_us: newest
            .zip(complete_us)
            .map(|((time_us, _), complete_us)| complete_us.saturating_sub(time_us)),
        patience_us,
        usual_us: track.and_then(Track::usual_us),
        suppressed: view.suppressed(),
    };
    let newest_values = |most| track.map(|track| track.newest(most)).unwrap_or_default();
    Sensor {
        name: view.name().to_owned(),
        unit: view.unit().to_owned(),
        health: of_sensor(device, &facts),
        value: newest.map(|(_, value)| value),
        time: newest.map(|(time_us, _)| rfc3339(time_us)),
        trend: trend::of(&newest_values(trend::TREND_VALUES)),
        spark: newest_values(SPARK_MAX),
        logged: view.logged(),
        suppressed: facts.suppressed,
        rejected: view.rejected(),
        alerts_open: view.alerts_open(),
    }
}

/// A sensor's chart, which is watched from here on; none where there is no such sensor.
pub fn chart(
    picture: Picture<'_>,
    recent: &mut Recent,
    (device, sensor): (&str, &str),
) -> Option<Chart> {
    let view = picture.device(device)?;
    let view = view.sensors().find(|one| one.name() == sensor)?;
    recent.watch(device, sensor);
    let mut chart = Chart {
        device: device.to_owned(),
        sensor: sensor.to_owned(),
        unit: view.unit().to_owned(),
        samples: Vec::new(),
        bars: Vec::new(),
    };
    if let Some(track) = recent.track(device, sensor) {
        chart.samples = track.samples().iter().copied().collect();
        chart.samples.sort_by_key(|(time_us, _)| *time_us);
        chart.bars = track.bars().iter().cloned().collect();
        chart.bars.sort_by_key(|bar| (bar.start_us, bar.end_us));
    }
    Some(chart)
}

impl From<&Balances> for Books {
    fn from(balances: &Balances) -> Self {
        let total = &balances.total;
        Self {
            balanced: balances.balanced,
            unknown: balances.unknown,
            logged: total.samples.logged,
            unmatched: total.unmatched,
            delivered: total.sinks.delivered,
            waiting: total.sinks.waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_shared::message::Counts;

    use super::*;
    use crate::pipeline::tests::script::{S, Script, passing};

    fn of(script: &Script, see: impl FnOnce(Picture<'_>)) {
        let run = script.run();
        see(run.pipeline.picture(Moment {
            start: script.start,
            at: script.at,
        }));
    }

    fn sensors(picture: Picture<'_>) -> Vec<Sensor> {
        let mut told = devices(picture, &Recent::default(), &Selection::default());
        assert_eq!((told.total, told.devices.len()), (1, 1));
        told.devices.remove(0).sensors
    }

    #[test]
    fn what_is_not_known_is_absent_and_not_zero() {
        let mut script = Script::new(&[passing("p")]);
        script.batch(20 * S, &[(0, &[(3 * S, 5)])]);
        of(&script, |picture| {
            let [a, b] = &sensors(picture)[..] else {
                panic!("the catalog has two sensors");
            };
            assert_eq!((a.value, a.logged, a.suppressed), (Some(0.05), 1, None));
            assert_eq!((a.trend, a.spark.len()), (None, 0));
            assert_eq!((b.value, b.time.as_ref(), b.suppressed), (None, None, None));
            let view = overview(picture, Upstream::default());
            let rule = &view.rules[0];
            assert_eq!(
                (rule.samples, rule.sent, rule.savings_percent),
                (1, None, None)
            );
            assert_eq!(view.bill, None, "which month it is, is not known");
        });
        script.totals(&[Counts::default(); 2]);
        of(&script, |picture| {
            let told = sensors(picture);
            let suppressed: Vec<_> = told.iter().map(|one| one.suppressed).collect();
            assert_eq!(suppressed, [Some(0), Some(0)], "the device said so");
        });
    }

    #[test]
    fn savings_are_against_a_message_for_each_sample() {
        let mut script = Script::new(&[passing("p")]);
        script.batch(20 * S, &[(0, &[(3 * S, 5)])]);
        of(&script, |picture| {
            let flow = overview(picture, Upstream::default()).flow;
            let sent_bytes = flow.samples_as_json_bytes / 2;
            let sum = Sum {
                delivered_records: 1,
                sent_bytes,
                ..Sum::default()
            };
            let upstream = Upstream {
                of_rules: BTreeMap::from([("p".to_owned(), sum)]),
                month: None,
            };
            let view = overview(picture, upstream);
            assert_eq!((view.flow.records, view.flow.sent_bytes), (1, sent_bytes));
            let savings = view.rules[0].savings_percent.unwrap();
            assert!((50.0..51.0).contains(&savings), "{savings}");
        });
    }
}
