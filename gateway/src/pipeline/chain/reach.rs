//! Reaches: how far a device's records have come.

use serde::{Deserialize, Serialize};

/// How far the records of one rule over one device have come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Reach {
    /// Below this event time none is missing.
    pub complete_us: Option<i64>,
    /// Whether something is open that will be told.
    pub is_open: bool,
    /// From this arrival time on nothing is expected of it soon.
    pub quiet_us: i64,
}

impl Reach {
    /// Whether it has told all that it could at an arrival time.
    pub fn is_settled(&self, now_us: i64) -> bool {
        !self.is_open && self.quiet_us <= now_us
    }

    /// How far both have come.
    pub fn and(self, other: Self) -> Self {
        Self {
            complete_us: match (self.complete_us, other.complete_us) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            is_open: self.is_open || other.is_open,
            quiet_us: self.quiet_us.max(other.quiet_us),
        }
    }

    /// How far all have come that are not settled; if there are none, the furthest of all.
    pub fn of_all<'m>(marks: impl Iterator<Item = &'m Self> + Clone, now_us: i64) -> Self {
        let live = marks.clone().filter(|mark| !mark.is_settled(now_us));
        let mut least: Option<Self> = None;
        for mark in live {
            let so_far = least.unwrap_or(*mark);
            least = Some(Self {
                // One that is not known yet holds everything up.
                complete_us: so_far.complete_us.min(mark.complete_us),
                ..so_far.and(*mark)
            });
        }
        least.unwrap_or_else(|| Self {
            complete_us: marks.map(|mark| mark.complete_us).max().flatten(),
            is_open: false,
            quiet_us: i64::MIN,
        })
    }
}
