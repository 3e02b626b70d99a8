//! Palette: at most 16 distinct values, then for each sample the place of its value.
//!
//! ```text
//! parameter u8: entries − 1 in bits 0-3; bits 4-7: 0 places bit-packed, 1 + k Rice codes (k ≤ 3)
//! entries: each a zigzag varint of its difference from the one before (the first from 0)
//! places: of all good samples
//! ```

use crate::bits::{BitReader, BitWriter, rice_bits, width};
use crate::body::{BodyError, BodyFault, Reader, Writer, varint_bytes, zigzag};
use crate::residual::finish;

/// Most entries.
const ENTRIES_MAX: usize = 16;
/// Largest parameter of places' Rice codes.
const PLACE_RICE_MAX: u8 = 3;

/// How places are coded: with a Rice parameter, or bit-packed without one.
pub(crate) type PlaceCoding = Option<u8>;

/// A block's distinct values in the order they are written in.
struct Palette {
    values: [i64; ENTRIES_MAX],
    /// How often each occurs.
    times: [u8; ENTRIES_MAX],
    used: usize,
}

/// The smaller coding and its bytes; `None` for more than 16 distinct values.
pub(crate) fn smallest(
    values: &(impl Iterator<Item = i64> + Clone),
) -> Option<(PlaceCoding, usize)> {
    let mut palette = Palette::of(values.clone(), None)?;
    let samples: usize = palette.times.iter().map(|times| usize::from(*times)).sum();
    let packed = palette.entry_bytes() + (palette.place_bits() as usize * samples).div_ceil(8);
    palette.sort(Some(0));
    let entry_bytes = palette.entry_bytes();
    let mut best = (None, packed);
    for k in 0..=PLACE_RICE_MAX {
        let times = palette.times.iter().zip(0_u64..);
        let coded = times.map(|(times, place)| usize::from(*times) * rice_bits(place, k.into()));
        let bytes = entry_bytes + coded.sum::<usize>().div_ceil(8);
        if bytes < best.1 {
            best = (Some(k), bytes);
        }
    }
    Some(best)
}

/// Writes parameter, entries and places of at most 16 distinct values.
pub(crate) fn write(
    writer: &mut Writer<'_>,
    coding: PlaceCoding,
    values: &(impl Iterator<Item = i64> + Clone),
) -> Result<(), BodyError> {
    let limit = writer.error(BodyFault::Limit);
    let palette = Palette::of(values.clone(), coding).ok_or(limit)?;
    let form = coding.map_or(0, |k| k + 1);
    writer.byte(palette.used.saturating_sub(1) as u8 | form << 4)?;
    palette
        .differences()
        .try_for_each(|difference| writer.varint(difference))?;
    let mut bits = BitWriter::new(writer);
    for value in values.clone() {
        let place = palette
            .values
            .iter()
            .position(|entry| *entry == value)
            .unwrap_or_default();
        match coding {
            None => bits.number(place as u64, palette.place_bits())?,
            Some(k) => bits.rice(place as u64, k.into())?,
        }
    }
    bits.finish()
}

impl Palette {
    /// Counts values and orders them for a coding; `None` for more than 16 distinct ones.
    fn of(values: impl Iterator<Item = i64>, coding: PlaceCoding) -> Option<Self> {
        let mut palette = Self {
            values: [0; ENTRIES_MAX],
            times: [0; ENTRIES_MAX],
            used: 0,
        };
        for value in values {
            let used = palette.values.iter().take(palette.used);
            let place = used
                .enumerate()
                .find(|(_, entry)| **entry == value)
                .map(|(at, _)| at);
            let place = place.unwrap_or(palette.used);
            *palette.values.get_mut(place)? = value;
            *palette.times.get_mut(place)? += 1;
            palette.used = palette.used.max(place + 1);
        }
        palette.sort(coding);
        Some(palette)
    }

    /// Ascending values have the smallest differences; with Rice codes the most frequent stand
    /// first, where codes are short. An insertion sort: core's costs kilobytes of flash.
    fn sort(&mut self, coding: PlaceCoding) {
        let order = |value: i64, times: u8| (coding.map(|_| u8::MAX - times), value);
        for sorted in 1..self.used {
            for at in (1..=sorted).rev() {
                let place = |index: usize| {
                    let value = self.values.get(index).copied().unwrap_or_default();
                    order(value, self.times.get(index).copied().unwrap_or_default())
                };
                if place(at - 1) <= place(at) {
                    break;
                }
                self.values.swap(at - 1, at);
                self.times.swap(at - 1, at);
            }
        }
    }

    /// What stands for each entry: its zigzag difference from the one before.
    fn differences(&self) -> impl Iterator<Item = u64> {
        self.values
            .iter()
            .take(self.used)
            .scan(0_i64, |previous, value| {
                let difference = zigzag(value.wrapping_sub(*previous));
                *previous = *value;
                Some(difference)
            })
    }

    fn entry_bytes(&self) -> usize {
        1 + self.differences().map(varint_bytes).sum::<usize>()
    }

    fn place_bits(&self) -> u32 {
        width(self.used.saturating_sub(1) as u64)
    }
}

/// Reads a palette block's values.
pub(crate) fn read(reader: &mut Reader<'_>, raws: &mut [i64]) -> Result<(), BodyError> {
    let wrong = reader.error(BodyFault::Value);
    let parameter = reader.byte()?;
    let (used, form) = (usize::from(parameter & 0xf) + 1, parameter >> 4);
    let mut entries = [0_i64; ENTRIES_MAX];
    let mut value = 0_i64;
    for entry in entries.iter_mut().take(used) {
        value = value.wrapping_add(reader.zigzag()?);
        *entry = value;
    }
    let mut bits = BitReader::new(reader.rest());
    let mut worst = 0;
    let mut look_up = |raw: &mut i64, place: u64| {
        worst = worst.max(place);
        *raw = entries.get(place as usize).copied().unwrap_or_default();
    };
    match form {
        0 => {
            let place_bits = width(used as u64 - 1);
            raws.iter_mut()
                .for_each(|raw| look_up(raw, bits.narrow(place_bits)));
        }
        1..=4 => {
            let k = u32::from(form - 1);
            raws.iter_mut().for_each(|raw| look_up(raw, bits.rice(k)));
        }
        _ => return Err(wrong),
    }
    // Zeros behind the end read as places that are not there: say that the block ends early.
    finish(reader, bits)?;
    if worst < used as u64 {
        Ok(())
    } else {
        Err(wrong)
    }
}
