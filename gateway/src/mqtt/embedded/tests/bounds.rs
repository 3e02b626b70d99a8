//! What one client may take.

use tokio::io::AsyncWriteExt;

use super::*;
use crate::mqtt::embedded::{INNER_MAX, QUEUED_BYTES_MAX, SUBSCRIPTIONS_MAX};

/// CONNECT of MQTT 5 with this client id, clean, 30 s of keepalive.
fn connect_packet(id: &str) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x05\x02\x00\x1e\x00\x00".to_vec();
    rest.push(id.len() as u8);
    rest.extend_from_slice(id.as_bytes());
    let mut packet = vec![0x10, rest.len() as u8];
    packet.extend(rest);
    packet
}

#[tokio::test]
async fn what_is_no_mqtt_or_too_large_ends_its_connection_alone() {
    let mut rig = Rig::new(Access::default()).await;
    let mut other = Client::connect(rig.stranger("other")).await.unwrap();
    let mut garbage = rig.raw().await;
    garbage.write_all(&[0x55; 4_096]).await.unwrap();
    closed(garbage).await;
    assert_eq!(rig.refused().await, (Speaker::Unknown, Why::Malformed));
    let mut browser = rig.raw().await;
    let asked = format!("GET / HTTP/1.1\r\nAccept: {}\r\n\r\n", "x".repeat(80));
    browser.write_all(asked.as_bytes()).await.unwrap();
    closed(browser).await;
    assert_eq!(rig.refused().await.1, Why::Malformed);
    let mut large = rig.raw().await;
    large.write_all(&connect_packet("large")).await.unwrap();
    // PUBLISH that says it has 256 MiB, and does not even send them.
    large
        .write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1])
        .await
        .unwrap();
    closed(large).await;
    assert_eq!(rig.refused().await.1, Why::TooLarge);
    assert_eq!(other.publish("x", b"1").await, PubAckReason::Success);
}

#[tokio::test]
async fn who_says_nothing_is_let_go_and_holds_nobody_up() {
    let bounds = Bounds {
        handshake: Duration::from_secs(3),
        ..Bounds::default()
    };
    let mut rig = Rig::within(Access::default(), None, bounds).await;
    let silent = rig.raw().await;
    let mut half = rig.raw().await;
    let packet = connect_packet("half");
    half.write_all(&packet[..packet.len() / 2]).await.unwrap();
    let mut other = Client::connect(rig.stranger("other")).await.unwrap();
    closed(silent).await;
    closed(half).await;
    for _ in 0..2 {
        assert_eq!(rig.refused().await, (Speaker::Unknown, Why::Silent));
    }
    assert_eq!(other.publish("x", b"1").await, PubAckReason::Success);
}

