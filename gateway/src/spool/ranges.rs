//! Ranges: which indices of a queue are done with.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::record::Place;

/// A set of indices as disjoint ranges that do not touch, each with the place of its last record
/// where that is known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ranges {
    by_first: BTreeMap<u64, (u64, Option<Place>)>,
    count: u64,
}

impl Ranges {
    /// Adds a range, whole or partly there already.
    pub fn insert(&mut self, range: RangeInclusive<u64>, place: Option<Place>) {
        let (mut first, mut last) = range.into_inner();
        let mut place = place;
        if first > last {
            return;
        }
        // Every range that overlaps or touches melts into the new one.
        while let Some((&at, &(end, end_place))) = self.by_first.range(..=last + 1).next_back() {
            if end + 1 < first {
                break;
            }
            self.by_first.remove(&at);
            self.count -= end - at + 1;
            first = first.min(at);
            place = match end.cmp(&last) {
                Ordering::Greater => end_place,
                Ordering::Equal => place.max(end_place),
                Ordering::Less => place.or(end_place),
            };
            last = last.max(end);
        }
        self.count += last - first + 1;
        self.by_first.insert(first, (last, place));
    }

    /// Whether an index is in the set.
    pub fn contains(&self, index: u64) -> bool {
        self.next_free(index) != index
    }

    /// The first index from here on that is not in the set.
    pub fn next_free(&self, from: u64) -> u64 {
        match self.by_first.range(..=from).next_back() {
            Some((_, &(last, _))) if last >= from => last + 1,
            _ => from,
        }
    }

    /// The first index from here on that is in the set.
    fn next_taken(&self, from: u64) -> u64 {
        let behind = self.by_first.range(from..).next();
        behind.map_or(u64::MAX, |(first, _)| *first)
    }

    /// The parts of `first..end` that are not in the set.
    pub fn free_within(&self, first: u64, end: u64) -> Vec<RangeInclusive<u64>> {
        let mut free = Vec::new();
        let mut at = self.next_free(first);
        while at < end {
            let stop = self.next_taken(at).min(end);
            free.push(at..=stop - 1);
            at = self.next_free(stop);
        }
        free
    }

    /// What lies between the first two of more than `max` ranges.
    pub fn first_gap_beyond(&self, max: usize) -> Option<RangeInclusive<u64>> {
        if self.by_first.len() <= max {
            return None;
        }
        let mut ranges = self.by_first.iter();
        let (_, (last, _)) = ranges.next()?;
        let (next, _) = ranges.next()?;
        Some(last + 1..=next - 1)
    }

    /// How many indices are in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The highest index in the set, with its place.
    pub fn last(&self) -> Option<(u64, Option<Place>)> {
        self.by_first.last_key_value().map(|(_, last)| *last)
    }

    /// The ranges: first, last, place of the last.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, Option<Place>)> {
        self.by_first
            .iter()
            .map(|(first, (last, place))| (*first, *last, *place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set(parts in prop::collection::vec((1_u64..60, 0_u64..9), 0..20)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for (first, more) in parts {
                let place = Place { position: first + more, ordinal: 0 };
                ranges.insert(first..=first + more, Some(place));
                set.extend(first..=first + more);
            }
            prop_assert_eq!(ranges.count(), set.len() as u64);
            for index in 0..80 {
                prop_assert_eq!(ranges.contains(index), set.contains(&index));
            }
            let free: Vec<u64> = ranges.free_within(5, 50).into_iter().flatten().collect();
            let expected: Vec<u64> = (5..50).filter(|index| !set.contains(index)).collect();
            prop_assert_eq!(free, expected);
            for (_, last, place) in ranges.iter() {
                prop_assert_eq!(place.map(|place| place.position), Some(last));
            }
            prop_assert_eq!(ranges.last().map(|last| last.0), set.last().copied());
            let mut before = 0;
            for (first, last, _) in ranges.iter() {
                prop_assert!(first > before + 1 || before == 0);
                before = last;
            }
        }
    }
}
