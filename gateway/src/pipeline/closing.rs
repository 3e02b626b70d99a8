//! Closing: windows that close because time passed, not because a watermark did.
//!
//! | close | due, in arrival time | windows |
//! |---|---|---|
//! | idle | lateness + `hold_ms` after the latest of: newest frame, link up, subscribed, backlog gone | kept for revisions |
//! | offline | `offline_close` after the latest of: link down, newest frame | kept for revisions |
//! | ended | at once, with the frame that says so | kept for revisions |
//! | expired | `revise_for` after the first early close | forgotten, final |
//!
//! An early close does not move the watermark, and emits only windows with fresh samples: a
//! revision comes at the next early close or when the watermark passes, never per sample. An idle
//! device is one whose link is up, without backlog and without frames waiting,
//! while the gateway is subscribed.

use tidegate_shared::mutation::{Mutation, is_on};

use super::device::{Device, Scene};
use super::emission::Cause;
use super::lane::Lane;
use super::plan::Plan;
use crate::clock::Moment;
use crate::entry::{Limits, LinkChange};

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
                self.link.hold_us = i64::from(hold_ms) * 1_000;
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
        let lanes = self.sensors.iter().flat_map(|sensor| &sensor.lanes);
        let due = lanes.filter_map(|lane| {
            let plan = &self.plans[usize::from(lane.plan)];
            let early_us = early.due_us(lane, plan);
            let expires_us = expires_us(lane, limits);
            early_us.into_iter().chain(expires_us).min()
        });
        due.min()
    }

    /// Does the closes that are due.
    pub fn fire(&mut self, scene: &mut Scene<'_>, subscribed_us: Option<i64>) {
        let early = EarlyClose::of(self, subscribed_us, scene.limits);
        let source = scene.source(self.epoch);
        let now_us = scene.now_us;
        for sensor in &mut self.sensors {
            let meta = &sensor.meta;
            for lane in &mut sensor.lanes {
                let plan = &self.plans[usize::from(lane.plan)];
                if let Some(due_us) = early.due_us(lane, plan).filter(|due_us| *due_us <= now_us) {
                    let cause = Cause::Timer(due_us);
                    lane.close_early(now_us, &mut |window| {
                        scene.emission.window(&source, cause, meta, plan, window);
                        if is_on(Mutation::IdlenessMovesWatermark) {
                            let length_us = plan.window().map_or(0, |(length_us, ..)| length_us);
                            let passed_us = window.start_us + length_us + plan.lateness_us();
                            self.watermark_us = self.watermark_us.max(Some(passed_us));
                        }
                    });
                }
                if let Some(due_us) =
                    expires_us(lane, scene.limits).filter(|due_us| *due_us <= now_us)
                {
                    let cause = Cause::Timer(due_us);
                    let until_us = now_us.saturating_sub(scene.limits.revise_for_us);
                    lane.expire(plan, until_us, &mut |window| {
                        scene.emission.window(&source, cause, meta, plan, window);
                    });
                }
            }
        }
        self.forget_retired();
    }

    /// Closes every window at once: the device said that it ended.
    pub fn close_early(&mut self, scene: &mut Scene<'_>) {
        let source = scene.source(self.epoch);
        for sensor in &mut self.sensors {
            let meta = &sensor.meta;
            for lane in &mut sensor.lanes {
                let plan = &self.plans[usize::from(lane.plan)];
                lane.close_early(scene.now_us, &mut |window| {
                    scene
                        .emission
                        .window(&source, Cause::Entry, meta, plan, window);
                });
            }
        }
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

    fn due_us(self, lane: &Lane, plan: &Plan) -> Option<i64> {
        if !lane.has_fresh() {
            return None;
        }
        match self {
            Self::Not => None,
            Self::Idle(since_us) => Some(since_us.saturating_add(plan.lateness_us())),
            Self::Offline(due_us) => Some(due_us),
        }
    }
}

fn expires_us(lane: &Lane, limits: &Limits) -> Option<i64> {
    let closed_us = lane.closed_us()?;
    Some(closed_us.saturating_add(limits.revise_for_us))
}
