//! Arrival time: one clock for timers over all starts of the gateway, made of what entries say.
//!
//! Within a start it runs with the monotonic clock. From one start to the next it advances by
//! the wall clock if both sides trust theirs, else not at all. It never runs backwards.

use serde::{Deserialize, Serialize};
use tidegate_shared::mutation::{Mutation, is_on};

use crate::time::Timestamp;

/// The arrival clock: µs since the log's first entry.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arrival {
    now_us: i64,
    start: u32,
    at: Timestamp,
}

impl Arrival {
    /// A clock that goes on at a time known to have passed.
    pub fn resumed(now_us: i64) -> Self {
        Self {
            now_us,
            ..Self::default()
        }
    }

    /// The newest entry's arrival time in µs.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// The newest entry's gateway start.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The newest entry's time as it was made.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Takes the time that an entry of gateway start `start` carries.
    pub fn advance(&mut self, start: u32, at: Timestamp) {
        if start == self.start {
            let mut passed = at.mono_us.saturating_sub(self.at.mono_us);
            if is_on(Mutation::TimersOnWallClock) {
                passed = at.wall_us.saturating_sub(self.at.wall_us).max(0) as u64;
            }
            self.now_us = self.now_us.saturating_add_unsigned(passed);
            self.at.mono_us = self.at.mono_us.max(at.mono_us);
        } else {
            if self.at.wall_trusted && at.wall_trusted {
                let passed = at.wall_us.saturating_sub(self.at.wall_us);
                self.now_us = self.now_us.saturating_add(passed.max(0));
            }
            self.start = start;
            self.at.mono_us = at.mono_us;
        }
        self.at.wall_us = at.wall_us;
        self.at.wall_trusted = at.wall_trusted;
    }

    /// An arrival time as monotonic time of the newest entry's start; the past is "now".
    pub fn mono_us(&self, arrival_us: i64) -> u64 {
        let ahead = arrival_us.saturating_sub(self.now_us).max(0);
        self.at.mono_us.saturating_add_signed(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_us: u64, wall_us: i64, wall_trusted: bool) -> Timestamp {
        Timestamp {
            mono_us,
            wall_us,
            wall_trusted,
        }
    }

    #[test]
    fn it_runs_with_the_monotonic_clock_and_over_restarts_with_the_wall() {
        let mut arrival = Arrival::default();
        arrival.advance(1, at(50, 1_000, true));
        arrival.advance(1, at(70, 900, true));
        assert_eq!(arrival.now_us(), 20);
        assert_eq!(arrival.mono_us(25), 75);
        arrival.advance(2, at(5, 1_900, true));
        assert_eq!(arrival.now_us(), 1_020);
        assert_eq!(arrival.mono_us(1_030), 15);
        arrival.advance(3, at(5, 9_900, false));
        assert_eq!(arrival.now_us(), 1_020, "an untrusted clock says nothing");
        arrival.advance(3, at(4, 9_900, true));
        assert_eq!(arrival.now_us(), 1_020, "it never runs backwards");
    }
}
