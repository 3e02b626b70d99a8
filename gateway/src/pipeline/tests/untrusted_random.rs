//! Random trust, steps, restarts and reboots: no cut changes a record, nothing waits for ever,
//! nothing is lost, and what was held comes out as if the clock had been right all along.

use proptest::prelude::*;

use super::script::{EPOCH_US, S, Script, rule, site, two_sensors};
use crate::entry::{Entry, Limits, LinkChange};
use crate::pipeline::Pipeline;
use crate::record::to_json;
use crate::time::SECOND_US;

const WAIT_S: u64 = 600;

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    /// Seconds pass.
    Pass(u64),
    /// The wall clock is wrong by so many seconds from now on, and trusted or not.
    Wall(i64, bool),
    /// A live exchange tells the device's offset.
    Exchange,
    /// So many samples, a second apart.
    Batch(u64),
    /// The device says its own time.
    OwnClock,
    /// The device restarts; a Hello opens the boot.
    Reboot,
    /// The gateway restarts, its clock wrong by so many seconds and trusted or not.
    Restart(i64, bool),
    /// Only the time is told.
    Tick,
}

fn act() -> impl Strategy<Value = Act> {
    let wrong = prop::sample::select(vec![0_i64, 0, 1, -30, 86_400, -86_400, 9_000_000]);
    prop_oneof![
        4 => (0_u64..400).prop_map(Act::Pass),
        2 => (wrong.clone(), any::<bool>()).prop_map(|(wrong, trusted)| Act::Wall(wrong, trusted)),
        3 => Just(Act::Exchange),
        6 => (1_u64..40).prop_map(Act::Batch),
        1 => Just(Act::OwnClock),
        1 => Just(Act::Reboot),
        1 => (wrong, any::<bool>()).prop_map(|(wrong, trusted)| Act::Restart(wrong, trusted)),
        2 => Just(Act::Tick),
    ]
}

/// The world around a script.
struct World {
    script: Script,
    /// True time, in s from an hour after [`EPOCH_US`].
    true_s: u64,
    /// When the device's boot began, and until when its samples were sent.
    boot_s: u64,
    sent_s: u64,
    samples: u64,
}

impl World {
    fn new(wrong_s: i64, trusted: bool, subscribed: bool, bytes_max: u64) -> Self {
        let mut script = Script::empty();
        script.log.clear();
        script.start = 0;
        script.at.wall_us += wrong_s * SECOND_US;
        script.at.wall_trusted = trusted;
        script.restart();
        script.rules(&[rule("r", 60, 30)]);
        script.push(Entry::Limits(Limits {
            clock_hold_bytes_max: bytes_max,
            pending_catalog_max: 20,
            ..Limits::default()
        }));
        script.subscribed(subscribed);
        script.open(10_000);
        script.catalog(&two_sensors());
        Self {
            script,
            true_s: 0,
            boot_s: 0,
            sent_s: 0,
            samples: 0,
        }
    }

    fn step(&mut self, wrong_s: i64, trusted: bool) {
        let at = &mut self.script.at;
        let before_us = at.wall_us;
        at.wall_us = EPOCH_US + (3_600 + self.true_s as i64 + wrong_s) * SECOND_US;
        at.wall_trusted = trusted;
        let after_us = at.wall_us;
        self.script.push(Entry::ClockStep {
            before_us,
            after_us,
        });
    }

    fn exchange(&mut self) {
        let uptime_us = ((self.true_s - self.boot_s) * S) as i64;
        let (incarnation, boot) = (self.script.incarnation, self.script.mark.boot);
        let offset_us = self.script.at.wall_us - uptime_us;
        self.script.link(LinkChange::Offset {
            incarnation,
            boot,
            offset_us,
        });
    }

    fn batch(&mut self, samples: u64) {
        let from_s = self
            .sent_s
            .max((self.true_s - self.boot_s).saturating_sub(samples));
        let rows: Vec<_> = (from_s..from_s + samples)
            .map(|at_s| (at_s * S, (at_s % 50) as i64))
            .collect();
        self.sent_s = from_s + samples;
        self.samples += samples;
        self.script.batch(self.sent_s * S, &[(0, &rows)]);
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Pass(seconds) => {
                self.true_s += seconds;
                self.script.pass(seconds * S);
            }
            Act::Wall(wrong_s, trusted) => self.step(wrong_s, trusted),
            Act::Exchange => self.exchange(),
            Act::Batch(samples) => self.batch(samples),
            Act::OwnClock => {
                let uptime_s = self.true_s - self.boot_s;
                let utc_us = EPOCH_US + (3_600 + self.true_s as i64) * SECOND_US;
                self.script.clock(uptime_s * S, utc_us);
            }
            Act::Reboot => {
                self.script.mark.boot += 1;
                self.script.mark.sequence = 0;
                (self.boot_s, self.sent_s) = (self.true_s, 0);
                self.script.open(10_000);
            }
            Act::Restart(wrong_s, trusted) => {
                let at = &mut self.script.at;
                at.wall_us = EPOCH_US + (3_600 + self.true_s as i64 + wrong_s) * SECOND_US;
                at.wall_trusted = trusted;
                self.script.restart();
                self.script.subscribed(true);
            }
            Act::Tick => self.script.tick(),
        }
    }
}

