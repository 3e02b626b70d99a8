//! Closing: windows that close because time passed, not because a watermark did.
//!
//! | close | due, in arrival time | windows |
//! |---|---|---|
//! | idle | lateness (and a session's gap, a door's patience) + `hold_ms` after the latest of: newest frame, link up, subscribed, backlog gone | kept for revisions |
//! | offline | `offline_close` after the latest of: link down, newest frame | kept for revisions |
//! | ended | at once, with the frame that says so | kept for revisions |
//! | expired | `revise_for` after the first early close | forgotten, final |
//!
//! An early close does not move the watermark, and emits only windows with fresh samples: a
//! revision comes at the next early close or when the watermark passes, never per sample. An idle
//! device is one whose link is up, without backlog and without frames waiting,
//! while the gateway is subscribed. A window of a number of samples waits for them, and is closed
//! early only when the device says that it ended; if the rule drops what comes behind, later
//! samples begin another.

use tidegate_shared::mutation::{Mutation, is_on};

use super::device::{Device, Open, Scene};
use super::emission::{Cause, Stage};
use super::lane::Closing;
use super::plan::Plan;
use crate::clock::Moment;
use crate::entry::{Limits, LinkChange};

/// Longest time that a device is taken to hold samples: as long as the device library does. One
/// that says more would keep windows open.
const HOLD_US_MAX: i64 = 3_600 * 1_000_000;

impl Device {
    /// The link said something, at a moment.
    pub fn link(&mut self, scene: &Scene<'_>, change: &LinkChange, moment: &Moment) {
        let now_us = scene.now_us;
        match *change {
            LinkChange::Opened {
                incarnation,
                boot,
                hold_ms,
                ..
            } => {
                self.clocks.open(incarnation, boot);
                self.books.opened((incarnation, boot), now_us);
                self.link.hold_us = (i64::from(hold_ms) * 1_000).min(HOLD_US_MAX);
                self.come_up(now_us);
            }
            LinkChange::Floor {
                incarnation,
                floor,
                acked,
                held,
            } => {
                self.floor(incarnation, floor, acked);
                self.books.floor(incarnation, floor, held);
            }
            LinkChange::Offset {
                incarnation,
                boot,
                offset_us,
            } => self
                .clocks
                .learn(incarnation, boot, offset_us, moment, scene.wall),
            LinkChange::Backlog(backlog) => {
                if self.link.backlog && !backlog {
                    self.link.quiet_us = now_us;
                }
                self.link.backlog = backlog;
            }
            LinkChange::Up(true) => self.come_up(now_us),
            LinkChange::Up(false) => {
                self.link.down_us.get_or_insert(now_us);
            }
            // The gateway's own; never a device's.
            LinkChange::Subscribed(_) => {}
        }
    }

    fn come_up(&mut self, now_us: i64) {
        if self.link.down_us.take().is_some() {
            self.link.up_us = now_us;
        }
    }

    /// When a close is due, in arrival time. `subscribed_us` is since when the gateway is.
    pub fn deadline_us(&self, subscribed_us: Option<i64>, limits: &Limits) -> Option<i64> {
        let early = EarlyClose::of(self, subscribed_us, limits);
        let audible_us = self.audible_us(subscribed_us);
        let lanes = self.sensors.iter().flat_map(|sensor| &sensor.lanes);
        let due = lanes.filter_map(|lane| {
            let plan = &self.plans[usize::from(lane.plan)];
            let open = Open::Lane(lane);
            let silent_us = audible_us.and_then(|since_us| lane.silent_at_us(plan, since_us));
            let times = [
                early.due_us(&open, plan),
                expires_us(&open, limits),
                silent_us,
            ];
            times.into_iter().flatten().min()
        });
        let shared = self.shared.iter().filter_map(|shared| {
            let plan = &self.plans[usize::from(shared.plan)];
            let open = Open::Shared(&shared.windows);
            let times = [early.due_us(&open, plan), expires_us(&open, limits)];
            times.into_iter().flatten().min()
        });
        due.chain(shared).min()
    }

    /// Does the closes that are due.
    pub fn fire(&mut self, scene: &mut Scene<'_>, subscribed_us: Option<i64>) {
        let limits = *scene.limits;
        let now_us = scene.now_us;
        let early = EarlyClose::of(self, subscribed_us, &limits);
        self.fall_silent(scene, subscribed_us);
        let is_due = |due_us: &i64| *due_us <= now_us;
        if is_on(Mutation::IdlenessMovesWatermark) {
            self.close_and_move(scene, &early);
        }
        self.close(scene, Closing::Early(now_us), |plan, open| {
            early.due_us(open, plan).filter(is_due).map(Cause::Timer)
        });
        let until_us = now_us.saturating_sub(limits.revise_for_us);
        self.close(scene, Closing::Expired(until_us), |_, open| {
            expires_us(open, &limits).filter(is_due).map(Cause::Timer)
        });
        self.forget_retired();
    }

