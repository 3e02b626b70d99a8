//! Core: the one task that drives the session and says when a batch is committed.
//!
//! Terms: *pending* entries wait for their commit batch; one batch is *out* with the writer.
//! A batch goes out when none is out and 64 KiB have gathered, `commit_ms` passed since the
//! oldest pending entry, or the session asks for it (a device's window is full).
//!
//! Invariants: entries go out in the order in which the session made them; an entry that the
//! store refused goes out again before any later one; nothing is acked but what the writer
//! reported durable.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_shared::ids::{SiteName, Term};
use tokio::sync::{mpsc, oneshot};

use super::writer::{Report, Request, Writer};
use crate::backoff;
use crate::entry::{ENGINE, Entry, Logged};
use crate::ledger;
use crate::mqtt::{Link, LinkEvent, LinkHandle};
use crate::session::{Effect, Event, Session};
use crate::time::{Clock, Timestamp};

/// Bytes of pending entries that do not wait any longer.
const BATCH_BYTES: usize = 64 << 10;
/// Tallies that find no batch to ride in get one of their own after this long.
const TALLY_WAIT_US: u64 = 10_000_000;
/// A store that refused is asked again after this long.
const RETRY_US: u64 = 1_000_000;
/// The wall clock moved against the monotonic one by more than this: a step, and an entry.
const CLOCK_STEP_US: u64 = 1_000_000;

/// A question for the core.
pub enum Question {
    /// The whole ledger as JSON.
    Ledger(oneshot::Sender<Value>),
}

/// Longest time a stop may take for each of its steps.
const FINISH: Duration = Duration::from_secs(10);

/// What the core is made of.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose topics.
    pub site: SiteName,
    /// This start's number, stamped on every entry.
    pub start: u32,
    /// This start's term.
    pub term: Term,
    /// Longest wait of an entry for its batch, in ms.
    pub commit_ms: u64,
    /// The protocol.
    pub session: Session,
    /// The way to the broker.
    pub link: LinkHandle,
    /// The way to the disk.
    pub writer: Writer,
}

impl Parts {
    /// The entry that begins a start, or a log incarnation.
    pub fn started(&self, log_incarnation: u32) -> Entry {
        Entry::Started {
            engine: ENGINE,
            log_incarnation,
            term: self.term.0,
            site: self.site.to_string(),
        }
    }
}

/// The core: its parts, what is pending, and where the writer stands.
pub struct Core {
    parts: Parts,
    pending: Pending,
    out: Out,
    tick_at_us: Option<u64>,
    tally_at_us: u64,
    /// Whether the session was told that the store cannot take more.
    busy: bool,
    last: Timestamp,
}

#[derive(Default)]
struct Pending {
    entries: Vec<Logged>,
    bytes: usize,
    since_us: u64,
    now: bool,
}

/// Where the writer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    /// Nothing is out.
    Ready,
    /// A batch is out.
    Batch,
    /// The log refused; the pending entries are offered again then.
    RefusedUntil(u64),
    /// The spool refused; it is asked to settle again then.
    UnsettledUntil(u64),
}

impl Core {
    /// A core at rest. `first` are the entries that this start begins with.
    pub fn new(parts: Parts, first: Vec<Entry>) -> Self {
        let now = parts.clock.now();
        let mut core = Self {
            parts,
            pending: Pending::default(),
            out: Out::Ready,
            tick_at_us: None,
            tally_at_us: now.mono_us + TALLY_WAIT_US,
            busy: false,
            last: now,
        };
        for entry in first {
            core.push(now, entry);
        }
        core.pending.now = true;
        core
    }

    /// Runs until `shutdown`, then brings everything pending to disk and says goodbye.
    pub async fn run(
        mut self,
        mut link: mpsc::Receiver<LinkEvent>,
        mut reports: mpsc::Receiver<Report>,
        mut questions: mpsc::Receiver<Question>,
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::pin!(shutdown);
        loop {
            let now = self.now();
            self.commit_if_due(now);
            let wait = Duration::from_micros(self.next_deadline(now).saturating_sub(now.mono_us));
            tokio::select! {
                Some(event) = link.recv() => self.on_link(event),
                report = reports.recv() => {
                    let Some(report) = report else {
                        // Without its store a gateway must not keep the site from another.
                        tracing::error!("the store's thread ended: stopping; what was acked is on disk");
                        break;
                    };
                    self.on_report(report);
                }
                Some(question) = questions.recv() => self.on_question(question),
                () = tokio::time::sleep(wait) => self.on_deadline(),
                () = &mut shutdown => break,
            }
        }
        self.finish(&mut reports).await;
    }

