//! The shell of one sink: socket or file, timer, and a thread for what blocks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use super::batch::Batch;
use super::delivery::{Answer, BatchLimits, DrainLimits, Effect, Event, Machine, News};
use super::encoding::Encoding;
use super::queue::{Queue, carry_out};
use super::status::Status;
use super::transport::{self, Transport};
use super::{SinkError, delivery};
use crate::backoff::seed;
use crate::rules::Priority;
use crate::rules::settings::SinkSettings;
use crate::time::Clock;

/// How long a stop waits for the request in flight; abandoned, its batch is sent again at the
/// next start under the same ids.
pub const STOP_MAX: Duration = Duration::from_secs(5);
/// How much longer than its timeout an attempt may take before it is given up from outside.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

/// A running sink.
#[derive(Debug)]
pub struct SinkHandle {
    /// Ends after the stop was asked for.
    pub task: JoinHandle<()>,
    /// What it is doing; changes with every step.
    pub status: watch::Receiver<Status>,
    /// Tells it that its receiver was mended: what waits for its next attempt goes at once.
    pub resume: Arc<Notify>,
}

/// Starts delivery to one sink from `queue`, first of what it holds already. `notify` wakes it
/// when records were added; `stop` going true ends it within [`STOP_MAX`] of a request in flight.
/// Must be called within a tokio runtime.
pub fn spawn(
    settings: &SinkSettings,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    notify: Arc<Notify>,
    stop: watch::Receiver<bool>,
) -> Result<SinkHandle, SinkError> {
    let timeout = Duration::from_millis(settings.timeout_ms);
    let transport = transport::open(settings, &clock)?;
    let limits = BatchLimits {
        records_max: settings.batch_records_max,
        bytes_max: settings.batch_bytes_max,
        age_us: settings.batch_age_ms.saturating_mul(1_000),
    };
    let drain = DrainLimits {
        bytes_per_s: settings.drain_bytes_per_s,
        records_per_s: settings.drain_records_per_s,
        spread_us: settings.drain_spread_ms.saturating_mul(1_000),
    };
    let (status, watched) = watch::channel(Status::default());
    let resume = Arc::new(Notify::new());
    let shell = Shell {
        name: settings.name.clone(),
        timeout: timeout + TIMEOUT_GRACE,
        transport,
        machine: Machine::new(limits, Encoding::of(&settings.kind), seed()).with_drain(drain),
        queue,
        clock,
        notify,
        resume: Arc::clone(&resume),
        stop,
        status,
    };
    Ok(SinkHandle {
        task: tokio::spawn(shell.run()),
        status: watched,
        resume,
    })
}

struct Shell {
    name: String,
    timeout: Duration,
    transport: Box<dyn Transport>,
    machine: Machine,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    notify: Arc<Notify>,
    resume: Arc<Notify>,
    stop: watch::Receiver<bool>,
    status: watch::Sender<Status>,
}

impl Shell {
    async fn run(mut self) {
        let mut effects = VecDeque::with_capacity(delivery::EFFECTS_MAX);
        self.work(&mut effects).await;
        effects.clear();
        self.step(Event::Stopping, &mut effects);
        for effect in effects {
            self.execute(effect).await;
        }
    }

    /// Delivers until the stop.
    async fn work(&mut self, effects: &mut VecDeque<Effect>) {
        self.step(Event::RecordsWaiting, effects);
        loop {
            while let Some(effect) = effects.pop_front() {
                let Some(event) = self.execute(effect).await else {
                    continue;
                };
                self.step(event, effects);
            }
            if *self.stop.borrow() {
                return;
            }
            let wait = self.wait();
            let event = tokio::select! {
                () = self.notify.notified() => Event::RecordsWaiting,
                () = self.resume.notified() => Event::Resume,
                () = passed(wait) => Event::Deadline,
                // Nobody left to stop it is a stop, too.
                _ = self.stop.wait_for(|stop| *stop) => return,
            };
            self.step(event, effects);
        }
    }

