//! A NOR flash in memory that refuses what real ones cannot do, and loses its power on demand.
//!
//! As a real one: an erased bit is 1, a write clears bits, only an erase sets them, a page at a
//! time. Refused with an error: what is not aligned, what would set a bit, and a third write to a
//! word since it was erased (the second is how a queue frees an item; one that was cut does not
//! count).
//!
//! Work is counted in *steps*: one for each byte written, [`ERASE_STEPS`] for each page erased.
//! [`MockNor::cut_after`] takes the power away in the midst of a step:
//! - of a write: the bytes before are written, of this one some bits, the others are not;
//! - of an erase: nothing, the first half, the second half, or some bits of the page are erased.
//!
//! From then on every access fails, until [`MockNor::power_on`].

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Places at which an erase can be cut.
pub const ERASE_STEPS: u64 = 4;

/// Most writes to a word between two erases.
const WRITES_MAX: u8 = 2;

/// Why an access is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NorError {
    /// Offset or length is not a multiple of what the access works on.
    NotAligned,
    /// Beyond the end.
    OutOfBounds,
    /// A write would set a bit: the place was not erased.
    SetsBits {
        /// The first such byte.
        at: u32,
    },
    /// A word is written for the third time.
    WrittenTooOften {
        /// The word's address.
        at: u32,
    },
    /// There is no power.
    PowerOff,
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::SetsBits { .. } | Self::WrittenTooOften { .. } | Self::PowerOff => {
                NorFlashErrorKind::Other
            }
        }
    }
}

/// The access in which the power went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whether it was an erase.
    pub is_erase: bool,
    /// Where it began.
    pub at: u32,
    /// The steps that it would have had.
    pub steps: u64,
    /// The steps that it did.
    pub done: u64,
}

/// `BYTES` bytes in pages of `PAGE`, written in words of `WORD`, read bytewise.
#[derive(Debug, Clone)]
pub struct MockNor<const BYTES: usize, const PAGE: usize, const WORD: usize> {
    bytes: [u8; BYTES],
    /// Whole writes since the last erase, kept at each word's last byte.
    writes: [u8; BYTES],
    steps: u64,
    cut_at: Option<u64>,
    cut: Option<Cut>,
    is_off: bool,
    random: u64,
    refused: Option<NorError>,
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> Default
    for MockNor<BYTES, PAGE, WORD>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> MockNor<BYTES, PAGE, WORD> {
    /// An erased flash.
    pub const fn new() -> Self {
        const {
            assert!(BYTES.is_multiple_of(PAGE) && PAGE.is_multiple_of(WORD));
        }
        Self {
            bytes: [0xff; BYTES],
            writes: [0; BYTES],
            steps: 0,
            cut_at: None,
            cut: None,
            is_off: false,
            random: 1,
            refused: None,
        }
    }

    /// What is stored.
    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.bytes
    }

