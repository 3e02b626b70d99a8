//! Asking: when a witness is asked to cosign, and what its answers mean. A machine without I/O or
//! clock.
//!
//! ```text
//!            grown              cosigned, or the spacing passed
//!  Content ────────► Due ──ask──► Asked ────────► Content, or Due where the log grew meanwhile
//!                     ▲             │ silent: again after a growing wait
//!                     └─────────────┘ refused: again after an hour
//! ```
//! Invariants:
//! - A witness is asked once at a time, and only while the log has more than it cosigned.
//! - A witness that cosigned is asked again [`SPACING_US`] later at the earliest, one that is
//!   silent after half of that to [`AGAIN_US`]; only where it has cosigned another size than was
//!   thought it is asked once more at once.
//! - A refusal is told until the witness cosigns: it may be of a history that was rewritten.

mod asker;

use serde::{Deserialize, Serialize};

pub use self::asker::Asker;
use crate::backoff::Backoff;

/// Between two askings of one witness passes at least so much, in µs: what a log that grows without
/// a pause costs a metered link.
pub const SPACING_US: u64 = 60_000_000;
/// The longest wait of one that is silent, and the wait of one that refuses, in µs.
pub const AGAIN_US: u64 = 3_600_000_000;

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has cosigned so many entries.
    Cosigned(u64),
    /// It has cosigned so many already; what was asked had so many.
    Other {
        /// What it has cosigned.
        known: u64,
        /// Entries of the log when it was asked.
        size: u64,
    },
    /// It answered, and refuses: a person has to look.
    Refused(String),
    /// It cannot be asked, does not answer, or cannot answer now.
    Silent(String),
}

/// How it stands with a witness.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// Entries that it has cosigned, as far as is known.
    pub cosigned: u64,
    /// Entries that the log has.
    pub entries: u64,
    /// Why it refuses, until it cosigns.
    pub refused: Option<String>,
    /// Why it could not be asked the last time.
    pub silent: Option<String>,
}

/// The machine of one witness.
#[derive(Debug)]
pub struct Asking {
    standing: Witnessed,
    /// What it is thought to have cosigned.
    old: u64,
    /// What it is being asked to go on from.
    asked: Option<u64>,
    /// Whether it was asked once more already.
    is_repeated: bool,
    /// Not before this, monotonic time in µs.
    due_us: u64,
    backoff: Backoff,
}

impl Asking {
    /// Of a witness that has cosigned so many entries, as far as is known.
    pub fn new(cosigned: u64, seed: u64) -> Self {
        Self {
            standing: Witnessed {
                cosigned,
                entries: cosigned,
                ..Witnessed::default()
            },
            old: cosigned,
            asked: None,
            is_repeated: false,
            due_us: 0,
            backoff: Backoff::new(SPACING_US, AGAIN_US, seed),
        }
    }

    /// How it stands.
    pub fn standing(&self) -> &Witnessed {
        &self.standing
    }

    /// The log has so many entries.
    pub fn grow(&mut self, entries: u64) {
        self.standing.entries = entries;
    }

    /// Has it asked now, if it is to be: what it is thought to have cosigned.
    pub fn ask(&mut self, now_us: u64) -> Option<u64> {
        if self.next_deadline()? > now_us {
            return None;
        }
        self.asked = Some(self.old);
        self.asked
    }

    /// When it is to be asked, monotonic time in µs; none while it need not be.
    pub fn next_deadline(&self) -> Option<u64> {
        let is_due = self.asked.is_none() && self.standing.entries > self.standing.cosigned;
        is_due.then_some(self.due_us)
    }