#[tokio::test]
async fn a_client_has_so_many_subscriptions() {
    let rig = Rig::new(Access::default()).await;
    let mut client = Client::connect(rig.stranger("greedy")).await.unwrap();
    let filters: Vec<String> = (0..=SUBSCRIPTIONS_MAX).map(|n| format!("f/{n}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let codes = client.subscribe(&filters).await;
    let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
    let (first, last) = codes.split_at(SUBSCRIPTIONS_MAX);
    assert!(first.iter().all(|code| *code == granted));
    assert_eq!(last, [SubscribeReasonCode::QuotaExceeded]);
}

#[tokio::test]
async fn the_inner_listener_has_a_few_places_of_its_own() {
    let mut rig = Rig::new(registered(&["pump-1"])).await;
    let inner = rig.broker.inner_addr;
    let mut held = Vec::new();
    for _ in 0..INNER_MAX {
        held.push(TcpStream::connect(inner).await.unwrap());
    }
    closed(TcpStream::connect(inner).await.unwrap()).await;
    let refused = rig.refused().await;
    assert_eq!(refused, (Speaker::Unknown, Why::TooManyConnections));
    let mut pump = rig.device("pump-1").await;
    let up = "tidegate/v1/plant/pump-1/up";
    assert_eq!(pump.publish(up, b"1").await, PubAckReason::Success);
    drop(held);
    let (_link, mut events) = rig.gateway().await;
    assert_eq!(pump.publish(up, b"2").await, PubAckReason::Success);
    let heard = timeout(PATIENCE, events.recv()).await.unwrap();
    assert!(
        matches!(heard, Some(LinkEvent::Message { .. })),
        "{heard:?}"
    );
}

#[tokio::test]
async fn places_are_bounded_and_who_connects_takes_no_clients_place() {
    let bounds = Bounds {
        clients: 2,
        connecting_per_address: 3,
        spares_loopback: false,
        ..Bounds::default()
    };
    let mut rig = Rig::within(Access::default(), None, bounds).await;
    let _first = Client::connect(rig.stranger("first")).await.unwrap();
    let second = Client::connect(rig.stranger("second")).await.unwrap();
    let code = Client::refusal(rig.stranger("third")).await;
    assert_eq!(code, ConnectReturnCode::QuotaExceeded);
    assert_eq!(rig.refused().await.1, Why::TooManyConnections);
    let (_link, _events) = rig.gateway().await;
    let held = [rig.raw().await, rig.raw().await, rig.raw().await];
    closed(rig.raw().await).await;
    assert_eq!(rig.refused().await.1, Why::TooManyConnections);
    drop((held, second));
    let again = async {
        while Client::connect(rig.stranger("third")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again)
        .await
        .expect("the places are free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_slowed_down_and_nothing_of_it_lost() {
    const MESSAGES: usize = 60;
    let bounds = Bounds {
        messages_per_s: 40,
        ..Bounds::default()
    };
    let mut rig = Rig::within(registered(&["pump-1"]), None, bounds).await;
    let (_link, mut events) = rig.gateway().await;
    let mut pump = rig.device("pump-1").await;
    for number in 0..MESSAGES {
        let payload = [number as u8];
        let acked = pump.publish("tidegate/v1/plant/pump-1/up", &payload).await;
        assert_eq!(acked, PubAckReason::Success);
    }
    let proved = Speaker::Proved(device("pump-1"));
    assert_eq!(rig.refused().await, (proved, Why::TooFast));
    for number in 0..MESSAGES {
        let heard = timeout(PATIENCE, events.recv()).await.unwrap();
        let Some(LinkEvent::Message { payload, .. }) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!(payload, [number as u8]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_fills_its_queue_and_holds_nobody_up() {
    const MESSAGES: usize = 3_000;
    let bounds = Bounds {
        messages_per_s: u64::MAX,
        bytes_per_s: u64::MAX,
        ..Bounds::default()
    };
    let rig = Rig::within(Access::default(), None, bounds).await;
    let (link, mut events) = rig.gateway().await;
    let mut deaf = Client::connect(rig.stranger("deaf")).await.unwrap();
    deaf.subscribe(&["#"]).await;
    let mut loud = Client::connect(rig.stranger("loud")).await.unwrap();
    let flood = async {
        for _ in 0..MESSAGES {
            let acked = loud.publish("tidegate/v1/plant/loud/up", &[7; 8_000]).await;
            assert_eq!(acked, PubAckReason::Success);
        }
    };
    let listen = async {
        for _ in 0..MESSAGES {
            let heard = events.recv().await;
            assert!(matches!(heard, Some(LinkEvent::Message { .. })));
        }
    };
    let both = async { tokio::join!(flood, listen) };
    timeout(3 * PATIENCE, both).await.expect("the others go on");
    let queue = rig.broker.house.router.queue_handle("deaf");
    let bytes = queue.count() * 8_000;
    assert!(bytes <= QUEUED_BYTES_MAX, "{bytes} bytes wait");
    assert!(
        bytes > QUEUED_BYTES_MAX / 2,
        "the test would show nothing: {bytes} bytes"
    );
    assert_eq!(link.counters().lost, 0);
    drop(deaf);
    let emptied = async {
        while rig.broker.house.router.queue_handle("deaf").count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, emptied)
        .await
        .expect("who left leaves nothing");
}
