//! An Ethernet address for boards that have none of their own.

use tidegate_shared::frame::crc32c;

/// A locally administered address, drawn from a chip's unique number: the same at every start, and
/// of two boards on one network the same by a chance of one in four thousand million.
pub fn address(unique: &[u8]) -> [u8; 6] {
    let [a, b, c, d] = crc32c(unique).to_be_bytes();
    // Bit 1 of the first byte: administered locally. Bit 0, a group's, is not set.
    [0x02, 0x54, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_local_single_and_differ() {
        let (one, other) = (address(&[0; 12]), address(&[1; 12]));
        assert_ne!(one, other);
        assert_eq!(one, address(&[0; 12]));
        assert_eq!(one[0] & 0b11, 0b10);
    }
}
