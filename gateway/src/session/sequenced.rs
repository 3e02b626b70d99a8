//! Sequenced frames: go-back-N per pair, and acks when an fsync covers what was appended.

use std::collections::BTreeSet;

use tidegate_shared::ids::{CatalogHash, Check, DeviceName, Incarnation, Mark};
use tidegate_shared::message::{EventCode, RefusedReason, Up};

use super::keys::Taken;
use super::marks::{Identity, Place};
use super::pair::{Pair, Standing};
use super::reply::Whom;
use super::{CATALOG_AGAIN_US, Effect, REFUSED_AFTER_MS, Session};
use crate::entry::{Entry, FrameEntry, LinkChange, Logged, Uncounted, Verdict};
use crate::time::Timestamp;

impl Session {
    pub(super) fn take_sequenced(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        taken: &Taken<'_>,
    ) {
        let frame = &taken.frame;
        let whom = Whom::from(&frame.header);
        let (sequence, check) = (frame.header.mark.sequence, frame.check);
        let Some(marks) = self.live.devices.get(device) else {
            return self.take_unknown(now, device, whom);
        };
        let (standing, verdict) = match marks.place(whom.incarnation, whom.boot) {
            Place::Pair(pair) => (pair.standing(sequence, check), Verdict::Next),
            Place::Openable => {
                let pair = Pair::new(whom.incarnation, whom.boot);
                (pair.standing(sequence, check), Verdict::Next)
            }
            Place::Stale(stale) => (
                marks.stale_standing(stale, whom.incarnation, frame.header.mark),
                Verdict::StaleBoot,
            ),
            // Its device lives in a later boot and holds nothing of this one.
            Place::Unopened if marks.is_past(whom.incarnation, whom.boot) => {
                (Standing::AfterGap, Verdict::Next)
            }
            Place::Unopened => return self.take_unknown(now, device, whom),
        };
        match self.contest(
            device,
            frame.header.incarnation,
            frame.header.mark,
            standing,
        ) {
            Standing::Next if !self.has_room(device, taken.plain.len()) => {
                self.count(device, Uncounted::Busy);
                self.ack_busy(now, device, whom, sequence);
            }
            Standing::Next => self.append_frame(device, taken, verdict),
            Standing::Ahead => self.count(device, Uncounted::Ahead),
            Standing::Duplicate => {
                self.count(device, Uncounted::Duplicate);
                self.ack(now, device, whom, sequence);
            }
            Standing::AfterGap => {
                self.count(device, Uncounted::AfterGap);
                self.refuse_other(device, whom, (sequence, check));
            }
            Standing::Conflict => {
                self.count(device, Uncounted::Conflict);
                self.refuse_other(device, whom, (sequence, check));
                self.out.push(Effect::Conflict {
                    device: device.clone(),
                    incarnation: whom.incarnation,
                    mark: frame.header.mark,
                });
            }
        }
    }

    /// Refuses a frame of another device under the same identity, which will draw a new
    /// incarnation.
    fn refuse_other(&mut self, device: &DeviceName, whom: Whom, meant: (u32, Check)) {
        let mark = Mark {
            boot: whom.boot,
            sequence: meant.0,
        };
        self.link(device).contested = Some((whom.incarnation, mark));
        self.refuse(device, whom, meant, RefusedReason::Conflict, 0);
    }

    /// Two devices speak as one: after a refusal nothing behind the refused frame is logged, of
    /// its boot or a later one, until a Hello says who goes on. What the refused device sent
    /// behind it would be logged now and come again under its new incarnation, and a later
    /// refusal would make it drop what lies before.
    fn contest(
        &mut self,
        device: &DeviceName,
        incarnation: Incarnation,
        mark: Mark,
        standing: Standing,
    ) -> Standing {
        let contested = self.links.get(device).and_then(|link| link.contested);
        match contested {
            Some((of, first)) if of == incarnation && mark > first => match standing {
                Standing::Duplicate => Standing::Duplicate,
                Standing::Next | Standing::Ahead | Standing::AfterGap | Standing::Conflict => {
                    Standing::Ahead
                }
            },
            _ => standing,
        }
    }

    /// What comes before its Hello. The answer is an ack of nothing: it shows this term, and a
    /// device that knows another one says Hello at once.
    pub(super) fn take_unknown(&mut self, now: Timestamp, device: &DeviceName, whom: Whom) {
        if self.refuse_beyond_limit(device, whom) {
            return;
        }
        self.count(device, Uncounted::Unopened);
        self.ack(now, device, whom, 0);
    }

    /// Refuses a device that is unknown while there is no room for another.
    pub(super) fn refuse_beyond_limit(&mut self, device: &DeviceName, whom: Whom) -> bool {
        let beyond = !self.live.devices.contains_key(device) && self.is_full();
        if beyond {
            self.count(device, Uncounted::DeviceLimit);
            self.refuse_device(device, whom, RefusedReason::DeviceLimit, REFUSED_AFTER_MS);
        }
        beyond
    }

