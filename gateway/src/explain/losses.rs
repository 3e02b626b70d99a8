//! Losses: stretches of a device's event time that the log has nothing of, and why.
//!
//! A loss lies between what the device's batch before it was complete to and the first sample of
//! the batch behind it; either end may be unknown, and then it is open.

use super::answer::Lost;
use crate::entry::GapEntry;
use crate::record::rfc3339;

/// Losses told of; more are only counted.
const LOSSES_MAX: usize = 64;

#[derive(Debug, Clone)]
struct Loss {
    what: Lost,
    after_us: Option<i64>,
}

/// Losses around one event time.
#[derive(Debug)]
pub(super) struct Losses {
    time_us: i64,
    /// Up to where the batches so far are complete.
    complete_us: Option<i64>,
    /// Those that no batch has come behind yet.
    open: Vec<Loss>,
    around: Vec<Lost>,
    /// Losses around the time that are not in the list.
    pub more: u64,
}

impl Losses {
    pub fn new(time_us: i64) -> Self {
        Self {
            time_us,
            complete_us: None,
            open: Vec::new(),
            around: Vec::new(),
            more: 0,
        }
    }

    /// Frames of the device that will never come.
    pub fn gap(&mut self, position: u64, gap: &GapEntry) {
        self.open(Lost::Frames {
            position,
            incarnation: gap.incarnation.0,
            boot: gap.boot,
            from: gap.from,
            through: (gap.through != u32::MAX).then_some(gap.through),
            lost_by_gateway_through: (gap.lost_here >= gap.from).then_some(gap.lost_here),
            after: None,
            before: None,
        });
    }

    /// Entries that the gateway's disk lost; whose they were is unknown.
    pub fn entries(&mut self, from: u64, until: u64) {
        if from < until {
            self.open(Lost::Entries {
                from_position: from,
                until_position: until,
                after: None,
                before: None,
            });
        }
    }

    fn open(&mut self, what: Lost) {
        if self.open.len() >= LOSSES_MAX {
            self.more += 1;
            return;
        }
        let after_us = self.complete_us;
        self.open.push(Loss { what, after_us });
    }

    /// A batch of the device came.
    pub fn batch(&mut self, first_us: i64, complete_us: i64) {
        self.close(Some(first_us));
        self.complete_us = Some(complete_us);
    }

    /// Up to where the device's newest batch is complete.
    pub fn complete_us(&self) -> Option<i64> {
        self.complete_us
    }

    fn close(&mut self, before_us: Option<i64>) {
        for loss in std::mem::take(&mut self.open) {
            let begins = loss
                .after_us
                .is_none_or(|after_us| after_us <= self.time_us);
            // A clock that was set back: how far the loss reaches cannot be told.
            let before_us = before_us.filter(|end| loss.after_us.is_none_or(|after| after <= *end));
            let ends = before_us.is_none_or(|before_us| self.time_us <= before_us);
            if !(begins && ends) {
                continue;
            }
            if self.around.len() >= LOSSES_MAX {
                self.more += 1;
                continue;
            }
            let what = loss
                .what
                .between(loss.after_us.map(rfc3339), before_us.map(rfc3339));
            self.around.push(what);
        }
    }

    /// The losses around the time.
    pub fn end(mut self) -> (Vec<Lost>, u64) {
        self.close(None);
        (self.around, self.more)
    }
}