    /// The fault [`Mutation::IdlenessMovesWatermark`]: what closes for idleness becomes final.
    fn close_and_move(&mut self, scene: &Scene<'_>, early: &EarlyClose) {
        let lanes = self.sensors.iter().flat_map(|sensor| &sensor.lanes);
        let ends = lanes.filter_map(|lane| {
            let plan = &self.plans[usize::from(lane.plan)];
            early
                .due_us(&Open::Lane(lane), plan)
                .filter(|due_us| *due_us <= scene.now_us)?;
            Some(lane.last_end_us()?.saturating_add(plan.lateness_us()))
        });
        self.watermark_us = self.watermark_us.max(ends.max());
    }

    /// From when on samples of the device can be heard, in arrival time, if they can: the gateway
    /// is subscribed, and none are known to be under way.
    fn audible_us(&self, subscribed_us: Option<i64>) -> Option<i64> {
        let link = &self.link;
        if link.down_us.is_none() && link.backlog || !self.waiting.is_empty() {
            return None;
        }
        Some(subscribed_us?.max(link.quiet_us))
    }

    /// Tells of the sensors that are silent now.
    fn fall_silent(&mut self, scene: &mut Scene<'_>, subscribed_us: Option<i64>) {
        let Some(since_us) = self.audible_us(subscribed_us) else {
            return;
        };
        let source = scene.source(self.epoch);
        for sensor in &mut self.sensors {
            let meta = &sensor.meta;
            for lane in &mut sensor.lanes {
                let plan = &self.plans[usize::from(lane.plan)];
                let due_us = lane.silent_at_us(plan, since_us);
                let Some(due_us) = due_us.filter(|due_us| *due_us <= scene.now_us) else {
                    continue;
                };
                let stage = Stage {
                    source: &source,
                    cause: Cause::Timer(due_us),
                    watermark_us: self.watermark_us,
                };
                lane.fall_silent(plan, &mut |told| {
                    scene.emission.told(&stage, meta, plan, told);
                });
            }
        }
    }

    /// Closes every window at once: the device said that it ended.
    pub fn close_early(&mut self, scene: &mut Scene<'_>) {
        let now_us = scene.now_us;
        self.close(scene, Closing::Early(now_us), |_, _| Some(Cause::Entry));
    }
}

/// What makes a device's windows close early.
#[derive(Debug, Clone, Copy)]
enum EarlyClose {
    /// Nothing at present.
    Not,
    /// Idle: this arrival time and a rule's lateness.
    Idle(i64),
    /// Offline: this arrival time.
    Offline(i64),
}

impl EarlyClose {
    fn of(device: &Device, subscribed_us: Option<i64>, limits: &Limits) -> Self {
        let link = &device.link;
        if let Some(down_us) = link.down_us {
            let since_us = down_us.max(link.frame_us);
            return Self::Offline(since_us.saturating_add(limits.offline_close_us));
        }
        let Some(subscribed_us) = subscribed_us else {
            return Self::Not;
        };
        if link.backlog || !device.waiting.is_empty() {
            return Self::Not;
        }
        let since_us = link.frame_us.max(link.up_us).max(link.quiet_us);
        Self::Idle(since_us.max(subscribed_us).saturating_add(link.hold_us))
    }

    fn due_us(self, open: &Open<'_>, plan: &Plan) -> Option<i64> {
        let window = plan.rule.window.as_ref();
        let would_emit = match open {
            Open::Lane(lane) => lane.is_open(window),
            Open::Shared(windows) => window.is_some_and(|window| windows.has_changed(window)),
        };
        if !would_emit {
            return None;
        }
        match self {
            Self::Not => None,
            Self::Idle(since_us) => Some(since_us.saturating_add(plan.patience_us())),
            Self::Offline(due_us) => Some(due_us),
        }
    }
}

fn expires_us(open: &Open<'_>, limits: &Limits) -> Option<i64> {
    let closed_us = match open {
        Open::Lane(lane) => lane.closed_us(),
        Open::Shared(windows) => windows.closed_us(),
    };
    Some(closed_us?.saturating_add(limits.revise_for_us))
}
