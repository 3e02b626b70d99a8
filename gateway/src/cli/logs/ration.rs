//! Rationing: a line that repeats is shown at once, then ever less often, and nothing of it is lost.
//!
//! Terms: a *sort* is what repeats (one place in the code, one level, one sink, device or the like,
//! the same words); its *pause* is how long after a shown line its next ones are held back.
//!
//! Invariants:
//! - Every event is shown, or counted in the `repeated` of a later line of its sort: lines and
//!   what they say is `repeated` add up to the events.
//! - A held line is shown at the end of its pause at the latest: what happened last is known after
//!   [`PAUSE_US_MAX`], also when nothing comes any more.
//! - A pause is [`PAUSE_US`] after the first line and doubles with each that is shown, up to
//!   [`PAUSE_US_MAX`]: what fails once a second for an hour makes 17 lines. A sort of which nothing
//!   came for [`FORGOTTEN_US`] begins anew.

use std::collections::BTreeMap;

use crate::time::SECOND_US;

/// How long lines of a sort are held back after its first one.
pub(super) const PAUSE_US: u64 = 10 * SECOND_US as u64;
/// The longest such pause: how old what an operator reads may be.
pub(super) const PAUSE_US_MAX: u64 = 300 * SECOND_US as u64;
/// A sort that was silent for so long is new when it comes again.
const FORGOTTEN_US: u64 = 2 * PAUSE_US_MAX;
/// Sorts that are watched: more than a gateway with 16 sinks has; 1 MiB of held lines.
pub(super) const SORTS_MAX: usize = 256;
/// Longest line that can be held: a longer one is shown each time.
pub(super) const HELD_BYTES_MAX: usize = 4 << 10;

/// Sorts that differ in their words alone, as in why something failed: there are seldom more, and
/// words that never come again must not fill the log. Further ones are one sort.
pub(super) const WORDS_MAX: usize = 4;

/// What repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sort {
    /// A hash of its place, level and distinguishing fields.
    pub of: u64,
    /// A hash of the words that it is told with; none where they are not told apart.
    pub words: Option<u64>,
}

/// A line that was held back and is shown now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// As it was written when it happened.
    pub text: String,
    /// How long ago that was.
    pub held_us: u64,
    /// Events of its sort before it that were not shown.
    pub repeated: u64,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is shown.
    Show {
        /// Events of its sort before it that were not shown.
        repeated: u64,
    },
    /// It is held back: [`Ration::due`] gives it, or a later one with its count.
    Hold,
}

/// What is remembered of a sort.
#[derive(Debug)]
struct Spell {
    shown_us: u64,
    pause_us: u64,
    held: u64,
    newest: String,
    newest_us: u64,
}

impl Spell {
    fn due_us(&self) -> u64 {
        self.shown_us.saturating_add(self.pause_us)
    }

    /// Notes a shown line; gives how many were held back since the last one.
    fn show(&mut self, now_us: u64) -> u64 {
        self.shown_us = now_us;
        self.pause_us = self.pause_us.saturating_mul(2).min(PAUSE_US_MAX);
        self.newest.clear();
        std::mem::take(&mut self.held)
    }

    /// The newest held line, with the count of those before it.
    fn release(&mut self, now_us: u64) -> Line {
        let text = std::mem::take(&mut self.newest);
        let held = self.show(now_us);
        Line {
            text,
            held_us: now_us.saturating_sub(self.newest_us),
            repeated: held.saturating_sub(1),
        }
    }

    fn is_forgotten(&self, now_us: u64) -> bool {
        self.held == 0 && now_us.saturating_sub(self.shown_us) >= FORGOTTEN_US
    }
}

/// Which lines are held back.
#[derive(Debug, Default)]
pub(super) struct Ration {
    spells: BTreeMap<Sort, Spell>,
}

