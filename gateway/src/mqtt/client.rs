//! The link over rumqttc, built so that none of its known faults can hurt.
//!
//! ```text
//!            ┌──────────── one connection ────────────┐
//!  broker ──▶ poll: packets → intake                   │──▶ core
//!            │ acknowledge: released receipts → PUBACK │◀── receipts
//!            │ publish: queue → PUBLISH                │◀── LinkHandle
//!            └──── lost: start over with a new one ────┘
//! ```
//!
//! - Polling, acknowledging and publishing are three futures: waiting in one for room in
//!   rumqttc's channel never stops the one that makes room.
//! - Every connection gets a client of its own. rumqttc keeps buffered packets, a packet id
//!   collision and its id counter over a reconnect, and each of these can wedge or mislead the
//!   next connection (an old packet id acknowledged anew; ids beyond a smaller Receive Maximum).
//! - A connection on which nothing moved for 75 s (pings fall due every 30 s) or whose
//!   packet id stayed taken for 5 s is given up.
//! - Mosquitto 2.0.11 exceeds the Receive Maximum: at a PUBACK it sends as many queued messages
//!   as the maximum allows in all. So the intake's own bound holds, and a full one stops reading.
//! - A new connection begins only when the intake was emptied of the old one's messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::Transport;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Filter, LastWill, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, MqttOptions};
use tidegate_shared::ids::SiteName;
use tidegate_shared::topic::PREFIX;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::polling::{End, Polling};
use super::receipts::Book;
use super::{
    Broker, INFLIGHT_MAX, INTAKE_MAX, KEEPALIVE_S, LinkEvent, LinkHandle, PACKET_BYTES_MAX,
    PUBLICATIONS_MAX, Publication, RECEIVE_MAXIMUM, State, Will,
};
use crate::backoff::{Backoff, seed};
use crate::causes;
use crate::rules::settings::TlsSettings;
use crate::sinks::tls;

/// Requests between our queues and rumqttc.
const REQUESTS_MAX: usize = 64;
/// Longest time for TCP and CONNACK, in seconds.
const CONNECT_S: u64 = 5;
/// First and longest wait between attempts, in µs.
const RETRY_US: (u64, u64) = (100_000, 10_000_000);
/// How long a connection must have lasted for the next wait to be short again: two gateways with
/// one client id throw each other out as soon as they are in.
const SETTLED: Duration = Duration::from_secs(5);

/// Starts a link: it connects, subscribes to the site's `up`, `status` and `gateway` topics, and
/// comes back after every loss, for ever. It ends when it is stopped or when the core dropped
/// either half; then the broker sends the will, unless [`LinkHandle::stop`] said goodbye.
/// Must be called within a tokio runtime.
pub fn connect(
    broker: &Broker,
    site: &SiteName,
    client_id: &str,
    will: Will,
) -> (LinkHandle, mpsc::Receiver<LinkEvent>) {
    let (intake, events) = mpsc::channel(INTAKE_MAX);
    let (to_link, publications) = mpsc::channel(PUBLICATIONS_MAX);
    let state = Arc::new(State::default());
    let stop = watch::Sender::new(false);
    let supervisor = Supervisor {
        tls: broker.tls.clone(),
        address: format!("{}:{}", broker.host, broker.port),
        options: options(broker, client_id, will),
        filters: filters(site),
        intake,
        publications,
        state: Arc::clone(&state),
        stopping: stop.subscribe(),
        unreliable_waiting: Arc::default(),
    };
    tokio::spawn(supervisor.run());
    let handle = LinkHandle {
        publications: to_link,
        state,
        stop,
    };
    (handle, events)
}

fn options(broker: &Broker, client_id: &str, will: Will) -> MqttOptions {
    // rumqttc pastes host and port together, so an IPv6 address needs its brackets; but with TLS
    // it also takes it for the name in the certificate, where brackets are wrong. Without them
    // the system still finds it: what is behind the last colon is the port.
    let is_bare = broker.host.contains(':') && !broker.host.starts_with('[');
    let host = if is_bare && broker.tls.is_none() {
        format!("[{}]", broker.host)
    } else {
        broker.host.clone()
    };
    let mut options = MqttOptions::new(client_id, host, broker.port);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(0);
    properties.receive_maximum = Some(RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(PACKET_BYTES_MAX);
    properties.topic_alias_max = Some(0);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let last_will = LastWill::new(
        will.topic,
        will.payload,
        QoS::AtLeastOnce,
        will.retained,
        None,
    );
    options
        .set_connect_properties(properties)
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(KEEPALIVE_S))
        .set_connection_timeout(CONNECT_S)
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(INFLIGHT_MAX)
        .set_network_options(network)
        .set_last_will(last_will);
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    options
}

/// The options with what TLS needs, read from its files; or why it cannot be.
async fn secured(options: &MqttOptions, tls: Option<&TlsSettings>) -> Result<MqttOptions, String> {
    let mut options = options.clone();
    if let Some(tls) = tls {
        let settings = tls.clone();
        let read = tokio::task::spawn_blocking(move || tls::client_config(&settings)).await;
        let config = read
            .map_err(|broken| broken.to_string())?
            .map_err(|error| causes::told(&error))?;
        options.set_transport(Transport::tls_with_config(config.into()));
    }
    Ok(options)
}

fn filters(site: &SiteName) -> Vec<Filter> {
    ["+/up", "+/status", "gateway"]
        .map(|rest| Filter::new(format!("{PREFIX}{site}/{rest}"), QoS::AtLeastOnce))
        .into()
}

