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
//! - A connection on which nothing moved for [`SILENCE_MAX`] (pings fall due every 30 s) or whose
//!   packet id stayed taken for [`COLLISION_MAX`] is given up.
//! - Mosquitto 2.0.11 exceeds the Receive Maximum: at a PUBACK it sends as many queued messages
//!   as the maximum allows in all. So the intake's own bound holds, and a full one stops reading.
//! - A new connection begins only when the intake was emptied of the old one's messages.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, LastWill, Packet, Publish, PublishProperties, SubAck,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tidegate_shared::ids::SiteName;
use tidegate_shared::topic::PREFIX;
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;
use tracing::{debug, info, warn};

use super::receipts::Book;
use super::{
    Broker, INFLIGHT_MAX, INTAKE_MAX, KEEPALIVE_S, LinkEvent, LinkHandle, PACKET_BYTES_MAX,
    PUBLICATIONS_MAX, Publication, RECEIVE_MAXIMUM, Receipt, State, UNRELIABLE_MAX, Will,
};
use crate::backoff::{Backoff, seed};

/// Requests between our queues and rumqttc.
const REQUESTS_MAX: usize = 64;
/// A connection on which nothing moved for so long is dead: two keepalives and a half.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// A packet id that the broker has not freed for so long never will be.
const COLLISION_MAX: Duration = Duration::from_secs(5);
/// How long a goodbye waits for the broker to close the connection.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Longest time for TCP and CONNACK, in seconds.
const CONNECT_S: u64 = 5;
/// First and longest wait between attempts, in µs.
const RETRY_US: (u64, u64) = (100_000, 10_000_000);

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
    // rumqttc pastes host and port together, so an IPv6 address needs its brackets.
    let host = if broker.host.contains(':') && !broker.host.starts_with('[') {
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

fn filters(site: &SiteName) -> Vec<Filter> {
    ["+/up", "+/status", "gateway"]
        .map(|rest| Filter::new(format!("{PREFIX}{site}/{rest}"), QoS::AtLeastOnce))
        .into()
}

/// How a connection ended.
enum End {
    /// It broke: come back.
    Lost(String),
    /// Goodbye was said.
    Stopped,
    /// The core let go of the link.
    Abandoned,
}

/// Keeps the link connected.
struct Supervisor {
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
            let End::Lost(why) = self.connection(&mut said).await else {
                return;
            };
            State::count(&self.state.lost);
            if self.state.up.swap(false, Ordering::AcqRel) {
                backoff.reset();
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
    async fn connection(&mut self, said: &mut bool) -> End {
        let (client, mut event_loop) = AsyncClient::new(self.options.clone(), REQUESTS_MAX);
        let book = Arc::new(Book::default());
        let (subscribed, mut is_subscribed) = watch::channel(false);
        let polling = Polling {
            client: &client,
            book: &book,
            subscribed: &subscribed,
            filters: &self.filters,
            intake: &self.intake,
            state: &self.state,
            unreliable_waiting: &self.unreliable_waiting,
            address: &self.address,
            said,
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

/// The polling side of one connection.
struct Polling<'a> {
    client: &'a AsyncClient,
    book: &'a Arc<Book>,
    subscribed: &'a watch::Sender<bool>,
    filters: &'a [Filter],
    intake: &'a mpsc::Sender<LinkEvent>,
    state: &'a State,
    unreliable_waiting: &'a Arc<AtomicUsize>,
    address: &'a str,
    said: &'a mut bool,
}

impl Polling<'_> {
    async fn run(mut self, event_loop: &mut EventLoop) -> End {
        let mut collision: Option<Pin<Box<Sleep>>> = None;
        loop {
            let polled = tokio::select! {
                polled = tokio::time::timeout(SILENCE_MAX, event_loop.poll()) => polled,
                () = expired(collision.as_mut()) => {
                    return End::Lost("the broker does not free a packet id".into());
                }
            };
            let event = match polled {
                Err(_) => return End::Lost("nothing moved for 75 s".into()),
                Ok(Err(broken)) => return End::Lost(chain(&broken)),
                Ok(Ok(event)) => event,
            };
            if event_loop.state.collision.is_none() {
                collision = None;
            } else if collision.is_none() {
                collision = Some(Box::pin(tokio::time::sleep(COLLISION_MAX)));
            }
            match self.take(event).await {
                Some(End::Stopped) => {
                    hear_out(event_loop).await;
                    return End::Stopped;
                }
                Some(end) => return end,
                None => {}
            }
        }
    }

    /// Takes one packet; returns how the connection ended, if it did.
    async fn take(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let asked = self.client.try_subscribe_many(self.filters.iter().cloned());
                asked
                    .is_err()
                    .then(|| End::Lost("the client's queue is full before it began".into()))
            }
            Event::Incoming(Packet::SubAck(granted)) => self.granted(&granted).await,
            Event::Incoming(Packet::Publish(message)) => self.message(&message).await,
            Event::Outgoing(rumqttc::Outgoing::Disconnect) => Some(End::Stopped),
            _ => None,
        }
    }

    async fn granted(&mut self, granted: &SubAck) -> Option<End> {
        let every = granted.return_codes.len() == self.filters.len()
            && granted.return_codes.iter().all(|code| {
                matches!(
                    code,
                    SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce)
                )
            });
        if !every {
            let codes = &granted.return_codes;
            return Some(End::Lost(format!(
                "the broker does not grant every subscription at QoS 1: {codes:?}"
            )));
        }
        *self.said = false;
        self.state.up.store(true, Ordering::Release);
        State::count(&self.state.subscribed);
        info!(broker = self.address, "connected and subscribed");
        self.subscribed.send_replace(true);
        self.put(LinkEvent::Subscribed).await
    }

    async fn message(&mut self, message: &Publish) -> Option<End> {
        let receipt = match message.qos {
            QoS::AtMostOnce => {
                if self.unreliable_waiting.load(Ordering::Acquire) >= UNRELIABLE_MAX {
                    State::count(&self.state.unreliable_dropped);
                    return None;
                }
                Receipt::unreliable(self.unreliable_waiting)
            }
            _ => self.book.admit(message.pkid),
        };
        State::count(&self.state.received);
        self.state
            .received_bytes
            .fetch_add(message.payload.len() as u64, Ordering::Relaxed);
        self.put(LinkEvent::Message {
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            // A copy: the packet's own bytes would keep the whole read buffer alive.
            payload: message.payload.to_vec(),
            retained: message.retain,
            receipt,
        })
        .await
    }

    /// Puts into the intake. It has room for all that a broker may send; from one that sends more
    /// nothing is read until the core made room. That may cost the connection (no ping goes out),
    /// but neither memory nor, since devices resend, data.
    async fn put(&self, event: LinkEvent) -> Option<End> {
        let permit = match self.intake.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => {
                State::count(&self.state.intake_full);
                match self.intake.reserve().await {
                    Ok(permit) => permit,
                    Err(_) => return Some(End::Abandoned),
                }
            }
            Err(mpsc::error::TrySendError::Closed(())) => return Some(End::Abandoned),
        };
        permit.send(event);
        None
    }
}

/// Reads on until the broker closed the connection. Closing it from here while something lies
/// unread would send a reset, which may overtake the goodbye and make the will fire.
async fn hear_out(event_loop: &mut EventLoop) {
    let closed = async { while event_loop.poll().await.is_ok() {} };
    let _ = tokio::time::timeout(GOODBYE_MAX, closed).await;
}

/// Ends when the flag is raised; never when nobody is left to raise it.
async fn risen(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|risen| *risen).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends when the sleep does; never without one.
async fn expired(sleep: Option<&mut Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// An error with its causes on one line; a cause that its error already repeats is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
