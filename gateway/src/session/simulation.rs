//! Simulation: devices over a lossy network and a gateway that is killed at any point.
//!
//! A plan is a list of steps. Devices keep their outbox over a reboot or lose it, evict, resend,
//! and the network loses, doubles and swaps messages; the gateway keeps only what was committed.
//! After the plan the network is healed and every honest device must drain.
//!
//! Checked at every step: what an ack takes off an outbox is in the durable log; no honest device
//! is told of a conflict; the session's marks are the fold of its log. At the end: every identity
//! is logged once; per pair what is logged and what is a gap are contiguous from 1; a snapshot at
//! any point and the entries behind it make the marks of the whole log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use tidegate_shared::frame;
use tidegate_shared::ids::{Check, DeviceName, Incarnation, Mark, Term};
use tidegate_shared::message::{Down, RefusedReason, up};
use tidegate_shared::topic::Topic;

use super::marks::Identity;
use super::tests::{Bench, config, hello, mark, name, progress, sequenced, unsequenced};
use super::*;
use crate::entry::{Logged, Uncounted, Verdict};

const DEVICES: usize = 3;
/// Sends without progress after which a device says Hello again.
const HELLO_AFTER: u32 = 2;

#[derive(Debug, Clone)]
enum Plan {
    Produce(usize),
    Hello(usize),
    Send(usize),
    Evict(usize),
    Reboot(usize),
    Deliver,
    Lose,
    Double,
    Swap,
    Delay,
    Answer,
    LoseAnswer,
    Commit,
    Kill,
    Busy(bool),
    /// The store is an older copy: the newest so many entries are gone.
    Restore(usize),
}

fn plan(restores: bool, reboots: u32) -> impl Strategy<Value = Plan> {
    let device = 0..DEVICES;
    prop_oneof![
        20 => device.clone().prop_map(Plan::Produce),
        2 => device.clone().prop_map(Plan::Hello),
        16 => device.clone().prop_map(Plan::Send),
        4 => device.clone().prop_map(Plan::Evict),
        reboots => device.prop_map(Plan::Reboot),
        30 => Just(Plan::Deliver),
        3 => Just(Plan::Lose),
        3 => Just(Plan::Double),
        2 => Just(Plan::Swap),
        5 => Just(Plan::Delay),
        16 => Just(Plan::Answer),
        2 => Just(Plan::LoseAnswer),
        6 => Just(Plan::Commit),
        1 => Just(Plan::Kill),
        3 => (0..6_u8).prop_map(|draw| Plan::Busy(draw == 0)),
        1 => (0..40_usize).prop_map(move |entries| {
            if restores { Plan::Restore(entries) } else { Plan::Commit }
        }),
    ]
}

/// A frame on a device.
#[derive(Debug, Clone)]
struct Held {
    mark: Mark,
    bytes: Vec<u8>,
    check: Check,
}

#[derive(Debug)]
struct Device {
    name: DeviceName,
    incarnation: Incarnation,
    boot: u32,
    next: u32,
    keeps_outbox: bool,
    outbox: VecDeque<Held>,
    acked: Mark,
    welcome: Option<Term>,
    fruitless: u32,
    uptime_us: u64,
    acked_frames: BTreeSet<Mark>,
}

impl Device {
    fn new(number: usize) -> Self {
        Self {
            name: name(&format!("dev-{number}")),
            incarnation: Incarnation(100 + number as u32),
            boot: 1,
            next: 1,
            keeps_outbox: number != 0,
            outbox: VecDeque::new(),
            acked: mark(0, 0),
            welcome: None,
            fruitless: 0,
            uptime_us: 0,
            acked_frames: BTreeSet::new(),
        }
    }

    fn produce(&mut self) {
        let mark = mark(self.boot, self.next);
        self.next += 1;
        let (bytes, check) = sequenced(self.incarnation, mark, (mark.sequence % 251) as u8);
        self.outbox.push_back(Held { mark, bytes, check });
    }

    fn reboot(&mut self) {
        self.boot += 1;
        self.next = 1;
        self.uptime_us = 0;
        self.welcome = None;
        if !self.keeps_outbox {
            self.outbox.clear();
        }
    }

