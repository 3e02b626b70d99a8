//! What goes over the broker: a client that sees every topic of a site and can publish anything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Connection, Event, MqttOptions};
use tidegate_shared::frame;
use tidegate_shared::ids::Mark;
use tidegate_shared::message::{Ack, Down};
use tidegate_tests::broker::Broker;
use tidegate_tests::ports;
use tidegate_tests::wall::{poll_for, wait_until};

use crate::raw_device::RawDevice;

/// The site of all tests.
pub const SITE: &str = "pump-house";

/// A message as the broker delivered it.
#[derive(Debug, Clone)]
pub struct Message {
    /// The topic behind `tidegate/v1/<site>/`.
    pub topic: String,
    /// The frame.
    pub payload: Vec<u8>,
}

/// A client of the broker; gone with its guard.
pub struct Wire {
    client: Client,
    seen: Arc<Seen>,
    poller: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    messages: Mutex<Vec<Message>>,
    subscribed: AtomicBool,
    stopped: AtomicBool,
}

impl Wire {
    /// Connects and waits until its subscription stands; reconnects by itself from then on.
    pub fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("tests-wire", "127.0.0.1", port);
        options
            .set_keep_alive(Duration::from_secs(5))
            // Without it Mosquitto delivers at most 20 unacknowledged messages at a time.
            .set_receive_maximum(Some(1_024))
            .set_clean_start(true);
        let (client, connection) = Client::new(options, 64);
        let seen = Arc::new(Seen::default());
        let (polling, subscriber) = (Arc::clone(&seen), client.clone());
        let poller = thread::spawn(move || poll(connection, &subscriber, &polling));
        wait_until("the wire to be watched", Duration::from_secs(10), || {
            seen.subscribed.load(Ordering::SeqCst)
        });
        Self {
            client,
            seen,
            poller: Some(poller),
        }
    }

    /// Publishes on a topic of the site, QoS 1.
    pub fn publish(&self, topic: &str, payload: Vec<u8>) {
        self.client
            .publish(
                format!("tidegate/v1/{SITE}/{topic}"),
                QoS::AtLeastOnce,
                false,
                payload,
            )
            .expect("the wire's client runs as long as the test");
    }

    /// Everything seen on a topic of the site.
    pub fn messages(&self, topic: &str) -> Vec<Message> {
        let seen = self.seen.lock();
        let messages = seen.iter().filter(|message| message.topic == topic);
        messages.cloned().collect()
    }

    /// Waits for a message to a device that `pick` takes.
    pub fn answer<T>(&self, device: &str, what: &str, pick: impl Fn(&Down<'_>) -> Option<T>) -> T {
        let topic = format!("{device}/down");
        let found = poll_for(Duration::from_secs(20), || {
            self.messages(&topic).iter().find_map(|message| {
                let frame = frame::read(&message.payload).ok()?;
                pick(&Down::read(frame.body).ok()?)
            })
        });
        found.unwrap_or_else(|| panic!("no answer to {device}: {what}"))
    }

    /// Distinct sequenced frames that devices sent.
    pub fn sequenced_frames(&self) -> usize {
        let seen = self.seen.lock();
        let frames = seen.iter().filter_map(|message| {
            let header = frame::read(&message.payload).ok()?.header;
            let sequenced = message.topic.ends_with("/up") && header.is_sequenced();
            sequenced.then_some((&message.topic, header.incarnation, header.mark))
        });
        frames.collect::<BTreeSet<_>>().len()
    }

    /// Frames that devices sent, sequenced or not, each sending counted.
    pub fn frames(&self) -> usize {
        let seen = self.seen.lock();
        let up = seen.iter().filter(|message| message.topic.ends_with("/up"));
        up.count()
    }

    /// Bytes of all frames that devices sent, sequenced or not, trailers included.
    pub fn up_bytes(&self) -> usize {
        let seen = self.seen.lock();
        let up = seen.iter().filter(|message| message.topic.ends_with("/up"));
        up.map(|message| message.payload.len()).sum()
    }

    /// Frames of a device that were sent and not acked, as far as the broker has seen.
    pub fn in_flight(&self, device: &str) -> u32 {
        let (up, down) = (format!("{device}/up"), format!("{device}/down"));
        let (mut sent, mut acked) = (Mark::default(), Mark::default());
        for message in self.seen.lock().iter() {
            let Ok(frame) = frame::read(&message.payload) else {
                continue;
            };
            if message.topic == up && frame.header.is_sequenced() {
                sent = sent.max(frame.header.mark);
            } else if message.topic == down
                && let Ok(Down::Ack(ack)) = Down::read(frame.body)
            {
                acked = acked.max(Mark {
                    boot: ack.boot,
                    sequence: ack.through,
                });
            }
        }
        if sent.boot == acked.boot {
            sent.sequence.saturating_sub(acked.sequence)
        } else {
            sent.sequence
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::SeqCst);
        let _ = self.client.disconnect();
        if let Some(poller) = self.poller.take() {
            let _ = poller.join();
        }
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn poll(mut connection: Connection, client: &Client, seen: &Seen) {
    let prefix = format!("tidegate/v1/{SITE}/");
    loop {
        let polled = connection.recv_timeout(Duration::from_millis(200));
        if seen.stopped.load(Ordering::SeqCst) {
            return;
        }
        match polled {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                let _ = client.try_subscribe(format!("{prefix}#"), QoS::AtLeastOnce);
            }
            Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => {
                seen.subscribed.store(true, Ordering::SeqCst);
            }
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                let topic = String::from_utf8_lossy(&publish.topic);
                seen.lock().push(Message {
                    topic: topic.strip_prefix(&prefix).unwrap_or(&topic).to_owned(),
                    payload: publish.payload.to_vec(),
                });
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

/// The wire sees what is published, through a restart of the broker, and counts what is in flight.
#[test]
fn the_wire_is_watched_through_a_restart() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let mut broker = Broker::start(dir.path(), ports::free());
    let wire = Wire::connect(broker.port);
    let device = RawDevice::new(&wire, "raw", 7, 0);
    let seen = |count: usize| {
        wait_until("the frames to be seen", Duration::from_secs(10), || {
            wire.messages("raw/up").len() == count
        });
    };
    device.send(device.hello());
    device.send(device.catalog(1));
    device.send(device.clock_frame(2));
    seen(3);
    assert_eq!((wire.frames(), wire.sequenced_frames()), (3, 2));
    assert_eq!(wire.in_flight("raw"), 2);

    wire.seen.subscribed.store(false, Ordering::SeqCst);
    broker.kill();
    broker.resume();
    wait_until(
        "the subscription to stand again",
        Duration::from_secs(10),
        || wire.seen.subscribed.load(Ordering::SeqCst),
    );
    device.send(device.clock_frame(3));
    seen(4);
    let ack = Ack {
        boot: 1,
        through: 3,
        ..Ack::default()
    };
    let ack = device.frame(0, |writer| Down::Ack(ack).write(writer));
    wire.publish("raw/down", ack);
    wait_until("the ack to count", Duration::from_secs(10), || {
        wire.in_flight("raw") == 0
    });
}