    fn step(&mut self, event: Event, effects: &mut VecDeque<Effect>) {
        self.machine.handle(self.clock.now(), event, effects);
        self.status.send_replace(Status {
            records_waiting: self.queue.waiting(),
            dead_letters: self.queue.letters(),
            ..self.machine.status()
        });
    }

    /// Carries an effect out; returns what comes of it. None: nothing, or the stop came first.
    async fn execute(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Send(batch) => {
                let mut stop = self.stop.clone();
                tokio::select! {
                    answer = self.send(&batch) => Some(Event::Answer(answer)),
                    () = stop_passed(&mut stop) => {
                        warn!(
                            sink = self.name,
                            records = batch.records.len(),
                            "stopped with a request in flight; its records are sent again"
                        );
                        None
                    }
                }
            }
            Effect::Tell(news) => {
                self.tell(&news);
                None
            }
            // A batch confirmed is recorded even when stopping; a next one is not begun.
            Effect::Read { .. } | Effect::Begin { .. } if *self.stop.borrow() => None,
            of_queue => {
                let queue = Arc::clone(&self.queue);
                let asked = match &of_queue {
                    Effect::Read { class, .. } => Some(*class),
                    _ => None,
                };
                match spawn_blocking(move || carry_out(&*queue, of_queue)).await {
                    Ok(carried) => carried.ok().flatten(),
                    Err(broken) => Some(broken_off(asked, &broken)),
                }
            }
        }
    }

    async fn send(&mut self, batch: &Arc<Batch>) -> Answer {
        let attempt = self.transport.may_be_given_up();
        let answer = self.transport.deliver(batch);
        if attempt {
            tokio::time::timeout(self.timeout, answer)
                .await
                .unwrap_or_else(|_| Answer::unsent("no answer within the timeout".into()))
        } else {
            answer.await
        }
    }

    /// How long until the machine's deadline, if it has one.
    fn wait(&self) -> Option<Duration> {
        let until = self.machine.next_deadline()?;
        let wait_us = until.mono_us.saturating_sub(self.clock.now().mono_us);
        Some(Duration::from_micros(wait_us))
    }

    fn tell(&self, news: &News) {
        let sink = &self.name;
        match news {
            News::Failing { why } => {
                warn!(sink, why, "delivery fails; records wait and are sent again");
            }
            // A person is needed: it goes nowhere until it is resent or dropped.
            News::DeadLetter { id, why } => error!(
                sink,
                record = %id,
                why,
                "the sink refused a record; it is kept as a dead letter, see `tidegate sink dead-letter`"
            ),
            News::CircuitOpened { why } => error!(
                sink,
                why,
                "the sink does not take records; they wait in the spool, none is dropped. \
                 Correct the sink's address, credentials or receiver: it is tried every minute"
            ),
            News::Recovered { attempts } => info!(sink, attempts, "delivery works again"),
            News::Draining { limits, wait_us } => info!(
                sink,
                bytes_per_s = limits.bytes_per_s,
                records_per_s = limits.records_per_s,
                begins_in_ms = wait_us / 1_000,
                "a backlog waits for this sink; it goes out at its pace, new records in order with it"
            ),
            News::Drained { records } => info!(sink, records, "the backlog is on its way"),
            News::SpoolFailed { why } => error!(
                sink,
                why, "the spool fails; nothing is sent until it works. Check the disk"
            ),
        }
    }
}

/// What a call of the spool that broke off amounts to: a read of a class, or a note.
fn broken_off(read: Option<Priority>, broken: &JoinError) -> Event {
    let why = format!("a call broke off: {broken}");
    match read {
        Some(class) => Event::Read {
            class,
            result: Err(SinkError::Queue { why }),
        },
        None => Event::Recorded(Err(SinkError::Queue { why })),
    }
}

/// Ends after the wait; never without one.
async fn passed(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Ends [`STOP_MAX`] after the stop was asked for.
async fn stop_passed(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(STOP_MAX).await;
}

#[cfg(test)]
mod tests;
