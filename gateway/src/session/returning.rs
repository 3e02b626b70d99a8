//! A thousand devices return at once, with full outboxes, to a store that is slow.
//!
//! The devices' ends are the device library's own links, on virtual time; the network takes
//! 20 ms either way and loses nothing; the store commits one batch at a time, at a bounded rate.
//! What is shown: few frames are sent twice, little is pending, all of it drains, nobody waits
//! out of proportion, who has little is done first. The same crowd without turns shows what they
//! are for.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use tidegate_firmware::link::{self, Link, LinkConfig};
use tidegate_firmware::outbox::{Content, Entry as Held, Outbox, OutboxError};
use tidegate_firmware::time::Moment;
use tidegate_shared::frame;
use tidegate_shared::ids::{CatalogHash, Check, DeviceName, Incarnation, Mark};
use tidegate_shared::message::{Down, Presence, up};
use tidegate_shared::topic::Topic;

use super::tests::{TERM, at, config, frame_with, hello, mark, name, progress, unsequenced};
use super::*;
use crate::entry::{Logged, Uncounted};

const DEVICES: usize = 1_000;
/// Frames of the devices that hold much, and little.
const MUCH: u32 = 60;
const LITTLE: u32 = 5;
const FRAME_BYTES: usize = 700;
const NETWORK_US: u64 = 20_000;
const FSYNC_US: u64 = 10_000;
const COMMIT_BYTES: usize = 64 << 10;
const COMMIT_US: u64 = 1_000_000;

/// An outbox of frames that are made when asked for: those above `through`, up to `last`.
#[derive(Debug)]
struct Shelf {
    through: u32,
    last: u32,
}

impl Shelf {
    fn held(&self, sequence: u32) -> Option<Held> {
        (sequence > self.through && sequence <= self.last).then(|| Held {
            mark: mark(1, sequence),
            check: content(sequence).1,
            content: Content::Other,
        })
    }
}

impl Outbox for Shelf {
    fn push(
        &mut self,
        _: Held,
        _: &[u8],
        _: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError> {
        Err(OutboxError::Full)
    }

    fn read(&self, _: Mark, _: &mut [u8]) -> Result<usize, OutboxError> {
        Err(OutboxError::Absent)
    }

    fn next_after(&self, mark: Mark) -> Option<Held> {
        let after = if mark.boot < 1 { 0 } else { mark.sequence };
        self.held(after.max(self.through) + 1)
    }

    /// Frames that are made when asked for hold no samples.
    fn receipt(&self, _: Mark, _: impl FnMut(u8, u8)) {}

    fn get(&self, mark: Mark) -> Option<Held> {
        self.held(mark.sequence)
    }

    fn count(&self, after: Mark, through: Mark) -> usize {
        let last = if through.boot > 1 {
            self.last
        } else {
            self.last.min(through.sequence)
        };
        last.saturating_sub(self.through.max(after.sequence)) as usize
    }

    fn pop_through(&mut self, through: Mark) {
        self.through = self.through.max(through.sequence);
    }

    fn evict(&mut self, _: impl FnMut(u8, u8)) -> Option<Held> {
        None
    }

    fn names(&self, _: CatalogHash) -> bool {
        false
    }

    fn replace(&mut self, _: Mark, _: Held, _: &[u8]) -> Result<(), OutboxError> {
        Err(OutboxError::Absent)
    }

    fn has_room(&self, _: usize, _: usize) -> bool {
        false
    }

    fn could_hold(&self, _: usize) -> bool {
        false
    }
}

/// A frame's bytes: the same for every device, so that checks are made once.
fn content(sequence: u32) -> (Vec<u8>, Check) {
    frame_with(Incarnation(9), mark(1, sequence), |writer| {
        writer.varint(up::BATCH.into())?;
        writer.put(&[sequence as u8; FRAME_BYTES - 20])
    })
}

struct Device {
    name: DeviceName,
    link: Link,
    outbox: Shelf,
    sent: u32,
    deadline: Option<u64>,
    /// Moments of acks that freed something, and when it came back.
    drained_us: u64,
    progressed_us: u64,
    longest_wait_us: u64,
}

/// What happens next.
#[derive(Debug)]
enum Next {
    Tick(usize),
    Up(usize, Vec<u8>),
    Down(usize, Vec<u8>),
    /// A commit is due if it is still this one.
    Due(u64),
    Durable,
}

/// Who returns, and to what.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// One of so many devices holds much.
    much_of: usize,
    store_bytes_per_s: u64,
    is_paced: bool,
}

