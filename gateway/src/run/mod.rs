//! Run: the shell that owns sockets, threads and the clock, and starts and stops everything.
//!
//! ```text
//! broker ⇄ mqtt link ⇄ core (session) ⇄ writer thread (store) ──► spool ⇄ a task per sink ──► upstream
//!                          ▲
//!              control socket, reload ◄── file, SIGHUP
//! ```
//! Start: data directory held, start counted, store opened (records that a crash kept out of the
//! spool are derived again), broker, link, sinks, core. Stop: intake ends, what is pending becomes
//! durable and is acked, offline is published, a last base is written, sinks end.

mod answers;
mod books;
mod broker;
mod core;
pub mod demo;
mod doors;
mod error;
pub mod queue;
pub mod reload;
mod serving;
#[cfg(test)]
#[cfg(feature = "embedded-broker")]
mod serving_tests;
mod start;
mod supervisor;
mod trust;
mod witnesses;
mod writer;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::answers::{Answers, SinkAnswers};
use self::broker::Opened;
use self::core::Core;
pub use self::error::RunError;
use self::queue::SpoolQueue;
use self::reload::{Reloader, Source};
pub use self::supervisor::Supervisor;
use self::witnesses::Asked;
use self::writer::{Looking, Writer};
use crate::conductor::{Condition, Start};
use crate::control::Control;
use crate::disk::data_dir::DataDir;
use crate::http::Door;
use crate::mqtt::access::Doorkeeper;
use crate::mqtt::embedded::EmbeddedBroker;
use crate::mqtt::{self, Broker, LinkCounters, LinkHandle, Will};
use crate::plant::{self, Overview};
use crate::recent::{Recent, Taps};
use crate::rules::settings::Settings;
use crate::sinks::framing::Framing;
use crate::sinks::{self, SinkError, SinkHandle};
use crate::status::{Setup, Status};
use crate::store::Store;
use crate::time::{Clock, SystemClock};

/// Questions that may wait for the core.
const QUESTIONS_MAX: usize = 16;

/// A running gateway.
pub struct Gateway {
    core: JoinHandle<()>,
    sinks: Vec<SinkHandle>,
    stop_core: oneshot::Sender<()>,
    stop_sinks: watch::Sender<bool>,
    answers: Arc<Answers>,
    broker: Broker,
    link: LinkHandle,
    embedded: Option<EmbeddedBroker>,
    control: Option<JoinHandle<()>>,
    reloader: Option<JoinHandle<()>>,
    witnesses: Vec<Asked>,
    http: Option<(String, JoinHandle<()>)>,
    _data_dir: DataDir,
}

/// Runs a gateway until `shutdown`, then stops it cleanly; `source` is read again when it changes,
/// `supervisor` hears how it goes.
///
/// # Errors
/// The gateway could not start; nothing was received then.
pub async fn run(
    settings: Settings,
    source: Source,
    supervisor: Supervisor,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut gateway = Gateway::start_from(settings, Some((source, supervisor.clone()))).await?;
    supervisor.ready();
    let answers = Arc::clone(&gateway.answers);
    let clock = Arc::clone(&answers.clock);
    let status = async move || answers.status().await;
    // Not ended here: a stop is watched too.
    tokio::spawn(supervisor.clone().watch(status, clock));
    let ended_early = tokio::select! {
        () = shutdown => false,
        _ = &mut gateway.core => true,
    };
    supervisor.stopping();
    gateway.stop().await;
    if ended_early {
        Err(RunError::CoreEnded)
    } else {
        Ok(())
    }
}

impl Gateway {
    /// Starts everything, with settings that came from no file.
    ///
    /// # Errors
    /// What could not be started; the rest is stopped again.
    pub async fn start(settings: Settings) -> Result<Self, RunError> {
        Self::start_from(settings, None).await
    }