/// Keeps the link connected.
struct Supervisor {
    /// Read for each connection, so that a renewed certificate needs no restart.
    tls: Option<TlsSettings>,
    address: String,
    options: MqttOptions,
    filters: Vec<Filter>,
    intake: mpsc::Sender<LinkEvent>,
    publications: mpsc::Receiver<Publication>,
    state: Arc<State>,
    stopping: watch::Receiver<bool>,
    unreliable_waiting: Arc<AtomicUsize>,
}

impl Supervisor {
    async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_US.0, RETRY_US.1, seed());
        let mut said = false;
        // No connection begins before the intake is empty, so that the messages waiting in it
        // are never those of two connections.
        while self.may_connect().await {
            let settled = AtomicBool::new(false);
            let End::Lost(why) = self.connection(&mut said, &settled).await else {
                return;
            };
            if settled.into_inner() {
                backoff.reset();
            }
            State::count(&self.state.lost);
            if self.state.up.swap(false, Ordering::AcqRel) {
                said = true;
                warn!(broker = self.address, why, "lost the broker; reconnecting");
                self.drop_publications();
                if self
                    .intake
                    .send(LinkEvent::Disconnected { why })
                    .await
                    .is_err()
                {
                    return;
                }
            } else if said {
                debug!(broker = self.address, why, "the broker is still away");
            } else {
                said = true;
                warn!(
                    broker = self.address,
                    why, "cannot reach the broker; trying on"
                );
            }
            let wait = Duration::from_micros(backoff.next_us());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = risen(&mut self.stopping) => return,
                () = self.intake.closed() => return,
            }
        }
    }

    /// Waits until the core emptied the intake; false when the link is to end.
    async fn may_connect(&mut self) -> bool {
        tokio::select! {
            biased;
            () = risen(&mut self.stopping) => false,
            room = self.intake.reserve_many(INTAKE_MAX) => room.is_ok(),
        }
    }

    /// One connection, from CONNECT to its end.
    async fn connection(&mut self, said: &mut bool, settled: &AtomicBool) -> End {
        let options = match secured(&self.options, self.tls.as_ref()).await {
            Ok(options) => options,
            Err(why) => return End::Lost(why),
        };
        let (client, mut event_loop) = AsyncClient::new(options, REQUESTS_MAX);
        let book = Arc::new(Book::default());
        let (subscribed, mut is_subscribed) = watch::channel(false);
        let polling = Polling {
            client: &client,
            book: &book,
            subscribed: &subscribed,
            filters: &self.filters,
            intake: &self.intake,
            state: &self.state,
            tls: self.tls.as_ref(),
            unreliable_waiting: &self.unreliable_waiting,
            address: &self.address,
            said,
        };
        let mut is_up = is_subscribed.clone();
        let settling = async {
            risen(&mut is_up).await;
            tokio::time::sleep(SETTLED).await;
            settled.store(true, Ordering::Relaxed);
            std::future::pending().await
        };
        let publishing = async {
            tokio::select! {
                () = risen(&mut is_subscribed) => {}
                () = risen(&mut self.stopping) => return End::Stopped,
            }
            publish(
                &client,
                &mut self.publications,
                &mut self.stopping,
                &self.state,
            )
            .await
        };
        tokio::select! {
            end = polling.run(&mut event_loop) => end,
            end = acknowledge(&client, &book) => end,
            // Goodbye is queued only: polling writes it and ends the connection.
            end = publishing => end,
            end = settling => end,
        }
    }

    /// What waited for a connection that is gone is older than what the core will say next.
    fn drop_publications(&mut self) {
        while self.publications.try_recv().is_ok() {
            State::count(&self.state.dropped_away);
        }
    }
}

/// Sends PUBACKs as receipts are released.
async fn acknowledge(client: &AsyncClient, book: &Book) -> End {
    loop {
        for packet_id in book.released().await {
            let publish = Publish {
                pkid: packet_id,
                qos: QoS::AtLeastOnce,
                ..Publish::default()
            };
            if client.ack(&publish).await.is_err() {
                return End::Lost("the client's queue closed".into());
            }
        }
    }
}

/// Sends publications until the connection ends; when the link is stopped, what is queued and
/// then goodbye.
async fn publish(
    client: &AsyncClient,
    publications: &mut mpsc::Receiver<Publication>,
    stopping: &mut watch::Receiver<bool>,
    state: &State,
) -> End {
    loop {
        let next = tokio::select! {
            biased;
            next = publications.recv() => next,
            () = risen(stopping) => {
                if client.disconnect().await.is_err() {
                    return End::Lost("the client's queue closed".into());
                }
                return std::future::pending().await;
            }
        };
        let Some(publication) = next else {
            return End::Abandoned;
        };
        let properties = PublishProperties {
            message_expiry_interval: publication.expiry_s,
            ..PublishProperties::default()
        };
        let sent = client.publish_with_properties(
            publication.topic,
            QoS::AtLeastOnce,
            publication.retained,
            publication.payload,
            properties,
        );
        match sent.await {
            Ok(()) => State::count(&state.published),
            // rumqttc refuses only topics with wildcards; the core makes none.
            Err(refused) => warn!(%refused, "a publication was refused by the client"),
        }
    }
}

/// Ends when the flag is raised; never when nobody is left to raise it.
pub(super) async fn risen(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|risen| *risen).await.is_err() {
        std::future::pending::<()>().await;
    }
}
