//! A plant made up: the one that the tests of HTTP ask.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_gateway::budget::Billed;
use tidegate_gateway::plant::{Chart, Device, Devices, Overview, Selection, Source};
use tidegate_gateway::rules::glob::matches;
use tidegate_gateway::status::Status;

/// Something that only this plant has in its answers.
pub const TELLTALE: &[u8] = b"vibration.rms";

/// The plant.
pub struct MadeUp {
    overview: Overview,
    devices: Vec<Device>,
    chart: Chart,
}

impl MadeUp {
    /// As it is.
    pub fn new() -> Self {
        Self {
            overview: read(include_str!("../../src/http/tests/overview.json")),
            devices: read(include_str!("../../src/http/tests/devices.json")),
            chart: read(include_str!("../../src/http/tests/chart.json")),
        }
    }
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the tests of HTTP read it, too")
}

impl Source for MadeUp {
    async fn overview(&self) -> Option<Overview> {
        Some(self.overview.clone())
    }

    async fn devices(&self, selection: Selection) -> Option<Devices> {
        let fits = |device: &&Device| {
            let glob = selection.glob.as_deref();
            let health = selection.health;
            glob.is_none_or(|glob| matches(glob, &device.name))
                && health.is_none_or(|health| health == device.health)
        };
        let fitting: Vec<Device> = self.devices.iter().filter(fits).cloned().collect();
        let total = fitting.len() as u64;
        let chosen = fitting.into_iter().skip(selection.offset);
        Some(Devices {
            total,
            offset: selection.offset as u64,
            devices: chosen.take(selection.limit).collect(),
        })
    }

    async fn chart(&self, device: String, sensor: String) -> Option<Option<Chart>> {
        let is_it = self.chart.device == device && self.chart.sensor == sensor;
        Some(is_it.then(|| self.chart.clone()))
    }

    async fn ledger(&self) -> Option<Value> {
        Some(serde_json::json!({ "devices": { "pump-1": { "sensors": { "vibration.rms": {} } } } }))
    }

    /// A gateway that is too busy to say it.
    async fn bill(&self) -> Option<Billed> {
        None
    }

    async fn status(&self) -> Option<Status> {
        Some(self.overview.status.clone())
    }
}