    fn status(&mut self) -> tidegate_shared::message::Progress {
        self.uptime_us += 1_000;
        let floor = self.outbox.front().map(|held| held.mark);
        let mut said = progress(
            floor.unwrap_or(mark(self.boot, self.next)),
            self.acked,
            self.outbox.len() as u32,
        );
        said.uptime_us = self.uptime_us;
        said
    }

    fn hello(&mut self) -> Vec<u8> {
        let status = self.status();
        unsequenced(self.incarnation, self.boot, up::HELLO, &hello(status))
    }

    /// A Hello until it was welcomed, then a progress and a window of what is held.
    fn send(&mut self) -> Vec<Vec<u8>> {
        if self.welcome.is_none() {
            return vec![self.hello()];
        }
        self.fruitless += 1;
        if self.fruitless > HELLO_AFTER && !self.outbox.is_empty() {
            self.fruitless = 0;
            return vec![self.hello()];
        }
        let status = self.status();
        let mut sent = vec![unsequenced(
            self.incarnation,
            self.boot,
            up::PROGRESS,
            &status,
        )];
        let window = usize::from(WINDOW_DEFAULT);
        sent.extend(
            self.outbox
                .iter()
                .take(window)
                .map(|held| held.bytes.clone()),
        );
        sent
    }

    /// Returns what an ack took off the outbox.
    fn take(&mut self, payload: &[u8]) -> Vec<Held> {
        match Down::read(frame::read(payload).unwrap().body).unwrap() {
            Down::Welcome(welcome) => self.welcome = Some(welcome.term),
            Down::Ack(ack) if Some(ack.term) != self.welcome => self.welcome = None,
            Down::Ack(ack) => {
                let meant = mark(ack.boot, ack.through);
                let holds = self
                    .outbox
                    .iter()
                    .any(|held| held.mark == meant && held.check == ack.check);
                if ack.incarnation != self.incarnation || (ack.check != Check(0) && !holds) {
                    return Vec::new();
                }
                let (gone, kept) = std::mem::take(&mut self.outbox)
                    .into_iter()
                    .partition(|held| held.mark.boot == ack.boot && held.mark <= meant);
                self.outbox = kept;
                let gone: VecDeque<Held> = gone;
                if !gone.is_empty() {
                    self.fruitless = 0;
                }
                self.acked = gone
                    .iter()
                    .map(|held| held.mark)
                    .fold(self.acked, Mark::max);
                return gone.into();
            }
            Down::Refused(refused) => {
                let meant = Mark {
                    boot: refused.boot,
                    sequence: refused.sequence,
                };
                let is_it = |held: &Held| held.mark == meant && held.check == refused.check;
                // Of another term it is ignored: what that gateway knew may be older.
                let holds = self.welcome == Some(refused.term) && self.outbox.iter().any(is_it);
                let is_conflict = refused.reason == RefusedReason::Conflict;
                assert!(!(is_conflict && holds), "an honest device");
            }
            _ => {}
        }
        Vec::new()
    }
}

