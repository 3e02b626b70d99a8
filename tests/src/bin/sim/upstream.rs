//! Upstream: the sinks' far ends. They remember all they were given, and have their moods.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tidegate_gateway::record::{ClockQuality, Record, RecordId};
use tidegate_gateway::rules::settings::SinkSettings;
use tidegate_gateway::run::queue::SpoolQueue;
use tidegate_gateway::sinks::Waiting;
use tidegate_gateway::sinks::batch::Batch;
use tidegate_gateway::sinks::delivery::{self, Answer, BatchLimits, Machine, Outcome};
use tidegate_gateway::sinks::encoding::Encoding;
use tidegate_gateway::sinks::queue::carry_out;
use tidegate_gateway::store::Store;
use tidegate_gateway::time::Timestamp;
use tidegate_tests::dice::Dice;

use super::shapes;
use super::story::Story;
use super::witness::Witness;

/// How a far end behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes and confirms.
    Well,
    /// Answers with errors, having taken nothing.
    Failing,
    /// Does not answer until the attempt is given up.
    Hanging,
    /// Refuses what it is given.
    Refusing,
    /// Takes, and says that it has not: the answer is cut off halfway.
    Lying,
    /// Refuses any batch with a record of a certain kind.
    Choosy,
    /// Takes no more than two records at once.
    Narrow,
    /// Does not know who is speaking.
    Closed,
    /// Asks to be left alone for a while.
    Busy,
    /// Takes some of the first records, then breaks off.
    Patchy,
    /// Takes and confirms, in its own time.
    Slow,
}

/// Records that a choosy far end refuses.
fn is_bad(record: &Record) -> bool {
    record.id.0[0].is_multiple_of(8)
}

/// What a record stands for: two of them have one id, and one id has one of them.
type Key = (usize, u32, String, u32, String, String, u32, i64, u32);

/// A far end.
#[derive(Debug)]
pub struct Upstream {
    pub mood: Mood,
    /// Lines and places by gateway and id.
    records: BTreeMap<RecordId, (String, u64)>,
    keys: BTreeMap<Key, RecordId>,
    /// Fresh samples taken, each record once, by gateway.
    pub fresh: BTreeMap<(usize, String, String, String), u64>,
}

impl Upstream {
    pub fn new() -> Self {
        Self {
            mood: Mood::Well,
            records: BTreeMap::new(),
            keys: BTreeMap::new(),
            fresh: BTreeMap::new(),
        }
    }

    /// Every record it was given, as it was sent.
    pub fn records(&self) -> impl Iterator<Item = (&RecordId, &String)> {
        self.records.iter().map(|(id, (line, _))| (id, line))
    }

    fn take(
        &mut self,
        gateway: usize,
        line: &str,
        waiting: &Waiting,
        witness: &Witness,
        story: &mut Story,
    ) {
        let (record, id) = (&waiting.record, waiting.record.id);
        story.coverage.records += 1;
        if let Some((known, _)) = self.records.get(&id) {
            // An older copy of a store, with nobody about who knows better, closes its open windows
            // under ids that the original gave out: DESIGN has it begin others once it learns.
            let moment = witness.moment(waiting.place.position);
            let unaware = moment.is_some_and(|moment| moment.unaware);
            story.check("an id has one content", known == line || unaware, || {
                format!("{id}\n  was {known}\n  is  {line}")
            });
            return;
        }
        self.records
            .insert(id, (line.to_owned(), waiting.place.position));
        witness.editions.check(record, story);
        let of = (
            gateway,
            record.rule.clone(),
            record.device.clone(),
            record.sensor.clone(),
        );
        *self.fresh.entry(of).or_default() += record.fresh;
        let rule = witness.editions.get(&record.rule, record.version);
        // Windows of a number of samples are known by the first of them.
        if rule.is_some_and(|rule| rule.window.is_some() && !shapes::counts(rule)) {
            let position = waiting.place.position;
            if record.clock == ClockQuality::Device {
                let may = witness.may_close(record, position);
                story.check("windows close for a reason", may, || {
                    let before = witness.before(position, 12);
                    format!("position {position}: {line}\n{before:#?}")
                });
            }
            let key = key_of(gateway, record, waiting, witness);
            let other = self.keys.insert(key.clone(), id);
            story.check("a window's revision has one id", other.is_none(), || {
                format!("{key:?} came as {other:?} and as {id}")
            });
            // The same but for the revision: none that is newer was sent before.
            let newest = (key.8 < u32::MAX).then(|| with_revision(&key, u32::MAX));
            let newer = newest.and_then(|newest| {
                let above = with_revision(&key, key.8 + 1);
                self.keys.range(above..=newest).next()
            });
            story.check("no revision overtakes another", newer.is_none(), || {
                format!("{line}\ncame behind {newer:?}")
            });
            if record.revision > 0 {
                story.happen("revision sent");
            }
        }
    }
}

fn key_of(gateway: usize, record: &Record, waiting: &Waiting, witness: &Witness) -> Key {
    let moment = witness.moment(waiting.place.position);
    (
        gateway,
        moment.map_or(0, |moment| moment.incarnation),
        record.rule.clone(),
        record.version,
        record.device.clone(),
        record.sensor.clone(),
        record.epoch,
        record.start_us,
        record.revision,
    )
}

fn with_revision(key: &Key, revision: u32) -> Key {
    let mut other = key.clone();
    other.8 = revision;
    other
}

/// A request that the far end has not answered.
struct Request {
    until_us: u64,
    batch: Arc<Batch>,
    outcome: Outcome,
    taken: usize,
}

