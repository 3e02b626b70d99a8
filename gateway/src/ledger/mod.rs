//! Ledger: where every sample, frame and record went, gathered from the rooms that count.
//!
//! Each count stands in one place of the JSON, so that sums over it mean something:
//!
//! ```text
//! position                               entries in the log
//! gateway.uncounted.REASON               messages of no admitted device, not logged
//! devices.D.uncounted.REASON             frames of a device, not logged
//! devices.D.frames.logged.KIND           frames in the log
//! devices.D.frames.rejected.REASON       of these, frames that could not be used
//! devices.D.samples.rejected.REASON       samples whose sensor is not known
//! devices.D.sensors.S.{taken, suppressed, failed, evicted}   as the device says; null: not said
//! devices.D.sensors.S.{logged, unmatched}, .rejected.REASON  samples in the log
//! devices.D.sensors.S.rules.R.{matched, filtered.WHY, late, folded, open}
//! sinks.K.R.{…_records, bytes…}, .devices.D.S.{…_fresh, waiting}
//! balances.{samples, rules, sinks, total, balanced, unknown}  what these add up to
//! ```

pub mod balance;
pub mod counters;
pub mod past;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::balance::balances;
use self::counters::{Counters, DeviceCounters, SensorCounters};
use crate::entry::Uncounted;
use crate::session::{Marks, Session, Tallies};
use crate::spool::counters as spool;

/// The session's part: what was counted instead of logged.
pub fn of_session(session: &Session) -> Tallies {
    session.tallies().clone()
}

/// The same from what is durable.
pub fn of_marks(marks: &Marks) -> Tallies {
    Tallies::from_marks(marks)
}

/// The store's part: pipeline and spool.
pub fn of_store(position: u64, counters: &Counters, spool: &spool::Counters) -> Value {
    let devices: Map<String, Value> = counters
        .devices
        .iter()
        .map(|(name, device)| (name.clone(), device_json(device)))
        .collect();
    json!({
        "position": position,
        "gateway": {
            "entries_unreadable": counters.entries_unreadable,
            "entries_lost": counters.entries_lost,
            "parts_lost": counters.parts_lost,
        },
        "devices": devices,
        "sinks": sinks_json(spool),
        "balances": balances(counters, spool),
    })
}

/// Both parts as one.
pub fn join(mut store: Value, tallies: &Tallies) -> Value {
    store["gateway"]["uncounted"] = counts_json(tallies.gateway());
    for (device, counts) in tallies.devices() {
        store["devices"][device.as_str()]["uncounted"] = counts_json(counts);
    }
    store
}

fn counts_json(counts: &BTreeMap<Uncounted, u64>) -> Value {
    json!(counts)
}

fn device_json(device: &DeviceCounters) -> Value {
    let sensors: Map<String, Value> = device
        .sensors
        .iter()
        .map(|(name, sensor)| (name.clone(), sensor_json(sensor)))
        .collect();
    json!({
        "frames": {
            "logged": device.frames,
            "rejected": device.frames_rejected,
            "lost_on_device": device.frames_lost_on_device,
            "lost_here": device.frames_lost_here,
            "gaps_open": device.gaps_open,
            "waiting_for_catalog": device.frames_waiting,
        },
        "samples": {
            "rejected": device.samples_rejected,
            "waiting_for_catalog": device.samples_waiting,
        },
        "windows_crowded_out": device.windows_crowded_out,
        "epochs": device.epochs,
        "parts_lost": device.parts_lost,
        "sensors": sensors,
    })
}

fn sensor_json(sensor: &SensorCounters) -> Value {
    json!({
        "taken": sensor.taken,
        "suppressed": sensor.suppressed,
        "failed": sensor.failed,
        "evicted": sensor.evicted,
        "evicted_but_logged": sensor.evicted_but_logged,
        "beyond": sensor.beyond,
        "logged": sensor.logged,
        "rejected": sensor.rejected,
        "unmatched": sensor.unmatched,
        "rules": sensor.rules,
    })
}

fn sinks_json(counters: &spool::Counters) -> Value {
    let sinks: Map<String, Value> = counters
        .sinks
        .iter()
        .map(|(sink, rules)| {
            let rules: Map<String, Value> = rules
                .iter()
                .map(|(rule, counts)| (rule.clone(), rule_json(counts)))
                .collect();
            (sink.clone(), Value::Object(rules))
        })
        .collect();
    Value::Object(sinks)
}

fn rule_json(counts: &spool::RuleCounts) -> Value {
    let mut rule = json!(counts);
    rule["waiting_records"] = counts.waiting_records().into();
    for (device, sensors) in &counts.devices {
        for (sensor, counts) in sensors {
            rule["devices"][device][sensor]["waiting"] = counts.waiting_fresh().into();
        }
    }
    rule
}
