//! An upper bound of a block's encoded bytes, kept up to date while its samples arrive.
//!
//! A device asks it before it takes one more sample: copy the bound, push, compare, and close
//! the batch when the frame would outgrow its limit. The bound is the smaller of delta varint
//! and bit-packed; the encoder takes the smallest of all encodings, so it never needs more.

use super::HEAD_BYTES_MAX;
use crate::body::{varint_bytes, zigzag};

/// At most this many bytes: one block, its head and bad marks included, its axis not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    samples: u16,
    bad: u16,
    /// Bytes of the first good value.
    first: u8,
    previous: i64,
    /// All residuals ORed: as wide as the widest.
    residuals: u64,
    /// Bytes of all residuals as varints.
    varints: u16,
}

impl Bound {
    /// Of no sample yet.
    pub const fn new() -> Self {
        Self {
            samples: 0,
            bad: 0,
            first: 0,
            previous: 0,
            residuals: 0,
            varints: 0,
        }
    }

    /// Counts one more sample.
    pub fn push(&mut self, raw: i64) {
        if self.first == 0 {
            self.first = varint_bytes(zigzag(raw)) as u8;
        } else {
            let residual = zigzag(raw.wrapping_sub(self.previous));
            self.residuals |= residual;
            self.varints = self.varints.saturating_add(varint_bytes(residual) as u16);
        }
        self.previous = raw;
        self.samples = self.samples.saturating_add(1);
    }

    /// Counts one more sample that is bad: it takes a mark and no value.
    pub fn push_bad(&mut self) {
        self.samples = self.samples.saturating_add(1);
        self.bad = self.bad.saturating_add(1);
    }

    /// Samples counted, bad ones included.
    pub const fn samples(&self) -> usize {
        self.samples as usize
    }

    /// The bound in bytes; 0 while there is no sample.
    pub const fn bytes(&self) -> usize {
        if self.samples == 0 {
            return 0;
        }
        let mut bytes = HEAD_BYTES_MAX + self.first as usize;
        if self.bad > 0 {
            let (list, bitmap) = (self.bad as usize, self.samples().div_ceil(8));
            bytes += 1 + if list < bitmap { list } else { bitmap };
        }
        if self.residuals != 0 {
            let width = 64 - self.residuals.leading_zeros() as usize;
            let count = self.samples() - self.bad as usize - 1;
            let (varints, packed) = (self.varints as usize, 1 + (width * count).div_ceil(8));
            bytes += if varints < packed { varints } else { packed };
        }
        bytes
    }
}
