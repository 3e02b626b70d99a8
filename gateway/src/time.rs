//! Time as an argument: the one file that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One moment on the gateway, on both of its clocks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// µs since this gateway process began; never runs backwards. Timers and idleness use it.
    pub mono_us: u64,
    /// UTC in µs since 1970-01-01, as the machine believes.
    pub wall_us: i64,
    /// Whether that belief is to be trusted (synchronised, and not before the newest entry).
    pub wall_trusted: bool,
}

/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000_000;

/// Something that tells the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[expect(
        clippy::new_without_default,
        reason = "starting a clock is an act, not a default"
    )]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads the clock"
    )]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        let wall_us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Timestamp {
            mono_us: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            wall_us,
            wall_trusted: true,
        }
    }
}
