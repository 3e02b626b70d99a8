//! The story: what happens in the golden log.
//!
//! Three devices: `pump-1` has a clock of its own, `pump-2` has none, `meter` sends before its
//! catalog is there. Values come from a small generator with a fixed seed.

use std::collections::BTreeMap;

use tidegate_gateway::entry::{Entry, Limits, LinkChange, Logged, Uncounted, Verdict};
use tidegate_gateway::rules::{Late, Match, Rule, Window};
use tidegate_shared::catalog::{Kind, Scale, SensorInfo};
use tidegate_shared::ids::Mark;
use tidegate_shared::message::{Counts, EventCode};

use crate::script::{BEGIN_US, S, Samples, Script};

/// Draws that are the same everywhere.
struct Draws(u64);

impl Draws {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn sensor(name: &str, unit: &'static str, kind: Kind, exponent: i8) -> SensorInfo<'static> {
    SensorInfo {
        id: name.try_into().expect("the story's names are valid"),
        unit,
        kind,
        scale: Scale::decimal(exponent),
        urgent: false,
        tags: heapless::Vec::new(),
    }
}

fn pump_sensors() -> Vec<SensorInfo<'static>> {
    vec![
        sensor("temperature", "°C", Kind::Gauge, -1),
        sensor("pressure", "bar", Kind::Gauge, -2),
        sensor("running", "", Kind::Bool, 0),
    ]
}

/// The rules of `rules.toml`.
fn rules() -> Vec<Rule> {
    let text = include_str!("rules.toml");
    match tidegate_gateway::rules::parse(text, "rules.toml") {
        Ok((settings, _)) => settings.rules.rules,
        Err(mistakes) => panic!("{}", mistakes[0]),
    }
}

/// The log.
pub fn tell() -> Vec<Logged> {
    let mut story = Story {
        script: Script::new(),
        draws: Draws(7),
    };
    story.begin();
    story.run_quietly();
    story.lose_and_reject();
    story.go_offline_and_come_back();
    story.change_rules();
    story.set_clocks();
    story.wait_for_a_catalog();
    story.begin_epochs();
    story.restart_under_another_incarnation();
    story.end();
    story.script.log
}

struct Story {
    script: Script,
    draws: Draws,
}

impl Story {
    /// Samples of one sensor every `step_s` seconds, around a middle.
    fn samples(
        &mut self,
        sensor: u16,
        from_s: u64,
        count: u64,
        step_s: u64,
        middle: i64,
    ) -> Samples {
        let draws = &mut self.draws;
        let values = (0..count).map(|one| {
            let jitter = draws.below(S / 4);
            let value = middle + draws.below(60) as i64 - 30;
            ((from_s + one * step_s) * S + jitter, value)
        });
        Samples {
            sensor,
            values: values.collect(),
            bad: Vec::new(),
        }
    }

    /// A pump's batch over some seconds of uptime.
    fn pump(&mut self, from_s: u64, seconds: u64) {
        let temperature = self.samples(0, from_s, seconds, 1, 215);
        let pressure = self.samples(1, from_s, seconds / 2, 2, 380);
        let running = Samples {
            sensor: 2,
            values: vec![(from_s * S, self.draws.below(2) as i64)],
            bad: Vec::new(),
        };
        let complete = (from_s + seconds) * S;
        self.script
            .batch(complete, &[temperature, pressure, running]);
    }

    fn begin(&mut self) {
        let script = &mut self.script;
        script.start(1);
        script.rules(&rules());
        script.push(Entry::Limits(Limits {
            pending_catalog_max: 5,
            revise_for_us: 1_800 * 1_000_000,
            ..Limits::default()
        }));
        script.subscribed(true);
        for device in ["pump-1", "pump-2"] {
            script.speak(device);
            script.open(device == "pump-1");
            let catalog = script.describe(&pump_sensors());
            script.catalog(&catalog, 2);
        }
        script.speak("pump-1");
        script.clock(0, BEGIN_US);
        script.speak("pump-2");
        script.offset(BEGIN_US + 2_000);
    }

