//! Books: the sums of the ledger as they were added up last, and how long they hold.
//!
//! Adding up every row of 10,000 devices takes a good part of a second, of which the store copies
//! its counters: an overview that is asked for each second must not cost that each time.

use crate::plant::Books;

/// How much longer than they took the sums hold: they cost a hundredth of the time at most.
const HOLD: u64 = 100;

/// The sums that were added up last.
#[derive(Debug, Default)]
pub struct Newest {
    kept: Option<Kept>,
    /// When it was last tried, whether or not there were counters to add up, monotonic µs.
    tried_us: u64,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    books: Books,
    /// When that was done, monotonic µs.
    done_us: u64,
    /// How long it took.
    took_us: u64,
}

impl Newest {
    /// The sums, if there ever were any.
    pub fn books(&self) -> Option<Books> {
        self.kept.map(|kept| kept.books)
    }

    /// Takes sums that were begun and done at monotonic times in µs.
    pub fn take(&mut self, books: Books, began_us: u64, done_us: u64) {
        self.tried_us = done_us;
        self.kept = Some(Kept {
            books,
            done_us,
            took_us: done_us.saturating_sub(began_us),
        });
    }

    /// There was nothing to add up: the store is held up.
    pub fn fail(&mut self, now_us: u64) {
        self.tried_us = now_us;
    }

    /// Whether they are for somebody who came then and has waited until now: they still hold, or
    /// were tried meanwhile.
    pub fn is_for(&self, came_us: u64, now_us: u64) -> bool {
        let holds =
            |kept: Kept| now_us.saturating_sub(kept.done_us) < kept.took_us.saturating_mul(HOLD);
        came_us < self.tried_us || self.kept.is_some_and(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_hold_a_hundred_times_as_long_as_they_took() {
        let mut newest = Newest::default();
        assert!(!newest.is_for(0, 0));
        newest.take(Books::default(), 1_000, 1_500);
        assert!(newest.is_for(1_500, 1_500));
        assert!(newest.is_for(51_499, 51_499));
        assert!(!newest.is_for(51_500, 51_500));
    }

    #[test]
    fn who_waited_gets_what_was_tried_meanwhile_also_nothing() {
        let mut newest = Newest::default();
        newest.fail(2_000);
        assert!(newest.is_for(1_999, 2_000) && !newest.is_for(2_000, 2_000));
        assert_eq!(newest.books(), None);
        newest.take(Books::default(), 3_000, 3_000);
        assert!(newest.is_for(2_999, 9_000) && !newest.is_for(3_000, 9_000));
    }
}
