//! Recent: the newest samples and records of each sensor, for trends, spark lines and charts.
//!
//! Terms: a *track* is what is kept of one sensor; its *share* is how many samples it may hold; a
//! track is *watched* when its chart was asked for lately.
//!
//! ```text
//! store thread: fold ─▶ samples, records ─▶ tracks ─▶ trend, spark, chart
//!                                       └─▶ taps (a broadcast that waits for nobody)
//! ```
//! Invariants:
//! - What is here was durable before, and is a copy: nothing depends on it, and a start begins
//!   without it.
//! - It is filled only while somebody looks ([`Recent::looks`]), and forgotten when nobody has for
//!   [`LOOKED_FOR_US`].
//! - No more than [`SAMPLES_MAX`] samples are kept, and [`WATCHED_MAX`] × [`TRACK_SAMPLES_MAX`] of
//!   watched sensors. With more sensors each has less; where that would be less than
//!   [`SHARE_MIN`], only watched ones have a track. For [`SAMPLES_PER_BAR`] samples a track may
//!   hold one record.

mod bars;
mod taps;
mod track;
mod watcher;

use std::collections::{BTreeMap, VecDeque};

pub use self::taps::{FLOW_ITEMS_MAX, FLOWS_MAX, Tap, Taps};
pub use self::track::Track;
pub use self::watcher::Watcher;

use crate::pipeline::Observed;
use crate::record::Emitted;

/// Samples kept of all sensors that are not watched: 1 MiB.
pub const SAMPLES_MAX: usize = 65_536;
/// Most samples of a track: ten minutes at one a second, and as many dots as a chart is wide.
pub const TRACK_SAMPLES_MAX: usize = 600;
/// The least share that makes a spark line.
pub const SHARE_MIN: usize = 24;
/// Sensors watched at a time; the one asked for longest ago makes room.
pub const WATCHED_MAX: usize = 64;
/// Samples for which a track may hold one record.
pub const SAMPLES_PER_BAR: usize = 5;
/// How long it goes on being filled after somebody looked, in µs of monotonic time.
pub const LOOKED_FOR_US: u64 = 600 * 1_000_000;

/// Shares, largest first: a share changes when the number of tracks doubles, so that cutting all
/// tracks is seldom.
const SHARES: [usize; 6] = [TRACK_SAMPLES_MAX, 300, 150, 75, 37, SHARE_MIN];

/// The newest samples and records of each sensor.
#[derive(Debug, Default)]
pub struct Recent {
    /// Whether it is filled though nobody looked.
    always: bool,
    /// When somebody looked last, monotonic µs.
    looked_us: Option<u64>,
    /// By device, then sensor.
    tracks: BTreeMap<String, BTreeMap<String, Track>>,
    /// How many there are that are not watched.
    unwatched: usize,
    /// Samples that each of those may have.
    share: usize,
    /// Too many sensors for each to have a track.
    crowded: bool,
    /// Those watched, the newest last.
    watched: VecDeque<(String, String)>,
}

impl Recent {
    /// One that is filled from the first sample on, whether or not somebody looks.
    pub fn always() -> Self {
        Self {
            always: true,
            ..Self::default()
        }
    }

    /// Somebody looks, at a monotonic time in µs.
    pub fn look(&mut self, now_us: u64) {
        self.looked_us = Some(now_us);
    }

    /// Whether it is to be filled. What is there is forgotten where nobody looked for long.
    pub fn looks(&mut self, now_us: u64) -> bool {
        let looked_lately = |us: u64| now_us.saturating_sub(us) < LOOKED_FOR_US;
        let looks = self.always || self.looked_us.is_some_and(looked_lately);
        if !looks && self.looked_us.take().is_some() {
            *self = Self::default();
        }
        looks
    }

    /// Takes samples as they were folded.
    pub fn take(&mut self, observed: &[Observed]) {
        for one in observed {
            if let Some(track) = self.track_mut(&one.device, &one.sensor) {
                track.push(one);
            }
        }
    }

