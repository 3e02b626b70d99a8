//! Which samples of a block are bad: a set of indices, written as a list or as a bitmap.

use crate::body::{BodyError, BodyFault, Reader, Writer};
use crate::limits::BLOCK_SAMPLES_MAX;

/// Which samples of a block are marked bad, by index.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BadSet([u64; 4]);

impl BadSet {
    /// Marks a sample (indices from 255 on are ignored).
    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self
            .0
            .get_mut(index / 64)
            .filter(|_| index < BLOCK_SAMPLES_MAX)
        {
            *word |= 1 << (index % 64);
        }
    }

    /// Whether a sample is marked.
    pub fn contains(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Whether none is marked.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// How many are marked.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl BadSet {
    /// Writes the marks among `count` samples: a list of gaps, or 0 and a bitmap where that is
    /// smaller. There are some, and none from `count` on.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, count: usize) -> Result<(), BodyError> {
        if self.count() as usize > count.div_ceil(8) {
            writer.byte(0)?;
            let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
            return bytes
                .take(count.div_ceil(8))
                .try_for_each(|byte| writer.byte(byte));
        }
        writer.byte(self.count() as u8)?;
        let mut next = 0;
        for index in (0..count).filter(|index| self.contains(*index)) {
            writer.byte((index - next) as u8)?;
            next = index + 1;
        }
        Ok(())
    }

    /// Reads the marks among `count` samples.
    pub(crate) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, BodyError> {
        let mut set = Self::default();
        let listed = reader.byte()?;
        let wrong = reader.error(BodyFault::Value);
        if listed == 0 {
            let bytes = reader.take(count.div_ceil(8))?;
            for (at, byte) in bytes.iter().enumerate() {
                (0..8)
                    .filter(|bit| byte >> bit & 1 == 1)
                    .for_each(|bit| set.insert(at * 8 + bit));
            }
            return if set.limited_to(count) == set {
                Ok(set)
            } else {
                Err(wrong)
            };
        }
        let mut next = 0;
        for _ in 0..listed {
            let index = next + usize::from(reader.byte()?);
            if index >= count {
                return Err(wrong);
            }
            set.insert(index);
            next = index + 1;
        }
        Ok(set)
    }

    /// The marks below `count`.
    pub(crate) fn limited_to(mut self, count: usize) -> Self {
        let mut left = count;
        for word in &mut self.0 {
            if left < 64 {
                *word &= (1 << left) - 1;
            }
            left = left.saturating_sub(64);
        }
        self
    }
}
