//! Turns: how devices that come back with full outboxes are paced, so that they do not flood.
//!
//! # Terms
//! - *awaited*: frames that a device announced and that have not come. A device that awaits
//!   nothing is live and is never paced.
//! - *turn*: the right to a full window, for [`TURN_WINDOWS`] windows of frames. Its *reserve* is
//!   the bytes of one window; the reserves of all turns stay within the *budget*.
//! - *pause*: without a turn a device is asked to wait until its *slot*, and to try one frame
//!   then. That frame is taken like any other, so a try is never wasted.
//!
//! ```text
//!            room, slot reached                         frames used up and somebody waits
//!  announced ──────────────────▶ turn: full window ──────────────────────────▶ pause
//!      │ no room                   │ all came, or silent for LEASE_US            │
//!      └──▶ pause: window 1,       ▼                                             │
//!           retry_after to slot   live ◀──── all came ◀── one frame, at the slot ┘
//! ```
//!
//! # Invariants
//! - What turns reserve is at most twice the budget; the budget is at most what may be pending.
//! - The budget follows the store: it shrinks when a commit took longer than half of a device's
//!   resend wait, grows while commits are quick and somebody waits. So frames are not resent
//!   because the disk is slow.
//! - Slots are given out at the rate at which the budget is served, those of devices with little
//!   apart from those with much, so that the former do not queue behind the latter. Each pause in
//!   a row gives more room, and no pause is longer than [`PAUSE_US_MAX`]: nobody starves.
//! - Everything follows from names and times: no chance, no map in random order.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_shared::ids::DeviceName;

/// Windows of a turn: long enough that the wait for a slot does not matter, short enough that a
/// round over a thousand devices takes a minute at 1 MB/s.
pub const TURN_WINDOWS: u32 = 8;
/// A turn ends when its device was not heard for this long, in µs: twice a device's first resend
/// wait and a commit.
pub const LEASE_US: u64 = 10_000_000;
/// Longest pause, in µs.
pub const PAUSE_US_MAX: u64 = 30_000_000;
/// Shortest pause, in µs: a commit or so.
pub const PAUSE_US_MIN: u64 = 500_000;
/// Least budget, in bytes: what fills a commit batch.
pub const BUDGET_BYTES_MIN: u64 = 64 << 10;
/// First budget, in bytes: a second of a slow flash card.
pub const BUDGET_BYTES_FIRST: u64 = 512 << 10;
/// A frame that became durable after this long makes the budget shrink, in µs: half of the 4 s
/// after which a device resends.
pub const SLOW_US: u64 = 2_000_000;
/// Frames that became durable within this let it grow, in µs: the default `commit_ms` and half.
pub const QUICK_US: u64 = 1_500_000;
/// Pauses are spread by up to this, in µs.
const SPREAD_US: u64 = 1_000_000;
/// Pauses in a row that still give more room, a quarter of the budget each.
const PATIENCE: u32 = 4;
const SECOND_US: u64 = 1_000_000;

/// What a device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    /// Frames in flight.
    pub window: u16,
    /// How long it waits first, in ms.
    pub retry_after_ms: u32,
}

/// What a device asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Frames it announced that have not come.
    pub awaited: u32,
    /// Bytes of its longest frame so far.
    pub frame_bytes: u64,
    /// The window it gets in its turn.
    pub window: u16,
}

impl Ask {
    fn reserve(&self) -> u64 {
        u64::from(self.awaited.min(u32::from(self.window))) * self.frame_bytes
    }

    /// What fits a window is over with the next ack.
    fn is_little(&self) -> bool {
        self.awaited <= u32::from(self.window)
    }

    fn turn_bytes(&self) -> u64 {
        let turn = TURN_WINDOWS * u32::from(self.window);
        u64::from(self.awaited.min(turn)) * self.frame_bytes
    }
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    reserve: u64,
    frames_left: u32,
    /// Ends when not heard until then, monotonic µs.
    until_us: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until_us: u64,
    /// Pauses in a row.
    count: u32,
}

