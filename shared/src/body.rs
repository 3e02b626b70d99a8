//! Bodies: postcard that may grow at its end, and the byte cursors under it.
//!
//! A reader ignores trailing bytes that it does not know. A writer of an earlier version ends
//! sooner; the reader then takes the missing fields as if they were encoded as zero bytes
//! (0, false, `None`, empty). So a field added at the end must mean "not said" when it is zero.

use postcard::de_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What is wrong with a body, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError {
    /// Byte offset within the body at which reading stopped.
    pub at: usize,
    /// What was expected there.
    pub fault: BodyFault,
}

/// The faults of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// The body ends inside a value.
    End,
    /// A number does not fit its type.
    Range,
    /// A value is not one of those allowed here.
    Value,
    /// The message's number is not known here.
    Message {
        /// The number found.
        number: u32,
    },
    /// The block encoding's number is not known here.
    Encoding {
        /// The number found.
        number: u8,
    },
    /// A limit of `limits` is exceeded.
    Limit,
    /// The output buffer is full (writing only).
    Full,
}

impl core::fmt::Display for BodyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.fault {
            BodyFault::End => write!(f, "the body ends inside a value"),
            BodyFault::Range => write!(f, "a number does not fit its type"),
            BodyFault::Value => write!(f, "a value is not one of those allowed"),
            BodyFault::Message { number } => write!(f, "message number {number} is not known"),
            BodyFault::Encoding { number } => write!(f, "block encoding {number} is not known"),
            BodyFault::Limit => write!(f, "a limit of the wire is exceeded"),
            BodyFault::Full => write!(f, "the output buffer is full"),
        }?;
        write!(f, " (byte {} of the body)", self.at)
    }
}

impl core::error::Error for BodyError {}

/// Reads bytes from a body, remembering where it stands.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Byte offset of the next byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether everything was read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// An error at this place.
    pub fn error(&self, fault: BodyFault) -> BodyError {
        BodyError { at: self.at, fault }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, BodyError> {
        let byte = self.bytes.get(self.at).copied();
        let byte = byte.ok_or(self.error(BodyFault::End))?;
        self.at += 1;
        Ok(byte)
    }

    /// A reader of the same bytes at another place.
    pub(crate) fn seek(&self, at: usize) -> Self {
        Self {
            bytes: self.bytes,
            at,
        }
    }

    /// Steps back over the byte read last.
    pub(crate) fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], BodyError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(self.error(BodyFault::End))?;
        self.at += count;
        Ok(taken)
    }

    /// A little-endian `u16`.
    pub fn u16_le(&mut self) -> Result<u16, BodyError> {
        let bytes = self.take(2)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u16::from(*byte)))
    }

    /// A little-endian `u32`.
    pub fn u32_le(&mut self) -> Result<u32, BodyError> {
        let bytes = self.take(4)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
    }

    /// A postcard varint, at most 10 bytes.
    pub fn varint(&mut self) -> Result<u64, BodyError> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BodyError {
            at: start,
            fault: BodyFault::Range,
        })
    }

    /// A postcard varint that fits 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, BodyError> {
        let at = self.at;
        u32::try_from(self.varint()?).map_err(|_| BodyError {
            at,
            fault: BodyFault::Range,
        })
    }

    /// A zigzag varint.
    pub fn zigzag(&mut self) -> Result<i64, BodyError> {
        self.varint().map(unzigzag)
    }

    /// A postcard value whose missing tail reads as zeros; later bytes stay unread.
    pub fn value<T: Deserialize<'a>>(&mut self) -> Result<T, BodyError> {
        let mut deserializer = postcard::Deserializer::from_flavor(Growing { rest: self.rest() });
        let value = T::deserialize(&mut deserializer);
        let left = deserializer.finalize().unwrap_or_default().len();
        self.at = self.bytes.len() - left;
        value.map_err(|error| {
            self.error(match error {
                postcard::Error::DeserializeUnexpectedEnd => BodyFault::End,
                postcard::Error::DeserializeBadVarint => BodyFault::Range,
                _ => BodyFault::Value,
            })
        })
    }
}

/// A whole body as one value: a missing tail reads as zeros, bytes behind it are ignored.
pub fn read_value<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BodyError> {
    Reader::new(body).value()
}

/// As [`read_value`], for types that own their bytes.
pub fn read_owned<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    Reader::new(body).value()
}

/// Writes bytes into a buffer.
#[derive(Debug)]
pub struct Writer<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl<'b> Writer<'b> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// What was written so far.
    pub fn written(&self) -> &[u8] {
        self.bytes.get(..self.at).unwrap_or_default()
    }

    /// An error at this place.
    pub fn error(&self, fault: BodyFault) -> BodyError {
        BodyError { at: self.at, fault }
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) -> Result<(), BodyError> {
        self.put(&[byte])
    }

    /// Several bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let full = self.error(BodyFault::Full);
        let end = self.at.checked_add(bytes.len()).ok_or(full)?;
        self.bytes
            .get_mut(self.at..end)
            .ok_or(full)?
            .copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    /// A postcard varint.
    pub fn varint(&mut self, mut value: u64) -> Result<(), BodyError> {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80)?;
            value >>= 7;
        }
        self.byte(value as u8)
    }

    /// A zigzag varint.
    pub fn zigzag(&mut self, value: i64) -> Result<(), BodyError> {
        self.varint(zigzag(value))
    }

    /// A postcard value.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BodyError> {
        let full = self.error(BodyFault::Full);
        let rest = self.bytes.get_mut(self.at..).unwrap_or_default();
        let used = postcard::to_slice(value, rest).map_err(|_| full)?.len();
        self.at += used;
        Ok(())
    }
}

/// Folds the sign into the lowest bit: 0, -1, 1, -2 become 0, 1, 2, 3.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes one varint takes.
pub const fn varint_bytes(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Postcard input that reads as zeros behind its end.
struct Growing<'a> {
    rest: &'a [u8],
}

impl<'a> Flavor<'a> for Growing<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Ok(0);
        };
        self.rest = rest;
        Ok(*first)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.rest)
    }
}