struct World {
    plan: Plan,
    session: Session,
    devices: Vec<Device>,
    numbers: BTreeMap<DeviceName, usize>,
    contents: Vec<(Vec<u8>, Check)>,
    next: BTreeMap<(u64, u64), Next>,
    serial: u64,
    now_us: u64,
    gathered: Vec<Logged>,
    gathered_bytes: usize,
    commit: u64,
    writing: Option<Vec<Logged>>,
    logged: BTreeMap<DeviceName, u32>,
    pending_peak: usize,
}

/// What came of it.
#[derive(Debug)]
struct Story {
    needed: u32,
    sent: u32,
    pending_peak: usize,
    drained_s: u64,
    little_drained_s: u64,
    longest_wait_s: u64,
    busy: u64,
    ahead: u64,
    pauses: u64,
}

impl Story {
    /// Frames sent for each hundred that were needed.
    fn percent(&self) -> u32 {
        self.sent * 100 / self.needed
    }
}

impl Plan {
    fn frames_of(&self, device: usize) -> u32 {
        if device.is_multiple_of(self.much_of) {
            MUCH
        } else {
            LITTLE
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            needed,
            sent,
            pending_peak,
            drained_s,
            little_drained_s,
            longest_wait_s,
            ..
        } = self;
        write!(
            f,
            "{needed} frames needed, {sent} sent ({} %), {} busy, {} ahead, {} pauses; \
             {pending_peak} bytes pending at most; all drained after {drained_s} s, \
             those with little after {little_drained_s} s; \
             longest wait between two acks of a device {longest_wait_s} s",
            self.percent(),
            self.busy,
            self.ahead,
            self.pauses,
        )
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut session = Session::new(config(), Marks::default());
        if !plan.is_paced {
            session.turns.lift();
        }
        let devices: Vec<Device> = (0..DEVICES)
            .map(|number| Device {
                name: name(&format!("dev-{number}")),
                link: Link::new(
                    LinkConfig::default(),
                    Incarnation(9),
                    (Mark::default(), mark(1, 0)),
                    number as u32 + 1,
                ),
                outbox: Shelf {
                    through: 0,
                    last: plan.frames_of(number),
                },
                sent: 0,
                deadline: None,
                drained_us: 0,
                progressed_us: 0,
                longest_wait_us: 0,
            })
            .collect();
        let numbers = devices.iter().enumerate();
        Self {
            plan,
            session,
            numbers: numbers
                .map(|(number, device)| (device.name.clone(), number))
                .collect(),
            devices,
            contents: (0..=MUCH).map(content).collect(),
            next: BTreeMap::new(),
            serial: 0,
            now_us: 0,
            gathered: Vec::new(),
            gathered_bytes: 0,
            commit: 0,
            writing: None,
            logged: BTreeMap::new(),
            pending_peak: 0,
        }
    }

    fn later(&mut self, after_us: u64, next: Next) {
        self.serial += 1;
        self.next
            .insert((self.now_us + after_us, self.serial), next);
    }

