//! Delivery to one sink, from the spool to a receiver that remembers: the sink's shell without
//! its socket.

use std::collections::{BTreeMap, VecDeque};

use tidegate_gateway::disk::FaultDisk;
use tidegate_gateway::record::RecordId;
use tidegate_gateway::rules::settings::SinkSettings;
use tidegate_gateway::run::queue::SpoolQueue;
use tidegate_gateway::sinks::Waiting;
use tidegate_gateway::sinks::batch::Batch;
use tidegate_gateway::sinks::delivery::{self, Answer, BatchLimits, Machine, Outcome};
use tidegate_gateway::sinks::encoding::Encoding;
use tidegate_gateway::sinks::queue::carry_out;
use tidegate_gateway::store::Store;
use tidegate_gateway::time::Timestamp;

use super::gateway::{PowerCut, or_cut};
use super::receiver::Receiver;
use super::witness::Witness;

/// Delivery to one sink.
pub struct Sending {
    pub name: String,
    machine: Machine,
    /// A request is at the receiver, which has not answered.
    in_flight: bool,
    /// The next answer comes too late to count.
    is_late: bool,
    /// What the queues held when they were last read.
    seen: BTreeMap<RecordId, Waiting>,
}

impl Sending {
    /// Delivery that knows of nothing yet.
    pub fn new(settings: &SinkSettings) -> Self {
        let limits = BatchLimits {
            records_max: settings.batch_records_max,
            bytes_max: settings.batch_bytes_max,
            age_us: 0,
        };
        Self {
            name: settings.name.clone(),
            machine: Machine::new(limits, Encoding::Ndjson, 7),
            in_flight: false,
            is_late: false,
            seen: BTreeMap::new(),
        }
    }

    /// Takes the receiver's answer, unless it is stalled, and gives it what waits.
    pub fn step(
        &mut self,
        now: Timestamp,
        on: (&FaultDisk, &Store),
        stalled: bool,
        mut to: (&mut Receiver, &mut Witness),
    ) -> Result<(), PowerCut> {
        if self.in_flight && stalled {
            self.is_late = true;
            return Ok(());
        }
        if self.in_flight {
            self.in_flight = false;
            let answer = self.answer();
            self.perform(now, delivery::Event::Answer(answer), on, &mut to)?;
        }
        let due = self.machine.next_deadline();
        if due.is_some_and(|due| due.mono_us <= now.mono_us) {
            self.perform(now, delivery::Event::Deadline, on, &mut to)?;
        }
        self.perform(now, delivery::Event::RecordsWaiting, on, &mut to)
    }

    /// What comes after a stall is given up; then all is well.
    fn answer(&mut self) -> Answer {
        let outcome = if std::mem::take(&mut self.is_late) {
            let why = "no answer in time".to_owned();
            Outcome::Retry {
                why,
                after_us: None,
            }
        } else {
            Outcome::Confirmed
        };
        Answer {
            outcome,
            sent_bytes: 100,
            header_bytes: 10,
            taken: 0,
        }
    }

    fn perform(
        &mut self,
        now: Timestamp,
        event: delivery::Event,
        (disk, store): (&FaultDisk, &Store),
        (receiver, witness): &mut (&mut Receiver, &mut Witness),
    ) -> Result<(), PowerCut> {
        let queue = SpoolQueue::new(store.spool(), &self.name);
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.machine.handle(now, event, &mut effects);
            for effect in effects {
                let effect = match carry_out(&queue, effect) {
                    Ok(event) => {
                        if let Some(delivery::Event::Read { result, .. }) = &event {
                            for one in result.iter().flat_map(|found| &found.waiting) {
                                self.seen.insert(one.record.id, one.clone());
                            }
                        }
                        let event = event.map(|event| works(disk, event)).transpose()?;
                        events.extend(event);
                        continue;
                    }
                    Err(effect) => effect,
                };
                if let delivery::Effect::Send(batch) = effect {
                    self.give(&batch, receiver, witness);
                    self.in_flight = true;
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, batch: &Batch, receiver: &mut Receiver, witness: &mut Witness) {
        let body = str::from_utf8(&batch.body).expect("JSON is UTF-8");
        for (record, line) in batch.records.iter().zip(body.lines()) {
            let waiting = self
                .seen
                .get(&record.id)
                .expect("what is sent was read before");
            witness.deliver(waiting.place.position);
            receiver.take(line, waiting);
        }
    }
}

/// An event that says that the spool works: it may fail by a power cut only.
fn works(disk: &FaultDisk, event: delivery::Event) -> Result<delivery::Event, PowerCut> {
    Ok(match event {
        delivery::Event::Read { class, result } => delivery::Event::Read {
            class,
            result: Ok(or_cut(disk, result)?),
        },
        delivery::Event::Recorded(result) => delivery::Event::Recorded(Ok(or_cut(disk, result)?)),
        other => other,
    })
}
