//! Conduct: the record that tells of a device that went into quarantine or came out.

use crate::conduct::{Decision, RULE};
use crate::record::id::{Origin, of_decision};
use crate::record::{
    AlertCause, AlertNote, AlertState, ClockQuality, Emitted, Place, Record, Value,
};
use crate::rules::Priority;
use crate::session::Turn;

use super::budget::Scene;

/// What a decision tells.
pub(super) fn tell(scene: &Scene<'_>, decision: &Decision) -> Emitted {
    let sensor = match decision.turn {
        Turn::Quarantined => "conduct.quarantine",
        Turn::Suspected => "conduct.suspicion",
    };
    let origin = Origin {
        site: scene.site,
        log_incarnation: scene.log_incarnation,
        rule: RULE,
        version: 1,
        device: decision.device.as_str(),
        sensor,
        epoch: 0,
    };
    let at = scene.logged.at;
    let cause = AlertCause::Conduct;
    let state = if decision.is_over {
        AlertState::Cleared
    } else {
        AlertState::Opened
    };
    let values = decision.why.iter();
    let record = Record {
        id: of_decision(&origin, (cause, state), (scene.position, at.wall_us)),
        site: scene.site.to_owned(),
        device: decision.device.as_str().to_owned(),
        sensor: sensor.to_owned(),
        unit: String::new(),
        rule: RULE.to_owned(),
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
        alert: Some(AlertNote {
            cause,
            state,
            historic: false,
        }),
        values: values
            .map(|(reason, count)| (reason.name().replace('-', "_"), Value::Count(*count)))
            .collect(),
    };
    Emitted {
        place: Place::default(),
        forward: decision.sinks.clone(),
        priority: Priority::High,
        record,
    }
}
