//! The MQTT sink: a message per record, confirmed by the broker one by one.
//!
//! # Terms
//! - *session*: the task that owns a connection (`session`); a lost one is never
//!   repaired, the next attempt makes a new one.
//! - *kept*: retained by the broker for later subscribers (`newest`).
//! - *node*: the sink as a Sparkplug B edge node (`node`).
//!
//! # Invariants
//! - A record is confirmed by the PUBACK of its own packet id, which is why this client writes its
//!   packets itself: `rumqttc` does not say which publish an acknowledgement is for, resends after
//!   a reconnect by itself, and ends the connection at a reason code that it does not know
//!   (Mosquitto's 0x95 for a message beyond its `message_size_limit`).
//! - Records that were acknowledged in an attempt that failed are remembered, and not sent again
//!   by the next. After a restart they are: a receiver knows them by their ids.
//! - What a broker acknowledges it has in memory. One that is to lose nothing when it is killed
//!   must store at every message; Mosquitto does not.
//!
//! # Bytes
//! `sent_bytes` are payloads. `header_bytes` is all else that went over the connection both ways
//! since the answer before: topics, packet ids, acknowledgements, CONNECT and pings, exactly; TLS,
//! TCP and IP come on top.

mod dialect;
mod newest;
mod node;
mod opening;
mod packet;
mod reason;
mod suspicion;
mod topic;

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::secret;
use super::session::flight::Acknowledged;
use super::session::line::{Address, Line, Lost, Secure};
use super::session::{self, Handle, Report, retry};
use super::transport::{Attempt, Transport};
use crate::backoff::seed;
use crate::causes;
use crate::rules::settings::{MqttPayload, MqttSinkSettings, SinkSettings};
use crate::time::Clock;
use dialect::{Message, Mqtt, Script, lock, put_all};
use newest::Newest;
use node::Node;
use opening::{Hello, Limits};
use suspicion::Suspicion;

/// Longest wait for a connection, for TLS, and for the opening behind them.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Publishes batches to one broker.
pub struct MqttTransport {
    name: String,
    settings: MqttSinkSettings,
    timeout: Duration,
    node: Option<Arc<Mutex<Node>>>,
    newest: Newest,
    /// The broker was asked what it keeps.
    has_learnt: bool,
    acknowledged: Acknowledged,
    suspicion: Suspicion,
    traffic: Arc<AtomicU64>,
    session: Option<Handle<Script>>,
}

impl MqttTransport {
    /// A transport to the broker of these settings; the sink's timeout bounds the sending of a
    /// batch. Nothing is connected before the first one.
    pub fn new(sink: &SinkSettings, settings: &MqttSinkSettings, clock: Arc<dyn Clock>) -> Self {
        let node = match &settings.payload {
            MqttPayload::Json { .. } => None,
            MqttPayload::SparkplugB { group, edge_node } => {
                let bd_seq = seed().to_le_bytes()[0];
                Some(Arc::new(Mutex::new(Node::new(
                    group, edge_node, bd_seq, clock,
                ))))
            }
        };
        Self {
            name: sink.name.clone(),
            settings: settings.clone(),
            timeout: Duration::from_millis(sink.timeout_ms),
            node,
            newest: Newest::default(),
            has_learnt: false,
            acknowledged: Acknowledged::default(),
            suspicion: Suspicion::default(),
            traffic: Arc::default(),
            session: None,
        }
    }

    async fn attempt(&mut self, batch: &Arc<Batch>) -> Answer {
        // Taken out: an attempt given up halfway ends its session.
        let held = self.session.take().filter(Handle::is_alive);
        let session = match held {
            Some(session) => session,
            None => match self.connect(batch).await {
                Ok(session) => session,
                Err(outcome) => return self.answer(outcome, 0, 0),
            },
        };
        let flight = self
            .acknowledged
            .flight(batch)
            .carefully(self.suspicion.is_on());
        let script = self.script(batch);
        let Some(report) = session.send(flight, script, self.timeout).await else {
            let why = "the connection ended before anything was sent".into();
            return self.answer(retry(why), 0, 0);
        };
        self.session = Some(session);
        self.conclude(batch, &report)
    }

    /// What a session's report means.
    fn conclude(&mut self, batch: &Batch, report: &Report) -> Answer {
        let flight = &report.flight;
        let taken = flight.taken();
        self.acknowledged.keep(batch, flight);
        let mut outcome = flight.outcome();
        if flight.has_advanced() {
            self.suspicion.acquit();
        }
        let first = batch.records.get(taken).filter(|_| report.is_silent);
        if let Some(first) = first
            && self.suspicion.strike(first.id)
        {
            self.suspicion.acquit();
            let bytes = batch
                .pieces()
                .nth(taken)
                .map_or(0, |(_, piece)| piece.len());
            outcome = Outcome::Refused {
                why: format!(
                    "the broker closes the connection whenever it gets this record of {bytes} \
                     bytes: it may be longer than the broker takes"
                ),
            };
        }
        let taken = if outcome == Outcome::Confirmed {
            0
        } else {
            taken
        };
        self.answer(outcome, report.payload_bytes, taken)
    }

    fn answer(&self, outcome: Outcome, sent_bytes: u64, taken: usize) -> Answer {
        session::answer(&self.traffic, outcome, sent_bytes, taken)
    }

