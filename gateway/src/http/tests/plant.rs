//! A plant made up for tests: everything that may be told is, and it changes when a test says so.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::budget::Billed;
use crate::plant::{Chart, Device, Devices, Overview, Selection, Source};
use crate::rules::glob::matches;
use crate::status::Status;

/// The plant.
#[derive(Debug)]
pub(in crate::http) struct MadeUp {
    pub(in crate::http) overview: Mutex<Overview>,
    pub(in crate::http) devices: Mutex<Vec<Device>>,
    pub(in crate::http) ledger: Mutex<Value>,
    /// Nothing can be said.
    pub(in crate::http) busy: AtomicBool,
    /// No question is ever answered.
    pub(in crate::http) stuck: AtomicBool,
    /// How often overview and devices were asked for.
    pub(in crate::http) overviews: AtomicU64,
    pub(in crate::http) selections: AtomicU64,
    /// How often the status was.
    pub(in crate::http) statuses: AtomicU64,
}

pub(in crate::http) fn overview() -> Overview {
    serde_json::from_str(include_str!("overview.json")).unwrap()
}

pub(in crate::http) fn devices() -> Vec<Device> {
    serde_json::from_str(include_str!("devices.json")).unwrap()
}

pub(in crate::http) fn chart() -> Chart {
    serde_json::from_str(include_str!("chart.json")).unwrap()
}

impl MadeUp {
    pub(in crate::http) fn new() -> Arc<Self> {
        Arc::new(Self {
            overview: Mutex::new(overview()),
            devices: Mutex::new(devices()),
            ledger: Mutex::new(json!({ "devices": {}, "sinks": {} })),
            busy: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            overviews: AtomicU64::new(0),
            selections: AtomicU64::new(0),
            statuses: AtomicU64::new(0),
        })
    }

    /// What it says, if it says anything.
    async fn says<T>(&self, answer: impl FnOnce() -> T) -> Option<T> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        (!self.busy.load(Ordering::Relaxed)).then(answer)
    }
}

impl Source for MadeUp {
    async fn overview(&self) -> Option<Overview> {
        self.overviews.fetch_add(1, Ordering::Relaxed);
        self.says(|| self.overview.lock().unwrap().clone()).await
    }

    async fn devices(&self, selection: Selection) -> Option<Devices> {
        self.selections.fetch_add(1, Ordering::Relaxed);
        let chosen = || {
            let all = self.devices.lock().unwrap();
            let fits = |device: &&Device| {
                let glob = selection.glob.as_deref();
                glob.is_none_or(|glob| matches(glob, &device.name))
                    && selection
                        .health
                        .is_none_or(|health| health == device.health)
            };
            let fitting: Vec<Device> = all.iter().filter(fits).cloned().collect();
            Devices {
                total: fitting.len() as u64,
                offset: selection.offset as u64,
                devices: fitting
                    .into_iter()
                    .skip(selection.offset)
                    .take(selection.limit)
                    .collect(),
            }
        };
        self.says(chosen).await
    }

    async fn chart(&self, device: String, sensor: String) -> Option<Option<Chart>> {
        self.says(|| {
            let chart = chart();
            (chart.device == device && chart.sensor == sensor).then_some(chart)
        })
        .await
    }

    async fn ledger(&self) -> Option<Value> {
        self.says(|| self.ledger.lock().unwrap().clone()).await
    }

    async fn bill(&self) -> Option<Billed> {
        let billed = json!({
            "bill": {
                "months": { "2026-03": {
                    "gap": false, "by_rule": false, "rows": 1,
                    "sinks": { "cloud": { "minute": { "pump-1": { "pressure": {
                        "records": 1, "bytes_before": 2, "bytes_after": 3, "framing_bytes": 4,
                    } } } } },
                    "totals": { "cloud": {
                        "records": 1, "bytes_before": 2, "bytes_after": 3, "framing_bytes": 4,
                    } },
                } },
                "begun_us": 1, "gap_due": false,
            },
            "standing": overview().status.budget,
        });
        self.says(|| serde_json::from_value(billed).unwrap()).await
    }

    async fn status(&self) -> Option<Status> {
        self.statuses.fetch_add(1, Ordering::Relaxed);
        self.says(|| self.overview.lock().unwrap().status.clone())
            .await
    }
}
