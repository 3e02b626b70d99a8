//! Core: the task that carries out what the conductor decides, between broker, store and clock.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_shared::ids::{DeviceName, SiteName};
use tokio::sync::{mpsc, oneshot};

use super::trust::{self, Task};
use super::writer::{Question as StoreQuestion, Writer};
use crate::audit::{Act, Who};
use crate::budget::{Billed, Decision, Level};
use crate::checkpoint::Checkpoint;
use crate::clock::trust::Trust;
use crate::conductor::service::Request;
use crate::conductor::{Condition, Conductor, Effect, Event, News, Reconfiguration, Report};
use crate::entry::Uncounted;
use crate::ledger;
use crate::mqtt::access::{Refusal, Speaker, Why};
use crate::mqtt::{Link, LinkEvent, LinkHandle};
use crate::session::{Keyring, Ruling, Turn};
use crate::status::{CorePart, StorePart};
use crate::time::{Clock, Timestamp};

/// A question for the core.
pub enum Question {
    /// The whole ledger as JSON.
    Ledger(oneshot::Sender<Value>),
    /// What was sent, and where the budget stands.
    Bill(oneshot::Sender<Billed>),
    /// What keeps the gateway from working as usual.
    Conditions(oneshot::Sender<Vec<Condition>>),
    /// The core's part of the status, and where the store's will come unless it has too much to do.
    Status(oneshot::Sender<(CorePart, Option<oneshot::Receiver<StorePart>>)>),
    /// Other keys are in force.
    Keys(Keyring),
    /// The audit log has become this.
    Checkpoint(Checkpoint),
    /// A device is to come out of quarantine.
    Release(DeviceName),
    /// A claim was granted: what the device is to be told.
    Granted(DeviceName, Vec<u8>),
    /// A claim was refused.
    ClaimRefused(DeviceName, Uncounted),
    /// What the store alone answers; it drops the answer when it has too much to do.
    Store(StoreQuestion),
    /// Another configuration is to hold; answered once it does.
    Reconfigure(Reconfiguration, oneshot::Sender<()>),
}

/// Longest time a stop may take for each of its steps.
const FINISH: Duration = Duration::from_secs(10);

/// The conductor with its ways to the world.
pub struct Core {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose topics.
    pub site: SiteName,
    /// The machine.
    pub conductor: Conductor,
    /// The way to the broker.
    pub link: LinkHandle,
    /// The way to the disk.
    pub writer: Writer,
    /// The way to registry and audit log.
    pub trust: trust::Handle,
    /// Who is told when the configuration on its way holds.
    pub reconfigured: Option<oneshot::Sender<()>>,
}

impl Core {
    /// Runs until `shutdown`, then brings everything pending to disk and says goodbye.
    pub async fn run(
        mut self,
        mut link: mpsc::Receiver<LinkEvent>,
        mut reports: mpsc::Receiver<Report>,
        mut questions: mpsc::Receiver<Question>,
        mut refusals: mpsc::Receiver<Refusal>,
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::pin!(shutdown);
        loop {
            let wait = self.wait();
            tokio::select! {
                Some(event) = link.recv() => self.on_link(&event),
                report = reports.recv() => {
                    let Some(report) = report else {
                        // Without its store a gateway must not keep the site from another.
                        tracing::error!("the store's thread ended: stopping; what was acked is on disk");
                        break;
                    };
                    self.handle(Event::Report(report));
                }
                Some(question) = questions.recv() => self.on_question(question),
                Some(refusal) = refusals.recv() => self.on_refusal(&refusal),
                () = tokio::time::sleep(wait) => self.handle(Event::Deadline),
                () = &mut shutdown => break,
            }
        }
        self.finish(&mut reports).await;
    }

    fn wait(&self) -> Duration {
        let now_us = self.clock.now().mono_us;
        Duration::from_micros(self.conductor.next_deadline().saturating_sub(now_us))
    }

    fn on_link(&mut self, event: &LinkEvent) {
        match event {
            LinkEvent::Subscribed => self.handle(Event::Subscribed),
            LinkEvent::Disconnected { .. } => self.handle(Event::Disconnected),
            // Its receipt, and with it the PUBACK, goes when the event does.
            LinkEvent::Message {
                topic,
                payload,
                retained,
                ..
            } => self.handle(Event::Received {
                topic,
                retained: *retained,
                payload,
            }),
        }
    }

    /// What a device did that the broker knew for certain; what somebody only claimed is nobody's.
    fn on_refusal(&mut self, refusal: &Refusal) {
        let Refusal { who, peer, why } = refusal;
        tracing::debug!(?who, %peer, ?why, "the embedded broker refused something");
        let is_foreign = matches!(why, Why::ForeignName | Why::ForeignWill | Why::ForeignTopic);
        if let (Speaker::Proved(device), true) = (who, is_foreign) {
            self.handle(Event::Foreign(device));
        }
    }