    fn link(&mut self, number: usize, event: link::Event) {
        let mut effects: Vec<link::Effect> = Vec::new();
        let device = &mut self.devices[number];
        let next = mark(1, device.outbox.last + 1);
        let now = Moment(self.now_us);
        device
            .link
            .handle(now, event, &device.outbox, next, &mut effects);
        let mut messages = Vec::new();
        for effect in effects {
            match effect {
                link::Effect::Release(through) => {
                    device.outbox.pop_through(through);
                    let waited_us = self.now_us - device.progressed_us;
                    device.longest_wait_us = device.longest_wait_us.max(waited_us);
                    device.progressed_us = self.now_us;
                    device.drained_us = self.now_us;
                }
                link::Effect::Send(mark) => {
                    device.sent += 1;
                    messages.push(self.contents[mark.sequence as usize].0.clone());
                }
                link::Effect::Hello | link::Effect::Progress => {
                    let Shelf { through, last } = device.outbox;
                    let floor = mark(1, through + 1);
                    let mut said = progress(floor, device.link.acked(), last - through);
                    said.uptime_us = self.now_us + 1;
                    messages.push(if effect == link::Effect::Hello {
                        unsequenced(Incarnation(9), 1, up::HELLO, &hello(said))
                    } else {
                        unsequenced(Incarnation(9), 1, up::PROGRESS, &said)
                    });
                }
                link::Effect::Rename(_) => panic!("an honest device"),
            }
        }
        for message in messages {
            self.later(NETWORK_US, Next::Up(number, message));
        }
        let due = self.devices[number].link.next_deadline();
        if let Some(Moment(due_us)) = due
            && self.devices[number].deadline != Some(due_us)
        {
            self.devices[number].deadline = Some(due_us);
            let after_us = due_us.saturating_sub(self.now_us);
            self.later(after_us, Next::Tick(number));
        }
    }

    fn session(&mut self, event: Event<'_>) {
        let mut effects: VecDeque<Effect> = VecDeque::new();
        self.session.handle(at(self.now_us), event, &mut effects);
        let mut is_due = false;
        for effect in effects {
            match effect {
                Effect::Append(entry) => {
                    if let Entry::Frame(frame) = &entry {
                        self.gathered_bytes += frame.bytes.len();
                        let sequence = frame::read(&frame.bytes).unwrap().header.mark.sequence;
                        let logged = self.logged.entry(frame.device.clone()).or_default();
                        assert_eq!(sequence, *logged + 1, "once and in order");
                        *logged = sequence;
                    }
                    if self.gathered.is_empty() {
                        self.later(COMMIT_US, Next::Due(self.commit));
                    }
                    self.gathered.push(Logged {
                        start: 1,
                        at: at(self.now_us),
                        entry,
                    });
                }
                Effect::CommitNow => is_due = true,
                Effect::Publish {
                    topic: Topic::Down(name),
                    payload,
                    ..
                } => {
                    let number = self.numbers[&name];
                    self.later(NETWORK_US, Next::Down(number, payload));
                }
                _ => {}
            }
        }
        self.pending_peak = self.pending_peak.max(self.session.pending_bytes());
        if is_due || self.gathered_bytes >= COMMIT_BYTES {
            self.write();
        }
    }

    /// Begins a commit unless one is in flight.
    fn write(&mut self) {
        if self.writing.is_some() || self.gathered.is_empty() {
            return;
        }
        self.commit += 1;
        let bytes = std::mem::take(&mut self.gathered_bytes) as u64;
        self.writing = Some(std::mem::take(&mut self.gathered));
        let took_us = FSYNC_US + bytes * 1_000_000 / self.plan.store_bytes_per_s;
        self.later(took_us, Next::Durable);
    }

    fn step(&mut self, next: Next) {
        match next {
            Next::Tick(number) => {
                self.devices[number].deadline = None;
                self.link(number, link::Event::Tick);
            }
            Next::Up(number, payload) => {
                let topic = Topic::Up(self.devices[number].name.clone());
                let topic = topic.text(&config().site);
                self.session(Event::Received {
                    topic: &topic,
                    retained: false,
                    payload: &payload,
                });
            }
            Next::Down(number, payload) => {
                let frame = frame::read(&payload).unwrap();
                let event = match Down::read(frame.body).unwrap() {
                    Down::Welcome(welcome) => link::Event::Welcome(welcome),
                    Down::Ack(ack) => link::Event::Ack(ack),
                    Down::Refused(refused) => link::Event::Refused(refused),
                    other => panic!("{other:?}"),
                };
                self.link(number, event);
            }
            Next::Due(commit) => {
                if commit == self.commit {
                    self.write();
                }
            }
            Next::Durable => {
                let entries = self.writing.take().unwrap();
                self.session(Event::Durable(&entries));
                // What gathered meanwhile and is due goes next.
                let is_old = self
                    .gathered
                    .first()
                    .is_some_and(|first| first.at.mono_us + COMMIT_US <= self.now_us);
                if is_old || self.gathered_bytes >= COMMIT_BYTES {
                    self.write();
                }
            }
        }
    }

