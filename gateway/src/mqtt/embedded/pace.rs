//! Pace: how fast one client may publish. Who is faster is read more slowly, and loses nothing.

/// How long a client's slowing down is not told again, in µs.
const TOLD_US: u64 = 10_000_000;
/// A second's worth may come at once.
const BURST_US: u64 = 1_000_000;

/// A client's pace: when all it published so far would have been due, and when it was last told
/// that it is too fast; in µs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    messages_due: u64,
    bytes_due: u64,
    told: Option<u64>,
}

/// What a message costs its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// How long the next one is not read.
    pub(super) wait_us: u64,
    /// Whether that is to be told.
    pub(super) is_told: bool,
}

impl Pace {
    /// Counts a message of so many bytes at `now_us`.
    pub(super) fn count(&mut self, bytes: u64, per_s: (u64, u64), now_us: u64) -> Cost {
        let (messages_per_s, bytes_per_s) = per_s;
        let messages = later(&mut self.messages_due, now_us, 1, messages_per_s);
        let bytes = later(&mut self.bytes_due, now_us, bytes, bytes_per_s);
        let wait_us = messages.max(bytes);
        let due = self.told.is_none_or(|told| now_us >= told + TOLD_US);
        let is_told = wait_us > 0 && due;
        if is_told {
            self.told = Some(now_us);
        }
        Cost { wait_us, is_told }
    }
}

/// Moves what is due on by `amount`; how far that is beyond a burst.
fn later(due_us: &mut u64, now_us: u64, amount: u64, per_s: u64) -> u64 {
    let takes_us = amount.saturating_mul(1_000_000) / per_s.max(1);
    *due_us = (*due_us).max(now_us).saturating_add(takes_us);
    due_us.saturating_sub(now_us + BURST_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_may_come_at_once_and_the_rest_at_its_pace() {
        let mut pace = Pace::default();
        let mut count = |bytes, now_us| pace.count(bytes, (10, 1_000), now_us);
        for _ in 0..10 {
            assert_eq!(count(1, 0).wait_us, 0);
        }
        let eleventh = count(1, 0);
        assert_eq!((eleventh.wait_us, eleventh.is_told), (100_000, true));
        let twelfth = count(1, 100_000);
        assert_eq!((twelfth.wait_us, twelfth.is_told), (100_000, false));
        assert_eq!(count(1, 5_000_000).wait_us, 0, "a rest pays the debt");
        let large = count(2_500, 10_000_000);
        assert_eq!((large.wait_us, large.is_told), (1_500_000, true));
    }
}
