//! Reload: reads the configuration again when its file changes, on SIGHUP or when a command asks,
//! one after the other, and has the core take it.
//!
//! ```text
//! file changed ─debounce─┐
//! SIGHUP ────────────────┼─► read, examine ─► core: entries durable ─► in force
//! tidegate reload ───────┘         └ refused: told, nothing changes
//! ```
//! A change of the file while one is under way waits in the kernel and is read behind it.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use similar::TextDiff;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch as channel};

use self::watch::{Heard, Watch};
use super::core::Question;
use super::supervisor::Supervisor;
use super::trust::{self, Task};
use crate::audit::{Act, Diff, Who};
use crate::record::rfc3339;
use crate::reload::{Change, Debounce, InForce, Outcome, Refusal, Refused, examine, hash};
use crate::rules;
use crate::rules::settings::Settings;
use crate::time::Clock;

/// Commands that may wait for their turn.
const ASKED_MAX: usize = 4;
/// How long a command waits for its reload: less than the control socket does.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where a gateway's configuration came from.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The text that the settings were read from.
    pub text: String,
    /// SIGHUPs, where somebody listens for them.
    pub hangups: Option<Signal>,
}

/// Who wants the configuration to be read.
enum Trigger {
    File,
    Signal,
    Command(oneshot::Sender<Outcome>),
}

/// The way to a running reloader.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    asked: mpsc::Sender<oneshot::Sender<Outcome>>,
    in_force: channel::Receiver<InForce>,
}

impl Handle {
    /// Has the file read and waits for what becomes of it; none when too many ask, or the gateway
    /// stops.
    pub(super) async fn reload(&self) -> Option<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.asked.try_send(answer).ok()?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(outcome) => outcome.ok(),
            Err(_) => Some(Outcome::Pending),
        }
    }

    /// What is in force.
    pub(super) fn in_force(&self) -> InForce {
        self.in_force.borrow().clone()
    }
}

/// Reads a gateway's configuration again and again.
pub(super) struct Reloader {
    file: PathBuf,
    settings: Settings,
    clock: Arc<dyn Clock>,
    supervisor: Supervisor,
    core: mpsc::Sender<Question>,
    trust: trust::Handle,
    /// What the file said that is in force, secrets masked.
    text: String,
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    hangups: Option<Signal>,
    watch: Option<Watch>,
    debounce: Debounce,
    in_force: channel::Sender<InForce>,
}

impl Reloader {
    /// One for settings in force that were read from `source`. Must be called inside a tokio
    /// runtime.
    pub(super) fn new(
        source: Source,
        settings: Settings,
        (clock, supervisor): (Arc<dyn Clock>, Supervisor),
        (core, trust): (mpsc::Sender<Question>, trust::Handle),
    ) -> (Self, Handle) {
        let (ask, asked) = mpsc::channel(ASKED_MAX);
        let (in_force, told) = channel::channel(InForce {
            file: source.file.display().to_string(),
            hash: hash(&source.text),
            since: rfc3339(clock.now().wall_us),
            reloads: 0,
            refusals: 0,
            pending: false,
            refused: None,
        });
        let watch = Watch::begin(&source.file).inspect_err(|error| {
            tracing::warn!(%error, "changes of the configuration's file are not seen; SIGHUP and tidegate reload read it");
        });
        let mut debounce = Debounce::default();
        // What changed between the start's reading and the watch is not to be missed.
        debounce.note(clock.now().mono_us);
        let reloader = Self {
            file: source.file,
            settings,
            clock,
            supervisor,
            core,
            trust,
            text: rules::masked(&source.text),
            asked,
            hangups: source.hangups,
            watch: watch.ok(),
            debounce,
            in_force,
        };
        let handle = Handle {
            asked: ask,
            in_force: told,
        };
        (reloader, handle)
    }

    /// Reloads until the gateway ends.
    pub(super) async fn run(mut self) {
        loop {
            let Some(trigger) = self.next().await else {
                continue;
            };
            // One reading answers for all that changed before it.
            self.debounce.clear();
            // A change of the file is nothing that the service manager waits for.
            let is_asked = !matches!(trigger, Trigger::File);
            if is_asked {
                self.supervisor.reloading();
            }
            let Some(outcome) = self.reload(&trigger).await else {
                return;
            };
            if is_asked {
                self.supervisor.ready();
            }
            if let Trigger::Command(answer) = trigger {
                let _ = answer.send(outcome);
            }
        }
    }

    /// Waits for the next reason to read; none when only the debounce learnt something.
    async fn next(&mut self) -> Option<Trigger> {
        let wait = self.debounce.due_us().map(|due_us| {
            let now_us = self.clock.now().mono_us;
            Duration::from_micros(due_us.saturating_sub(now_us))
        });
        tokio::select! {
            Some(answer) = self.asked.recv() => Some(Trigger::Command(answer)),
            Some(()) = hangup(self.hangups.as_mut()) => Some(Trigger::Signal),
            () = rest(wait) => Some(Trigger::File),
            heard = hear(self.watch.as_mut()) => {
                self.note(&heard);
                None
            }
        }
    }

