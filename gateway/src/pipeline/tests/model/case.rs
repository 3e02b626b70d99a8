//! Random logs: frames in any order, pauses, restarts, links, epochs and changes of rules.

use proptest::prelude::*;
use tidegate_shared::catalog::{Kind, SensorInfo};
use tidegate_shared::message::EventCode;

use super::rules::{Drawn, Pace, drawn};
use super::{COUNTER, Reading};
use crate::entry::LinkChange;
use crate::pipeline::tests::script::{S, Script, sensor};
use crate::rules::Rule;
use crate::time::SECOND_US;

/// 2023-10-27 10:00 UTC and 2024-03-29 10:00 UTC: two days before Berlin's clocks change.
const BASES_US: [i64; 2] = [1_698_400_800 * SECOND_US, 1_711_706_400 * SECOND_US];

/// What a log entry says, as far as it matters here.
#[derive(Debug, Clone)]
pub enum What {
    Nothing,
    Restarted,
    Rules(Vec<Rule>),
    Subscribed(bool),
    Up(bool),
    /// A frame without samples, of an incarnation.
    Frame(u32),
    Ended(u32),
    Batch(Batch),
}

/// Samples in event time, by sensor in the order of the frame.
#[derive(Debug, Clone)]
pub struct Batch {
    pub incarnation: u32,
    /// Which of two units the second sensor has.
    pub unit: u8,
    pub blocks: Vec<(usize, Vec<Reading>)>,
    pub complete_us: i64,
}

/// What happens next.
#[derive(Debug, Clone)]
pub enum Step {
    Frame(Frame),
    Pause { seconds: u64 },
    Restart,
    Reload(Vec<Drawn>),
    Ended,
    Up(bool),
    Incarnation,
    Unit,
}

/// Where a frame's samples begin, in paces before the newest frame's; the distances and raws of
/// two sensors' samples; how far beyond the first it is complete; the seconds before it.
#[derive(Debug, Clone)]
pub struct Frame {
    back: u64,
    samples: Vec<(u64, i64, bool)>,
    complete: u64,
    pause_s: u64,
}

#[derive(Debug, Clone)]
pub struct Case {
    pub pace: Pace,
    base_us: i64,
    rules: Vec<Drawn>,
    steps: Vec<Step>,
}

/// A log, and for each of its entries the arrival time and what it says.
#[derive(Debug)]
pub struct Played {
    pub script: Script,
    pub whats: Vec<(i64, What)>,
}

fn frame() -> impl Strategy<Value = Frame> {
    let sample = (0_u64..15, -50_i64..50, any::<bool>());
    let samples = prop::collection::vec(sample, 0..25);
    (0_u64..150, samples, 0_u64..200, 0_u64..60).prop_map(|(back, samples, complete, pause_s)| {
        Frame {
            back,
            samples,
            complete,
            pause_s,
        }
    })
}

fn step(pace: Pace) -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => frame().prop_map(Step::Frame),
        2 => (0_u64..400).prop_map(|seconds| Step::Pause { seconds }),
        1 => Just(Step::Pause { seconds: 25 * 3_600 }),
        1 => Just(Step::Restart),
        2 => rules(pace).prop_map(Step::Reload),
        1 => Just(Step::Ended),
        2 => any::<bool>().prop_map(Step::Up),
        1 => Just(Step::Incarnation),
        1 => Just(Step::Unit),
    ]
}

fn rules(pace: Pace) -> impl Strategy<Value = Vec<Drawn>> {
    prop::collection::vec(drawn(pace), 1..4)
}

pub fn case() -> impl Strategy<Value = Case> {
    let paces = prop_oneof![3 => Just(Pace::Minutes), 1 => Just(Pace::Days)];
    let parts = |pace| {
        let steps = prop::collection::vec(step(pace), 1..30);
        (
            Just(pace),
            prop::sample::select(&BASES_US[..]),
            rules(pace),
            steps,
        )
    };
    paces
        .prop_flat_map(parts)
        .prop_map(|(pace, base_us, rules, steps)| Case {
            pace,
            base_us,
            rules,
            steps,
        })
}

fn catalog(unit: u8) -> Vec<SensorInfo<'static>> {
    let unit = if unit == 0 { "" } else { "l" };
    let mut sensors = vec![sensor("a", "bar", -2), sensor("b", unit, -1)];
    sensors[COUNTER].kind = Kind::Counter;
    sensors
}