    fn run(mut self) -> Story {
        self.session(Event::Subscribed);
        for number in 0..DEVICES {
            self.link(number, link::Event::Connected);
            let presence = Presence {
                gateway: 500,
                term: TERM,
                start: 1,
                online: true,
            };
            self.link(number, link::Event::Presence(presence));
        }
        while let Some(((at_us, _), next)) = self.next.pop_first() {
            self.now_us = at_us;
            self.step(next);
            assert!(self.now_us < 3_600_000_000, "it ends");
        }
        self.story()
    }

    fn story(&self) -> Story {
        for (number, device) in self.devices.iter().enumerate() {
            assert!(device.outbox.is_empty(), "{} holds frames", device.name);
            assert_eq!(
                self.logged[&device.name],
                self.plan.frames_of(number),
                "nothing lost"
            );
        }
        let drained_s = |little: bool| {
            let devices = self.devices.iter().enumerate();
            devices
                .filter(|(number, _)| !little || self.plan.frames_of(*number) == LITTLE)
                .map(|(_, device)| device.drained_us / 1_000_000)
                .max()
                .unwrap_or(0)
        };
        let waits = self.devices.iter().map(|device| device.longest_wait_us);
        Story {
            needed: (0..DEVICES).map(|number| self.plan.frames_of(number)).sum(),
            sent: self.devices.iter().map(|device| device.sent).sum(),
            pending_peak: self.pending_peak,
            drained_s: drained_s(false),
            little_drained_s: drained_s(true),
            longest_wait_s: waits.max().unwrap_or(0) / 1_000_000,
            busy: self.session.tallies().total(Uncounted::Busy),
            ahead: self.session.tallies().total(Uncounted::Ahead),
            pauses: self.session.pacing().pauses,
        }
    }
}

#[test]
fn a_thousand_devices_that_return_at_once_do_not_flood() {
    let plan = Plan {
        much_of: 10,
        store_bytes_per_s: 256 << 10,
        is_paced: true,
    };
    let paced = World::new(plan).run();
    println!("paced: {paced}");
    let flood = World::new(Plan {
        is_paced: false,
        ..plan
    })
    .run();
    println!("without turns: {flood}");
    // 10,500 frames of 700 bytes at 256 KiB a second are 28 s of writing.
    assert!(paced.percent() <= 110, "{paced}");
    assert!(paced.pending_peak <= 5 << 18, "{paced}");
    assert!(paced.drained_s <= 42, "{paced}");
    assert!(paced.little_drained_s * 4 <= paced.drained_s * 3, "{paced}");
    assert!(paced.longest_wait_s <= 30, "{paced}");
    assert!(flood.percent() > 150, "a crowd would flood: {flood}");
}

#[test]
fn a_thousand_full_outboxes_drain_as_fast_as_the_store_writes() {
    let paced = World::new(Plan {
        much_of: 1,
        store_bytes_per_s: 1 << 20,
        is_paced: true,
    })
    .run();
    println!("all full: {paced}");
    // 60,000 frames of 700 bytes at 1 MiB a second are 40 s of writing.
    assert!(paced.percent() <= 110, "{paced}");
    assert!(paced.pending_peak <= 4 << 20, "{paced}");
    assert!(paced.drained_s <= 80, "{paced}");
    assert!(paced.longest_wait_s <= 40, "{paced}");
}
