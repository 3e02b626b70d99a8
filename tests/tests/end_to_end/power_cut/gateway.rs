//! One start of the gateway, from power up to the cut: the core's and the writer's work in one
//! thread, in their order. Nothing here survives but what is on the disk.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use tidegate_gateway::disk::{Disk, FaultDisk};
use tidegate_gateway::entry::{ENGINE, Entry, Logged};
use tidegate_gateway::identity;
use tidegate_gateway::rules::settings::Settings;
use tidegate_gateway::session::{Effect, Event, Session, SessionConfig};
use tidegate_gateway::store::Store;
use tidegate_gateway::time::Timestamp;
use tidegate_shared::frame;
use tidegate_shared::ids::Term;
use tidegate_shared::message::Down;
use tidegate_shared::topic::Topic;

use super::books;
use super::receiver::Receiver;
use super::script::WALL_US;
use super::sending::Sending;
use super::witness::Witness;

/// The power went: the process is no more.
#[derive(Debug)]
pub struct PowerCut;

/// A message on its way to the broker.
pub struct Published {
    pub topic: Topic,
    pub retained: bool,
    pub payload: Vec<u8>,
}

/// One start of the gateway.
pub struct Gateway {
    /// What the broker says when the gateway is gone.
    pub will: Vec<u8>,
    disk: FaultDisk,
    store: Store,
    session: Session,
    settings: Settings,
    start: u32,
    began_us: u64,
    pending: Vec<Logged>,
    pending_since_us: u64,
    commit_now: bool,
    tick_at_us: Option<u64>,
    sinks: Vec<Sending>,
}

/// What a call on a disk came to; an error without a cut is a broken promise.
pub fn or_cut<V, E: Error>(disk: &FaultDisk, result: Result<V, E>) -> Result<V, PowerCut> {
    match result {
        Ok(value) if !disk.is_cut() => Ok(value),
        Err(error) if !disk.is_cut() => {
            let cause = error.source().map(ToString::to_string);
            panic!("the power is on, yet: {error}: {cause:?}")
        }
        _ => Err(PowerCut),
    }
}

fn timestamp(began_us: u64, world_us: u64) -> Timestamp {
    Timestamp {
        mono_us: world_us - began_us,
        wall_us: WALL_US + world_us as i64,
        wall_trusted: true,
    }
}

impl Gateway {
    /// Starts on a disk; `draw` stands for entropy.
    pub fn start(
        disk: &FaultDisk,
        settings: &Settings,
        draw: u32,
        world_us: u64,
        witness: &Witness,
    ) -> Result<Self, PowerCut> {
        let now = timestamp(world_us, world_us);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let identity = or_cut(disk, identity::begin(&shared, draw.into()))?;
        let (store, report) = or_cut(disk, Store::open(&shared, settings, draw, now))?;
        witness.check_report(&report, store.log_incarnation());
        books::balanced(&store);
        let term = Term(draw);
        let site = settings.site.clone();
        let mut config = SessionConfig::new(site, identity.gateway, term, identity.start);
        config.limits = settings.limits;
        let session = Session::new(config, store.marks().clone());
        let mut gateway = Self {
            will: session.offline_payload(),
            disk: disk.clone(),
            session,
            start: identity.start,
            began_us: world_us,
            pending: Vec::new(),
            pending_since_us: 0,
            commit_now: true,
            tick_at_us: None,
            sinks: settings.sinks.iter().map(Sending::new).collect(),
            settings: settings.clone(),
            store,
        };
        for entry in gateway.first_entries(term) {
            gateway.push(now, entry);
        }
        Ok(gateway)
    }

    fn first_entries(&self, term: Term) -> Vec<Entry> {
        let mut entries = vec![Entry::Started {
            engine: ENGINE,
            log_incarnation: self.store.log_incarnation(),
            term: term.0,
            site: self.settings.site.to_string(),
        }];
        if *self.store.rules() != self.settings.rules {
            let text = self.settings.rules.to_json();
            entries.push(Entry::Rules { text });
        }
        if *self.store.limits() != self.settings.limits {
            entries.push(Entry::Limits(self.settings.limits));
        }
        entries
    }

