//! Watcher: what the store's thread shows its samples and records to.

use std::sync::{Arc, Mutex, PoisonError};

use super::taps::Mouth;
use super::{Recent, Taps};
use crate::pipeline::Observed;
use crate::record::Emitted;
use crate::store::Onlooker;

/// Fills what is recent and passes on to taps. The lock is the store's thread's own: it answers
/// the questions, too.
#[derive(Debug)]
pub struct Watcher {
    recent: Arc<Mutex<Recent>>,
    mouth: Mouth,
    fills: bool,
}

impl Watcher {
    /// One that fills `recent` and lets `taps` flow.
    pub fn new(recent: Arc<Mutex<Recent>>, taps: Taps) -> Self {
        Self {
            recent,
            mouth: Mouth::of(taps),
            fills: false,
        }
    }
}

impl Onlooker for Watcher {
    fn looks(&mut self, now_us: u64) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.fills = recent.looks(now_us);
        self.fills || self.mouth.is_open()
    }

    fn saw(&mut self, samples: Vec<Observed>, records: &[Emitted]) {
        if self.fills {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.take(&samples);
            recent.take_records(records);
        }
        self.mouth.pass(samples, records);
    }
}
