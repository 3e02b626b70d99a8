//! Offset: where a boot's uptime lies in UTC, learnt from live exchanges by a minimum filter.
//!
//! What arrives at `now` was sent at `uptime`, a delay before: `now − uptime` is the true offset
//! plus that delay, so the smallest of all is the best. The filter runs on the monotonic clock,
//! which does not step; UTC is added when the result is read. An estimate may rise by
//! [`DRIFT_PPM`], for the device's oscillator may run slow. One that all exchanges contradict by
//! [`ASTRAY_US`] (an uptime that stops in deep sleep, a wall clock that was wrong before the
//! gateway started) is given up after [`ASTRAY_EXCHANGES`].
//!
//! While the gateway's clock is untrusted, offsets are written by what it says, for boots of
//! which no trusted one is written: the entry tells, and the pipeline corrects them when the clock
//! is trusted. From then on a trusted one is written.

use crate::time::Timestamp;

/// How fast an estimate may rise: crystals stay within 100 ppm, ceramic resonators within 5,000
/// (they are followed late, by [`ASTRAY_US`]).
pub const DRIFT_PPM: i64 = 200;
/// Smallest change that is written: below it the delay of a local network dominates.
pub const MOVED_US: i64 = 10_000;
/// How far beyond an estimate an exchange must lie to contradict it: no live message takes longer.
pub const ASTRAY_US: i64 = 10_000_000;
/// Exchanges in a row that must contradict an estimate.
pub const ASTRAY_EXCHANGES: u8 = 3;
/// Longest uptime believed: 100 years.
const UPTIME_MAX_US: i64 = 100 * 366 * 86_400 * 1_000_000;

/// What the log says of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// UTC minus uptime, in µs.
    pub offset_us: i64,
    /// Whether the gateway's clock was trusted when it was written.
    pub trusted: bool,
}

/// The filter of one boot.
#[derive(Debug, Default, Clone)]
pub(super) struct Offset {
    best: Option<Best>,
    astray: u8,
}

#[derive(Debug, Clone, Copy)]
struct Best {
    at_us: i64,
    /// Monotonic time minus uptime.
    value_us: i64,
}

