//! Lanes: one rule on one sensor: its gate, its outlet and its counts.
//!
//! ```text
//! sample ─▶ gate ─▶ windows (its own, or shared by the sensors of a device)
//!                 ├▶ watch: an alert
//!                 ├▶ door: a swinging door, which lets some pass
//!                 └▶ passes: a record of its own
//! ```
//! Invariant: `matched = filtered + late + examined + folded + open`, where open are the fresh
//! samples of the windows held, and the one that a door holds. A window of an earlier version that
//! shares its samples with the version in force counts none of them.

mod counts;

use serde::{Deserialize, Serialize};

pub(super) use self::counts::LaneCounts;
use super::accumulator::{Measure, needs_timeline};
use super::door::{Door, Swung};
use super::gate::{AsOf, Gate, band};
use super::plan::{Output, Plan};
use super::program::{Constants, Program};
use super::sensor::Meta;
use super::watch::{Opened, Transition, Watch};
use super::windows::{Asked, Held, Taken, Windows};
use crate::record::ClockQuality;
use crate::record::id::SampleIdentity;
use crate::rules::{Aggregate, Group, Thinning, Window};

/// A usable sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Event time, UTC in µs.
    pub time_us: i64,
    pub raw: i64,
    /// Block of its frame: index in the catalog.
    pub block: u16,
    /// Place in its block.
    pub index: u16,
}

/// What holds for all samples of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tide {
    /// The watermark before the frame.
    pub watermark_us: Option<i64>,
    pub clock: ClockQuality,
    /// Windows that start up to here lost samples with a damaged store.
    pub partial_until_us: Option<i64>,
    /// Arrival time.
    pub now_us: i64,
    /// The gateway's wall clock when the frame was logged.
    pub arrived_us: i64,
    /// The frame: incarnation, boot and sequence.
    pub frame: (u32, u32, u32),
}

impl Tide {
    /// A sample's place on the wire.
    pub fn identity(&self, sample: &Sample) -> SampleIdentity {
        let (incarnation, boot, sequence) = self.frame;
        SampleIdentity {
            incarnation,
            boot,
            sequence,
            block: sample.block,
            index: sample.index,
            time_us: sample.time_us,
        }
    }
}

/// A sample that a rule lets pass as a record of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Passed {
    pub identity: SampleIdentity,
    /// In the output's scale.
    pub raw: i64,
    pub clock: ClockQuality,
}

/// What a lane has to tell.
#[derive(Debug)]
pub(super) enum Told<'a> {
    Passed(Passed),
    Alert(Transition),
    /// A window that closes, and the conditions of its shares of time.
    Window(&'a mut Held, &'a [Program]),
}

/// What a lane is given beside its samples.
pub(super) struct Folding<'a> {
    pub plan: &'a Plan,
    pub meta: &'a Meta,
    pub tide: &'a Tide,
    pub as_of: AsOf<'a>,
    /// The sensor's place in the device.
    pub slot: u16,
    /// Whether samples count here: not in windows of an earlier version that shares them.
    pub counts: bool,
    /// Whether windows open: not of an earlier version.
    pub opens: bool,
}

/// How windows close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// The watermark is here: what it passed is final.
    Passed(Option<i64>),
    /// At this arrival time, for now.
    Early(i64),
    /// Those closed early up to this arrival time are final.
    Expired(i64),
    /// All of them are final: the epoch ends.
    All,
}

/// One rule on one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lane {
    /// Index of its plan among the device's.
    pub plan: u16,
    gate: Gate,
    outlet: Outlet,
    pub counts: LaneCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Outlet {
    Passes,
    Windows {
        windows: Windows,
        #[serde(skip)]
        shares: Box<[Program]>,
    },
    /// The windows are the device's.
    Shared {
        #[serde(skip)]
        shares: Box<[Program]>,
    },
    Door(Box<Door>),
    Watch(Box<Watch>),
}

impl Lane {
    /// A lane without windows.
    pub fn new(at: u16, plan: &Plan, meta: &Meta, constants: &Constants<'_>) -> Self {
        let mut lane = Self {
            plan: at,
            gate: Gate::new(plan, meta, constants),
            outlet: Outlet::of(plan, meta, constants),
            counts: LaneCounts::default(),
        };
        lane.bind(plan, meta, constants);
        lane
    }

