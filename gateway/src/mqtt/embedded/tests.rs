//! The embedded broker against clients that are honest, mistaken, or mean.

mod bounds;
mod doors;
mod secured;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Filter, LastWill, Packet, PubAckReason, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use tidegate_shared::ids::{DeviceName, SiteName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Bounds, EmbeddedBroker, start_within};
use crate::mqtt::access::{Access, Account, Accounts, Doorkeeper, Password, Refusal, Speaker, Why};
use crate::mqtt::{LinkEvent, LinkHandle, Will, connect};
use crate::rules::settings::ServeTls;
use crate::time::SystemClock;

const GATEWAY_ID: &str = "tidegate-gw-7";
const PATIENCE: Duration = Duration::from_secs(20);

fn site() -> SiteName {
    SiteName::try_from("plant").unwrap()
}

fn device(name: &str) -> DeviceName {
    DeviceName::try_from(name).unwrap()
}

/// Accounts whose passwords are the names with `-key` behind them.
fn registered(names: &[&str]) -> Access {
    let account = |name: &&str| {
        let password = Password::of(format!("{name}-key").as_bytes());
        (device(name), Account::Open(vec![password]))
    };
    names.iter().map(account).collect()
}

/// A broker and whoever watches it.
struct Rig {
    broker: EmbeddedBroker,
    doorkeeper: Arc<Doorkeeper>,
    refusals: mpsc::Receiver<Refusal>,
}

impl Rig {
    async fn new(access: Access) -> Self {
        Self::within(access, None, Bounds::default()).await
    }

    async fn within(access: Access, tls: Option<&ServeTls>, bounds: Bounds) -> Self {
        let (doorkeeper, refusals) = Doorkeeper::new(site(), GATEWAY_ID.into()).unwrap();
        doorkeeper.set(access);
        let listen = "127.0.0.1:0".parse().unwrap();
        let clock = Arc::new(SystemClock::new());
        let started = start_within(listen, tls, Arc::clone(&doorkeeper), clock, bounds);
        Self {
            broker: started.await.unwrap(),
            doorkeeper,
            refusals,
        }
    }

    fn address(&self) -> SocketAddr {
        self.broker.local_addr()
    }

    /// The gateway's own link, subscribed.
    async fn gateway(&self) -> (LinkHandle, mpsc::Receiver<LinkEvent>) {
        let will = Will {
            topic: "tidegate/v1/plant/gateway".into(),
            payload: b"offline".to_vec(),
            retained: true,
        };
        let (link, mut events) = connect(&self.broker.inner(), &site(), GATEWAY_ID, will);
        let first = timeout(PATIENCE, events.recv()).await.unwrap();
        assert!(matches!(first, Some(LinkEvent::Subscribed)), "{first:?}");
        (link, events)
    }

    /// The next refusal.
    async fn refused(&mut self) -> (Speaker, Why) {
        let told = timeout(PATIENCE, self.refusals.recv()).await;
        let told = told.expect("something is refused").unwrap();
        assert!(told.peer.is_loopback());
        (told.who, told.why)
    }

    /// A registered device that is connected.
    async fn device(&self, name: &str) -> Client {
        Client::connect(self.options(name)).await.unwrap()
    }

    fn options(&self, name: &str) -> MqttOptions {
        let mut options = self.stranger(&format!("tidegate-plant-{name}"));
        options.set_credentials(name, format!("{name}-key"));
        options
    }

    fn stranger(&self, id: &str) -> MqttOptions {
        let address = self.address();
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options
            .set_clean_start(true)
            .set_connection_timeout(PATIENCE.as_secs());
        options
    }

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }
}

/// A client of rumqttc that is moved on by whoever waits for it.
struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    async fn connect(options: MqttOptions) -> Result<Self, ConnectionError> {
        let (client, mut events) = AsyncClient::new(options, 16);
        loop {
            if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await? {
                return Ok(Self { client, events });
            }
        }
    }

    /// Why a connection is refused.
    async fn refusal(options: MqttOptions) -> ConnectReturnCode {
        match Self::connect(options).await {
            Err(ConnectionError::ConnectionRefused(code)) => code,
            Err(other) => panic!("another end: {other:?}"),
            Ok(_) => panic!("it was let in"),
        }
    }

    async fn next(&mut self) -> Result<Packet, ConnectionError> {
        loop {
            let polled = timeout(PATIENCE, self.events.poll()).await;
            if let Event::Incoming(packet) = polled.expect("something happens")? {
                return Ok(packet);
            }
        }
    }

    async fn publish(&mut self, topic: &str, payload: &[u8]) -> PubAckReason {
        let queued = self
            .client
            .publish(topic, QoS::AtLeastOnce, false, payload.to_vec());
        queued.await.unwrap();
        loop {
            if let Packet::PubAck(ack) = self.next().await.unwrap() {
                return ack.reason;
            }
        }
    }

    async fn subscribe(&mut self, filters: &[&str]) -> Vec<SubscribeReasonCode> {
        let filters = filters
            .iter()
            .map(|filter| Filter::new(*filter, QoS::AtLeastOnce));
        self.client.subscribe_many(filters).await.unwrap();
        loop {
            if let Packet::SubAck(ack) = self.next().await.unwrap() {
                return ack.return_codes;
            }
        }
    }

    /// Waits until the broker ended the connection.
    async fn ended(mut self) {
        while self.next().await.is_ok() {}
    }
}

/// Waits until the broker closed a socket.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset is an end, too.
    let _ = ended.expect("the broker closes it");
}

fn will(topic: &str) -> LastWill {
    LastWill::new(topic, "gone", QoS::AtLeastOnce, true, None)
}