    fn on_question(&mut self, question: Question) {
        match question {
            Question::Conditions(answer) => {
                let _ = answer.send(self.conductor.conditions());
            }
            Question::Status(answer) => {
                let (reply, store) = oneshot::channel();
                let asked = self.writer.ask(StoreQuestion::Status(reply));
                let part = CorePart::of(&self.conductor, self.clock.now());
                let _ = answer.send((part, asked.then_some(store)));
            }
            Question::Bill(answer) => {
                let (reply, store) = oneshot::channel();
                if !self.writer.ask(StoreQuestion::Bill(reply)) {
                    return;
                }
                let standing = self.conductor.budget(self.clock.now());
                tokio::spawn(async move {
                    if let Ok(bill) = store.await {
                        let _ = answer.send(Billed { bill, standing });
                    }
                });
            }
            Question::Keys(keys) => self.conductor.set_keys(keys),
            Question::Checkpoint(newest) => self.conductor.take_checkpoint(newest),
            Question::Release(device) => self.handle(Event::Release(&device)),
            Question::Granted(device, grant) => self.handle(Event::Granted {
                device: &device,
                grant: &grant,
            }),
            Question::ClaimRefused(device, reason) => self.handle(Event::ClaimRefused {
                device: &device,
                reason,
            }),
            Question::Store(question) => {
                let _ = self.writer.ask(question);
            }
            Question::Reconfigure(new, answer) => {
                self.reconfigured = Some(answer);
                self.handle(Event::Reconfigured(new));
            }
            Question::Ledger(answer) => {
                let (reply, store) = oneshot::channel();
                if !self.writer.ask(StoreQuestion::Ledger(reply)) {
                    return;
                }
                let session = ledger::of_session(self.conductor.session());
                tokio::spawn(async move {
                    if let Ok(store) = store.await {
                        let _ = answer.send(ledger::join(store, &session));
                    }
                });
            }
        }
    }

    /// One event through the conductor, its effects carried out.
    fn handle(&mut self, event: Event<'_>) {
        let now = self.clock.now();
        self.conductor.hear(self.clock.word());
        let mut effects = Vec::new();
        self.conductor.handle(now, event, &mut effects);
        self.carry_out(now, effects);
    }

    fn carry_out(&mut self, now: Timestamp, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit(entries) => self.request(now, Request::Commit(entries)),
                Effect::Settle => self.request(now, Request::Settle),
                Effect::Publish {
                    topic,
                    retained,
                    expiry_s,
                    payload,
                } => {
                    let topic = topic.text(&self.site);
                    self.link.publish(&topic, payload, retained, expiry_s);
                }
                Effect::InForce => {
                    if let Some(answer) = self.reconfigured.take() {
                        let _ = answer.send(());
                    }
                }
                Effect::KeyUsed { device, key_id } => {
                    self.trust.use_key(device, key_id);
                }
                Effect::Claimed { device, claim } => self.on_claim(&device, claim),
                Effect::Tell(news) => {
                    tell(&news);
                    self.note(news);
                }
            }
        }
    }

    /// Has a claim carried out, unless too many wait for that.
    fn on_claim(&mut self, device: &DeviceName, claim: Vec<u8>) {
        if !self.trust.claim(device.clone(), claim) {
            self.handle(Event::ClaimRefused {
                device,
                reason: Uncounted::ClaimThrottled,
            });
        }
    }

    /// Has noted what nobody is to change unseen.
    fn note(&self, news: News) {
        let act = match news {
            News::Ruled(ruling) => return self.trust.give(Task::Ruled(ruling)),
            News::ClockStepped {
                before_us,
                after_us,
            } => Act::ClockStepped {
                before_us,
                after_us,
            },
            News::Restored => Act::Restored {
                from: None,
                to: self.conductor.incarnation_if_restored(),
            },
            _ => return,
        };
        self.trust.give(Task::Note(act, Who::Gateway));
    }

    /// What the writer's queue has no room for, full of questions, is tried again a little later.
    fn request(&mut self, now: Timestamp, request: Request) {
        if let Err(refused) = self.writer.serve(request) {
            let event = match refused {
                Request::Commit(entries) => Event::NotTaken(entries),
                Request::Settle => Event::NotSettled,
            };
            let mut effects = Vec::new();
            self.conductor.handle(now, event, &mut effects);
            // It waits a second before it asks again: there is nothing else to carry out.
            effects.retain(|effect| !matches!(effect, Effect::Commit(_) | Effect::Settle));
            self.carry_out(now, effects);
        }
    }

    /// Brings what is pending to disk, acks it, says offline, writes a last base.
    async fn finish(mut self, reports: &mut mpsc::Receiver<Report>) {
        let bound = tokio::time::sleep(FINISH);
        tokio::pin!(bound);
        self.handle(Event::Stop);
        while !self.conductor.is_at_rest() {
            let wait = self.wait();
            tokio::select! {
                report = reports.recv() => {
                    let Some(report) = report else { break };
                    self.handle(Event::Report(report));
                }
                () = tokio::time::sleep(wait) => self.handle(Event::Deadline),
                () = &mut bound => {
                    tracing::warn!("stopping with entries that could not be brought to disk; devices keep their frames");
                    break;
                }
            }
        }
        let now = self.clock.now();
        let mut effects = Vec::new();
        self.conductor.stop(now, &mut effects);
        self.carry_out(now, effects);
        self.link.stop(FINISH).await;
        let writer = self.writer;
        let _ = tokio::task::spawn_blocking(move || writer.stop()).await;
    }
}

