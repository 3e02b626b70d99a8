//! Eras: what an arrival time was on the wall clock, for people; never part of the state.
//!
//! Terms: an *era* is a start of the gateway as far as this process applied its entries. Within
//! one, arrival time and wall clock differ by an *offset*, which is known once one of its entries
//! was trusted; the monotonic clock carries it to all of them.
//!
//! Invariant: a time of an era without trust, or before the oldest era, has no wall time. What was
//! restored from a base is an era that reaches back to the beginning of its start.

use std::collections::VecDeque;

use super::arrival::Arrival;
use crate::clock::Wall;

/// Starts remembered: older times have no wall time. A gateway that is restarted this often while
/// one segment of its log lasts is in trouble that this does not tell.
const ERAS_MAX: usize = 64;

/// The starts, oldest first.
#[derive(Debug, Default)]
pub(super) struct Eras(VecDeque<Era>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Era {
    start: u32,
    /// Arrival time that it begins at.
    from_us: i64,
    /// Wall minus arrival time.
    offset_us: Option<i64>,
}

impl Eras {
    /// Of a state that was restored.
    pub fn resumed(arrival: &Arrival, wall: &Wall) -> Self {
        let mut eras = Self::default();
        eras.take(arrival, wall);
        if let Some(era) = eras.0.back_mut() {
            let passed_us = arrival.at().mono_us;
            era.from_us = era.from_us.saturating_sub_unsigned(passed_us);
        }
        eras
    }

    /// Takes the newest entry's time.
    pub fn take(&mut self, arrival: &Arrival, wall: &Wall) {
        let start = arrival.start();
        if self.0.back().is_none_or(|era| era.start != start) {
            if self.0.len() >= ERAS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(Era {
                start,
                from_us: arrival.now_us(),
                offset_us: None,
            });
        }
        let offset_us = wall.base_us(start).map(|base_us| {
            let wall_us = base_us.saturating_add_unsigned(arrival.at().mono_us);
            wall_us.saturating_sub(arrival.now_us())
        });
        if let Some(era) = self.0.back_mut() {
            era.offset_us = offset_us.or(era.offset_us);
        }
    }

    /// The wall time of an arrival time, UTC in µs, if it is known.
    pub fn wall_us(&self, arrival_us: i64) -> Option<i64> {
        let mut newest_first = self.0.iter().rev();
        let era = newest_first.find(|era| era.from_us <= arrival_us)?;
        Some(arrival_us.saturating_add(era.offset_us?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::time::Timestamp;

    #[derive(Default)]
    struct Gateway {
        arrival: Arrival,
        wall: Wall,
        eras: Eras,
    }

    impl Gateway {
        /// An entry; its arrival time.
        fn entry(&mut self, start: u32, mono_us: u64, wall_us: i64, wall_trusted: bool) -> i64 {
            let at = Timestamp {
                mono_us,
                wall_us,
                wall_trusted,
            };
            self.arrival.advance(start, at);
            self.wall.advance(Moment { start, at });
            self.eras.take(&self.arrival, &self.wall);
            self.arrival.now_us()
        }
    }

    #[test]
    fn trust_reaches_the_whole_of_its_start_and_no_other() {
        let mut gateway = Gateway::default();
        let first = gateway.entry(1, 10, 3, false);
        assert_eq!(gateway.eras.wall_us(first), None, "nobody knows yet");
        let second = gateway.entry(1, 30, 5_030, true);
        assert_eq!(gateway.eras.wall_us(first), Some(5_010));
        assert_eq!(gateway.eras.wall_us(second), Some(5_030));
        let later = gateway.entry(1, 40, 9, false);
        assert_eq!(gateway.eras.wall_us(later), Some(5_040));
        let doubtful = gateway.entry(2, 5, 7, false);
        assert_eq!(gateway.eras.wall_us(doubtful), None);
        let known = gateway.entry(3, 2, 8_000, true);
        assert_eq!(gateway.eras.wall_us(known), Some(8_000));
        assert_eq!(gateway.eras.wall_us(second), Some(5_030));
        assert_eq!(gateway.eras.wall_us(second - 1_000_000), None);
    }

    #[test]
    fn what_was_restored_reaches_back_to_the_beginning_of_its_start() {
        let mut gateway = Gateway::default();
        gateway.entry(1, 1_000, 50_000, true);
        let newest = gateway.entry(1, 9_000, 58_000, true);
        let resumed = Eras::resumed(&gateway.arrival, &gateway.wall);
        assert_eq!(resumed.wall_us(newest), Some(58_000));
        assert_eq!(resumed.wall_us(newest - 9_000), Some(49_000));
        assert_eq!(resumed.wall_us(newest - 9_001), None);
    }

    #[test]
    fn no_more_starts_are_kept_than_may_be() {
        let mut gateway = Gateway::default();
        for start in 0..=ERAS_MAX as u32 {
            let wall_us = i64::from(start) * 1_000;
            gateway.entry(start + 1, 1, wall_us, true);
        }
        assert_eq!(gateway.eras.0.len(), ERAS_MAX);
        assert_eq!(gateway.eras.wall_us(0), None);
        assert_eq!(gateway.eras.wall_us(1_000), Some(1_000));
    }
}
