//! Reach of a device: how far its records have come, for rules over records.

use super::Device;
use crate::pipeline::chain::Reach;
use crate::pipeline::plan::Plan;

impl Device {
    /// Whether a rule works on a sensor of the device.
    pub fn is_under(&self, rule: &str) -> bool {
        let mut lanes = self.sensors.iter().flat_map(|sensor| &sensor.lanes);
        lanes.any(|lane| self.plans[usize::from(lane.plan)].rule.name == rule)
    }

    /// How far the records of a rule have come.
    pub fn told(&self, rule: &str, offline_close_us: i64) -> Reach {
        let mut mark = Reach {
            complete_us: self.watermark_us,
            ..Reach::default()
        };
        for lane in self.sensors.iter().flat_map(|sensor| &sensor.lanes) {
            let plan = &self.plans[usize::from(lane.plan)];
            if plan.rule.name != rule {
                continue;
            }
            mark = mark.and(Reach {
                complete_us: lane.told_us(plan, self.watermark_us),
                is_open: lane.is_open(plan.rule.window.as_ref()),
                quiet_us: self.quiet_us(plan, offline_close_us),
            });
        }
        mark
    }

    /// From when on no records of a rule are expected soon, in arrival time.
    fn quiet_us(&self, plan: &Plan, offline_close_us: i64) -> i64 {
        if self.link.ended {
            return self.link.frame_us;
        }
        let quiet_us = self.link.frame_us.saturating_add(self.link.hold_us);
        let quiet_us = quiet_us.saturating_add(plan.patience_us());
        // One whose link is gone is not waited for longer than its own windows are.
        let gone_us = self.link.down_us.map(|down_us| {
            let since_us = down_us.max(self.link.frame_us);
            since_us.saturating_add(offline_close_us)
        });
        gone_us.map_or(quiet_us, |gone_us| gone_us.min(quiet_us))
    }

    /// When rules over this device's records have to look at it next, in arrival time: what they
    /// have open closes when nothing more is expected.
    pub fn next_quiet_us(&self, now_us: i64, offline_close_us: i64) -> Option<i64> {
        let plans = self.plans.iter();
        let quiet = plans.map(|plan| self.quiet_us(plan, offline_close_us));
        quiet.filter(|quiet_us| *quiet_us > now_us).min()
    }
}
