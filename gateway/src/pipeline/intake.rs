//! Intake: what a device's frames do, one by one, in log order.
//!
//! ```text
//! frame ─▶ readable? ─▶ catalog part: put together at once ─▶ waiting frames that can go on, do
//!                    ─▶ no-such-catalog: waiting frames that name it are rejected, others go on
//!                    ─▶ others: behind waiting frames if there are any, else taken
//! taken ─▶ batch or totals whose catalog is missing: waits
//!       ─▶ batch: catalog, clock (either may begin an epoch), fold, watermark, close
//! ```
//! A frame is used as a whole or rejected as a whole.

use std::sync::Arc;

use tidegate_shared::batch::BatchReader;
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::message::{CatalogPart, Counts, EventCode, Totals, Up};

use super::catalogs::Found;
use super::decoded::Decoded;
use super::device::{Damage, Device, FrameCounts, RECENT_MAX, Scene, Waiting};
use super::lane::Tide;
use crate::clock::{EARLIEST_US, Mapping, latest_plausible_us};
use crate::entry::{FrameEntry, GapEntry, Verdict};
use crate::ledger::counters::{FrameKind, Rejection};
use crate::record::id::SampleIdentity;
use crate::time::Timestamp;

/// What became of a frame that was to be taken.
enum Taken {
    Done,
    /// It needs a catalog that has not come.
    Waits(CatalogHash),
}

impl Device {
    /// A frame was logged.
    pub fn frame(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        at: &Timestamp,
        entry: &FrameEntry,
    ) {
        let Ok(frame) = frame::read(&entry.bytes) else {
            return self.unreadable(FrameKind::Other);
        };
        let up = Up::read(frame.body);
        let kind = up.as_ref().map_or(FrameKind::Other, kind);
        if entry.verdict == Verdict::StaleBoot {
            *self.counts.frames.entry(kind).or_default() += 1;
            self.reject_frame(Rejection::StaleBoot);
            if let Ok(Up::Batch(body)) = up {
                self.reject_batch(decoded, body, Rejection::StaleBoot);
            }
            return;
        }
        self.link.frame_us = scene.now_us;
        let Ok(up) = up else {
            return self.unreadable(FrameKind::Other);
        };
        *self.counts.frames.entry(kind).or_default() += 1;
        match &up {
            Up::Catalog(part) => {
                if self.waiting.is_empty() {
                    self.enter(scene, frame.header.incarnation);
                }
                self.catalog_part(frame.header.incarnation, part);
                self.drain(scene, decoded);
            }
            Up::Event(event) if matches!(event.code, EventCode::NoSuchCatalog { .. }) => {
                if let EventCode::NoSuchCatalog { hash } = event.code {
                    self.give_up(hash);
                }
                self.drain(scene, decoded);
            }
            _ if !self.waiting.is_empty() => self.wait(scene, decoded, at, &entry.bytes),
            _ => match self.take(scene, decoded, at, &frame.header, &up, false) {
                Taken::Done => {}
                Taken::Waits(hash) => {
                    self.wanted = Some(hash);
                    self.wait(scene, decoded, at, &entry.bytes);
                }
            },
        }
    }

    /// Sequences that will never come.
    pub fn gap(&mut self, gap: &GapEntry) {
        if gap.through < gap.from {
            return;
        }
        let last_here = gap.lost_here.min(gap.through);
        let here = if gap.lost_here >= gap.from {
            u64::from(last_here - gap.from) + 1
        } else {
            0
        };
        self.counts.lost_here += here;
        if gap.through == u32::MAX {
            self.counts.gaps_open += 1;
        } else {
            self.counts.lost_on_device += u64::from(gap.through - gap.from) + 1 - here;
        }
    }

    /// The device's floor moved: frames between acked and floor were evicted by it; those that
    /// were logged nevertheless are taken off its evicted count, each once.
    pub fn floor(&mut self, incarnation: Incarnation, floor: Mark, acked: Mark) {
        let evicted = |mark: Mark| acked < mark && mark < floor;
        let mut logged = Vec::new();
        self.recent.retain(|one| {
            let is_evicted = one.incarnation == incarnation && evicted(one.mark);
            if is_evicted {
                logged.push(one.clone());
            }
            !is_evicted
        });
        for one in logged {
            self.evicted_but_logged(&one);
        }
        for one in &mut self.waiting {
            if let Ok(frame) = frame::read(&one.bytes)
                && frame.header.incarnation == incarnation
                && evicted(frame.header.mark)
            {
                one.evicted = true;
            }
        }
    }

