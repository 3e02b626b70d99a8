//! Lanes of a device: the rules in force, earlier versions that finish, and how all of them close.

use std::sync::Arc;

use tidegate_shared::mutation::{Mutation, is_on};

use super::{Device, Open, Scene, Shared};
use crate::pipeline::emission::{Cause, Stage};
use crate::pipeline::lane::{Closing, close_windows};
use crate::pipeline::plan::Plan;
use crate::pipeline::sensor::{Meta, Owner};
use crate::pipeline::windows::{Columns, Windows};
use crate::rules::Group;

impl Device {
    /// Puts other rules in force. Windows that are open finish under the version they began with;
    /// what no window finishes (an open alert, a sample that a swinging door holds) ends now.
    pub fn set_rules(&mut self, scene: &mut Scene<'_>, rules: &[Arc<Plan>]) {
        let owner = scene.owner();
        let takes = |plan: &&Arc<Plan>| plan.takes_device(owner.site, owner.device);
        let mut plans: Vec<Arc<Plan>> = rules.iter().filter(takes).cloned().collect();
        let active = plans.len();
        let mut moved: Vec<Option<u16>> = Vec::with_capacity(self.plans.len());
        for old in &self.plans {
            let same = plans[..active]
                .iter()
                .position(|new| new.is_version_of(old));
            let to = same.unwrap_or_else(|| {
                plans.push(Arc::clone(old));
                plans.len() - 1
            });
            moved.push(u16::try_from(to).ok());
        }
        self.end_lanes(scene, |_, at| {
            moved[at].is_none_or(|to| usize::from(to) >= active)
        });
        let goes_on = |at: u16| moved.get(usize::from(at)).copied().flatten();
        for shared in &mut self.shared {
            shared.plan = goes_on(shared.plan).unwrap_or(u16::MAX);
        }
        self.shared.retain(|shared| shared.plan != u16::MAX);
        let held = |at: u16, shared: &[Shared]| {
            let mut windows = shared.iter().filter(|one| one.plan == at);
            windows.any(|one| !one.windows.is_empty())
        };
        for sensor in &mut self.sensors {
            sensor.settle(&self.plans, &plans, &moved);
            sensor.retain(&self.plans, |lane| {
                let to = goes_on(lane.plan);
                let kept = to.filter(|to| {
                    let finishes =
                        lane.has_windows() || lane.is_shared() && held(*to, &self.shared);
                    let finishes = finishes && !is_on(Mutation::WindowsDroppedAtReload);
                    usize::from(*to) < active || finishes
                });
                lane.plan = kept.unwrap_or(lane.plan);
                kept.is_some()
            });
            sensor.bind(&plans[..active], &owner);
        }
        self.plans = plans;
        self.active = active;
        self.share_windows();
        self.forget_retired();
    }

    /// Makes the windows that rules in force share among sensors, where they are missing.
    fn share_windows(&mut self) {
        for (at, plan) in (0_u16..).zip(&self.plans[..self.active]) {
            let is_known = self.shared.iter().any(|one| one.plan == at);
            if plan.rule.group == Group::Device && plan.rule.window.is_some() && !is_known {
                self.shared.push(Shared {
                    plan: at,
                    windows: Windows::new(&plan.rule),
                });
            }
        }
    }

    /// Ends what no window finishes, in some sensors' lanes of some plans.
    pub(super) fn end_lanes(&mut self, scene: &mut Scene<'_>, ends: impl Fn(&Meta, usize) -> bool) {
        let source = scene.source(self.epoch);
        for sensor in &mut self.sensors {
            let meta = &sensor.meta;
            for lane in &mut sensor.lanes {
                let at = usize::from(lane.plan);
                if !ends(meta, at) {
                    continue;
                }
                let plan = &self.plans[at];
                let stage = Stage {
                    source: &source,
                    cause: Cause::Entry,
                    watermark_us: self.watermark_us,
                };
                lane.end(plan, &mut |told| {
                    scene.emission.told(&stage, meta, plan, told);
                });
            }
        }
    }

