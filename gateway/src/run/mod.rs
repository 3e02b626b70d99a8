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
mod core;
pub mod demo;
#[cfg(feature = "embedded-broker")]
mod doors;
pub mod queue;
pub mod reload;
#[cfg(test)]
#[cfg(feature = "embedded-broker")]
mod serving_tests;
mod supervisor;
mod trust;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::answers::{Answers, SinkAnswers};
use self::core::Core;
use self::queue::SpoolQueue;
use self::reload::{Reloader, Source};
pub use self::supervisor::Supervisor;
use self::writer::{Looking, Writer};
use crate::audit::witness;
use crate::conductor::{self, Condition, Conductor, Draws, Start, StartError};
use crate::control::Control;
use crate::disk::Disk;
use crate::disk::data_dir::{DataDir, DataDirError, lock_of};
use crate::disk::real::RealDisk;
use crate::http::{Cosigner, Door, HttpError};
use crate::mqtt::access::Refusal;
use crate::mqtt::{self, Broker, LinkCounters, LinkHandle, Will};
#[cfg(feature = "embedded-broker")]
use crate::mqtt::{
    access::Doorkeeper,
    embedded::{EmbeddedBroker, EmbeddedError},
};
use crate::plant::{self, Overview};
use crate::recent::{Recent, Taps};
use crate::rules::settings::{MqttSettings, Settings};
use crate::session::Keyring;
use crate::sinks::framing::Framing;
use crate::sinks::{self, SinkError, SinkHandle};
use crate::status::{Setup, Status};
use crate::time::{Clock, SystemClock, Timestamp, Word};
use crate::trust::{Trust, TrustError, Whose, witness_signer};

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
    /// Registry or audit log cannot be opened.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The start could not be counted, or the store not opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The embedded broker did not start.
    #[cfg(feature = "embedded-broker")]
    #[error(transparent)]
    Broker(#[from] EmbeddedError),
    /// This binary has no broker inside.
    #[cfg(not(feature = "embedded-broker"))]
    #[error(
        "this binary was built without the embedded broker: set mqtt.url, or build with the feature embedded-broker"
    )]
    NoBroker,
    /// Page, API and metrics cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
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
    answers: Arc<Answers>,
    broker: Broker,
    link: LinkHandle,
    #[cfg(feature = "embedded-broker")]
    embedded: Option<EmbeddedBroker>,
    control: Option<JoinHandle<()>>,
    reloader: Option<JoinHandle<()>>,
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
        let (begun, trust) = begin(&settings, (clock.now(), clock.word()))?;
        let door = match door {
            Some(door) => Some(with_witness(
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
        } = open_broker(&settings, &client_id, (&keys, &clock)).await?;
        let Start {
            identity,
            term,
            mut conductor,
            store,
            will,
            ..
        } = begun;
        secure(&mut conductor, &settings, (&trust, &keys), clock.now())?;
        let will = Will {
            topic: tidegate_shared::topic::Topic::Gateway
                .text(&settings.site)
                .to_string(),
            payload: will,
            retained: true,
        };
        let (stop_sinks, stopping) = watch::channel(false);
        let notify: Vec<Arc<Notify>> = settings.sinks.iter().map(|_| Arc::default()).collect();
        let mut handles = Vec::new();
        for (sink, notify) in settings.sinks.iter().zip(&notify) {
            let queue = SpoolQueue::new(store.spool(), &sink.name);
            let queue = Arc::new(queue.framed(Framing::of(&sink.kind)));
            handles.push(sinks::spawn(
                sink,
                queue,
                clock.clone(),
                notify.clone(),
                stopping.clone(),
            )?);
        }
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
        let hearers = trust::Hearers {
            core: questions.clone(),
            #[cfg(feature = "embedded-broker")]
            doorkeeper: embedded.as_ref().map(|one| Arc::clone(one.doorkeeper())),
        };
        let trust = trust::spawn(trust, hearers, clock.clone(), settings.site.clone());
        let trust = trust.map_err(RunError::System)?;
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
        let control = open_control(&settings);
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
            spool,
            link: watched.clone(),
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
            control: control.map(|control| serve(control, &answers)),
            reloader,
            http: door.map(|door| serve_http(door, &answers, clock)),
            answers,
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

    /// Who judges those who connect to the embedded broker; none with a broker of one's own.
    #[cfg(feature = "embedded-broker")]
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
        for task in self.control.into_iter().chain(self.reloader).chain(http) {
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
        #[cfg(feature = "embedded-broker")]
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        tracing::info!("the gateway stopped");
    }
}

/// Counts the start and opens the store.
fn begin(settings: &Settings, now: (Timestamp, Word)) -> Result<(Start, Trust), RunError> {
    let disk = RealDisk::open(&settings.data_dir).map_err(|source| RunError::Disk {
        dir: settings.data_dir.clone(),
        source,
    })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let draws = Draws {
        gateway: draw()?,
        incarnation: draw()? as u32 | 1,
        spare_incarnation: draw()? as u32 | 1,
        term: draw()? as u32 | 1,
        counter: draw()? as u32,
    };
    let start = conductor::start(&disk, settings, draws, now)?;
    start.report.announce();
    let whose = Whose {
        site: settings.site.as_str(),
        gateway: start.identity.gateway,
        start: start.identity.start,
    };
    let trust = Trust::open(&disk, &settings.security, whose)?;
    Ok((start, trust))
}

/// Gives the conductor the keys in force, what is to be done about offences, and the audit log's
/// checkpoint.
fn secure(
    conductor: &mut Conductor,
    settings: &Settings,
    (trust, keys): (&Trust, &Keyring),
    now: Timestamp,
) -> Result<(), TrustError> {
    conductor.set_keys(keys.clone());
    conductor.set_policy(settings.policy());
    for (device, until_us) in trust.held() {
        conductor.hold_device(now, device.clone(), *until_us);
    }
    if let Some(newest) = trust.checkpoint()? {
        conductor.take_checkpoint(newest);
    }
    if !trust.is_noted() {
        tracing::info!(
            "there is no audit log: name a key under [security] to have one, and to register devices"
        );
    }
    Ok(())
}

fn draw() -> Result<u64, RunError> {
    getrandom::u64().map_err(|error| RunError::System(std::io::Error::other(error)))
}

#[cfg(feature = "embedded-broker")]
type Embedded = EmbeddedBroker;
#[cfg(not(feature = "embedded-broker"))]
type Embedded = ();

/// The broker, and the one inside if it is that.
struct Opened {
    /// How the gateway's own link reaches it.
    link: Broker,
    /// How devices do.
    broker: Broker,
    embedded: Option<Embedded>,
    refusals: mpsc::Receiver<Refusal>,
}

async fn open_broker(
    settings: &Settings,
    client_id: &str,
    (keys, clock): (&Keyring, &Arc<dyn Clock>),
) -> Result<Opened, RunError> {
    match &settings.mqtt {
        #[cfg(feature = "embedded-broker")]
        MqttSettings::Embedded { listen, tls } => {
            let (doorkeeper, refusals) =
                Doorkeeper::new(settings.site.clone(), client_id.to_owned())
                    .map_err(RunError::System)?;
            // Before it listens: nobody is let in meanwhile who is not to be.
            doorkeeper.set(doors::access(keys));
            let started =
                mqtt::embedded::start(*listen, tls.as_ref(), doorkeeper, Arc::clone(clock));
            let embedded = started.await?;
            Ok(Opened {
                link: embedded.inner(),
                broker: Broker::at(embedded.local_addr()),
                embedded: Some(embedded),
                refusals,
            })
        }
        #[cfg(not(feature = "embedded-broker"))]
        MqttSettings::Embedded { .. } => Err(RunError::NoBroker),
        MqttSettings::External { .. } => {
            let broker = Broker::from(&settings.mqtt);
            Ok(Opened {
                link: broker.clone(),
                broker,
                embedded: None,
                // Nobody tells of any.
                refusals: mpsc::channel(1).1,
            })
        }
    }
}

/// Opens the control socket. Without it the gateway runs; commands then read the files.
fn open_control(settings: &Settings) -> Option<Control> {
    Control::open(&settings.data_dir)
        .inspect_err(|error| tracing::warn!(%error, "commands cannot ask this gateway"))
        .ok()
}

fn serve(control: Control, answers: &Arc<Answers>) -> JoinHandle<()> {
    let answers = Arc::clone(answers);
    tokio::spawn(async move { control.serve(answers, std::future::pending()).await })
}

/// Has the door take requests to a witness where the configuration says so.
fn with_witness(
    door: Door,
    settings: &Settings,
    gateway: u64,
    clock: &Arc<dyn Clock>,
) -> Result<Door, RunError> {
    if !settings.http.as_ref().is_some_and(|http| http.witness) {
        return Ok(door);
    }
    let dir = &settings.data_dir;
    let refused = |source| RunError::Disk {
        dir: dir.clone(),
        source,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(dir).map_err(refused)?);
    let _held = lock_of(&dir.join(witness::FOLDER)).map_err(refused)?;
    let whose = (settings.site.as_str(), gateway);
    let signer = witness_signer(&disk, &settings.security, whose, None)?;
    let key = signer.public().text();
    tracing::info!(
        key,
        "this gateway is a witness of the audit logs that it watches"
    );
    Ok(door.with_witness(Cosigner::new(disk, dir, signer, Arc::clone(clock))))
}

/// Serves page, API and metrics until the task is aborted.
fn serve_http(
    door: Door,
    answers: &Arc<Answers>,
    clock: Arc<dyn Clock>,
) -> (String, JoinHandle<()>) {
    let url = door.url();
    tracing::info!(%url, "page, API and metrics are served");
    (url, tokio::spawn(door.serve(Arc::clone(answers), clock)))
}
