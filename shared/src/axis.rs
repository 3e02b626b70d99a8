//! Time axes: the sample times that several blocks of a batch share.

mod bound;

pub use bound::Bound;

/// Largest decimal exponent of an axis' unit: offsets are `u32` µs, 10^9 is the last power there.
pub const UNIT_EXPONENT_MAX: u8 = 9;

/// The largest exponent up to `most` by whose power of ten `offset_us` divides.
const fn unit_exponent(offset_us: u32, most: u8) -> u8 {
    let mut exponent = most;
    while exponent > 0 && !offset_us.is_multiple_of(10_u32.pow(exponent as u32)) {
        exponent -= 1;
    }
    exponent
}