    /// Closes what is open in the lanes and shared windows of plans that are due; a plan is due
    /// since when `due` says. Says how many windows were crowded out.
    pub fn close(
        &mut self,
        scene: &mut Scene<'_>,
        closing: Closing,
        due: impl Fn(&Plan, &Open<'_>) -> Option<Cause>,
    ) -> u64 {
        let source = scene.source(self.epoch);
        let watermark_us = self.watermark_us;
        let mut crowded_out = 0;
        for sensor in &mut self.sensors {
            let meta = &sensor.meta;
            for lane in &mut sensor.lanes {
                let plan = &self.plans[usize::from(lane.plan)];
                let Some(cause) = due(plan, &Open::Lane(lane)) else {
                    continue;
                };
                let stage = Stage {
                    source: &source,
                    cause,
                    watermark_us,
                };
                crowded_out += lane.close(plan, closing, &mut |told| {
                    scene.emission.told(&stage, meta, plan, told);
                });
            }
        }
        for at in 0..self.shared.len() {
            crowded_out += self.close_shared(scene, at, closing, &due);
        }
        crowded_out
    }

    fn close_shared(
        &mut self,
        scene: &mut Scene<'_>,
        at: usize,
        closing: Closing,
        due: &impl Fn(&Plan, &Open<'_>) -> Option<Cause>,
    ) -> u64 {
        let source = scene.source(self.epoch);
        let Shared { plan: at, windows } = &mut self.shared[at];
        let at = *at;
        let plan = &self.plans[usize::from(at)];
        let (Some(cause), Some(window)) = (due(plan, &Open::Shared(windows)), &plan.rule.window)
        else {
            return 0;
        };
        let stage = Stage {
            source: &source,
            cause,
            watermark_us: self.watermark_us,
        };
        let sensors = &mut self.sensors;
        close_windows(windows, window, closing, &mut |held| {
            let Columns::Many(columns) = &held.columns else {
                return;
            };
            for column in columns {
                let lanes = sensors
                    .get_mut(usize::from(column.sensor))
                    .map(|one| &mut one.lanes);
                let lane = lanes.and_then(|lanes| lanes.iter_mut().find(|lane| lane.plan == at));
                if let Some(lane) = lane {
                    lane.counts.folded += column.fresh;
                }
            }
            scene.emission.group(&stage, sensors, plan, at, held);
        })
    }

    /// Drops earlier versions that have no windows left.
    pub fn forget_retired(&mut self) {
        if self.plans.len() == self.active {
            return;
        }
        let active = self.active;
        let mut held = vec![false; self.plans.len()];
        for shared in &self.shared {
            held[usize::from(shared.plan)] |= !shared.windows.is_empty();
        }
        let is_held = held.clone();
        for sensor in &mut self.sensors {
            sensor.retain(&self.plans, |lane| {
                let at = usize::from(lane.plan);
                let kept = at < active || lane.has_windows() || lane.is_shared() && is_held[at];
                held[at] |= kept;
                kept
            });
        }
        self.shared.retain(|shared| {
            let at = usize::from(shared.plan);
            at < active || held[at]
        });
        let mut moved = vec![0_u16; self.plans.len()];
        let mut plans = Vec::with_capacity(self.plans.len());
        for (at, plan) in self.plans.iter().enumerate() {
            moved[at] = plans.len() as u16;
            if at < active || held[at] {
                plans.push(Arc::clone(plan));
            }
        }
        for lane in self.sensors.iter_mut().flat_map(|one| &mut one.lanes) {
            lane.plan = moved[usize::from(lane.plan)];
        }
        for shared in &mut self.shared {
            shared.plan = moved[usize::from(shared.plan)];
        }
        self.plans = plans;
    }

    /// Binds expressions again, which the stored state does not hold.
    pub fn rebind(&mut self, owner: &Owner<'_>) {
        for sensor in &mut self.sensors {
            sensor.rebind(&self.plans, owner);
        }
    }

    /// Forgets earlier versions with the windows that they have open.
    pub fn forget_earlier(&mut self) {
        let active = self.active;
        for sensor in &mut self.sensors {
            sensor.retain(&self.plans, |lane| usize::from(lane.plan) < active);
        }
        self.shared
            .retain(|shared| usize::from(shared.plan) < active);
        self.plans.truncate(active);
    }
}
