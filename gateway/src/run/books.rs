//! Books: the sums of the ledger as they were added up last, and how long they hold.
//!
//! Adding up every row of 10,000 devices takes a good part of a second, of which the store copies
//! its counters: an overview that is asked for each second must not cost that each time.

use crate::plant::Books;

/// How much longer than they took the sums hold: they cost a hundredth of the time at most.
const HOLD: u64 = 100;

/// Sums that were added up.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The sums.
    pub books: Books,
    /// When that was done, monotonic µs.
    done_us: u64,
    /// How long it took.
    took_us: u64,
}

impl Kept {
    /// Sums that were begun and done at monotonic times in µs.
    pub fn new(books: Books, began_us: u64, done_us: u64) -> Self {
        Self {
            books,
            done_us,
            took_us: done_us.saturating_sub(began_us),
        }
    }

    /// Whether they still hold.
    pub fn is_fresh(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.done_us) < self.took_us.saturating_mul(HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_hold_a_hundred_times_as_long_as_they_took() {
        let kept = Kept::new(Books::default(), 1_000, 1_500);
        assert!(kept.is_fresh(1_500));
        assert!(kept.is_fresh(51_499));
        assert!(!kept.is_fresh(51_500));
    }
}