    /// The store, to look at.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn now(&self, world_us: u64) -> Timestamp {
        timestamp(self.began_us, world_us)
    }

    fn push(&mut self, at: Timestamp, entry: Entry) {
        if self.pending.is_empty() {
            self.pending_since_us = at.mono_us;
        }
        let start = self.start;
        self.pending.push(Logged { start, at, entry });
    }

    /// Brings an event to the session; what it publishes goes to `out`, and its acks on record.
    pub fn handle(
        &mut self,
        world_us: u64,
        event: Event<'_>,
        witness: &mut Witness,
        out: &mut Vec<Published>,
    ) {
        let now = self.now(world_us);
        let mut effects = Vec::new();
        self.session.handle(now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Append(entry) => self.push(now, entry),
                Effect::CommitNow => self.commit_now = true,
                Effect::Publish {
                    topic,
                    retained,
                    payload,
                    ..
                } => {
                    note_ack(witness, &topic, &payload);
                    out.push(Published {
                        topic,
                        retained,
                        payload,
                    });
                }
                other => panic!("nothing calls for {other:?}"),
            }
        }
    }

    /// Does what is due: deadlines, the commit batch, deliveries. `is_stalled` says of which
    /// sinks the receiver does not answer.
    pub fn step(
        &mut self,
        world_us: u64,
        witness: &mut Witness,
        receivers: &mut BTreeMap<String, Receiver>,
        is_stalled: impl Fn(&str) -> bool,
        out: &mut Vec<Published>,
    ) -> Result<(), PowerCut> {
        let now = self.now(world_us);
        if self
            .session
            .next_deadline()
            .is_some_and(|due| due <= now.mono_us)
        {
            self.handle(world_us, Event::Deadline, witness, out);
        }
        if self.tick_at_us.is_some_and(|due| due <= now.mono_us) {
            if self.pending.is_empty() {
                self.push(now, Entry::Tick);
            }
            self.commit_now = true;
            self.tick_at_us = None;
        }
        let due_us = self.pending_since_us + self.settings.log.commit_ms * 1_000;
        if !self.pending.is_empty() && (self.commit_now || due_us <= now.mono_us) {
            self.commit(world_us, witness, out)?;
        }
        for sink in &mut self.sinks {
            let receiver = receivers.entry(sink.name.clone()).or_default();
            let stalled = is_stalled(&sink.name);
            sink.step(now, (&self.disk, &self.store), stalled, (receiver, witness))?;
        }
        Ok(())
    }

    fn commit(
        &mut self,
        world_us: u64,
        witness: &mut Witness,
        out: &mut Vec<Published>,
    ) -> Result<(), PowerCut> {
        let now = self.now(world_us);
        for entry in self.session.tally_entries() {
            self.push(now, entry);
        }
        let entries = std::mem::take(&mut self.pending);
        self.commit_now = false;
        witness.offer(&entries);
        or_cut(&self.disk, self.store.append(&entries))?;
        witness.confirm(self.store.end());
        self.handle(world_us, Event::Durable(&entries), witness, out);
        self.store.fold(&entries);
        or_cut(&self.disk, self.store.settle(now))?;
        self.tick_at_us = self.store.next_deadline();
        for (device, hash) in self.store.wanted() {
            let event = Event::CatalogWanted {
                device: &device,
                hash,
            };
            self.handle(world_us, event, witness, out);
        }
        Ok(())
    }

    /// Whether nothing is pending, waiting or on its way.
    pub fn is_at_rest(&self) -> bool {
        let spool = self.store.spool();
        let spool = spool.lock().expect("no panic while it was held");
        let waiting = spool
            .queues()
            .filter_map(|(id, ..)| spool.waiting(id).ok())
            .map(|backlog| backlog.records);
        self.pending.is_empty() && waiting.sum::<u64>() == 0
    }

    /// Stops cleanly.
    pub fn stop(
        mut self,
        world_us: u64,
        witness: &mut Witness,
        out: &mut Vec<Published>,
    ) -> Result<(), PowerCut> {
        while !self.pending.is_empty() {
            self.commit(world_us, witness, out)?;
        }
        self.handle(world_us, Event::Stop, witness, out);
        let now = self.now(world_us);
        or_cut(&self.disk, self.store.stop(now))
    }
}

fn note_ack(witness: &mut Witness, topic: &Topic, payload: &[u8]) {
    let frame = frame::read(payload).expect("the session writes frames");
    if let (Topic::Down(device), Ok(Down::Ack(ack))) = (topic, Down::read(frame.body)) {
        witness.ack(device, &ack);
    }
}
