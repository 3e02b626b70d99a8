//! Writer: the thread that owns the store and serves the core, one request at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::causes;
use crate::conductor::Report;
use crate::conductor::service::{Request, serve};
use crate::spool::bill::Bill;
use crate::status::StorePart;
use crate::store::Store;
use crate::time::Clock;

/// Requests that may wait: a batch, a look at the ledger, a stop.
const REQUESTS_MAX: usize = 8;
/// Reports that may wait for the core.
const REPORTS_MAX: usize = 16;

/// What the writer can be asked beside its work.
pub enum Question {
    /// The store's part of the ledger.
    Ledger(oneshot::Sender<Value>),
    /// The bill.
    Bill(oneshot::Sender<Bill>),
    /// Its part of the status.
    Status(oneshot::Sender<StorePart>),
}

enum Order {
    Serve(Request),
    Answer(Question),
    /// Write a last base and end.
    Stop,
}

/// The running thread.
pub struct Writer {
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `settled` is called after records were spooled.
    pub fn spawn(
        store: Store,
        clock: Arc<dyn Clock>,
        settled: impl FnMut() + Send + 'static,
    ) -> std::io::Result<(Self, mpsc::Receiver<Report>)> {
        let (orders, inbox) = sync_channel(REQUESTS_MAX);
        let (reports, outbox) = mpsc::channel(REPORTS_MAX);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || work(store, &*clock, &inbox, &reports, settled))?;
        let writer = Self {
            orders,
            thread: Some(thread),
        };
        Ok((writer, outbox))
    }

    /// Hands a request over; it comes back when the thread is gone or has too much to do.
    pub fn serve(&self, request: Request) -> Result<(), Request> {
        match self.orders.try_send(Order::Serve(request)) {
            Err(
                TrySendError::Full(Order::Serve(request))
                | TrySendError::Disconnected(Order::Serve(request)),
            ) => Err(request),
            _ => Ok(()),
        }
    }

    /// Asks; false when the thread is gone or has too much to do.
    pub fn ask(&self, question: Question) -> bool {
        self.orders.try_send(Order::Answer(question)).is_ok()
    }

    /// Asks for a last base and waits for the thread's end.
    pub fn stop(mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(
    mut store: Store,
    clock: &dyn Clock,
    inbox: &Receiver<Order>,
    reports: &mpsc::Sender<Report>,
    mut settled: impl FnMut(),
) {
    // A report that cannot be delivered means the core is gone; the next recv ends the thread.
    while let Ok(order) = inbox.recv() {
        match order {
            Order::Serve(request) => {
                let records = serve(&mut store, &|| clock.now(), request, &mut |report| {
                    let _ = reports.blocking_send(report);
                });
                if records > 0 {
                    settled();
                }
            }
            Order::Answer(Question::Ledger(answer)) => {
                let _ = answer.send(store.ledger());
            }
            Order::Answer(Question::Bill(answer)) => {
                let _ = answer.send(store.bill());
            }
            Order::Answer(Question::Status(answer)) => {
                let _ = answer.send(StorePart::of(&store));
            }
            Order::Stop => {
                if let Err(error) = store.stop(clock.now()) {
                    let why = causes::told(&error);
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
