//! The power is cut in a scenario of 1,000 frames: outage after outage, acknowledgements,
//! supply warnings, overflows and new incarnations.
//!
//! Before each operation everything is kept; then the operation is done once for each step of its
//! work on the flash, with the power going away in the midst of that step, and each time a start
//! is looked at. Every step of every operation is cut with `TIDEGATE_FULL=1`; otherwise one in
//! eleven, of which there must be some in each kind of write, at its first and at its last byte.

use std::collections::BTreeMap;
use std::println;

use super::*;
use crate::outbox::nor::Cut;

const WORD: usize = 4;
const FRAMES: u32 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// A frame comes; when there is no room, the oldest are evicted before.
    Push,
    /// Time passes.
    Tend,
    /// The gateway acknowledges this many.
    Ack(u32),
    SpillNow,
    Rename,
}

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Tend => "tend",
            Self::Ack(_) => "acknowledge",
            Self::SpillNow => "supply warning",
            Self::Rename => "new incarnation",
        }
    }
}

/// An outbox, and what a test knows of it. Frames are known by the numbers in their bodies.
#[derive(Clone)]
struct World {
    outbox: Small<WORD>,
    incarnation: u32,
    pushed: u32,
    uptime_us: u64,
}

impl World {
    fn new() -> Self {
        Self {
            outbox: fresh(),
            incarnation: 9,
            pushed: 0,
            uptime_us: 0,
        }
    }

    fn is_off(&self) -> bool {
        self.outbox.flash.io.borrow().flash.is_off()
    }

    fn steps(&self) -> u64 {
        self.outbox.flash.io.borrow().flash.steps()
    }

    fn evict_while(&mut self, mut wants: impl FnMut(&Small<WORD>) -> bool) {
        while !self.is_off() && wants(&self.outbox) {
            self.outbox.evict(|_, _| ()).unwrap();
        }
    }

    fn push(&mut self) {
        self.evict_while(|outbox| !outbox.has_room(100, 1));
        let newest = numbers_held(&self.outbox)
            .last()
            .map(|(mark, _)| mark.sequence);
        let sequence = newest.unwrap_or(self.pushed) + 1;
        self.pushed += 1;
        let (entry, bytes) = frozen(
            self.incarnation,
            mark(sequence),
            Content::Batch(HASH),
            &body(self.pushed),
        );
        let pushed = self.outbox.push(entry, &bytes, [(1, 2)].into_iter());
        assert!(pushed.is_ok() || self.is_off(), "{pushed:?}");
        self.evict_while(Outbox::wants_eviction);
    }

    fn ack(&mut self, count: u32) {
        let held = numbers_held(&self.outbox);
        if let Some((mark, _)) = held.iter().take(count as usize).next_back() {
            self.outbox.pop_through(*mark);
        }
    }

    fn do_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Push => self.push(),
            Deed::Tend => {
                self.uptime_us += 400 * MS;
                self.outbox.tend(self.uptime_us, 100_000);
            }
            Deed::Ack(count) => self.ack(count),
            Deed::SpillNow => {
                let is_erase_due = self.outbox.flash.dirty() > 0;
                let left = self.outbox.spill_now();
                assert!(
                    left == 0 || is_erase_due || self.is_off(),
                    "{left} did not fit"
                );
            }
            Deed::Rename => {
                self.incarnation += 1;
                rename(&mut self.outbox, self.incarnation);
            }
        }
    }
}

/// Marks in the index and the numbers of their frames, of those in flash or anywhere.
fn numbers_held(outbox: &Small<WORD>) -> Vec<(Mark, u32)> {
    let (mut after, mut found) = (Mark::default(), vec![]);
    while let Some(entry) = outbox.next_after(after) {
        after = entry.mark;
        let mut out = [0; 256];
        let Ok(bytes) = outbox.read(after, &mut out) else {
            continue;
        };
        let body = body_of(&out[..bytes]);
        let number = u32::from_le_bytes(body[..4].try_into().unwrap());
        assert_eq!(
            body,
            super::body(number),
            "the bytes are those that were pushed"
        );
        found.push((after, number));
    }
    found
}

fn numbers(outbox: &Small<WORD>) -> Vec<u32> {
    numbers_held(outbox)
        .iter()
        .map(|(_, number)| *number)
        .collect()
}

/// Numbers in flash alone: those that a power cut must not take.
fn flushed(outbox: &Small<WORD>) -> Vec<u32> {
    let mut numbers = numbers(outbox);
    numbers.truncate(outbox.flash.held.len());
    numbers
}

/// A start after a cut in the midst of `deed`, which began at `before` and would have led to
/// `after`.
fn look_at_start(before: &World, after: &World, mut cut: World, seed: u64) -> Vec<u32> {
    cut.outbox.flash.io.get_mut().flash.power_on();
    let incarnation = cut.incarnation;
    let mut flash = cut.outbox.into_flash();
    assert_eq!(flash.refused(), None, "a write that flash cannot do");
    // The start may be cut as well, any number of times.
    for again in 0..seed % 3 {
        flash.cut_after(seed % 97 + again * 41, seed);
        let mut outbox = opened(flash);
        outbox.adopt(Incarnation(incarnation), 2);
        flash = outbox.into_flash();
        flash.power_on();
        assert_eq!(flash.refused(), None, "a write that flash cannot do");
    }
    let mut outbox = opened(flash);
    outbox.adopt(Incarnation(incarnation), 2);
    let found = numbers(&outbox);
    assert!(
        found.is_sorted_by(|one, next| one < next),
        "in order, none twice: {found:?}"
    );
    assert_eq!(outbox.len(), found.len(), "all that is held reads");
    let is_new = |number: &u32| *number > before.pushed + 1;
    assert!(!found.iter().any(is_new));
    let (was, will) = (flushed(&before.outbox), numbers(&after.outbox));
    // What was freed before never returns; what was flushed stays unless this deed frees it.
    let oldest = numbers(&before.outbox)
        .first()
        .copied()
        .unwrap_or(before.pushed + 1);
    assert!(
        found.iter().all(|number| *number >= oldest),
        "{found:?} from {oldest}"
    );
    for number in was.iter().filter(|number| will.contains(number)) {
        assert!(
            found.contains(number),
            "{number} is lost: {was:?}, {found:?}"
        );
    }
    let status = outbox.status();
    assert_eq!((status.lost, status.failures), (0, 0), "{found:?}");
    goes_on(outbox, incarnation, &found);
    found
}

