//! Budget: what follows from the decisions about it that the log holds.
//!
//! A decision raises or lowers the level; each step over `budget.warn` or `budget.cap` is a record
//! of the rule [`RULE`] with an alert that opens or clears. While the level is capped, rules run
//! coarsened, or records of low priority go to no sink and are counted: the ledger's balance of
//! sinks has them as *dropped by budget*.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::occasion::{About, Occasion};
use crate::budget::{Action, Decision, Level, RULE, coarsened};
use crate::ledger::counters::{Cut, Cuts};
use crate::record::{AlertCause, AlertState, Emitted, GROUP, Value};
use crate::rules::{Priority, RuleSet};

/// Sensors of the records that tell, and the level from which on their alert is open.
const TOLD: [(&str, Level); 2] = [
    ("budget.cap", Level::Capped),
    ("budget.warn", Level::Warned),
];

/// The budget as the log has it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Budget {
    /// What was decided last.
    decided: Option<Decision>,
    /// What was dropped.
    cuts: Cuts,
}

impl Budget {
    /// What was decided last.
    pub fn decided(&self) -> Option<&Decision> {
        self.decided.as_ref()
    }

    /// What was dropped so far.
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Takes a decision; gives the records that tell of it.
    pub fn decide(&mut self, occasion: &Occasion<'_>, decision: Decision) -> Vec<Emitted> {
        let before = self.level();
        let told = TOLD.iter().filter_map(|(sensor, from)| {
            let state = match (before >= *from, decision.level >= *from) {
                (false, true) => AlertState::Opened,
                (true, false) => AlertState::Cleared,
                (true, true) | (false, false) => return None,
            };
            Some(tell(occasion, &decision, sensor, state))
        });
        let told = told.collect();
        self.decided = Some(decision);
        told
    }

    /// The rules as they run.
    pub fn applied<'r>(&self, rules: &'r RuleSet) -> Cow<'r, RuleSet> {
        match self.action() {
            Action::Coarsen { to_us } => Cow::Owned(coarsened(rules, to_us)),
            Action::Nothing | Action::DropLow => Cow::Borrowed(rules),
        }
    }

    /// Takes records of low priority off the way to their sinks, and counts them.
    pub fn cut(&mut self, emitted: &mut [Emitted]) {
        if self.action() != Action::DropLow {
            return;
        }
        let low = emitted.iter_mut();
        for one in low.filter(|one| one.priority == Priority::Low) {
            let mut sinks = std::mem::take(&mut one.forward);
            sinks.sort();
            sinks.dedup();
            let record = &one.record;
            for sink in sinks {
                let rules = self.cuts.entry(sink).or_default();
                let devices = rules.entry(record.rule.clone()).or_default();
                let sensors = devices.entry(record.device.clone()).or_default();
                let cut: &mut Cut = sensors.entry(record.sensor.clone()).or_default();
                cut.records += 1;
                cut.fresh += record.fresh;
            }
        }
    }

    fn level(&self) -> Level {
        self.decided.as_ref().map_or(Level::Free, |one| one.level)
    }

    /// What happens now.
    fn action(&self) -> Action {
        let capped = self.decided.as_ref();
        let capped = capped.filter(|one| one.level == Level::Capped);
        capped.map_or(Action::Nothing, |one| one.action)
    }
}

fn tell(occasion: &Occasion<'_>, decision: &Decision, sensor: &str, state: AlertState) -> Emitted {
    let bytes = |name: &str, bytes: u64| (name.to_owned(), Value::Count(bytes));
    let forecast = decision.forecast_bytes;
    let values = [bytes("used", decision.used_bytes)]
        .into_iter()
        .chain(forecast.map(|forecast| bytes("forecast", forecast)))
        .chain([bytes("cap", decision.cap_bytes)]);
    let about = About {
        rule: RULE,
        device: GROUP,
        sensor,
        unit: "B",
    };
    let alert = (AlertCause::Budget, state);
    occasion.tell(&about, alert, values.collect(), &decision.sinks)
}