impl Ration {
    /// Decides about an event of a sort that is written as `line`.
    pub(super) fn handle(&mut self, now_us: u64, sort: Sort, line: &str) -> Verdict {
        let sort = self.watched(now_us, sort);
        let spell = self.spells.get_mut(&sort);
        if let Some(spell) = spell.filter(|spell| !spell.is_forgotten(now_us)) {
            if now_us < spell.due_us() && line.len() <= HELD_BYTES_MAX {
                spell.held += 1;
                line.clone_into(&mut spell.newest);
                spell.newest_us = now_us;
                return Verdict::Hold;
            }
            let repeated = spell.show(now_us);
            return Verdict::Show { repeated };
        }
        self.begin(now_us, sort);
        Verdict::Show { repeated: 0 }
    }

    /// The sort that an event counts as: one of too many that differ in words is of those.
    fn watched(&self, now_us: u64, sort: Sort) -> Sort {
        let is_live = |spell: &Spell| !spell.is_forgotten(now_us);
        if self.spells.get(&sort).is_some_and(is_live) {
            return sort;
        }
        let wordless = Sort {
            words: None,
            ..sort
        };
        let last = Sort {
            words: Some(u64::MAX),
            ..sort
        };
        let others = self.spells.range(wordless..=last);
        let others = others.filter(|(other, spell)| other.words.is_some() && is_live(spell));
        if others.count() < WORDS_MAX {
            sort
        } else {
            wordless
        }
    }

    /// Begins to watch a sort; with all places taken it is not watched, so that it is shown each
    /// time.
    fn begin(&mut self, now_us: u64, sort: Sort) {
        if self.spells.len() >= SORTS_MAX {
            self.spells
                .retain(|known, spell| *known == sort || !spell.is_forgotten(now_us));
        }
        if self.spells.len() < SORTS_MAX || self.spells.contains_key(&sort) {
            let spell = Spell {
                shown_us: now_us,
                pause_us: PAUSE_US,
                held: 0,
                newest: String::new(),
                newest_us: 0,
            };
            self.spells.insert(sort, spell);
        }
    }

    /// Held lines whose pause is over.
    pub(super) fn due(&mut self, now_us: u64) -> Vec<Line> {
        let spells = self.spells.values_mut();
        let due = spells.filter(|spell| spell.held > 0 && spell.due_us() <= now_us);
        due.map(|spell| spell.release(now_us)).collect()
    }

