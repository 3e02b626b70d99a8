//! Run: the shell that owns sockets, threads and the clock, and starts and stops everything.
//!
//! ```text
//! broker ⇄ mqtt link ⇄ core (session) ⇄ writer thread (store) ──► spool ⇄ a task per sink ──► upstream
//!                          ▲
//!                    control socket
//! ```
//! Start: data directory held, start counted, store opened (records that a crash kept out of the
//! spool are derived again), broker, link, sinks, core. Stop: intake ends, what is pending becomes
//! durable and is acked, offline is published, a last base is written, sinks end.

mod core;
pub mod demo;
mod queue;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tidegate_shared::ids::Term;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::core::{Core, Parts, Question};
use self::queue::SpoolQueue;
use self::writer::Writer;
use crate::control::{Command, Control, Handler};
use crate::disk::Disk;
use crate::disk::data_dir::{DataDir, DataDirError};
use crate::disk::real::RealDisk;
use crate::entry::{ENGINE, Entry};
use crate::identity::{self, Identity, IdentityUnwritten};
use crate::mqtt::{self, Broker, LinkCounters, LinkHandle, Will};
use crate::rules::settings::{MqttSettings, Settings};
use crate::session::{Session, SessionConfig};
use crate::sinks::{self, SinkError, SinkHandle};
use crate::store::{Store, StoreError};
use crate::time::{Clock, SystemClock, Timestamp};

/// Questions that may wait for the core.
const QUESTIONS_MAX: usize = 16;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory is in use, newer, or cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data directory cannot be opened.
    #[error("the data directory {dir} cannot be opened; nothing was received yet")]
    Disk {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The start could not be counted.
    #[error(transparent)]
    Identity(#[from] IdentityUnwritten),
    /// The store could not be opened.
    #[error("the store cannot be opened; nothing was received yet and nothing in it was removed")]
    Store(#[from] StoreError),
    /// The embedded broker did not start.
    #[cfg(feature = "embedded-broker")]
    #[error(transparent)]
    Broker(#[from] mqtt::embedded::EmbeddedError),
    /// This binary has no broker inside.
    #[cfg(not(feature = "embedded-broker"))]
    #[error(
        "this binary was built without the embedded broker: set mqtt.url, or build with the feature embedded-broker"
    )]
    NoBroker,
    /// A sink could not be set up.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The gateway's core ended by itself.
    #[error("the gateway ended by itself; what was acked is on disk, the log above says why")]
    CoreEnded,
    /// The system has no entropy or no thread left.
    #[error("the system refused what a start needs; nothing was received yet")]
    System(#[source] std::io::Error),
}

/// A running gateway.
pub struct Gateway {
    core: JoinHandle<()>,
    sinks: Vec<SinkHandle>,
    stop_core: oneshot::Sender<()>,
    stop_sinks: watch::Sender<bool>,
    questions: mpsc::Sender<Question>,
    broker: Broker,
    link: LinkHandle,
    #[cfg(feature = "embedded-broker")]
    embedded: Option<mqtt::embedded::EmbeddedBroker>,
    control: Option<JoinHandle<()>>,
    _data_dir: DataDir,
}

/// Runs a gateway until `shutdown`, then stops it cleanly.
///
/// # Errors
/// The gateway could not start; nothing was received then.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut gateway = Gateway::start(settings).await?;
    let ended_early = tokio::select! {
        () = shutdown => false,
        _ = &mut gateway.core => true,
    };
    gateway.stop().await;
    if ended_early {
        Err(RunError::CoreEnded)
    } else {
        Ok(())
    }
}

impl Gateway {
    /// Starts everything.
    ///
    /// # Errors
    /// What could not be started; the rest is stopped again.
    pub async fn start(settings: Settings) -> Result<Self, RunError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let data_dir = DataDir::hold(&settings.data_dir)?;
        let (store, identity, log_incarnation) = open(&settings, clock.now())?;
        let term = Term(draw()? as u32 | 1);
        let (broker, embedded) = broker(&settings.mqtt).await?;

        let mut config = SessionConfig::new(
            settings.site.clone(),
            identity.gateway,
            term,
            identity.start,
        );
        config.limits = settings.limits;
        let session = Session::new(config, store.marks().clone());
        let will = Will {
            topic: tidegate_shared::topic::Topic::Gateway
                .text(&settings.site)
                .to_string(),
            payload: session.offline_payload(),
            retained: true,
        };
        let client_id = format!("tidegate-gw-{:016x}", identity.gateway);
        let first = first_entries(&store, &settings, log_incarnation, term);

        let (stop_sinks, stopping) = watch::channel(false);
        let notify: Vec<Arc<Notify>> = settings.sinks.iter().map(|_| Arc::default()).collect();
        let mut handles = Vec::new();
        for (sink, notify) in settings.sinks.iter().zip(&notify) {
            let queue = Arc::new(SpoolQueue::new(store.spool(), &sink.name));
            handles.push(sinks::spawn(
                sink,
                queue,
                clock.clone(),
                notify.clone(),
                stopping.clone(),
            )?);
        }
        let (writer, reports) = Writer::spawn(store, clock.clone(), move || {
            for one in &notify {
                one.notify_one();
            }
        })
        .map_err(RunError::System)?;
        let (link, events) = mqtt::connect(&broker, &settings.site, &client_id, will);
        let watched = link.clone();
        let parts = Parts {
            clock,
            site: settings.site.clone(),
            start: identity.start,
            term,
            commit_ms: settings.log.commit_ms,
            session,
            link,
            writer,
        };
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (stop_core, stopped) = oneshot::channel::<()>();
        let core = tokio::spawn(Core::new(parts, first).run(events, reports, asked, async {
            let _ = stopped.await;
        }));
        tracing::info!(
            site = %settings.site,
            gateway = format!("{:016x}", identity.gateway),
            start = identity.start,
            term = %term,
            broker = %format!("{}:{}", broker.host, broker.port),
            data_dir = %settings.data_dir.display(),
            "the gateway runs"
        );
        Ok(Self {
            core,
            sinks: handles,
            stop_core,
            stop_sinks,
            control: listen(&settings, &questions),
            questions,
            broker,
            link: watched,
            #[cfg(feature = "embedded-broker")]
            embedded,
            _data_dir: data_dir,
        })
    }

    /// The broker the gateway uses; an embedded one with the port it really has.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// What the link to the broker counted since the start.
    pub fn link_counters(&self) -> LinkCounters {
        self.link.counters()
    }

    /// The ledger as JSON; `None` when the gateway is too busy to answer.
    pub async fn ledger(&self) -> Option<Value> {
        ask(&self.questions).await
    }

    /// Stops cleanly: what was received is on disk and acked, the site sees it offline.
    pub async fn stop(self) {
        if let Some(control) = self.control {
            control.abort();
        }
        let _ = self.stop_core.send(());
        if !self.core.is_finished()
            && let Err(error) = self.core.await
        {
            tracing::error!(%error, "the core ended early; what was acked is on disk");
        }
        self.stop_sinks.send_replace(true);
        for sink in self.sinks {
            let _ = sink.task.await;
        }
        #[cfg(feature = "embedded-broker")]
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        tracing::info!("the gateway stopped");
    }
}

