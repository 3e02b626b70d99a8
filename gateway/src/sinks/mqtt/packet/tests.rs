//! Every packet against the codec of `rumqttc`, which reads what is written here and writes what
//! is read here.

use proptest::prelude::*;
use rumqttc::mqttbytes::{self as shared, v4};
use rumqttc::v5::mqttbytes::{self as shared5, v5};

use super::*;

const V311: MqttVersion = MqttVersion::V311;
const V5: MqttVersion = MqttVersion::V5;
const BYTES_MAX: usize = 1 << 20;

/// A buffer of the codec's own kind, without naming its crate.
macro_rules! buffer {
    ($bytes:expr) => {{
        let mut buffer = Default::default();
        if false {
            let _ = v4::PingReq.write(&mut buffer);
        }
        buffer.extend_from_slice($bytes);
        buffer
    }};
}

fn read4(bytes: &[u8]) -> v4::Packet {
    v4::Packet::read(&mut buffer!(bytes), BYTES_MAX).unwrap()
}

fn read5(bytes: &[u8]) -> v5::Packet {
    v5::Packet::read(&mut buffer!(bytes), None).unwrap()
}

fn written4(packet: &v4::Packet) -> Vec<u8> {
    let mut buffer = buffer!(b"");
    packet.write(&mut buffer, BYTES_MAX).unwrap();
    buffer.to_vec()
}

fn written5(packet: &v5::Packet) -> Vec<u8> {
    let mut buffer = buffer!(b"");
    packet.write(&mut buffer, None).unwrap();
    buffer.to_vec()
}

fn taken(version: MqttVersion, bytes: &[u8]) -> Arrived {
    let mut input = bytes.to_vec();
    for cut in 0..bytes.len() {
        let mut torn = bytes[..cut].to_vec();
        assert_eq!(
            take(version, &mut torn, BYTES_MAX),
            Ok(None),
            "cut at {cut}"
        );
    }
    input.push(0xd0);
    let arrived = take(version, &mut input, BYTES_MAX).unwrap().unwrap();
    assert_eq!(input, [0xd0], "no more than the packet is taken");
    arrived
}

fn greeting(will: Option<(&'static str, &'static [u8])>) -> Connect<'static> {
    Connect {
        client_id: "tidegate-a-b",
        keep_alive_s: 60,
        credentials: Some(("me", "sésame")),
        will,
        packet_bytes_max: 1 << 20,
    }
}

#[test]
fn a_greeting_of_3_1_1_reads_as_meant() {
    let mut bytes = Vec::new();
    connect(V311, &greeting(Some(("w/t", b"gone"))), &mut bytes);
    let v4::Packet::Connect(read) = read4(&bytes) else {
        panic!("a CONNECT was written");
    };
    assert_eq!(read.client_id, "tidegate-a-b");
    assert!(read.clean_session);
    assert_eq!(read.keep_alive, 60);
    assert_eq!(read.login, Some(v4::Login::new("me", "sésame")));
    let will = v4::LastWill::new("w/t", b"gone".to_vec(), shared::QoS::AtLeastOnce, false);
    assert_eq!(read.last_will, Some(will));
}

#[test]
fn a_greeting_of_5_reads_as_meant() {
    for will in [None, Some(("w/t", &b"gone"[..]))] {
        let mut bytes = Vec::new();
        connect(V5, &greeting(will), &mut bytes);
        let v5::Packet::Connect(read, last_will, login) = read5(&bytes) else {
            panic!("a CONNECT was written");
        };
        assert_eq!(read.client_id, "tidegate-a-b");
        assert!(read.clean_start);
        let properties = read.properties.unwrap();
        assert_eq!(properties.max_packet_size, Some(1 << 20));
        assert_eq!(properties.session_expiry_interval, None);
        let login = login.unwrap();
        assert_eq!(
            (login.username.as_str(), login.password.as_str()),
            ("me", "sésame")
        );
        assert_eq!(last_will.is_some(), will.is_some());
        if let Some(last) = last_will {
            assert_eq!(
                (&last.topic[..], &last.message[..]),
                (&b"w/t"[..], &b"gone"[..])
            );
            assert_eq!((last.qos, last.retain), (shared5::QoS::AtLeastOnce, false));
        }
    }
}