    /// Binds the rule's expressions, which the stored state does not hold.
    pub fn bind(&mut self, plan: &Plan, meta: &Meta, constants: &Constants<'_>) {
        self.gate.bind(plan, meta, constants);
        match (&mut self.outlet, &plan.rule.alert) {
            (Outlet::Windows { shares, .. } | Outlet::Shared { shares }, _) => {
                *shares = shares_of(&plan.rule.aggregates, constants);
            }
            (Outlet::Watch(watch), Some(alert)) => watch.bind(alert, constants),
            _ => {}
        }
    }

    /// Takes another description of the sensor, in an epoch that just began.
    pub fn describe(&mut self, plan: &Plan, meta: &Meta, constants: &Constants<'_>) {
        self.gate = Gate::new(plan, meta, constants);
        if let Outlet::Door(_) = self.outlet {
            self.outlet = Outlet::of(plan, meta, constants);
        }
        self.bind(plan, meta, constants);
    }

    /// Begins an epoch: nothing came before, nothing is final.
    pub fn begin_epoch(&mut self) {
        self.gate.begin_epoch();
        match &mut self.outlet {
            Outlet::Windows { windows, .. } => windows.begin_epoch(),
            Outlet::Door(door) => door.begin_epoch(),
            Outlet::Watch(watch) => watch.begin_epoch(),
            Outlet::Passes | Outlet::Shared { .. } => {}
        }
    }

    /// The output raw that passed the gate last, where a deadband asks for it.
    pub fn last_kept(&self) -> Option<i64> {
        self.gate.last()
    }

    /// Whether windows of its own are held.
    pub fn has_windows(&self) -> bool {
        matches!(&self.outlet, Outlet::Windows { windows, .. } if !windows.is_empty())
    }

    /// Whether its windows are the device's.
    pub fn is_shared(&self) -> bool {
        matches!(self.outlet, Outlet::Shared { .. })
    }

    /// Samples of its own that were taken and not emitted.
    pub fn open_samples(&self) -> u64 {
        match &self.outlet {
            Outlet::Windows { windows, .. } => windows.open_samples(None),
            Outlet::Door(door) => u64::from(door.holds()),
            _ => 0,
        }
    }

    /// Whether an early close would emit something.
    pub fn is_open(&self, window: Option<&Window>) -> bool {
        match (&self.outlet, window) {
            (Outlet::Windows { windows, .. }, Some(window)) => windows.has_changed(window),
            (Outlet::Door(door), _) => door.holds(),
            _ => false,
        }
    }

    /// Arrival time of the earliest early close of a window still held.
    pub fn closed_us(&self) -> Option<i64> {
        match &self.outlet {
            Outlet::Windows { windows, .. } => windows.closed_us(),
            _ => None,
        }
    }

    /// Below which event time all its records have been told, when its watermark is here.
    pub fn told_us(&self, plan: &Plan, watermark_us: Option<i64>) -> Option<i64> {
        let watermark_us = watermark_us?;
        match (&self.outlet, &plan.rule.window) {
            (Outlet::Windows { windows, .. }, Some(window)) => {
                Some(windows.told_us(window, watermark_us))
            }
            (Outlet::Door(door), _) => Some(door.told_us(watermark_us)),
            _ => Some(watermark_us),
        }
    }

    /// When the last window of its own ends.
    pub fn last_end_us(&self) -> Option<i64> {
        match &self.outlet {
            Outlet::Windows { windows, .. } => windows.last_end_us(),
            _ => None,
        }
    }

    /// Whether a window of its own covers a time.
    pub fn covers(&self, window: &Window, time_us: i64) -> bool {
        matches!(&self.outlet, Outlet::Windows { windows, .. } if windows.covers(window, time_us))
    }

    /// Its alerts that are open.
    pub fn open_alerts(&self) -> impl Iterator<Item = Opened> + use<> {
        let opened = match &self.outlet {
            Outlet::Watch(watch) => watch.opened(),
            _ => [None, None],
        };
        opened.into_iter().flatten()
    }

    /// The raw that its alert saw last.
    pub fn watched(&self) -> Option<i64> {
        match &self.outlet {
            Outlet::Watch(watch) => watch.newest_raw(),
            _ => None,
        }
    }

    /// When the sensor counts as silent, in arrival time, where the rule asks for it; `since_us`
    /// is from when on it can be heard.
    pub fn silent_at_us(&self, plan: &Plan, since_us: i64) -> Option<i64> {
        match (&self.outlet, &plan.rule.alert) {
            (Outlet::Watch(watch), Some(alert)) => watch.silent_at_us(alert, since_us),
            _ => None,
        }
    }

