//! The boot store: incarnation, boot counter and what was granted, kept over power cuts.
//!
//! One record, written alternately into two slots that are erased and written apart from each other
//! (two pages of flash, two lines of an EEPROM):
//!
//! ```text
//! "TGst" | generation u32 LE | incarnation u32 LE | boot u32 LE
//! number u32 LE, 0 for none | claim id u32 LE | key id u8, 0 for no key | 0 0 0 | key, 32
//! CRC-32C u32 LE of these
//! ```
//! Terms: a board without a number of its own draws one, by which it is named when it enrols by a
//! claim; what it was granted is the key that it got, and the claim that it got it by.
//!
//! Invariants:
//! 1. A start writes its record, reads it back and only then has its boot. A write that is cut
//!    leaves the other slot, so the next start gets the same boot, of which nothing was sent.
//! 2. All stands in one record: what erases a part erases all, and no part is newer than another.
//! 3. Empty or unreadable slots make a new incarnation, whose boots count from 1.
//! 4. A granted key is written and read back before it is used: a cut leaves a device that claims.

use core::fmt;

use tidegate_firmware::settings::{DeviceKey, KEY_BYTES};
use tidegate_firmware::shell::Entropy;
use tidegate_shared::frame::crc32c;
use tidegate_shared::ids::Incarnation;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"TGst";
/// Number, claim id, key id and three zeros, key.
const OWN_BYTES: usize = KEY_AT + 4 + KEY_BYTES;
const KEY_AT: usize = 8;

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
    /// What else is kept.
    pub own: Own,
}

/// What a board keeps of itself, besides its boots: as bytes, which only who enrols by a claim reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Own([u8; OWN_BYTES]);

impl Own {
    /// Nothing.
    pub const NONE: Self = Self([0; OWN_BYTES]);

    /// The number that the board drew; 0 before.
    pub fn number(&self) -> u32 {
        self.word(0)
    }

    /// The key that was granted by this claim; none when another one, of another page, granted it.
    pub fn key_of(&self, claim: u32) -> Option<DeviceKey> {
        let (id, bytes) = self.0.get(KEY_AT..)?.split_first()?;
        let bytes = bytes.last_chunk()?;
        (*id != 0 && self.word(4) == claim).then_some(DeviceKey {
            id: *id,
            bytes: *bytes,
        })
    }

    /// The same with this number.
    #[must_use]
    pub fn with_number(mut self, number: u32) -> Self {
        self.put(0, &number.to_le_bytes());
        self
    }

    /// The same with a key, and the claim that it was granted by.
    #[must_use]
    pub fn with_key(mut self, claim: u32, key: &DeviceKey) -> Self {
        self.put(4, &claim.to_le_bytes());
        self.put(KEY_AT, &[key.id]);
        self.put(OWN_BYTES - KEY_BYTES, &key.bytes);
        self
    }

    fn word(&self, at: usize) -> u32 {
        let word = self.0.get(at..).and_then(<[u8]>::first_chunk);
        word.map_or(0, |word| u32::from_le_bytes(*word))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let place = self.0.iter_mut().skip(at);
        place.zip(bytes).for_each(|(there, byte)| *there = *byte);
    }
}

/// Without the key: what is printed is read by others.
impl fmt::Debug for Own {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Own(…)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    generation: u32,
    incarnation: Incarnation,
    boot: u32,
    own: Own,
}

impl Record {
    fn read(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (covered, check) = bytes.split_last_chunk()?;
        let (numbers, own) = covered.strip_prefix(&MAGIC)?.split_first_chunk::<12>()?;
        let mut numbers = numbers
            .chunks_exact(4)
            .filter_map(|chunk| chunk.try_into().ok());
        let mut number = || numbers.next().map(u32::from_le_bytes);
        let record = Self {
            generation: number()?,
            incarnation: Incarnation(number()?),
            boot: number()?,
            own: Own(*own.first_chunk()?),
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
        let (_, own) = covered.split_at_mut(RECORD_BYTES - 4 - OWN_BYTES);
        own.copy_from_slice(&self.own.0);
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
    let own = own(newest);
    write(slots, newest, (incarnation, boot), own)?;
    Ok(Boot {
        incarnation,
        boot,
        found,
        own,
    })
}

/// Keeps a new incarnation that was drawn while running; the boot goes on.
pub fn rename<S: Slots>(
    slots: &mut S,
    incarnation: Incarnation,
    boot: u32,
) -> Result<(), StoreError<S::Error>> {
    let (newest, _) = newest(slots)?;
    write(slots, newest, (incarnation, boot), own(newest))
}

/// Keeps what is a board's own, while it runs in this boot. A store that does not hold this boot
/// keeps nothing: what it holds is none of this board's, or of an earlier start.
pub fn keep<S: Slots>(slots: &mut S, boot: &Boot, own: Own) -> Result<(), StoreError<S::Error>> {
    let (newest, _) = newest(slots)?;
    match newest {
        Some((slot, last)) if last.boot == boot.boot => {
            let of = (last.incarnation, last.boot);
            write(slots, Some((slot, last)), of, own)
        }
        _ => Err(StoreError::ReadBack),
    }
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

fn own(newest: Newest) -> Own {
    newest.map_or(Own::NONE, |(_, last)| last.own)
}

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
    (incarnation, boot): (Incarnation, u32),
    own: Own,
) -> Result<(), StoreError<S::Error>> {
    let (slot, generation) = newest.map_or((0, 1), |(slot, last)| {
        (1 - slot, last.generation.wrapping_add(1))
    });
    let record = Record {
        generation,
        incarnation,
        boot,
        own,
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
