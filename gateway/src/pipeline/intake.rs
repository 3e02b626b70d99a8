//! Intake: what a device's frames do, one by one, in log order.
//!
//! ```text
//! frame ─▶ readable? ─▶ catalog part: put together at once ─▶ waiting frames that can go on, do
//!                    ─▶ no-such-catalog: waiting frames that name it are rejected, others go on
//!                    ─▶ others: behind waiting frames if there are any, else taken
//! taken ─▶ batch or totals whose catalog is missing: waits
//!       ─▶ batch whose time needs the gateway's clock, untrusted as yet: waits
//!       ─▶ batch or totals: see `samples`
//! ```
//! A frame is used as a whole or rejected as a whole.

use tidegate_shared::batch::BatchReader;
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::message::{CatalogPart, EventCode, Up};

use super::catalogs::Found;
use super::decoded::Decoded;
use super::device::{Device, FrameCounts, Scene, Waiting};
use crate::clock::Moment;
use crate::entry::{FrameEntry, GapEntry, Verdict};
use crate::ledger::counters::{FrameKind, Rejection};

/// What became of a frame that was to be taken.
pub(super) enum Taken {
    Done,
    Waits(Need),
}

/// What a frame waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A catalog that has not come.
    Catalog(CatalogHash),
    /// The gateway's clock, to be trusted.
    Clock,
}

