//! One (incarnation, boot) pair of a device: which of its sequences are accounted for, and how.
//!
//! Every sequence from 1 to `through` is either logged or inside a gap; nothing above it is.
//! Checks (CRC-32C of plain frames) are kept for the newest [`CHECKS_MAX`] sequences up to
//! `checked_through`, the highest logged one; a gap's sequences among them hold 0.
//!
//! ```text
//! 1 ............. through-256 ............. checked_through ...... through
//! known, taken as the same content | known with their checks | a gap | the next is through + 1
//! ```

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::{Check, Incarnation};
use tidegate_shared::mutation::{Mutation, is_on};

/// Sequences whose content is remembered. Four windows of the widest grant: a device resends at
/// most one window.
pub const CHECKS_MAX: usize = 256;
/// Gaps remembered. No more than this many fit, with a frame between each, into the sequences
/// whose checks are remembered; older ones are taken as logged (only a counter tells).
pub const GAPS_MAX: usize = CHECKS_MAX / 2;

/// What a sequence is to a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The one to be logged next.
    Next,
    /// Beyond the next one.
    Ahead,
    /// Logged, with the same content.
    Duplicate,
    /// Logged as lost: its device said that it does not hold it. Whoever does is another one.
    AfterGap,
    /// Logged, with other content.
    Conflict,
}

/// The sequences of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub incarnation: Incarnation,
    pub boot: u32,
    /// Whether the newest frame is the last of a planned stop.
    pub ended: bool,
    through: u32,
    checked_through: u32,
    checks: VecDeque<u32>,
    gaps: VecDeque<(u32, u32)>,
}

impl Pair {
    /// A pair of which nothing is known yet.
    pub fn new(incarnation: Incarnation, boot: u32) -> Self {
        Self {
            incarnation,
            boot,
            ended: false,
            through: 0,
            checked_through: 0,
            checks: VecDeque::new(),
            gaps: VecDeque::new(),
        }
    }

    /// The highest sequence accounted for; `u32::MAX` when the boot is known to be over.
    pub fn through(&self) -> u32 {
        self.through
    }

    /// Whether nothing more of this boot can come.
    pub fn is_closed(&self) -> bool {
        self.through == u32::MAX
    }

    /// What a frame with this sequence and check would be.
    pub fn standing(&self, sequence: u32, check: Check) -> Standing {
        if sequence > self.through {
            return if sequence - self.through == 1 {
                Standing::Next
            } else {
                Standing::Ahead
            };
        }
        let in_gap = |&(from, through): &(u32, u32)| (from..=through).contains(&sequence);
        if self.gaps.iter().rev().any(in_gap) {
            return Standing::AfterGap;
        }
        match self.check(sequence) {
            Some(known) if known != check && !is_on(Mutation::ConflictAsDuplicate) => {
                Standing::Conflict
            }
            _ if is_on(Mutation::DuplicatesLogged) => Standing::Next,
            _ => Standing::Duplicate,
        }
    }

    /// What an ack that answers the frame `meant` (0: none in particular) says: through, check.
    ///
    /// A closed pair is acked only as far as the device can have sent: an ack beyond that would
    /// be ignored.
    pub fn ack(&self, meant: u32) -> (u32, Check) {
        let through = if self.is_closed() {
            self.checked_through.max(meant)
        } else {
            self.through
        };
        if through == self.checked_through {
            (through, self.check(through).unwrap_or_default())
        } else {
            (through, Check::default())
        }
    }

    /// Notes a logged frame. Sequences that are missing before it were in a part of the log that
    /// could not be read: they become a gap.
    pub fn take(&mut self, sequence: u32, check: Check) {
        if sequence <= self.through {
            return;
        }
        self.skip(sequence - 1);
        let unchecked = (sequence - 1 - self.checked_through) as usize;
        if unchecked >= CHECKS_MAX {
            self.checks.clear();
        } else if !self.checks.is_empty() {
            for _ in 0..unchecked {
                self.push_check(0);
            }
        }
        self.push_check(check.0);
        self.checked_through = sequence;
        self.through = sequence;
    }