/// How the return of devices is paced, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Devices that have a turn.
    pub turns: usize,
    /// Devices that were asked to wait and have not all sent.
    pub paused: usize,
    /// Bytes that turns may have in flight.
    pub budget_bytes: u64,
    /// Pauses asked for since the gateway's start.
    pub pauses: u64,
}

/// Turns and pauses of all devices: at most one of either for each admitted device.
#[derive(Debug)]
pub(super) struct Turns {
    budget: u64,
    budget_max: u64,
    reserved: u64,
    holders: BTreeMap<DeviceName, Turn>,
    leases: BTreeSet<(u64, DeviceName)>,
    pauses: BTreeMap<DeviceName, Pause>,
    /// The next free slot of devices with little, and of those with much.
    slots_us: [u64; 2],
    /// End of the latest pause.
    paused_through_us: u64,
    /// When the budget last changed.
    changed_at_us: u64,
    asked: u64,
}

impl Turns {
    pub fn new(pending_bytes_max: usize) -> Self {
        let budget_max = (pending_bytes_max as u64).max(1);
        Self {
            budget: BUDGET_BYTES_FIRST.min(budget_max),
            budget_max,
            reserved: 0,
            holders: BTreeMap::new(),
            leases: BTreeSet::new(),
            pauses: BTreeMap::new(),
            slots_us: [0; 2],
            paused_through_us: 0,
            changed_at_us: 0,
            asked: 0,
        }
    }

    pub fn pacing(&self) -> Pacing {
        Pacing {
            turns: self.holders.len(),
            paused: self.pauses.len(),
            budget_bytes: self.budget,
            pauses: self.asked,
        }
    }

    /// Gives everybody a turn at once, to see what comes of it.
    #[cfg(test)]
    pub fn lift(&mut self) {
        self.budget = u64::MAX / 8;
        self.budget_max = self.budget;
        self.changed_at_us = u64::MAX;
    }

    /// What a device may do now. Asked again at once, the answer is the same.
    pub fn grant(&mut self, now_us: u64, device: &DeviceName, ask: Ask) -> Grant {
        let full = Grant {
            window: ask.window,
            retry_after_ms: 0,
        };
        if ask.awaited == 0 {
            self.end_turn(device);
            self.pauses.remove(device);
            return full;
        }
        if let Some(turn) = self.holders.get(device) {
            if turn.frames_left == 0 && self.somebody_waits(now_us) {
                self.end_turn(device);
                return self.pause(now_us, device, ask);
            }
            self.renew(now_us, device, ask);
            return full;
        }
        if let Some(pause) = self.pauses.get(device)
            && pause.until_us > now_us
        {
            return wait(pause.until_us - now_us);
        }
        self.end_silent(now_us);
        if self.has_room(device, ask) {
            self.pauses.remove(device);
            self.begin(now_us, device, ask);
            full
        } else {
            self.pause(now_us, device, ask)
        }
    }

    /// A frame of the device was taken.
    pub fn took(&mut self, device: &DeviceName) {
        if let Some(turn) = self.holders.get_mut(device) {
            turn.frames_left = turn.frames_left.saturating_sub(1);
        }
    }

    /// The oldest frame of a commit was appended at `since_us` and is durable now. A commit of
    /// what was appended before the last change says nothing about that.
    pub fn committed(&mut self, now_us: u64, since_us: u64) {
        if since_us < self.changed_at_us {
            return;
        }
        let took_us = now_us.saturating_sub(since_us);
        let budget = if took_us > SLOW_US {
            self.budget / 4 * 3
        } else if took_us <= QUICK_US && self.somebody_waits(now_us) {
            self.budget + self.budget / 4
        } else {
            return;
        };
        self.budget = budget
            .max(BUDGET_BYTES_MIN.min(self.budget_max))
            .min(self.budget_max);
        self.changed_at_us = now_us;
    }

    fn somebody_waits(&self, now_us: u64) -> bool {
        self.paused_through_us > now_us
    }

