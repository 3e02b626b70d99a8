//! Writer: the thread that owns the store and serves the core, one request at a time.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::causes;
use crate::clock::Moment;
use crate::conductor::Report;
use crate::conductor::service::{Request, serve};
use crate::ledger::counters::Counters;
use crate::plant::compose::{self, StoreView, Upstream};
use crate::plant::{Chart, Devices, Selection};
use crate::recent::{Recent, Taps, Watcher};
use crate::spool::bill::Bill;
use crate::spool::counters as spool;
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
    /// Its part of an overview.
    Overview(oneshot::Sender<StoreView>),
    /// Devices.
    Devices(Selection, oneshot::Sender<Devices>),
    /// A chart of a device's sensor, if there is one.
    Chart(String, String, oneshot::Sender<Option<Chart>>),
    /// Every counter.
    Counters(oneshot::Sender<(Counters, spool::Counters)>),
}

impl Question {
    /// Whether nobody waits for the answer any more.
    fn is_given_up(&self) -> bool {
        match self {
            Self::Ledger(answer) => answer.is_closed(),
            Self::Bill(answer) => answer.is_closed(),
            Self::Status(answer) => answer.is_closed(),
            Self::Overview(answer) => answer.is_closed(),
            Self::Devices(_, answer) => answer.is_closed(),
            Self::Chart(_, _, answer) => answer.is_closed(),
            Self::Counters(answer) => answer.is_closed(),
        }
    }
}

/// What the thread answers from beside its store.
pub struct Looking {
    /// The gateway's start.
    pub start: u32,
    /// The newest samples and records.
    pub recent: Recent,
    /// Whom they are shown as they flow.
    pub taps: Taps,
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
        mut store: Store,
        looking: Looking,
        clock: Arc<dyn Clock>,
        settled: impl FnMut() + Send + 'static,
    ) -> std::io::Result<(Self, mpsc::Receiver<Report>)> {
        let (orders, inbox) = sync_channel(REQUESTS_MAX);
        let (reports, outbox) = mpsc::channel(REPORTS_MAX);
        let recent = Arc::new(Mutex::new(looking.recent));
        store.show_to(Box::new(Watcher::new(Arc::clone(&recent), looking.taps)));
        let desk = Desk {
            start: looking.start,
            recent,
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || work(store, &desk, &*clock, &inbox, &reports, settled))?;
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

/// Where questions are answered.
struct Desk {
    start: u32,
    recent: Arc<Mutex<Recent>>,
}

impl Desk {
    /// Answers, unless whoever asked has lost patience.
    fn answer(&self, store: &Store, clock: &dyn Clock, question: Question) {
        if question.is_given_up() {
            return;
        }
        let now = Moment {
            start: self.start,
            at: clock.now(),
        };
        let picture = store.picture(now);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match question {
            Question::Ledger(answer) => {
                let _ = answer.send(store.ledger());
            }
            Question::Bill(answer) => {
                let _ = answer.send(store.bill());
            }
            Question::Status(answer) => {
                let _ = answer.send(StorePart::of(store));
            }
            Question::Overview(answer) => {
                let spool = store.spool();
                let upstream = {
                    let spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
                    Upstream::of(&spool, now)
                };
                let _ = answer.send(compose::overview(picture, upstream));
            }
            Question::Devices(selection, answer) => {
                recent.look(now.at.mono_us);
                let _ = answer.send(compose::devices(picture, &recent, &selection));
            }
            Question::Chart(device, sensor, answer) => {
                recent.look(now.at.mono_us);
                let _ = answer.send(compose::chart(picture, &mut recent, (&device, &sensor)));
            }
            Question::Counters(answer) => {
                let _ = answer.send(store.counters());
            }
        }
    }
}

fn work(
    mut store: Store,
    desk: &Desk,
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
            Order::Answer(question) => desk.answer(&store, clock, question),
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
