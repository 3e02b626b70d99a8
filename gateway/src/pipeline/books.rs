//! Books: what of a device's samples its Totals have not told, so that what is unknown has a bound.
//!
//! Terms: Totals are an exact *cut* of their boot: every sample they count as taken was
//! suppressed, failed, evicted, or stands in a frame before them; and what is before them in the
//! log is logged, rejected, or in a gap. What is logged *beyond* the newest Totals of its boot was
//! taken as well. A boot is *over* when the device lives in another one, and *unfinished* when it
//! is over and its newest frame is not `Ended`: what it took since its Totals nobody will tell.
//!
//! ```text
//! boot   [batch][batch][gap][batch][Totals][batch] . . . . . . [Hello of the next boot]
//!        └───────── told: an exact cut ──┘ beyond
//!                                         └──── unfinished, at most this long ─────┘
//! ```
//! A batch after the Totals says what was sent, not what failed or was suppressed meanwhile: only
//! Totals shorten what nobody will tell.

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::{Incarnation, Mark};
use tidegate_shared::message::Counts;

use crate::entry::GapEntry;
use crate::ledger::counters::Doubts;

/// An incarnation and a boot of it.
pub(super) type Boot = (Incarnation, u32);

/// Boots of a device whose ends are remembered: twice what the session keeps open. Older ones are
/// only counted, as finished or not.
const BOOTS_MAX: usize = 16;
/// Boots of a sensor whose Totals are kept apart: a device brings its frames boot by boot, so a
/// second one is enough unless two devices share an identity.
const TOTALS_MAX: usize = 4;

/// What is known of one device's boots.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Books {
    /// Oldest first.
    boots: Vec<BootBook>,
    lives: Option<Boot>,
    /// What came before was lost with a damaged store: missing sequences may be its.
    blind: bool,
    /// Frames that the device held and had not brought when it last spoke of them.
    awaited: u64,
    /// Whether Totals taken now tell of every eviction known of the living boot.
    tells: bool,
    /// Boots that nothing was heard of, and when that was, in µs altogether.
    unheard: u64,
    unheard_us: i64,
    doubts: Doubts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BootBook {
    of: Boot,
    through: u32,
    ended: bool,
    /// Arrival time of its newest Totals, or of the first sign of it.
    heard_us: i64,
    /// Arrival time at which the device was known to live in another one.
    over_us: Option<i64>,
}

impl BootBook {
    /// How long it may have taken samples that nobody will tell of.
    fn unfinished_us(&self) -> Option<i64> {
        let over_us = self.over_us.filter(|_| !self.ended)?;
        Some(over_us.saturating_sub(self.heard_us))
    }
}

impl Books {
    /// Of a device whose state was lost with a damaged store.
    pub fn blind() -> Self {
        Self {
            blind: true,
            ..Self::default()
        }
    }

    /// A Hello opened a boot: the others are over.
    pub fn opened(&mut self, of: Boot, now_us: i64) {
        if self.lives != Some(of) {
            self.note_unheard(of, now_us);
            self.lives = Some(of);
            // What the boot before has not told, the Totals of this one do not tell either.
            self.doubts.gone_frames += std::mem::take(&mut self.doubts.untold_frames);
            self.doubts.gone_samples += std::mem::take(&mut self.doubts.untold_samples);
            for one in self.boots.iter_mut().filter(|one| one.of != of) {
                one.over_us.get_or_insert(now_us);
            }
        }
        self.boot(of, now_us).over_us = None;
    }

    /// Boots between the newest known of an incarnation and this one were never heard of.
    fn note_unheard(&mut self, (incarnation, boot): Boot, now_us: i64) {
        let same = self.boots.iter().filter(|one| one.of.0 == incarnation);
        let Some(newest) = same.max_by_key(|one| one.of.1) else {
            return;
        };
        let unheard = boot.saturating_sub(newest.of.1.saturating_add(1));
        if unheard > 0 {
            let us = now_us.saturating_sub(newest.heard_us);
            self.unheard += u64::from(unheard);
            self.unheard_us = self.unheard_us.saturating_add(us);
        }
    }

