//! Reconfiguration: other rules and limits for a gateway that runs, durable before they hold.
//!
//! ```text
//! Reconfigured ─► Asked ──this gateway owns the site──► Logged ──its batch is durable──► InForce
//! ```
//! Invariants: nothing of a reconfiguration holds before its last entry is durable; one that has
//! no entry holds at once; a gateway that stands by logs nothing, so there it waits.

use crate::clock::trust::wait_us;
use crate::entry::{Entry, Limits, Logged};
use crate::rules::RuleSet;
use crate::rules::settings::BudgetSettings;
use crate::time::Word;

/// What is to hold from some entry on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconfiguration {
    /// The rule set, where it changes.
    pub rules: Option<RuleSet>,
    /// The limits that the log holds, as configured, where they change.
    pub limits: Option<Limits>,
    /// Frames a device may have in flight.
    pub window_max: u16,
    /// Longest wait of an entry for its batch, in ms.
    pub commit_ms: u64,
    /// What may leave in a month.
    pub budget: Option<BudgetSettings>,
}

impl Reconfiguration {
    /// What the log must hold before it holds; `word` is what the machine says of its clock.
    fn entries(&self, word: Word) -> Vec<Entry> {
        let rules = self.rules.iter().map(|rules| Entry::Rules {
            text: rules.to_json(),
        });
        let limits = self.limits.iter().map(|limits| {
            Entry::Limits(Limits {
                clock_wait_us: wait_us(limits.clock_wait_us, word),
                ..*limits
            })
        });
        rules.chain(limits).collect()
    }
}

/// A reconfiguration on its way.
#[derive(Debug)]
pub(super) struct Underway {
    new: Reconfiguration,
    /// Its last entry, once that is on its way to the log.
    last: Option<Entry>,
}

/// What the next step of one is.
pub(super) enum Step {
    /// These go to the log.
    Log(Vec<Entry>),
    /// Nothing has to: it holds.
    Hold(Reconfiguration),
}

impl Underway {
    pub(super) fn new(new: Reconfiguration) -> Self {
        Self { new, last: None }
    }

    /// Begins one that nothing was done for yet.
    pub(super) fn begin(&mut self, word: Word) -> Option<Step> {
        if self.last.is_some() {
            return None;
        }
        let entries = self.new.entries(word);
        self.last = entries.last().cloned();
        Some(if entries.is_empty() {
            Step::Hold(self.new.clone())
        } else {
            Step::Log(entries)
        })
    }

    /// What holds now that these are durable. Its entries went out in one batch, and differ from
    /// those of the reconfiguration before.
    pub(super) fn durable(&self, entries: &[Logged]) -> Option<Reconfiguration> {
        let last = self.last.as_ref()?;
        let is_there = entries.iter().any(|one| one.entry == *last);
        is_there.then(|| self.new.clone())
    }
}
