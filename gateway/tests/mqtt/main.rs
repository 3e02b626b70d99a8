//! The MQTT link against real brokers: Debian's Mosquitto and, where built in, the embedded one.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod access;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tempfile::TempDir;
use tidegate_gateway::mqtt::{
    Broker, INTAKE_MAX, Link, LinkEvent, LinkHandle, RECEIVE_MAXIMUM, Receipt, Will, connect,
};
use tidegate_shared::ids::SiteName;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A Mosquitto with nothing but a listener on loopback.
struct Mosquitto {
    folder: TempDir,
    address: SocketAddr,
    process: Child,
}

impl Mosquitto {
    /// Starts one that lets everyone in.
    async fn start() -> Self {
        let open = |_: &Path| "allow_anonymous true\n".to_owned();
        Self::start_with(open).await
    }

    /// Starts one on a free port, with what is added for its folder; on another port if somebody
    /// else was faster to take it.
    async fn start_with(added: impl Fn(&Path) -> String) -> Self {
        loop {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let folder = tempfile::tempdir().unwrap();
            let port = address.port();
            let added = added(folder.path());
            let config = format!("listener {port} 127.0.0.1\npersistence false\n{added}");
            std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
            let process = spawn(&folder);
            let mut broker = Self {
                folder,
                address,
                process,
            };
            if broker.ready().await {
                return broker;
            }
        }
    }

    /// Waits until it says that it runs: a port that answers may be somebody else's. False when
    /// it ended instead.
    async fn ready(&mut self) -> bool {
        let log = self.folder.path().join("log");
        let running = async {
            while !std::fs::read_to_string(&log).unwrap().contains(" running") {
                if self.process.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            true
        };
        timeout(PATIENCE, running).await.expect("mosquitto starts")
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.process = spawn(&self.folder);
        assert!(self.ready().await, "mosquitto takes its port again");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir) -> Child {
    let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| "mosquitto".into());
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    Command::new(program)
        .arg("-c")
        .arg(folder.path().join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("mosquitto is missing: run tests/run")
}

fn site() -> SiteName {
    SiteName::try_from("pump-house").unwrap()
}

fn link(address: SocketAddr, id: &str) -> (LinkHandle, Receiver<LinkEvent>) {
    let will = Will {
        topic: "tidegate/v1/pump-house/gateway".into(),
        payload: b"offline".to_vec(),
        retained: true,
    };
    connect(&Broker::at(address), &site(), id, will)
}

/// A message without its receipt.
#[derive(Debug, PartialEq)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    retained: bool,
}

async fn next(events: &mut Receiver<LinkEvent>) -> LinkEvent {
    timeout(PATIENCE, events.recv())
        .await
        .expect("an event in time")
        .expect("the link lives")
}

async fn subscribed(events: &mut Receiver<LinkEvent>) {
    let event = next(events).await;
    assert!(matches!(event, LinkEvent::Subscribed), "{event:?}");
}

async fn message(events: &mut Receiver<LinkEvent>) -> (Message, Receipt) {
    match next(events).await {
        LinkEvent::Message {
            topic,
            payload,
            retained,
            receipt,
        } => (
            Message {
                topic,
                payload,
                retained,
            },
            receipt,
        ),
        event => panic!("not a message: {event:?}"),
    }
}

/// A device: a client of its own, polled in a task.
struct Device {
    client: AsyncClient,
    acks: Receiver<Packet>,
    polling: tokio::task::JoinHandle<()>,
}

impl Device {
    fn new(address: SocketAddr, name: &str, will: Option<&str>) -> Self {
        let options = MqttOptions::new(name, address.ip().to_string(), address.port());
        Self::with(options, will)
    }

    fn with(mut options: MqttOptions, will: Option<&str>) -> Self {
        options.set_outgoing_inflight_upper_limit(100);
        if let Some(topic) = will {
            options.set_last_will(LastWill::new(
                topic,
                "offline",
                QoS::AtLeastOnce,
                true,
                None,
            ));
        }
        let (client, event_loop) = AsyncClient::new(options, 64);
        let (packets, acks) = tokio::sync::mpsc::channel(4_096);
        let polling = tokio::spawn(poll(event_loop, packets));
        Self {
            client,
            acks,
            polling,
        }
    }

    async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>, retained: bool) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retained, payload.into())
            .await
            .unwrap();
    }

    /// The next packet of the kind that `take` takes.
    async fn packet<T>(&mut self, take: impl Fn(Packet) -> Option<T>) -> T {
        let found = async {
            loop {
                let packet = self.acks.recv().await.expect("the device lives");
                if let Some(found) = take(packet) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("a packet in time")
    }

    async fn acked(&mut self) {
        self.packet(|packet| matches!(packet, Packet::PubAck(_)).then_some(()))
            .await;
    }
}

async fn poll(mut event_loop: EventLoop, packets: tokio::sync::mpsc::Sender<Packet>) {
    while let Ok(event) = event_loop.poll().await {
        if let Event::Incoming(packet) = event
            && packets.send(packet).await.is_err()
        {
            return;
        }
    }
}

const UP: &str = "tidegate/v1/pump-house/pump-1/up";
const STATUS: &str = "tidegate/v1/pump-house/pump-1/status";
const DOWN: &str = "tidegate/v1/pump-house/pump-1/down";
const GATEWAY: &str = "tidegate/v1/pump-house/gateway";

fn said(topic: &str, payload: &[u8], retained: bool) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.into(),
        retained,
    }
}

