//! Upstream: what the records of one side cost on the way to their sinks; an estimate.
//!
//! Records travel as sinks send them while the link is up: what comes within a commit of the log
//! goes together, a batch for each class, within the sink's limits; its body is rendered and
//! compressed as it would be. A batch's bytes are shared among its rules by the length of their
//! lines; the shares add up exactly, as those of the bill do. Left out are resends and the heads of
//! responses; backlogs after an outage go in larger batches, which cost less.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::record::Emitted;
use crate::rules::Priority;
use crate::rules::settings::SinkSettings;
use crate::sinks::encoding::Encoding;
use crate::sinks::framing::{Framing, Request};
use crate::sinks::http::{self, Form};
use crate::spool::bill;
use crate::time::Timestamp;

/// What records cost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Bodies before compression.
    pub bytes_before: u64,
    /// Bodies as sent.
    pub bytes_after: u64,
    /// What is around them: heads, TLS, TCP and IP, as `tidegate bill` estimates them.
    pub header_bytes: u64,
}

/// What went to one sink.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Records.
    pub records: u64,
    /// Batches: requests of an HTTP sink.
    pub batches: u64,
    /// What they cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// The batches of one side.
#[derive(Debug)]
pub(super) struct Upstream {
    sinks: BTreeMap<String, Sink>,
    gather_us: u64,
    /// Of each sink and rule.
    costs: BTreeMap<String, BTreeMap<String, Cost>>,
}

#[derive(Debug)]
struct Sink {
    records_max: usize,
    bytes_max: usize,
    /// The bytes of a request's head without a body's length; none for a file.
    head_bytes: Option<u64>,
    form: Option<Form>,
    encoding: Encoding,
    framing: Framing,
    /// Start of the gateway and its monotonic time, of the batch before.
    sent: Option<(u32, u64)>,
    open: BTreeMap<Priority, Batch>,
    sum: Sent,
}

/// A batch that is not full.
#[derive(Debug)]
struct Batch {
    /// Start of the gateway and its monotonic time.
    began: (u32, u64),
    records: usize,
    body: Vec<u8>,
    /// Bytes of each rule's records.
    weights: BTreeMap<String, u64>,
}

impl Cost {
    /// All bytes that leave.
    pub fn sent_bytes(&self) -> u64 {
        self.bytes_after + self.header_bytes
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.header_bytes += other.header_bytes;
    }
}

impl Upstream {
    /// Nothing to these sinks yet; what comes within `gather_us` goes together. Sinks that are not
    /// among them cost nothing.
    pub fn new(sinks: &[SinkSettings], gather_us: u64) -> Self {
        let sinks = sinks
            .iter()
            .map(|sink| (sink.name.clone(), Sink::new(sink)));
        Self {
            sinks: sinks.collect(),
            gather_us,
            costs: BTreeMap::new(),
        }
    }

    /// A record was emitted at a moment of a start of the gateway.
    pub fn take(&mut self, start: u32, at: Timestamp, emitted: &Emitted) {
        let to: BTreeSet<&String> = emitted.forward.iter().collect();
        if to.is_empty() {
            return;
        }
        let now = (start, at.mono_us);
        for name in to {
            let Some(sink) = self.sinks.get_mut(name) else {
                continue;
            };
            let mut piece = Vec::new();
            sink.encoding.encode(&emitted.record, &mut piece);
            let batch = sink.open.get(&emitted.priority);
            let is_over = batch.is_some_and(|batch| {
                let apart_us = now.1.saturating_sub(batch.began.1);
                batch.began.0 != start || apart_us > self.gather_us || !sink.fits(batch, &piece)
            });
            if is_over && let Some(batch) = sink.open.remove(&emitted.priority) {
                share(&mut self.costs, name, &batch, sink.send(&batch));
            }
            let batch = sink.open.entry(emitted.priority);
            let batch = batch.or_insert_with(|| Batch {
                began: now,
                records: 0,
                body: Vec::new(),
                weights: BTreeMap::new(),
            });
            batch.records += 1;
            batch.body.extend_from_slice(&piece);
            let weight = batch.weights.entry(emitted.record.rule.clone());
            *weight.or_default() += piece.len() as u64;
        }
    }

    /// What went to each sink, and of it what each rule's records cost, by sink and rule.
    pub fn end(
        mut self,
    ) -> (
        BTreeMap<String, Sent>,
        BTreeMap<String, BTreeMap<String, Cost>>,
    ) {
        for (name, sink) in &mut self.sinks {
            for batch in std::mem::take(&mut sink.open).into_values() {
                share(&mut self.costs, name, &batch, sink.send(&batch));
            }
        }
        let sinks = self.sinks.into_iter();
        (
            sinks.map(|(name, sink)| (name, sink.sum)).collect(),
            self.costs,
        )
    }
}

impl Sink {
    fn new(settings: &SinkSettings) -> Self {
        let form = http::form_of(&settings.kind);
        Self {
            records_max: settings.batch_records_max.max(1),
            bytes_max: settings.batch_bytes_max,
            head_bytes: form.as_ref().map(Form::head_bytes_about),
            form,
            encoding: Encoding::of(&settings.kind),
            framing: Framing::of(&settings.kind),
            sent: None,
            open: BTreeMap::new(),
            sum: Sent::default(),
        }
    }

    fn fits(&self, batch: &Batch, piece: &[u8]) -> bool {
        batch.records < self.records_max && batch.body.len() + piece.len() <= self.bytes_max
    }

    fn send(&mut self, batch: &Batch) -> Cost {
        let bytes_before = batch.body.len() as u64;
        // Compressing into memory cannot fail.
        let sent = self
            .form
            .as_ref()
            .and_then(|form| form.body(&batch.body).ok());
        let bytes_after = sent.map_or(bytes_before, |body| body.len() as u64);
        let digits = bytes_after.to_string().len() as u64;
        let (start, at_us) = batch.began;
        let before = self.sent.replace(batch.began);
        let before = before.filter(|(of_start, _)| *of_start == start);
        let idle_us = before.map(|(_, us)| at_us.saturating_sub(us));
        let request = Request {
            body_bytes: bytes_after,
            head_bytes: self.head_bytes.map_or(0, |bytes| bytes + digits),
            idle_us,
        };
        let cost = Cost {
            bytes_before,
            bytes_after,
            header_bytes: self.framing.estimate(&request),
        };
        self.sum.records += batch.records as u64;
        self.sum.batches += 1;
        self.sum.cost.add(&cost);
        cost
    }
}

fn share(
    costs: &mut BTreeMap<String, BTreeMap<String, Cost>>,
    sink: &str,
    batch: &Batch,
    cost: Cost,
) {
    let weights: Vec<u64> = batch.weights.values().copied().collect();
    let totals = [cost.bytes_before, cost.bytes_after, cost.header_bytes];
    for (rule, part) in batch.weights.keys().zip(bill::share(&weights, totals)) {
        let [bytes_before, bytes_after, header_bytes] = part;
        let of = costs.entry(sink.to_owned()).or_default();
        of.entry(rule.clone()).or_default().add(&Cost {
            bytes_before,
            bytes_after,
            header_bytes,
        });
    }
}
