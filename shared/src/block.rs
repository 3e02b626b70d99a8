//! Blocks: one sensor's samples of a batch, in the smallest of several encodings.

mod bad;
mod bound;

pub use bad::BadSet;
pub use bound::Bound;

/// Most bytes of a block before its bad marks and its payload, an inline axis not counted:
/// head, sensor gap, first index, axis reference.
pub const HEAD_BYTES_MAX: usize = 1 + 2 + 2 + 2;