    /// It has answered.
    pub fn hear(&mut self, now_us: u64, answer: Answer) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        let was_repeated = std::mem::take(&mut self.is_repeated);
        match answer {
            Answer::Cosigned(size) => {
                self.backoff.reset();
                self.old = size;
                self.due_us = now_us + SPACING_US;
                self.standing = Witnessed {
                    cosigned: size,
                    entries: self.standing.entries.max(size),
                    ..Witnessed::default()
                };
            }
            Answer::Other { known, size } if known > size => self.refuse(
                now_us,
                format!(
                    "it has cosigned {known} entries, and this log has {size}: the log was cut \
                     back, or put back to an earlier state"
                ),
            ),
            Answer::Other { known, .. } if known == asked || was_repeated => self.refuse(
                now_us,
                format!(
                    "it says that it has cosigned {known} entries, and another number each time \
                     that it is asked"
                ),
            ),
            Answer::Other { known, .. } => {
                self.old = known;
                self.is_repeated = true;
                self.due_us = now_us;
            }
            Answer::Refused(why) => self.refuse(now_us, why),
            Answer::Silent(why) => {
                self.standing.silent = Some(why);
                self.due_us = now_us + self.backoff.next_us();
            }
        }
    }

    fn refuse(&mut self, now_us: u64, why: String) {
        self.standing.refused = Some(why);
        self.standing.silent = None;
        self.due_us = now_us + AGAIN_US;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn asked(asking: &mut Asking, at_us: u64) -> u64 {
        asking.ask(at_us).expect("it is due")
    }

    #[test]
    fn it_is_asked_once_the_log_grows_and_at_most_once_a_minute() {
        let mut asking = Asking::new(4, 1);
        assert_eq!((asking.ask(0), asking.next_deadline()), (None, None));
        asking.grow(5);
        assert_eq!(asked(&mut asking, S), 4);
        assert_eq!(asking.ask(S), None, "it is being asked");
        asking.grow(6);
        asking.hear(2 * S, Answer::Cosigned(5));
        assert_eq!(asking.ask(61 * S), None, "a minute has not passed");
        assert_eq!(asking.next_deadline(), Some(62 * S));
        assert_eq!(asked(&mut asking, 62 * S), 5);
        asking.hear(62 * S, Answer::Cosigned(6));
        assert_eq!(asking.next_deadline(), None);
        assert_eq!(
            (asking.standing().cosigned, asking.standing().entries),
            (6, 6)
        );
    }

    #[test]
    fn one_that_has_cosigned_another_size_is_asked_again_at_once_and_only_once() {
        let mut asking = Asking::new(0, 1);
        asking.grow(9);
        assert_eq!(asked(&mut asking, 0), 0);
        let other = |known| Answer::Other { known, size: 9 };
        asking.hear(0, other(7));
        assert_eq!(asked(&mut asking, 0), 7);
        asking.hear(0, other(8));
        assert_eq!(asking.ask(AGAIN_US - 1), None);
        assert!(asking.standing().refused.is_some());
        // What it said last is where it is asked to go on from, and it may be right by then.
        assert_eq!(asked(&mut asking, AGAIN_US), 7);
        asking.hear(AGAIN_US, other(8));
        assert_eq!(asked(&mut asking, AGAIN_US), 8);
        asking.hear(AGAIN_US, Answer::Cosigned(9));
        assert_eq!(asking.standing().refused, None);
    }

    #[test]
    fn one_that_has_cosigned_more_than_there_is_tells_of_a_log_that_was_cut_back() {
        let mut asking = Asking::new(0, 1);
        asking.grow(3);
        asked(&mut asking, 0);
        asking.hear(0, Answer::Other { known: 8, size: 3 });
        let refused = asking.standing().refused.clone().unwrap();
        assert!(
            refused.contains("8 entries") && refused.contains("cut"),
            "{refused}"
        );
        assert_eq!(asking.next_deadline(), Some(AGAIN_US));
    }

    #[test]
    fn silence_waits_longer_each_time_and_a_refusal_is_told_until_it_cosigns() {
        let mut asking = Asking::new(0, 1);
        asking.grow(1);
        let mut now_us = 0;
        for most_us in [SPACING_US, 2 * SPACING_US, 4 * SPACING_US] {
            asked(&mut asking, now_us);
            asking.hear(now_us, Answer::Silent("away".into()));
            let wait_us = asking.next_deadline().unwrap() - now_us;
            assert!((most_us / 2..=most_us).contains(&wait_us), "{wait_us}");
            now_us += wait_us;
        }
        asked(&mut asking, now_us);
        asking.hear(now_us, Answer::Refused("two histories".into()));
        assert_eq!(asking.standing().silent, None);
        now_us += AGAIN_US;
        asked(&mut asking, now_us);
        asking.hear(now_us, Answer::Silent("away".into()));
        assert!(asking.standing().refused.is_some() && asking.standing().silent.is_some());
        now_us = asking.next_deadline().unwrap();
        asked(&mut asking, now_us);
        asking.hear(now_us, Answer::Cosigned(1));
        let standing = asking.standing();
        assert_eq!((&standing.refused, &standing.silent), (&None, &None));
    }

    #[test]
    fn an_answer_that_was_not_asked_for_changes_nothing() {
        let mut asking = Asking::new(2, 1);
        asking.hear(0, Answer::Cosigned(9));
        assert_eq!(asking.standing().cosigned, 2);
    }
}
