//! The polling side of one connection: packets in, and when to give it up.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Filter, Packet, Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error as MqttError, QoS};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, StateError};
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;
use tracing::info;

use super::receipts::Book;
use super::{LinkEvent, Receipt, State, UNRELIABLE_MAX};
use crate::causes;
use crate::rules::settings::TlsSettings;
use crate::sinks::tls;

/// A connection on which nothing moved for so long is dead: two keepalives and a half.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// A packet id that the broker has not freed for so long never will be.
const COLLISION_MAX: Duration = Duration::from_secs(5);
/// How long a goodbye waits for the broker to close the connection.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// How a connection ended.
pub(super) enum End {
    /// It broke: come back.
    Lost(String),
    /// Goodbye was said.
    Stopped,
    /// The core let go of the link.
    Abandoned,
}

/// The polling side of one connection.
pub(super) struct Polling<'a> {
    pub client: &'a AsyncClient,
    pub book: &'a Arc<Book>,
    pub subscribed: &'a watch::Sender<bool>,
    pub filters: &'a [Filter],
    pub intake: &'a mpsc::Sender<LinkEvent>,
    pub state: &'a State,
    pub tls: Option<&'a TlsSettings>,
    pub unreliable_waiting: &'a Arc<AtomicUsize>,
    pub address: &'a str,
    pub said: &'a mut bool,
}

impl Polling<'_> {
    /// Polls until the connection ended.
    pub(super) async fn run(mut self, event_loop: &mut EventLoop) -> End {
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
                Ok(Err(broken)) => return End::Lost(told(&broken, self.tls)),
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

/// What broke a connection, for people.
pub(super) fn told(broken: &ConnectionError, tls: Option<&TlsSettings>) -> String {
    if let ConnectionError::ConnectionRefused(code) = broken {
        return refused(*code);
    }
    // What a broker thinks of our certificate comes after the handshake, as an error of reading.
    let cause: &dyn Error = match broken {
        ConnectionError::MqttState(StateError::Deserialization(MqttError::Io(cause))) => cause,
        other => other,
    };
    let of_tls = tls.and_then(|settings| tls::refusal(cause, settings));
    of_tls.unwrap_or_else(|| causes::told(broken))
}

/// What a broker's refusal means.
fn refused(code: ConnectReturnCode) -> String {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword | Code::NotAuthorized => {
            format!("the broker refuses user and password ({code:?}): see those in mqtt.url")
        }
        Code::ClientIdentifierNotValid => format!(
            "the broker refuses the gateway's client id ({code:?}): it must let in tidegate-gw-*"
        ),
        other => format!("the broker refuses the connection: {other:?}"),
    }
}

/// Reads on until the broker closed the connection. Closing it from here while something lies
/// unread would send a reset, which may overtake the goodbye and make the will fire.
async fn hear_out(event_loop: &mut EventLoop) {
    let closed = async { while event_loop.poll().await.is_ok() {} };
    let _ = tokio::time::timeout(GOODBYE_MAX, closed).await;
}

/// Ends when the sleep does; never without one.
async fn expired(sleep: Option<&mut Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}
