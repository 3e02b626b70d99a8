//! A subscriber of a broker, by MQTT 5, that keeps every message it got; it connects again by
//! itself when the broker comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, RetainForwardRule};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

use crate::connection::tls_client;
use crate::ports;
use crate::servers::{Door, PASSWORD, USER};
use crate::wall::{poll_for, wait_until};

/// Longest wait for a subscription to stand.
const LIMIT: Duration = Duration::from_secs(30);
/// Largest message, in bytes.
const MESSAGE_BYTES_MAX: u32 = 16 << 20;

/// A message as the broker delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// What was published.
    pub payload: Vec<u8>,
    /// Whether its publisher wanted it retained.
    pub retain: bool,
    /// Whether the broker says that it may have delivered it before.
    pub repeated: bool,
    /// The content type that its publisher gave it, if it spoke MQTT 5.
    pub content_type: Option<String>,
    /// The user properties likewise.
    pub properties: Vec<(String, String)>,
}

/// A subscriber; gone with its guard. It may publish too.
pub struct Subscriber {
    client: Client,
    seen: Arc<Seen>,
    poller: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    messages: Mutex<Vec<Message>>,
    subscriptions: Mutex<u64>,
    stopped: AtomicBool,
}

impl Subscriber {
    /// Connects through a door, with QoS 1 for what matches a filter, and waits until that stands.
    /// What the broker retains comes at once, and again with each new connection.
    pub fn start(port: u16, door: &Door, filter: &str) -> Self {
        // A broker throws out a client when another of its name comes.
        let name = format!("tests-subscriber-{}", ports::free());
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options
            .set_keep_alive(Duration::from_secs(5))
            // Without it Mosquitto delivers at most 20 unacknowledged messages at a time.
            .set_receive_maximum(Some(1_024))
            .set_max_packet_size(Some(MESSAGE_BYTES_MAX))
            .set_clean_start(true);
        if door.login {
            options.set_credentials(USER, PASSWORD);
        }
        if door.tls.is_some() {
            let identity = door.clients.as_ref().map(|clients| &clients.rig);
            let config = TlsConfiguration::from(tls_client(identity));
            options.set_transport(Transport::tls_with_config(config));
        }
        let (client, connection) = Client::new(options, 64);
        let seen = Arc::new(Seen::default());
        let (polling, subscribing) = (Arc::clone(&seen), client.clone());
        let mut filter = Filter::new(filter, QoS::AtLeastOnce);
        filter.preserve_retain = true;
        filter.retain_forward_rule = RetainForwardRule::OnEverySubscribe;
        let poller = thread::spawn(move || poll(connection, &subscribing, &filter, &polling));
        let subscriber = Self {
            client,
            seen,
            poller: Some(poller),
        };
        wait_until("a subscription to stand", LIMIT, || {
            subscriber.subscriptions() > 0
        });
        subscriber
    }

    /// How often its subscription came to stand: more than before once it is back after a restart.
    pub fn subscriptions(&self) -> u64 {
        *lock(&self.seen.subscriptions)
    }

    /// All messages so far, in their order.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.seen.messages).clone()
    }

    /// Waits until at least so many messages came, and gives all.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<Message> {
        wait_until(&format!("{count} messages"), limit, || {
            lock(&self.seen.messages).len() >= count
        });
        self.messages()
    }

    /// Publishes with QoS 1.
    pub fn publish(&self, topic: &str, payload: &[u8], retain: bool) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload.to_vec())
            .expect("the client runs as long as its subscriber");
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::SeqCst);
        let _ = self.client.try_disconnect();
        if let Some(poller) = self.poller.take() {
            let _ = poller.join();
        }
    }
}

fn poll(mut connection: Connection, client: &Client, filter: &Filter, seen: &Seen) {
    loop {
        let polled = connection.recv_timeout(Duration::from_millis(200));
        if seen.stopped.load(Ordering::SeqCst) {
            return;
        }
        match polled {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                let _ = client.try_subscribe_many([filter.clone()]);
            }
            Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => *lock(&seen.subscriptions) += 1,
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                lock(&seen.messages).push(message(&publish));
            }
            // The broker is away: rumqttc connects anew at the next poll; not at full speed.
            Ok(Err(_)) => {
                poll_for(Duration::from_millis(100), || {
                    seen.stopped.load(Ordering::SeqCst).then_some(())
                });
            }
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

fn message(publish: &Publish) -> Message {
    let properties = publish.properties.clone().unwrap_or_default();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.to_vec(),
        retain: publish.retain,
        repeated: publish.dup,
        content_type: properties.content_type,
        properties: properties.user_properties,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::certificates::{Certificates, Flaw};
    use crate::connection::Connection as Socket;
    use crate::servers::Clients;

    const SHORT: Duration = Duration::from_secs(10);

    #[test]
    fn retained_messages_are_told_from_others_and_outlive_a_stop_not_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let door = Door::default();
        let mut broker = Broker::start_keeping(dir.path(), ports::free(), &door);
        let first = Subscriber::start(broker.port, &door, "records/#");
        first.publish("records/a", b"passing", false);
        first.publish("records/a", b"kept", true);
        let flags = |messages: &[Message]| -> Vec<(Vec<u8>, bool)> {
            let flags = messages.iter().map(|one| (one.payload.clone(), one.retain));
            flags.collect()
        };
        let (passing, kept) = ((b"passing".to_vec(), false), (b"kept".to_vec(), true));
        let live = first.wait_for(2, SHORT);
        assert_eq!(flags(&live), [passing.clone(), kept.clone()]);
        assert_eq!(live[0].topic, "records/a");

        broker.stop();
        broker.resume();
        wait_until("the first to be back", LIMIT, || first.subscriptions() == 2);
        let all = first.wait_for(3, SHORT);
        assert_eq!(flags(&all), [passing, kept.clone(), kept.clone()]);

        first.publish("records/b", b"forgotten", true);
        first.wait_for(4, SHORT);
        broker.kill();
        broker.resume();
        let second = Subscriber::start(broker.port, &door, "records/#");
        second.publish("records/c", b"last", false);
        let last = (b"last".to_vec(), false);
        assert_eq!(flags(&second.wait_for(2, SHORT)), [kept, last]);
    }

    #[test]
    fn a_brokers_door_has_tls_client_certificates_and_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let Certificates { known, unknown, .. } = &Certificates::new();
        let door = Door {
            tls: Some(known.server(Flaw::None)),
            clients: Some(Clients::of(known)),
            login: true,
        };
        let broker = Broker::start_behind(dir.path(), ports::free(), &door);
        let subscriber = Subscriber::start(broker.port, &door, "records/#");
        subscriber.publish("records/a", b"one", false);
        assert_eq!(subscriber.wait_for(1, SHORT)[0].payload, b"one");

        let answer = |identity| {
            let mut socket = Socket::open(broker.port)?.into_tls(identity)?;
            let connect = b"\x10\x0d\0\x04MQTT\x04\x02\0\x05\0\x01x";
            std::io::Write::write_all(&mut socket, connect)?;
            let mut answer = [0; 4];
            std::io::Read::read_exact(&mut socket, &mut answer)?;
            std::io::Result::Ok(answer)
        };
        let rig = &door.clients.as_ref().unwrap().rig;
        // Not authorised: it said no user.
        assert_eq!(answer(Some(rig)).unwrap(), [0x20, 2, 0, 5]);
        assert!(answer(None).is_err());
        assert!(answer(Some(&unknown.client("rig", Flaw::None))).is_err());
    }
}