/// A case in the writing.
struct Play {
    script: Script,
    whats: Vec<(i64, What)>,
    now_us: i64,
    unit: u8,
    base_us: i64,
    pace: Pace,
    /// The frame number, in which time goes on.
    number: u64,
}

impl Case {
    pub fn play(&self) -> Played {
        let mut script = Script::empty();
        script.log.clear();
        script.at.wall_us += 400 * 86_400 * SECOND_US;
        script.start = 0;
        let mut play = Play {
            script,
            whats: Vec::new(),
            now_us: 0,
            unit: 0,
            base_us: self.base_us,
            pace: self.pace,
            number: 0,
        };
        play.add(&What::Restarted, Script::restart);
        play.rules(&self.rules);
        play.add(&What::Subscribed(true), |script| script.subscribed(true));
        play.add(&What::Nothing, |script| script.open(10_000));
        play.introduce();
        for step in &self.steps {
            play.step(step);
        }
        // Whatever is open closes.
        play.step(&Step::Incarnation);
        Played {
            script: play.script,
            whats: play.whats,
        }
    }
}

impl Play {
    fn add(&mut self, what: &What, act: impl FnOnce(&mut Script)) {
        let before = self.script.log.len();
        act(&mut self.script);
        for _ in before..self.script.log.len() {
            self.whats.push((self.now_us, what.clone()));
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.script.pass(seconds * S);
        self.now_us += seconds as i64 * SECOND_US;
    }

    fn rules(&mut self, drawn: &[Drawn]) {
        let rules: Vec<Rule> = drawn
            .iter()
            .enumerate()
            .map(|(at, one)| one.rule(&format!("r{at}")))
            .collect();
        self.add(&What::Rules(rules.clone()), |script| script.rules(&rules));
    }

    fn introduce(&mut self) {
        let incarnation = self.script.incarnation.0;
        let (sensors, base_us) = (catalog(self.unit), self.base_us);
        self.add(&What::Frame(incarnation), |script| script.catalog(&sensors));
        self.add(&What::Frame(incarnation), |script| script.clock(0, base_us));
    }

    fn step(&mut self, step: &Step) {
        let incarnation = self.script.incarnation.0;
        match step {
            Step::Frame(frame) => self.frame(frame),
            Step::Pause { seconds } => {
                self.pass(*seconds);
                self.add(&What::Nothing, Script::tick);
            }
            Step::Restart => {
                self.add(&What::Restarted, Script::restart);
                self.add(&What::Subscribed(true), |script| script.subscribed(true));
            }
            Step::Reload(rules) => self.rules(rules),
            Step::Ended => self.add(&What::Ended(incarnation), |script| {
                script.event(EventCode::Ended);
            }),
            Step::Up(up) => self.add(&What::Up(*up), |script| script.link(LinkChange::Up(*up))),
            Step::Incarnation => {
                self.script.incarnation.0 += 1;
                self.script.mark.sequence = 0;
                self.introduce();
            }
            Step::Unit => {
                self.unit = 1 - self.unit;
                self.introduce();
            }
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.pass(frame.pause_s);
        let pace = self.pace;
        let begin_s = (4 + self.number) * pace.stride_s() - frame.back * pace.stride_s() / 40;
        self.number += 1;
        let mut blocks = [Vec::new(), Vec::new()];
        let mut at_s = begin_s;
        for (apart, raw, second) in &frame.samples {
            at_s += apart * pace.unit_s();
            blocks[usize::from(*second)].push((at_s * S, *raw));
        }
        let whole_s = at_s - begin_s;
        let complete_us = (begin_s + whole_s.min(frame.complete * pace.unit_s())) * S;
        let base_us = self.base_us;
        let utc = |uptime_us: u64| base_us + uptime_us as i64;
        let filled = blocks
            .iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty());
        let batch = Batch {
            incarnation: self.script.incarnation.0,
            unit: self.unit,
            blocks: filled
                .clone()
                .map(|(sensor, rows)| {
                    let samples = rows.iter().map(|(at_us, raw)| (utc(*at_us), *raw));
                    (sensor, samples.collect())
                })
                .collect(),
            complete_us: utc(complete_us),
        };
        let rows: Vec<(u16, &[(u64, i64)])> = filled
            .map(|(sensor, rows)| (sensor as u16, &rows[..]))
            .collect();
        self.add(&What::Batch(batch), |script| {
            script.batch(complete_us, &rows);
        });
    }
}
