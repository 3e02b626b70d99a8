//! Clock: from a device's uptime to UTC, boot by boot; beside it the gateway's own clock (`wall`:
//! what the log tells of it; `trust`: whether it is to be believed).
//!
//! Terms: the *offset* of a boot is UTC minus uptime, in µs. A boot's offset comes from the first
//! of these that is known:
//!
//! | source | from | quality |
//! |---|---|---|
//! | own | `Clock` frames, in log order: the device's own clock | `device` |
//! | learnt | `Offset` entries: live exchanges with the gateway | `learnt`, or `untrusted` while the gateway's clock was not to be trusted |
//! | bounded | neither: the boot lies between its neighbours | `bounded`, or `untrusted` where only a clock not to be trusted bounds it |
//!
//! Invariants:
//! - Within a boot, learnt time never runs backwards: a corrected offset is approached by at most
//!   a tenth of the uptime passed ("slewed"). Corrections of more than [`STEP_US`] (and more than
//!   lateness) are taken at once; backwards they begin a new epoch.
//! - An own clock is taken as it is; set back by more than lateness it begins a new epoch.
//! - A bounded boot begins where the boot before it was last seen, and does not pass the beginning
//!   of the boot after it. Without a boot before it, its first batch ends at that beginning, or
//!   at the moment it was logged.
//!
//! - An offset learnt while the gateway's clock was untrusted is corrected by how far the wall
//!   clock moved against the monotonic one until it was trusted in that start. One of a start that
//!   never had trust places nothing once a later start is trusted: its boot is bounded then.
//!
//! At most [`BOOTS_MAX`] boots are remembered, as many as the session keeps open.

pub mod trust;
mod wall;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::Incarnation;

pub use wall::{Moment, Wall};

use crate::record::ClockQuality;
use crate::time::{SECOND_US, Timestamp};

/// Boots remembered of a device; the one unseen longest is forgotten for a ninth.
pub const BOOTS_MAX: usize = 8;
/// Largest correction of a learnt offset that is slewed: above it a stepped clock is the likelier
/// cause, and at a tenth of the uptime 10 s take 100 s to settle.
pub const STEP_US: i64 = 10 * SECOND_US;
/// Slewing changes an offset by at most one part in this of the uptime that passed.
const SLEW: u64 = 10;

/// 2000-01-01T00:00:00Z: no earlier time is plausible.
pub const EARLIEST_US: i64 = 946_684_800 * SECOND_US;
/// 9999-12-01: no later time can be written as RFC 3339, whatever the gateway's clock says.
const LATEST_US: i64 = 253_399_622_400 * SECOND_US;
/// How far a device's clock may be ahead of the gateway's.
const AHEAD_US: i64 = 86_400 * SECOND_US;

/// The latest plausible event time of a frame logged at `at`.
pub fn latest_plausible_us(at: &Timestamp) -> i64 {
    if at.wall_trusted {
        at.wall_us.saturating_add(AHEAD_US).min(LATEST_US)
    } else {
        LATEST_US
    }
}

