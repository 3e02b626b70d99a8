//! Residuals: what a prediction leaves of a series, coded as varints, bit-packed or by Rice.
//!
//! Blocks and axes share these three codings. Layouts, to the bit, in the crate's documentation.

use crate::bits::{BitReader, BitWriter, RICE_MAX, rice_bits, width};
use crate::body::{BodyError, BodyFault, Reader, Writer, varint_bytes};

/// How residuals are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// One varint each.
    Varint,
    /// All in `width` bits, 1 to 64.
    Packed { width: u8 },
    /// Rice codes of parameter `k`, 0 to 31.
    Rice { k: u8 },
}

impl Coding {
    /// The smallest coding and its bytes, parameter included; of equal ones the first listed.
    pub(crate) fn smallest(residuals: &(impl Iterator<Item = u64> + Clone)) -> (Self, usize) {
        let (mut count, mut ored, mut varints) = (0, 0, 0);
        for residual in residuals.clone() {
            count += 1;
            ored |= residual;
            varints += varint_bytes(residual);
        }
        let bits = width(ored).max(1);
        let mut best = (Self::Varint, varints);
        let packed = 1 + (bits as usize * count).div_ceil(8);
        if packed < best.1 {
            best = (Self::Packed { width: bits as u8 }, packed);
        }
        // With k as wide as the widest, Rice is bit-packed and a bit each.
        for k in 0..bits.min(u32::from(RICE_MAX) + 1) {
            let coded: usize = residuals
                .clone()
                .map(|residual| rice_bits(residual, k))
                .sum();
            let rice = 1 + coded.div_ceil(8);
            if rice < best.1 {
                best = (Self::Rice { k: k as u8 }, rice);
            }
        }
        best
    }

    /// Writes parameter and residuals.
    pub(crate) fn write(
        self,
        writer: &mut Writer<'_>,
        mut residuals: impl Iterator<Item = u64>,
    ) -> Result<(), BodyError> {
        match self {
            Self::Varint => residuals.try_for_each(|residual| writer.varint(residual)),
            Self::Packed { width } => {
                writer.byte(width)?;
                let mut bits = BitWriter::new(writer);
                residuals.try_for_each(|residual| bits.number(residual, width.into()))?;
                bits.finish()
            }
            Self::Rice { k } => {
                writer.byte(k)?;
                let mut bits = BitWriter::new(writer);
                residuals.try_for_each(|residual| bits.rice(residual, k.into()))?;
                bits.finish()
            }
        }
    }
}

/// Reads `count` varints and hands on each.
pub(crate) fn read_varints(
    reader: &mut Reader<'_>,
    count: usize,
    mut each: impl FnMut(u64),
) -> Result<(), BodyError> {
    for _ in 0..count {
        // Nearly all take one byte.
        let byte = reader.byte()?;
        if byte < 0x80 {
            each(u64::from(byte));
        } else {
            reader.back();
            each(reader.varint()?);
        }
    }
    Ok(())
}

/// Reads a width and `count` numbers of so many bits, and hands on each.
pub(crate) fn read_packed(
    reader: &mut Reader<'_>,
    count: usize,
    mut each: impl FnMut(u64),
) -> Result<(), BodyError> {
    let width = parameter(reader, 1, 64)?;
    let mut bits = BitReader::new(reader.rest());
    for _ in 0..count {
        each(bits.number(width));
    }
    finish(reader, bits)
}

/// Reads a parameter and `count` Rice codes, and hands on each.
pub(crate) fn read_rice(
    reader: &mut Reader<'_>,
    count: usize,
    mut each: impl FnMut(u64),
) -> Result<(), BodyError> {
    let k = parameter(reader, 0, RICE_MAX)?;
    let mut bits = BitReader::new(reader.rest());
    for _ in 0..count {
        each(bits.rice(k));
    }
    finish(reader, bits)
}

fn parameter(reader: &mut Reader<'_>, least: u8, most: u8) -> Result<u32, BodyError> {
    let wrong = reader.error(BodyFault::Value);
    let value = reader.byte()?;
    if (least..=most).contains(&value) {
        Ok(value.into())
    } else {
        Err(wrong)
    }
}

/// Moves a reader behind the bits read from its rest.
pub(crate) fn finish(reader: &mut Reader<'_>, bits: BitReader<'_>) -> Result<(), BodyError> {
    let Some(used) = bits.finish() else {
        reader.take(reader.rest().len())?;
        return Err(reader.error(BodyFault::End));
    };
    reader.take(used).map(|_| ())
}