proptest! {
    #[test]
    fn a_message_reads_as_meant(
        topic in "[a-z/é]{1,200}",
        payload in proptest::collection::vec(any::<u8>(), 0..400),
        id in proptest::option::of(1_u16..),
        is_retained: bool,
    ) {
        let message = Publish { topic: &topic, payload: &payload, id, is_retained };
        let mut bytes = Vec::new();
        publish(V311, &message, &mut bytes);
        prop_assert_eq!(bytes.len(), publish_bytes(V311, &message));
        let v4::Packet::Publish(read) = read4(&bytes) else { panic!("not a PUBLISH") };
        prop_assert_eq!((&read.topic, &read.payload[..]), (&topic, &payload[..]));
        prop_assert_eq!((read.pkid, read.retain, read.dup), (id.unwrap_or(0), is_retained, false));
        prop_assert_eq!(read.qos as u8, u8::from(id.is_some()));

        let mut bytes = Vec::new();
        publish(V5, &message, &mut bytes);
        prop_assert_eq!(bytes.len(), publish_bytes(V5, &message));
        let v5::Packet::Publish(read) = read5(&bytes) else { panic!("not a PUBLISH") };
        prop_assert_eq!((&read.topic[..], &read.payload[..]), (topic.as_bytes(), &payload[..]));
        prop_assert_eq!((read.pkid, read.retain, read.dup), (id.unwrap_or(0), is_retained, false));
        prop_assert_eq!(read.properties, None);

        // A broker writes the same packet.
        for version in [V311, V5] {
            let mut bytes = Vec::new();
            publish(version, &message, &mut bytes);
            let expected = Arrived::Message {
                topic: topic.clone(),
                payload: payload.clone(),
                is_retained,
                id,
            };
            prop_assert_eq!(taken(version, &bytes), expected);
        }
    }

    #[test]
    fn noise_is_refused_or_waited_for_and_never_breaks_anything(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
        is_v5: bool,
    ) {
        let version = if is_v5 { V5 } else { V311 };
        while let Ok(Some(_)) = take(version, &mut bytes, 1_000) {}
    }
}

#[test]
fn subscriptions_read_as_meant() {
    let mut bytes = Vec::new();
    subscribe(V311, 7, "a/+", 1, &mut bytes);
    let v4::Packet::Subscribe(read) = read4(&bytes) else {
        panic!("a SUBSCRIBE was written");
    };
    assert_eq!((read.pkid, read.filters[0].path.as_str()), (7, "a/+"));
    assert_eq!(read.filters[0].qos, shared::QoS::AtLeastOnce);

    let mut bytes = Vec::new();
    subscribe(V5, 7, "a/+", 0, &mut bytes);
    let v5::Packet::Subscribe(read) = read5(&bytes) else {
        panic!("a SUBSCRIBE was written");
    };
    assert_eq!(read.pkid, 7);
    assert_eq!(
        read.filters,
        [v5::Filter::new("a/+", shared5::QoS::AtMostOnce)]
    );

    let mut bytes = Vec::new();
    unsubscribe(V311, 8, "a/+", &mut bytes);
    let v4::Packet::Unsubscribe(read) = read4(&bytes) else {
        panic!("an UNSUBSCRIBE was written");
    };
    assert_eq!((read.pkid, read.topics), (8, vec!["a/+".to_owned()]));

    let mut bytes = Vec::new();
    unsubscribe(V5, 8, "a/+", &mut bytes);
    let v5::Packet::Unsubscribe(read) = read5(&bytes) else {
        panic!("an UNSUBSCRIBE was written");
    };
    assert_eq!((read.pkid, read.filters), (8, vec!["a/+".to_owned()]));
}

#[test]
fn small_packets_read_as_meant() {
    let mut bytes = Vec::new();
    puback(513, &mut bytes);
    assert_eq!(read4(&bytes), v4::Packet::PubAck(v4::PubAck::new(513)));
    assert_eq!(
        read5(&bytes),
        v5::Packet::PubAck(v5::PubAck::new(513, None))
    );
    assert_eq!(read4(&PINGREQ), v4::Packet::PingReq);
    assert_eq!(read4(&DISCONNECT), v4::Packet::Disconnect);
}

