//! Samples: what batches and totals do once their catalog is known.
//!
//! ```text
//! batch ─▶ incarnation, catalog, clock (each may begin an epoch) ─▶ fold ─▶ watermark ─▶ close
//! ```
//! The watermark moves behind the fold: within a frame no sample is late by another of it.

use tidegate_shared::frame::Header;
use tidegate_shared::message::{Counts, Totals};

use super::catalogs::Found;
use super::decoded::Decoded;
use super::device::{Damage, Device, FrameCounts, RECENT_MAX, Scene};
use super::emission::{Cause, Emission, Stage};
use super::inputs::Inputs;
use super::intake::{Need, Taken};
use super::lane::{Closing, Sample, Tide};
use super::plan::Plan;
use super::probe::{Before, View};
use super::sensor::{Bed, Sensor};
use super::trial::Observed;
use crate::clock::{EARLIEST_US, Mapping, Moment, latest_plausible_us};
use crate::ledger::counters::Rejection;
use crate::time::Timestamp;

impl Device {
    /// Counts of what became of samples on the device.
    pub(super) fn totals(
        &mut self,
        scene: &mut Scene<'_>,
        header: &Header,
        totals: &Totals<'_>,
    ) -> Taken {
        let hash = totals.head.catalog;
        match self.catalogs.find(hash) {
            Found::Missing => return Taken::Waits(Need::Catalog(hash)),
            Found::Unreadable => {
                self.reject_frame(Rejection::NoCatalog);
                return Taken::Done;
            }
            Found::Sensors(_) => {}
        }
        let counts: Result<Vec<Counts>, _> = totals.counts().collect();
        let Ok(counts) = counts else {
            self.reject_frame(Rejection::Undecodable);
            return Taken::Done;
        };
        self.enter(scene, header.incarnation);
        self.use_catalog(scene, hash);
        let boot = (header.incarnation, header.mark.boot);
        for (index, counts) in (totals.head.first..).zip(counts) {
            if let Some(sensor) = self.sensor_of(hash, index) {
                if let Some(probe) = scene.probe.as_deref_mut() {
                    probe.totals(&sensor.meta, header, counts);
                }
                sensor.totals.take(boot, header.mark.sequence, counts);
            }
        }
        let end = usize::from(totals.head.first) + usize::from(totals.head.count);
        if end >= self.slots.len() {
            self.books.told(boot, scene.now_us);
        }
        Taken::Done
    }

    /// Samples.
    pub(super) fn batch(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        moment: &Moment,
        header: &Header,
        body: &[u8],
        evicted: bool,
    ) -> Taken {
        if decoded.read(body).is_err() {
            self.reject_frame(Rejection::Undecodable);
            return Taken::Done;
        }
        let hash = decoded.head.catalog;
        match self.catalogs.find(hash) {
            Found::Missing => return Taken::Waits(Need::Catalog(hash)),
            Found::Unreadable => {
                self.reject_frame(Rejection::NoCatalog);
                self.reject_samples(Rejection::NoCatalog, decoded.count());
                self.remember(decoded, header, evicted);
                return Taken::Done;
            }
            Found::Sensors(_) => {}
        }
        let (incarnation, boot) = (header.incarnation, header.mark.boot);
        let is_known = !scene.holds || scene.wall.knows(moment);
        if !is_known && self.clocks.needs_wall(incarnation, boot) {
            return Taken::Waits(Need::Clock);
        }
        let at = scene.wall.best(moment);
        self.enter(scene, incarnation);
        self.use_catalog(scene, hash);
        let mapping = self.map(scene, decoded, &at, header);
        self.fold(scene, decoded, &at, header, &mapping);
        self.remember(decoded, header, evicted);
        self.advance(scene, decoded, &at, header, &mapping);
        Taken::Done
    }

    /// How the batch's uptimes become UTC; a clock that was set back begins an epoch.
    fn map(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &Decoded,
        at: &Timestamp,
        header: &Header,
    ) -> Mapping {
        let lateness_us = self.lateness_us();
        let first_us = decoded.first_uptime_us();
        let mapping = self.clocks.map(
            header.incarnation,
            header.mark.boot,
            first_us,
            decoded.head.complete_until_us,
            at,
            lateness_us,
        );
        let begins_us = mapping.event_us(first_us);
        let is_plausible = (EARLIEST_US..=latest_plausible_us(at)).contains(&begins_us);
        let before = self
            .watermark_us
            .is_some_and(|mark_us| begins_us < mark_us.saturating_sub(lateness_us));
        if is_plausible && (mapping.stepped_back || mapping.other_boot && before) {
            self.begin_epoch(scene);
        }
        mapping
    }

