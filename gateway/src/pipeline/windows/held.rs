//! Held windows: what each remembers of its samples, and how often it was emitted.

use serde::{Deserialize, Serialize};

use crate::pipeline::accumulator::Accumulator;
use crate::record::ClockQuality;
use crate::record::id::SampleIdentity;
use crate::rules::Late;

/// A window held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Held {
    pub start_us: i64,
    pub end_us: i64,
    /// How often it was emitted: the next revision's number.
    pub emitted: u32,
    /// Samples counted nowhere else and not emitted yet.
    pub fresh: u64,
    /// Whether it changed since it was emitted.
    pub(super) changed: bool,
    /// Whether it takes no more for having all it takes.
    pub(super) full: bool,
    /// Arrival time of its first early close; [`NEVER_US`] before.
    pub(super) closed_us: i64,
    /// The worst of its samples'.
    pub clock: ClockQuality,
    pub partial: bool,
    /// The sample it began with, where times alone are no identity.
    pub first: Option<Box<SampleIdentity>>,
    pub columns: Columns,
}

/// What a window remembers, by sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::pipeline) enum Columns {
    /// Of the only one.
    One(Accumulator),
    /// Of several sensors of a device.
    Many(Vec<Column>),
}

/// What a window remembers of one of several sensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Column {
    /// The sensor's place in the device.
    pub sensor: u16,
    pub fresh: u64,
    pub samples: Accumulator,
}

/// No arrival time: later than all.
pub(super) const NEVER_US: i64 = i64::MAX;

impl Held {
    /// Arrival time of its first early close.
    pub(super) fn closed_us(&self) -> Option<i64> {
        Some(self.closed_us).filter(|at| *at != NEVER_US)
    }

    /// Whether it takes samples still: one that was closed early may not.
    pub(super) fn takes(&self, late: Late) -> bool {
        self.closed_us().is_none() || late == Late::Revise
    }

    /// Samples it stands for.
    pub fn samples(&self) -> u64 {
        match &self.columns {
            Columns::One(samples) => samples.count,
            Columns::Many(columns) => columns.iter().map(|one| one.samples.count).sum(),
        }
    }

    /// What was fresh has been emitted.
    pub(super) fn settle(&mut self) {
        self.fresh = 0;
        self.changed = false;
        if let Columns::Many(columns) = &mut self.columns {
            for one in columns {
                one.fresh = 0;
            }
        }
    }
}