    /// Every held line: the program ends.
    pub(super) fn end(&mut self, now_us: u64) -> Vec<Line> {
        let spells = self.spells.values_mut();
        let held = spells.filter(|spell| spell.held > 0);
        held.map(|spell| spell.release(now_us)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_US as u64;

    fn of(of: u64) -> Sort {
        Sort { of, words: Some(0) }
    }

    /// Events every `every_s` for `for_s`, looked after every 5 s: lines shown, and events that
    /// they account for.
    fn told(ration: &mut Ration, every_s: u64, for_s: u64) -> (u64, u64) {
        let (mut lines, mut accounted) = (0, 0);
        for second in 0..for_s {
            if second % 5 == 0 {
                for line in ration.due(second * S) {
                    assert!(!line.text.is_empty());
                    lines += 1;
                    accounted += 1 + line.repeated;
                }
            }
            if second % every_s == 0
                && let Verdict::Show { repeated } = ration.handle(second * S, of(1), "it fails")
            {
                lines += 1;
                accounted += 1 + repeated;
            }
        }
        for line in ration.end(for_s * S) {
            lines += 1;
            accounted += 1 + line.repeated;
        }
        (lines, accounted)
    }

    #[test]
    fn a_receiver_away_for_an_hour_makes_17_lines_that_account_for_3600_attempts() {
        assert_eq!(told(&mut Ration::default(), 1, 3_600), (17, 3_600));
    }

    #[test]
    fn nothing_is_lost_at_any_pace() {
        for every_s in [2, 3, 7, 11, 30, 60, 299, 301, 700] {
            let (lines, accounted) = told(&mut Ration::default(), every_s, 7_200);
            assert_eq!(accounted, 7_200_u64.div_ceil(every_s), "every {every_s} s");
            assert!(lines <= 31, "every {every_s} s: {lines} lines");
        }
    }

    #[test]
    fn what_happened_last_is_shown_when_its_pause_ends() {
        let mut ration = Ration::default();
        assert_eq!(
            ration.handle(0, of(1), "first"),
            Verdict::Show { repeated: 0 }
        );
        assert_eq!(ration.handle(S, of(1), "second"), Verdict::Hold);
        assert_eq!(ration.handle(2 * S, of(1), "third"), Verdict::Hold);
        assert_eq!(ration.due(PAUSE_US - 1), []);
        let line = Line {
            text: "third".to_owned(),
            held_us: PAUSE_US - 2 * S,
            repeated: 1,
        };
        assert_eq!(ration.due(PAUSE_US), [line]);
        assert_eq!(ration.due(PAUSE_US), []);
        assert_eq!(ration.end(PAUSE_US), []);
    }

    #[test]
    fn sorts_do_not_hold_each_other_back() {
        let mut ration = Ration::default();
        for sort in 0..4 {
            assert_eq!(
                ration.handle(0, of(sort), "it"),
                Verdict::Show { repeated: 0 }
            );
        }
    }

    #[test]
    fn a_sort_that_was_silent_for_long_begins_anew() {
        let mut ration = Ration::default();
        for second in 0..100 {
            let _ = ration.handle(second * S, of(1), "it");
        }
        let _ = ration.due(400 * S);
        let later = 400 * S + FORGOTTEN_US;
        assert_eq!(
            ration.handle(later, of(1), "it"),
            Verdict::Show { repeated: 0 }
        );
        assert_eq!(ration.handle(later + S, of(1), "it"), Verdict::Hold);
        assert_eq!(ration.due(later + PAUSE_US).len(), 1);
    }

    #[test]
    fn with_all_places_taken_further_sorts_are_shown_each_time() {
        let mut ration = Ration::default();
        for sort in 0..SORTS_MAX as u64 {
            let _ = ration.handle(0, of(sort), "it");
        }
        for _ in 0..3 {
            assert_eq!(
                ration.handle(S, of(999), "it"),
                Verdict::Show { repeated: 0 }
            );
        }
        assert_eq!(ration.handle(S, of(0), "it"), Verdict::Hold);
        // Places of silent sorts are given on; the one that holds a line keeps its own.
        let later = FORGOTTEN_US + S;
        assert_eq!(
            ration.handle(later, of(999), "it"),
            Verdict::Show { repeated: 0 }
        );
        assert_eq!(ration.handle(later, of(999), "it"), Verdict::Hold);
        assert_eq!(ration.end(later).len(), 2);
    }

    #[test]
    fn a_few_words_are_told_apart_and_what_never_says_the_same_is_one_sort() {
        let mut ration = Ration::default();
        let said = |words: u64| Sort {
            of: 1,
            words: Some(words),
        };
        let mut shown = 0;
        for words in 0..100 {
            let verdict = ration.handle(S, said(words), "it");
            shown += usize::from(verdict != Verdict::Hold);
        }
        assert_eq!(shown, WORDS_MAX + 1);
        // Those that are known stay apart, and so does what another place says.
        assert_eq!(ration.handle(2 * S, said(0), "it"), Verdict::Hold);
        assert_eq!(ration.due(PAUSE_US + S).len(), 2);
        assert_eq!(
            ration.handle(2 * S, of(2), "it"),
            Verdict::Show { repeated: 0 }
        );
        // Words that were not heard for long give their places to others.
        let later = 2 * FORGOTTEN_US;
        for words in 200..200 + WORDS_MAX as u64 {
            assert_eq!(
                ration.handle(later, said(words), "it"),
                Verdict::Show { repeated: 0 }
            );
        }
        assert_eq!(ration.handle(later, said(203), "it"), Verdict::Hold);
    }

    #[test]
    fn a_line_too_long_to_be_held_is_shown() {
        let mut ration = Ration::default();
        let long = "x".repeat(HELD_BYTES_MAX + 1);
        let _ = ration.handle(0, of(1), "it");
        assert_eq!(ration.handle(0, of(1), "it"), Verdict::Hold);
        assert_eq!(
            ration.handle(0, of(1), &long),
            Verdict::Show { repeated: 1 }
        );
    }
}