    /// A frame was logged as the next of its boot. Returns how many before it are missing without
    /// a gap: the log lost them.
    pub fn frame(&mut self, of: Boot, mark: Mark, ended: bool, now_us: i64) -> u64 {
        self.tells = self.awaited == 0;
        self.awaited = self.awaited.saturating_sub(1);
        let lives = self.lives == Some(of);
        let is_known = self.boots.iter().any(|one| one.of == of);
        let blind = self.blind && !is_known;
        if !is_known && !lives {
            // A boot that was not heard of brings its backlog.
            self.unheard = self.unheard.saturating_sub(1);
        }
        let one = self.boot(of, now_us);
        let next = one.through.saturating_add(1);
        let missing = mark.sequence.saturating_sub(next);
        one.through = one.through.max(mark.sequence);
        one.ended = ended;
        if blind { 0 } else { u64::from(missing) }
    }

    /// Sequences will never come; `on_device` of them the device lost, as far as that is known.
    pub fn gap(&mut self, gap: &GapEntry, on_device: u64, now_us: i64) {
        let of = (gap.incarnation, gap.boot);
        if self.lives == Some(of) {
            self.doubts.untold_frames += on_device;
        } else {
            // They may be counted under a later boot, or never.
            self.doubts.gone_frames += on_device;
        }
        if gap.through != u32::MAX {
            let one = self.boot(of, now_us);
            one.through = one.through.max(gap.through);
        }
    }

    /// The device said what it holds.
    pub fn floor(&mut self, incarnation: Incarnation, floor: Mark, held: u32) {
        let boots = self.boots.iter();
        let came = boots
            .filter(|one| one.of.0 == incarnation && one.of.1 >= floor.boot)
            .map(|one| {
                let below = if one.of.1 == floor.boot {
                    floor.sequence.saturating_sub(1)
                } else {
                    0
                };
                u64::from(one.through.saturating_sub(below))
            })
            .sum();
        self.awaited = u64::from(held).saturating_sub(came);
    }

    /// The mark before the first frame of the boot that a device lives in; zeros when it is of
    /// another incarnation.
    pub fn first_of_living(&self, incarnation: Incarnation) -> Mark {
        let boot = match self.lives {
            Some((living, boot)) if living == incarnation => boot,
            _ => 0,
        };
        Mark { boot, sequence: 0 }
    }

    /// Samples of logged frames were evicted; Totals that count them may be still to come.
    pub fn evicted_but_logged(&mut self, samples: u64) {
        self.doubts.untold_samples += samples;
    }

    /// A frame that waited for its catalog is taken now: what it tells is old.
    pub fn is_late(&mut self) {
        self.tells = false;
    }

    /// Totals of the last of a device's sensors were taken.
    pub fn told(&mut self, of: Boot, now_us: i64) {
        // Totals that come late were cut long ago.
        if self.tells && self.lives == Some(of) {
            self.doubts.untold_frames = 0;
            self.doubts.untold_samples = 0;
            self.boot(of, now_us).heard_us = now_us;
        }
    }

    /// What is not known.
    pub fn doubts(&self) -> Doubts {
        let mut doubts = self.doubts;
        doubts.frames_awaited = self.awaited;
        doubts.boots += self.boots.len() as u64 + self.unheard;
        if self.unheard > 0 {
            doubts.boots_unfinished += self.unheard;
            doubts.unfinished_us = doubts.unfinished_us.saturating_add(self.unheard_us);
        }
        for us in self.boots.iter().filter_map(BootBook::unfinished_us) {
            doubts.boots_unfinished += 1;
            doubts.unfinished_us = doubts.unfinished_us.saturating_add(us);
        }
        doubts
    }