    /// The present moment; a jump of the wall clock becomes an entry first.
    fn now(&mut self) -> Timestamp {
        let now = self.parts.clock.now();
        let passed = now.mono_us.saturating_sub(self.last.mono_us) as i64;
        let before_us = self.last.wall_us.saturating_add(passed);
        self.last = now;
        let stepped = now.wall_us.abs_diff(before_us) > CLOCK_STEP_US;
        if stepped && !self.parts.session.is_standby() {
            tracing::warn!(before_us, after_us = now.wall_us, "the wall clock stepped");
            let after_us = now.wall_us;
            self.push(
                now,
                Entry::ClockStep {
                    before_us,
                    after_us,
                },
            );
        }
        now
    }

    fn push(&mut self, at: Timestamp, entry: Entry) {
        if self.pending.entries.is_empty() {
            self.pending.since_us = at.mono_us;
        }
        self.pending.bytes += 64
            + if let Entry::Frame(frame) = &entry {
                frame.bytes.len()
            } else {
                0
            };
        let start = self.parts.start;
        self.pending.entries.push(Logged { start, at, entry });
    }

    fn on_link(&mut self, event: LinkEvent) {
        let now = self.now();
        match event {
            LinkEvent::Subscribed => self.handle(now, Event::Subscribed),
            LinkEvent::Disconnected { .. } => self.handle(now, Event::Disconnected),
            LinkEvent::Message {
                topic,
                payload,
                retained,
                receipt,
            } => {
                self.handle(
                    now,
                    Event::Received {
                        topic: &topic,
                        retained,
                        payload: &payload,
                    },
                );
                drop(receipt);
            }
        }
    }

