//! The Sparkplug B edge node: births, data and deaths in the order that a host needs.
//!
//! ```text
//! CONNECT (will: NDEATH n) ─▶ subscribe NCMD ─▶ NBIRTH n, seq 0 ─▶ DBIRTH of every device known
//!        ─▶ DDATA per record; a DBIRTH before it where a device or metric is new
//! NCMD Rebirth = true ─▶ NBIRTH n, seq 0 ─▶ DBIRTH …        stop ─▶ NDEATH n, DISCONNECT
//! ```
//!
//! - A device is what records were seen of since the start, with every metric that they had: a
//!   birth is made of these, with their newest values.
//! - `seq` counts the messages of a connection, 0 to 255 and over again, a birth of the node
//!   beginning at 0. `bdSeq` pairs a birth with the death that the broker holds as the will; it
//!   grows with every connection, from a number drawn at the start.
//! - A record older than the newest of its sensor and rule is marked historical.
//!
//! # Limit
//! [`METRICS_MAX`] metrics are remembered, since every birth has to have all of them. A record
//! that brings more is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prost::Message as _;

use super::dialect::Message;
use super::newest::Newest;
use crate::record::Record;
use crate::sinks::delivery::Outcome;
use crate::sinks::encoding::sparkplug::{self, Metric, MetricValue, Payload, Sending};
use crate::sinks::encoding::template::topic_level;
use crate::time::Clock;

/// Metrics of a node, over all its devices: those of 1,000 devices with 8 sensors and 8 values,
/// in some 15 MB.
pub const METRICS_MAX: usize = 65_536;
/// What every topic begins with.
const NAMESPACE: &str = "spBv1.0";

/// A Sparkplug edge node.
pub struct Node {
    group: String,
    name: String,
    clock: Arc<dyn Clock>,
    bd_seq: u8,
    /// Number of the next message.
    seq: u8,
    devices: BTreeMap<String, Device>,
    metrics: usize,
    newest: Newest,
}

/// A device that records were seen of.
#[derive(Default)]
struct Device {
    metrics: BTreeMap<String, Metric>,
    /// Its birth on this connection has every metric.
    is_born: bool,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("group", &self.group)
            .field("name", &self.name)
            .field("bd_seq", &self.bd_seq)
            .field("devices", &self.devices.len())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node that knows of no device yet; its first connection has `bd_seq`.
    pub fn new(group: &str, edge_node: &str, bd_seq: u8, clock: Arc<dyn Clock>) -> Self {
        Self {
            group: topic_level(group).into_owned(),
            name: topic_level(edge_node).into_owned(),
            clock,
            bd_seq: bd_seq.wrapping_sub(1),
            seq: 0,
            devices: BTreeMap::new(),
            metrics: 0,
            newest: Newest::default(),
        }
    }

    /// Begins a connection: its will.
    pub fn connects(&mut self) -> Message {
        self.bd_seq = self.bd_seq.wrapping_add(1);
        self.death()
    }

    /// The node's death: the will, and what a planned stop says itself.
    pub fn death(&self) -> Message {
        let payload = sparkplug::node_death(self.bd_seq, self.now_ms());
        self.message("NDEATH", None, payload)
    }

    /// Topic of commands to the node.
    pub fn command_topic(&self) -> String {
        self.topic("NCMD", None)
    }

    /// The node's birth and those of its devices.
    pub fn births(&mut self) -> Vec<Message> {
        let now_ms = self.now_ms();
        let payload = sparkplug::node_birth(self.bd_seq, now_ms);
        self.seq = 1;
        let mut births = vec![self.message("NBIRTH", None, payload)];
        let devices: Vec<String> = self.devices.keys().cloned().collect();
        births.extend(devices.iter().map(|device| self.birth(device, now_ms)));
        births
    }

    /// A record as data, behind a birth of its device where that is due.
    pub fn say(&mut self, record: &Record) -> Result<Vec<Message>, Outcome> {
        let now_ms = self.now_ms();
        self.learn(record)?;
        let mut said = Vec::with_capacity(2);
        if !self.is_born(&record.device) {
            said.push(self.birth(&record.device, now_ms));
        }
        let tag = format!("{}/{}/{}", record.device, record.sensor, record.rule);
        let sending = Sending {
            seq: self.next_seq(),
            sent_ms: now_ms,
            is_historical: !self.newest.may_be_kept(&tag, record),
        };
        let payload = sparkplug::data(record, &sending);
        said.push(self.message("DDATA", Some(&record.device), payload));
        Ok(said)
    }

    /// What a command asks for: births, or nothing.
    pub fn command(&mut self, topic: &str, payload: &[u8]) -> Vec<Message> {
        let asks = |metric: &Metric| {
            metric.name.as_deref() == Some(sparkplug::REBIRTH)
                && metric.value == Some(MetricValue::Boolean(true))
        };
        let is_rebirth = topic == self.command_topic()
            && Payload::decode(payload).is_ok_and(|command| command.metrics.iter().any(asks));
        if is_rebirth {
            self.births()
        } else {
            Vec::new()
        }
    }

    /// Takes a record's metrics in; a device that gets a new one has to be born again.
    fn learn(&mut self, record: &Record) -> Result<(), Outcome> {
        let metrics = sparkplug::metrics(record);
        let known = self.devices.get(&record.device);
        let name = |metric: &Metric| metric.name.clone().unwrap_or_default();
        let new = metrics
            .iter()
            .filter(|metric| known.is_none_or(|device| !device.metrics.contains_key(&name(metric))))
            .count();
        if self.metrics + new > METRICS_MAX {
            return Err(Outcome::Refused {
                why: format!(
                    "a Sparkplug node has at most {METRICS_MAX} metrics: \
                     send fewer sensors, rules or values to this sink"
                ),
            });
        }
        self.metrics += new;
        let device = self.devices.entry(record.device.clone()).or_default();
        device.is_born &= new == 0;
        for metric in metrics {
            device.metrics.insert(name(&metric), metric);
        }
        Ok(())
    }

    fn is_born(&self, device: &str) -> bool {
        self.devices
            .get(device)
            .is_some_and(|device| device.is_born)
    }

    fn birth(&mut self, device: &str, now_ms: u64) -> Message {
        let seq = self.next_seq();
        let metrics = self.devices.get_mut(device).map(|device| {
            device.is_born = true;
            device.metrics.values().cloned().collect()
        });
        let payload = sparkplug::device_birth(metrics.unwrap_or_default(), seq, now_ms);
        self.message("DBIRTH", Some(device), payload)
    }

    fn next_seq(&mut self) -> u8 {
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        seq
    }

    fn message(&self, kind: &str, device: Option<&str>, payload: Vec<u8>) -> Message {
        Message {
            topic: self.topic(kind, device),
            payload,
            is_retained: false,
        }
    }

    fn topic(&self, kind: &str, device: Option<&str>) -> String {
        let Self { group, name, .. } = self;
        let node = format!("{NAMESPACE}/{group}/{kind}/{name}");
        match device {
            Some(device) => format!("{node}/{}", topic_level(device)),
            None => node,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().wall_us.div_euclid(1_000)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