struct World {
    bench: Bench,
    devices: Vec<Device>,
    up: VecDeque<(usize, Vec<u8>)>,
    down: VecDeque<(usize, Vec<u8>)>,
    terms: u32,
    busy: bool,
    commits: u32,
    counts: Counts,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(config()),
            devices: (0..DEVICES).map(Device::new).collect(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            terms: TERM_FIRST,
            busy: false,
            commits: 0,
            counts: Counts::new(),
        }
    }

    fn step(&mut self, plan: &Plan) {
        self.bench.now.mono_us += 10_000;
        self.bench.now.wall_us += 10_000;
        match *plan {
            Plan::Produce(device) => self.devices[device].produce(),
            Plan::Hello(device) => {
                let hello = self.devices[device].hello();
                self.up.push_back((device, hello));
            }
            Plan::Send(device) => {
                let sent = self.devices[device].send();
                self.up
                    .extend(sent.into_iter().map(|bytes| (device, bytes)));
            }
            Plan::Evict(device) => {
                self.devices[device].outbox.pop_front();
            }
            Plan::Reboot(device) => self.devices[device].reboot(),
            Plan::Deliver => (0..3).for_each(|_| self.deliver()),
            Plan::Delay => {
                if let Some(message) = self.up.pop_front() {
                    self.up.push_back(message);
                }
            }
            Plan::Lose => {
                self.up.pop_front();
            }
            Plan::Double => {
                if let Some(message) = self.up.front().cloned() {
                    self.up.push_back(message);
                }
            }
            Plan::Swap => {
                if self.up.len() > 1 {
                    self.up.swap(0, 1);
                }
            }
            Plan::Answer => (0..3).for_each(|_| self.answer()),
            Plan::LoseAnswer => {
                self.down.pop_front();
            }
            Plan::Commit => self.commit(),
            Plan::Kill => self.kill(),
            Plan::Busy(busy) => {
                self.busy = busy;
                let effects = self.bench.event(Event::StoreBusy(busy));
                self.route(effects);
            }
            Plan::Restore(entries) => {
                let kept = self.bench.log.len().saturating_sub(entries);
                self.bench.log.truncate(kept);
                // What it said of the entries that are gone may not come after this.
                self.down.clear();
                self.kill();
            }
        }
    }

    fn deliver(&mut self) {
        if let Some((device, payload)) = self.up.pop_front() {
            let name = self.devices[device].name.clone();
            let effects = self.bench.receive(name.as_str(), &payload);
            assert!(effects.len() <= EFFECTS_MAX, "{}", effects.len());
            self.route(effects);
        }
    }

    fn commit(&mut self) {
        let effects = self.bench.commit();
        self.route(effects);
        let marks = self.bench.session.marks();
        self.commits += 1;
        if self.commits.is_multiple_of(8) {
            assert_eq!(marks, &self.bench.fold(), "marks are the fold of the log");
        }
        assert_eq!(&self.bench.session.live, marks, "nothing is pending");
        assert_eq!(self.bench.session.pending_bytes, 0);
    }

    fn note_counts(&mut self) {
        let tallies = self.bench.session.tallies();
        for of in tallies.devices().values().chain([tallies.gateway()]) {
            for (reason, count) in of {
                *self.counts.entry(*reason).or_default() += count;
            }
        }
    }

    fn kill(&mut self) {
        self.note_counts();
        self.terms += 1;
        self.busy = false;
        let mut config = config();
        config.term = Term(self.terms);
        config.start = self.terms;
        self.bench.restart(config);
    }

    fn route(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Publish {
                topic: Topic::Down(name),
                payload,
                ..
            } = effect
            {
                let device = self.devices.iter().position(|device| device.name == name);
                self.down.push_back((device.unwrap(), payload));
            }
        }
    }

    fn answer(&mut self) {
        let Some((number, payload)) = self.down.pop_front() else {
            return;
        };
        for held in self.devices[number].take(&payload) {
            let device = &mut self.devices[number];
            assert!(
                is_logged(&self.bench.log, &device.name, device.incarnation, &held),
                "{} was acked and is not in the log",
                held.mark
            );
            device.acked_frames.insert(held.mark);
        }
    }

    /// A perfect network and no more kills: everything held must be acked in bounded time.
    fn drain(&mut self) {
        self.step(&Plan::Busy(false));
        let held: usize = self.devices.iter().map(|device| device.outbox.len()).sum();
        for _ in 0..20 + 4 * held {
            while !self.up.is_empty() {
                self.deliver();
            }
            self.commit();
            while !self.down.is_empty() {
                self.answer();
            }
            for device in 0..DEVICES {
                let is_welcome = self.devices[device].welcome == Some(Term(self.terms));
                self.step(&if is_welcome {
                    Plan::Send(device)
                } else {
                    Plan::Hello(device)
                });
            }
        }
        for device in &self.devices {
            assert!(
                device.outbox.is_empty(),
                "{} holds {:?}",
                device.name,
                device.outbox
            );
        }
    }
}

const TERM_FIRST: u32 = tests::TERM.0;

fn is_logged(log: &[Logged], name: &DeviceName, incarnation: Incarnation, held: &Held) -> bool {
    log.iter().any(|logged| match &logged.entry {
        Entry::Frame(frame) => {
            &frame.device == name
                && Identity::read(&frame.bytes)
                    .is_some_and(|found| found.incarnation == incarnation)
                && frame.bytes == held.bytes
        }
        _ => false,
    })
}

