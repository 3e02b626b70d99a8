//! `[budget]` as it runs: how many bytes may leave in a month, and what happens then.

use crate::budget::Action;

/// What may leave this machine in a month of UTC, all remote sinks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSettings {
    /// `bytes_per_month`: bodies and the estimated framing around them.
    pub cap_bytes: u64,
    /// `warn_at` in thousandths of that; default 0.8.
    pub warn_permille: u16,
    /// `at_cap` and `coarsen`: default nothing.
    pub at_cap: Action,
}

impl BudgetSettings {
    /// Default of `warn_at` in thousandths: days are left to do something.
    pub const WARN_PERMILLE: u16 = 800;

    /// The bytes that a warning is due at.
    pub fn warn_bytes(&self) -> u64 {
        let share = u128::from(self.cap_bytes) * u128::from(self.warn_permille) / 1_000;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}
