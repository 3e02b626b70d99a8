//! Sessions: a connection over which records are acknowledged one by one, and the task that owns
//! it between batches too.
//!
//! ```text
//!  deliver ──job──▶ ┌ session ────────────────────────────────┐
//!                   │ flight ─next─▶ dialect ─▶ line ─▶ server │
//!          ◀report──│ confirmed ◀─── dialect ◀── line ◀─────── │
//!                   └ ping when silent; ends with its line ────┘
//! ```
//!
//! # Terms
//! - *line*: bytes over TCP or TLS ([`line`]).
//! - *dialect*: what a protocol says for a message, and how it hears that one was taken.
//! - *flight*: the messages of a batch, sent, acknowledged or not ([`flight`]).
//!
//! # Invariants
//! - Nothing outlives the connection: a lost one is reported with what was confirmed until then,
//!   and its task ends. The next attempt begins with a new one; nothing is resent unasked.
//! - A job whose asker is gone ends the connection: what was in flight is never mistaken for the
//!   next batch.

pub mod flight;
pub mod line;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use super::delivery::{Answer, Outcome};
use flight::Flight;
use line::{Line, Lost};

/// Bytes that wait to be written before the next message is fetched.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Longest goodbye.
pub const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// A protocol in which records are acknowledged.
pub trait Dialect: Send + 'static {
    /// What is sent of a batch.
    type Script: Send;

    /// Begins a batch: no acknowledgement of an earlier one is awaited any more.
    fn begin(&mut self);

    /// Messages of a script that may be unacknowledged.
    fn window(&self, script: &Self::Script) -> usize;

    /// Writes a message; returns the bytes of its payload, or why it cannot be sent.
    fn put(
        &mut self,
        script: &Self::Script,
        index: usize,
        output: &mut Vec<u8>,
    ) -> Result<u64, Outcome>;

    /// Writes what has to stand behind the messages put so far.
    fn put_behind(&mut self, script: &Self::Script, flight: &Flight, output: &mut Vec<u8>);

    /// Takes the first whole packet off the input and answers it; false when there is none.
    fn take(
        &mut self,
        input: &mut Vec<u8>,
        output: &mut Vec<u8>,
        underway: Option<(&Self::Script, &mut Flight)>,
    ) -> Result<bool, Lost>;

    /// Writes a ping.
    fn ping(&mut self, output: &mut Vec<u8>);

    /// Whether a ping has no answer yet.
    fn is_pinging(&self) -> bool;

    /// Writes a goodbye.
    fn goodbye(&mut self, output: &mut Vec<u8>);
}

/// A batch to send.
pub struct Job<S> {
    /// Its messages on their way.
    pub flight: Flight,
    /// What they are.
    pub script: S,
    /// How long it may take.
    pub limit: Duration,
    /// Where the report goes.
    pub report: oneshot::Sender<Report>,
}

/// What became of a batch.
pub struct Report {
    /// Which messages were confirmed.
    pub flight: Flight,
    /// Bytes of payloads that were written.
    pub payload_bytes: u64,
    /// The connection was closed without a word, with messages in flight.
    pub is_silent: bool,
}

/// The end of a session that its sink holds.
pub struct Handle<S>(mpsc::Sender<Job<S>>);

impl<S: Send> Handle<S> {
    /// Whether the connection is not known to be lost.
    pub fn is_alive(&self) -> bool {
        !self.0.is_closed()
    }

    /// Sends a batch and waits for what becomes of it. None: the connection had ended before.
    pub async fn send(&self, flight: Flight, script: S, limit: Duration) -> Option<Report> {
        let (report, reported) = oneshot::channel();
        let job = Job {
            flight,
            script,
            limit,
            report,
        };
        self.0.send(job).await.ok()?;
        reported.await.ok()
    }
}

/// Starts the task of an opened line. Twice in `keep_alive` it looks whether a ping is due.
/// `traffic` counts the bytes of the connection, read and written.
pub fn spawn<D: Dialect>(
    line: Line,
    dialect: D,
    keep_alive: Duration,
    traffic: Arc<AtomicU64>,
) -> Handle<D::Script> {
    let (jobs, waiting) = mpsc::channel(1);
    let session = Session {
        line,
        dialect,
        traffic,
        jobs: waiting,
        underway: None,
    };
    tokio::spawn(session.run(keep_alive));
    Handle(jobs)
}

/// A job underway.
struct Underway<S> {
    job: Job<S>,
    deadline: Pin<Box<Sleep>>,
    payload_bytes: u64,
}

/// An attempt's answer; what went over the line beside the payload is its framing.
pub fn answer(traffic: &AtomicU64, outcome: Outcome, sent_bytes: u64, taken: usize) -> Answer {
    let bytes = traffic.swap(0, Ordering::Relaxed);
    Answer {
        outcome,
        sent_bytes,
        header_bytes: bytes.saturating_sub(sent_bytes),
        taken,
    }
}

/// Signs of a server's words that are shown.
const EXCERPT_CHARS: usize = 200;

/// The beginning of a server's words on one line.
pub fn excerpt(words: &str) -> String {
    let shown = words.chars().take(EXCERPT_CHARS);
    shown
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect()
}

