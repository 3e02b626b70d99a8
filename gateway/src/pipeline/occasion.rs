//! Occasion: the records that tell of a decision, which no device's samples made.
//!
//! A decision about the budget, a device's conduct or the audit log comes from outside and is in
//! the log; what tells of it upstream is of high priority, goes to the sinks that the decision
//! names, and has the time of its entry.

use crate::entry::Logged;
use crate::record::id::{Origin, of_decision, of_note};
use crate::record::{
    AlertCause, AlertNote, AlertState, ClockQuality, Emitted, Place, Record, RecordId, Value,
};
use crate::rules::Priority;

/// What the records of a decision have in common.
pub(super) struct Occasion<'a> {
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

impl Occasion<'_> {
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