/// Messages of every topic arrive, retained ones marked; what is published reaches a device.
async fn talks(address: SocketAddr) {
    let mut device = Device::new(address, "tidegate-pump-house-pump-1", None);
    device.publish(STATUS, "online", true).await;
    device.acked().await;
    device
        .client
        .subscribe(DOWN, QoS::AtLeastOnce)
        .await
        .unwrap();
    device
        .packet(|packet| matches!(packet, Packet::SubAck(_)).then_some(()))
        .await;

    let (handle, mut events) = link(address, "tidegate-gw-1");
    assert!(!handle.publish(DOWN, vec![0], false, None), "not up yet");
    subscribed(&mut events).await;
    assert!(handle.is_up());
    assert_eq!(message(&mut events).await.0, said(STATUS, b"online", true));

    // A whole frame of the largest size, and one that live subscribers see unretained.
    device.publish(UP, vec![7; 8_192], false).await;
    assert_eq!(message(&mut events).await.0, said(UP, &[7; 8_192], false));
    device.publish(UP, "x", true).await;
    assert_eq!(message(&mut events).await.0, said(UP, b"x", false));

    assert!(handle.publish(DOWN, b"ack".to_vec(), false, Some(30)));
    let down = device
        .packet(|packet| match packet {
            Packet::Publish(publish) => Some(publish),
            _ => None,
        })
        .await;
    assert_eq!(&down.payload[..], b"ack");
    assert!(down.properties.unwrap().message_expiry_interval.is_some());

    assert!(handle.publish(GATEWAY, b"online".to_vec(), true, None));
    assert_eq!(
        message(&mut events).await.0,
        said(GATEWAY, b"online", false)
    );
    let counters = handle.counters();
    assert_eq!((counters.received, counters.dropped_away), (4, 1));

    assert!(handle.publish(GATEWAY, b"offline, cleanly".to_vec(), true, None));
    assert!(handle.stop(PATIENCE).await);
    let (_handle, mut events) = link(address, "tidegate-gw-1");
    subscribed(&mut events).await;
    let mut retained = Vec::new();
    for _ in 0..3 {
        retained.push(message(&mut events).await.0);
    }
    retained.sort_by(|a, b| a.topic.cmp(&b.topic));
    assert_eq!(
        retained,
        [
            said(GATEWAY, b"offline, cleanly", true),
            said(STATUS, b"online", true),
            said(UP, b"x", true),
        ],
        "goodbye was said: no will"
    );
}

/// The gateway's will fires when its link is dropped, a device's when that is.
async fn wills_fire(address: SocketAddr) {
    let (_watch, mut watched) = link(address, "tidegate-gw-watch");
    subscribed(&mut watched).await;
    let device = Device::new(address, "tidegate-pump-house-pump-1", Some(STATUS));
    device.publish(STATUS, "online", true).await;
    assert_eq!(
        message(&mut watched).await.0,
        said(STATUS, b"online", false)
    );
    device.polling.abort();
    assert_eq!(
        message(&mut watched).await.0,
        said(STATUS, b"offline", false)
    );

    let (handle, mut events) = link(address, "tidegate-gw-1");
    subscribed(&mut events).await;
    drop((handle, events));
    assert_eq!(
        message(&mut watched).await.0,
        said(GATEWAY, b"offline", false)
    );
}

