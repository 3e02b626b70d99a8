//! Metrics whose samples are told apart by more than a sink or a rule.

use super::{Series, Value};
use crate::budget::Level;
use crate::mqtt::access::Why;
use crate::plant::{Health, Overview};
use crate::sinks::status::Phase;
use crate::status::{Limit, Unit};

/// A name as JSON has it.
fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// States of the whole gateway.
const STATES: [&str; 7] = [
    "log-failing",
    "spool-failing",
    "standby",
    "unsubscribed",
    "clock-untrusted",
    "devices-held",
    "witness-refuses",
];
/// States of a sink.
const SINK_STATES: [&str; 3] = [
    "sink-circuit-open",
    "sink-spool-failing",
    "sink-dead-letters",
];

pub(super) fn states(seen: &Overview, out: &mut Series) {
    let of_sinks = seen.status.sinks.keys();
    let of_sinks = of_sinks.flat_map(|sink| SINK_STATES.map(|state| (state, sink.as_str())));
    let mut known: Vec<(&str, &str)> = STATES.map(|state| (state, "")).into_iter().collect();
    known.extend(of_sinks);
    let active: Vec<(&str, &str)> = seen
        .status
        .states
        .iter()
        .map(|state| (state.name.as_str(), state.sink.as_deref().unwrap_or("")))
        .collect();
    for (state, sink) in &known {
        out.flag(&[state, sink], active.contains(&(state, sink)));
    }
    for (state, sink) in active.iter().filter(|one| !known.contains(one)) {
        out.flag(&[state, sink], true);
    }
}

pub(super) fn cosigned(seen: &Overview, out: &mut Series) {
    for (name, witness) in &seen.status.witnesses {
        out.whole(&[name], witness.cosigned);
    }
}

pub(super) fn to_cosign(seen: &Overview, out: &mut Series) {
    for (name, witness) in &seen.status.witnesses {
        out.whole(&[name], witness.entries);
    }
}

pub(super) fn devices(seen: &Overview, out: &mut Series) {
    let healths = [
        Health::Live,
        Health::Late,
        Health::Silent,
        Health::Ended,
        Health::Unknown,
    ];
    for health in healths {
        let count = seen.devices.get(&health).copied().unwrap_or(0);
        out.whole(&[&word(&health)], count);
    }
}

pub(super) fn link_drops(seen: &Overview, out: &mut Series) {
    let counters = seen.status.link.counters;
    out.whole(&["unreliable"], counters.unreliable_dropped);
    out.whole(&["away"], counters.dropped_away);
    out.whole(&["full"], counters.dropped_full);
    out.whole(&["large"], counters.dropped_large);
}

pub(super) fn phases(seen: &Overview, out: &mut Series) {
    let phases = [
        Phase::Idle,
        Phase::Reading,
        Phase::Filling,
        Phase::Sending,
        Phase::BackingOff,
        Phase::CircuitOpen,
        Phase::Committing,
        Phase::SpoolFailing,
        Phase::Draining,
    ];
    for (name, sink) in &seen.status.sinks {
        for phase in phases {
            out.flag(&[name, &word(&phase)], sink.delivery.phase == phase);
        }
    }
}

pub(super) fn books(seen: &Overview, out: &mut Series) {
    let books = &seen.ledger;
    for (account, samples) in [
        ("logged", books.logged),
        ("unmatched", books.unmatched),
        ("delivered", books.delivered),
        ("waiting", books.waiting),
    ] {
        // A count below nothing is a fault of the books; it is shown as it is.
        match u64::try_from(samples) {
            Ok(samples) => out.whole(&[account], samples),
            Err(_) => out.add(&[account], Value::Real(samples as f64)),
        }
    }
}

pub(super) fn month(seen: &Overview, out: &mut Series) {
    let Some(bill) = &seen.bill else { return };
    let month = bill.month.to_string();
    for (sink, cost) in &bill.sinks {
        out.whole(&[&month, sink, "body"], cost.bytes_after);
        out.whole(&[&month, sink, "framing"], cost.framing_bytes);
    }
}

pub(super) fn month_records(seen: &Overview, out: &mut Series) {
    let Some(bill) = &seen.bill else { return };
    for (sink, cost) in &bill.sinks {
        out.whole(&[&bill.month.to_string(), sink], cost.records);
    }
}

pub(super) fn levels(seen: &Overview, out: &mut Series) {
    let Some(budget) = &seen.status.budget else {
        return;
    };
    for level in [Level::Free, Level::Warned, Level::Capped] {
        out.flag(&[&word(&level)], budget.level == level);
    }
}

pub(super) fn month_incomplete(seen: &Overview, out: &mut Series) {
    if let Some(bill) = &seen.bill {
        out.flag(&[&bill.month.to_string()], bill.gap);
    }
}

fn of_unit(seen: &Overview, unit: Unit) -> impl Iterator<Item = &Limit> {
    seen.status
        .limits
        .iter()
        .filter(move |limit| limit.unit == unit)
}

pub(super) fn limits_used(seen: &Overview, out: &mut Series) {
    for limit in of_unit(seen, Unit::Bytes) {
        if let Some(used) = limit.used {
            out.whole(&[&limit.key], used);
        }
    }
}

pub(super) fn limits(seen: &Overview, out: &mut Series) {
    for limit in of_unit(seen, Unit::Bytes) {
        out.whole(&[&limit.key], limit.most);
    }
}

pub(super) fn devices_max(seen: &Overview, out: &mut Series) {
    for limit in of_unit(seen, Unit::Devices) {
        out.whole(&[], limit.most);
    }
}

pub(super) fn about(seen: &Overview, out: &mut Series) {
    let about = &seen.status.gateway;
    out.whole(&[&about.site, &about.id, &about.version], 1);
}

pub(super) fn configuration(seen: &Overview, out: &mut Series) {
    if let Some(one) = &seen.status.configuration {
        out.whole(&[&one.file, &one.hash], 1);
    }
}

pub(super) fn configuration_refused(seen: &Overview, out: &mut Series) {
    if let Some(one) = &seen.status.configuration {
        out.flag(
            &[],
            one.refused
                .as_ref()
                .is_some_and(|refused| refused.is_current),
        );
    }
}

pub(super) fn broker_refused(seen: &Overview, out: &mut Series) {
    let Some(refused) = &seen.status.refused else {
        return;
    };
    for why in Why::ALL {
        let count = refused.by_reason.get(&why).copied().unwrap_or(0);
        out.whole(&[why.name()], count);
    }
}

pub(super) fn commands(seen: &Overview, out: &mut Series) {
    if let Some(control) = &seen.status.control {
        out.whole(&["answered"], control.answered);
        out.whole(&["malformed"], control.malformed);
        out.whole(&["busy"], control.busy);
        out.whole(&["slow"], control.slow);
    }
}

pub(super) fn http_refused(seen: &Overview, out: &mut Series) {
    if let Some(http) = &seen.status.http {
        out.whole(&["unauthorised"], http.unauthorised);
        out.whole(&["guessing"], http.guessing);
        out.whole(&["foreign-host"], http.foreign_host);
        out.whole(&["unanswered"], http.unanswered);
        out.whole(&["malformed"], http.malformed);
        out.whole(&["busy"], http.busy);
        out.whole(&["slow"], http.slow);
    }
}
