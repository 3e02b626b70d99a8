//! Taps: samples and records as they flow, for whoever watches.
//!
//! Terms: a *flow* is what one step of the store brought, in pieces of at most about
//! [`FLOW_ITEMS_MAX`] samples and records; a *tap* takes from all of them what its filter lets
//! through.
//!
//! Invariants: the store's thread puts flows where the slowest tap has room for [`FLOWS_MAX`] of
//! them and waits for nobody; a tap that falls behind further is told how many samples and
//! records it missed. Without a tap nothing is copied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::pipeline::Observed;
use crate::plant::{Passing, TapFilter};
use crate::record::{Emitted, GROUP, Record, rfc3339, to_json};
use crate::rules::glob::matches;

/// Flows that a tap may be behind.
pub const FLOWS_MAX: usize = 64;
/// Samples and records of a flow; the last block of samples may exceed it by 255.
pub const FLOW_ITEMS_MAX: usize = 256;

/// What flowed by in a step, or a piece of it.
#[derive(Debug, Clone)]
struct Flow {
    /// Samples and records in all flows before.
    before: u64,
    samples: Vec<Observed>,
    records: Vec<Record>,
}

/// Where flows go, and where taps are opened.
#[derive(Debug, Clone)]
pub struct Taps {
    flows: broadcast::Sender<Arc<Flow>>,
    /// Samples and records passed on so far.
    passed: Arc<AtomicU64>,
}

impl Default for Taps {
    fn default() -> Self {
        Self {
            flows: broadcast::channel(FLOWS_MAX).0,
            passed: Arc::default(),
        }
    }
}

impl Taps {
    /// Whether somebody watches.
    pub fn are_open(&self) -> bool {
        self.flows.receiver_count() > 0
    }

    /// Opens a tap.
    pub fn open(&self, filter: TapFilter) -> Tap {
        let flows = self.flows.subscribe();
        Tap {
            flows,
            filter,
            // Behind the subscription: a flow between the two is none that was missed.
            expected: self.passed.load(Ordering::Acquire),
            ready: VecDeque::new(),
        }
    }
}

/// The store's end: numbers what it passes on.
#[derive(Debug)]
pub(super) struct Mouth(Taps);

impl Mouth {
    /// One for some taps.
    pub fn of(taps: Taps) -> Self {
        Self(taps)
    }

    /// Whether somebody watches.
    pub fn is_open(&self) -> bool {
        self.0.are_open()
    }

    /// Passes samples and records on, if somebody watches.
    pub fn pass(&mut self, samples: Vec<Observed>, emitted: &[Emitted]) {
        if !self.is_open() {
            return;
        }
        let (mut piece, mut items) = (Vec::new(), 0);
        for observed in samples {
            items += observed.samples.len();
            piece.push(observed);
            if items >= FLOW_ITEMS_MAX {
                self.send(std::mem::take(&mut piece), Vec::new());
                items = 0;
            }
        }
        if !piece.is_empty() {
            self.send(piece, Vec::new());
        }
        for emitted in emitted.chunks(FLOW_ITEMS_MAX) {
            let records = emitted.iter().map(|one| one.record.clone());
            self.send(Vec::new(), records.collect());
        }
    }

    fn send(&mut self, samples: Vec<Observed>, records: Vec<Record>) {
        let flow = Flow {
            before: self.0.passed.load(Ordering::Relaxed),
            samples,
            records,
        };
        let passed = flow.before + flow.items();
        // Where nobody watches any more, there is nobody to tell.
        let _ = self.0.flows.send(Arc::new(flow));
        self.0.passed.store(passed, Ordering::Release);
    }
}

impl Flow {
    fn items(&self) -> u64 {
        let samples = self.samples.iter().map(|one| one.samples.len());
        (samples.sum::<usize>() + self.records.len()) as u64
    }
}

/// An open tap.
#[derive(Debug)]
pub struct Tap {
    flows: broadcast::Receiver<Arc<Flow>>,
    filter: TapFilter,
    /// How many samples and records are before the next flow, if none is missed.
    expected: u64,
    ready: VecDeque<Passing>,
}

impl Tap {
    /// What flows by next; none when the gateway stops. Nothing is lost when this is dropped
    /// before it is done.
    pub async fn next(&mut self) -> Option<Passing> {
        loop {
            if let Some(passing) = self.ready.pop_front() {
                return Some(passing);
            }
            match self.flows.recv().await {
                Ok(flow) => self.take(&flow),
                // How many it was is seen from the next flow.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// What is at hand without waiting.
    pub fn ready(&mut self) -> Option<Passing> {
        if self.ready.is_empty()
            && let Ok(flow) = self.flows.try_recv()
        {
            self.take(&flow);
        }
        self.ready.pop_front()
    }

    fn take(&mut self, flow: &Flow) {
        let missed = flow.before.saturating_sub(self.expected);
        if missed > 0 {
            self.ready.push_back(Passing::Missed(missed));
        }
        self.expected = flow.before + flow.items();
        let samples = flow.samples.iter();
        for observed in samples.filter(|one| self.filter.lets_samples(&one.device, &one.sensor)) {
            let passing = observed
                .samples
                .iter()
                .map(|(time_us, value)| Passing::Sample {
                    device: observed.device.clone(),
                    sensor: observed.sensor.clone(),
                    unit: observed.unit.clone(),
                    time: rfc3339(*time_us),
                    value: *value,
                });
            self.ready.extend(passing);
        }
        let records = flow.records.iter();
        for record in records.filter(|one| self.filter.lets_record(one)) {
            let record = serde_json::from_str(&to_json(record));
            self.ready.extend(record.ok().map(Passing::Record));
        }
    }
}

impl TapFilter {
    /// Whether it lets a sensor's samples through.
    pub fn lets_samples(&self, device: &str, sensor: &str) -> bool {
        self.rule.is_none()
            && fits(self.device.as_deref(), device)
            && fits(self.sensor.as_deref(), sensor)
    }

    /// Whether it lets a record through. One that stands for all sensors or devices passes where
    /// some are asked for.
    pub fn lets_record(&self, record: &Record) -> bool {
        let is_it = |glob: Option<&str>, name: &str| name == GROUP || fits(glob, name);
        self.rule.as_ref().is_none_or(|rule| *rule == record.rule)
            && is_it(self.device.as_deref(), &record.device)
            && is_it(self.sensor.as_deref(), &record.sensor)
    }
}

fn fits(glob: Option<&str>, name: &str) -> bool {
    glob.is_none_or(|glob| matches(glob, name))
}