    fn run_quietly(&mut self) {
        for batch in 0..16 {
            for device in ["pump-1", "pump-2"] {
                self.script.speak(device);
                self.pump(batch * 20, 20);
                self.script.pass(10 * S);
            }
            if batch == 7 {
                let counts = Counts {
                    taken: 160,
                    suppressed: 3,
                    failed: 1,
                    evicted: 0,
                };
                self.script.totals(&[counts; 3]);
            }
        }
    }

    fn lose_and_reject(&mut self) {
        self.script.speak("pump-1");
        self.script.gap(3, 2);
        let mut temperature = self.samples(0, 340, 30, 1, 215);
        temperature.bad = vec![3, 4, 29];
        // Beyond any sum of 64 bits, and beyond `keep`.
        temperature.values[7].1 = i64::MAX;
        temperature.values[8].1 = i64::MIN;
        temperature.values[9].1 = i64::MAX;
        self.script.batch(370 * S, &[temperature]);
        self.script.raw(vec![1, 2, 3], Verdict::Next);
        self.script
            .frame(|writer| (0..12).try_for_each(|_| writer.byte(0xff)));
        // Behind the watermark: late; then more samples in one window than are kept exactly.
        let late = self.samples(0, 10, 5, 1, 215);
        self.script.batch(370 * S, &[late]);
        for part in 0..8 {
            let dense = Samples {
                sensor: 1,
                values: (0..50)
                    .map(|one| {
                        let at = (380 * S) + (part * 50 + one) * 40_000;
                        (at, 300 + self.draws.below(5_000) as i64)
                    })
                    .collect(),
                bad: Vec::new(),
            };
            self.script.batch(370 * S, &[dense]);
        }
        self.script.push(Entry::Tally {
            device: None,
            counts: BTreeMap::from([(Uncounted::Trailer, 4)]),
        });
        self.script.pass(60 * S);
        self.pump(400, 30);
    }

    fn go_offline_and_come_back(&mut self) {
        self.script.speak("pump-1");
        self.script.link(LinkChange::Up(false));
        self.script.pass(901 * S);
        self.script.push(Entry::Tick);
        self.script.link(LinkChange::Up(true));
        self.script.link(LinkChange::Backlog(true));
        self.pump(425, 15);
        self.script.link(LinkChange::Backlog(false));
        self.script.pass(45 * S);
        self.script.push(Entry::Tick);
        let standing = *self.script.standing();
        let floor = Mark {
            boot: standing.mark.boot,
            sequence: standing.mark.sequence,
        };
        let acked = Mark {
            sequence: standing.mark.sequence - 2,
            ..floor
        };
        self.script.link(LinkChange::Floor {
            incarnation: standing.incarnation,
            floor,
            acked,
            held: 2,
        });
        self.pump(440, 80);
    }

    fn change_rules(&mut self) {
        let mut changed = rules();
        changed.retain(|rule| rule.name != "kept" && rule.name != "hot");
        let half_us = 30 * 1_000_000;
        changed[0].window = Some(Window::tumbling(half_us, half_us / 2, Late::Revise));
        changed.push(Rule {
            name: "raw".into(),
            matching: Match::names("pump-2", "pressure"),
            forward: vec!["cloud".into()],
            ..Rule::default()
        });
        self.script.rules(&changed);
        for batch in 0..6 {
            for device in ["pump-1", "pump-2"] {
                self.script.speak(device);
                let from_s = if device == "pump-1" { 520 } else { 320 };
                self.pump(from_s + batch * 20, 20);
                self.script.pass(10 * S);
            }
            if batch == 3 {
                self.script.rules(&rules());
            }
        }
        self.script.push(Entry::Decision {
            kind: "none".into(),
            text: "{}".into(),
        });
        self.script.checkpoint(3);
    }