/// The task of one connection.
struct Session<D: Dialect> {
    line: Line,
    dialect: D,
    traffic: Arc<AtomicU64>,
    jobs: mpsc::Receiver<Job<D::Script>>,
    underway: Option<Underway<D::Script>>,
}

impl<D: Dialect> Session<D> {
    /// Runs until the connection is lost or nobody needs it any more.
    async fn run(mut self, keep_alive: Duration) {
        let mut beat = tokio::time::interval((keep_alive / 2).max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once.
        beat.tick().await;
        if let Some(lost) = self.talk(beat).await {
            self.lost(lost);
        }
        self.count();
    }

    /// Talks until the connection is lost; none: nobody needs it any more.
    async fn talk(&mut self, mut beat: Interval) -> Option<Lost> {
        loop {
            self.fill();
            self.settle();
            let is_idle = self.underway.is_none();
            let result = tokio::select! {
                turned = self.line.turn() => turned,
                job = self.jobs.recv(), if is_idle => if let Some(job) = job {
                    self.begin(job);
                    Ok(())
                } else {
                    self.goodbye().await;
                    return None;
                },
                is_late = given_up(self.underway.as_mut()) => if is_late {
                    Err(late())
                } else {
                    return None;
                },
                _ = beat.tick() => self.beat(),
            };
            self.count();
            let heard = result.and_then(|()| self.hear());
            if let Err(lost) = heard {
                return Some(lost);
            }
        }
    }

    fn begin(&mut self, job: Job<D::Script>) {
        self.dialect.begin();
        self.underway = Some(Underway {
            deadline: Box::pin(tokio::time::sleep(job.limit)),
            job,
            payload_bytes: 0,
        });
    }

    /// Puts messages into the output while the window and the output have room.
    fn fill(&mut self) {
        let Some(underway) = &mut self.underway else {
            return;
        };
        let (dialect, output) = (&mut self.dialect, &mut self.line.output);
        let Job { flight, script, .. } = &mut underway.job;
        let window = dialect.window(script);
        while output.len() < OUTPUT_BYTES_MAX {
            let Some(index) = flight.next(window) else {
                break;
            };
            match dialect.put(script, index, output) {
                Ok(bytes) => underway.payload_bytes += bytes,
                Err(outcome) => flight.failed(index, outcome),
            }
        }
        dialect.put_behind(script, flight, output);
    }

    /// Takes all packets that are whole.
    fn hear(&mut self) -> Result<(), Lost> {
        let Line { input, output, .. } = &mut self.line;
        // What comes may ask for answers: not more of them than are written.
        while output.len() < OUTPUT_BYTES_MAX {
            let underway = self
                .underway
                .as_mut()
                .map(|underway| (&underway.job.script, &mut underway.job.flight));
            if !self.dialect.take(input, output, underway)? {
                break;
            }
        }
        Ok(())
    }

    /// Reports a job that is over.
    fn settle(&mut self) {
        let underway = self.underway.as_ref();
        if underway.is_some_and(|underway| underway.job.flight.is_over()) {
            self.report(false);
        }
    }

    fn report(&mut self, is_silent: bool) {
        self.count();
        if let Some(underway) = self.underway.take() {
            // An asker that is gone needs no answer.
            let _ = underway.job.report.send(Report {
                flight: underway.job.flight,
                payload_bytes: underway.payload_bytes,
                is_silent,
            });
        }
    }

    /// Twice in a keep-alive time: a ping where nothing was written, an end where none was
    /// answered.
    fn beat(&mut self) -> Result<(), Lost> {
        let (wrote, read) = (self.line.wrote, self.line.read);
        (self.line.wrote, self.line.read) = (false, false);
        if self.dialect.is_pinging() && !read {
            return Err(Lost::from(retry("the server does not answer".into())));
        }
        if !wrote {
            self.dialect.ping(&mut self.line.output);
        }
        Ok(())
    }

    fn lost(&mut self, lost: Lost) {
        // Before the report: who hears it makes a new connection, and does not ask this one again.
        self.jobs.close();
        if let Some(underway) = &mut self.underway {
            // Only what was unacknowledged can be the reason.
            let is_silent = lost.is_silent && underway.job.flight.in_flight() > 0;
            underway.job.flight.lost(lost.outcome);
            self.report(is_silent);
        } else {
            tracing::debug!(
                outcome = ?lost.outcome,
                "an idle connection ended; the next batch makes a new one"
            );
        }
    }

    async fn goodbye(&mut self) {
        self.dialect.goodbye(&mut self.line.output);
        let _ = tokio::time::timeout(GOODBYE_MAX, self.line.finish()).await;
    }

    fn count(&mut self) {
        let bytes = std::mem::take(&mut self.line.bytes);
        self.traffic.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Not now.
pub fn retry(why: String) -> Outcome {
    Outcome::Retry {
        why,
        after_us: None,
    }
}

fn late() -> Lost {
    Lost::from(retry(
        "not every record was acknowledged within the timeout".into(),
    ))
}

/// Ends when the job's time is over (true) or nobody waits for it any more; never without one.
async fn given_up<S>(underway: Option<&mut Underway<S>>) -> bool {
    let Some(underway) = underway else {
        return std::future::pending().await;
    };
    tokio::select! {
        () = underway.deadline.as_mut() => true,
        () = underway.job.report.closed() => false,
    }
}
