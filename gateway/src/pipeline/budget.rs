//! Budget: what follows from the decisions about it that the log holds.
//!
//! A decision raises or lowers the level; each step over `budget.warn` or `budget.cap` is a record
//! of the rule [`RULE`] with an alert that opens or clears. While the level is capped, rules run
//! coarsened, or records of low priority go to no sink and are counted: the ledger's balance of
//! sinks has them as *dropped by budget*.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::budget::{Action, Decision, Level, RULE, coarsened};
use crate::entry::Logged;
use crate::ledger::counters::{Cut, Cuts};
use crate::record::id::{Origin, of_decision, of_note};
use crate::record::{
    AlertCause, AlertNote, AlertState, ClockQuality, Emitted, GROUP, Place, Record, RecordId, Value,
};
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

/// What the records of a decision have in common.
pub(super) struct Scene<'a> {
    pub site: &'a str,
    pub log_incarnation: u32,
    pub position: u64,
    pub logged: &'a Logged,
}

/// Whom a decision's record is about.
pub(super) struct About<'a> {
    pub rule: &'a str,
    pub device: &'a str,
    pub sensor: &'a str,
    pub unit: &'a str,
}

impl Scene<'_> {
    /// The record that tells of a decision, for these sinks.
    pub fn tell(
        &self,
        about: &About<'_>,
        (cause, state): (AlertCause, AlertState),
        values: Vec<(String, Value)>,
        sinks: &[String],
    ) -> Emitted {
        let id = of_decision(&self.origin(about), (cause, state), self.place());
        let mut told = self.record(id, about, values, sinks);
        told.record.alert = Some(AlertNote {
            cause,
            state,
            historic: false,
        });
        told
    }

    /// The record that carries a note, for these sinks.
    pub fn carry(
        &self,
        about: &About<'_>,
        note: String,
        values: Vec<(String, Value)>,
        sinks: &[String],
    ) -> Emitted {
        let id = of_note(&self.origin(about), self.place());
        let mut told = self.record(id, about, values, sinks);
        told.record.note = Some(note);
        told
    }

    fn origin<'a>(&'a self, about: &About<'a>) -> Origin<'a> {
        Origin {
            site: self.site,
            log_incarnation: self.log_incarnation,
            rule: about.rule,
            version: 1,
            device: about.device,
            sensor: about.sensor,
            epoch: 0,
        }
    }

    fn place(&self) -> (u64, i64) {
        (self.position, self.logged.at.wall_us)
    }

    fn record(
        &self,
        id: RecordId,
        about: &About<'_>,
        values: Vec<(String, Value)>,
        sinks: &[String],
    ) -> Emitted {
        let at = self.logged.at;
        let record = Record {
            id,
            site: self.site.to_owned(),
            device: about.device.to_owned(),
            sensor: about.sensor.to_owned(),
            unit: about.unit.to_owned(),
            rule: about.rule.to_owned(),
            version: 1,
            epoch: 0,
            start_us: at.wall_us,
            end_us: at.wall_us,
            revision: 0,
            samples: 0,
            fresh: 0,
            clock: if at.wall_trusted {
                ClockQuality::Learnt
            } else {
                ClockQuality::Untrusted
            },
            partial: false,
            alert: None,
            values,
            note: None,
        };
        Emitted {
            place: Place::default(),
            forward: sinks.to_vec(),
            priority: Priority::High,
            record,
        }
    }
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
    pub fn decide(&mut self, scene: &Scene<'_>, decision: Decision) -> Vec<Emitted> {
        let before = self.level();
        let told = TOLD.iter().filter_map(|(sensor, from)| {
            let state = match (before >= *from, decision.level >= *from) {
                (false, true) => AlertState::Opened,
                (true, false) => AlertState::Cleared,
                (true, true) | (false, false) => return None,
            };
            Some(tell(scene, &decision, sensor, state))
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

fn tell(scene: &Scene<'_>, decision: &Decision, sensor: &str, state: AlertState) -> Emitted {
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
    scene.tell(&about, alert, values.collect(), &decision.sinks)
}
