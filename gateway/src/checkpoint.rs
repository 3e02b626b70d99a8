//! Checkpoints: that the audit log's newest one goes upstream. A machine without I/O or clock.
//!
//! Terms: a *checkpoint* is the audit log's size and root hash, signed, as a note of some lines.
//! The *herald* has it told: an entry of the log first, and so a record of the rule [`RULE`] that
//! carries the note to every sink. Who keeps those records can show that the log was rewritten.
//!
//! ```text
//!          heard                    told
//! Nothing ───────► Waiting (newest) ─────► Nothing
//!                     ▲   │ another is heard: it takes the place
//!                     └───┘
//! ```
//! Invariants:
//! - What is heard after [`SPACING_US`] of silence is told at once, so that whoever gets at the
//!   gateway has no time to take an act back; what is heard earlier waits for that time. Then the
//!   newest is told, which stands for those before it.
//! - Every start hears the checkpoint that it begins with: a data directory that was put back to
//!   an earlier state is seen upstream, too.
//! - A gateway that stands by tells nothing and keeps the newest.

use serde::{Deserialize, Serialize};

/// The kind of these decisions in the log ([`crate::entry::Entry::Decision`]).
pub const KIND: &str = "audit";
/// The rule of the records that carry checkpoints. Rules of a configuration cannot have the name.
pub const RULE: &str = "tidegate.audit";
/// The sensor of these records.
pub const SENSOR: &str = "audit.checkpoint";
/// Most bytes of a checkpoint that is told. One signed by its log alone has fewer than 400.
pub const NOTE_BYTES_MAX: usize = 2_048;
/// Between two checkpoints that are told passes at least so much, in µs. A record of one takes
/// some 600 bytes: at this pace a log that grows without a pause costs less than 1 MB a day.
pub const SPACING_US: u64 = 60_000_000;

/// A checkpoint as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many entries the log has.
    pub entries: u64,
    /// The signed note.
    pub note: String,
}

/// What is told; its JSON is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// How many entries the audit log has.
    pub entries: u64,
    /// The checkpoint, signed.
    pub note: String,
    /// The sinks that are told.
    pub sinks: Vec<String>,
}

impl Decision {
    /// What a checkpoint makes the log say.
    pub fn of(checkpoint: Checkpoint, sinks: Vec<String>) -> Self {
        Self {
            entries: checkpoint.entries,
            note: checkpoint.note,
            sinks,
        }
    }

    /// Reads the text of an entry; none where it is no such decision, or longer than one can be.
    pub fn parse(text: &str) -> Option<Self> {
        let decision: Self = serde_json::from_str(text).ok()?;
        Some(decision).filter(|one| one.note.len() <= NOTE_BYTES_MAX)
    }

    /// The text of its entry.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a decision holds texts and numbers, which are all JSON")
    }
}

/// The machine.
#[derive(Debug, Default)]
pub struct Herald {
    /// What is to be told.
    newest: Option<Checkpoint>,
    /// When the last was told, monotonic time in µs.
    told_us: Option<u64>,
}

impl Herald {
    /// The audit log has become this.
    pub fn hear(&mut self, checkpoint: Checkpoint) {
        self.newest = Some(checkpoint);
    }

    /// What is to be logged now, if anything; it counts as logged from here on.
    pub fn tell(&mut self, now_us: u64) -> Option<Checkpoint> {
        if self.next_deadline()? > now_us {
            return None;
        }
        self.told_us = Some(now_us);
        self.newest.take()
    }

    /// When something is to be logged, monotonic time in µs; none while nothing is.
    pub fn next_deadline(&self) -> Option<u64> {
        self.newest.as_ref()?;
        let due_us = self.told_us.map(|told_us| told_us + SPACING_US);
        Some(due_us.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn of(entries: u64) -> Checkpoint {
        let note = format!("log\n{entries}\n");
        Checkpoint { entries, note }
    }

    fn told(herald: &mut Herald, at_us: u64) -> Option<u64> {
        herald.tell(at_us).map(|told| told.entries)
    }

    #[test]
    fn the_first_is_told_at_once_and_of_those_that_follow_the_newest() {
        let mut herald = Herald::default();
        assert_eq!((told(&mut herald, 0), herald.next_deadline()), (None, None));
        herald.hear(of(1));
        assert_eq!(told(&mut herald, 5 * S), Some(1));
        assert_eq!(herald.next_deadline(), None);
        herald.hear(of(2));
        herald.hear(of(3));
        assert_eq!(told(&mut herald, 64 * S), None);
        assert_eq!(herald.next_deadline(), Some(65 * S));
        assert_eq!(told(&mut herald, 65 * S), Some(3));
        assert_eq!(told(&mut herald, 200 * S), None, "once");
        herald.hear(of(4));
        assert_eq!(told(&mut herald, 200 * S), Some(4), "a minute is long over");
    }

    #[test]
    fn a_text_that_is_too_long_is_no_decision() {
        let decision = Decision::of(of(1), vec!["cloud".into()]);
        assert_eq!(Decision::parse(&decision.to_json()), Some(decision.clone()));
        let long = Decision {
            note: "a".repeat(NOTE_BYTES_MAX + 1),
            ..decision
        };
        assert_eq!(Decision::parse(&long.to_json()), None);
    }
}