/// Delivery to one sink: the sink's shell without its socket.
pub struct Sending {
    pub name: String,
    machine: Machine,
    queue: SpoolQueue,
    request: Option<Request>,
    seen: BTreeMap<RecordId, Waiting>,
    woken: bool,
}

/// What delivery needs of the world.
pub struct Around<'a> {
    pub gateway: usize,
    pub now: Timestamp,
    pub now_us: u64,
    pub upstream: &'a mut Upstream,
    pub witness: &'a mut Witness,
    pub story: &'a mut Story,
    pub dice: &'a mut Dice,
}

impl Sending {
    pub fn new(settings: &SinkSettings, store: &Store, seed: u64) -> Self {
        let limits = BatchLimits {
            records_max: settings.batch_records_max,
            bytes_max: settings.batch_bytes_max,
            age_us: settings.batch_age_ms * 1_000,
        };
        Self {
            name: settings.name.clone(),
            machine: Machine::new(limits, Encoding::of(&settings.kind), seed),
            queue: SpoolQueue::new(store.spool(), &settings.name),
            request: None,
            seen: BTreeMap::new(),
            woken: true,
        }
    }

    /// Records were spooled.
    pub fn wake(&mut self) {
        self.woken = true;
    }

    /// What it is doing, for a story.
    pub fn state(&self) -> String {
        format!("sink {}: {:?}", self.name, self.machine.status())
    }

    /// When it has to be stepped next, on the world's clock.
    pub fn next_us(&self, began_us: u64) -> u64 {
        if self.woken {
            return 0;
        }
        let request = self.request.as_ref().map(|request| request.until_us);
        let deadline = self.machine.next_deadline();
        let deadline = deadline.map(|at| began_us + at.mono_us);
        request
            .into_iter()
            .chain(deadline)
            .min()
            .unwrap_or(u64::MAX)
    }

    pub fn step(&mut self, around: &mut Around<'_>) {
        if std::mem::take(&mut self.woken) {
            self.perform(delivery::Event::RecordsWaiting, around);
        }
        let is_due = |request: &mut Request| request.until_us <= around.now_us;
        if let Some(request) = self.request.take_if(is_due) {
            let answer = Answer {
                sent_bytes: request.batch.body.len() as u64,
                outcome: request.outcome,
                header_bytes: 100,
                taken: request.taken,
            };
            self.perform(delivery::Event::Answer(answer), around);
        }
        let due = self.machine.next_deadline();
        if due.is_some_and(|due| due.mono_us <= around.now.mono_us) {
            self.perform(delivery::Event::Deadline, around);
        }
    }

    fn perform(&mut self, event: delivery::Event, around: &mut Around<'_>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.machine.handle(around.now, event, &mut effects);
            for effect in effects {
                if let delivery::Effect::Bury { batch, .. } = &effect {
                    around.story.happen("record dead-lettered");
                    let alone = batch.records.len() == 1;
                    let why = || format!("{batch:?}");
                    around
                        .story
                        .check("only a record alone is dead-lettered", alone, why);
                }
                let effect = match carry_out(&self.queue, effect) {
                    Ok(event) => {
                        if let Some(delivery::Event::Read { result, .. }) = &event {
                            for one in result.iter().flat_map(|found| &found.waiting) {
                                self.seen.insert(one.record.id, one.clone());
                            }
                        }
                        events.extend(event);
                        continue;
                    }
                    Err(effect) => effect,
                };
                match effect {
                    delivery::Effect::Send(batch) => self.send(&batch, around),
                    delivery::Effect::Tell(news) => {
                        let name = &self.name;
                        around.story.tell(|| format!("sink {name}: {news:?}"));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, batch: &Arc<Batch>, around: &mut Around<'_>) {
        let mood = around.upstream.mood;
        let why = format!("{mood:?}");
        let all = batch.records.len();
        let (taken, outcome) = match mood {
            Mood::Choosy if batch.records.iter().any(is_bad) => (0, Outcome::Refused { why }),
            Mood::Narrow if all > 2 => (0, Outcome::TooLarge { why }),
            Mood::Well | Mood::Slow | Mood::Choosy | Mood::Narrow => (all, Outcome::Confirmed),
            Mood::Refusing => (0, Outcome::Refused { why }),
            Mood::Closed => (0, Outcome::Broken { why }),
            Mood::Busy => {
                let after_us = Some(around.dice.below(120_000_000));
                (0, Outcome::Retry { why, after_us })
            }
            Mood::Failing | Mood::Hanging | Mood::Lying | Mood::Patchy => {
                let taken = match mood {
                    Mood::Lying => all,
                    Mood::Patchy => around.dice.below(all as u64 + 1) as usize,
                    _ => 0,
                };
                let after_us = None;
                (taken, Outcome::Retry { why, after_us })
            }
        };
        let body = String::from_utf8_lossy(&batch.body).into_owned();
        for (record, line) in batch.records.iter().zip(body.lines()).take(taken) {
            let id = &record.id;
            let Some(waiting) = self.seen.get(id) else {
                let why = || format!("{id} was never read");
                around.story.check("what is sent was spooled", false, why);
                continue;
            };
            around.witness.send(waiting.place.position, around.story);
            around
                .upstream
                .take(around.gateway, line, waiting, around.witness, around.story);
        }
        let takes_us = if mood == Mood::Hanging {
            35_000_000
        } else if mood == Mood::Slow {
            20_000_000
        } else {
            1_000 + around.dice.below(300_000)
        };
        self.request = Some(Request {
            until_us: around.now_us + takes_us,
            batch: Arc::clone(batch),
            outcome,
            // One that breaks off has said so of what it took; one that lies has not.
            taken: if mood == Mood::Patchy { taken } else { 0 },
        });
    }
}
