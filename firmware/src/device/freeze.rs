//! Freezing: a message gets its sequence, its bytes, and its place in the outbox.

use tidegate_shared::body::{BodyError, Reader, Writer};
use tidegate_shared::frame::{self, HEADER_BYTES_MAX, TRAILER_BYTES};
use tidegate_shared::ids::{CatalogHash, Check, Incarnation, Mark};
use tidegate_shared::message::{self, CatalogPart, DeviceClock, Event, EventCode, TotalsHead, up};
use tidegate_shared::report::{REPORT_BYTES_MAX, Report};

use super::{Device, Eviction, NO_CATALOG_US, REPORT_US, TOTALS_FRAMES, TOTALS_US};
use crate::link;
use crate::outbox::{Content, Entry, Outbox, Past};
use crate::time::Moment;
use crate::totals::Totals;

/// Most bytes of a catalog frame beside the part itself: header, message number, hash, part,
/// parts, length and trailer.
const CATALOG_FIXED_BYTES: usize = HEADER_BYTES_MAX + 1 + 5 + 3 + 3 + 2 + TRAILER_BYTES;

/// Most bytes of an `Ended` frame: header, message number, uptime, code and trailer.
const EVENT_BYTES_MAX: usize = HEADER_BYTES_MAX + 1 + 10 + 1 + TRAILER_BYTES;

