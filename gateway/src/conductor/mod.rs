//! Conductor: drives the session, gathers entries into commit batches, and knows how the gateway
//! fares. A machine without I/O or clock; [`crate::run`] and simulations carry out its effects.
//!
//! Terms: *pending* entries wait for their commit batch; one batch is *out* with the store.
//! A batch goes out when none is out and 64 KiB have gathered, `commit_ms` passed since the
//! oldest pending entry, or the session asks for it (a device's window is full).
//!
//! ```text
//!            due                    Durable, Settled
//! Ready ───────────► Out (Commit) ─────────────────────► Ready
//!   ▲                    │ Refused             │ Unsettled
//!   │          offered   ▼                     ▼
//!   └─────────── RefusedUntil          UnsettledUntil ──► Out (Settle)
//! ```
//! Invariants: entries go out in the order in which the session made them; an entry that the
//! store refused goes out again before any later one; nothing is acked but what the store
//! reported durable; a store that refuses is asked again by itself, and what devices sent
//! meanwhile stays with them.

mod condition;
mod reconfiguration;
pub mod service;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark, SiteName, Term};
use tidegate_shared::mutation::{Mutation, is_on};
use tidegate_shared::topic::Topic;

pub use condition::{Condition, Fault};
pub use reconfiguration::Reconfiguration;
pub use start::{Draws, Start, StartError, start};

use reconfiguration::{Step, Underway};

use crate::budget::{self, Budget, Decision, Spent, Standing};
use crate::checkpoint::{self, Checkpoint, Herald};
use crate::clock::trust::{STEP_US, Trust, TrustWatch};
use crate::conduct;
use crate::entry::{ENGINE, Entry, Logged, Uncounted};
use crate::session::{self, Keyring, Policy, Session};
use crate::time::{Timestamp, Word};

/// Bytes of pending entries that do not wait any longer.
pub const BATCH_BYTES: usize = 64 << 10;
/// Tallies that find no batch to ride in get one of their own after this long, in µs.
pub const TALLY_WAIT_US: u64 = 10_000_000;
/// A store that refused is asked again after this long, in µs.
pub const RETRY_US: u64 = 1_000_000;

/// What a conductor needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose topics.
    pub site: SiteName,
    /// This start's number, stamped on every entry.
    pub start: u32,
    /// This start's term.
    pub term: Term,
    /// Longest wait of an entry for its batch, in ms.
    pub commit_ms: u64,
    /// The log incarnation to begin if the store turns out to be an older copy.
    pub spare_incarnation: u32,
    /// What may leave in a month.
    pub budget: Budget,
}

