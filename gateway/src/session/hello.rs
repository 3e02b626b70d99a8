//! Hello and Progress: what a device says of itself outside its sequence, and what that changes.
//!
//! Nothing of them is logged as such; link entries are written for what changed, gaps for what
//! the device no longer holds.

use std::collections::BTreeSet;

use tidegate_shared::frame::Header;
use tidegate_shared::ids::{DeviceName, Incarnation, Mark};
use tidegate_shared::limits::PROTOCOL;
use tidegate_shared::message::{Hello, Progress, RefusedReason};
use tidegate_shared::mutation::{Mutation, is_on};

use super::marks::{DeviceMarks, FloorMark, PAIRS_MAX, Place};
use super::offset::{Offset, Written};
use super::reply::Whom;
use super::{REFUSED_AFTER_MS, Session};
use crate::entry::{Entry, GapEntry, LinkChange, Uncounted};
use crate::time::Timestamp;

impl Session {
    pub(super) fn take_hello(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        header: &Header,
        hello: &Hello,
    ) {
        let whom = Whom::from(header);
        if hello.protocol_min > PROTOCOL || hello.protocol_max < PROTOCOL {
            self.count(device, Uncounted::Version);
            self.refuse_device(device, whom, RefusedReason::Protocol, REFUSED_AFTER_MS);
            return;
        }
        if !is_possible(header, &hello.progress) {
            return self.count(device, Uncounted::Message);
        }
        if self.refuse_beyond_limit(device, whom) {
            return;
        }
        if self.store_busy {
            self.count(device, Uncounted::Busy);
            let retry_after_ms = self.busy_ms(device);
            self.refuse_device(device, whom, RefusedReason::Retry, retry_after_ms);
            return;
        }
        self.link(device).contested = None;
        if self.is_newest(device, whom, hello.progress.uptime_us) {
            self.note_acked(device, whom, hello.progress.acked);
            self.note_opened(device, whom, hello);
            self.learn(now, device, whom, &hello.progress);
        }
        self.welcome(device, whom);
        for boot in touched(hello.progress.floor.boot, whom.boot) {
            self.ack(now, device, Whom { boot, ..whom }, 0);
        }
        self.ask_wanted(now, device);
    }

    pub(super) fn take_progress(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        header: &Header,
        progress: &Progress,
    ) {
        let whom = Whom::from(header);
        if !is_possible(header, progress) {
            return self.count(device, Uncounted::Message);
        }
        let place = self.live.devices.get(device);
        let place = place.map(|marks| marks.place(whom.incarnation, whom.boot));
        match place {
            None | Some(Place::Openable | Place::Unopened) => {
                return self.take_unknown(now, device, whom);
            }
            Some(Place::Pair(_)) => {}
            Some(Place::Stale(_)) => return,
        }
        if self.store_busy {
            return self.count(device, Uncounted::Busy);
        }
        let current = self
            .live
            .devices
            .get(device)
            .and_then(|marks| marks.current);
        let lives = current == Some((whom.incarnation, whom.boot));
        if lives && self.is_newest(device, whom, progress.uptime_us) {
            self.note_acked(device, whom, progress.acked);
            self.note_clock(device, whom, progress);
            self.learn(now, device, whom, progress);
        }
    }

    /// Whether this was sent after everything heard so far, as far as boots and uptimes tell.
    fn is_newest(&self, device: &DeviceName, whom: Whom, uptime_us: u64) -> bool {
        let Some(marks) = self.live.devices.get(device) else {
            return true;
        };
        if matches!(marks.place(whom.incarnation, whom.boot), Place::Stale(_)) {
            return false;
        }
        let lives_later = marks
            .current
            .is_some_and(|(lives, boot)| lives == whom.incarnation && boot > whom.boot);
        let heard = self.links.get(device).and_then(|link| link.heard);
        let heard_later = heard.is_some_and(|(incarnation, boot, uptime)| {
            (incarnation, boot) == (whom.incarnation, whom.boot) && uptime > uptime_us
        });
        !lives_later && !heard_later
    }