impl<O: Outbox, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>
    Device<'_, O, SENSORS, SAMPLES, FRAME>
{
    /// Closes the batch, if a sample waits, behind the catalog that it names.
    pub(super) fn close_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if !self.announced {
            self.freeze_catalog();
        }
        let (hash, complete_us) = (self.hash, self.complete_us);
        let is_frozen = self.freeze(Content::Batch(hash), &|device, writer| {
            device.batch.write(writer, hash, complete_us)
        });
        if is_frozen {
            self.batch.clear();
            if !self.announced {
                // It made its room where no held batch named the catalog yet.
                self.freeze_catalog();
            }
            return;
        }
        // It fits no frame or not even an empty outbox: lost here, and counted.
        for (sensor, samples) in self.batch.receipt() {
            self.totals.evict(sensor.into(), samples.into());
        }
        self.totals_due = true;
        self.batch.clear();
    }

    /// Freezes the catalog, in as many parts as it needs.
    pub(super) fn freeze_catalog(&mut self) {
        let catalog = self.catalog;
        let part_bytes = FRAME - CATALOG_FIXED_BYTES;
        let parts = catalog.len().div_ceil(part_bytes).max(1) as u16;
        for (part, bytes) in (0..parts).zip(catalog.chunks(part_bytes)) {
            let hash = self.hash;
            let message = CatalogPart {
                hash,
                part,
                parts,
                bytes,
            };
            self.freeze(Content::Catalog(hash), &|_, writer| {
                message::write(writer, up::CATALOG, &message)
            });
        }
        self.announced = true;
    }

    pub(super) fn freeze_clock(&mut self, clock: &DeviceClock) {
        self.freeze(Content::Other, &|_, writer| {
            message::write(writer, up::CLOCK, clock)
        });
    }

    pub(super) fn freeze_event(&mut self, code: EventCode) {
        let event = Event {
            uptime_us: self.uptime_us,
            code,
        };
        self.freeze(Content::Other, &|_, writer| {
            message::write(writer, up::EVENT, &event)
        });
    }

    /// Totals and a report when it is their time.
    pub(super) fn freeze_periodic(&mut self) {
        let waited_us = self.uptime_us.saturating_sub(self.totals_us);
        if self.totals_frames >= TOTALS_FRAMES || waited_us >= TOTALS_US {
            self.freeze_changed_totals();
        }
        if self.uptime_us >= self.report_us
            && let Some(status) = self.outbox.flash_status()
        {
            self.report_us = self.uptime_us + REPORT_US;
            self.freeze_report(&Report::Flash(status.report(self.uptime_us)));
        }
    }

    fn freeze_report(&mut self, report: &Report) {
        let mut out = [0; REPORT_BYTES_MAX];
        let mut written = Writer::new(&mut out);
        if report.write(&mut written).is_ok() {
            let bytes = written.written();
            self.freeze(Content::Other, &|_, writer| {
                message::write(writer, up::REPORT, bytes)
            });
        }
    }

    /// Freezes Totals, in as many parts as they need, unless the newest say the same.
    pub(super) fn freeze_changed_totals(&mut self) {
        self.totals_us = self.uptime_us;
        if self.totals.is_changed() && !self.stopped {
            self.freeze_totals();
        }
    }

    /// Closes the batch, so that what the Totals count as taken stands in frames before them.
    fn freeze_totals(&mut self) {
        self.close_batch();
        // Noted first: what the Totals' own frames evict is news again.
        self.totals.note_sent();
        self.totals_due = false;
        let mut first = 0;
        while first < self.count {
            let count = self.totals.part(first, self.count, FRAME);
            self.freeze(Content::Totals, &|device, writer| {
                device
                    .totals
                    .write(writer, device.hash, device.uptime_us, first, count)
            });
            first += count;
        }
        self.totals_frames = 0;
    }

    /// Freezes the last frames of a planned stop. Room is made first, so that the Totals count
    /// what that evicts.
    pub(super) fn freeze_ending(&mut self) {
        let totals_bytes = self.totals.bytes_max(self.count, FRAME);
        self.make_room(
            totals_bytes + EVENT_BYTES_MAX,
            totals_bytes.div_ceil(FRAME) + 1,
        );
        self.freeze_totals();
        self.freeze_event(EventCode::Ended);
    }

    /// Ends the boot before this one: its Totals and `Ended`, behind its own newest frame. What
    /// making room for them evicts is counted by them.
    pub(super) fn end_past(&mut self, past: &Past<SENSORS>) {
        let now = (self.identity.boot, self.hash, self.count);
        (self.identity.boot, self.hash, self.count) = (past.boot, past.catalog, past.sensors);
        self.sequence = past.sequence;
        self.uptime_us = past.uptime_us;
        self.totals.begin_with(past.counts);
        self.freeze_ending();
        (self.identity.boot, self.hash, self.count) = now;
        // It may have moved the last boot's catalog, which other firmware's batches do not name.
        self.announced &= past.catalog == self.hash;
        self.sequence = 1;
        self.uptime_us = 0;
        self.first_news = 0;
        self.totals = Totals::default();
    }

    /// Answers a gateway that misses a catalog.
    pub(super) fn on_catalog_wanted(&mut self, now: Moment, hash: CatalogHash) {
        if hash == self.hash {
            if self.is_catalog_held() {
                return;
            }
            self.freeze_catalog();
        } else if now >= self.no_catalog_until {
            self.no_catalog_until = Moment(now.0.saturating_add(NO_CATALOG_US));
            self.freeze_event(EventCode::NoSuchCatalog { hash });
        } else {
            return;
        }
        if self.stopped {
            // `Ended` stays the last frame.
            self.freeze_event(EventCode::Ended);
        }
    }

    fn is_catalog_held(&self) -> bool {
        let mut after = Mark::default();
        while let Some(entry) = self.outbox.next_after(after) {
            if entry.content == Content::Catalog(self.hash) {
                return true;
            }
            after = entry.mark;
        }
        false
    }

    /// Draws the consequences of a new incarnation: frees the frames before the conflicting one
    /// (the gateway has those) and renumbers the others from 1, boot by boot.
    ///
    /// A gateway adds up the Totals of incarnations. So when samples or Totals of this boot went
    /// out under the old one, the Totals begin anew with what is sent again, those held are
    /// rewritten to say so, and what was suppressed, failed or evicted since the last Totals
    /// under the old incarnation is not told: the gateway sees that boot end without its Totals.
    pub fn rename(
        &mut self,
        now: Moment,
        incarnation: Incarnation,
        outgoing: &mut impl Extend<super::Publish>,
    ) {
        let Some(from) = self.rename_from.take() else {
            return;
        };
        self.outbox.stand(None);
        self.outbox.pop_through(Mark {
            sequence: from.sequence.saturating_sub(1),
            ..from
        });
        self.identity.incarnation = incarnation;
        let anew = from.boot == self.identity.boot
            && self.first_news != 0
            && self.first_news < from.sequence;
        if anew {
            self.totals.begin_anew();
        }
        let (mut after, mut mark) = (Mark::default(), Mark::default());
        self.sequence = 1;
        self.first_news = 0;
        while let Some(entry) = self.outbox.next_after(after) {
            after = entry.mark;
            if mark.boot != entry.mark.boot {
                mark = Mark {
                    boot: entry.mark.boot,
                    sequence: 0,
                };
            }
            mark.sequence += 1;
            if mark.boot == self.identity.boot {
                if anew {
                    let totals = &mut self.totals;
                    self.outbox.receipt(entry.mark, |sensor, samples| {
                        totals.resend(sensor.into(), samples.into());
                    });
                }
                self.note_news(entry.content, mark.sequence);
                self.sequence = mark.sequence + 1;
            }
            self.renumber(&entry, mark, anew && mark.boot == self.identity.boot);
        }
        if anew {
            for (sensor, samples) in self.batch.receipt() {
                self.totals.resend(sensor.into(), samples.into());
            }
        }
        self.stand();
        for sensor in 0..self.count {
            self.note(sensor);
        }
        self.announced = self.is_catalog_held();
        (self.eviction, self.eviction_behind) = (None, None);
        self.handle(now, link::Event::Renamed(incarnation), outgoing);
    }

    /// Renumbers one frame. One that reads back corrupt gets its new mark with bytes that are no
    /// frame: it stays corrupt, and is evicted when it is the oldest.
    /// With `anew`, Totals get the counts as they are now.
    fn renumber(&mut self, entry: &Entry, mark: Mark, anew: bool) {
        let mut old = [0; FRAME];
        let used = self.outbox.read(entry.mark, &mut old).unwrap_or(0);
        let body = frame::read(old.get(..used).unwrap_or_default()).map(|frame| frame.body);
        let mut new = [0; FRAME];
        let header = self.header(mark);
        let body_old = body.unwrap_or_default();
        let head = (anew && entry.content == Content::Totals)
            .then(|| totals_head(body_old))
            .flatten();
        let written = frame::write(&header, &mut new, |writer| match head {
            // Not longer: no count is above what it was.
            Some(head) => self.totals.write_under(writer, &head),
            None => writer.put(body_old),
        });
        let (frame, check) = match written {
            Ok(written) if body.is_ok() => written,
            _ => (&[][..], Check(0)),
        };
        let renumbered = Entry {
            mark,
            check,
            ..*entry
        };
        // It cannot fail: the frame is held, and with its new sequence it is not longer.
        let _ = self.outbox.replace(entry.mark, renumbered, frame);
    }

    /// Drops the oldest frame when it is `mark`, which reads back corrupt. One behind it waits
    /// until it is the oldest, or until the gateway says that it has it.
    pub(super) fn drop_corrupt(&mut self, mark: Mark) {
        if self
            .outbox
            .next_after(Mark::default())
            .is_some_and(|oldest| oldest.mark == mark)
        {
            self.evict();
        }
    }

    /// Evicts until `frames` more frames fit, of together `bytes` bytes. A catalog that a held
    /// batch names is frozen anew, so that it is only moved to the back.
    fn make_room(&mut self, bytes: usize, frames: usize) {
        while self.outbox.could_hold_all(bytes, frames) && !self.outbox.has_room(bytes, frames) {
            let Some(oldest) = self.outbox.next_after(Mark::default()) else {
                return;
            };
            self.make_way(&oldest);
        }
    }

    fn make_way(&mut self, oldest: &Entry) {
        match oldest.content {
            Content::Catalog(hash) if self.outbox.names(hash) => self.move_catalog(oldest),
            _ => self.evict(),
        }
    }

    /// Lets the outbox do what can wait, and makes room that it wants ahead. After a planned
    /// stop there is nothing ahead, and `Ended` stays the last frame.
    pub(super) fn tend(&mut self) {
        while self.outbox.wants_eviction() {
            let Some(oldest) = self.outbox.next_after(Mark::default()) else {
                break;
            };
            self.make_way(&oldest);
        }
        let spare_us = self.spare_us();
        self.outbox.tend(self.uptime_us, spare_us);
    }

    fn move_catalog(&mut self, oldest: &Entry) {
        let mut old = [0; FRAME];
        let read = self.outbox.read(oldest.mark, &mut old);
        self.evict();
        let Ok(bytes) = read else {
            return;
        };
        let Ok(read) = frame::read(old.get(..bytes).unwrap_or_default()) else {
            return;
        };
        let mut new = [0; FRAME];
        let header = self.header(self.next_mark());
        let Ok((frame, check)) = frame::write(&header, &mut new, |writer| writer.put(read.body))
        else {
            return;
        };
        let entry = Entry {
            mark: header.mark,
            check,
            ..*oldest
        };
        // Its sequence may take a byte more than before and find no room: then it is gone, and
        // frozen with the next batch.
        if self.outbox.push(entry, frame, core::iter::empty()).is_ok() {
            self.note_frozen();
            self.announced |= oldest.content == Content::Catalog(self.hash);
        }
    }

    fn evict(&mut self) {
        let totals = &mut self.totals;
        let oldest = self.outbox.next_after(Mark::default());
        // Another firmware's sensors are not this one's: the gateway counts those frames.
        let is_foreign = oldest.is_some_and(
            |entry| matches!(entry.content, Content::Batch(hash) if hash != self.hash),
        );
        let lost = self.outbox.evict(|sensor, samples| {
            if !is_foreign {
                totals.evict(sensor.into(), samples.into());
            }
        });
        self.note_lost(lost);
    }

    fn note_lost(&mut self, lost: Option<Entry>) {
        let Some(entry) = lost else {
            return;
        };
        self.evicted = true;
        let now = self.eviction_now();
        match &mut self.eviction {
            // As it stood then; this one is told by the next Progress.
            Some(untold) if untold.acked != now.acked => {
                untold.gone = untold.gone.saturating_add(1);
                self.eviction_behind = Some(now);
            }
            _ if entry.mark > now.acked => self.eviction = Some(now),
            _ => {}
        }
        match entry.content {
            Content::Catalog(hash) if hash == self.hash => self.announced = false,
            Content::Batch(_) => self.totals_due = true,
            Content::Catalog(_) | Content::Totals | Content::Other => {}
        }
    }

    /// An eviction as it would be told now.
    pub(super) fn eviction_now(&self) -> Eviction {
        Eviction {
            floor: self.floor(),
            acked: self.link.acked(),
            gone: 0,
            in_hello: false,
        }
    }

    /// The gateway is told of the eviction; one behind it asks for a Progress of its own.
    pub(super) fn note_told(&mut self) {
        self.eviction = self.eviction_behind.take();
        self.evicted |= self.eviction.is_some();
    }

    /// Gives a message its sequence and puts it into the outbox, evicting as needed; a batch with
    /// its receipt. The body is dynamic: one copy of this in flash, not one per message. False when it fits no frame or not even an empty outbox: it is left out.
    fn freeze(
        &mut self,
        content: Content,
        body: &dyn Fn(&Self, &mut Writer<'_>) -> Result<(), BodyError>,
    ) -> bool {
        let mut out = [0; FRAME];
        let write = |device: &Self, out: &mut [u8]| {
            let header = device.header(device.next_mark());
            frame::write(&header, out, |writer| body(device, writer))
                .map(|(bytes, check)| (bytes.len(), check))
        };
        let Ok((used, _)) = write(self, &mut out) else {
            return false;
        };
        let is_batch = matches!(content, Content::Batch(_));
        let receipt_bytes = if is_batch {
            2 * self.batch.receipt().count()
        } else {
            0
        };
        // Moving a catalog takes a sequence, so this frame's may be another, and longer, after.
        self.make_room(used + receipt_bytes + 1, 1);
        let Ok((used, check)) = write(self, &mut out) else {
            return false;
        };
        let entry = Entry {
            mark: self.next_mark(),
            check,
            content,
        };
        let receipt = is_batch.then(|| self.batch.receipt()).into_iter().flatten();
        let bytes = out.get(..used).unwrap_or_default();
        let is_held = self.outbox.push(entry, bytes, receipt).is_ok();
        if is_held {
            self.note_news(content, entry.mark.sequence);
            self.note_frozen();
        }
        is_held
    }

    fn note_news(&mut self, content: Content, sequence: u32) {
        if self.first_news == 0 && matches!(content, Content::Batch(_) | Content::Totals) {
            self.first_news = sequence;
        }
    }

    fn note_frozen(&mut self) {
        self.sequence = self.sequence.saturating_add(1);
        self.totals_frames = self.totals_frames.saturating_add(1);
        self.frozen = true;
    }
}

/// The head of a Totals message.
fn totals_head(body: &[u8]) -> Option<TotalsHead> {
    let mut reader = Reader::new(body);
    let is_totals = reader.varint_u32().ok()? == up::TOTALS;
    is_totals.then(|| reader.value().ok()).flatten()
}