/// Checks the whole log, and returns how many frames it holds.
fn audit(log: &[Logged]) -> usize {
    let mut through: BTreeMap<(DeviceName, Incarnation, u32), u32> = BTreeMap::new();
    let mut frames = 0;
    for logged in log {
        match &logged.entry {
            Entry::Frame(frame) if frame.verdict == Verdict::Next => {
                let found = Identity::read(&frame.bytes).unwrap();
                let pair = (frame.device.clone(), found.incarnation, found.mark.boot);
                let before = through.entry(pair).or_default();
                assert_eq!(found.mark.sequence, *before + 1, "once and in order");
                *before += 1;
                frames += 1;
            }
            Entry::Gap(gap) => {
                let pair = (gap.device.clone(), gap.incarnation, gap.boot);
                let before = through.entry(pair).or_default();
                assert_eq!(gap.from, *before + 1, "contiguous");
                assert!(gap.through >= gap.from && gap.lost_here <= gap.through);
                assert!(gap.lost_here == 0 || gap.lost_here >= gap.from);
                *before = gap.through;
            }
            _ => {}
        }
    }
    frames
}

fn fold(start: Marks, log: &[Logged]) -> Marks {
    let mut marks = start;
    for logged in log {
        marks.apply(logged);
    }
    marks
}

fn run(plans: &[Plan]) -> World {
    let mut world = World::new();
    for plan in plans {
        world.step(plan);
    }
    world.drain();
    world.note_counts();
    world
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 100,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_frame_is_logged_once_and_every_ack_is_durable(
        plans in prop::collection::vec(plan(false, 1), 0..400),
        cut in 0.0..1.0_f64,
    ) {
        let world = run(&plans);
        let log = &world.bench.log;
        audit(log);
        for device in &world.devices {
            for mark in &device.acked_frames {
                let (bytes, check) =
                    sequenced(device.incarnation, *mark, (mark.sequence % 251) as u8);
                let held = Held { mark: *mark, bytes, check };
                prop_assert!(is_logged(log, &device.name, device.incarnation, &held));
            }
        }
        let at = (log.len() as f64 * cut) as usize;
        let parts = fold(Marks::default(), &log[..at]).snapshot();
        let (base, unreadable) = Marks::restore(parts);
        prop_assert_eq!(unreadable, vec![]);
        prop_assert_eq!(&fold(base, &log[at..]), world.bench.session.marks());
    }

    #[test]
    fn an_older_store_says_what_it_lost_and_goes_on(
        plans in prop::collection::vec(plan(true, 1), 0..400),
    ) {
        audit(&run(&plans).bench.log);
    }

    #[test]
    fn a_device_that_starts_over_and_over_drains_what_it_kept(
        plans in prop::collection::vec(plan(false, 8), 0..600),
    ) {
        audit(&run(&plans).bench.log);
    }
}

/// The properties above would hold for a simulation in which nothing happens.
#[test]
fn the_simulation_reaches_what_it_is_about() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = prop_oneof![
        prop::collection::vec(plan(false, 1), 500),
        prop::collection::vec(plan(false, 8), 500),
    ];
    let (mut frames, mut gaps, mut stale) = (0, 0, 0);
    let mut counts = Counts::new();
    for _ in 0..40 {
        let world = run(&strategy.new_tree(&mut runner).unwrap().current());
        frames += audit(&world.bench.log);
        for logged in &world.bench.log {
            match &logged.entry {
                Entry::Gap(_) => gaps += 1,
                Entry::Frame(frame) if frame.verdict == Verdict::StaleBoot => stale += 1,
                _ => {}
            }
        }
        for (reason, count) in world.counts {
            *counts.entry(reason).or_default() += count;
        }
    }
    println!("{frames} frames, {gaps} gaps, {stale} stale, counted {counts:?}");
    assert!(frames > 1_000 && gaps > 30);
    for reason in [
        Uncounted::Ahead,
        Uncounted::Duplicate,
        Uncounted::AfterGap,
        Uncounted::Busy,
    ] {
        assert!(
            counts.get(&reason).is_some_and(|count| *count > 0),
            "{reason:?}"
        );
    }
}
