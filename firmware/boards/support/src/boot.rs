//! The boot store: incarnation and boot counter, kept over power cuts.
//!
//! One record, written alternately into two slots that are erased and written apart from each other
//! (two pages of flash, two lines of an EEPROM):
//!
//! ```text
//! "TGbt" | generation u32 LE | incarnation u32 LE | boot u32 LE | CRC-32C u32 LE of these
//! ```
//! Invariants:
//! 1. A start writes its record, reads it back and only then has its boot. A write that is cut
//!    leaves the other slot, so the next start gets the same boot, of which nothing was sent.
//! 2. Incarnation and counter stand in one record: what erases one erases both.
//! 3. Empty or unreadable slots make a new incarnation, whose boots count from 1.

use tidegate_firmware::shell::Entropy;
use tidegate_shared::frame::crc32c;
use tidegate_shared::ids::Incarnation;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 20;

const MAGIC: [u8; 4] = *b"TGbt";

/// Two places of [`RECORD_BYTES`] each, such that a torn write of one leaves the other alone.
pub trait Slots {
    /// Why it cannot be read or written.
    type Error;

    /// Reads slot 0 or 1.
    fn read(&mut self, slot: usize) -> Result<[u8; RECORD_BYTES], Self::Error>;

    /// Writes slot 0 or 1, erasing it first where that is needed.
    fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) -> Result<(), Self::Error>;
}

/// Why there is no boot: draw an incarnation for this start alone, and say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError<E> {
    /// The store does not answer.
    Slots(E),
    /// What was written reads back otherwise: worn out, or write-protected.
    ReadBack,
}

/// What the store held before this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The record of the last start.
    Record,
    /// Nothing: a first start, or the store was erased.
    Empty,
    /// Bytes, but no record: damaged.
    Damaged,
}

/// This start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Kept, or drawn when the store held none.
    pub incarnation: Incarnation,
    /// Starts of this incarnation, this one included.
    pub boot: u32,
    /// What the store held.
    pub found: Found,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    generation: u32,
    incarnation: Incarnation,
    boot: u32,
}

impl Record {
    fn read(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (covered, check) = bytes.split_last_chunk()?;
        let numbers = covered.strip_prefix(&MAGIC)?;
        let mut numbers = numbers
            .chunks_exact(4)
            .filter_map(|chunk| chunk.try_into().ok());
        let mut number = || numbers.next().map(u32::from_le_bytes);
        let record = Self {
            generation: number()?,
            incarnation: Incarnation(number()?),
            boot: number()?,
        };
        (u32::from_le_bytes(*check) == crc32c(covered)).then_some(record)
    }

    fn bytes(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let numbers = [self.generation, self.incarnation.0, self.boot].map(u32::to_le_bytes);
        let (covered, check) = bytes.split_at_mut(RECORD_BYTES - 4);
        let fields = [MAGIC].into_iter().chain(numbers);
        for (there, field) in covered.chunks_exact_mut(4).zip(fields) {
            there.copy_from_slice(&field);
        }
        check.copy_from_slice(&crc32c(covered).to_le_bytes());
        bytes
    }
}

/// Counts this start.
pub fn begin<S: Slots>(
    slots: &mut S,
    entropy: &mut impl Entropy,
) -> Result<Boot, StoreError<S::Error>> {
    let (newest, is_blank) = newest(slots)?;
    let (found, incarnation, boot) = match newest {
        Some((_, last)) => (Found::Record, last.incarnation, last.boot.saturating_add(1)),
        None if is_blank => (Found::Empty, draw(entropy), 1),
        None => (Found::Damaged, draw(entropy), 1),
    };
    write(slots, newest, incarnation, boot)?;
    Ok(Boot {
        incarnation,
        boot,
        found,
    })
}

/// Keeps a new incarnation that was drawn while running; the boot goes on.
pub fn rename<S: Slots>(
    slots: &mut S,
    incarnation: Incarnation,
    boot: u32,
) -> Result<(), StoreError<S::Error>> {
    let (newest, _) = newest(slots)?;
    write(slots, newest, incarnation, boot)
}

/// An incarnation that is not 0, which is nobody's.
pub fn draw(entropy: &mut impl Entropy) -> Incarnation {
    loop {
        let drawn = entropy.draw();
        if drawn != 0 {
            return Incarnation(drawn);
        }
    }
}

type Newest = Option<(usize, Record)>;

/// The newest record and its slot, and whether both slots are blank.
fn newest<S: Slots>(slots: &mut S) -> Result<(Newest, bool), StoreError<S::Error>> {
    let (mut newest, mut is_blank) = (Newest::None, true);
    for slot in 0..2 {
        let bytes = slots.read(slot).map_err(StoreError::Slots)?;
        is_blank &= bytes.iter().all(|byte| *byte == 0xff) || bytes == [0; RECORD_BYTES];
        let Some(record) = Record::read(&bytes) else {
            continue;
        };
        let is_newer = newest.is_none_or(|(_, other)| {
            // Generations wrap around; two neighbours are never far apart.
            record.generation.wrapping_sub(other.generation) as i32 > 0
        });
        if is_newer {
            newest = Some((slot, record));
        }
    }
    Ok((newest, is_blank))
}

/// Writes over the slot that does not hold the newest record, and reads it back.
fn write<S: Slots>(
    slots: &mut S,
    newest: Newest,
    incarnation: Incarnation,
    boot: u32,
) -> Result<(), StoreError<S::Error>> {
    let (slot, generation) = newest.map_or((0, 1), |(slot, last)| {
        (1 - slot, last.generation.wrapping_add(1))
    });
    let record = Record {
        generation,
        incarnation,
        boot,
    };
    let bytes = record.bytes();
    slots.write(slot, &bytes).map_err(StoreError::Slots)?;
    if slots.read(slot).map_err(StoreError::Slots)? == bytes {
        Ok(())
    } else {
        Err(StoreError::ReadBack)
    }
}

#[cfg(test)]
mod tests;