    /// Folds what became durable, and acks each pair that moved once.
    pub(super) fn settle(&mut self, now: Timestamp, entries: &[Logged]) {
        let mut moved: BTreeSet<(DeviceName, Incarnation, u32)> = BTreeSet::new();
        self.note_pace(now, entries);
        for logged in entries {
            self.durable.apply(logged);
            match &logged.entry {
                Entry::Frame(entry) => {
                    self.pending_bytes = self.pending_bytes.saturating_sub(entry.bytes.len());
                    let link = self.link(&entry.device);
                    link.pending_frames = link.pending_frames.saturating_sub(1);
                    self.note_key(&entry.device, entry.key_id);
                    if let Some(identity) = Identity::read(&entry.bytes) {
                        let boot = identity.mark.boot;
                        moved.insert((entry.device.clone(), identity.incarnation, boot));
                    }
                }
                // Of a boot that is over the device holds nothing to be acked.
                Entry::Gap(gap) if gap.through != u32::MAX => {
                    moved.insert((gap.device.clone(), gap.incarnation, gap.boot));
                }
                Entry::Limits(limits) => self.config.limits = *limits,
                _ => {}
            }
        }
        if self.watch.is_standby() {
            return;
        }
        for (device, incarnation, boot) in moved {
            self.ack(now, &device, Whom { incarnation, boot }, 0);
        }
    }

    fn note_key(&mut self, device: &DeviceName, key_id: u8) {
        if key_id != 0 && self.is_first_use(device, key_id) {
            self.out.push(Effect::KeyUsed {
                device: device.clone(),
                key_id,
            });
        }
    }

    /// How long the oldest frame of a commit took is how busy the store is.
    fn note_pace(&mut self, now: Timestamp, entries: &[Logged]) {
        let start = self.config.start;
        let oldest = entries
            .iter()
            .find(|logged| logged.start == start && matches!(logged.entry, Entry::Frame(_)));
        if let Some(oldest) = oldest {
            self.turns.committed(now.mono_us, oldest.at.mono_us);
        }
    }

    /// The pipeline waits for a catalog: asks now, and again with every Hello until it comes.
    pub(super) fn want_catalog(&mut self, now: Timestamp, device: &DeviceName, hash: CatalogHash) {
        if self.live.devices.contains_key(device) {
            let link = self.link(device);
            if link.wanted.is_none_or(|(wanted, _)| wanted != hash) {
                link.wanted = Some((hash, None));
            }
            self.ask_wanted(now, device);
        }
    }

    pub(super) fn ask_wanted(&mut self, now: Timestamp, device: &DeviceName) {
        let current = self
            .live
            .devices
            .get(device)
            .and_then(|marks| marks.current);
        let connected = self.watch.is_connected() && self.may_log();
        let link = self.link(device);
        let (Some((hash, asked)), Some((incarnation, boot))) = (link.wanted, current) else {
            return;
        };
        let is_early = asked.is_some_and(|at| now.mono_us < at.saturating_add(CATALOG_AGAIN_US));
        if connected && !is_early {
            link.wanted = Some((hash, Some(now.mono_us)));
            self.ask_catalog(device, Whom { incarnation, boot }, hash);
        }
    }

    /// A device sends at most a window; all devices together at most what memory allows.
    fn has_room(&self, device: &DeviceName, bytes: usize) -> bool {
        let pending = self.links.get(device).map_or(0, |link| link.pending_frames);
        !self.store_busy
            && pending < u32::from(self.config.window)
            && self.pending_bytes.saturating_add(bytes) <= self.config.pending_bytes_max
    }

    fn append_frame(&mut self, device: &DeviceName, taken: &Taken<'_>, verdict: Verdict) {
        let bytes = taken.plain.len();
        self.append(Entry::Frame(FrameEntry {
            device: device.clone(),
            key_id: taken.key_id,
            verdict,
            bytes: taken.plain.to_vec(),
        }));
        self.pending_bytes += bytes;
        self.turns.took(device);
        let window = u32::from(self.config.window);
        let link = self.link(device);
        link.pending_frames += 1;
        link.frame_bytes = link.frame_bytes.max(bytes);
        let awaited = link.awaited;
        link.awaited = awaited.saturating_sub(1);
        let has_all = awaited == 1;
        let is_full = link.pending_frames == window;
        if link
            .wanted
            .is_some_and(|(hash, _)| answers(taken.frame.body, hash))
        {
            link.wanted = None;
        }
        let backlog = self
            .live
            .devices
            .get(device)
            .is_some_and(|marks| marks.backlog);
        if has_all && backlog {
            self.append_link(Some(device), LinkChange::Backlog(false));
        }
        if has_all || is_full {
            self.out.push(Effect::CommitNow);
        }
    }
}

/// Whether a frame brings (the last part of) a catalog, or says that it is gone.
fn answers(body: &[u8], hash: CatalogHash) -> bool {
    match Up::read(body) {
        Ok(Up::Catalog(part)) => part.hash == hash && part.part.saturating_add(1) >= part.parts,
        Ok(Up::Event(event)) => event.code == EventCode::NoSuchCatalog { hash },
        _ => false,
    }
}