    /// Takes records as they were emitted.
    pub fn take_records(&mut self, emitted: &[Emitted]) {
        for one in emitted {
            let record = &one.record;
            let Some(sensors) = self.tracks.get_mut(&record.device) else {
                continue;
            };
            bars::each(record, &mut |sensor, bar| {
                if let Some(track) = sensors.get_mut(sensor) {
                    track.push_bar(bar, record.epoch);
                }
            });
        }
    }

    /// What is kept of a sensor.
    pub fn track(&self, device: &str, sensor: &str) -> Option<&Track> {
        self.tracks.get(device)?.get(sensor)
    }

    /// Has more kept of a sensor from here on.
    pub fn watch(&mut self, device: &str, sensor: &str) {
        let is_it = |one: &(String, String)| one.0 == device && one.1 == sensor;
        if let Some(at) = self.watched.iter().position(is_it) {
            let known = self.watched.remove(at);
            self.watched.extend(known);
            return;
        }
        if self.watched.len() >= WATCHED_MAX
            && let Some((device, sensor)) = self.watched.pop_front()
        {
            self.unwatch(&device, &sensor);
        }
        self.watched
            .push_back((device.to_owned(), sensor.to_owned()));
        let sensors = self.tracks.entry(device.to_owned()).or_default();
        if let Some(track) = sensors.get_mut(sensor) {
            track.set_room(TRACK_SAMPLES_MAX);
            self.unwatched -= 1;
        } else {
            sensors.insert(sensor.to_owned(), Track::new(TRACK_SAMPLES_MAX));
        }
    }

    /// Samples kept, of all sensors.
    pub fn samples(&self) -> usize {
        let tracks = self.tracks.values().flat_map(BTreeMap::values);
        tracks.map(|track| track.samples().len()).sum()
    }

    /// A sensor has its share again, if there is one.
    fn unwatch(&mut self, device: &str, sensor: &str) {
        if self.crowded {
            self.forget(device, sensor);
            return;
        }
        self.unwatched += 1;
        self.divide();
        let share = self.share;
        let sensors = self.tracks.get_mut(device);
        if let Some(track) = sensors.and_then(|sensors| sensors.get_mut(sensor)) {
            track.set_room(share);
        }
    }

    fn forget(&mut self, device: &str, sensor: &str) {
        let Some(sensors) = self.tracks.get_mut(device) else {
            return;
        };
        sensors.remove(sensor);
        if sensors.is_empty() {
            self.tracks.remove(device);
        }
    }

    /// The track of a sensor, begun if there is room.
    fn track_mut(&mut self, device: &str, sensor: &str) -> Option<&mut Track> {
        if self.track(device, sensor).is_none() {
            if self.crowded {
                return None;
            }
            self.unwatched += 1;
            self.divide();
            if self.crowded {
                return None;
            }
            let sensors = self.tracks.entry(device.to_owned()).or_default();
            sensors.insert(sensor.to_owned(), Track::new(self.share));
        }
        self.tracks.get_mut(device)?.get_mut(sensor)
    }

    /// Gives every track that is not watched its share, when that changes.
    fn divide(&mut self) {
        let unwatched = self.unwatched;
        let fits = |share: &&usize| unwatched * **share <= SAMPLES_MAX;
        let share = SHARES.iter().find(fits).copied();
        if share == Some(self.share) {
            return;
        }
        self.share = share.unwrap_or(0);
        self.crowded = share.is_none();
        let watched = &self.watched;
        for (device, sensors) in &mut self.tracks {
            sensors.retain(|sensor, track| {
                let is_it = |one: &(String, String)| one.0 == *device && one.1 == *sensor;
                let is_watched = watched.iter().any(is_it);
                if let (Some(share), false) = (share, is_watched) {
                    track.set_room(share);
                }
                is_watched || share.is_some()
            });
        }
        self.tracks.retain(|_, sensors| !sensors.is_empty());
    }
}

#[cfg(test)]
mod tests;