/// Says the news in the log.
fn tell(news: &News) {
    match news {
        News::Ruled(ruling) => tell_ruling(ruling),
        News::ClaimRefused {
            device,
            reason,
            times,
        } => tracing::warn!(
            claimed = %device,
            reason = reason.name(),
            times,
            "a claim was refused, and nothing changed: docs/devices.md has the reasons"
        ),
        News::ClockStepped {
            before_us,
            after_us,
        } => tracing::warn!(before_us, after_us, "the wall clock stepped"),
        News::ClockTrusted(Trust::Trusted) => tracing::info!("the wall clock is to be trusted"),
        News::ClockTrusted(Trust::Untrusted { why, .. }) => tracing::warn!(
            ?why,
            "the wall clock is not to be trusted: frames are logged and acked, those whose time needs it wait"
        ),
        News::LogFailing { fault, why } => tracing::error!(
            why,
            fault = fault.name(),
            "the log could not be written: nothing is acked until it can; devices keep their frames"
        ),
        News::SpoolFailing { fault, why } => tracing::error!(
            why,
            fault = fault.name(),
            "records could not be spooled: nothing more is taken until they can; they are safe in the log"
        ),
        News::StoreWorks => tracing::info!("the store works again: frames are taken and acked"),
        News::Restored => tracing::error!(
            "a device was acked more than the log holds: the store is an older copy; record ids begin anew"
        ),
        News::Conflict {
            device,
            incarnation,
            mark,
        } => {
            tracing::error!(%device, %incarnation, %mark, "a frame has a known identity and other content: two devices may share one name");
        }
        News::Standby(true) => tracing::warn!(
            "another gateway owns this site: standing by, nothing is logged or acked"
        ),
        News::BudgetDecided(decision) => tell_budget(decision),
        News::Standby(false) => tracing::info!("this gateway owns the site"),
    }
}

/// Says what became of a device that offended.
fn tell_ruling(ruling: &Ruling) {
    let why = ruling.why.iter();
    let why: Vec<String> = why
        .map(|(reason, count)| format!("{} {count}", reason.name()))
        .collect();
    let (device, why) = (&ruling.device, why.join(", "));
    match (ruling.turn, ruling.is_over) {
        (Turn::Quarantined, false) => tracing::warn!(
            %device,
            why,
            "the device is in quarantine: nothing of it is logged or acked, it keeps its frames; its key may be in other hands: see `tidegate device show`, then revoke or release it"
        ),
        (Turn::Suspected, false) => tracing::warn!(
            %device,
            why,
            "somebody speaks as this device who is not, or it misbehaves: nothing was taken from it for that; a broker that checks who publishes would tell"
        ),
        (_, true) => tracing::info!(%device, "the device is as every other again"),
    }
}

/// Says what was decided about the month's budget.
fn tell_budget(decision: &Decision) {
    let Decision {
        month,
        used_bytes,
        forecast_bytes,
        cap_bytes,
        action,
        ..
    } = decision;
    match decision.level {
        Level::Capped => tracing::warn!(
            %month,
            used_bytes,
            cap_bytes,
            ?action,
            "the month's budget is used up: what the configuration says for it happens now"
        ),
        Level::Warned => tracing::warn!(
            %month,
            used_bytes,
            ?forecast_bytes,
            cap_bytes,
            "the month's budget is nearly used up, or will be at this pace"
        ),
        Level::Free => tracing::info!(%month, used_bytes, cap_bytes, "the month's budget holds"),
    }
}
