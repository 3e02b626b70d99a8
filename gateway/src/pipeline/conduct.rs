//! Conduct: the record that tells of a device that went into quarantine or came out.

use super::occasion::{About, Occasion};
use crate::conduct::{Decision, RULE};
use crate::record::{AlertCause, AlertState, Emitted, Value};
use crate::session::Turn;

/// What a decision tells.
pub(super) fn tell(occasion: &Occasion<'_>, decision: &Decision) -> Emitted {
    let about = About {
        rule: RULE,
        device: decision.device.as_str(),
        sensor: match decision.turn {
            Turn::Quarantined => "conduct.quarantine",
            Turn::Suspected => "conduct.suspicion",
        },
        unit: "",
    };
    let state = if decision.is_over {
        AlertState::Cleared
    } else {
        AlertState::Opened
    };
    let values = decision.why.iter();
    let values = values.map(|(reason, count)| {
        let name = reason.name().replace('-', "_");
        (name, Value::Count(*count))
    });
    let alert = (AlertCause::Conduct, state);
    occasion.tell(&about, alert, values.collect(), &decision.sinks)
}