fn world(acts: &[Act], trusted: bool, bytes_max: u64) -> World {
    let mut world = World::new(-500, trusted, true, bytes_max);
    for act in acts {
        world.act(act);
    }
    world
}

proptest! {
    #[test]
    fn no_cut_changes_a_record(
        acts in prop::collection::vec(act(), 1..60),
        cuts in prop::collection::vec(any::<bool>(), 200),
        trusted: bool,
        bytes_max in prop::sample::select(vec![400_u64, 1 << 20]),
    ) {
        let script = world(&acts, trusted, bytes_max).script;
        let whole = script.run();
        let mut pipeline = Pipeline::new(&site());
        let mut emitted = Vec::new();
        for (position, logged) in script.log.iter().enumerate() {
            if cuts[position % cuts.len()] {
                let deadline = pipeline.next_deadline();
                let parts = pipeline.snapshot();
                (pipeline, _) = Pipeline::restore(&site(), &parts);
                prop_assert_eq!(pipeline.next_deadline(), deadline);
                prop_assert_eq!(pipeline.snapshot(), parts);
            }
            pipeline.apply(position as u64, logged, &mut emitted);
        }
        prop_assert_eq!(emitted, whole.emitted);
        prop_assert_eq!(pipeline.counters(), whole.pipeline.counters());
    }

    #[test]
    fn nothing_waits_for_ever_and_nothing_is_lost(
        acts in prop::collection::vec(act(), 1..60),
        trusted: bool,
        bytes_max in prop::sample::select(vec![400_u64, 1 << 20]),
    ) {
        let mut world = world(&acts, trusted, bytes_max);
        world.act(&Act::Pass(WAIT_S));
        world.act(&Act::Tick);
        let mut pipeline = Pipeline::new(&site());
        let mut emitted = Vec::new();
        for (position, logged) in world.script.log.iter().enumerate() {
            pipeline.apply(position as u64, logged, &mut emitted);
            if pipeline.held_frames() > 0 {
                let due_us = pipeline.next_deadline();
                prop_assert!(due_us.is_some_and(|due| due <= logged.at.mono_us + WAIT_S * S));
            }
        }
        prop_assert_eq!(pipeline.held_frames(), 0);
        let counters = pipeline.counters();
        let sensor = &counters.devices["dev"].sensors.get("a");
        let accounted = sensor.map_or(0, |one| one.logged + one.rejected.values().sum::<u64>());
        prop_assert_eq!(accounted, world.samples);
    }

    #[test]
    fn what_was_held_comes_out_as_if_the_clock_had_been_right(
        acts in prop::collection::vec(act(), 1..30),
        wrong_s in prop::sample::select(vec![0_i64, 1, -30, 86_400, -86_400, -1_700_000_000]),
    ) {
        let run = |wrong_s: i64, trusted: bool| {
            let mut world = World::new(wrong_s, trusted, false, 1 << 20);
            world.exchange();
            let mut waited_s = 0;
            for act in &acts {
                match act {
                    Act::Pass(seconds) if waited_s + seconds < WAIT_S => {
                        waited_s += seconds;
                        world.act(act);
                    }
                    Act::Exchange | Act::Batch(_) | Act::OwnClock | Act::Tick => world.act(act),
                    Act::Reboot => {
                        world.act(act);
                        world.exchange();
                    }
                    Act::Pass(_) | Act::Wall(..) | Act::Restart(..) => {}
                }
            }
            let held = world.script.run().pipeline.held_frames();
            world.step(0, true);
            world.batch(1);
            (held, world.script.run())
        };
        let (_, right) = run(0, true);
        let (_, held) = run(wrong_s, false);
        let json = |run: &super::script::Run| -> Vec<String> {
            let mut lines: Vec<_> = run.emitted.iter().map(|one| to_json(&one.record)).collect();
            lines.sort();
            lines
        };
        let not_held = held.pipeline.counters().devices["dev"].frames_not_held;
        if not_held == 0 {
            prop_assert_eq!(json(&held), json(&right));
            prop_assert_eq!(
                &held.pipeline.counters().devices["dev"].sensors,
                &right.pipeline.counters().devices["dev"].sensors
            );
        }
    }
}
