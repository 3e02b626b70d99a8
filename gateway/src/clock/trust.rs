//! Trust: whether the gateway's own wall clock is to be believed, and why not.
//!
//! Terms: the *word* is what the machine says of its wall clock; a *contradiction* is a wall
//! clock earlier than the newest trusted entry of the log, by more than [`BACK_US`].
//!
//! ```text
//!            word: unsynchronised │ wall before BUILT_US │ contradiction
//! trusted ──────────────────────────────────────────────────────────────▶ untrusted (why)
//!    ▲                                                                        │
//!    └──── none of these, or: a contradiction with a synchronised clock ◀─────┘
//!          that held for BELIEVED_AFTER_US without a step
//! ```
//! Invariants:
//! - Only entries stamped while trusted count as the newest one: a wrong time far ahead, logged
//!   while it was known to be doubtful, makes no later one doubtful.
//! - Every state is left by itself: a time service that insists is believed in the end, as then
//!   it was the log that had been wrong.
//! - Stepping or losing trust never touches the monotonic clock, so no timer notices.

use serde::Serialize;

use crate::entry::Entry;
use crate::time::{SECOND_US, Timestamp, Word};

/// 2025-10-01T00:00:00Z: no copy of this version ran earlier. Raised with each release; a
/// constant, so that equal sources build equal binaries.
pub const BUILT_US: i64 = 1_759_276_800 * SECOND_US;
/// How far a trusted clock may go back without being doubted: time services step by less.
pub const BACK_US: i64 = 10 * SECOND_US;
/// A synchronised clock is believed against the log after this long, as monotonic time.
pub const BELIEVED_AFTER_US: u64 = 600_000_000;
/// The wall clock moved against the monotonic one by more than this: a step, and an entry.
pub const STEP_US: u64 = 1_000_000;

/// Why the wall clock is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distrust {
    /// The machine waits for a time service, or has lost it.
    Unsynchronised,
    /// It is earlier than the newest trusted entry of the log.
    BeforeNewestEntry,
    /// It is earlier than this version of the gateway.
    BeforeBuild,
}

/// Whether the wall clock is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It is.
    Trusted,
    /// It is not.
    Untrusted {
        /// Why not, at present.
        why: Distrust,
        /// Since when, monotonic µs.
        since_us: u64,
    },
}

/// A change worth an entry: a step, or trust that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The wall clock as it would read now without the step, in µs.
    pub before_us: i64,
    /// The wall clock now, in µs.
    pub after_us: i64,
    /// Trust before and after, where it changed.
    pub trust: Option<(Trust, Trust)>,
}

impl Step {
    /// The entry that tells the pipeline, to be stamped with the time that [`TrustWatch::handle`]
    /// gave along with it.
    pub fn entry(&self) -> Entry {
        Entry::ClockStep {
            before_us: self.before_us,
            after_us: self.after_us,
        }
    }
}

/// Stamps every moment with whether its wall clock is trusted.
#[derive(Debug, Clone)]
pub struct TrustWatch {
    /// Wall time of the newest trusted entry or moment.
    newest_us: Option<i64>,
    trust: Trust,
    /// Since when a synchronised clock contradicts the log, monotonic µs.
    contradicts_us: Option<u64>,
    last: Option<Timestamp>,
}

impl TrustWatch {
    /// A watch over a log whose newest trusted entry was made at a wall time, if there is one.
    pub fn new(newest_us: Option<i64>) -> Self {
        Self {
            newest_us,
            trust: Trust::Trusted,
            contradicts_us: None,
            last: None,
        }
    }

    /// Takes a reading of the clocks and the machine's word. Returns the moment with
    /// `wall_trusted` as it is to be logged, and what changed since the moment before.
    pub fn handle(&mut self, now: Timestamp, word: Word) -> (Timestamp, Option<Step>) {
        let before_us = self.last.map(|last| {
            let passed_us = now.mono_us.saturating_sub(last.mono_us);
            last.wall_us.saturating_add_unsigned(passed_us)
        });
        let stepped = before_us.is_some_and(|before| now.wall_us.abs_diff(before) > STEP_US);
        if stepped {
            self.contradicts_us = None;
        }
        let was = self.trust;
        self.trust = match (self.doubt(&now, word), was) {
            (None, _) => Trust::Trusted,
            (Some(why), Trust::Trusted) => Trust::Untrusted {
                why,
                since_us: now.mono_us,
            },
            (Some(why), Trust::Untrusted { since_us, .. }) => Trust::Untrusted { why, since_us },
        };
        let wall_trusted = self.trust == Trust::Trusted;
        if wall_trusted {
            self.newest_us = Some(now.wall_us);
        }
        let at = Timestamp {
            wall_trusted,
            ..now
        };
        let turned = (was == Trust::Trusted) != wall_trusted;
        self.last = Some(at);
        let step = before_us
            .filter(|_| stepped || turned)
            .map(|before_us| Step {
                before_us,
                after_us: now.wall_us,
                trust: turned.then_some((was, self.trust)),
            });
        (at, step)
    }

    /// Whether the clock is trusted, as of the newest moment.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    fn doubt(&mut self, now: &Timestamp, word: Word) -> Option<Distrust> {
        let newest_us = self.newest_us.unwrap_or(i64::MIN);
        let contradicts = now.wall_us < newest_us.saturating_sub(BACK_US);
        if !contradicts || word != Word::Synchronised {
            self.contradicts_us = None;
        }
        if now.wall_us < BUILT_US {
            return Some(Distrust::BeforeBuild);
        }
        if word == Word::Unsynchronised {
            return Some(Distrust::Unsynchronised);
        }
        if !contradicts {
            return None;
        }
        if word == Word::Synchronised {
            let since_us = *self.contradicts_us.get_or_insert(now.mono_us);
            if now.mono_us.saturating_sub(since_us) >= BELIEVED_AFTER_US {
                self.contradicts_us = None;
                return None;
            }
        }
        Some(Distrust::BeforeNewestEntry)
    }
}

