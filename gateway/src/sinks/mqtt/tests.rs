//! The sink against a broker of a few lines, which does what a test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5;

use super::*;
use crate::record::{Place, Record, example};
use crate::rules::Priority;
use crate::rules::settings::{MqttVersion, SinkKind, Template, TemplatePart};
use crate::sinks::encoding::Encoding;
use crate::sinks::queue::Waiting;
use crate::time::SystemClock;

/// A record by its number.
pub fn record(number: u8) -> Record {
    example(number)
}

/// A batch of records with these numbers.
pub fn batch(numbers: &[u8]) -> Arc<Batch> {
    let waiting: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(index, number)| Waiting {
            index: index as u64,
            place: Place::default(),
            record: record(*number),
        })
        .collect();
    let batch = Batch::render(
        Priority::Normal,
        &waiting,
        1_000,
        1 << 20,
        &Encoding::Ndjson,
    );
    Arc::new(batch.unwrap())
}

/// A sink `cloud` whose attempts take 5 s at most.
pub fn sink(kind: SinkKind) -> SinkSettings {
    SinkSettings {
        timeout_ms: 5_000,
        ..SinkSettings::new("cloud", kind)
    }
}

fn settings(port: u16, retain: bool) -> MqttSinkSettings {
    let text = |text: &str| TemplatePart::Text(text.into());
    MqttSinkSettings {
        host: "127.0.0.1".into(),
        port,
        tls: None,
        version: MqttVersion::V5,
        client_id: None,
        credentials: None,
        payload: MqttPayload::Json {
            topic: Template {
                parts: vec![
                    text("t/"),
                    TemplatePart::Device,
                    text("/"),
                    TemplatePart::Rule,
                ],
            },
        },
        retain,
    }
}

fn transport(settings: &MqttSinkSettings) -> MqttTransport {
    let sink = sink(SinkKind::Mqtt(settings.clone()));
    MqttTransport::new(&sink, settings, Arc::new(SystemClock::new()))
}

