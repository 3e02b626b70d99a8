//! Time axes: the sample times that several blocks of a batch share.
//!
//! A unit is 10^exponent µs: the largest that divides every offset, so that a period of a
//! second costs one byte and a missed second another.
//!
//! ```text
//! axis = count u8 (1 to 255) | exponent (bits 0-3, 0 to 9) and form (bits 4-7) u8
//!      | first offset varint, in units after the batch's base
//!      | with two samples or more: period varint, in units; then by form
//! 0 regular      nothing: every step is the period
//! 1 exceptions   count u8, then each a varint: 2 × regular steps before it, plus
//!                0: the step is two periods (one sample missed)
//!                1: a zigzag varint follows: the step minus the period
//! 2 varint, 3 bit-packed, 4 Rice: residuals zigzag(step − period), coded as in blocks
//! ```

mod bound;

pub use bound::Bound;

use crate::body::{BodyError, BodyFault, Reader, Writer, unzigzag, varint_bytes, zigzag};
use crate::limits::BLOCK_SAMPLES_MAX;
use crate::residual::{Coding, read_packed, read_rice, read_varints};

/// Largest decimal exponent of an axis' unit: offsets are `u32` µs, 10^9 is the last power there.
pub const UNIT_EXPONENT_MAX: u8 = 9;

const REGULAR: u8 = 0;
const EXCEPTIONS: u8 = 1;
const VARINT: u8 = 2;
const BIT_PACKED: u8 = 3;
const RICE: u8 = 4;

/// The largest exponent up to `most` by whose power of ten `offset_us` divides.
const fn unit_exponent(offset_us: u32, most: u8) -> u8 {
    let mut exponent = most;
    while exponent > 0 && !offset_us.is_multiple_of(10_u32.pow(exponent as u32)) {
        exponent -= 1;
    }
    exponent
}

fn steps(offsets_us: &[u32], unit_us: u32) -> impl Iterator<Item = u32> + Clone {
    let pairs = offsets_us.iter().zip(offsets_us.iter().skip(1));
    pairs.map(move |(previous, offset)| offset.saturating_sub(*previous) / unit_us)
}

/// The step that more than half of the steps have, or else the mean step.
fn period(steps: impl Iterator<Item = u32> + Clone) -> u32 {
    // Boyer and Moore's majority vote finds the only candidate.
    let (mut candidate, mut votes) = (0, 0_u32);
    for step in steps.clone() {
        if votes == 0 {
            candidate = step;
        }
        votes = if step == candidate {
            votes + 1
        } else {
            votes - 1
        };
    }
    let count = steps.clone().count();
    if steps.clone().filter(|step| *step == candidate).count() * 2 > count {
        return candidate;
    }
    let sum: u64 = steps.map(u64::from).sum();
    (sum / count.max(1) as u64) as u32
}

/// The varint of an exception behind `gap` regular steps, and its difference if it has one.
fn exception(gap: u64, step: u32, period: u32) -> (u64, Option<u64>) {
    let difference = i64::from(step) - i64::from(period);
    if difference == i64::from(period) {
        (gap << 1, None)
    } else {
        (gap << 1 | 1, Some(zigzag(difference)))
    }
}

fn exceptions(
    steps: impl Iterator<Item = u32> + Clone,
    period: u32,
) -> impl Iterator<Item = (u64, Option<u64>)> + Clone {
    let mut gap = 0;
    steps.filter_map(move |step| {
        if step == period {
            gap += 1;
            return None;
        }
        let found = exception(gap, step, period);
        gap = 0;
        Some(found)
    })
}

/// Writes an axis of 1 to 255 ascending offsets.
pub(crate) fn write(writer: &mut Writer<'_>, offsets_us: &[u32]) -> Result<(), BodyError> {
    let first_us = offsets_us
        .first()
        .filter(|_| offsets_us.len() <= BLOCK_SAMPLES_MAX);
    let first_us = *first_us.ok_or(writer.error(BodyFault::Limit))?;
    if !offsets_us.is_sorted() {
        return Err(writer.error(BodyFault::Value));
    }
    let exponent = offsets_us.iter().fold(UNIT_EXPONENT_MAX, |most, offset| {
        unit_exponent(*offset, most)
    });
    let unit_us = 10_u32.pow(exponent.into());
    let steps = steps(offsets_us, unit_us);
    let period = period(steps.clone());
    let exceptions = exceptions(steps.clone(), period);
    let residuals = steps.map(|step| zigzag(i64::from(step) - i64::from(period)));
    let (coding, coded_bytes) = Coding::smallest(&residuals);
    let exception_bytes = 1 + exceptions
        .clone()
        .map(|(gap, difference)| varint_bytes(gap) + difference.map_or(0, varint_bytes))
        .sum::<usize>();
    let form = if exceptions.clone().next().is_none() {
        REGULAR
    } else if exception_bytes <= coded_bytes {
        EXCEPTIONS
    } else {
        match coding {
            Coding::Varint => VARINT,
            Coding::Packed { .. } => BIT_PACKED,
            Coding::Rice { .. } => RICE,
        }
    };
    writer.byte(offsets_us.len() as u8)?;
    writer.byte(exponent | form << 4)?;
    writer.varint((first_us / unit_us).into())?;
    if offsets_us.len() == 1 {
        return Ok(());
    }
    writer.varint(period.into())?;
    match form {
        REGULAR => Ok(()),
        EXCEPTIONS => {
            writer.byte(exceptions.clone().count() as u8)?;
            for (gap, difference) in exceptions {
                writer.varint(gap)?;
                difference.map_or(Ok(()), |difference| writer.varint(difference))?;
            }
            Ok(())
        }
        _ => coding.write(writer, residuals),
    }
}