    /// Starts everything; what the source says later is taken while it runs, and its supervisor is
    /// told of reloads.
    ///
    /// # Errors
    /// What could not be started; the rest is stopped again.
    async fn start_from(
        settings: Settings,
        source: Option<(Source, Supervisor)>,
    ) -> Result<Self, RunError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::watching());
        let data_dir = DataDir::hold(&settings.data_dir)?;
        // Before anything is received: an address that is taken keeps the gateway from starting.
        let door = match &settings.http {
            Some(http) => Some(Door::open(http).await?),
            None => None,
        };
        let (begun, mut trust) = start::begin(&settings, (clock.now(), clock.word()))?;
        let door = match door {
            Some(door) => Some(serving::with_witness(
                door,
                &settings,
                begun.identity.gateway,
                &clock,
            )?),
            None => None,
        };
        let keys = trust.keyring()?;
        let client_id = format!("tidegate-gw-{:016x}", begun.identity.gateway);
        let Opened {
            link: to_link,
            broker,
            embedded,
            refusals,
        } = broker::open(&settings, &client_id, (&keys, &clock)).await?;
        let Start {
            identity,
            term,
            mut conductor,
            store,
            will,
            ..
        } = begun;
        start::secure(&mut conductor, &settings, (&trust, &keys), clock.now())?;
        let will = Will {
            topic: tidegate_shared::topic::Topic::Gateway
                .text(&settings.site)
                .to_string(),
            payload: will,
            retained: true,
        };
        let (stop_sinks, stopping) = watch::channel(false);
        let notify: Vec<Arc<Notify>> = settings.sinks.iter().map(|_| Arc::default()).collect();
        let handles = spawn_sinks(&settings, &store, (&notify, &stopping), &clock)?;
        let spool = store.spool();
        let wakes = notify.clone();
        let taps = Taps::default();
        let looking = Looking {
            start: identity.start,
            // A page that somebody opens shows what flowed before.
            recent: if settings.http.is_some() {
                Recent::always()
            } else {
                Recent::default()
            },
            taps: taps.clone(),
        };
        let (writer, reports) = Writer::spawn(store, looking, clock.clone(), move || {
            for one in &notify {
                one.notify_one();
            }
        })
        .map_err(RunError::System)?;
        let (link, events) = mqtt::connect(&to_link, &settings.site, &client_id, will);
        let watched = link.clone();
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let doorkeeper = embedded.as_ref().map(|one| Arc::clone(one.doorkeeper()));
        let hearers = trust::Hearers {
            core: questions.clone(),
            doorkeeper: doorkeeper.clone(),
        };
        let trust = trust::spawn(trust, hearers, clock.clone(), settings.site.clone());
        let (trust, entries) = trust.map_err(RunError::System)?;
        let witnesses = witnesses::spawn(&settings.witnesses, &settings.data_dir, &entries, &clock);
        let core = Core {
            clock: clock.clone(),
            trust: trust.clone(),
            site: settings.site.clone(),
            conductor,
            link,
            writer,
            reconfigured: None,
        };
        let (stop_core, stopped) = oneshot::channel::<()>();
        let core = tokio::spawn(core.run(events, reports, asked, refusals, async {
            let _ = stopped.await;
        }));
        let control = serving::open_control(&settings);
        let (reload, reloader) = match source {
            Some((source, supervisor)) => {
                let told = (clock.clone(), supervisor);
                let (reloader, handle) = Reloader::new(
                    source,
                    settings.clone(),
                    told,
                    (questions.clone(), trust.clone()),
                );
                (Some(handle), Some(tokio::spawn(reloader.run())))
            }
            None => (None, None),
        };
        let answers = Arc::new(Answers {
            questions,
            trust,
            setup: Setup::new(&settings, identity.gateway, identity.start),
            sinks: settings
                .sinks
                .iter()
                .zip(handles.iter().zip(wakes))
                .map(|(sink, (handle, wake))| (sink.name.clone(), SinkAnswers::of(handle, wake)))
                .collect(),
            witnesses: witnesses
                .iter()
                .map(|one| (one.name.clone(), one.standing.clone()))
                .collect(),
            spool,
            link: watched.clone(),
            doorkeeper,
            control: control.as_ref().map(Control::meter),
            http: door.as_ref().map(Door::meter),
            reload,
            clock: clock.clone(),
            taps,
            books: tokio::sync::Mutex::default(),
        });
        tracing::info!(
            site = %settings.site,
            gateway = format!("{:016x}", identity.gateway),
            start = identity.start,
            term = %term,
            broker = %format!("{}:{}", broker.host, broker.port),
            data_dir = %settings.data_dir.display(),
            configuration = answers.configuration().map(|one| one.hash),
            "the gateway runs"
        );
        Ok(Self {
            core,
            sinks: handles,
            stop_core,
            stop_sinks,
            control: control.map(|control| serving::serve(control, &answers)),
            reloader,
            witnesses,
            http: door.map(|door| serving::serve_http(door, &answers, clock)),
            answers,
            broker,
            link: watched,
            embedded,
            _data_dir: data_dir,
        })
    }

    /// The broker the gateway uses; an embedded one with the port it really has.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Who judges those who connect to the embedded broker; none with a broker of one's own.
    pub fn doorkeeper(&self) -> Option<&Arc<Doorkeeper>> {
        self.embedded.as_ref().map(EmbeddedBroker::doorkeeper)
    }

    /// What the link to the broker counted since the start.
    pub fn link_counters(&self) -> LinkCounters {
        self.link.counters()
    }

    /// Where a browser finds the page; none where it is not served.
    pub fn url(&self) -> Option<&str> {
        self.http.as_ref().map(|(url, _)| url.as_str())
    }

    /// The ledger as JSON; `None` when the gateway is too busy to answer.
    pub async fn ledger(&self) -> Option<Value> {
        self.answers.ledger().await
    }

    /// What keeps the gateway from working as usual; `None` when it is too busy to answer.
    pub async fn conditions(&self) -> Option<Vec<Condition>> {
        self.answers.conditions().await
    }

    /// What the gateway is doing and how near it is to its limits; `None` when it is too busy to
    /// answer.
    pub async fn status(&self) -> Option<Status> {
        self.answers.status().await
    }

    /// The gateway and its plant without the devices; `None` when it is too busy to answer.
    pub async fn overview(&self) -> Option<Overview> {
        plant::Source::overview(&*self.answers).await
    }

    /// Stops cleanly: what was received is on disk and acked, the site sees it offline.
    pub async fn stop(self) {
        let http = self.http.map(|(_, task)| task);
        let witnesses = self.witnesses.into_iter().map(|one| one.task);
        let asked = self.control.into_iter().chain(self.reloader).chain(http);
        for task in asked.chain(witnesses) {
            task.abort();
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
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        tracing::info!("the gateway stopped");
    }
}

/// Starts the sinks; each is woken by one of `notify` and ends when it is told.
fn spawn_sinks(
    settings: &Settings,
    store: &Store,
    (notify, stopping): (&[Arc<Notify>], &watch::Receiver<bool>),
    clock: &Arc<dyn Clock>,
) -> Result<Vec<SinkHandle>, SinkError> {
    let spawned = settings.sinks.iter().zip(notify).map(|(sink, notify)| {
        let queue = SpoolQueue::new(store.spool(), &sink.name);
        let queue = Arc::new(queue.framed(Framing::of(&sink.kind)));
        let (clock, notify) = (Arc::clone(clock), Arc::clone(notify));
        sinks::spawn(sink, queue, clock, notify, stopping.clone())
    });
    spawned.collect()
}