/// One end of a scripted connection.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self {
            stream,
            input: Vec::new(),
        }
    }

    /// The next packet; none when the client closed.
    fn hear(&mut self) -> Option<v5::Packet> {
        loop {
            let mut buffer = BytesMut::from(self.input.as_slice());
            let before = buffer.len();
            if self.input.starts_with(&[0xe0]) && self.input.len() >= 2 {
                self.input.drain(..2);
                return Some(v5::Packet::Disconnect(v5::Disconnect::new(
                    v5::DisconnectReasonCode::NormalDisconnection,
                )));
            }
            if let Ok(packet) = v5::Packet::read(&mut buffer, None) {
                self.input.drain(..before - buffer.len());
                return Some(packet);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(count) if count > 0 => self.input.extend_from_slice(&chunk[..count]),
                _ => return None,
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Hears CONNECT, accepts, and returns the client's name.
    fn welcome(&mut self, properties: &[u8]) -> String {
        let Some(v5::Packet::Connect(connect, ..)) = self.hear() else {
            panic!("a CONNECT comes first");
        };
        let mut answer = vec![
            0x20,
            3 + properties.len() as u8,
            0,
            0,
            properties.len() as u8,
        ];
        answer.extend_from_slice(properties);
        self.say(&answer);
        connect.client_id
    }

    fn message(&mut self) -> v5::Publish {
        match self.hear() {
            Some(v5::Packet::Publish(publish)) => publish,
            other => panic!("a PUBLISH was due, not {other:?}"),
        }
    }

    fn acknowledge(&mut self, id: u16, code: u8) {
        let [high, low] = id.to_be_bytes();
        self.say(&[0x40, 3, high, low, code]);
    }
}

/// A broker on a free port that does what a test says.
fn broker<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || script(listener)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_batch_is_confirmed_when_every_message_is_acknowledged_in_any_order() {
    let (port, heard) = broker(|listener| {
        let mut peer = Peer::accept(&listener);
        let name = peer.welcome(&[]);
        let messages: Vec<_> = (0..3).map(|_| peer.message()).collect();
        for at in [2, 0, 1] {
            peer.acknowledge(messages[at].pkid, if at == 1 { 0x10 } else { 0 });
        }
        let end = peer.hear();
        (name, messages, end)
    });
    let mut sink = transport(&settings(port, false));
    let sent = batch(&[1, 2, 3]);
    let answer = sink.deliver(&sent).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert_eq!(answer.taken, 0);
    assert_eq!(
        answer.sent_bytes,
        sent.body.len() as u64 - 3,
        "payloads without line ends"
    );
    drop(sink);
    let (name, messages, end) = heard.join().unwrap();
    assert_eq!(name, "tidegate-pump-house-cloud");
    assert!(
        matches!(end, Some(v5::Packet::Disconnect(_))),
        "a goodbye, {end:?}"
    );
    for (message, (record, piece)) in messages.iter().zip(sent.pieces()) {
        assert_eq!(
            &message.topic[..],
            format!("t/{}/minute", record.device).as_bytes()
        );
        assert_eq!(&message.payload[..], &piece[..piece.len() - 1]);
        assert!(!message.retain);
    }
    // CONNECT and CONNACK, heads of messages, acknowledgements.
    let heads: u64 = messages
        .iter()
        .map(|m| m.size() as u64 - m.payload.len() as u64)
        .sum();
    assert!(answer.header_bytes > heads + 15, "{}", answer.header_bytes);
    assert!(answer.header_bytes < heads + 100, "{}", answer.header_bytes);
}

#[tokio::test]
async fn the_brokers_window_is_kept_to() {
    let (port, heard) = broker(|listener| {
        let mut peer = Peer::accept(&listener);
        // Receive maximum 2.
        peer.welcome(&[0x21, 0, 2]);
        let first = [peer.message(), peer.message()];
        peer.stream.set_nonblocking(true).unwrap();
        let ahead = peer.stream.peek(&mut [0]).is_ok() || !peer.input.is_empty();
        peer.stream.set_nonblocking(false).unwrap();
        peer.acknowledge(first[0].pkid, 0);
        let third = peer.message();
        peer.acknowledge(first[1].pkid, 0);
        peer.acknowledge(third.pkid, 0);
        ahead
    });
    let mut sink = transport(&settings(port, false));
    let answer = sink.deliver(&batch(&[1, 2, 3])).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert!(
        !heard.join().unwrap(),
        "a third message was sent before an acknowledgement"
    );
}

#[tokio::test]
async fn a_lost_connection_tells_what_was_taken_and_nothing_acknowledged_is_sent_again() {
    let (port, heard) = broker(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.welcome(&[]);
        let messages: Vec<_> = (0..4).map(|_| peer.message()).collect();
        peer.acknowledge(messages[0].pkid, 0);
        peer.acknowledge(messages[2].pkid, 0);
        drop(peer);
        let mut peer = Peer::accept(&listener);
        peer.welcome(&[]);
        let mut again = Vec::new();
        for _ in 0..2 {
            let message = peer.message();
            peer.acknowledge(message.pkid, 0);
            again.push(message.payload.to_vec());
        }
        again
    });
    let mut sink = transport(&settings(port, false));
    let answer = sink.deliver(&batch(&[1, 2, 3, 4])).await;
    assert!(
        matches!(answer.outcome, Outcome::Retry { .. }),
        "{answer:?}"
    );
    assert_eq!(answer.taken, 1);
    let rest = batch(&[2, 3, 4]);
    let answer = sink.deliver(&rest).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    let pieces: Vec<_> = rest
        .pieces()
        .map(|(_, piece)| &piece[..piece.len() - 1])
        .collect();
    assert_eq!(heard.join().unwrap(), [pieces[0], pieces[2]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_refusal_names_its_record_and_stops_what_was_not_sent() {
    for (code, expected) in [
        (0x99, "refused"),
        (0x87, "broken"),
        (0x97, "retry"),
        (0x95, "too large"),
    ] {
        let (port, heard) = broker(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.welcome(&[0x21, 0, 2]);
            let first = peer.message();
            let second = peer.message();
            peer.acknowledge(second.pkid, code);
            peer.acknowledge(first.pkid, 0);
            peer.hear()
                .is_none_or(|packet| !matches!(packet, v5::Packet::Publish(_)))
        });
        let mut sink = transport(&settings(port, false));
        let answer = sink.deliver(&batch(&[1, 2, 3])).await;
        let kind = match answer.outcome {
            Outcome::Confirmed => "confirmed",
            Outcome::Retry { .. } => "retry",
            Outcome::Broken { .. } => "broken",
            Outcome::Refused { .. } => "refused",
            Outcome::TooLarge { .. } => "too large",
        };
        assert_eq!((kind, answer.taken), (expected, 1));
        drop(sink);
        assert!(
            heard.join().unwrap(),
            "a third message was sent after a refusal"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_beyond_the_brokers_packet_size_is_not_sent() {
    let (port, heard) = broker(|listener| {
        let mut peer = Peer::accept(&listener);
        // Maximum packet size 300: the first record fits, the second does not.
        peer.welcome(&[0x27, 0, 0, 1, 0x90]);
        let first = peer.message();
        peer.acknowledge(first.pkid, 0);
        peer.hear()
    });
    let mut sink = transport(&settings(port, false));
    let mut sent = Arc::unwrap_or_clone(batch(&[1, 2]));
    let long = Record {
        unit: "x".repeat(500),
        ..record(2)
    };
    sent.body.truncate(sent.ends[0]);
    Encoding::Ndjson.encode(&long, &mut sent.body);
    sent.ends[1] = sent.body.len();
    sent.records[1] = long;
    let answer = sink.deliver(&Arc::new(sent)).await;
    assert!(matches!(&answer.outcome, Outcome::TooLarge { why } if why.contains("400 bytes")));
    assert_eq!(answer.taken, 1);
    drop(sink);
    let end = heard.join().unwrap();
    assert!(matches!(end, Some(v5::Packet::Disconnect(_))), "{end:?}");
}

#[tokio::test]
async fn a_record_that_closes_every_connection_is_refused_and_the_others_are_not() {
    let (port, heard) = broker(|listener| {
        let mut taken = 0;
        loop {
            let mut peer = Peer::accept(&listener);
            peer.welcome(&[]);
            loop {
                let Some(v5::Packet::Publish(message)) = peer.hear() else {
                    break;
                };
                if message.payload.starts_with(b"{\"id\":\"02") {
                    break;
                }
                peer.acknowledge(message.pkid, 0);
                taken += 1;
                if message.payload.starts_with(b"{\"id\":\"03") {
                    return taken;
                }
            }
        }
    });
    let mut sink = transport(&settings(port, false));
    let mut numbers = vec![1, 2, 3];
    let mut attempts = 0;
    let why = loop {
        attempts += 1;
        assert!(attempts < 20, "it is never refused");
        let answer = sink.deliver(&batch(&numbers)).await;
        numbers.drain(..answer.taken);
        match answer.outcome {
            Outcome::Retry { .. } => {}
            Outcome::Refused { why } => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(numbers[0], 2, "{why}");
    assert!(attempts > suspicion::STRIKES_MAX as usize);
    let answer = sink.deliver(&batch(&[3])).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    // 3 was behind 2 in flight once at most, and then alone.
    assert!((2..=3).contains(&heard.join().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_broker_keeps_is_asked_for_once_and_not_replaced_by_older_values() {
    let (port, heard) = broker(|listener| {
        let kept = crate::record::to_json(&record(5));
        let mut flags = Vec::new();
        let mut subscriptions = 0;
        for _ in 0..2 {
            let mut peer = Peer::accept(&listener);
            peer.welcome(&[]);
            loop {
                match peer.hear() {
                    Some(v5::Packet::Subscribe(subscribe)) => {
                        subscriptions += 1;
                        assert_eq!(subscribe.filters[0].path, "t/+/+");
                        let mut out = vec![0x90, 4, 0, 1, 0, 0];
                        packet::publish(
                            MqttVersion::V5,
                            &packet::Publish {
                                topic: "t/pump-1/minute",
                                payload: kept.as_bytes(),
                                id: None,
                                is_retained: true,
                            },
                            &mut out,
                        );
                        peer.say(&out);
                    }
                    Some(v5::Packet::PingReq(_)) => peer.say(&[0xd0, 0]),
                    Some(v5::Packet::Unsubscribe(_)) => peer.say(&[0xb0, 4, 0, 1, 0, 0]),
                    Some(v5::Packet::Publish(message)) => {
                        peer.acknowledge(message.pkid, 0);
                        flags.push(message.retain);
                        if flags.len() == 3 {
                            break;
                        }
                    }
                    _ => break,
                }
            }
        }
        (subscriptions, flags)
    });
    let mut sink = transport(&settings(port, true));
    assert_eq!(
        sink.deliver(&batch(&[4, 5, 6])).await.outcome,
        Outcome::Confirmed
    );
    // The first connection is gone by now, or goes while this is sent.
    let mut answer = sink.deliver(&batch(&[5, 7])).await;
    if answer.outcome != Outcome::Confirmed {
        answer = sink.deliver(&batch(&[5, 7])).await;
    }
    assert_eq!(answer.outcome, Outcome::Confirmed);
    drop(sink);
    let (subscriptions, flags) = heard.join().unwrap();
    assert_eq!(subscriptions, 1);
    assert_eq!(flags, [false, true, true, false, true]);
}

#[tokio::test]
async fn a_refused_connection_is_for_a_person_and_a_broker_that_is_away_is_not() {
    let (port, heard) = broker(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.hear();
        peer.say(&[0x20, 3, 0, 0x86, 0]);
    });
    let mut sink = transport(&settings(port, false));
    let answer = sink.deliver(&batch(&[1])).await;
    assert_eq!(
        answer.outcome,
        Outcome::Broken {
            why: "the broker refused the connection: user name or password is wrong (code 0x86)"
                .into()
        }
    );
    assert_eq!((answer.sent_bytes, answer.taken), (0, 0));
    assert!(answer.header_bytes > 0, "CONNECT was sent");
    heard.join().unwrap();
    let answer = sink.deliver(&batch(&[1])).await;
    assert!(
        matches!(answer.outcome, Outcome::Retry { .. }),
        "nobody listens: {answer:?}"
    );
}

#[tokio::test]
async fn an_attempt_given_up_takes_its_connection_along() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (port, heard) = broker(|listener| {
        let mut first = Peer::accept(&listener);
        first.welcome(&[]);
        let given_up = first.message();
        tell.send(()).unwrap();
        let mut second = Peer::accept(&listener);
        second.welcome(&[]);
        // Too late, and on a connection that nobody listens to.
        let _ = first.stream.write_all(&[0x40, 2, 0, given_up.pkid as u8]);
        let message = second.message();
        second.acknowledge(message.pkid, 0);
        message.payload.to_vec()
    });
    let mut sink = transport(&settings(port, false));
    let one = batch(&[1]);
    tokio::select! {
        answer = sink.deliver(&one) => panic!("nobody acknowledged it: {answer:?}"),
        told = told => told.unwrap(),
    }
    let two = batch(&[2]);
    assert_eq!(sink.deliver(&two).await.outcome, Outcome::Confirmed);
    assert_eq!(heard.join().unwrap(), &two.body[..two.body.len() - 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_is_confirmed_by_the_answer_to_a_ping() {
    let (port, heard) = broker(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.welcome(&[]);
        let mut topics = Vec::new();
        let mut pings = 0;
        loop {
            match peer.hear() {
                Some(v5::Packet::Subscribe(subscribe)) => {
                    topics.push(subscribe.filters[0].path.clone());
                    peer.say(&[0x90, 4, 0, 1, 0, 1]);
                }
                Some(v5::Packet::Publish(message)) => {
                    assert_eq!(message.pkid, 0, "QoS 0");
                    topics.push(String::from_utf8_lossy(&message.topic).into_owned());
                }
                Some(v5::Packet::PingReq(_)) => {
                    pings += 1;
                    peer.say(&[0xd0, 0]);
                }
                _ => return (topics, pings),
            }
        }
    });
    let mut settings = settings(port, false);
    settings.payload = MqttPayload::SparkplugB {
        group: "g".into(),
        edge_node: "n".into(),
    };
    let mut sink = transport(&settings);
    assert_eq!(
        sink.deliver(&batch(&[1, 2])).await.outcome,
        Outcome::Confirmed
    );
    drop(sink);
    let (topics, pings) = heard.join().unwrap();
    assert_eq!(
        topics,
        [
            "spBv1.0/g/NCMD/n",
            "spBv1.0/g/NBIRTH/n",
            "spBv1.0/g/DBIRTH/n/pump-1",
            "spBv1.0/g/DDATA/n/pump-1",
            "spBv1.0/g/DDATA/n/pump-1",
            "spBv1.0/g/NDEATH/n"
        ]
    );
    assert_eq!(pings, 1);
}