    fn note(&mut self, heard: &std::io::Result<Heard>) {
        self.debounce.note(self.clock.now().mono_us);
        if !matches!(heard, Ok(Heard::Changed)) {
            self.watch = None;
            tracing::warn!(
                file = %self.file.display(),
                "the folder of the configuration is gone: changes are not seen any more; SIGHUP and tidegate reload read it, a restart watches again"
            );
        }
    }

    /// Reads and takes the file; none when the gateway ends meanwhile.
    async fn reload(&mut self, trigger: &Trigger) -> Option<Outcome> {
        let is_file = matches!(trigger, Trigger::File);
        let text = match rules::read(&self.file) {
            Ok(text) => text,
            // Between the two steps of a rename there may be no file; it is heard of when it comes.
            Err(_) if is_file && !self.file.exists() => {
                return Some(Outcome::Same {
                    hash: self.in_force.borrow().hash.clone(),
                });
            }
            Err(error) => return Some(self.refuse(Refusal::unreadable(&self.file, &error))),
        };
        let hash = hash(&text);
        if is_file && self.is_known(&hash) {
            return Some(Outcome::Same { hash });
        }
        let file = self.file.display().to_string();
        match examine(&text, &file, &self.settings) {
            Err(refusal) => Some(self.refuse(refusal)),
            Ok((_, None)) => {
                tracing::info!(
                    hash,
                    "the configuration says what is in force: nothing changes"
                );
                self.tell(&hash, |_| {});
                Some(Outcome::Same { hash })
            }
            Ok((settings, Some(change))) => self.take(settings, change, (&text, hash)).await,
        }
    }

    /// Has the audit log say what was changed.
    fn note_change(&mut self, hash: &str, text: &str) {
        let text = rules::masked(text);
        let diff = TextDiff::from_lines(&self.text, &text);
        let diff = diff.unified_diff().context_radius(1).to_string();
        let act = Act::RulesChanged {
            from: self.in_force.borrow().hash.clone(),
            to: hash.to_owned(),
            diff: Diff::new(&diff),
        };
        self.trust.give(Task::Note(act, Who::Configuration));
        self.text = text;
    }

    /// Has the core take a change, however long its entries take to be on disk.
    async fn take(
        &mut self,
        settings: Settings,
        change: Change,
        (text, hash): (&str, String),
    ) -> Option<Outcome> {
        self.in_force.send_modify(|told| told.pending = true);
        let (answer, answered) = oneshot::channel();
        let question = Question::Reconfigure(change.reconfiguration, answer);
        self.core.send(question).await.ok()?;
        answered.await.ok()?;
        self.note_change(&hash, text);
        self.settings = settings;
        let since = rfc3339(self.clock.now().wall_us);
        self.tell(&hash, |told| {
            told.reloads += 1;
            told.since = since;
        });
        let changes = change.told;
        tracing::info!(
            hash,
            reload = self.in_force.borrow().reloads,
            changes = changes.join("; "),
            "another configuration is in force"
        );
        Some(Outcome::Taken { hash, changes })
    }

    /// Whether a text was read before and nothing new can be said of it.
    fn is_known(&self, hash: &str) -> bool {
        let told = self.in_force.borrow();
        match &told.refused {
            Some(refused) if refused.is_current => refused.refusal.hash.as_deref() == Some(hash),
            _ => told.hash == hash,
        }
    }

    /// The text of this hash says what is in force.
    fn tell(&self, hash: &str, more: impl FnOnce(&mut InForce)) {
        self.in_force.send_modify(|told| {
            hash.clone_into(&mut told.hash);
            told.pending = false;
            if let Some(refused) = &mut told.refused {
                refused.is_current = false;
            }
            more(told);
        });
    }

    fn refuse(&mut self, refusal: Refusal) -> Outcome {
        let at = rfc3339(self.clock.now().wall_us);
        self.in_force.send_modify(|told| {
            told.refusals += 1;
            told.refused = Some(Refused {
                at,
                is_current: true,
                refusal: refusal.clone(),
            });
        });
        refusal.log(&self.in_force.borrow().hash);
        Outcome::Refused(refusal)
    }
}

async fn hangup(hangups: Option<&mut Signal>) -> Option<()> {
    match hangups {
        Some(hangups) => hangups.recv().await,
        None => std::future::pending().await,
    }
}

async fn rest(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn hear(watch: Option<&mut Watch>) -> std::io::Result<Heard> {
    match watch {
        Some(watch) => watch.heard().await,
        None => std::future::pending().await,
    }
}