/// What happens to a conductor.
#[derive(Debug, Clone)]
pub enum Event<'e> {
    /// The broker confirmed the subscriptions.
    Subscribed,
    /// The connection to the broker is gone.
    Disconnected,
    /// A message was delivered.
    Received {
        /// Its topic.
        topic: &'e str,
        /// Whether it comes from the broker's store.
        retained: bool,
        /// Its bytes.
        payload: &'e [u8],
    },
    /// The store answers.
    Report(Report),
    /// A request could not be handed to the store: a batch comes back.
    NotTaken(Vec<Logged>),
    /// The same of a request to settle.
    NotSettled,
    /// The time of [`Conductor::next_deadline`] has come.
    Deadline,
    /// Another configuration was read and found right: it is to hold, and [`Effect::InForce`]
    /// says when it does. One at a time; a later one replaces one that waits.
    Reconfigured(Reconfiguration),
    /// The broker refused a registered device, which it knew for certain, what only another may do.
    Foreign(&'e DeviceName),
    /// Somebody releases a device from quarantine.
    Release(&'e DeviceName),
    /// What [`Effect::Claimed`] handed out was granted.
    Granted {
        /// To which device.
        device: &'e DeviceName,
        /// What it is to be told.
        grant: &'e [u8],
    },
    /// What [`Effect::Claimed`] handed out was refused, or could not be carried out.
    ClaimRefused {
        /// In whose name it came.
        device: &'e DeviceName,
        /// Why.
        reason: Uncounted,
    },
    /// A clean stop begins: nothing more waits.
    Stop,
}

/// What the store says of a request.
#[derive(Debug, Clone)]
pub enum Report {
    /// These entries are on disk.
    Durable(Arc<Vec<Logged>>),
    /// They are folded and their records spooled.
    Settled {
        /// When the pipeline wants a tick, monotonic µs of this start.
        deadline: Option<u64>,
        /// Catalogs that batches wait for.
        wanted: Vec<(DeviceName, CatalogHash)>,
        /// What was sent this month.
        spent: Spent,
    },
    /// The log refused; the entries come back and are not acked.
    Refused {
        /// What was not logged.
        entries: Vec<Logged>,
        /// What kind of trouble.
        fault: Fault,
        /// The error and its causes.
        why: String,
    },
    /// The entries are durable, but their records could not be spooled yet.
    Unsettled {
        /// What kind of trouble.
        fault: Fault,
        /// The error and its causes.
        why: String,
    },
}

/// What a conductor wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make these durable, then fold them: [`service::Request::Commit`].
    Commit(Vec<Logged>),
    /// Try again to settle what an earlier commit left unspooled.
    Settle,
    /// Send this to the broker.
    Publish {
        /// Where to.
        topic: Topic,
        /// Whether the broker keeps it.
        retained: bool,
        /// Message expiry in s.
        expiry_s: Option<u32>,
        /// A frame.
        payload: Vec<u8>,
    },
    /// The configuration of the newest [`Event::Reconfigured`] holds, what of it is logged being
    /// durable.
    InForce,
    /// The first frame of a device under this key is on disk: the registry is to know.
    KeyUsed {
        /// Whose.
        device: DeviceName,
        /// Which.
        key_id: u8,
    },
    /// Somebody who has a claim's code asks for a key: the registry is to decide.
    Claimed {
        /// In this device's name.
        device: DeviceName,
        /// What was said.
        claim: Vec<u8>,
    },
    /// A person should know.
    Tell(News),
}

/// What a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A device went into quarantine or under suspicion, or came out.
    Ruled(session::Ruling),
    /// Claims are refused.
    ClaimRefused {
        /// In whose name the last one came; anybody may have said it.
        device: DeviceName,
        /// Why.
        reason: Uncounted,
        /// How often so far; told at the first, the second, the fourth and so on.
        times: u64,
    },
    /// The wall clock jumped: before and after, in µs.
    ClockStepped {
        /// What it would read.
        before_us: i64,
        /// What it reads.
        after_us: i64,
    },
    /// The wall clock is to be trusted, or not any more.
    ClockTrusted(Trust),
    /// The log cannot be written: nothing is acked until it can.
    LogFailing {
        /// What kind of trouble.
        fault: Fault,
        /// The error and its causes.
        why: String,
    },
    /// The spool cannot be written: nothing more is taken until it can.
    SpoolFailing {
        /// What kind of trouble.
        fault: Fault,
        /// The error and its causes.
        why: String,
    },
    /// The store works again.
    StoreWorks,
    /// A device was acked more than the log holds; ids begin anew.
    Restored,
    /// An identity came with other content.
    Conflict {
        /// Whose.
        device: DeviceName,
        /// Of which incarnation.
        incarnation: Incarnation,
        /// Which frame.
        mark: Mark,
    },
    /// Another gateway owns the site (true), or this one does.
    Standby(bool),
    /// The month's budget is nearly used up, used up, or there again.
    BudgetDecided(Box<Decision>),
}

/// The conductor: the session, what is pending, and where the store stands.
#[derive(Debug)]
pub struct Conductor {
    config: Config,
    session: Session,
    pending: Pending,
    out: Out,
    tick_at_us: Option<u64>,
    tally_at_us: u64,
    /// Since when the store cannot take more, and why.
    trouble: Option<Condition>,
    watch: TrustWatch,
    word: Word,
    connected: bool,
    clock_since_us: i64,
    standby_since_us: i64,
    reconfiguration: Option<Underway>,
    herald: Herald,
    stopping: bool,
}

