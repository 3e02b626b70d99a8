//! MQTT: the gateway's link to a broker, behind a trait of its own.
//!
//! # Terms
//! - *link*: one client of one broker, for ever: it reconnects by itself. [`LinkHandle`] sends,
//!   a channel of [`LinkEvent`]s receives.
//! - *intake*: that channel. A message is in it until the core takes it out and drops its
//!   [`Receipt`]; then the PUBACK goes out, in order of arrival. PUBACK means "read by the
//!   gateway", never "on disk": that is what the gateway's own `Ack` says.
//!
//! # Invariants
//! - The intake is bounded: [`INTAKE_MAX`] messages of at most [`PACKET_BYTES_MAX`] bytes, 14 MiB.
//!   A core that stops reading stops the broker by withheld PUBACKs, while pings go on; a broker
//!   that sends on regardless is stopped by no longer reading what it sends.
//! - [`LinkHandle::publish`] never waits. While the link is away or its queue is full, what is
//!   published is dropped and counted: acks are cumulative and come again.
//! - `Subscribed` comes after the broker granted every subscription, once per connection;
//!   `Disconnected` once after it. No message of a connection comes after its `Disconnected`.

pub mod access;
mod client;
#[cfg(feature = "embedded-broker")]
pub mod embedded;
#[cfg(not(feature = "embedded-broker"))]
#[path = "not_embedded.rs"]
pub mod embedded;
pub mod memory;
pub mod mosquitto;
mod polling;
mod receipts;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

pub use client::connect;
pub use receipts::Receipt;

use crate::rules::settings::{MqttSettings, TlsSettings};
use crate::sinks::tls::{self, TlsError};

/// Largest MQTT packet taken or sent, in bytes: a frame of 8,192, its topic and properties.
pub const PACKET_BYTES_MAX: u32 = 12 * 1024;
/// Messages the broker may have sent without our PUBACK. Mosquitto stops at 20 when not told.
pub const RECEIVE_MAXIMUM: u16 = 1_024;
/// Messages without PUBACK (QoS 0, from strangers) in the intake; beyond, they are dropped and
/// counted, because nothing holds their sender back.
pub const UNRELIABLE_MAX: usize = 128;
/// Places in the intake: all unacknowledged messages, the QoS 0 ones, and the link's own news.
pub const INTAKE_MAX: usize = RECEIVE_MAXIMUM as usize + UNRELIABLE_MAX + 16;
/// Publications waiting for the connection; beyond, they are dropped and counted. An `Ack` for
/// each of 1,000 devices fits.
pub const PUBLICATIONS_MAX: usize = 1_024;
/// Publications in flight to the broker: costs 24 KiB, where rumqttc's default costs 14 MiB.
pub const INFLIGHT_MAX: u16 = 64;
/// Keepalive in seconds.
pub const KEEPALIVE_S: u64 = 30;

/// A broker's address.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// TLS, if it is spoken there. Its files are read again for each connection.
    pub tls: Option<TlsSettings>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("credentials", &self.credentials.as_ref().map(|_| "hidden"))
            .field("tls", &self.tls)
            .finish()
    }
}

impl Broker {
    /// The broker that listens at `address`; an unspecified one is reached by loopback.
    pub fn at(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Self {
            host: ip.to_string(),
            port: address.port(),
            credentials: None,
            tls: None,
        }
    }
}

impl From<&MqttSettings> for Broker {
    /// The broker of a configuration. An embedded one that listens on port 0 is known only once
    /// it runs: use [`Broker::at`] with its address.
    fn from(settings: &MqttSettings) -> Self {
        match settings {
            MqttSettings::Embedded { listen, .. } => Self::at(*listen),
            MqttSettings::External {
                host,
                port,
                credentials,
                tls,
            } => Self {
                host: host.clone(),
                port: *port,
                credentials: credentials.clone(),
                tls: tls.clone(),
            },
        }
    }
}

/// Whether the files that `[mqtt]` names can be used, for `tidegate check`. Reads them and blocks.
pub fn check_tls(settings: &MqttSettings) -> Result<(), TlsError> {
    match settings {
        MqttSettings::External { tls: Some(tls), .. } => tls::client_config(tls).map(|_| ()),
        MqttSettings::Embedded { tls: Some(tls), .. } => embedded::check_tls(tls),
        MqttSettings::External { .. } | MqttSettings::Embedded { .. } => Ok(()),
    }
}

/// What the broker publishes when the gateway's connection breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Whether it stays for those who subscribe later.
    pub retained: bool,
}