    /// What is stored, to be changed by a test beside all rules.
    pub fn bytes_mut(&mut self) -> &mut [u8; BYTES] {
        self.writes = [0; BYTES];
        &mut self.bytes
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes the power away in the midst of the step after `steps` more; `seed` chooses which
    /// bits that step still changes.
    pub fn cut_after(&mut self, steps: u64, seed: u64) {
        self.cut_at = Some(self.steps + steps);
        self.random = seed | 1;
    }

    /// Whether the power is away.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// The access in which the power went away last.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Gives the power back.
    pub fn power_on(&mut self) {
        self.is_off = false;
        self.cut_at = None;
    }

    /// The first access that broke a rule of flash, if one did.
    pub fn refused(&self) -> Option<NorError> {
        self.refused
    }

    /// Eight random bits: xorshift (Marsaglia 2003).
    fn draw(&mut self) -> u8 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 24) as u8
    }

    /// One step of work; an error when the power goes meanwhile.
    fn step(&mut self) -> Result<(), NorError> {
        if self.cut_at == Some(self.steps) {
            self.is_off = true;
            return Err(NorError::PowerOff);
        }
        self.steps += 1;
        Ok(())
    }

    fn check(&mut self, at: u32, bytes: usize, unit: usize) -> Result<usize, NorError> {
        if self.is_off {
            return Err(NorError::PowerOff);
        }
        let start = at as usize;
        let checked = if !start.is_multiple_of(unit) || !bytes.is_multiple_of(unit) {
            Err(NorError::NotAligned)
        } else if start + bytes > BYTES {
            Err(NorError::OutOfBounds)
        } else {
            Ok(start)
        };
        self.note(checked)
    }

    fn note<T>(&mut self, result: Result<T, NorError>) -> Result<T, NorError> {
        if let Err(error) = &result {
            self.refused.get_or_insert(*error);
        }
        result
    }

    fn check_words(&mut self, start: usize, bytes: &[u8]) -> Result<(), NorError> {
        let there = self.bytes.iter().zip(&self.writes).skip(start);
        for (offset, ((old, writes), new)) in there.zip(bytes).enumerate() {
            let at = (start + offset) as u32;
            if old & new != *new {
                return Err(NorError::SetsBits { at });
            }
            if *writes >= WRITES_MAX {
                let at = at + 1 - WORD as u32;
                return Err(NorError::WrittenTooOften { at });
            }
        }
        Ok(())
    }

    /// What an erase leaves that is cut in its step number `step`.
    fn erase_partly(&mut self, page: usize, step: u64) {
        let half = PAGE / 2;
        let (from, to) = match step {
            0 => (0, 0),
            1 => (0, half),
            2 => (half, PAGE),
            _ => (0, PAGE),
        };
        for at in page + from..page + to {
            let mask = if step < 3 { 0xff } else { self.draw() };
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte |= mask;
            }
        }
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> ErrorType
    for MockNor<BYTES, PAGE, WORD>
{
    type Error = NorError;
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> ReadNorFlash
    for MockNor<BYTES, PAGE, WORD>
{
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), NorError> {
        let start = self.check(offset, out.len(), 1)?;
        out.copy_from_slice(self.bytes.get(start..start + out.len()).unwrap_or_default());
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> NorFlash
    for MockNor<BYTES, PAGE, WORD>
{
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        let bytes = to.checked_sub(from).ok_or(NorError::OutOfBounds)? as usize;
        let start = self.check(from, bytes, PAGE)?;
        for page in (start..start + bytes).step_by(PAGE) {
            for step in 0..ERASE_STEPS {
                if let Err(error) = self.step() {
                    self.erase_partly(page, step);
                    self.cut = Some(Cut {
                        is_erase: true,
                        at: page as u32,
                        steps: ERASE_STEPS,
                        done: step,
                    });
                    return Err(error);
                }
            }
            for at in page..page + PAGE {
                if let (Some(byte), Some(writes)) =
                    (self.bytes.get_mut(at), self.writes.get_mut(at))
                {
                    (*byte, *writes) = (0xff, 0);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        let start = self.check(offset, bytes.len(), WORD)?;
        let checked = self.check_words(start, bytes);
        self.note(checked)?;
        for (at, new) in (start..).zip(bytes) {
            let done = self.step();
            let kept = if done.is_ok() { 0 } else { self.draw() };
            if let (Some(byte), Some(writes)) = (self.bytes.get_mut(at), self.writes.get_mut(at)) {
                *byte &= *new | kept;
                let is_whole = done.is_ok() && (at + 1).is_multiple_of(WORD);
                *writes += u8::from(is_whole);
            }
            if done.is_err() {
                self.cut = Some(Cut {
                    is_erase: false,
                    at: offset,
                    steps: bytes.len() as u64,
                    done: (at - start) as u64,
                });
            }
            done?;
        }
        Ok(())
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> MultiwriteNorFlash
    for MockNor<BYTES, PAGE, WORD>
{
}

#[cfg(test)]
mod tests {
    use super::*;

    type Small = MockNor<256, 64, 4>;

    #[test]
    fn illegal_writes_are_refused_and_change_nothing() {
        let mut flash = Small::new();
        assert_eq!(flash.write(2, &[0; 4]), Err(NorError::NotAligned));
        assert_eq!(flash.write(0, &[0; 3]), Err(NorError::NotAligned));
        assert_eq!(flash.write(256, &[0; 4]), Err(NorError::OutOfBounds));
        assert_eq!(flash.erase(4, 64), Err(NorError::NotAligned));
        flash.write(8, &[0xf0; 4]).unwrap();
        let sets = flash.write(8, &[0x30, 0x30, 0x0f, 0x30]);
        assert_eq!(sets, Err(NorError::SetsBits { at: 10 }));
        assert_eq!(flash.bytes()[8..12], [0xf0; 4]);
        flash.write(8, &[0x30; 4]).unwrap();
        let third = flash.write(8, &[0x10; 4]);
        assert_eq!(third, Err(NorError::WrittenTooOften { at: 8 }));
        assert_eq!(flash.refused(), Some(NorError::NotAligned));
        flash.erase(0, 64).unwrap();
        flash.write(8, &[0xf0; 4]).unwrap();
    }

    #[test]
    fn a_cut_write_tears_one_byte_and_all_fails_until_the_power_is_back() {
        let mut flash = Small::new();
        flash.cut_after(2, 7);
        assert_eq!(flash.write(4, &[0; 8]), Err(NorError::PowerOff));
        assert_eq!(flash.bytes()[4..6], [0, 0]);
        assert_eq!(flash.bytes()[7..12], [0xff; 5]);
        assert_eq!(flash.read(0, &mut [0]), Err(NorError::PowerOff));
        assert!(flash.is_off());
        flash.power_on();
        flash.read(0, &mut [0]).unwrap();
    }

    #[test]
    fn a_cut_erase_leaves_halves_or_noise() {
        let mut written = Small::new();
        written.write(0, &[0; 64]).unwrap();
        let after = |step| {
            let mut flash = written.clone();
            flash.cut_after(step, 99);
            assert_eq!(flash.erase(0, 64), Err(NorError::PowerOff));
            *flash.bytes()
        };
        assert_eq!(after(0)[..64], [0; 64]);
        assert_eq!((after(1)[0], after(1)[63]), (0xff, 0));
        assert_eq!((after(2)[0], after(2)[63]), (0, 0xff));
        let noise = after(3);
        assert!(noise[..64].iter().any(|byte| !matches!(byte, 0 | 0xff)));
        assert_eq!(noise[64..], [0xff; 192]);
    }
}