#[test]
fn what_a_broker_of_3_1_1_says_is_read() {
    let refused = Arrived::ConnAck {
        code: 5,
        properties: Properties::default(),
    };
    let packet = v4::ConnAck::new(v4::ConnectReturnCode::NotAuthorized, false);
    assert_eq!(
        taken(V311, &written4(&v4::Packet::ConnAck(packet.clone()))),
        refused
    );
    // So answers a broker of 3.1.1 a client of 5.
    assert_eq!(taken(V5, &written4(&v4::Packet::ConnAck(packet))), refused);
    let acknowledged = Arrived::PubAck {
        id: 9,
        code: 0,
        words: None,
    };
    let packet = v4::Packet::PubAck(v4::PubAck::new(9));
    assert_eq!(taken(V311, &written4(&packet)), acknowledged);
    let codes = vec![v4::SubscribeReasonCode::Failure];
    let packet = v4::Packet::SubAck(v4::SubAck::new(1, codes));
    let granted = Arrived::SubAck {
        id: 1,
        code: 0x80,
        words: None,
    };
    assert_eq!(taken(V311, &written4(&packet)), granted);
    assert_eq!(
        taken(V311, &written4(&v4::Packet::PingResp)),
        Arrived::PingResp
    );
    assert_eq!(taken(V311, &[0xb0, 2, 0, 3]), Arrived::UnsubAck { id: 3 });
}

#[test]
fn what_a_broker_of_5_says_is_read() {
    let properties = v5::ConnAckProperties {
        session_expiry_interval: Some(0),
        receive_max: Some(20),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: Some(4_096),
        assigned_client_identifier: Some("auto".into()),
        topic_alias_max: Some(10),
        reason_string: Some("welcome".into()),
        user_properties: vec![("a".into(), "b".into())],
        wildcard_subscription_available: Some(1),
        subscription_identifiers_available: Some(1),
        shared_subscription_available: Some(1),
        server_keep_alive: Some(30),
        response_information: Some("r".into()),
        server_reference: Some("other:1883".into()),
        authentication_method: Some("m".into()),
        authentication_data: None,
    };
    let packet = v5::Packet::ConnAck(v5::ConnAck {
        session_present: false,
        code: v5::ConnectReturnCode::Success,
        properties: Some(properties),
    });
    let read = Arrived::ConnAck {
        code: 0,
        properties: Properties {
            receive_max: Some(20),
            packet_bytes_max: Some(4_096),
            qos_max: Some(1),
            retain_available: Some(false),
            keep_alive_s: Some(30),
            server_reference: Some("other:1883".into()),
            words: Some("welcome".into()),
        },
    };
    assert_eq!(taken(V5, &written5(&packet)), read);

    let packet = v5::Packet::PubAck(v5::PubAck {
        pkid: 9,
        reason: v5::PubAckReason::QuotaExceeded,
        properties: Some(v5::PubAckProperties {
            reason_string: Some("too much".into()),
            user_properties: vec![("a".into(), "b".into())],
        }),
    });
    let read = Arrived::PubAck {
        id: 9,
        code: 0x97,
        words: Some("too much".into()),
    };
    assert_eq!(taken(V5, &written5(&packet)), read);
    let short = Arrived::PubAck {
        id: 9,
        code: 0x10,
        words: None,
    };
    assert_eq!(taken(V5, &[0x40, 3, 0, 9, 0x10]), short);
    let suback = Arrived::SubAck {
        id: 1,
        code: 0x87,
        words: None,
    };
    assert_eq!(taken(V5, &[0x90, 4, 0, 1, 0, 0x87]), suback);
}

#[test]
fn a_reason_that_nobody_named_is_a_number() {
    let told = |code| Arrived::PubAck {
        id: 9,
        code,
        words: None,
    };
    // Mosquitto says 0x95 to a message beyond its message_size_limit; rumqttc would end there.
    assert_eq!(taken(V5, &[0x40, 3, 0, 9, 0x95]), told(0x95));
    assert_eq!(taken(V5, &[0x40, 4, 0, 9, 0xfe, 0]), told(0xfe));
    let gone = |code| Arrived::Disconnect { code, words: None };
    assert_eq!(taken(V5, &[0xe0, 0]), gone(0));
    assert_eq!(taken(V5, &[0xe0, 1, 0x8e]), gone(0x8e));
}

#[test]
fn what_is_no_packet_is_told() {
    let error = |bytes: &[u8]| take(V5, &mut bytes.to_vec(), 100).unwrap_err();
    assert_eq!(error(b"\x0a\0"), PacketError::Malformed { kind: 0 });
    assert_eq!(
        error(&[0x30, 0xff, 0xff, 0xff, 0xff]),
        PacketError::Malformed { kind: 3 }
    );
    assert_eq!(
        error(&[0x30, 100]),
        PacketError::TooLong {
            bytes: 102,
            bytes_max: 100
        }
    );
}
