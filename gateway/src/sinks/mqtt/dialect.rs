//! MQTT as a session speaks it: messages out, acknowledgements in.
//!
//! A packet id belongs to one message until it is acknowledged, so that what is acknowledged is
//! exactly what was sent under it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::node::Node;
use super::opening::Limits;
use super::packet::{self, Arrived, DISCONNECT, PINGREQ, Publish};
use super::reason;
use crate::rules::settings::MqttVersion;
use crate::sinks::batch::Batch;
use crate::sinks::delivery::Outcome;
use crate::sinks::session::flight::Flight;
use crate::sinks::session::line::{Line, Lost};
use crate::sinks::session::{Dialect, retry};

/// Longest packet that is read, in bytes: a kept record with room to spare.
pub const PACKET_BYTES_MAX: usize = 1 << 20;
/// Messages without acknowledgements of their own that are sent before a ping asks whether they
/// arrived.
pub const FENCED_MAX: usize = 256;

/// A message of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Whether the broker is to keep it.
    pub is_retained: bool,
}

impl Message {
    /// The message under a packet id, or without one.
    fn publish(&self, id: Option<u16>) -> Publish<'_> {
        Publish {
            topic: &self.topic,
            payload: &self.payload,
            id,
            is_retained: self.is_retained,
        }
    }
}

/// What is sent of a batch.
pub enum Script {
    /// A message per record at `QoS` 1: each is acknowledged.
    Acknowledged(Vec<Message>),
    /// Records as data of a Sparkplug node at `QoS` 0, as its specification wants it: the answer
    /// to a ping sent behind them says that the broker has read them.
    Fenced(Arc<Batch>),
}

/// MQTT over one connection.
pub struct Mqtt {
    /// Version spoken.
    version: MqttVersion,
    limits: Limits,
    client_id: String,
    node: Option<Arc<Mutex<Node>>>,
    next_id: u16,
    /// Messages in flight by packet id.
    ids: BTreeMap<u16, usize>,
    /// Messages put so far.
    put: usize,
    /// Pings without an answer, each with the number of messages that it confirms.
    pings: VecDeque<usize>,
}

impl Mqtt {
    /// Speaks over an opened connection, for a node if it is one.
    pub fn new(
        version: MqttVersion,
        limits: Limits,
        client_id: String,
        node: Option<Arc<Mutex<Node>>>,
    ) -> Self {
        Self {
            version,
            limits,
            client_id,
            node,
            // The subscription has 1.
            next_id: 2,
            ids: BTreeMap::new(),
            put: 0,
            pings: VecDeque::new(),
        }
    }

    /// Writes a message at `QoS` 1.
    fn put_numbered(
        &mut self,
        message: &Message,
        index: usize,
        output: &mut Vec<u8>,
    ) -> Result<u64, Outcome> {
        while self.next_id < 2 || self.ids.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let publish = message.publish(Some(self.next_id));
        fits(&self.limits, self.version, &publish)?;
        packet::publish(self.version, &publish, output);
        self.ids.insert(self.next_id, index);
        self.next_id = self.next_id.wrapping_add(1);
        Ok(message.payload.len() as u64)
    }

    /// Writes a record as what a node says of it.
    fn put_said(
        &mut self,
        batch: &Batch,
        index: usize,
        output: &mut Vec<u8>,
    ) -> Result<u64, Outcome> {
        let (Some(node), Some(record)) = (&self.node, batch.records.get(index)) else {
            return Ok(0);
        };
        let said = lock(node).say(record)?;
        self.put = index + 1;
        put_all(&said, &self.limits, self.version, output)
    }

    fn acknowledged(
        &mut self,
        (script, flight): (&Script, &mut Flight),
        id: u16,
        code: u8,
        words: Option<&str>,
    ) {
        let Some((index, Script::Acknowledged(messages))) =
            self.ids.remove(&id).map(|index| (index, script))
        else {
            return;
        };
        let Some(message) = messages.get(index) else {
            return;
        };
        let bytes = packet::publish_bytes(self.version, &message.publish(Some(id)));
        match reason::of_puback(&message.topic, bytes, code, words) {
            None => flight.confirmed(index),
            Some(outcome) => flight.failed(index, outcome),
        }
    }
}

impl Dialect for Mqtt {
    type Script = Script;

    fn begin(&mut self) {
        self.ids.clear();
        self.put = 0;
    }

    fn window(&self, script: &Script) -> usize {
        match script {
            Script::Acknowledged(_) => self.limits.window,
            Script::Fenced(_) => FENCED_MAX,
        }
    }

