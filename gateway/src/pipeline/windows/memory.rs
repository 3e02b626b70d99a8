//! Memory: the samples before a window that it begins with, or that sliding ones to come hold.

use serde::{Deserialize, Serialize};

/// Most samples remembered for sliding windows of one sensor. A window that needs older ones is
/// marked as partial.
pub(in crate::pipeline) const SLIDING_SAMPLES_MAX: usize = 4_096;

/// What windows remember of the samples before them.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Event time and raw of the newest sample of each column that asks for it.
    pub newest: Vec<(u16, i64, i64)>,
    pub recent: Recent,
}

/// Samples that sliding windows still to come may hold.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Recent {
    /// Event time and raw, ascending by time, ties in log order.
    pub samples: Vec<(i64, i64)>,
    /// The newest sample given up for want of room.
    pub lost_us: Option<i64>,
}

impl Recent {
    /// Takes a sample; those older than a time are needed no more.
    pub fn push(&mut self, sample: (i64, i64), oldest_us: Option<i64>) {
        if let Some(oldest_us) = oldest_us {
            let gone = self
                .samples
                .partition_point(|(time_us, _)| *time_us < oldest_us);
            // One is kept: a window's timeline begins with what came before it.
            self.samples.drain(..gone.saturating_sub(1));
        }
        let at = self
            .samples
            .partition_point(|(time_us, _)| *time_us <= sample.0);
        self.samples.insert(at, sample);
        if self.samples.len() > SLIDING_SAMPLES_MAX {
            let (time_us, _) = self.samples.remove(0);
            self.lost_us = self.lost_us.max(Some(time_us));
        }
    }
}