#[derive(Debug, Default)]
struct Pending {
    entries: Vec<Logged>,
    bytes: usize,
    since_us: u64,
    now: bool,
}

/// Where the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    /// Nothing is out.
    Ready,
    /// A request is out.
    Busy,
    /// The log refused; the pending entries are offered again then.
    RefusedUntil(u64),
    /// The spool refused; it is asked to settle again then.
    UnsettledUntil(u64),
}

impl Conductor {
    /// A conductor at rest. `first` are the entries that this start begins with; `watch` knows
    /// the log's newest time, `word` is what the machine says of its wall clock.
    pub fn new(
        config: Config,
        session: Session,
        first: Vec<Entry>,
        (mut watch, word): (TrustWatch, Word),
        now: Timestamp,
    ) -> Self {
        let (now, _) = watch.handle(now, word);
        let mut conductor = Self {
            config,
            session,
            pending: Pending::default(),
            out: Out::Ready,
            tick_at_us: None,
            tally_at_us: now.mono_us + TALLY_WAIT_US,
            trouble: None,
            watch,
            word,
            connected: false,
            clock_since_us: now.wall_us,
            standby_since_us: now.wall_us,
            reconfiguration: None,
            herald: Herald::default(),
            stopping: false,
        };
        for entry in first {
            conductor.push(now, entry);
        }
        conductor.pending.now = true;
        conductor
    }

    /// The protocol, to look at.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether nothing is pending and nothing is out.
    pub fn is_at_rest(&self) -> bool {
        self.out == Out::Ready && self.pending.entries.is_empty()
    }

    /// Entries that wait for their batch, and their bytes.
    pub fn pending(&self) -> (usize, usize) {
        (self.pending.entries.len(), self.pending.bytes)
    }

