//! Debounce: one saving of a file is one change, however many steps an editor takes.

/// A file that did not change for so long, in µs, is read: editors write, rename and touch within
/// a few ms.
pub const QUIET_US: u64 = 200_000;
/// One that does not come to rest is read all the same after so long, in µs.
pub const LATEST_US: u64 = 2_000_000;

/// When a file that changed is to be read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Debounce {
    /// First and last change that was not read yet, monotonic µs.
    changed_us: Option<(u64, u64)>,
}

impl Debounce {
    /// The file changed.
    pub fn note(&mut self, now_us: u64) {
        let first_us = self.changed_us.map_or(now_us, |(first_us, _)| first_us);
        self.changed_us = Some((first_us, now_us));
    }

    /// When to read it, if it changed.
    pub fn due_us(&self) -> Option<u64> {
        let (first_us, last_us) = self.changed_us?;
        Some((last_us + QUIET_US).min(first_us + LATEST_US))
    }

    /// It is being read.
    pub fn clear(&mut self) {
        self.changed_us = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;

    #[test]
    fn a_file_is_read_once_it_is_at_rest() {
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due_us(), None);
        debounce.note(10 * MS);
        debounce.note(150 * MS);
        assert_eq!(debounce.due_us(), Some(150 * MS + QUIET_US));
        debounce.clear();
        assert_eq!(debounce.due_us(), None);
    }

    #[test]
    fn a_file_that_never_rests_is_read_all_the_same() {
        let mut debounce = Debounce::default();
        for step in 0..100 {
            debounce.note(step * 100 * MS);
        }
        assert_eq!(debounce.due_us(), Some(LATEST_US));
    }
}