    fn on_report(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Durable(entries) => self.handle(now, Event::Durable(&entries)),
            Report::Settled { deadline, wanted } => {
                self.out = Out::Ready;
                self.set_busy(now, false);
                self.tick_at_us = deadline;
                for (device, hash) in wanted {
                    self.handle(
                        now,
                        Event::CatalogWanted {
                            device: &device,
                            hash,
                        },
                    );
                }
            }
            Report::Refused { mut entries, why } => {
                tracing::error!(
                    why,
                    "the log could not be written: nothing is acked until it can; devices keep their frames"
                );
                entries.append(&mut self.pending.entries);
                self.pending.entries = entries;
                self.out = Out::RefusedUntil(now.mono_us + RETRY_US);
                self.set_busy(now, true);
            }
            Report::Unsettled { why } => {
                tracing::error!(
                    why,
                    "records could not be spooled: nothing more is taken until they can; they are safe in the log"
                );
                self.out = Out::UnsettledUntil(now.mono_us + RETRY_US);
                self.set_busy(now, true);
            }
        }
    }

    fn set_busy(&mut self, now: Timestamp, busy: bool) {
        if self.busy != busy {
            self.busy = busy;
            self.handle(now, Event::StoreBusy(busy));
        }
    }

    fn on_question(&mut self, question: Question) {
        let Question::Ledger(answer) = question;
        let (reply, store) = oneshot::channel();
        if !self.parts.writer.ask(Request::Ledger(reply)) {
            return;
        }
        let session = ledger::of_session(&self.parts.session);
        tokio::spawn(async move {
            if let Ok(store) = store.await {
                let _ = answer.send(ledger::join(store, &session));
            }
        });
    }

    fn on_deadline(&mut self) {
        let now = self.now();
        if self
            .parts
            .session
            .next_deadline()
            .is_some_and(|due| due <= now.mono_us)
        {
            self.handle(now, Event::Deadline);
        }
        if self.tally_at_us <= now.mono_us {
            if self.out == Out::Ready {
                self.push_tallies(now);
            }
            self.tally_at_us = now.mono_us + TALLY_WAIT_US;
        }
        if self.tick_at_us.is_some_and(|due| due <= now.mono_us) && self.out == Out::Ready {
            // Any entry carries the time; a tick is written only when none is due anyway.
            if self.pending.entries.is_empty() && !self.parts.session.is_standby() {
                self.push(now, Entry::Tick);
            }
            self.pending.now = true;
            self.tick_at_us = None;
        }
    }

    fn push_tallies(&mut self, now: Timestamp) {
        for entry in self.parts.session.tally_entries() {
            self.push(now, entry);
        }
    }

    /// One event through the session, its effects carried out.
    fn handle(&mut self, now: Timestamp, event: Event<'_>) {
        let mut effects = Vec::new();
        self.parts.session.handle(now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Append(entry) => self.push(now, entry),
                Effect::CommitNow => self.pending.now = true,
                Effect::Publish {
                    topic,
                    retained,
                    expiry_s,
                    payload,
                } => {
                    let topic = topic.text(&self.parts.site);
                    self.parts.link.publish(&topic, payload, retained, expiry_s);
                }
                Effect::Restored => {
                    tracing::error!(
                        "a device was acked more than the log holds: the store is an older copy; record ids begin anew"
                    );
                    let log_incarnation = backoff::seed() as u32 | 1;
                    self.push(now, self.parts.started(log_incarnation));
                }
                Effect::Conflict {
                    device,
                    incarnation,
                    mark,
                } => {
                    tracing::error!(%device, %incarnation, %mark, "a frame has a known identity and other content: two devices may share one name");
                }
                Effect::Standby(standby) => {
                    if standby {
                        tracing::warn!(
                            "another gateway owns this site: standing by, nothing is logged or acked"
                        );
                    } else {
                        tracing::info!("this gateway owns the site");
                    }
                }
            }
        }
    }

    /// When the loop must look again, monotonic µs.
    fn next_deadline(&self, now: Timestamp) -> u64 {
        let out = match self.out {
            Out::Ready if !self.pending.entries.is_empty() => {
                Some(self.pending.since_us + self.parts.commit_ms * 1_000)
            }
            Out::Ready | Out::Batch => None,
            Out::RefusedUntil(at) | Out::UnsettledUntil(at) => Some(at),
        };
        let tick = self.tick_at_us.filter(|_| self.out == Out::Ready);
        [
            out,
            tick,
            self.parts.session.next_deadline(),
            Some(self.tally_at_us),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now.mono_us + RETRY_US)
    }

    fn commit_if_due(&mut self, now: Timestamp) {
        match self.out {
            Out::Batch => return,
            Out::RefusedUntil(at) if at > now.mono_us => return,
            Out::UnsettledUntil(at) => {
                if at <= now.mono_us && self.parts.writer.ask(Request::Settle) {
                    self.out = Out::Batch;
                }
                return;
            }
            Out::Ready | Out::RefusedUntil(_) => {}
        }
        let pending = &self.pending;
        let due = pending.now
            || pending.bytes >= BATCH_BYTES
            || pending.since_us + self.parts.commit_ms * 1_000 <= now.mono_us
            || self.out != Out::Ready;
        if !due || pending.entries.is_empty() {
            self.pending.now = false;
            return;
        }
        // A batch that was refused is offered again as it was.
        if self.out == Out::Ready {
            self.push_tallies(now);
        }
        let batch = std::mem::take(&mut self.pending);
        if let Err(batch) = self.parts.writer.commit(batch.entries) {
            // The writer's queue is full of questions: the batch is offered again a little later.
            self.pending.entries = batch;
            self.out = Out::RefusedUntil(now.mono_us + RETRY_US);
        } else {
            self.out = Out::Batch;
        }
    }

    /// Brings what is pending to disk, acks it, says offline, writes a last base.
    async fn finish(mut self, reports: &mut mpsc::Receiver<Report>) {
        let bound = tokio::time::sleep(FINISH);
        tokio::pin!(bound);
        let now = self.now();
        self.push_tallies(now);
        loop {
            let now = self.now();
            self.pending.now = true;
            self.commit_if_due(now);
            if self.out == Out::Ready && self.pending.entries.is_empty() {
                break;
            }
            tokio::select! {
                report = reports.recv() => {
                    let Some(report) = report else { break };
                    self.on_report(report);
                }
                () = &mut bound => {
                    tracing::warn!("stopping with entries that could not be brought to disk; devices keep their frames");
                    break;
                }
            }
        }
        let now = self.now();
        self.handle(now, Event::Stop);
        self.parts.link.stop(FINISH).await;
        let writer = self.parts.writer;
        let _ = tokio::task::spawn_blocking(move || writer.stop()).await;
    }
}
