//! Bits in bytes: the lowest bit of a byte comes first, as does the lowest bit of a number.
//!
//! The reader goes on with zero bits behind the end and says at [`BitReader::finish`] whether it
//! went there, so that its loops have nothing to check. A refill leaves at least 56 bits.

use crate::body::{BodyError, Writer};

/// Zero bits that say that a number follows in full: no quotient is that long.
pub(crate) const ESCAPE: u32 = 20;
/// Largest parameter of a Rice code: quotient and remainder come from one refill.
pub(crate) const RICE_MAX: u8 = 31;
/// Most bits that one refill is good for.
const REFILL_BITS: u32 = 56;

const fn mask(bits: u32) -> u64 {
    (1_u64 << bits) - 1
}

/// Reads bits through a 64-bit buffer.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    rest: &'a [u8],
    bytes: usize,
    /// Bytes taken into the buffer, zeros behind the end included.
    taken: usize,
    buffer: u64,
    /// Bits of the buffer not used yet.
    filled: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            bytes: bytes.len(),
            taken: 0,
            buffer: 0,
            filled: 0,
        }
    }

    #[inline]
    fn refill(&mut self) {
        let word = match self.rest.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.last_word(),
        };
        // Bits above `filled` may be there already; they are ORed with themselves.
        self.buffer |= word << self.filled;
        let bytes = ((63 - self.filled) >> 3) as usize;
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.taken += bytes;
        self.filled |= REFILL_BITS;
    }

    #[cold]
    fn last_word(&self) -> u64 {
        let bytes = self.rest.iter().rev();
        bytes.fold(0, |word, byte| (word << 8) | u64::from(*byte))
    }

    #[inline]
    fn consume(&mut self, bits: u32) -> u64 {
        let value = self.buffer & mask(bits);
        self.buffer >>= bits;
        self.filled -= bits;
        value
    }

    /// A number of up to 56 bits.
    #[inline]
    pub(crate) fn narrow(&mut self, bits: u32) -> u64 {
        self.refill();
        self.consume(bits)
    }

    /// A number of up to 64 bits.
    #[inline]
    pub(crate) fn number(&mut self, bits: u32) -> u64 {
        if bits <= REFILL_BITS {
            return self.narrow(bits);
        }
        let low = self.narrow(32);
        low | self.narrow(bits - 32) << 32
    }

    /// A Rice code of parameter `k`, at most [`RICE_MAX`].
    #[inline]
    pub(crate) fn rice(&mut self, k: u32) -> u64 {
        self.refill();
        let quotient = self.buffer.trailing_zeros();
        if quotient >= ESCAPE {
            return self.escaped();
        }
        self.consume(quotient + 1);
        u64::from(quotient) << k | self.consume(k)
    }

    #[cold]
    fn escaped(&mut self) -> u64 {
        self.consume(ESCAPE);
        let bits = self.consume(6) as u32 + 1;
        self.number(bits)
    }

    /// Bytes used, the last one perhaps in part; `None` when the bits went on behind the end.
    pub(crate) fn finish(self) -> Option<usize> {
        let bits = self.taken * 8 - self.filled as usize;
        let bytes = bits.div_ceil(8);
        (bytes <= self.bytes).then_some(bytes)
    }
}

/// Writes bits; the last byte is filled up with zeros.
#[derive(Debug)]
pub(crate) struct BitWriter<'w, 'b> {
    writer: &'w mut Writer<'b>,
    buffer: u64,
    filled: u32,
}

impl<'w, 'b> BitWriter<'w, 'b> {
    pub(crate) fn new(writer: &'w mut Writer<'b>) -> Self {
        Self {
            writer,
            buffer: 0,
            filled: 0,
        }
    }

    /// A number of up to 64 bits.
    pub(crate) fn number(&mut self, value: u64, bits: u32) -> Result<(), BodyError> {
        if bits > REFILL_BITS {
            self.number(value & mask(32), 32)?;
            return self.number(value >> 32, bits - 32);
        }
        self.buffer |= value << self.filled;
        self.filled += bits;
        while self.filled >= 8 {
            self.writer.byte(self.buffer as u8)?;
            self.buffer >>= 8;
            self.filled -= 8;
        }
        Ok(())
    }

    /// A Rice code of parameter `k`.
    pub(crate) fn rice(&mut self, value: u64, k: u32) -> Result<(), BodyError> {
        let quotient = value >> k;
        if quotient < u64::from(ESCAPE) {
            self.number(1 << quotient, quotient as u32 + 1)?;
            return self.number(value & mask(k), k);
        }
        let bits = width(value);
        self.number(0, ESCAPE)?;
        self.number(u64::from(bits - 1), 6)?;
        self.number(value, bits)
    }

    pub(crate) fn finish(self) -> Result<(), BodyError> {
        if self.filled > 0 {
            self.writer.byte(self.buffer as u8)?;
        }
        Ok(())
    }
}

/// Bits of a number; 0 for 0.
pub(crate) const fn width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Bits of a Rice code of parameter `k`.
pub(crate) const fn rice_bits(value: u64, k: u32) -> usize {
    let quotient = value >> k;
    if quotient < ESCAPE as u64 {
        quotient as usize + 1 + k as usize
    } else {
        (ESCAPE + 6 + width(value)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_read_back_as_written(
            codes in prop::collection::vec((any::<u64>(), 0_u32..64, 0_u32..=31, any::<bool>()), 0..80),
        ) {
            let mut bytes = [0; 2_000];
            let mut writer = Writer::new(&mut bytes);
            let mut out = BitWriter::new(&mut writer);
            let mut bits = 0;
            for (value, shift, k, rice) in &codes {
                let value = value >> shift;
                if *rice {
                    out.rice(value, *k).unwrap();
                    bits += rice_bits(value, *k);
                } else {
                    out.number(value, 64 - shift).unwrap();
                    bits += 64 - *shift as usize;
                }
            }
            out.finish().unwrap();
            prop_assert_eq!(writer.len(), bits.div_ceil(8));
            let mut input = BitReader::new(writer.written());
            for (value, shift, k, rice) in &codes {
                let read = if *rice { input.rice(*k) } else { input.number(64 - shift) };
                prop_assert_eq!(read, value >> shift);
            }
            prop_assert_eq!(input.finish(), Some(bits.div_ceil(8)));
        }

        #[test]
        fn bits_behind_the_end_are_noticed(bytes in prop::collection::vec(any::<u8>(), 0..20), more in 1_u32..=64) {
            let mut input = BitReader::new(&bytes);
            for byte in &bytes {
                prop_assert_eq!(input.number(8), u64::from(*byte));
            }
            prop_assert_eq!(input.number(more), 0);
            prop_assert_eq!(input.finish(), None);
        }
    }
}
