//! Difference: what changed between two pictures of a plant, so that a stream need not tell all.
//!
//! ```json
//! {"overview": {"at": "…", "flow": {…}},
//!  "devices": {"total": 3,
//!              "whole":   [{"name": "pump-3", …, "sensors": […]}],
//!              "changed": [{"name": "pump-1", "heard": "…", "sensors": [{"name": "p", …}]}],
//!              "gone":    ["pump-2"]}}
//! ```
//! - `overview` holds the parts of the overview that changed, each whole.
//! - `devices.whole` are devices that are new, or whose sensors are others than before.
//! - `devices.changed` are those of which something changed: that alone, and of their sensors
//!   those that changed, each whole.
//! - `devices.gone` are those that the selection has no more.
//! - What did not change is not there. Devices are in the order of their names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::plant::{Device, Devices, Overview};

/// A picture of a plant, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    overview: Map<String, Value>,
    total: u64,
    offset: u64,
    devices: BTreeMap<String, Map<String, Value>>,
}

impl Picture {
    /// Of what the gateway said.
    pub(super) fn of(overview: &Overview, devices: &Devices) -> Self {
        let told = devices.devices.iter();
        Self {
            overview: fields(serde_json::to_value(overview)),
            total: devices.total,
            offset: devices.offset,
            devices: told
                .map(|device| (device.name.clone(), of(device)))
                .collect(),
        }
    }

    /// All of it.
    pub(super) fn full(&self) -> Value {
        let devices: Vec<&Map<String, Value>> = self.devices.values().collect();
        json!({
            "overview": self.overview,
            "devices": { "total": self.total, "offset": self.offset, "devices": devices },
        })
    }

    /// What makes `self` of an earlier picture; none where nothing changed.
    pub(super) fn since(&self, earlier: &Self) -> Option<Value> {
        let mut change = Map::new();
        let overview = changed(&earlier.overview, &self.overview);
        if !overview.is_empty() {
            change.insert("overview".to_owned(), overview.into());
        }
        let devices = self.devices_since(earlier);
        if !devices.is_empty() {
            change.insert("devices".to_owned(), devices.into());
        }
        (!change.is_empty()).then(|| change.into())
    }

    fn devices_since(&self, earlier: &Self) -> Map<String, Value> {
        let (mut whole, mut altered) = (Vec::new(), Vec::new());
        for (name, device) in &self.devices {
            match earlier.devices.get(name) {
                Some(before) if before == device => {}
                Some(before) if names(before) == names(device) => {
                    altered.push(Value::from(device_since(name, before, device)));
                }
                _ => whole.push(Value::from(device.clone())),
            }
        }
        let gone = earlier.devices.keys();
        let gone: Vec<Value> = gone
            .filter(|name| !self.devices.contains_key(*name))
            .map(|name| json!(name))
            .collect();
        let mut devices = Map::new();
        if self.total != earlier.total {
            devices.insert("total".to_owned(), json!(self.total));
        }
        if self.offset != earlier.offset {
            devices.insert("offset".to_owned(), json!(self.offset));
        }
        for (key, list) in [("whole", whole), ("changed", altered), ("gone", gone)] {
            if !list.is_empty() {
                devices.insert(key.to_owned(), list.into());
            }
        }
        devices
    }
}

fn of(device: &Device) -> Map<String, Value> {
    fields(serde_json::to_value(device))
}

fn fields(value: serde_json::Result<Value>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Fields that are others than before, or were not there.
fn changed(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let fields = after.iter();
    let differing = fields.filter(|(key, value)| before.get(*key) != Some(value));
    differing
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn sensors(device: &Map<String, Value>) -> &[Value] {
    let sensors = device.get("sensors").and_then(Value::as_array);
    sensors.map_or(&[], Vec::as_slice)
}

/// Names of a device's sensors, in their order.
fn names(device: &Map<String, Value>) -> Vec<Option<&Value>> {
    sensors(device)
        .iter()
        .map(|sensor| sensor.get("name"))
        .collect()
}

fn device_since(
    name: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Map<String, Value> {
    let mut change = changed(before, after);
    change.insert("name".to_owned(), json!(name));
    let pairs = sensors(before).iter().zip(sensors(after));
    let differing: Vec<Value> = pairs
        .filter(|(before, after)| before != after)
        .map(|(_, after)| after.clone())
        .collect();
    if differing.is_empty() {
        change.remove("sensors");
    } else {
        change.insert("sensors".to_owned(), differing.into());
    }
    change
}
