//! An upper bound of an axis' encoded bytes, kept up to date while its samples arrive.
//!
//! The encoder takes its period from between the shortest and the longest step, so no residual
//! is wider than their difference; and it never takes more than bit-packed residuals.

use super::{UNIT_EXPONENT_MAX, unit_exponent};
use crate::body::varint_bytes;

/// At most this many bytes: one axis, written once for all the blocks that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    samples: u16,
    exponent: u8,
    first_us: u32,
    last_us: u32,
    step_min_us: u32,
    step_max_us: u32,
}

impl Default for Bound {
    fn default() -> Self {
        Self::new()
    }
}

impl Bound {
    /// Of no sample yet.
    pub const fn new() -> Self {
        Self {
            samples: 0,
            exponent: UNIT_EXPONENT_MAX,
            first_us: 0,
            last_us: 0,
            step_min_us: u32::MAX,
            step_max_us: 0,
        }
    }

    /// Counts one more sample, at or after the last one.
    pub fn push(&mut self, offset_us: u32) {
        self.exponent = unit_exponent(offset_us, self.exponent);
        if self.samples == 0 {
            self.first_us = offset_us;
        } else {
            let step_us = offset_us.saturating_sub(self.last_us);
            self.step_min_us = self.step_min_us.min(step_us);
            self.step_max_us = self.step_max_us.max(step_us);
        }
        self.last_us = offset_us;
        self.samples = self.samples.saturating_add(1);
    }

    /// Samples counted.
    pub const fn samples(&self) -> usize {
        self.samples as usize
    }

    /// The bound in bytes; 0 while there is no sample.
    pub const fn bytes(&self) -> usize {
        if self.samples == 0 {
            return 0;
        }
        let unit_us = 10_u32.pow(self.exponent as u32);
        let mut bytes = 2 + varint_bytes((self.first_us / unit_us) as u64);
        if self.samples > 1 {
            bytes += varint_bytes((self.step_max_us / unit_us) as u64);
            let spread = (self.step_max_us - self.step_min_us) / unit_us;
            if spread > 0 {
                // A residual lies within ± spread; zigzag makes it one bit wider.
                let width = 64 - (2 * spread as u64).leading_zeros() as usize;
                bytes += 1 + (width * (self.samples() - 1)).div_ceil(8);
            }
        }
        bytes
    }
}