    fn set_clocks(&mut self) {
        self.script.speak("pump-2");
        // Slewed, then taken at once, then learnt while nobody trusts the gateway's clock.
        self.script.offset(BEGIN_US + 4_000_000);
        self.pump(440, 20);
        self.pump(460, 20);
        let before_us = self.script.at.wall_us;
        self.script.at.wall_us += 3_600 * 1_000_000;
        self.script.push(Entry::ClockStep {
            before_us,
            after_us: self.script.at.wall_us,
        });
        self.script.offset(BEGIN_US + 3_604_000_000);
        self.pump(480, 20);
        self.script.at.wall_trusted = false;
        self.script.offset(BEGIN_US + 3_604_500_000);
        self.pump(500, 20);
        // A start whose clock stays doubtful: what needs it waits, and is marked when that was
        // long enough.
        self.script.start(1);
        self.script.boot(None);
        self.script.open(false);
        self.script.offset(BEGIN_US + 3_604_700_000);
        self.pump(5, 30);
        self.script.pass(660 * S);
        self.script.push(Entry::Tick);
        self.pump(700, 30);
        self.script.at.wall_trusted = true;
        // A boot that is never seen live lies between its neighbours.
        self.script.boot(None);
        self.pump(1, 30);
        self.script.boot(None);
        self.script.open(false);
        self.script.offset(BEGIN_US + 3_604_000_000 + 700_000_000);
        self.pump(5, 30);
        // Ahead of every clock by more than a day.
        self.script.speak("pump-1");
        self.script.clock(640 * S, BEGIN_US + 9 * 86_400_000_000);
        self.pump(641, 10);
        self.script.clock(651 * S, BEGIN_US + 651_000_000);
        self.pump(652, 20);
    }

    fn wait_for_a_catalog(&mut self) {
        self.script.speak("meter");
        self.script.open(true);
        let catalog = self
            .script
            .describe(&[sensor("energy", "kWh", Kind::Counter, -3)]);
        for batch in 0..3 {
            let energy = self.samples(0, batch * 30, 6, 5, 1_000 + batch as i64 * 100);
            self.script.batch((batch + 1) * 30 * S, &[energy]);
            self.script.pass(30 * S);
        }
        self.script.clock(0, BEGIN_US);
        self.script.catalog(&catalog, 1);
        self.script.describe(&[sensor("lost", "", Kind::Gauge, 0)]);
        for batch in 3..11 {
            let energy = self.samples(0, batch * 30, 2, 5, 1_000);
            self.script.batch((batch + 1) * 30 * S, &[energy]);
        }
        let hash = self.script.standing().catalog;
        self.script.event(EventCode::NoSuchCatalog { hash });
        let other_unit = self
            .script
            .describe(&[sensor("energy", "MJ", Kind::Counter, -2)]);
        self.script.catalog(&other_unit, 1);
        for batch in 11..14 {
            let energy = self.samples(0, batch * 30, 6, 5, 9_000);
            self.script.batch((batch + 1) * 30 * S, &[energy]);
            self.script.pass(30 * S);
        }
    }

    fn begin_epochs(&mut self) {
        self.script.speak("pump-1");
        // Set back by more than lateness.
        self.script.clock(680 * S, BEGIN_US + 300_000_000);
        self.pump(681, 40);
        self.script.boot(Some(0xfeed));
        self.script.open(true);
        self.script.clock(0, BEGIN_US + 350_000_000);
        self.pump(0, 40);
        let mut stale = self.script.log.iter().rev();
        let stale = stale.find_map(|logged| match &logged.entry {
            Entry::Frame(frame) if frame.device.as_str() == "pump-1" => Some(frame.bytes.clone()),
            _ => None,
        });
        self.script
            .raw(stale.unwrap_or_default(), Verdict::StaleBoot);
    }

    fn restart_under_another_incarnation(&mut self) {
        self.script.pass(300 * S);
        self.script.start(1);
        self.script.subscribed(true);
        self.script.speak("pump-1");
        self.pump(40, 60);
        self.script.pass(100 * S);
        self.script.push(Entry::Tick);
        self.script.start(2);
        self.script.subscribed(true);
        for batch in 0..4 {
            self.pump(100 + batch * 30, 30);
            self.script.pass(30 * S);
        }
    }

    fn end(&mut self) {
        self.script.event(EventCode::Ended);
        self.script.pass(2_000 * S);
        self.script.push(Entry::Tick);
        self.script.speak("pump-2");
        self.script.link(LinkChange::Up(false));
        self.script.pass(3_000 * S);
        self.script.push(Entry::Tick);
        self.script.pass(90_000 * S);
        self.script.push(Entry::Tick);
    }
}