    fn put(&mut self, script: &Script, index: usize, output: &mut Vec<u8>) -> Result<u64, Outcome> {
        match script {
            Script::Acknowledged(messages) => match messages.get(index) {
                Some(message) => self.put_numbered(message, index, output),
                None => Ok(0),
            },
            Script::Fenced(batch) => self.put_said(batch, index, output),
        }
    }

    fn put_behind(&mut self, script: &Script, flight: &Flight, output: &mut Vec<u8>) {
        let is_fenced = self.pings.iter().any(|confirms| *confirms > 0);
        if matches!(script, Script::Fenced(_)) && flight.in_flight() > 0 && !is_fenced {
            output.extend(PINGREQ);
            self.pings.push_back(self.put);
        }
    }

    fn take(
        &mut self,
        input: &mut Vec<u8>,
        output: &mut Vec<u8>,
        underway: Option<(&Script, &mut Flight)>,
    ) -> Result<bool, Lost> {
        let Some(arrived) = take(self.version, input)? else {
            return Ok(false);
        };
        match arrived {
            Arrived::PubAck { id, code, words } => {
                if let Some(underway) = underway {
                    self.acknowledged(underway, id, code, words.as_deref());
                }
            }
            Arrived::PingResp => {
                let confirms = self.pings.pop_front().unwrap_or(0);
                if let Some((_, flight)) = underway {
                    (0..confirms).for_each(|index| flight.confirmed(index));
                }
            }
            Arrived::Message {
                topic, payload, id, ..
            } => {
                if let Some(id) = id {
                    packet::puback(id, output);
                }
                if let Some(node) = &self.node {
                    let births = lock(node).command(&topic, &payload);
                    put_all(&births, &self.limits, self.version, output)
                        .map_err(super::too_long_a_birth)?;
                }
            }
            Arrived::Disconnect { code, words } => {
                return Err(Lost {
                    outcome: reason::of_disconnect(&self.client_id, code, words.as_deref()),
                    is_silent: reason::is_about_a_message(code),
                });
            }
            Arrived::ConnAck { .. } | Arrived::SubAck { .. } | Arrived::UnsubAck { .. } => {}
        }
        Ok(true)
    }

    fn ping(&mut self, output: &mut Vec<u8>) {
        output.extend(PINGREQ);
        self.pings.push_back(0);
    }

    fn is_pinging(&self) -> bool {
        !self.pings.is_empty()
    }

    fn goodbye(&mut self, output: &mut Vec<u8>) {
        if let Some(node) = &self.node {
            let death = lock(node).death();
            // One that is too large cannot be sent: without DISCONNECT the broker sends the will.
            if put_all(&[death], &self.limits, self.version, output).is_err() {
                return;
            }
        }
        output.extend(DISCONNECT);
    }
}

/// The next packet that arrives on a line; what waits is written meanwhile.
pub async fn next(line: &mut Line, version: MqttVersion) -> Result<Arrived, Lost> {
    loop {
        if let Some(arrived) = take(version, &mut line.input)? {
            return Ok(arrived);
        }
        line.turn().await?;
    }
}

fn take(version: MqttVersion, input: &mut Vec<u8>) -> Result<Option<Arrived>, Lost> {
    packet::take(version, input, PACKET_BYTES_MAX)
        .map_err(|error| Lost::from(retry(error.to_string())))
}

/// Puts messages at `QoS` 0 into the output, all or none; returns the bytes of their payloads.
pub fn put_all(
    messages: &[Message],
    limits: &Limits,
    version: MqttVersion,
    output: &mut Vec<u8>,
) -> Result<u64, Outcome> {
    for message in messages {
        fits(limits, version, &message.publish(None))?;
    }
    for message in messages {
        packet::publish(version, &message.publish(None), output);
    }
    Ok(messages.iter().map(|one| one.payload.len() as u64).sum())
}

/// Whether a message can be sent to this broker.
fn fits(limits: &Limits, version: MqttVersion, publish: &Publish<'_>) -> Result<(), Outcome> {
    let bytes = packet::publish_bytes(version, publish);
    if bytes <= limits.packet_bytes_max {
        return Ok(());
    }
    Err(Outcome::TooLarge {
        why: format!(
            "a message of {bytes} bytes on {}: the broker takes at most {} bytes",
            publish.topic, limits.packet_bytes_max
        ),
    })
}

/// The node. Whoever broke off while holding it left it whole: every change is one call.
pub fn lock(node: &Mutex<Node>) -> MutexGuard<'_, Node> {
    node.lock().unwrap_or_else(PoisonError::into_inner)
}