/// With the core paused the broker stops at `window` messages; nothing is lost, and the order
/// stays, when it goes on.
async fn back_pressure(address: SocketAddr, messages: u32, window: u64) {
    let (handle, mut events) = link(address, "tidegate-gw-1");
    subscribed(&mut events).await;
    let mut device = Device::new(address, "tidegate-pump-house-pump-1", None);
    for number in 0..messages {
        device.publish(UP, number.to_be_bytes(), false).await;
    }
    for _ in 0..messages {
        device.acked().await;
    }
    let held_back = async {
        while handle.counters().received < window {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, held_back).await.expect("a full window");
    assert_eq!(handle.counters().received, window);
    let mut held = Vec::new();
    for number in 0..messages {
        assert!(events.len() <= INTAKE_MAX);
        let (message, receipt) = message(&mut events).await;
        assert_eq!(message, said(UP, &number.to_be_bytes(), false));
        // Receipts go back in bunches, and within a bunch in the wrong order.
        held.push(receipt);
        if held.len() == 100 {
            while held.pop().is_some() {}
        }
    }
    drop(held);
    assert_eq!(handle.counters().received, u64::from(messages));
    assert_eq!(handle.counters().lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_carries_both_ways() {
    let broker = Mosquitto::start().await;
    talks(broker.address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_fires_wills() {
    let broker = Mosquitto::start().await;
    wills_fire(broker.address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_is_held_back_by_a_paused_core() {
    let broker = Mosquitto::start().await;
    // Mosquitto queues 1,000 beyond the 1,024 in flight, then drops.
    back_pressure(broker.address, 1_900, RECEIVE_MAXIMUM.into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_survives_restarts_of_mosquitto() {
    let mut broker = Mosquitto::start().await;
    let (handle, mut events) = link(broker.address, "tidegate-gw-1");
    subscribed(&mut events).await;
    for round in 0..3_u8 {
        let device = Device::new(broker.address, "tidegate-pump-house-pump-1", None);
        device.publish(UP, [round], false).await;
        let (received, receipt) = message(&mut events).await;
        assert_eq!(received, said(UP, &[round], false));
        broker.kill();
        let event = next(&mut events).await;
        assert!(
            matches!(&event, LinkEvent::Disconnected { why } if !why.is_empty()),
            "{event:?}"
        );
        assert!(!handle.publish(DOWN, vec![round], false, None));
        broker.restart().await;
        subscribed(&mut events).await;
        // A receipt of the connection that is gone touches nothing of the new one.
        drop(receipt);
    }
    assert_eq!(handle.counters().subscribed, 4);
    assert_eq!(handle.counters().dropped_away, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_nobody_keeps_trying_and_stops_when_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (handle, mut events) = link(address, "tidegate-gw-1");
    let tried = async {
        while handle.counters().lost < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, tried).await.expect("three attempts");
    assert!(handle.stop(PATIENCE).await);
    assert!(events.recv().await.is_none());
}

#[cfg(feature = "embedded-broker")]
mod embedded {
    use super::*;
    use std::sync::Arc;
    use tidegate_gateway::mqtt::access::Doorkeeper;
    use tidegate_gateway::mqtt::embedded::{self, EmbeddedBroker, EmbeddedError, OUTBOUND_MAX};
    use tidegate_gateway::time::SystemClock;

    /// One that lets everyone in; its own gateway would be another than those of these tests.
    async fn start(listen: SocketAddr) -> Result<EmbeddedBroker, EmbeddedError> {
        let (doorkeeper, _) = Doorkeeper::new(site(), "tidegate-gw-0".into()).unwrap();
        embedded::start(listen, None, doorkeeper, Arc::new(SystemClock::new())).await
    }

    async fn broker() -> EmbeddedBroker {
        start("127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_carries_both_ways() {
        let broker = broker().await;
        talks(broker.local_addr()).await;
        broker.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_fires_wills() {
        let broker = broker().await;
        wills_fire(broker.local_addr()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_is_held_back_by_a_paused_core() {
        let broker = broker().await;
        back_pressure(broker.local_addr(), 1_100, OUTBOUND_MAX.into()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_serves_twenty_devices_at_once() {
        const DEVICES: usize = 20;
        const FRAMES: usize = 50;
        let broker = broker().await;
        let (handle, mut events) = link(broker.local_addr(), "tidegate-gw-1");
        subscribed(&mut events).await;
        let mut devices = Vec::new();
        for number in 0..DEVICES {
            let name = format!("tidegate-pump-house-pump-{number}");
            let device = Device::new(broker.local_addr(), &name, None);
            devices.push(tokio::spawn(async move {
                let topic = format!("tidegate/v1/pump-house/pump-{number}/up");
                for frame in 0..FRAMES {
                    device.publish(&topic, vec![frame as u8; 500], false).await;
                }
                device
            }));
        }
        let mut next_frame = std::collections::BTreeMap::new();
        for _ in 0..DEVICES * FRAMES {
            let (message, _receipt) = message(&mut events).await;
            let next = next_frame.entry(message.topic).or_insert(0);
            assert_eq!(message.payload, vec![*next; 500]);
            *next += 1;
        }
        assert_eq!(next_frame.len(), DEVICES);
        assert_eq!(handle.counters().lost, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_link_comes_back_after_its_restart() {
        let first = broker().await;
        let address = first.local_addr();
        let (_handle, mut events) = link(address, "tidegate-gw-1");
        subscribed(&mut events).await;
        first.shutdown().await;
        assert!(matches!(
            next(&mut events).await,
            LinkEvent::Disconnected { .. }
        ));
        let _second = start_again(address).await;
        subscribed(&mut events).await;
    }

    /// Another connection of this machine may have been given the port meanwhile, for a moment.
    async fn start_again(address: SocketAddr) -> EmbeddedBroker {
        let starting = async {
            loop {
                match start(address).await {
                    Ok(broker) => return broker,
                    Err(EmbeddedError::Listen { .. } | EmbeddedError::Tls(_)) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        };
        let started = timeout(Duration::from_secs(30), starting).await;
        started.expect("the port is free again")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_address_in_use_is_said() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let Err(EmbeddedError::Listen { listen: said, .. }) = start(listen).await else {
            panic!("the port is taken");
        };
        assert_eq!(said, listen);
    }
}