    /// Notes that what is missing up to `through` will never come.
    pub fn skip(&mut self, through: u32) {
        if through <= self.through {
            return;
        }
        let from = self.through + 1;
        match self.gaps.back_mut() {
            Some(last) if last.1 == self.through => last.1 = through,
            _ => {
                if self.gaps.len() == GAPS_MAX {
                    self.gaps.pop_front();
                }
                self.gaps.push_back((from, through));
            }
        }
        self.through = through;
    }

    fn check(&self, sequence: u32) -> Option<Check> {
        let back = self.checked_through.checked_sub(sequence)? as usize;
        let at = self.checks.len().checked_sub(back + 1)?;
        self.checks.get(at).copied().map(Check)
    }

    fn push_check(&mut self, check: u32) {
        if self.checks.len() == CHECKS_MAX {
            self.checks.pop_front();
        }
        self.checks.push_back(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        Pair::new(Incarnation(7), 1)
    }

    #[test]
    fn sequences_stand_as_they_were_taken() {
        let mut pair = pair();
        assert_eq!(pair.standing(1, Check(10)), Standing::Next);
        assert_eq!(pair.standing(2, Check(10)), Standing::Ahead);
        pair.take(1, Check(10));
        assert_eq!(pair.standing(1, Check(10)), Standing::Duplicate);
        assert_eq!(pair.standing(1, Check(11)), Standing::Conflict);
        pair.skip(4);
        assert_eq!(pair.ack(0), (4, Check(0)));
        assert_eq!(pair.standing(3, Check(12)), Standing::AfterGap);
        pair.take(5, Check(50));
        assert_eq!(pair.ack(0), (5, Check(50)));
        assert_eq!(pair.standing(1, Check(11)), Standing::Conflict);
        assert_eq!(pair.standing(3, Check(12)), Standing::AfterGap);
        assert_eq!(pair.standing(6, Check(1)), Standing::Next);
    }

    #[test]
    fn content_is_remembered_for_the_newest_sequences_only() {
        let mut pair = pair();
        for sequence in 1..=300 {
            pair.take(sequence, Check(sequence));
        }
        assert_eq!(pair.checks.len(), CHECKS_MAX);
        assert_eq!(pair.standing(45, Check(0)), Standing::Conflict);
        assert_eq!(pair.standing(44, Check(0)), Standing::Duplicate);
    }

    #[test]
    fn a_long_gap_forgets_contents_but_not_itself() {
        let mut pair = pair();
        pair.take(1, Check(1));
        pair.skip(1_000);
        pair.take(1_001, Check(5));
        assert_eq!(pair.standing(1, Check(9)), Standing::Duplicate);
        assert_eq!(pair.standing(2, Check(9)), Standing::AfterGap);
        assert_eq!(pair.standing(1_001, Check(9)), Standing::Conflict);
        assert_eq!(pair.checks.len(), 1);
    }

    #[test]
    fn a_closed_pair_is_acked_as_far_as_was_sent() {
        let mut pair = pair();
        pair.take(1, Check(1));
        pair.skip(u32::MAX);
        assert!(pair.is_closed());
        assert_eq!(pair.ack(0), (1, Check(1)));
        assert_eq!(pair.ack(3), (3, Check(0)));
        assert_eq!(pair.standing(u32::MAX, Check(0)), Standing::AfterGap);
    }

    #[test]
    fn alternating_gaps_and_frames_stay_within_their_limits() {
        let mut pair = pair();
        for step in 0..1_000_u32 {
            pair.skip(step * 2 + 1);
            pair.take(step * 2 + 2, Check(step + 1));
        }
        assert!(pair.gaps.len() <= GAPS_MAX && pair.checks.len() <= CHECKS_MAX);
        for back in 0..CHECKS_MAX as u32 {
            let sequence = 2_000 - back;
            let expected = if sequence % 2 == 1 {
                Standing::AfterGap
            } else {
                Standing::Conflict
            };
            assert_eq!(pair.standing(sequence, Check(0)), expected, "{sequence}");
        }
    }
}
