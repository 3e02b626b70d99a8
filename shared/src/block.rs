//! Blocks: one sensor's samples of a batch, in the smallest of several encodings.
//!
//! A block stands for integers: the catalog says how they become values.
//! Its payload holds the good samples only; bad ones are marked before it and cost no more.
//! All differences wrap, so every `i64` reads back as it was.
//!
//! ```text
//! payload = nothing                                     no good sample
//!         | first zigzag varint                         0 constant
//!         | first zigzag varint, residuals as varints   1 delta varint
//!         | first, width u8, bit-packed residuals       2 bit-packed
//!         | first, k u8, Rice-coded residuals           3 Rice
//!         | parameter u8, entries, places               4 palette
//! residual = zigzag(value − previous value)
//! ```

mod bad;
mod bound;
mod palette;

pub use bad::BadSet;
pub use bound::Bound;

use crate::body::{BodyError, BodyFault, Reader, Writer, unzigzag, varint_bytes, zigzag};
use crate::residual::{Coding, read_packed, read_rice, read_varints};
use palette::PlaceCoding;

/// Most bytes of a block before its bad marks and its payload, an inline axis not counted:
/// head, sensor gap, first index, axis reference.
pub const HEAD_BYTES_MAX: usize = 1 + 2 + 2 + 2;

/// The encodings' numbers, as they stand in a block's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encoding {
    /// All good samples are equal, or there is none.
    Constant = 0,
    /// First differences as varints.
    DeltaVarint = 1,
    /// First differences in equally many bits.
    BitPacked = 2,
    /// First differences as Rice codes.
    Rice = 3,
    /// At most 16 distinct values and each sample's place among them.
    Palette = 4,
}

impl Encoding {
    /// The encoding of a number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Constant,
            1 => Self::DeltaVarint,
            2 => Self::BitPacked,
            3 => Self::Rice,
            4 => Self::Palette,
            _ => return None,
        })
    }
}

/// How a block's good samples are to be written.
#[derive(Debug, Clone, Copy)]
enum Payload {
    Nothing,
    Constant(i64),
    Differences(i64, Coding),
    Palette(PlaceCoding),
}

/// The smallest payload of some good samples, with its exact size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    payload: Payload,
    /// Bytes of the payload.
    pub(crate) bytes: usize,
}

/// Differences of neighbours, folded by zigzag.
fn residuals(values: &(impl Iterator<Item = i64> + Clone)) -> impl Iterator<Item = u64> + Clone {
    let later = values.clone().skip(1);
    let pairs = values.clone().zip(later);
    pairs.map(|(previous, value)| zigzag(value.wrapping_sub(previous)))
}

impl Choice {
    /// Weighs all encodings by their exact sizes; of equal ones the lower number wins.
    pub(crate) fn of(values: &(impl Iterator<Item = i64> + Clone)) -> Self {
        let Some(first) = values.clone().next() else {
            return Self {
                payload: Payload::Nothing,
                bytes: 0,
            };
        };
        let first_bytes = varint_bytes(zigzag(first));
        let residuals = residuals(values);
        if residuals.clone().all(|residual| residual == 0) {
            return Self {
                payload: Payload::Constant(first),
                bytes: first_bytes,
            };
        }
        let (coding, bytes) = Coding::smallest(&residuals);
        let differences = Self {
            payload: Payload::Differences(first, coding),
            bytes: first_bytes + bytes,
        };
        match palette::smallest(values) {
            Some((coding, bytes)) if bytes < differences.bytes => Self {
                payload: Payload::Palette(coding),
                bytes,
            },
            _ => differences,
        }
    }

    /// The encoding chosen.
    pub(crate) fn encoding(&self) -> Encoding {
        match self.payload {
            Payload::Nothing | Payload::Constant(_) => Encoding::Constant,
            Payload::Differences(_, Coding::Varint) => Encoding::DeltaVarint,
            Payload::Differences(_, Coding::Packed { .. }) => Encoding::BitPacked,
            Payload::Differences(_, Coding::Rice { .. }) => Encoding::Rice,
            Payload::Palette(_) => Encoding::Palette,
        }
    }

    /// Writes the payload of the values it was chosen for.
    pub(crate) fn write(
        &self,
        writer: &mut Writer<'_>,
        values: &(impl Iterator<Item = i64> + Clone),
    ) -> Result<(), BodyError> {
        match &self.payload {
            Payload::Nothing => Ok(()),
            Payload::Constant(first) => writer.zigzag(*first),
            Payload::Differences(first, coding) => {
                writer.zigzag(*first)?;
                coding.write(writer, residuals(values))
            }
            Payload::Palette(coding) => palette::write(writer, *coding, values),
        }
    }
}

/// Reads a payload of `raws.len()` good samples.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    encoding: Encoding,
    raws: &mut [i64],
) -> Result<(), BodyError> {
    let count = raws.len();
    if count == 0 {
        return match encoding {
            Encoding::Constant => Ok(()),
            _ => Err(reader.error(BodyFault::Value)),
        };
    }
    if encoding == Encoding::Palette {
        return palette::read(reader, raws);
    }
    let mut value = reader.zigzag()?;
    let mut slots = raws.iter_mut();
    let mut put = |residual: u64| {
        value = value.wrapping_add(unzigzag(residual));
        if let Some(slot) = slots.next() {
            *slot = value;
        }
    };
    // The first value is its own predecessor.
    put(0);
    match encoding {
        Encoding::Constant => {
            (1..count).for_each(|_| put(0));
            Ok(())
        }
        Encoding::DeltaVarint => read_varints(reader, count - 1, put),
        Encoding::BitPacked => read_packed(reader, count - 1, put),
        Encoding::Rice | Encoding::Palette => read_rice(reader, count - 1, put),
    }
}

/// Moves the good samples, read to the front, to their places; bad ones read as 0.
pub(crate) fn spread(raws: &mut [i64], bad: &BadSet) {
    let mut next = raws.len().saturating_sub(bad.count() as usize);
    for index in (0..raws.len()).rev() {
        let value = if bad.contains(index) {
            0
        } else {
            next = next.saturating_sub(1);
            raws.get(next).copied().unwrap_or_default()
        };
        if let Some(slot) = raws.get_mut(index) {
            *slot = value;
        }
    }
}
