//! The embedded broker: an adapter of one file over `mqtt5`, with every limit set.
//!
//! It keeps nothing on disk and no session beyond its connection: a device's outbox is the only
//! retransmitter. What its queues drop comes again from there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use mqtt5::broker::config::{AuthConfig, BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use tokio::task::JoinHandle;

use super::{PACKET_BYTES_MAX, RECEIVE_MAXIMUM};

/// Clients at once: 1,000 devices, their gateway, and a few to look on.
pub const CLIENTS_MAX: usize = 1_024;
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
    /// The broker refused to begin.
    #[error(
        "the embedded broker on {listen} did not begin; nothing was received yet, nothing is lost: {why}"
    )]
    NotBegun {
        /// The address asked for.
        listen: SocketAddr,
        /// What it said.
        why: String,
    },
}

/// A running broker. Dropping it stops the broker at once.
#[derive(Debug)]
pub struct EmbeddedBroker {
    local_addr: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

/// Starts a broker for anyone who can reach `listen`; port 0 takes a free one.
pub async fn start(listen: SocketAddr) -> Result<EmbeddedBroker, EmbeddedError> {
    if !listen.ip().is_loopback() {
        tracing::warn!(
            %listen,
            "the embedded broker lets in anyone who reaches it: keep it on a trusted network"
        );
    }
    // The broker's own error is a text: the system is asked first, which says what is wrong.
    let probed = TcpListener::bind(listen);
    drop(probed.map_err(|source| EmbeddedError::Listen { listen, source })?);
    let failed = |why: String| EmbeddedError::NotBegun { listen, why };
    let mut broker = MqttBroker::with_config(config(listen))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let local_addr = broker
        .local_addr()
        .ok_or_else(|| failed("it has no address".into()))?;
    let shutdown = Shutdown(broker.shutdown_handle());
    let mut ready = broker.ready_receiver();
    let task = tokio::spawn(async move {
        if let Err(error) = broker.run().await {
            tracing::error!(%error, "the embedded broker ended; no device can reach the gateway");
        }
    });
    if ready.wait_for(|ready| *ready).await.is_err() {
        return Err(failed("it ended before it was ready".into()));
    }
    Ok(EmbeddedBroker {
        local_addr,
        shutdown,
        task,
    })
}

impl EmbeddedBroker {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes every connection and stops, within 6 s.
    pub async fn shutdown(mut self) {
        self.shutdown.0.shutdown();
        let stopped = tokio::time::timeout(Duration::from_secs(6), &mut self.task).await;
        if stopped.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.shutdown.0.shutdown();
    }
}

/// `BrokerShutdownHandle` has no `Debug` of its own.
struct Shutdown(BrokerShutdownHandle);

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shutdown")
    }
}

fn config(listen: SocketAddr) -> BrokerConfig {
    let mut auth = AuthConfig::new().with_allow_anonymous(true);
    // Nothing to guess while everyone may enter; the limiter would only keep a map of addresses.
    auth.rate_limit.enabled = false;
    let storage = StorageConfig::new()
        .with_persistence(false)
        .with_backend(StorageBackend::Memory)
        .with_max_queued_messages_per_client(QUEUED_MAX)
        .with_max_queued_bytes_per_client(QUEUED_BYTES_MAX);
    let mut config = BrokerConfig::new()
        .with_bind_address(listen)
        .with_max_clients(CLIENTS_MAX)
        .with_session_expiry(Duration::ZERO)
        .with_max_packet_size(PACKET_BYTES_MAX as usize)
        .with_maximum_qos(1)
        .with_retain_available(true)
        .with_max_subscriptions_per_client(SUBSCRIPTIONS_MAX)
        .with_max_retained_messages(RETAINED_MAX)
        .with_max_retained_message_size(RETAINED_BYTES_MAX)
        .with_client_channel_capacity(LANE_MAX)
        .with_max_outbound_inflight(OUTBOUND_MAX)
        .with_drain_batch(64)
        .with_server_receive_maximum(RECEIVE_MAXIMUM)
        .with_auth(auth)
        .with_storage(storage)
        .with_sys_topics_enabled(false);
    config.topic_alias_maximum = 0;
    config.shared_subscription_available = false;
    config.subscription_identifier_available = false;
    config
}