/// Holds the disk, counts the start, opens the store.
/// The third part is the log incarnation that this start logs under.
fn open(settings: &Settings, now: Timestamp) -> Result<(Store, Identity, u32), RunError> {
    let disk = RealDisk::open(&settings.data_dir).map_err(|source| RunError::Disk {
        dir: settings.data_dir.clone(),
        source,
    })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let identity = identity::begin(&disk, draw()?)?;
    let drawn = draw()? as u32 | 1;
    let (store, report) = Store::open(&disk, settings, drawn, now)?;
    report.announce();
    let is_copy = identity.log_left == Some(store.log_incarnation());
    let log_incarnation = if report.ids_begin_anew || is_copy {
        drawn
    } else {
        store.log_incarnation()
    };
    Ok((store, identity, log_incarnation))
}

fn draw() -> Result<u64, RunError> {
    getrandom::u64().map_err(|error| RunError::System(std::io::Error::other(error)))
}

/// What every start writes before anything else.
fn first_entries(
    store: &Store,
    settings: &Settings,
    log_incarnation: u32,
    term: Term,
) -> Vec<Entry> {
    let mut entries = vec![Entry::Started {
        engine: ENGINE,
        log_incarnation,
        term: term.0,
        site: settings.site.to_string(),
    }];
    if *store.rules() != settings.rules {
        entries.push(Entry::Rules {
            text: settings.rules.to_json(),
        });
    }
    if *store.limits() != settings.limits {
        entries.push(Entry::Limits(settings.limits));
    }
    entries
}

#[cfg(feature = "embedded-broker")]
type Embedded = mqtt::embedded::EmbeddedBroker;
#[cfg(not(feature = "embedded-broker"))]
type Embedded = ();

async fn broker(settings: &MqttSettings) -> Result<(Broker, Option<Embedded>), RunError> {
    match settings {
        #[cfg(feature = "embedded-broker")]
        MqttSettings::Embedded { listen } => {
            let embedded = mqtt::embedded::start(*listen).await?;
            Ok((Broker::at(embedded.local_addr()), Some(embedded)))
        }
        #[cfg(not(feature = "embedded-broker"))]
        MqttSettings::Embedded { .. } => Err(RunError::NoBroker),
        MqttSettings::External { .. } => Ok((Broker::from(settings), None)),
    }
}

/// Opens the control socket. Without it the gateway runs; commands then read the files.
fn listen(settings: &Settings, questions: &mpsc::Sender<Question>) -> Option<JoinHandle<()>> {
    match Control::open(&settings.data_dir) {
        Ok(control) => {
            let answers = Arc::new(Answers(questions.clone()));
            Some(tokio::spawn(async move {
                control.serve(answers, std::future::pending()).await;
            }))
        }
        Err(error) => {
            tracing::warn!(%error, "commands cannot ask this gateway");
            None
        }
    }
}

struct Answers(mpsc::Sender<Question>);

impl Handler for Answers {
    async fn answer(&self, command: Command) -> Result<Value, String> {
        match command {
            Command::Ledger => ask(&self.0)
                .await
                .ok_or_else(|| "the gateway is busy or stopping; ask again".into()),
        }
    }
}

async fn ask(questions: &mpsc::Sender<Question>) -> Option<Value> {
    let (answer, answered) = oneshot::channel();
    questions.try_send(Question::Ledger(answer)).ok()?;
    answered.await.ok()
}