    /// The sensor is silent.
    pub fn fall_silent(&mut self, plan: &Plan, tell: &mut dyn FnMut(Told<'_>)) {
        if let (Outlet::Watch(watch), Some(alert)) = (&mut self.outlet, &plan.rule.alert) {
            watch.fall_silent(alert, &mut |transition| tell(Told::Alert(transition)));
        }
    }

    /// Takes samples, ascending by time.
    pub fn fold(
        &mut self,
        folding: &Folding<'_>,
        samples: &[Sample],
        shared: Option<&mut Windows>,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        if !folding.counts {
            let before = self.counts.clone();
            self.pour(folding, samples, shared, tell);
            self.counts = before;
            return;
        }
        self.counts.matched += samples.len() as u64;
        self.pour(folding, samples, shared, tell);
    }

    fn pour(
        &mut self,
        folding: &Folding<'_>,
        samples: &[Sample],
        shared: Option<&mut Windows>,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        let Folding {
            plan, meta, tide, ..
        } = *folding;
        let Self {
            gate,
            outlet,
            counts,
            ..
        } = self;
        let output = plan.output(meta);
        let column = shared.as_ref().map(|_| folding.slot);
        let (windows, shares) = match (outlet, shared) {
            (Outlet::Windows { windows, shares }, _)
            | (Outlet::Shared { shares }, Some(windows)) => (windows, shares),
            (Outlet::Shared { .. }, None) => return,
            (outlet, _) => {
                return single(folding, gate, outlet, counts, samples, tell);
            }
        };
        let Some(asked) = asked(folding, &output, shares, column) else {
            return;
        };
        if gate.is_plain() && Windows::fixed(asked.window, 0).is_some() {
            let mut late = 0;
            let mut passing = samples.iter().copied().filter(|sample| {
                let kept = gate.passes(sample.raw);
                if let Err(filter) = kept {
                    counts.filter(filter);
                }
                kept.is_ok()
            });
            late += windows.take_all(&mut passing, &asked, tide);
            counts.late += late;
            return;
        }
        let mut passing = Vec::with_capacity(samples.len());
        for sample in samples {
            match gate.take(plan, meta, (sample.time_us, sample.raw), folding.as_of) {
                Ok(passed) => passing.push(Sample {
                    raw: passed.raw,
                    ..*sample
                }),
                Err(filter) => counts.filter(filter),
            }
        }
        if Windows::fixed(asked.window, 0).is_some() {
            counts.late += windows.take_all(passing.into_iter(), &asked, tide);
            return;
        }
        for sample in &passing {
            counts.late += u64::from(windows.take(sample, &asked, tide) == Taken::Late);
        }
    }

    /// Closes what is open; says how many windows were crowded out.
    pub fn close(&mut self, plan: &Plan, closing: Closing, tell: &mut dyn FnMut(Told<'_>)) -> u64 {
        let counts = &mut self.counts;
        match (&mut self.outlet, closing) {
            (Outlet::Windows { windows, shares }, _) => {
                let Some(window) = &plan.rule.window else {
                    return 0;
                };
                close_windows(windows, window, closing, &mut |held| {
                    counts.folded += held.fresh;
                    tell(Told::Window(held, shares));
                })
            }
            (Outlet::Door(door), Closing::Early(_) | Closing::All) => {
                if let Some(passed) = door.release() {
                    counts.folded += 1;
                    tell(Told::Passed(passed));
                }
                0
            }
            _ => 0,
        }
    }

    /// Ends the lane's part that no window finishes: the rule ends in this version.
    pub fn end(&mut self, plan: &Plan, tell: &mut dyn FnMut(Told<'_>)) {
        if let Outlet::Watch(watch) = &mut self.outlet {
            watch.end(&mut |transition| tell(Told::Alert(transition)));
        }
        if let Outlet::Door(_) = self.outlet {
            self.close(plan, Closing::All, tell);
        }
    }

    /// The conditions of the rule's shares of time, bound to the sensor.
    pub fn shares(&self) -> &[Program] {
        match &self.outlet {
            Outlet::Windows { shares, .. } | Outlet::Shared { shares } => shares,
            _ => &[],
        }
    }
}

impl Outlet {
    fn of(plan: &Plan, meta: &Meta, constants: &Constants<'_>) -> Self {
        let rule = &plan.rule;
        let shares = Box::default;
        match (&rule.alert, &rule.window, rule.thin) {
            (Some(alert), ..) => Self::Watch(Box::new(Watch::new(alert, constants))),
            (None, Some(_), _) if rule.group == Group::Device => Self::Shared { shares: shares() },
            (None, Some(_), _) => Self::Windows {
                windows: Windows::new(rule),
                shares: shares(),
            },
            (None, None, Some(Thinning::SwingingDoor { max_error })) => {
                // Of the raws within the error the widest distance: what is below the first that
                // is beyond it.
                let beyond = band(max_error.next_up(), &plan.output(meta).scale);
                let error = i64::try_from(beyond.saturating_sub(1)).unwrap_or(i64::MAX);
                Self::Door(Box::new(Door::new(error)))
            }
            (None, None, _) => Self::Passes,
        }
    }
}

/// Takes samples of a rule without windows.
fn single(
    folding: &Folding<'_>,
    gate: &mut Gate,
    outlet: &mut Outlet,
    counts: &mut LaneCounts,
    samples: &[Sample],
    tell: &mut dyn FnMut(Told<'_>),
) {
    let Folding {
        plan, meta, tide, ..
    } = *folding;
    if let Outlet::Watch(watch) = outlet
        && !samples.is_empty()
    {
        watch.hear(tide.now_us);
    }
    for sample in samples {
        let passed = match gate.take(plan, meta, (sample.time_us, sample.raw), folding.as_of) {
            Ok(passed) => passed,
            Err(filter) => {
                counts.filter(filter);
                continue;
            }
        };
        let one = Passed {
            identity: tide.identity(sample),
            raw: passed.raw,
            clock: tide.clock,
        };
        match outlet {
            Outlet::Watch(watch) => {
                counts.rare.get_or_insert_default().examined += 1;
                if let Some(alert) = &plan.rule.alert {
                    watch.take(alert, sample, &passed, tide, &mut |transition| {
                        tell(Told::Alert(transition));
                    });
                }
            }
            Outlet::Door(door) => match door.take(one, plan.rule.heartbeat_us) {
                Swung::Passes(one) | Swung::Releases(one) => {
                    counts.folded += 1;
                    tell(Told::Passed(one));
                }
                Swung::Holds => {}
                Swung::LeavesOut => counts.thinned += 1,
                Swung::Late => counts.late += 1,
            },
            _ => {
                counts.folded += 1;
                tell(Told::Passed(one));
            }
        }
    }
}

/// Closes windows in a way; says how many were crowded out.
pub(super) fn close_windows(
    windows: &mut Windows,
    window: &Window,
    closing: Closing,
    emit: &mut dyn FnMut(&mut Held),
) -> u64 {
    match closing {
        Closing::Passed(watermark_us) => {
            windows.close_passed(window, watermark_us, emit);
            return windows.crowd_out(emit);
        }
        Closing::Early(now_us) => windows.close_early(now_us, emit),
        Closing::Expired(until_us) => windows.expire(until_us, emit),
        Closing::All => windows.close_all(emit),
    }
    0
}

/// What a rule measures of an output.
pub(super) fn measure<'a>(
    plan: &'a Plan,
    output: &'a Output<'_>,
    shares: &'a [Program],
) -> Measure<'a> {
    Measure {
        scale: &output.scale,
        kind: output.kind,
        hold_us: plan.rule.window.as_ref().map_or(0, |window| window.hold_us),
        shares,
    }
}

fn asked<'a>(
    folding: &Folding<'a>,
    output: &'a Output<'_>,
    shares: &'a [Program],
    column: Option<u16>,
) -> Option<Asked<'a>> {
    let plan = folding.plan;
    Some(Asked {
        window: plan.rule.window.as_ref()?,
        aggregates: &plan.rule.aggregates,
        measure: measure(plan, output, shares),
        timeline: plan.rule.aggregates.iter().any(needs_timeline),
        column,
        counts: folding.counts,
        opens: folding.opens,
    })
}

/// The conditions of a rule's shares of time.
pub(super) fn shares_of(aggregates: &[Aggregate], constants: &Constants<'_>) -> Box<[Program]> {
    let shares = aggregates.iter().filter_map(|one| match one {
        Aggregate::ShareOfTime { condition, .. } => Some(Program::bind(condition, constants)),
        _ => None,
    });
    shares.collect()
}
