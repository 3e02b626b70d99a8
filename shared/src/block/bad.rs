//! Which samples of a block are bad: a set of indices, written as a list or as a bitmap.

/// Which samples of a block are marked bad, by index.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BadSet([u64; 4]);

impl BadSet {
    /// Marks a sample (indices from 255 on are ignored).
    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Whether a sample is marked.
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
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