impl Device {
    /// A frame was logged.
    pub fn frame(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        moment: &Moment,
        entry: &FrameEntry,
    ) {
        let Ok(frame) = frame::read(&entry.bytes) else {
            return self.unreadable(FrameKind::Other);
        };
        let up = Up::read(frame.body);
        let kind = up.as_ref().map_or(FrameKind::Other, kind);
        let header = frame.header;
        if entry.verdict == Verdict::StaleBoot {
            *self.counts.frames.entry(kind).or_default() += 1;
            self.reject_frame(Rejection::StaleBoot);
            if let Ok(Up::Batch(body)) = up {
                self.reject_batch(decoded, &header, body, Rejection::StaleBoot);
            }
            return;
        }
        self.beat(scene.now_us);
        self.link.frame_us = scene.now_us;
        let ended = matches!(&up, Ok(Up::Event(event)) if event.code == EventCode::Ended);
        let boot = (header.incarnation, header.mark.boot);
        self.counts.lost_here += self.books.frame(boot, header.mark, ended, scene.now_us);
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
                    self.give_up(decoded, hash);
                }
                self.drain(scene, decoded);
            }
            _ => self.admit(scene, decoded, moment, &frame.header, &up, &entry.bytes),
        }
    }

    /// Notes how far apart frames come while the link stays up.
    fn beat(&mut self, now_us: i64) {
        let link = &self.link;
        let stayed_up = link.down_us.is_none() && link.up_us <= link.frame_us;
        if stayed_up && !self.counts.frames.is_empty() {
            self.rhythm.beat(now_us.saturating_sub(link.frame_us));
        }
    }

    /// Sequences that will never come.
    pub fn gap(&mut self, gap: &GapEntry, now_us: i64) {
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
        let on_device = if gap.through == u32::MAX {
            self.counts.gaps_open += 1;
            0
        } else {
            u64::from(gap.through - gap.from) + 1 - here
        };
        self.counts.lost_on_device += on_device;
        self.books.gap(gap, on_device, now_us);
    }

    /// The device's floor moved: frames between acked and floor were evicted by it; those that
    /// were logged nevertheless are taken off its evicted count, each once. A boot that knows of
    /// no ack yet has forgotten the earlier ones with a power cut: of those boots' frames it says
    /// nothing.
    pub fn floor(&mut self, incarnation: Incarnation, floor: Mark, acked: Mark) {
        let after = if acked == Mark::default() {
            self.books.first_of_living(incarnation)
        } else {
            acked
        };
        let evicted = |mark: Mark| after < mark && mark < floor;
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

    pub(super) fn evicted_but_logged(&mut self, frame: &FrameCounts) {
        for (index, samples) in &frame.samples {
            let samples = u64::from(*samples);
            if let Some(sensor) = self.sensor_of(frame.catalog, u16::from(*index)) {
                sensor.totals.evicted_but_logged += samples;
                self.books.evicted_but_logged(samples);
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

    /// Takes a frame, or puts it behind those that wait.
    fn admit(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        moment: &Moment,
        header: &Header,
        up: &Up<'_>,
        bytes: &[u8],
    ) {
        if self.holds && self.waiting.len() >= scene.limits.pending_catalog_max as usize {
            self.stop_holding(scene, decoded);
        }
        if self.waiting.is_empty() {
            match self.take(scene, decoded, moment, header, up, false) {
                Taken::Done => return,
                Taken::Waits(need) => self.stop_at(need),
            }
        }
        self.wait(scene, decoded, moment, bytes);
    }

    fn stop_at(&mut self, need: Need) {
        match need {
            Need::Catalog(hash) => self.wanted = Some(hash),
            Need::Clock => self.holds = true,
        }
    }

    /// Too many frames wait for the gateway's clock: they are taken without it.
    fn stop_holding(&mut self, scene: &mut Scene<'_>, decoded: &mut Decoded) {
        let waited = self.waiting.len();
        let holds = std::mem::replace(&mut scene.holds, false);
        self.drain(scene, decoded);
        scene.holds = holds;
        self.counts.not_held += (waited - self.waiting.len()) as u64;
    }

    /// Takes what waits for the gateway's clock, as far as it need not any more.
    pub fn go_on(&mut self, scene: &mut Scene<'_>, decoded: &mut Decoded) {
        if self.holds {
            self.drain(scene, decoded);
        }
    }

    /// Puts a frame behind those that wait. When too many do, a batch or totals is rejected and
    /// anything else is taken out of turn.
    fn wait(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        moment: &Moment,
        bytes: &[u8],
    ) {
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
                    self.reject_batch(decoded, &header, body, Rejection::NoCatalog);
                }
                Up::Totals(_) => self.reject_frame(Rejection::NoCatalog),
                _ => {
                    self.take(scene, decoded, moment, &header, &up, false);
                }
            }
            if self.waiting.is_empty() {
                self.wanted = None;
                self.holds = false;
            }
            return;
        }
        let samples = match &up {
            Up::Batch(body) if decoded.read(body).is_ok() => decoded.count(),
            _ => 0,
        };
        if self.holds {
            *scene.held_bytes += bytes.len() as u64;
            // Asked for already, so that it is there when the clock is.
            self.wanted = self.wanted.or(catalog.filter(|hash| self.lacks(*hash)));
        }
        self.waiting.push_back(Waiting {
            moment: *moment,
            bytes: bytes.to_vec(),
            catalog,
            samples,
            evicted: false,
        });
    }

    fn lacks(&self, hash: CatalogHash) -> bool {
        matches!(self.catalogs.find(hash), Found::Missing)
    }

    /// Takes waiting frames until one has to wait on.
    fn drain(&mut self, scene: &mut Scene<'_>, decoded: &mut Decoded) {
        self.holds = false;
        while let Some(one) = self.waiting.pop_front() {
            let Ok((header, up)) = read(&one.bytes) else {
                self.reject_frame(Rejection::Undecodable);
                continue;
            };
            self.books.is_late();
            match self.take(scene, decoded, &one.moment, &header, &up, one.evicted) {
                Taken::Done => {}
                Taken::Waits(need) => {
                    self.waiting.push_front(one);
                    let named = self.waiting.iter().filter_map(|one| one.catalog);
                    self.wanted = named.into_iter().find(|hash| self.lacks(*hash));
                    self.stop_at(need);
                    return;
                }
            }
        }
        self.wanted = None;
    }

    /// The device does not have a catalog any more: what waits for it is rejected.
    fn give_up(&mut self, decoded: &mut Decoded, hash: CatalogHash) {
        let waiting = std::mem::take(&mut self.waiting);
        for one in waiting {
            if one.catalog != Some(hash) {
                self.waiting.push_back(one);
                continue;
            }
            self.reject_frame(Rejection::NoCatalog);
            self.reject_samples(Rejection::NoCatalog, one.samples);
            if let Ok((header, Up::Batch(body))) = read(&one.bytes)
                && decoded.read(body).is_ok()
            {
                self.remember(decoded, &header, one.evicted);
            }
        }
    }

    /// Counts a batch's samples as rejected, by sensor as far as its catalog is known, and
    /// remembers them: the device may evict the batch before it hears of its ack.
    fn reject_batch(
        &mut self,
        decoded: &mut Decoded,
        header: &Header,
        body: &[u8],
        reason: Rejection,
    ) {
        if decoded.read(body).is_err() {
            return;
        }
        let boot = (header.incarnation, header.mark.boot);
        for block in &decoded.blocks {
            let samples = block.samples() as u64;
            let Some(sensor) = self.sensor_of(decoded.head.catalog, block.sensor) else {
                self.reject_samples(reason, samples);
                continue;
            };
            sensor.reject(reason, samples);
            if reason == Rejection::StaleBoot {
                sensor.totals.came_stale(samples);
            } else {
                sensor.totals.overtook(boot, header.mark.sequence, samples);
            }
        }
        self.remember(decoded, header, false);
    }

    fn take(
        &mut self,
        scene: &mut Scene<'_>,
        decoded: &mut Decoded,
        moment: &Moment,
        header: &Header,
        up: &Up<'_>,
        evicted: bool,
    ) -> Taken {
        self.link.ended = matches!(up, Up::Event(event) if event.code == EventCode::Ended);
        match up {
            Up::Batch(body) => return self.batch(scene, decoded, moment, header, body, evicted),
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
