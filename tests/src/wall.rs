//! Wall time in tests: deadlines for conditions, and moments to act at. The one file here that
//! reads the clock.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time since a beginning.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[expect(
        clippy::disallowed_methods,
        clippy::new_without_default,
        reason = "the one file of the tests that reads the clock"
    )]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Lets time pass until `moment` after the beginning; for acting at a drawn moment, never for
    /// waiting until something has probably happened.
    pub fn pass_until(&self, moment: Duration) {
        if let Some(left) = moment.checked_sub(self.elapsed()) {
            thread::sleep(left);
        }
    }
}

/// Looks at a condition until it gives something, or gives up after `limit`.
pub fn poll_for<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Stopwatch::new();
    loop {
        // The time is read first, so that a slow last look still counts.
        let over = watch.elapsed() >= limit;
        if let Some(found) = condition() {
            return Some(found);
        }
        if over {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// As [`poll_for`], for conditions that must come true: fails the test with `what` otherwise.
pub fn wait_for<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    poll_for(limit, condition)
        .unwrap_or_else(|| panic!("gave up after {} s: {what}", limit.as_secs_f32()))
}

/// As [`wait_for`], for plain conditions.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        wait_until("three looks", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    fn giving_up_is_bounded() {
        let watch = Stopwatch::new();
        assert_eq!(poll_for(Duration::from_millis(50), || None::<()>), None);
        assert!(watch.elapsed() >= Duration::from_millis(50));
    }
}