    /// A device knows of an ack that this store does not: the store is older than that.
    fn note_acked(&mut self, device: &DeviceName, whom: Whom, acked: Mark) {
        let place = self.live.devices.get(device);
        let place = place.map(|marks| marks.place(whom.incarnation, acked.boot));
        let is_known = match place {
            Some(Place::Pair(pair)) => pair.through() >= acked.sequence,
            Some(Place::Stale(_)) => true,
            Some(Place::Openable | Place::Unopened) | None => acked.sequence == 0,
        };
        if !is_known {
            self.note_restored();
        }
    }

    fn note_opened(&mut self, device: &DeviceName, whom: Whom, hello: &Hello) {
        let has_clock = hello.progress.clock.is_some();
        let known = self.live.devices.get(device).is_some_and(|marks| {
            marks.current == Some((whom.incarnation, whom.boot))
                && marks.pair(whom.incarnation, whom.boot).is_some()
                && marks.hold_ms == hello.hold_ms
                && marks.has_clock == has_clock
                && marks.firmware == hello.firmware.as_str()
        });
        if !known {
            let opened = LinkChange::Opened {
                incarnation: whom.incarnation,
                boot: whom.boot,
                hold_ms: hello.hold_ms,
                has_clock,
                firmware: hello.firmware.as_str().to_owned(),
            };
            self.append_link(Some(device), opened);
        }
    }

    /// A device may learn its time after its Hello.
    fn note_clock(&mut self, device: &DeviceName, whom: Whom, progress: &Progress) {
        let Some(marks) = self.live.devices.get(device) else {
            return;
        };
        if progress.clock.is_some() && !marks.has_clock {
            let opened = LinkChange::Opened {
                incarnation: whom.incarnation,
                boot: whom.boot,
                hold_ms: marks.hold_ms,
                has_clock: true,
                firmware: marks.firmware.clone(),
            };
            self.append_link(Some(device), opened);
        }
    }

    /// What Hello and Progress have in common, once the pair is open.
    fn learn(&mut self, now: Timestamp, device: &DeviceName, whom: Whom, progress: &Progress) {
        let link = self.link(device);
        let before = link.heard;
        link.heard = Some((whom.incarnation, whom.boot, progress.uptime_us));
        link.up = Some(true);
        if before.is_none_or(|(of, boot, _)| (of, boot) != (whom.incarnation, whom.boot)) {
            link.offset = Offset::default();
        }
        self.note_link(device);
        self.note_floor(device, whom.incarnation, progress);
        if progress.clock.is_none() {
            self.note_offset(now, device, whom, progress.uptime_us);
        }
        self.note_backlog(device, whom.incarnation, progress);
    }

    fn note_floor(&mut self, device: &DeviceName, incarnation: Incarnation, progress: &Progress) {
        let said = FloorMark {
            incarnation,
            floor: progress.floor,
            acked: progress.acked,
        };
        let written = self.live.devices.get(device).and_then(|marks| marks.floor);
        if written != Some(said) {
            let change = LinkChange::Floor {
                incarnation,
                floor: said.floor,
                acked: said.acked,
                held: progress.depth,
            };
            self.append_link(Some(device), change);
        }
        if is_on(Mutation::FloorIgnored) {
            return;
        }
        let gaps = self
            .live
            .devices
            .get(device)
            .map(|marks| gaps(device, marks, &said));
        for gap in gaps.into_iter().flatten() {
            self.append(Entry::Gap(gap));
        }
    }

    fn note_offset(&mut self, now: Timestamp, device: &DeviceName, whom: Whom, uptime_us: u64) {
        let written = self.live.devices.get(device).and_then(|marks| marks.offset);
        let written = written
            .filter(|mark| (mark.incarnation, mark.boot) == (whom.incarnation, whom.boot))
            .map(|mark| Written {
                offset_us: mark.offset_us,
                trusted: mark.trusted,
            });
        let found = self.link(device).offset.exchange(now, uptime_us, written);
        if let Some(offset_us) = found {
            let change = LinkChange::Offset {
                incarnation: whom.incarnation,
                boot: whom.boot,
                offset_us,
            };
            self.append_link(Some(device), change);
        }
    }

