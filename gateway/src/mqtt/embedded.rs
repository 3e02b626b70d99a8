//! The embedded broker: `mqtt5`'s sessions and routing behind listeners of our own.
//!
//! ```text
//!            ┌ places ─ TLS ─ guest (who, which topics, pace) ┐
//!  devices ──▶ the listener of `listen`                        ├──▶ mqtt5: session, router
//!  gateway ──▶ the inner listener: loopback, a drawn password  ┘
//! ```
//!
//! `mqtt5` takes connections by itself, too; but its TLS listener shakes hands with one client
//! at a time, so that one who says nothing keeps all others out, it knows neither an address's
//! share nor a certificate's name, and nothing ends a connection from outside. So the listeners
//! are ours, and of `mqtt5` there is what begins with CONNECT.
//!
//! It keeps nothing on disk and no session beyond its connection: a device's outbox is the only
//! retransmitter. What its queues drop comes again from there.

mod certificates;
mod connection;
mod guest;
mod listener;
mod pace;
mod places;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::config::BrokerConfig;
use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::QueueLimits;
use mqtt5::broker::sys_topics::BrokerStats;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::access::{Accounts, Doorkeeper};
use super::client::risen;
use super::{Broker, PACKET_BYTES_MAX, RECEIVE_MAXIMUM};
use crate::rules::settings::ServeTls;
use crate::sinks::tls::TlsError;
use crate::time::Clock;
use certificates::Certificates;
use places::Places;

/// Clients at once: 1,000 devices and a few to look on. The gateway itself has places of its own.
pub const CLIENTS_MAX: usize = 1_024;
/// Clients of one address, unless it is this machine; an IPv6 network counts as one.
pub const CLIENTS_PER_ADDRESS_MAX: usize = 1_000;
/// Connections at once whose CONNECT was not accepted yet.
pub const CONNECTING_MAX: usize = 1_024;
/// Those of one address, unless it is this machine.
pub const CONNECTING_PER_ADDRESS_MAX: usize = 64;
/// Connections at once to the inner listener, where the gateway's own is the only one let in: it,
/// its former one, and a few of who is mistaken.
pub const INNER_MAX: usize = 8;
/// Longest time for TLS, and then for a CONNECT.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(8);
/// A client that takes nothing of what is sent to it for so long is let go.
pub const STALLED_MAX: Duration = Duration::from_mins(1);
/// Messages that one client publishes in a second; beyond, it is read more slowly.
pub const MESSAGES_PER_S_MAX: u64 = 2_000;
/// Payload bytes that one client publishes in a second; beyond, it is read more slowly.
pub const PUBLISHED_BYTES_PER_S_MAX: u64 = 4 << 20;
/// Subscriptions of one client.
pub const SUBSCRIPTIONS_MAX: usize = 16;
/// Retained messages: a status for each device, the gateway's, and strangers'.
pub const RETAINED_MAX: usize = 2_048;
/// Largest retained message in bytes: a status is far smaller.
pub const RETAINED_BYTES_MAX: usize = 1_024;
/// Messages queued for one client, as Mosquitto does; beyond, the oldest is dropped.
pub const QUEUED_MAX: usize = 1_000;
/// Bytes queued for one client.
pub const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Messages between the router and one client's connection, before its publishers wait.
pub const LANE_MAX: usize = 256;
/// Messages in flight to one client; its own Receive Maximum may be smaller.
pub const OUTBOUND_MAX: u16 = 256;

/// How often what clients left behind is swept out.
const SWEEP: Duration = Duration::from_mins(1);
/// How long a shutdown waits for connections to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(6);

/// Why the embedded broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The address cannot be used.
    #[error(
        "the embedded broker cannot listen on {listen}; nothing was received yet, nothing is lost"
    )]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Its certificate cannot be shown, or clients' not be judged.
    #[error("the embedded broker cannot speak TLS: {0}; nothing was received yet, nothing is lost")]
    Tls(#[from] TlsError),
}

/// What bounds a broker: the constants above, and less in tests.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    clients: usize,
    clients_per_address: usize,
    connecting: usize,
    connecting_per_address: usize,
    /// Whether this machine's own addresses have no share.
    spares_loopback: bool,
    handshake: Duration,
    messages_per_s: u64,
    bytes_per_s: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            clients: CLIENTS_MAX,
            clients_per_address: CLIENTS_PER_ADDRESS_MAX,
            connecting: CONNECTING_MAX,
            connecting_per_address: CONNECTING_PER_ADDRESS_MAX,
            spares_loopback: true,
            handshake: HANDSHAKE_MAX,
            messages_per_s: MESSAGES_PER_S_MAX,
            bytes_per_s: PUBLISHED_BYTES_PER_S_MAX,
        }
    }
}

/// A running broker. Dropping it closes every connection at once.
pub struct EmbeddedBroker {
    local_addr: SocketAddr,
    inner_addr: SocketAddr,
    house: Arc<House>,
    stopping: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("local_addr", &self.local_addr)
            .field("doorkeeper", &self.house.doorkeeper)
            .finish_non_exhaustive()
    }
}