/// The clocks of one device's boots.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Least recently used first.
    boots: Vec<Boot>,
    /// The boot of the last batch mapped.
    current: Option<(Incarnation, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    incarnation: Incarnation,
    number: u32,
    own_us: Option<i64>,
    learnt: Option<Learnt>,
    bounded: Option<Bounded>,
    /// How the last batch was mapped.
    applied: Option<Applied>,
    /// Latest event time given out that did not hang on an untrusted clock.
    latest_us: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Learnt {
    offset_us: i64,
    /// When, if the gateway's clock was not to be trusted then.
    doubted: Option<Moment>,
}

impl Boot {
    /// Where the boot begins, as far as that is known from a clock to be trusted.
    fn begins_us(&self) -> Option<i64> {
        let learnt = self.learnt.filter(|learnt| learnt.doubted.is_none());
        self.own_us.or(learnt.map(|learnt| learnt.offset_us))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bounded {
    offset_us: i64,
    ceiling_us: i64,
    /// Whether the gateway's clock was to be trusted, or not needed.
    trusted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    uptime_us: u64,
    offset_us: i64,
    learnt: bool,
}

impl Learnt {
    fn correct(&mut self, wall: &Wall) {
        let base_us = |moment: &Moment| wall.base_us(moment.start);
        if let Some((moment, base_us)) = self.doubted.and_then(|one| Some((one, base_us(&one)?))) {
            let moved_us = base_us.saturating_sub(moment.base_us());
            self.offset_us = self.offset_us.saturating_add(moved_us);
            self.doubted = None;
        }
    }

    /// Whether it may place a frame logged at a time: nothing doubtful where that is trusted.
    fn is_usable(&self, at: &Timestamp) -> bool {
        self.doubted.is_none() || !at.wall_trusted
    }
}

/// How one batch's uptimes become UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// How well the times are known.
    pub quality: ClockQuality,
    /// Whether this boot's clock was set back by more than lateness since its last batch.
    pub stepped_back: bool,
    /// Whether the last batch was of another boot (or there was none).
    pub other_boot: bool,
    offset_us: i64,
    /// What is left to correct, from `from_us` on.
    correction_us: i64,
    from_us: u64,
    ceiling_us: i64,
    learnt: bool,
}

impl Mapping {
    /// UTC in µs at an uptime; never decreasing in it.
    pub fn event_us(&self, uptime_us: u64) -> i64 {
        let utc = i128::from(uptime_us) + i128::from(self.offset_at(uptime_us));
        let utc = utc.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        utc.min(self.ceiling_us)
    }

    fn offset_at(&self, uptime_us: u64) -> i64 {
        if self.correction_us == 0 {
            return self.offset_us;
        }
        let most = (uptime_us.saturating_sub(self.from_us) / SLEW) as i64;
        let part = self.correction_us.clamp(most.saturating_neg(), most);
        self.offset_us.saturating_add(part)
    }
}

impl Clocks {
    /// A Hello opened a boot.
    pub fn open(&mut self, incarnation: Incarnation, boot: u32) {
        self.touch(incarnation, boot);
    }

    /// A device's own clock reading: UTC `utc_us` at uptime `uptime_us`.
    pub fn read_own(&mut self, incarnation: Incarnation, boot: u32, uptime_us: u64, utc_us: i64) {
        let offset = i128::from(utc_us) - i128::from(uptime_us);
        let offset = offset.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        self.touch(incarnation, boot).own_us = Some(offset);
    }

    /// A live exchange's offset, learnt at `moment`.
    pub fn learn(
        &mut self,
        incarnation: Incarnation,
        boot: u32,
        offset_us: i64,
        moment: &Moment,
        wall: &Wall,
    ) {
        let mut learnt = Learnt {
            offset_us,
            doubted: None,
        };
        if !moment.at.wall_trusted {
            let lifted = wall.lifted(moment);
            let by_us = lifted.base_us().saturating_sub(moment.base_us());
            learnt.offset_us = offset_us.saturating_add(by_us);
            learnt.doubted = Some(lifted);
        }
        learnt.correct(wall);
        self.touch(incarnation, boot).learnt = Some(learnt);
    }

    /// The gateway's clock became known: corrects what was learnt in its start before.
    pub fn correct(&mut self, wall: &Wall) {
        for learnt in self.boots.iter_mut().filter_map(|one| one.learnt.as_mut()) {
            learnt.correct(wall);
        }
    }

    /// How well the times of the last batch mapped are known, as far as is known now.
    pub fn quality(&self) -> Option<ClockQuality> {
        let current = self.current?;
        let mut boots = self.boots.iter();
        let boot = boots.find(|one| (one.incarnation, one.number) == current)?;
        let applied = boot.applied?;
        let learnt = boot.learnt.filter(|_| applied.learnt);
        Some(match (boot.own_us, learnt, boot.bounded) {
            (Some(_), ..) => ClockQuality::Device,
            (None, Some(learnt), _) if learnt.doubted.is_none() => ClockQuality::Learnt,
            (None, None, Some(bounded)) if bounded.trusted => ClockQuality::Bounded,
            (None, ..) => ClockQuality::Untrusted,
        })
    }

    /// Whether a boot's time hangs on the gateway's clock: it has no clock of its own, no offset
    /// learnt from a trusted one, and no later boot that bounds it.
    pub fn needs_wall(&self, incarnation: Incarnation, boot: u32) -> bool {
        let same = |one: &&Boot| one.incarnation == incarnation && one.number >= boot;
        let known = self
            .boots
            .iter()
            .filter(same)
            .any(|one| one.begins_us().is_some());
        !known
    }

    /// How to map a batch of a boot that was logged at `at` (as well as that is known) and is
    /// complete until an uptime.
    pub fn map(
        &mut self,
        incarnation: Incarnation,
        boot: u32,
        base_us: u64,
        complete_until_us: u64,
        at: &Timestamp,
        lateness_us: i64,
    ) -> Mapping {
        let other_boot = self.current != Some((incarnation, boot));
        let bounded = self.bounds(incarnation, boot, complete_until_us, at);
        let one = self.touch(incarnation, boot);
        let mut mapping = Mapping {
            quality: ClockQuality::Device,
            stepped_back: false,
            other_boot,
            offset_us: 0,
            correction_us: 0,
            from_us: 0,
            ceiling_us: i64::MAX,
            learnt: false,
        };
        if let Some(own_us) = one.own_us {
            mapping.offset_us = own_us;
        } else if let Some(learnt) = one.learnt.filter(|learnt| learnt.is_usable(at)) {
            mapping.quality = if learnt.doubted.is_none() {
                ClockQuality::Learnt
            } else {
                ClockQuality::Untrusted
            };
            mapping.learnt = true;
            mapping.offset_us = learnt.offset_us;
            if let Some(applied) = one.applied.filter(|applied| applied.learnt) {
                let correction = learnt.offset_us.saturating_sub(applied.offset_us);
                if correction.saturating_abs() <= STEP_US.max(lateness_us) {
                    mapping.offset_us = applied.offset_us;
                    mapping.correction_us = correction;
                    mapping.from_us = applied.uptime_us;
                }
            }
        } else {
            let bounded = *one.bounded.get_or_insert(bounded);
            mapping.quality = if bounded.trusted {
                ClockQuality::Bounded
            } else {
                ClockQuality::Untrusted
            };
            mapping.offset_us = bounded.offset_us;
            mapping.ceiling_us = bounded.ceiling_us;
        }
        if let Some(applied) = one.applied
            && mapping.correction_us == 0
        {
            let back = applied.offset_us.saturating_sub(mapping.offset_at(base_us));
            mapping.stepped_back = back > lateness_us;
        }
        mapping
    }

    /// Remembers that a batch was mapped, up to an uptime whose event time is plausible.
    pub fn settle(
        &mut self,
        incarnation: Incarnation,
        boot: u32,
        mapping: &Mapping,
        uptime_us: u64,
    ) {
        self.current = Some((incarnation, boot));
        let event_us = mapping.event_us(uptime_us);
        let one = self.touch(incarnation, boot);
        one.applied = Some(Applied {
            uptime_us,
            offset_us: mapping.offset_at(uptime_us),
            learnt: mapping.learnt,
        });
        // What a doubtful clock said bounds no other boot.
        if mapping.quality != ClockQuality::Untrusted {
            one.latest_us = one.latest_us.max(Some(event_us));
        }
    }

    /// Where a boot lies that was never seen live.
    fn bounds(
        &self,
        incarnation: Incarnation,
        boot: u32,
        complete_until_us: u64,
        at: &Timestamp,
    ) -> Bounded {
        let same = |one: &&Boot| one.incarnation == incarnation;
        let after = self.boots.iter().filter(same);
        let after = after.filter(|one| one.number > boot);
        let begins = after
            .filter_map(|one| Some((one.number, one.begins_us()?)))
            .min();
        let before = self.boots.iter().filter(same);
        let before = before.filter(|one| one.number < boot);
        let ended = before
            .filter_map(|one| Some((one.number, one.latest_us?)))
            .max();
        let trusted = begins.is_some() || at.wall_trusted;
        let ceiling_us = begins.map_or(at.wall_us, |(_, utc_us)| utc_us);
        let offset_us = match ended {
            Some((_, utc_us)) => utc_us,
            None => ceiling_us.saturating_sub_unsigned(complete_until_us),
        };
        // A ceiling that is not to be trusted would press all samples into one moment.
        let ceiling_us = if trusted || ended.is_none() {
            ceiling_us.max(offset_us)
        } else {
            i64::MAX
        };
        Bounded {
            offset_us,
            ceiling_us,
            trusted,
        }
    }

    /// The boot, moved to the end of the list.
    fn touch(&mut self, incarnation: Incarnation, boot: u32) -> &mut Boot {
        let is_it = |one: &Boot| (one.incarnation, one.number) == (incarnation, boot);
        let one = match self.boots.iter().position(is_it) {
            Some(at) => self.boots.remove(at),
            None => Boot {
                incarnation,
                number: boot,
                own_us: None,
                learnt: None,
                bounded: None,
                applied: None,
                latest_us: None,
            },
        };
        if self.boots.len() >= BOOTS_MAX {
            self.boots.remove(0);
        }
        self.boots.push(one);
        let last = self.boots.len() - 1;
        &mut self.boots[last]
    }
}

#[cfg(test)]
mod tests;