impl Offset {
    /// Takes an exchange: something sent at `uptime_us` arrived at `now`. `written` is what the
    /// log says of this boot. Returns the offset to be written (UTC minus uptime), if it moved by
    /// at least [`MOVED_US`], or what is written is doubtful and this is not, or is of an earlier
    /// start.
    pub fn exchange(
        &mut self,
        now: Timestamp,
        uptime_us: u64,
        written: Option<Written>,
    ) -> Option<i64> {
        let uptime_us = i64::try_from(uptime_us)
            .ok()
            .filter(|uptime| *uptime <= UPTIME_MAX_US)?;
        let mono_us = i64::try_from(now.mono_us).ok()?;
        let wall_us = now.wall_us.checked_sub(mono_us)?;
        let found_us = mono_us - uptime_us;
        let is_first = self.best.is_none();
        let before_us = match self.best {
            Some(best) => {
                let passed_us = mono_us.saturating_sub(best.at_us).max(0);
                Some(best.value_us + passed_us.saturating_mul(DRIFT_PPM) / 1_000_000)
            }
            None => written
                .filter(|written| now.wall_trusted && written.trusted)
                .and_then(|written| written.offset_us.checked_sub(wall_us))
                .filter(|before| found_us.saturating_sub(*before) <= ASTRAY_US),
        };
        let is_astray = before_us.is_some_and(|before| found_us.saturating_sub(before) > ASTRAY_US);
        self.astray = if is_astray { self.astray + 1 } else { 0 };
        let value_us = match before_us {
            Some(before) if self.astray < ASTRAY_EXCHANGES => before.min(found_us),
            _ => {
                self.astray = 0;
                found_us
            }
        };
        self.best = Some(Best {
            at_us: mono_us,
            value_us,
        });
        let offset_us = value_us.checked_add(wall_us)?;
        let is_due = written.is_none_or(|written| {
            let moved = offset_us.abs_diff(written.offset_us) >= MOVED_US as u64;
            if written.trusted {
                now.wall_trusted && moved
            } else {
                now.wall_trusted || moved || is_first
            }
        });
        is_due.then_some(offset_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: i64 = 1_700_000_000_000_000;

    fn trusted(offset_us: i64) -> Written {
        Written {
            offset_us,
            trusted: true,
        }
    }

    fn at(mono_us: u64) -> Timestamp {
        Timestamp {
            mono_us,
            wall_us: UTC + mono_us as i64,
            wall_trusted: true,
        }
    }

    #[test]
    fn the_smallest_delay_wins() {
        let mut offset = Offset::default();
        // True offset: UTC + 1 s. Delays 500 ms, 20 ms, 3 s.
        let first = offset.exchange(at(2_500_000), 1_000_000, None);
        assert_eq!(first, Some(UTC + 1_500_000));
        let second = offset.exchange(at(3_020_000), 2_000_000, first.map(trusted));
        assert_eq!(second, Some(UTC + 1_020_000));
        assert_eq!(
            offset.exchange(at(7_000_000), 3_000_000, second.map(trusted)),
            None
        );
        assert_eq!(
            offset.exchange(at(8_015_000), 7_000_000, second.map(trusted)),
            None,
            "5 ms"
        );
    }

    #[test]
    fn a_slow_oscillator_is_followed() {
        let mut offset = Offset::default();
        let mut written = offset.exchange(at(0), 0, None);
        for minute in 1..=60_u64 {
            let now = minute * 60_000_000;
            let uptime = now - now / 10_000; // 100 ppm slow
            written = offset
                .exchange(at(now), uptime, written.map(trusted))
                .or(written);
        }
        let error = written.unwrap() - (UTC + 360_000);
        assert!(error.abs() <= MOVED_US, "{error}");
    }

    #[test]
    fn what_an_untrusted_clock_says_is_written_until_a_trusted_one_says_it() {
        let mut offset = Offset::default();
        let untrusted = |mono_us: u64| Timestamp {
            wall_us: 5 + mono_us as i64,
            wall_trusted: false,
            ..at(mono_us)
        };
        let found = offset.exchange(untrusted(1_000_000), 1_000_000, None);
        assert_eq!(found, Some(5));
        let doubtful = Some(Written {
            offset_us: 5,
            trusted: false,
        });
        assert_eq!(
            offset.exchange(untrusted(2_000_000), 2_000_000, doubtful),
            None
        );
        let fresh = Offset::default().exchange(untrusted(2_000_000), 2_000_000, doubtful);
        assert_eq!(fresh, Some(5), "another start, another monotonic clock");
        // An exchange with a long delay gives what the first ones learnt.
        let found = offset.exchange(at(9_000_000), 5_000_000, doubtful);
        assert_eq!(found, Some(UTC + 8 * DRIFT_PPM - DRIFT_PPM));
        let same = Offset::default().exchange(
            Timestamp {
                wall_trusted: true,
                ..untrusted(3_000_000)
            },
            3_000_000,
            doubtful,
        );
        assert_eq!(same, Some(5), "trusted now");
    }

    #[test]
    fn a_trusted_offset_is_not_replaced_by_a_doubtful_one() {
        let mut offset = Offset::default();
        let untrusted = Timestamp {
            wall_us: 5,
            wall_trusted: false,
            ..at(1_000_000)
        };
        assert_eq!(
            offset.exchange(untrusted, 1_000_000, Some(trusted(UTC))),
            None
        );
    }

    #[test]
    fn a_restart_keeps_the_better_of_what_is_written_and_what_comes() {
        let mut offset = Offset::default();
        assert_eq!(offset.exchange(at(3_000_000), 0, Some(trusted(UTC))), None);
        let mut offset = Offset::default();
        let far = offset.exchange(at(30_000_000), 0, Some(trusted(UTC)));
        assert_eq!(far, Some(UTC + 30_000_000));
    }

    #[test]
    fn an_estimate_that_all_contradict_is_given_up() {
        let mut offset = Offset::default();
        let written = offset.exchange(at(0), 0, None);
        let slept = 40_000_000;
        assert_eq!(
            offset.exchange(at(slept + 10), 10, written.map(trusted)),
            None
        );
        assert_eq!(
            offset.exchange(at(slept + 20), 20, written.map(trusted)),
            None
        );
        let found = offset.exchange(at(slept + 30), 30, written.map(trusted));
        assert_eq!(found, Some(UTC + slept as i64));
    }

    #[test]
    fn absurd_uptimes_are_not_believed() {
        let mut offset = Offset::default();
        assert_eq!(offset.exchange(at(5), u64::MAX, None), None);
        assert_eq!(offset.exchange(at(5), i64::MAX as u64, None), None);
    }
}