    fn boot(&mut self, of: Boot, now_us: i64) -> &mut BootBook {
        let at = self.boots.iter().position(|one| one.of == of);
        let at = at.unwrap_or_else(|| {
            if self.boots.len() >= BOOTS_MAX {
                self.forget_one();
            }
            let over = self.lives.is_some_and(|lives| lives != of);
            self.boots.push(BootBook {
                of,
                through: 0,
                ended: false,
                heard_us: now_us,
                over_us: over.then_some(now_us),
            });
            self.boots.len() - 1
        });
        &mut self.boots[at]
    }

    fn forget_one(&mut self) {
        let lives = self.lives;
        let oldest = self.boots.iter().position(|one| Some(one.of) != lives);
        let gone = self.boots.remove(oldest.unwrap_or(0));
        self.doubts.boots += 1;
        if let Some(us) = gone.unfinished_us() {
            self.doubts.boots_unfinished += 1;
            self.doubts.unfinished_us = self.doubts.unfinished_us.saturating_add(us);
        }
    }
}

/// A sensor's Totals: the latest of each boot, summed over boots, and what came beyond them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TotalCounts {
    /// Oldest first.
    boots: Vec<BootCounts>,
    past: Counts,
    /// Samples logged or rejected that no Totals told of.
    past_beyond: u64,
    told: bool,
    /// Samples that the device counts as evicted though their frames were logged.
    pub evicted_but_logged: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BootCounts {
    of: Boot,
    latest: Counts,
    beyond: u64,
    /// Of frames that overtook others, which wait: these up to a sequence.
    overtaken: (u64, u32),
}

impl TotalCounts {
    /// Takes a boot's cumulative counts, told at a sequence.
    pub fn take(&mut self, of: Boot, sequence: u32, counts: Counts) {
        self.told = true;
        let one = self.boot(of);
        one.latest = counts;
        one.beyond = 0;
        if sequence > one.overtaken.1 {
            one.overtaken = (0, 0);
        }
    }

    /// Samples of a boot were logged or rejected, in the order of their frames.
    pub fn came(&mut self, of: Boot, samples: u64) {
        self.boot(of).beyond += samples;
    }

    /// Samples were rejected before frames that were logged earlier were taken.
    pub fn overtook(&mut self, of: Boot, sequence: u32, samples: u64) {
        let (sum, through) = &mut self.boot(of).overtaken;
        *sum += samples;
        *through = (*through).max(sequence);
    }

    /// Samples were rejected of which no Totals will be taken.
    pub fn came_stale(&mut self, samples: u64) {
        self.past_beyond += samples;
    }

    /// Sum over all boots, unless none was told; saturating, as a device may claim anything.
    pub fn sum(&self) -> Option<Counts> {
        let latest = self.boots.iter().map(|one| &one.latest);
        self.told.then(|| latest.fold(self.past, add))
    }

    /// Samples that came and that no Totals told of.
    pub fn beyond(&self) -> u64 {
        let boots = self.boots.iter();
        let beyond = boots.map(|one| one.beyond + one.overtaken.0);
        self.past_beyond + beyond.sum::<u64>()
    }

    fn boot(&mut self, of: Boot) -> &mut BootCounts {
        let at = self.boots.iter().position(|one| one.of == of);
        let at = at.unwrap_or_else(|| {
            if self.boots.len() >= TOTALS_MAX {
                let gone = self.boots.remove(0);
                self.past = add(self.past, &gone.latest);
                self.past_beyond += gone.beyond + gone.overtaken.0;
            }
            self.boots.reserve_exact(1);
            self.boots.push(BootCounts {
                of,
                latest: Counts::default(),
                beyond: 0,
                overtaken: (0, 0),
            });
            self.boots.len() - 1
        });
        &mut self.boots[at]
    }
}

fn add(sum: Counts, one: &Counts) -> Counts {
    Counts {
        taken: sum.taken.saturating_add(one.taken),
        suppressed: sum.suppressed.saturating_add(one.suppressed),
        failed: sum.failed.saturating_add(one.failed),
        evicted: sum.evicted.saturating_add(one.evicted),
    }
}