/// What all connections share.
struct House {
    config: BrokerConfig,
    router: Arc<MessageRouter>,
    stats: Arc<BrokerStats>,
    monitor: Arc<ResourceMonitor>,
    doorkeeper: Arc<Doorkeeper>,
    certificates: Option<Certificates>,
    places: Places,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
}

/// Whether its files can be used. Reads them and blocks.
pub(super) fn check_tls(tls: &ServeTls) -> Result<(), TlsError> {
    certificates::server_config(tls).map(|_| ())
}

/// Starts a broker for those whom the doorkeeper lets in; port 0 takes a free one.
///
/// # Errors
/// The address or the certificates cannot be used.
pub async fn start(
    listen: SocketAddr,
    tls: Option<&ServeTls>,
    doorkeeper: Arc<Doorkeeper>,
    clock: Arc<dyn Clock>,
) -> Result<EmbeddedBroker, EmbeddedError> {
    start_within(listen, tls, doorkeeper, clock, Bounds::default()).await
}

async fn start_within(
    listen: SocketAddr,
    tls: Option<&ServeTls>,
    doorkeeper: Arc<Doorkeeper>,
    clock: Arc<dyn Clock>,
    bounds: Bounds,
) -> Result<EmbeddedBroker, EmbeddedError> {
    let certificates = match tls {
        Some(tls) => Some(Certificates::read(tls.clone()).await?),
        None => None,
    };
    let asks_nobody = tls.is_none_or(|tls| tls.client_ca.is_none())
        && doorkeeper.access().accounts == Accounts::Everyone;
    if asks_nobody && !listen.ip().is_loopback() {
        tracing::warn!(
            %listen,
            "the embedded broker lets in anyone who reaches it until a device is registered: keep it on a trusted network"
        );
    }
    let outer = bind(listen).await?;
    let inner = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let house = Arc::new(House {
        config: config(),
        router: Arc::new(router()),
        stats: Arc::new(BrokerStats::new()),
        monitor: Arc::new(ResourceMonitor::new(unlimited())),
        doorkeeper,
        certificates,
        places: Places::new(bounds),
        bounds,
        clock,
    });
    let stopping = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    for (bound, is_inner) in [(&outer, false), (&inner, true)] {
        let (listener, house) = (Arc::clone(&bound.0), Arc::clone(&house));
        tasks.spawn(listener::accept(
            house,
            listener,
            is_inner,
            stopping.subscribe(),
        ));
    }
    tasks.spawn(sweep(Arc::clone(&house.router), stopping.subscribe()));
    Ok(EmbeddedBroker {
        local_addr: outer.1,
        inner_addr: inner.1,
        house,
        stopping,
        tasks,
    })
}

async fn bind(listen: SocketAddr) -> Result<(Arc<TcpListener>, SocketAddr), EmbeddedError> {
    let failed = |source| EmbeddedError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((Arc::new(listener), address))
}

impl EmbeddedBroker {
    /// Where it listens for devices.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How the gateway's own link comes in.
    pub fn inner(&self) -> Broker {
        Broker {
            credentials: Some(self.house.doorkeeper.gateway_credentials()),
            ..Broker::at(self.inner_addr)
        }
    }

    /// Who judges those who connect.
    pub fn doorkeeper(&self) -> &Arc<Doorkeeper> {
        &self.house.doorkeeper
    }

    /// Closes every connection and stops, within 6 s.
    pub async fn shutdown(mut self) {
        self.stopping.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // What has not ended by then is dropped.
        let _ = tokio::time::timeout(SHUTDOWN_MAX, ended).await;
    }
}

/// Lets go of what clients that are gone left in the router's memory.
async fn sweep(router: Arc<MessageRouter>, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => router.sweep_sessions().await,
            () = risen(&mut stopping) => return,
        }
    }
}

fn router() -> MessageRouter {
    MessageRouter::new()
        .with_fallback_queue_limits(QueueLimits {
            max_messages: QUEUED_MAX,
            max_bytes: QUEUED_BYTES_MAX,
        })
        .with_retained_limits(RETAINED_MAX, RETAINED_BYTES_MAX)
}

/// Places and pace are ours: what `mqtt5` would refuse by its own limits it would drop.
fn unlimited() -> ResourceLimits {
    ResourceLimits {
        max_connections: usize::MAX,
        max_connections_per_ip: usize::MAX,
        max_message_rate_per_client: 0,
        max_bandwidth_per_client: 0,
        max_connection_rate: u32::MAX,
        rate_limit_window: Duration::from_secs(1),
    }
}

fn config() -> BrokerConfig {
    let mut config = BrokerConfig::new()
        .with_session_expiry(Duration::ZERO)
        .with_max_packet_size(PACKET_BYTES_MAX as usize)
        .with_maximum_qos(1)
        .with_retain_available(true)
        .with_max_subscriptions_per_client(SUBSCRIPTIONS_MAX)
        .with_client_channel_capacity(LANE_MAX)
        .with_max_outbound_inflight(OUTBOUND_MAX)
        .with_drain_batch(64)
        .with_server_receive_maximum(RECEIVE_MAXIMUM)
        .with_sys_topics_enabled(false);
    config.topic_alias_maximum = 0;
    config.shared_subscription_available = false;
    config.subscription_identifier_available = false;
    config
}