    /// What is sent of a batch.
    fn script(&mut self, batch: &Arc<Batch>) -> Script {
        let MqttPayload::Json { topic } = &self.settings.payload else {
            return Script::Fenced(Arc::clone(batch));
        };
        let newest = &mut self.newest;
        let retain = self.settings.retain;
        let messages = batch
            .pieces()
            .map(|(record, piece)| {
                let topic = topic::of(topic, record);
                Message {
                    is_retained: retain && newest.may_be_kept(&topic, record),
                    payload: piece.strip_suffix(b"\n").unwrap_or(piece).to_vec(),
                    topic,
                }
            })
            .collect();
        if self.newest.fills() {
            tracing::warn!(
                sink = self.name,
                topics = newest::TOPICS_MAX,
                "too many topics: the values of further ones are sent, but not retained"
            );
        }
        Script::Acknowledged(messages)
    }

    /// Makes a connection and starts its session.
    async fn connect(&mut self, batch: &Batch) -> Result<Handle<Script>, Outcome> {
        let address = self.address()?;
        let hello = self.hello(batch)?;
        let version = self.settings.version;
        let limit = CONNECT_MAX.min(self.timeout);
        let mut line = Line::open(&address, limit).await?;
        let opened = self.open(&mut line, &hello, batch, limit).await;
        let opened = opened.map_err(|lost| lost.outcome);
        self.traffic
            .fetch_add(std::mem::take(&mut line.bytes), Ordering::Relaxed);
        let limits = opened?;
        let dialect = Mqtt::new(version, limits, hello.client_id, self.node.clone());
        let traffic = Arc::clone(&self.traffic);
        Ok(session::spawn(line, dialect, limits.keep_alive, traffic))
    }

    /// Introduces the sink and does what has to come before any record.
    async fn open(
        &mut self,
        line: &mut Line,
        hello: &Hello,
        batch: &Batch,
        limit: Duration,
    ) -> Result<Limits, Lost> {
        let version = self.settings.version;
        let introduced = opening::introduce(line, version, hello);
        let limits = in_time(limit, "CONNECT", introduced).await?;
        if let (MqttPayload::Json { topic }, true, false) = (
            &self.settings.payload,
            self.settings.retain,
            self.has_learnt,
        ) {
            let site = batch.records.first().map_or("", |record| &record.site);
            let filter = topic::filter(topic, site);
            opening::learn(line, version, (&filter, limit), &mut self.newest).await?;
            self.has_learnt = true;
        }
        if let Some(node) = &self.node {
            let commands = lock(node).command_topic();
            let purpose = "so a host cannot ask for births";
            let subscribed = opening::subscribe(line, version, (&commands, 1), purpose);
            in_time(limit, "SUBSCRIBE", subscribed).await?;
            let births = lock(node).births();
            put_all(&births, &limits, version, &mut line.output).map_err(too_long_a_birth)?;
        }
        Ok(limits)
    }

    /// Where the broker is, with the certificates as they are now.
    fn address(&self) -> Result<Address, Outcome> {
        let tls = self.settings.tls.as_ref().map(Secure::new).transpose();
        Ok(Address {
            host: self.settings.host.clone(),
            port: self.settings.port,
            tls: tls.map_err(|error| broken(&error))?,
        })
    }

    fn hello(&self, batch: &Batch) -> Result<Hello, Outcome> {
        let credentials = match &self.settings.credentials {
            None => None,
            Some((user, password)) => {
                let password = secret::read(password).map_err(|error| broken(&error))?;
                Some((user.clone(), password))
            }
        };
        let site = batch.records.first().map_or("", |record| &record.site);
        let client_id = self.settings.client_id.clone();
        let will = self.node.as_ref().map(|node| {
            let death = lock(node).connects();
            (death.topic, death.payload)
        });
        Ok(Hello {
            client_id: client_id.unwrap_or_else(|| format!("tidegate-{site}-{}", self.name)),
            credentials,
            will,
            retain: self.settings.retain && self.node.is_none(),
        })
    }
}

/// What is done within a limit.
async fn in_time<T>(
    limit: Duration,
    asked: &str,
    answered: impl Future<Output = Result<T, Lost>>,
) -> Result<T, Lost> {
    match tokio::time::timeout(limit, answered).await {
        Ok(answered) => answered,
        Err(_) => Err(Lost::from(retry(format!(
            "no answer to {asked} within {} s",
            limit.as_secs_f32()
        )))),
    }
}

/// A birth that does not fit is no record's fault.
fn too_long_a_birth(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::TooLarge { why } => Outcome::Broken {
            why: format!("a birth of the edge node is too long for the broker: {why}"),
        },
        other => other,
    }
}

impl Transport for MqttTransport {
    /// An attempt bounds itself, by the time to connect and the sink's timeout behind it: given up
    /// from outside, what was acknowledged would be forgotten.
    fn may_be_given_up(&self) -> bool {
        false
    }

    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        Box::pin(self.attempt(batch))
    }
}

/// A person is needed.
fn broken(error: &dyn Error) -> Outcome {
    Outcome::Broken {
        why: causes::told(error),
    }
}

#[cfg(test)]
pub(super) mod tests;