    fn evicted_but_logged(&mut self, frame: &FrameCounts) {
        for (index, samples) in &frame.samples {
            if let Some(sensor) = self.sensor_of(frame.catalog, u16::from(*index)) {
                sensor.totals.evicted_but_logged += u64::from(*samples);
            }
        }
    }

    fn unreadable(&mut self, kind: FrameKind) {
        *self.counts.frames.entry(kind).or_default() += 1;
        self.reject_frame(Rejection::Undecodable);
    }

    fn catalog_part(&mut self, incarnation: Incarnation, part: &CatalogPart<'_>) {
        if !self.catalogs.take(incarnation, part, self.in_use) {
            self.reject_frame(Rejection::Undecodable);
        }
    }

    /// Puts a frame behind those that wait. When too many do, a batch or totals is rejected and
    /// anything else is taken out of turn.
    fn wait(&mut self, scene: &mut Scene<'_>, decoded: &mut Decoded, at: &Timestamp, bytes: &[u8]) {
        let Ok((header, up)) = read(bytes) else {
            return;
        };
        let catalog = match &up {
            Up::Batch(body) => BatchReader::new(body).ok().map(|one| one.head.catalog),
            Up::Totals(totals) => Some(totals.head.catalog),
            _ => None,
        };
        if self.waiting.len() >= scene.limits.pending_catalog_max as usize {
            match up {
                Up::Batch(body) => {
                    self.reject_frame(Rejection::NoCatalog);
                    self.reject_batch(decoded, body, Rejection::NoCatalog);
                }
                Up::Totals(_) => self.reject_frame(Rejection::NoCatalog),
                _ => {
                    self.take(scene, decoded, at, &header, &up, false);
                }
            }
            if self.waiting.is_empty() {
                self.wanted = None;
            }
            return;
        }
        let samples = match &up {
            Up::Batch(body) if decoded.read(body).is_ok() => decoded.count(),
            _ => 0,
        };
        self.waiting.push_back(Waiting {
            at: *at,
            bytes: bytes.to_vec(),
            catalog,
            samples,
            evicted: false,
        });
    }

    /// Takes waiting frames until one has to wait on.
    fn drain(&mut self, scene: &mut Scene<'_>, decoded: &mut Decoded) {
        while let Some(one) = self.waiting.pop_front() {
            let Ok((header, up)) = read(&one.bytes) else {
                self.reject_frame(Rejection::Undecodable);
                continue;
            };
            match self.take(scene, decoded, &one.at, &header, &up, one.evicted) {
                Taken::Done => {}
                Taken::Waits(hash) => {
                    self.wanted = Some(hash);
                    self.waiting.push_front(one);
                    return;
                }
            }
        }
        self.wanted = None;
    }

    /// The device does not have a catalog any more: what waits for it is rejected.
    fn give_up(&mut self, hash: CatalogHash) {
        let mut rejected = Vec::new();
        self.waiting.retain(|one| {
            let hopeless = one.catalog == Some(hash);
            if hopeless {
                rejected.push(one.samples);
            }
            !hopeless
        });
        for samples in rejected {
            self.reject_frame(Rejection::NoCatalog);
            self.reject_samples(Rejection::NoCatalog, samples);
        }
    }

    /// Counts a batch's samples as rejected, by sensor as far as its catalog is known.
    fn reject_batch(&mut self, decoded: &mut Decoded, body: &[u8], reason: Rejection) {
        if decoded.read(body).is_err() {
            return;
        }
        for block in &decoded.blocks {
            let samples = block.samples() as u64;
            match self.sensor_of(decoded.head.catalog, block.sensor) {
                Some(sensor) => sensor.reject(reason, samples),
                None => self.reject_samples(reason, samples),
            }
        }
    }

