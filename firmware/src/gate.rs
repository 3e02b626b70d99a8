//! The gate: which samples of a sensor are worth sending.
//!
//! - Decimation keeps every n-th sample.
//! - Deadband, in raw units, keeps a sample that differs from the last one *sent* by at least
//!   that much; comparing with the last one sent, not the last one seen, keeps a slow drift.
//! - Heartbeat lets a sample pass when the last one passed that long ago, so that silence always
//!   means that something is wrong.
//!
//! Bad samples pass, and so does the first one after a bad or a failed one. What does not pass
//! is counted as suppressed by the caller.

use crate::sensor::Reading;

/// What a gate is set to. The default lets everything pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateConfig {
    /// Least difference from the last sample sent, in raw units; 0 and 1 suppress nothing and
    /// only repetitions.
    pub deadband: u64,
    /// Keep every n-th sample; 0 and 1 keep all.
    pub decimate: u16,
    /// Longest silence in µs of uptime; 60 s by default.
    pub heartbeat_us: u64,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            deadband: 0,
            decimate: 1,
            heartbeat_us: 60_000_000,
        }
    }
}

/// One sensor's gate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    config: GateConfig,
    /// The last sample that passed; none after a bad or failed one.
    last: Option<(u64, i64)>,
    /// Samples decimated since one was kept.
    skipped: u16,
}

impl Gate {
    /// A gate that has seen nothing yet.
    pub const fn new(config: GateConfig) -> Self {
        Self {
            config,
            last: None,
            skipped: 0,
        }
    }

    /// Whether a sample taken at `time_us` is to be sent.
    pub fn passes(&mut self, time_us: u64, reading: Reading) -> bool {
        let Reading::Good(raw) = reading else {
            self.reset();
            return true;
        };
        let Some((last_us, last)) = self.last else {
            return self.keep(time_us, raw);
        };
        if time_us.saturating_sub(last_us) >= self.config.heartbeat_us {
            return self.keep(time_us, raw);
        }
        self.skipped = self.skipped.saturating_add(1);
        if self.skipped < self.config.decimate {
            return false;
        }
        self.skipped = 0;
        raw.abs_diff(last) >= self.config.deadband && self.keep(time_us, raw)
    }

    /// Forgets what was sent: the next sample passes. For failed readings.
    pub fn reset(&mut self) {
        self.last = None;
        self.skipped = 0;
    }

    fn keep(&mut self, time_us: u64, raw: i64) -> bool {
        self.last = Some((time_us, raw));
        self.skipped = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Passes the raws at one per second; returns those that pass.
    fn passed(config: GateConfig, raws: &[i64]) -> Vec<i64> {
        let mut gate = Gate::new(config);
        let timed = raws.iter().zip(0_u64..);
        timed
            .filter(|(raw, second)| gate.passes(second * SECOND, Reading::Good(**raw)))
            .map(|(raw, _)| *raw)
            .collect()
    }

    #[test]
    fn the_default_lets_everything_pass() {
        assert_eq!(passed(GateConfig::default(), &[1, 1, 1, 2]), [1, 1, 1, 2]);
    }

    #[test]
    fn a_slow_drift_passes_a_deadband_in_the_end() {
        let config = GateConfig {
            deadband: 3,
            ..GateConfig::default()
        };
        assert_eq!(passed(config, &[0, 1, 2, 3, 4, 5, 6, 4, 2]), [0, 3, 6, 2]);
    }

    #[test]
    fn a_deadband_of_one_drops_only_repetitions() {
        let config = GateConfig {
            deadband: 1,
            ..GateConfig::default()
        };
        assert_eq!(passed(config, &[5, 5, 6, 6, 5]), [5, 6, 5]);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let config = GateConfig {
            deadband: u64::MAX,
            ..GateConfig::default()
        };
        assert_eq!(
            passed(config, &[i64::MIN, 0, i64::MAX]),
            [i64::MIN, i64::MAX]
        );
    }

    #[test]
    fn decimation_keeps_every_third() {
        let config = GateConfig {
            decimate: 3,
            ..GateConfig::default()
        };
        assert_eq!(passed(config, &[0, 1, 2, 3, 4, 5, 6, 7]), [0, 3, 6]);
    }

    #[test]
    fn a_heartbeat_breaks_silence() {
        let config = GateConfig {
            deadband: 10,
            heartbeat_us: 4 * SECOND,
            ..GateConfig::default()
        };
        assert_eq!(passed(config, &[7, 7, 8, 8, 9, 9, 9, 9, 9]), [7, 9, 9]);
    }

    #[test]
    fn bad_samples_pass_and_so_does_the_next_good_one() {
        let mut gate = Gate::new(GateConfig {
            deadband: 10,
            ..GateConfig::default()
        });
        assert!(gate.passes(0, Reading::Good(5)));
        assert!(!gate.passes(1, Reading::Good(5)));
        assert!(gate.passes(2, Reading::Bad(5)));
        assert!(gate.passes(3, Reading::Good(5)));
        gate.reset();
        assert!(gate.passes(4, Reading::Good(5)), "after a failed reading");
    }
}