/// The outbox works: it takes frames of the next boot and keeps them over another start.
fn goes_on(mut outbox: Small<WORD>, incarnation: u32, found: &[u32]) {
    for (sequence, number) in (1..=3).zip(5_001..) {
        while !outbox.has_room(100, 1) {
            outbox.evict(|_, _| ()).unwrap();
        }
        let mark = Mark { boot: 2, sequence };
        let (entry, bytes) = frozen(incarnation, mark, Content::Other, &body(number));
        outbox.push(entry, &bytes, [].into_iter()).unwrap();
        while outbox.wants_eviction() {
            outbox.evict(|_, _| ()).unwrap();
        }
        outbox.tend(0, 100_000);
        outbox.tend(0, 100_000);
    }
    assert_eq!(outbox.spill_now(), 0);
    let mut outbox = opened(outbox.into_flash());
    outbox.adopt(Incarnation(incarnation), 3);
    let all = numbers(&outbox);
    let new = [5_001, 5_002, 5_003];
    let (old, ours) = all.split_at(all.len() - 3);
    assert_eq!(ours, new);
    assert!(found.ends_with(old));
    assert_eq!(outbox.into_flash().refused(), None);
}

/// The scenario: deeds by a fixed draw, until all frames were pushed.
fn scenario() -> impl Iterator<Item = Deed> {
    let (mut random, mut pushed) = (0x5eed_u32, 0);
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % 1_000
    };
    core::iter::from_fn(move || {
        let deed = match draw() {
            0..500 => Deed::Push,
            500..850 => Deed::Tend,
            850..940 => Deed::Ack(1 + draw() % 8),
            940..955 => Deed::Ack(64),
            955..985 => Deed::SpillNow,
            985.. => Deed::Rename,
        };
        pushed += u32::from(deed == Deed::Push);
        (pushed <= FRAMES).then_some(deed)
    })
}

/// What a cut access was doing.
fn kind(before: &World, cut: &Cut) -> &'static str {
    let within = cut.at as usize % PAGE;
    let at = cut.at as usize;
    let io = before.outbox.flash.io.borrow();
    let mut there = io.flash.bytes().iter().skip(at).take(8);
    let was_blank = there.all(|byte| *byte == 0xff);
    match cut.steps {
        _ if cut.is_erase => "erase",
        4 if within == 0 => "page begun",
        4 if within == PAGE - 4 => "page closed",
        8 if was_blank => "header",
        8 => "freed",
        _ => "data",
    }
}

/// How often a kind of access was cut: at its first step, its last, in between.
#[derive(Debug, Default)]
struct Covered {
    first: u32,
    last: u32,
    between: u32,
}

impl Covered {
    fn note(&mut self, cut: &Cut) {
        match cut.done {
            0 => self.first += 1,
            done if done + 1 == cut.steps => self.last += 1,
            _ => self.between += 1,
        }
    }
}

#[test]
fn a_power_cut_anywhere_in_a_thousand_frames_loses_nothing_flushed() {
    let stride = match std::env::var("TIDEGATE_FULL") {
        Ok(value) if value == "1" => 1,
        _ => 11,
    };
    let mut world = World::new();
    let mut deeds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, Covered> = BTreeMap::new();
    let (mut found_most, mut cuts) = (0, 0);
    for deed in scenario() {
        let mut after = world.clone();
        after.do_deed(deed);
        let (from, to) = (world.steps(), after.steps());
        for step in (from..to).filter(|step| step % stride == 0) {
            let mut cut = world.clone();
            cut.outbox
                .flash
                .io
                .get_mut()
                .flash
                .cut_after(step - from, step);
            cut.do_deed(deed);
            let at = cut
                .outbox
                .flash
                .io
                .borrow()
                .flash
                .cut()
                .expect("the power is off");
            kinds.entry(kind(&world, &at)).or_default().note(&at);
            *deeds.entry(deed.name()).or_default() += 1;
            cuts += 1;
            found_most = found_most.max(look_at_start(&world, &after, cut, step).len());
        }
        world = after;
    }
    let (status, steps) = (world.outbox.status(), world.steps());
    println!(
        "{FRAMES} frames, {} spilled, {} erases, {steps} steps, {cuts} of them cut; \
         at most {found_most} frames found at a start\n{deeds:?}\n{kinds:?}",
        status.spilled, status.erases_boot
    );
    assert!(
        status.spilled > 500 && status.erases_boot > 100,
        "{status:?}"
    );
    assert_eq!((status.lost, status.failures), (0, 0));
    assert_eq!((deeds.len(), kinds.len()), (5, 6));
    let is_covered = |one: &Covered| one.first.min(one.last).min(one.between) > 0;
    assert!(kinds.values().all(is_covered), "{kinds:?}");
}