/// How long the pipeline is to wait for a trusted clock: as configured, but not at all where the
/// machine says nothing of its clock, for then nothing would end the wait.
pub fn wait_us(configured_us: i64, word: Word) -> i64 {
    if word == Word::Silent {
        0
    } else {
        configured_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400 * SECOND_US;
    const NOON_US: i64 = BUILT_US + 100 * DAY_US;

    fn at(mono_s: u64, wall_us: i64) -> Timestamp {
        Timestamp {
            mono_us: mono_s * 1_000_000,
            wall_us: wall_us + mono_s as i64 * SECOND_US,
            wall_trusted: false,
        }
    }

    fn why(watch: &TrustWatch) -> Option<Distrust> {
        match watch.trust() {
            Trust::Trusted => None,
            Trust::Untrusted { why, .. } => Some(why),
        }
    }

    #[test]
    fn a_start_without_synchronisation_is_untrusted_until_it_comes() {
        let mut watch = TrustWatch::new(Some(NOON_US));
        let behind_us = NOON_US - DAY_US;
        let (stamp, step) = watch.handle(at(0, behind_us), Word::Unsynchronised);
        assert!(!stamp.wall_trusted);
        assert_eq!(
            step, None,
            "the first moment is no step: `Started` carries it"
        );
        assert_eq!(why(&watch), Some(Distrust::Unsynchronised));
        let (_, step) = watch.handle(at(5, behind_us), Word::Unsynchronised);
        assert_eq!(step, None);
        let (stamp, step) = watch.handle(at(9, NOON_US), Word::Synchronised);
        assert!(stamp.wall_trusted);
        let step = step.unwrap();
        assert_eq!(step.after_us - step.before_us, DAY_US);
        let Some((Trust::Untrusted { since_us: 0, .. }, Trust::Trusted)) = step.trust else {
            panic!("{step:?}");
        };
        assert_eq!(watch.trust(), Trust::Trusted);
    }

    #[test]
    fn trust_that_comes_without_a_step_is_told_too() {
        let mut watch = TrustWatch::new(None);
        watch.handle(at(0, NOON_US), Word::Unsynchronised);
        let (_, step) = watch.handle(at(1, NOON_US), Word::Synchronised);
        let step = step.unwrap();
        assert_eq!(step.before_us, step.after_us);
        let (_, step) = watch.handle(at(2, NOON_US), Word::Unsynchronised);
        assert!(matches!(step.unwrap().trust, Some((Trust::Trusted, _))));
    }

    #[test]
    fn a_clock_behind_the_log_or_the_build_is_untrusted_where_the_machine_is_silent() {
        let mut watch = TrustWatch::new(Some(NOON_US));
        assert!(
            !watch
                .handle(at(0, NOON_US - DAY_US), Word::Silent)
                .0
                .wall_trusted
        );
        assert_eq!(why(&watch), Some(Distrust::BeforeNewestEntry));
        assert!(
            !watch
                .handle(at(5_000, NOON_US - DAY_US), Word::Silent)
                .0
                .wall_trusted
        );
        assert!(
            watch
                .handle(at(5_001, NOON_US - 5_000 * SECOND_US), Word::Silent)
                .0
                .wall_trusted
        );
        for word in [Word::Silent, Word::Synchronised, Word::Unsynchronised] {
            let mut watch = TrustWatch::new(None);
            watch.handle(at(0, 0), word);
            assert_eq!(why(&watch), Some(Distrust::BeforeBuild));
        }
    }

    #[test]
    fn a_time_service_that_insists_is_believed_against_the_log() {
        let mut watch = TrustWatch::new(Some(NOON_US + 400 * DAY_US));
        let word = Word::Synchronised;
        assert!(!watch.handle(at(0, NOON_US), word).0.wall_trusted);
        assert!(!watch.handle(at(300, NOON_US), word).0.wall_trusted);
        watch.handle(at(301, NOON_US + DAY_US), word);
        assert!(!watch.handle(at(600, NOON_US + DAY_US), word).0.wall_trusted);
        assert_eq!(why(&watch), Some(Distrust::BeforeNewestEntry), "it stepped");
        assert!(watch.handle(at(901, NOON_US + DAY_US), word).0.wall_trusted);
        assert!(watch.handle(at(902, NOON_US + DAY_US), word).0.wall_trusted);
        // And the log goes on from there.
        assert!(
            watch
                .handle(at(903, NOON_US + DAY_US - BACK_US), word)
                .0
                .wall_trusted
        );
    }

    #[test]
    fn a_wrong_time_ahead_seen_while_untrusted_makes_the_right_one_not_doubtful() {
        let mut watch = TrustWatch::new(Some(NOON_US));
        watch.handle(at(0, NOON_US + 4_000 * DAY_US), Word::Unsynchronised);
        let (stamp, _) = watch.handle(at(1, NOON_US), Word::Synchronised);
        assert!(stamp.wall_trusted);
    }

    #[test]
    fn where_the_machine_says_nothing_nobody_waits() {
        assert_eq!(wait_us(600, Word::Silent), 0);
        assert_eq!(wait_us(600, Word::Unsynchronised), 600);
        assert_eq!(wait_us(600, Word::Synchronised), 600);
    }
}
