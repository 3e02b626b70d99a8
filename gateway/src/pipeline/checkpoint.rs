//! Checkpoints: the record that carries the audit log's newest one upstream.

use super::occasion::{About, Occasion};
use crate::checkpoint::{Decision, RULE, SENSOR};
use crate::record::{Emitted, GROUP, Value};

/// What a decision tells.
pub(super) fn tell(occasion: &Occasion<'_>, decision: Decision) -> Emitted {
    let about = About {
        rule: RULE,
        device: GROUP,
        sensor: SENSOR,
        unit: "",
    };
    let entries = ("entries".to_owned(), Value::Count(decision.entries));
    occasion.carry(&about, decision.note, vec![entries], &decision.sinks)
}