    /// Whether a turn fits: within the budget; with more room for who has little or waited.
    fn has_room(&self, device: &DeviceName, ask: Ask) -> bool {
        let count = self.pauses.get(device).map_or(0, |pause| pause.count);
        let quarters = if ask.is_little() {
            PATIENCE
        } else {
            count.min(PATIENCE)
        };
        let room = (self.budget + self.budget / 4 * u64::from(quarters)).min(self.budget_max);
        // One device always has room, however long its frames.
        self.holders.is_empty() || self.reserved + ask.reserve() <= room
    }

    fn begin(&mut self, now_us: u64, device: &DeviceName, ask: Ask) {
        let turn = Turn {
            reserve: ask.reserve(),
            frames_left: TURN_WINDOWS * u32::from(ask.window),
            until_us: now_us.saturating_add(LEASE_US),
        };
        self.reserved += turn.reserve;
        self.leases.insert((turn.until_us, device.clone()));
        self.holders.insert(device.clone(), turn);
    }

    fn renew(&mut self, now_us: u64, device: &DeviceName, ask: Ask) {
        let left = self.holders.get(device).map_or(0, |turn| turn.frames_left);
        self.end_turn(device);
        self.begin(now_us, device, ask);
        if left > 0
            && let Some(turn) = self.holders.get_mut(device)
        {
            turn.frames_left = left;
        }
    }

    fn end_turn(&mut self, device: &DeviceName) {
        if let Some(turn) = self.holders.remove(device) {
            self.reserved -= turn.reserve;
            self.leases.remove(&(turn.until_us, device.clone()));
        }
    }

    /// Ends the turns of devices that were not heard.
    fn end_silent(&mut self, now_us: u64) {
        while let Some((until_us, device)) = self.leases.first().cloned()
            && until_us <= now_us
        {
            self.end_turn(&device);
        }
    }

    /// Gives a slot behind those given out.
    fn pause(&mut self, now_us: u64, device: &DeviceName, ask: Ask) -> Grant {
        let before = self.pauses.get(device).map_or(0, |pause| pause.count);
        let count = before.saturating_add(1);
        let queue = usize::from(!ask.is_little());
        let gap_us = ask.turn_bytes().saturating_mul(SECOND_US) / self.budget;
        let slot_us = self.slots_us[queue].max(now_us.saturating_add(PAUSE_US_MIN));
        let lot = lot(device, count);
        let until_us = if slot_us - now_us + SPREAD_US > PAUSE_US_MAX {
            // Beyond, a place in the queue says nothing: the device asks again, some time.
            now_us + PAUSE_US_MAX - lot % (PAUSE_US_MAX / 2)
        } else {
            self.slots_us[queue] = slot_us.saturating_add(gap_us);
            slot_us + lot % SPREAD_US
        };
        self.pauses
            .insert(device.clone(), Pause { until_us, count });
        self.paused_through_us = self.paused_through_us.max(until_us);
        self.asked += 1;
        wait(until_us - now_us)
    }
}

/// One frame, after so many µs.
fn wait(us: u64) -> Grant {
    Grant {
        window: 1,
        retry_after_ms: u32::try_from(us.div_ceil(1_000)).unwrap_or(u32::MAX),
    }
}

