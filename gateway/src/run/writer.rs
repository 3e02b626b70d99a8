//! Writer: the thread that owns the store, one commit batch at a time.
//!
//! ```text
//! core ──Commit──► append, fsync ──Durable──► core (acks leave)
//!                  fold, spool, base ──Settled──► core (next batch may come), sinks are woken
//!                  append failed ──Refused──► core (keeps the entries, offers them again)
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde_json::Value;
use tidegate_shared::ids::{CatalogHash, DeviceName};
use tokio::sync::{mpsc, oneshot};

use crate::entry::Logged;
use crate::store::Store;
use crate::time::Clock;

/// Requests that may wait: a batch, a look at the ledger, a stop.
const REQUESTS_MAX: usize = 8;
/// Reports that may wait for the core.
const REPORTS_MAX: usize = 16;

/// What the writer is asked.
pub enum Request {
    /// Make these durable, then fold them.
    Commit(Vec<Logged>),
    /// Try again to settle what an earlier commit left unspooled.
    Settle,
    /// The store's part of the ledger.
    Ledger(oneshot::Sender<Value>),
    /// Write a last base and end.
    Stop,
}

/// What the writer says.
pub enum Report {
    /// These entries are on disk.
    Durable(Arc<Vec<Logged>>),
    /// They are folded and their records spooled.
    Settled {
        /// When the pipeline wants a tick, monotonic µs of this start.
        deadline: Option<u64>,
        /// Catalogs that batches wait for.
        wanted: Vec<(DeviceName, CatalogHash)>,
    },
    /// The log refused; the entries come back and are not acked.
    Refused {
        /// What was not logged.
        entries: Vec<Logged>,
        /// The error and its causes.
        why: String,
    },
    /// The entries are durable, but their records could not be spooled yet.
    Unsettled {
        /// The error and its causes.
        why: String,
    },
}

/// The running thread.
pub struct Writer {
    requests: SyncSender<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `settled` is called after records were spooled.
    pub fn spawn(
        store: Store,
        clock: Arc<dyn Clock>,
        settled: impl FnMut() + Send + 'static,
    ) -> std::io::Result<(Self, mpsc::Receiver<Report>)> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let (reports, outbox) = mpsc::channel(REPORTS_MAX);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || work(store, &*clock, &inbox, &reports, settled))?;
        let writer = Self {
            requests,
            thread: Some(thread),
        };
        Ok((writer, outbox))
    }

    /// Hands over a batch; it comes back when the thread is gone or has too much to do.
    pub fn commit(&self, entries: Vec<Logged>) -> Result<(), Vec<Logged>> {
        match self.requests.try_send(Request::Commit(entries)) {
            Err(
                TrySendError::Full(Request::Commit(entries))
                | TrySendError::Disconnected(Request::Commit(entries)),
            ) => Err(entries),
            _ => Ok(()),
        }
    }

    /// Asks; false when the thread is gone or has too much to do.
    pub fn ask(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }

    /// Asks for a last base and waits for the thread's end.
    pub fn stop(mut self) {
        let _ = self.requests.send(Request::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(
    mut store: Store,
    clock: &dyn Clock,
    inbox: &Receiver<Request>,
    reports: &mpsc::Sender<Report>,
    mut settled: impl FnMut(),
) {
    // A report that cannot be delivered means the core is gone; the next recv ends the thread.
    while let Ok(request) = inbox.recv() {
        match request {
            Request::Commit(entries) => match store.append(&entries) {
                Ok(()) => {
                    let entries = Arc::new(entries);
                    let _ = reports.blocking_send(Report::Durable(entries.clone()));
                    store.fold(&entries);
                    let _ = reports.blocking_send(settle(&mut store, clock, &mut settled));
                }
                Err(error) => {
                    let why = chain(&error);
                    let _ = reports.blocking_send(Report::Refused { entries, why });
                }
            },
            Request::Settle => {
                let _ = reports.blocking_send(settle(&mut store, clock, &mut settled));
            }
            Request::Ledger(answer) => {
                let _ = answer.send(store.ledger());
            }
            Request::Stop => {
                if let Err(error) = store.stop(clock.now()) {
                    let why = chain(&error);
                    tracing::warn!(
                        why,
                        "no last base was written; the next start replays more of the log"
                    );
                }
                return;
            }
        }
    }
}

fn settle(store: &mut Store, clock: &dyn Clock, settled: &mut impl FnMut()) -> Report {
    match store.settle(clock.now()) {
        Ok(records) => {
            if records > 0 {
                settled();
            }
            Report::Settled {
                deadline: store.next_deadline(),
                wanted: store.wanted(),
            }
        }
        Err(error) => Report::Unsettled { why: chain(&error) },
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text.push_str(": ");
        text.push_str(&one.to_string());
        cause = one.source();
    }
    text
}
