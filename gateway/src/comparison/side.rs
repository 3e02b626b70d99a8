//! Sides: the log's own rules, and the rules tried on it. Each sees the same entries.
//!
//! What looks at the records of a side stands here side by side, and takes each of them once:
//! the tally, the alerts, the way upstream, the curves.

use std::collections::BTreeMap;

use super::alerts::Alerts;
use super::curves::Curves;
use super::upstream::Upstream;
use crate::entry::{Entry, Logged};
use crate::pipeline::{Observed, Pipeline};
use crate::record::Emitted;
use crate::rules::settings::SinkSettings;

/// Records and samples of a rule.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub records: u64,
    /// Samples they count for the first time.
    pub samples: u64,
}

/// What one set of rules makes of the log.
#[derive(Debug)]
pub(super) struct Side {
    pub tally: BTreeMap<String, Tally>,
    pub upstream: Upstream,
    pub alerts: Alerts,
    pub curves: Curves,
}

impl Side {
    /// Nothing yet.
    pub fn new(sinks: &[SinkSettings], gather_us: u64, pipeline: &Pipeline) -> Self {
        let mut curves = Curves::default();
        curves.set_rules(pipeline);
        Self {
            tally: BTreeMap::new(),
            upstream: Upstream::new(sinks, gather_us),
            alerts: Alerts::default(),
            curves,
        }
    }

    /// Takes what an entry of the stretch asked for brought and caused.
    pub fn take(
        &mut self,
        logged: &Logged,
        pipeline: &Pipeline,
        observed: &[Observed],
        emitted: &[Emitted],
    ) {
        for one in emitted {
            let tally = self.tally.entry(one.record.rule.clone()).or_default();
            tally.records += 1;
            tally.samples += one.record.fresh;
            self.alerts.take(&one.record);
            self.upstream.take(logged.start, logged.at, one);
        }
        self.curves.take(pipeline, observed, emitted);
    }

    /// Takes note of what an entry changed, whether or not it was asked for.
    pub fn follow(&mut self, logged: &Logged, pipeline: &Pipeline) {
        if matches!(logged.entry, Entry::Rules { .. }) {
            self.curves.set_rules(pipeline);
        }
    }
}