/// A number from a device's name, another one for each count: FNV-1a (Fowler, Noll, Vo), its
/// halves mixed.
pub(super) fn lot(device: &DeviceName, count: u32) -> u64 {
    let bytes = device.as_str().bytes().chain(count.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> DeviceName {
        DeviceName::try_from(format!("dev-{number}").as_str()).unwrap()
    }

    fn ask(awaited: u32) -> Ask {
        Ask {
            awaited,
            frame_bytes: 1_024,
            window: 7,
        }
    }

    /// Devices that have a turn after `count` asked.
    fn crowd(turns: &mut Turns, count: usize) -> usize {
        for number in 0..count {
            turns.grant(0, &name(number), ask(500));
        }
        turns.holders.len()
    }

    #[test]
    fn turns_stay_within_the_budget_and_the_others_wait_for_a_slot_of_their_own() {
        let mut turns = Turns::new(4 << 20);
        assert_eq!(crowd(&mut turns, 1_000), 73);
        assert!(turns.reserved <= turns.budget);
        let mut waits: Vec<u64> = turns.pauses.values().map(|pause| pause.until_us).collect();
        waits.sort_unstable();
        let busiest = waits
            .windows(100)
            .map(|hundred| hundred[99] - hundred[0])
            .min()
            .unwrap();
        assert!(busiest > SECOND_US, "100 within {busiest} µs");
        assert!(waits.iter().all(|wait| *wait <= PAUSE_US_MAX));
    }

    #[test]
    fn asking_again_changes_nothing() {
        let mut turns = Turns::new(64 << 10);
        crowd(&mut turns, 20);
        let before = (turns.reserved, turns.asked, turns.slots_us);
        let first = turns.grant(1_000, &name(19), ask(500));
        assert_eq!(turns.grant(1_000, &name(19), ask(500)), first);
        assert_eq!((turns.reserved, turns.asked, turns.slots_us), before);
        assert!(first.retry_after_ms > 0 && first.window == 1);
    }

    #[test]
    fn who_is_live_is_not_paced() {
        let mut turns = Turns::new(64 << 10);
        crowd(&mut turns, 20);
        let grant = turns.grant(0, &name(99), ask(0));
        assert_eq!((grant.window, grant.retry_after_ms), (7, 0));
    }

    #[test]
    fn who_has_little_does_not_queue_behind_who_has_much() {
        let mut turns = Turns::new(4 << 20);
        crowd(&mut turns, 1_000);
        let grant = turns.grant(0, &name(2_000), ask(3));
        assert_eq!(grant.retry_after_ms, 0, "there is room kept for it");
        for number in 2_000..2_400 {
            turns.grant(0, &name(number), ask(3));
        }
        let last = turns.grant(0, &name(2_400), ask(3));
        assert!((500..6_000).contains(&last.retry_after_ms), "{last:?}");
    }

    #[test]
    fn a_turn_ends_when_it_is_used_up_and_somebody_waits() {
        let mut turns = Turns::new(64 << 10);
        let first = crowd(&mut turns, 9);
        assert_eq!(first, 9);
        for _ in 0..56 {
            turns.took(&name(0));
        }
        let alone = turns.grant(1, &name(0), ask(400));
        assert_eq!(alone.retry_after_ms, 0, "nobody waits");
        crowd(&mut turns, 10);
        for _ in 0..56 {
            turns.took(&name(0));
        }
        let used_up = turns.grant(2, &name(0), ask(400));
        assert!(used_up.retry_after_ms >= 500);
        let slot = turns.pauses[&name(9)].until_us;
        assert_eq!(turns.grant(slot, &name(9), ask(500)).window, 7);
        assert_eq!(turns.grant(slot, &name(1), ask(0)).window, 7);
        assert_eq!(turns.holders.len(), 8);
    }

    #[test]
    fn a_silent_device_loses_its_turn() {
        let mut turns = Turns::new(64 << 10);
        crowd(&mut turns, 10);
        let at_us = LEASE_US.max(turns.pauses[&name(9)].until_us);
        assert_eq!(turns.grant(at_us, &name(9), ask(500)).window, 7);
        assert_eq!(turns.holders.len(), 1);
        assert_eq!(turns.reserved, 7 * 1_024);
    }

    #[test]
    fn the_budget_follows_the_store() {
        let mut turns = Turns::new(4 << 20);
        turns.committed(1_000_000, 0);
        assert_eq!(turns.budget, BUDGET_BYTES_FIRST, "nobody waits");
        crowd(&mut turns, 1_000);
        turns.committed(1_000_000, 0);
        assert_eq!(turns.budget, BUDGET_BYTES_FIRST / 4 * 5);
        turns.committed(2_000_000, 999_999);
        assert_eq!(
            turns.budget,
            BUDGET_BYTES_FIRST / 4 * 5,
            "appended before the change"
        );
        for number in 0..100_u64 {
            let at_us = 10_000_000 * (number + 1);
            turns.committed(at_us + SLOW_US + 1, at_us);
        }
        assert_eq!(turns.budget, BUDGET_BYTES_MIN);
    }
}