    /// What waits on the device is what it holds less what came already.
    fn note_backlog(&mut self, device: &DeviceName, incarnation: Incarnation, progress: &Progress) {
        let Some(marks) = self.live.devices.get(device) else {
            return;
        };
        let came = came_above(marks, incarnation, progress.floor);
        let awaited = u64::from(progress.depth).saturating_sub(came);
        let backlog = awaited > u64::from(self.config.window);
        let written = marks.backlog;
        self.link(device).awaited = awaited as u32;
        if written != backlog {
            self.append_link(Some(device), LinkChange::Backlog(backlog));
        }
    }
}

/// A device lives in the newest boot it speaks of.
fn is_possible(header: &Header, progress: &Progress) -> bool {
    let boot = header.mark.boot;
    progress.floor.boot <= boot && progress.acked.boot <= boot
}

/// The boots from a floor to the one a device lives in: the lowest ones, which it sends first,
/// and its own.
fn touched(floor: u32, boot: u32) -> impl Iterator<Item = u32> {
    let lowest = (floor..boot).take(PAIRS_MAX - 1);
    lowest.chain([boot])
}

/// What of a device will never come, given its floor: in every boot below it all that is
/// missing, in its boot what is missing below it.
///
/// Of those, the ones up to `acked` were on this gateway's disk once. A boot that was acked in
/// part and is over may have had frames behind: its gap is open-ended, unless its newest frame
/// says that it ended there.
fn gaps(device: &DeviceName, marks: &DeviceMarks, said: &FloorMark) -> Vec<GapEntry> {
    let FloorMark {
        incarnation,
        floor,
        acked,
    } = *said;
    let remembered = marks.pairs().iter();
    let mut boots: BTreeSet<u32> = remembered
        .filter(|pair| pair.incarnation == incarnation && pair.boot < floor.boot)
        .map(|pair| pair.boot)
        .collect();
    if acked.sequence > 0 && acked.boot < floor.boot {
        boots.insert(acked.boot);
    }
    boots.insert(floor.boot);
    let gap = |boot: u32| {
        let through = match marks.place(incarnation, boot) {
            Place::Pair(pair) if pair.ended && boot < floor.boot => {
                let lost = acked.boot == boot && acked.sequence > pair.through();
                return lost.then(|| GapEntry {
                    device: device.clone(),
                    incarnation,
                    boot,
                    from: pair.through() + 1,
                    through: acked.sequence,
                    lost_here: acked.sequence,
                });
            }
            Place::Pair(pair) => pair.through(),
            Place::Stale(_) => return None,
            Place::Openable | Place::Unopened => 0,
        };
        let last = if boot < floor.boot {
            u32::MAX
        } else {
            floor.sequence.saturating_sub(1)
        };
        let from = through.checked_add(1).filter(|from| *from <= last)?;
        let was_acked = if acked.boot == boot {
            acked.sequence.min(last)
        } else if acked.boot > boot && last != u32::MAX {
            last
        } else {
            0
        };
        Some(GapEntry {
            device: device.clone(),
            incarnation,
            boot,
            from,
            through: last,
            lost_here: if was_acked >= from { was_acked } else { 0 },
        })
    };
    boots.into_iter().filter_map(gap).collect()
}

/// How many sequences at and above a floor are accounted for.
fn came_above(marks: &DeviceMarks, incarnation: Incarnation, floor: Mark) -> u64 {
    let pairs = marks.pairs().iter();
    pairs
        .filter(|pair| pair.incarnation == incarnation && pair.boot >= floor.boot)
        .map(|pair| {
            let below = if pair.boot == floor.boot {
                floor.sequence.saturating_sub(1)
            } else {
                0
            };
            u64::from(pair.through().saturating_sub(below))
        })
        .sum()
}