    /// What keeps the gateway from working as usual; none when all is well.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut conditions: Vec<Condition> = self.trouble.iter().cloned().collect();
        if let Trust::Untrusted { why, .. } = self.watch.trust() {
            let since_us = self.clock_since_us;
            conditions.push(Condition::ClockUntrusted { since_us, why });
        }
        if self.session.is_standby() {
            let since_us = self.standby_since_us;
            conditions.push(Condition::Standby { since_us });
        }
        if !self.connected {
            conditions.push(Condition::Unsubscribed);
        }
        conditions
    }

    /// Where the month's budget stands; none without one, or while it is not known.
    pub fn budget(&self, now: Timestamp) -> Option<Standing> {
        self.config.budget.standing(now)
    }

    /// The log incarnation that a store goes on under that turned out to be an older copy.
    pub fn incarnation_if_restored(&self) -> u32 {
        self.config.spare_incarnation
    }

    /// From here on these keys hold.
    pub fn set_keys(&mut self, keys: Keyring) {
        self.session.set_keys(keys);
    }

    /// From here on offences are answered so.
    pub fn set_policy(&mut self, policy: Policy) {
        self.session.set_policy(policy);
    }

    /// Takes up a quarantine of an earlier start; `until_us` is on the wall clock.
    pub fn hold_device(&mut self, now: Timestamp, device: DeviceName, until_us: Option<i64>) {
        self.session.hold(now, device, until_us);
    }

    /// The audit log is this from now on, and that goes upstream.
    pub fn take_checkpoint(&mut self, checkpoint: Checkpoint) {
        self.herald.hear(checkpoint);
    }

    /// What the machine says of its wall clock from now on.
    pub fn hear(&mut self, word: Word) {
        self.word = word;
    }

    /// Takes one event; what is to be done is added to `effects`, in order.
    pub fn handle(&mut self, now: Timestamp, event: Event<'_>, effects: &mut Vec<Effect>) {
        let now = self.note_time(now, effects);
        match event {
            Event::Subscribed => {
                self.connected = true;
                self.drive(now, session::Event::Subscribed, effects);
            }
            Event::Foreign(device) => self.drive(now, session::Event::Foreign(device), effects),
            Event::Release(device) => self.drive(now, session::Event::Release(device), effects),
            Event::Granted { device, grant } => {
                self.drive(now, session::Event::Granted { device, grant }, effects);
            }
            Event::ClaimRefused { device, reason } => {
                let event = session::Event::ClaimRefused { device, reason };
                self.drive(now, event, effects);
            }
            Event::Disconnected => {
                self.connected = false;
                self.drive(now, session::Event::Disconnected, effects);
            }
            Event::Received {
                topic,
                retained,
                payload,
            } => {
                let event = session::Event::Received {
                    topic,
                    retained,
                    payload,
                };
                self.drive(now, event, effects);
            }
            Event::Report(report) => self.on_report(now, report, effects),
            Event::NotTaken(entries) => {
                self.take_back(entries);
                self.out = Out::RefusedUntil(now.mono_us + RETRY_US);
            }
            Event::NotSettled => self.out = Out::UnsettledUntil(now.mono_us + RETRY_US),
            Event::Deadline => self.on_deadline(now, effects),
            Event::Reconfigured(new) => self.reconfiguration = Some(Underway::new(new)),
            Event::Stop => {
                self.stopping = true;
                self.push_tallies(now);
            }
        }
        self.reconfigure(now, effects);
        self.decide(now, effects);
        self.commit_if_due(now, effects);
    }

    /// Says goodbye: nothing is appended any more.
    pub fn stop(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (now, _) = self.watch.handle(now, self.word);
        self.drive(now, session::Event::Stop, effects);
    }

    /// When to come back with [`Event::Deadline`], on the monotonic clock in µs.
    pub fn next_deadline(&self) -> u64 {
        let out = match self.out {
            Out::Ready if !self.pending.entries.is_empty() => Some(self.commit_at_us()),
            Out::Ready | Out::Busy => None,
            Out::RefusedUntil(at) | Out::UnsettledUntil(at) => Some(at),
        };
        let tick = self.tick_at_us.filter(|_| self.out == Out::Ready);
        let told = self.herald.next_deadline().filter(|_| self.may_decide());
        let others = [out, tick, told, self.session.next_deadline()];
        others
            .into_iter()
            .flatten()
            .fold(self.tally_at_us, u64::min)
    }

    fn commit_at_us(&self) -> u64 {
        self.pending.since_us + self.config.commit_ms * 1_000
    }

    /// The moment as it is to be logged. A jump of the wall clock, or of the trust in it, becomes
    /// an entry before anything else.
    fn note_time(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Timestamp {
        let (now, step) = self.watch.handle(now, self.word);
        let Some(step) = step else {
            return now;
        };
        if let Some((_, trust)) = step.trust {
            self.clock_since_us = now.wall_us;
            // Frames that wait for the clock can go on, or must begin to wait.
            self.pending.now = true;
            effects.push(Effect::Tell(News::ClockTrusted(trust)));
        }
        let (before_us, after_us) = (step.before_us, step.after_us);
        if before_us.abs_diff(after_us) > STEP_US {
            effects.push(Effect::Tell(News::ClockStepped {
                before_us,
                after_us,
            }));
        }
        if !self.session.is_standby() {
            self.push(now, step.entry());
        }
        now
    }

    fn push(&mut self, at: Timestamp, entry: Entry) {
        if self.pending.entries.is_empty() {
            self.pending.since_us = at.mono_us;
        }
        let start = self.config.start;
        let logged = Logged { start, at, entry };
        self.pending.bytes += bytes_of(&logged);
        self.pending.entries.push(logged);
    }

    /// Entries that were not logged go before all later ones.
    fn take_back(&mut self, mut entries: Vec<Logged>) {
        entries.append(&mut self.pending.entries);
        self.pending.bytes = entries.iter().map(bytes_of).sum();
        self.pending.entries = entries;
    }

    fn on_report(&mut self, now: Timestamp, report: Report, effects: &mut Vec<Effect>) {
        match report {
            Report::Durable(entries) => {
                self.drive(now, session::Event::Durable(&entries), effects);
                let underway = self.reconfiguration.as_ref();
                if let Some(new) = underway.and_then(|one| one.durable(&entries)) {
                    self.hold(&new, effects);
                }
            }
            Report::Settled {
                deadline,
                wanted,
                spent,
            } => {
                self.config.budget.hear(spent);
                self.out = Out::Ready;
                self.tick_at_us = deadline;
                if self.trouble.take().is_some() {
                    effects.push(Effect::Tell(News::StoreWorks));
                    self.drive(now, session::Event::StoreBusy(false), effects);
                }
                for (device, hash) in wanted {
                    let device = &device;
                    let event = session::Event::CatalogWanted { device, hash };
                    self.drive(now, event, effects);
                }
            }
            Report::Refused {
                entries,
                fault,
                why,
            } => {
                self.take_back(entries);
                self.out = Out::RefusedUntil(now.mono_us + RETRY_US);
                let since_us = now.wall_us;
                let condition = Condition::LogFailing {
                    since_us,
                    fault,
                    why: why.clone(),
                };
                self.fail(now, condition, News::LogFailing { fault, why }, effects);
            }
            Report::Unsettled { fault, why } => {
                self.out = Out::UnsettledUntil(now.mono_us + RETRY_US);
                let since_us = now.wall_us;
                let condition = Condition::SpoolFailing {
                    since_us,
                    fault,
                    why: why.clone(),
                };
                self.fail(now, condition, News::SpoolFailing { fault, why }, effects);
            }
        }
    }

    /// Brings a reconfiguration that waits on its way, unless nothing may be logged here.
    fn reconfigure(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.may_decide() {
            return;
        }
        let word = self.word;
        let underway = self.reconfiguration.as_mut();
        match underway.and_then(|one| one.begin(word)) {
            Some(Step::Log(entries)) => {
                for entry in entries {
                    self.push(now, entry);
                }
                self.pending.now = true;
                if is_on(Mutation::ReloadBeforeFsync) {
                    effects.push(Effect::InForce);
                }
            }
            Some(Step::Hold(new)) => self.hold(&new, effects),
            None => {}
        }
    }

    /// Whether decisions of the gateway's own may be logged here.
    fn may_decide(&self) -> bool {
        !self.stopping && !self.session.is_standby()
    }

    /// Logs what the budget asks for, and the audit log's newest checkpoint when that is due.
    fn decide(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.may_decide() {
            return;
        }
        if let Some(checkpoint) = self.herald.tell(now.mono_us) {
            let told = self.config.budget.told().to_vec();
            let text = checkpoint::Decision::of(checkpoint, told).to_json();
            let kind = checkpoint::KIND.to_owned();
            self.push(now, Entry::Decision { kind, text });
        }
        if let Some(decision) = self.config.budget.decide(now) {
            let text = decision.to_json();
            let kind = budget::KIND.to_owned();
            self.push(now, Entry::Decision { kind, text });
            effects.push(Effect::Tell(News::BudgetDecided(Box::new(decision))));
        }
    }

    fn hold(&mut self, new: &Reconfiguration, effects: &mut Vec<Effect>) {
        self.config.commit_ms = new.commit_ms;
        self.config.budget.set(new.budget);
        self.session.grant_at_most(new.window_max);
        self.reconfiguration = None;
        effects.push(Effect::InForce);
    }

    /// The store is in trouble: told once for each kind, and the session takes no more frames.
    fn fail(&mut self, now: Timestamp, found: Condition, news: News, effects: &mut Vec<Effect>) {
        let was_well = self.trouble.is_none();
        let known = self.trouble.as_ref().map(Condition::name);
        if known != Some(found.name()) {
            effects.push(Effect::Tell(news));
            self.trouble = Some(found);
        }
        if was_well {
            self.drive(now, session::Event::StoreBusy(true), effects);
        }
    }

    fn on_deadline(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let due = self.session.next_deadline();
        if due.is_some_and(|due| due <= now.mono_us) {
            self.drive(now, session::Event::Deadline, effects);
        }
        if self.tally_at_us <= now.mono_us {
            if self.out == Out::Ready {
                self.push_tallies(now);
            }
            self.tally_at_us = now.mono_us + TALLY_WAIT_US;
        }
        if self.tick_at_us.is_some_and(|due| due <= now.mono_us) && self.out == Out::Ready {
            // Any entry carries the time; a tick is written only when none is due anyway.
            if self.pending.entries.is_empty() && !self.session.is_standby() {
                self.push(now, Entry::Tick);
            }
            self.pending.now = true;
            self.tick_at_us = None;
        }
    }

    fn push_tallies(&mut self, now: Timestamp) {
        for entry in self.session.tally_entries() {
            self.push(now, entry);
        }
    }

    /// One event through the session, its effects taken up.
    fn drive(&mut self, now: Timestamp, event: session::Event<'_>, effects: &mut Vec<Effect>) {
        let mut wanted = Vec::new();
        self.session.handle(now, event, &mut wanted);
        for effect in wanted {
            match effect {
                session::Effect::Append(entry) => self.push(now, entry),
                session::Effect::CommitNow => self.pending.now = true,
                session::Effect::Publish {
                    topic,
                    retained,
                    expiry_s,
                    payload,
                } => effects.push(Effect::Publish {
                    topic,
                    retained,
                    expiry_s,
                    payload,
                }),
                session::Effect::Ruled(ruling) => {
                    let decision =
                        conduct::Decision::of(&ruling, self.config.budget.told().to_vec());
                    let (kind, text) = (conduct::KIND.to_owned(), decision.to_json());
                    self.push(now, Entry::Decision { kind, text });
                    effects.push(Effect::Tell(News::Ruled(ruling)));
                }
                session::Effect::KeyUsed { device, key_id } => {
                    effects.push(Effect::KeyUsed { device, key_id });
                }
                session::Effect::Claimed { device, claim } => {
                    effects.push(Effect::Claimed { device, claim });
                }
                session::Effect::ClaimRefused {
                    device,
                    reason,
                    times,
                } => effects.push(Effect::Tell(News::ClaimRefused {
                    device,
                    reason,
                    times,
                })),
                session::Effect::Restored => {
                    effects.push(Effect::Tell(News::Restored));
                    if !is_on(Mutation::RestoredReusesIds) {
                        self.push(now, self.started());
                    }
                }
                session::Effect::Conflict {
                    device,
                    incarnation,
                    mark,
                } => effects.push(Effect::Tell(News::Conflict {
                    device,
                    incarnation,
                    mark,
                })),
                session::Effect::Standby(standby) => {
                    self.standby_since_us = now.wall_us;
                    effects.push(Effect::Tell(News::Standby(standby)));
                }
            }
        }
    }

    /// The entry that begins another log incarnation.
    fn started(&self) -> Entry {
        Entry::Started {
            engine: ENGINE,
            log_incarnation: self.config.spare_incarnation,
            term: self.config.term.0,
            site: self.config.site.to_string(),
        }
    }

    fn commit_if_due(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.out {
            Out::Busy => return,
            Out::RefusedUntil(at) if at > now.mono_us && !self.stopping => return,
            Out::UnsettledUntil(at) => {
                if at <= now.mono_us {
                    self.out = Out::Busy;
                    effects.push(Effect::Settle);
                }
                return;
            }
            Out::Ready | Out::RefusedUntil(_) => {}
        }
        if self.pending.entries.is_empty() {
            self.pending.now = false;
            // With nothing to offer again there is nothing to wait for.
            self.out = Out::Ready;
            return;
        }
        let due = self.pending.now
            || self.stopping
            || self.pending.bytes >= BATCH_BYTES
            || self.commit_at_us() <= now.mono_us
            || self.out != Out::Ready;
        if !due {
            return;
        }
        // A batch that was refused is offered again as it was.
        if self.out == Out::Ready {
            self.push_tallies(now);
        }
        let batch = std::mem::take(&mut self.pending);
        self.out = Out::Busy;
        effects.push(Effect::Commit(batch.entries));
    }
}

/// About what an entry takes in the log.
fn bytes_of(logged: &Logged) -> usize {
    64 + match &logged.entry {
        Entry::Frame(frame) => frame.bytes.len(),
        Entry::Rules { text } | Entry::Decision { text, .. } => text.len(),
        _ => 0,
    }
}