    fn take(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        at: &Timestamp,
        header: &Header,
        up: &Up<'_>,
        evicted: bool,
    ) -> Taken {
        match up {
            Up::Batch(body) => return self.batch(scene, decoded, at, header, body, evicted),
            Up::Totals(totals) => return self.totals(scene, header, totals),
            Up::Clock(clock) => {
                self.enter(scene, header.incarnation);
                self.clocks.read_own(
                    header.incarnation,
                    header.mark.boot,
                    clock.uptime_us,
                    clock.utc_us,
                );
            }
            Up::Event(event) => {
                self.enter(scene, header.incarnation);
                if event.code == EventCode::Ended {
                    self.close_early(scene);
                }
            }
            Up::Report(_) | Up::Catalog(_) => self.enter(scene, header.incarnation),
            Up::Hello(_) | Up::Progress(_) | Up::Status(_) => {
                self.reject_frame(Rejection::Undecodable);
            }
        }
        Taken::Done
    }

    fn totals(&mut self, scene: &mut Scene<'_>, header: &Header, totals: &Totals<'_>) -> Taken {
        let hash = totals.head.catalog;
        match self.catalogs.find(hash) {
            Found::Missing => return Taken::Waits(hash),
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
        for (index, counts) in (totals.head.first..).zip(counts) {
            if let Some(sensor) = self.sensor_of(hash, index) {
                sensor
                    .totals
                    .take(header.incarnation, header.mark.boot, counts);
            }
        }
        Taken::Done
    }

    fn batch(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        at: &Timestamp,
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
            Found::Missing => return Taken::Waits(hash),
            Found::Unreadable => {
                self.reject_frame(Rejection::NoCatalog);
                self.reject_samples(Rejection::NoCatalog, decoded.count());
                return Taken::Done;
            }
            Found::Sensors(_) => {}
        }
        self.enter(scene, header.incarnation);
        self.use_catalog(scene, hash);
        let mapping = self.map(scene, decoded, at, header);
        self.fold(scene, decoded, at, header, &mapping);
        self.remember(decoded, header, evicted);
        self.advance(scene, decoded, at, header, &mapping);
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
        };
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
            sensor.reject(Rejection::BadSample, unusable.bad);
            sensor.reject(Rejection::ImplausibleTime, unusable.implausible);
            let (emission, now_us) = (&mut *scene.emission, scene.now_us);
            sensor.fold(
                &self.plans,
                self.active,
                &decoded.samples,
                &tide,
                &mut |meta, plan, sample| {
                    let identity = SampleIdentity {
                        incarnation: header.incarnation.0,
                        boot: header.mark.boot,
                        sequence: header.mark.sequence,
                        block: block.sensor,
                        index: sample.index,
                        time_us: sample.time_us,
                    };
                    let (of, what) = ((meta, plan), (sample, &identity));
                    emission.sample(&source, now_us, of, what, mapping.quality);
                },
            );
        }
    }

    /// Remembers how many samples the frame held, should the device report it as evicted.
    fn remember(&mut self, decoded: &Decoded, header: &Header, evicted: bool) {
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
        let source = scene.source(self.epoch);
        for sensor in &mut self.sensors {
            let meta = &sensor.meta;
            for lane in &mut sensor.lanes {
                let plan: &Arc<_> = &self.plans[usize::from(lane.plan)];
                let (emission, now_us) = (&mut *scene.emission, scene.now_us);
                let mut emit = |window: &mut _| {
                    emission.window(&source, now_us, meta, plan, window);
                };
                if let Some(mark_us) = self.watermark_us {
                    lane.close_passed(plan, mark_us, &mut emit);
                }
                self.counts.crowded_out += lane.crowd_out(plan, &mut emit);
            }
        }
        self.forget_retired();
    }
}

fn read(bytes: &[u8]) -> Result<(Header, Up<'_>), Rejection> {
    let frame = frame::read(bytes).map_err(|_| Rejection::Undecodable)?;
    let up = Up::read(frame.body).map_err(|_| Rejection::Undecodable)?;
    Ok((frame.header, up))
}

fn kind(up: &Up<'_>) -> FrameKind {
    match up {
        Up::Catalog(_) => FrameKind::Catalog,
        Up::Batch(_) => FrameKind::Batch,
        Up::Totals(_) => FrameKind::Totals,
        Up::Clock(_) => FrameKind::Clock,
        Up::Event(_) => FrameKind::Event,
        Up::Report(_) => FrameKind::Report,
        Up::Hello(_) | Up::Progress(_) | Up::Status(_) => FrameKind::Other,
    }
}