/// What the link tells the core.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected, and every subscription granted.
    Subscribed,
    /// The connection is gone; the link is on its way back by itself.
    Disconnected {
        /// What broke it, for people.
        why: String,
    },
    /// A message.
    Message {
        /// Topic.
        topic: String,
        /// Payload, at most [`PACKET_BYTES_MAX`] bytes.
        payload: Vec<u8>,
        /// Whether it comes from the broker's store: it proves no life of its sender.
        retained: bool,
        /// Dropping it releases the PUBACK.
        receipt: Receipt,
    },
}

/// A message to the broker, QoS 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it.
    pub retained: bool,
    /// Message expiry in seconds.
    pub expiry_s: Option<u32>,
}

/// The sending half of a link.
pub trait Link: Send + Sync {
    /// Queues a message, without waiting. Returns whether it was queued, which is no promise that
    /// it arrives; a message that was not is counted.
    fn publish(&self, topic: &str, payload: Vec<u8>, retained: bool, expiry_s: Option<u32>)
    -> bool;
}

/// What a link counted since it began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounters {
    /// Connections with every subscription granted.
    pub subscribed: u64,
    /// Connections lost, and attempts that failed.
    pub lost: u64,
    /// Messages put into the intake.
    pub received: u64,
    /// Payload bytes of these.
    pub received_bytes: u64,
    /// QoS 0 messages dropped because [`UNRELIABLE_MAX`] of them waited.
    pub unreliable_dropped: u64,
    /// Times the intake was full, so that nothing more was read from the broker.
    pub intake_full: u64,
    /// Publications handed to the connection.
    pub published: u64,
    /// Publications dropped because the link was away.
    pub dropped_away: u64,
    /// Publications dropped because [`PUBLICATIONS_MAX`] of them waited.
    pub dropped_full: u64,
    /// Publications refused because they exceed [`PACKET_BYTES_MAX`].
    pub dropped_large: u64,
}

/// The sending half of a link to a broker.
#[derive(Debug, Clone)]
pub struct LinkHandle {
    publications: mpsc::Sender<Publication>,
    state: Arc<State>,
    stop: watch::Sender<bool>,
}

impl Link for LinkHandle {
    fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retained: bool,
        expiry_s: Option<u32>,
    ) -> bool {
        // 64 bytes are more than the fixed header, lengths, packet id and properties take.
        if topic.len() + payload.len() + 64 > PACKET_BYTES_MAX as usize {
            State::count(&self.state.dropped_large);
            return false;
        }
        if !self.state.up.load(Ordering::Acquire) {
            State::count(&self.state.dropped_away);
            return false;
        }
        let publication = Publication {
            topic: topic.to_owned(),
            payload,
            retained,
            expiry_s,
        };
        match self.publications.try_send(publication) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                State::count(&self.state.dropped_full);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                State::count(&self.state.dropped_away);
                false
            }
        }
    }
}

impl LinkHandle {
    /// Whether the link is connected and subscribed.
    pub fn is_up(&self) -> bool {
        self.state.up.load(Ordering::Acquire)
    }

    /// What the link counted.
    pub fn counters(&self) -> LinkCounters {
        self.state.counters()
    }

    /// Sends what is queued, says goodbye (so that the will does not fire) and ends the link.
    /// Returns whether that was done `within` the time given; otherwise the will fires.
    pub async fn stop(&self, within: Duration) -> bool {
        self.stop.send_replace(true);
        tokio::time::timeout(within, self.publications.closed())
            .await
            .is_ok()
    }
}

/// What the halves of a link share.
#[derive(Debug, Default)]
struct State {
    up: AtomicBool,
    subscribed: AtomicU64,
    lost: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    unreliable_dropped: AtomicU64,
    intake_full: AtomicU64,
    published: AtomicU64,
    dropped_away: AtomicU64,
    dropped_full: AtomicU64,
    dropped_large: AtomicU64,
}

impl State {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn counters(&self) -> LinkCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkCounters {
            subscribed: read(&self.subscribed),
            lost: read(&self.lost),
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            unreliable_dropped: read(&self.unreliable_dropped),
            intake_full: read(&self.intake_full),
            published: read(&self.published),
            dropped_away: read(&self.dropped_away),
            dropped_full: read(&self.dropped_full),
            dropped_large: read(&self.dropped_large),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_listener_is_reached_by_loopback() {
        let broker = Broker::at("0.0.0.0:1883".parse().unwrap());
        assert_eq!((broker.host.as_str(), broker.port), ("127.0.0.1", 1883));
        let broker = Broker::at("[::]:1884".parse().unwrap());
        assert_eq!((broker.host.as_str(), broker.port), ("::1", 1884));
    }
}