/// Turns steps into uptimes, slot by slot, and remembers whether all of them were possible.
struct Clockwork<'s> {
    base_us: u64,
    unit_us: u64,
    offset: u64,
    slots: core::slice::IterMut<'s, u64>,
    backwards: bool,
}

impl Clockwork<'_> {
    #[inline]
    fn step(&mut self, step: u64) {
        self.offset = self.offset.wrapping_add(step);
        // What overflows here is refused at the end: the last offset is the largest.
        let uptime_us = self
            .base_us
            .wrapping_add(self.offset.wrapping_mul(self.unit_us));
        if let Some(slot) = self.slots.next() {
            *slot = uptime_us;
        }
    }

    /// A step that differs from the period by a folded difference.
    #[inline]
    fn residual(&mut self, period: i64, residual: u64) {
        let step = u32::try_from(period.wrapping_add(unzigzag(residual)));
        self.backwards |= step.is_err();
        self.step(step.unwrap_or_default().into());
    }

    /// Whether all uptimes ascend and lie within 2^32 µs of the base.
    fn is_sound(&self) -> bool {
        let last_us = self
            .offset
            .checked_mul(self.unit_us)
            .and_then(|us| u32::try_from(us).ok());
        let last_us = last_us.and_then(|us| self.base_us.checked_add(us.into()));
        last_us.is_some() && !self.backwards
    }
}

/// Reads an axis: its uptimes go to the front of `times`, which holds 255. Returns their number.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    base_us: u64,
    times: &mut [u64],
) -> Result<usize, BodyError> {
    let start = reader.at();
    let count = usize::from(reader.byte()?);
    if count == 0 {
        return Err(BodyError {
            at: start,
            fault: BodyFault::Limit,
        });
    }
    let wrong_form = reader.error(BodyFault::Value);
    let head = reader.byte()?;
    let (exponent, form) = (head & 0xf, head >> 4);
    if exponent > UNIT_EXPONENT_MAX || form > RICE {
        return Err(wrong_form);
    }
    let first = reader.varint_u32()?;
    let mut clockwork = Clockwork {
        base_us,
        unit_us: 10_u64.pow(exponent.into()),
        offset: 0,
        slots: times.iter_mut(),
        backwards: false,
    };
    clockwork.step(first.into());
    if count > 1 {
        let period = reader.varint_u32()?;
        let each = |residual| clockwork.residual(period.into(), residual);
        match form {
            REGULAR => (1..count).for_each(|_| clockwork.step(period.into())),
            EXCEPTIONS => read_exceptions(reader, count - 1, period, &mut clockwork)?,
            VARINT => read_varints(reader, count - 1, each)?,
            BIT_PACKED => read_packed(reader, count - 1, each)?,
            _ => read_rice(reader, count - 1, each)?,
        }
    } else if form != REGULAR {
        return Err(wrong_form);
    }
    if !clockwork.is_sound() {
        return Err(BodyError {
            at: start,
            fault: BodyFault::Range,
        });
    }
    Ok(count)
}

fn read_exceptions(
    reader: &mut Reader<'_>,
    steps: usize,
    period: u32,
    clockwork: &mut Clockwork<'_>,
) -> Result<(), BodyError> {
    let mut left = steps as u64;
    for _ in 0..reader.byte()? {
        let wrong = reader.error(BodyFault::Value);
        let gap = reader.varint()?;
        left = left.checked_sub((gap >> 1) + 1).ok_or(wrong)?;
        (0..gap >> 1).for_each(|_| clockwork.step(period.into()));
        if gap & 1 == 0 {
            clockwork.step(u64::from(period) * 2);
        } else {
            clockwork.residual(period.into(), reader.varint()?);
        }
    }
    (0..left).for_each(|_| clockwork.step(period.into()));
    Ok(())
}