    /// Folds every block into its sensor's lanes.
    fn fold(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        at: &Timestamp,
        header: &Header,
        mapping: &Mapping,
    ) {
        let latest_us = latest_plausible_us(at);
        if self.damage == Damage::Fresh {
            let until_us = mapping.event_us(decoded.head.complete_until_us);
            self.damage = Damage::Until(until_us.min(latest_us));
        }
        let tide = Tide {
            watermark_us: self.watermark_us,
            clock: mapping.quality,
            partial_until_us: match self.damage {
                Damage::Until(until_us) => Some(until_us),
                Damage::None | Damage::Fresh => None,
            },
            now_us: scene.now_us,
            arrived_us: at.wall_us,
            frame: (header.incarnation.0, header.mark.boot, header.mark.sequence),
        };
        let inputs = Inputs::of(self, decoded, mapping, latest_us);
        let as_of = |plan: &Plan, input, time_us| inputs.as_of(plan, input, time_us);
        if let Some(probe) = scene.probe.as_deref_mut() {
            let complete_us = mapping.event_us(decoded.head.complete_until_us);
            probe.batch(mapping.event_us(decoded.first_uptime_us()), complete_us);
        }
        let source = scene.source(self.epoch);
        for number in 0..decoded.blocks.len() {
            let block = decoded.blocks[number];
            let slot = self.slots.get(usize::from(block.sensor)).copied().flatten();
            let Some(slot) = slot else {
                self.reject_samples(Rejection::UnknownSensor, block.samples() as u64);
                continue;
            };
            let unusable = decoded.resolve(&block, mapping, latest_us);
            let sensor = &mut self.sensors[usize::from(slot)];
            let boot = (header.incarnation, header.mark.boot);
            sensor.totals.came(boot, block.samples() as u64);
            sensor.reject(Rejection::BadSample, unusable.bad);
            sensor.reject(Rejection::ImplausibleTime, unusable.implausible);
            if let Some(observed) = scene.observed.as_deref_mut() {
                let (meta, samples) = (&sensor.meta, &decoded.samples);
                observed.push(Observed::of(scene.device, meta, self.epoch, samples));
            }
            sensor.renew(&decoded.samples);
            let bed = Bed {
                plans: &self.plans,
                active: self.active,
                tide: &tide,
                as_of: &as_of,
                slot,
            };
            let shared = &mut self.shared;
            let watermark_us = self.watermark_us;
            let mut fold = |sensor: &mut Sensor, emission: &mut Emission, samples: &[Sample]| {
                sensor.fold(&bed, samples, shared, &mut |meta, plan, told| {
                    let stage = Stage {
                        source: &source,
                        cause: Cause::Entry,
                        watermark_us,
                    };
                    emission.told(&stage, meta, plan, told);
                });
            };
            let emission = &mut *scene.emission;
            if let Some(probe) = scene.probe.as_deref_mut() {
                let view = View {
                    at,
                    header,
                    mapping,
                    tide: &tide,
                    epoch: self.epoch,
                };
                if let Some(place) = probe.look(decoded, &block, &sensor.meta, &view) {
                    let (first, rest) = decoded.samples.split_at(place);
                    let (alone, last) = rest.split_at(1);
                    fold(sensor, emission, first);
                    let before = Before::of(sensor, emission);
                    fold(sensor, emission, alone);
                    probe.judge(&before, sensor, &self.plans, &tide, (emission, &source));
                    fold(sensor, emission, last);
                    continue;
                }
            }
            fold(sensor, emission, &decoded.samples);
        }
    }

    /// Remembers how many samples the frame held, should the device report it as evicted.
    pub(super) fn remember(&mut self, decoded: &Decoded, header: &Header, evicted: bool) {
        let samples = decoded.blocks.iter().map(|block| {
            // Both fit: a catalog has at most 256 sensors, a block at most 255 samples.
            (block.sensor as u8, block.samples() as u8)
        });
        let counts = FrameCounts {
            incarnation: header.incarnation,
            mark: header.mark,
            catalog: decoded.head.catalog,
            samples: samples.collect(),
        };
        if evicted {
            return self.evicted_but_logged(&counts);
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(counts);
    }

    /// Moves the watermark, and closes what it passes.
    fn advance(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &Decoded,
        at: &Timestamp,
        header: &Header,
        mapping: &Mapping,
    ) {
        let until_us = decoded.head.complete_until_us;
        let event_us = mapping.event_us(until_us);
        if (EARLIEST_US..=latest_plausible_us(at)).contains(&event_us) {
            self.clocks
                .settle(header.incarnation, header.mark.boot, mapping, until_us);
            self.watermark_us = self.watermark_us.max(Some(event_us));
        }
        let closing = Closing::Passed(self.watermark_us);
        self.counts.crowded_out += self.close(scene, closing, |_, _| Some(Cause::Entry));
        self.forget_retired();
    }
}
