//! TLS: of the broker, and of devices with certificates.

use rumqttc::Transport;

use super::*;
use crate::mqtt::polling::told;
use crate::mqtt::{Broker, Link};
use crate::rules::settings::TlsSettings;
use crate::sinks::tls::authority::{Authority, Flaw};
use crate::sinks::tls::client_config;

struct Certified {
    house: Authority,
    devices: Authority,
    tls: ServeTls,
}

impl Certified {
    fn new(asks_devices: bool) -> Self {
        let (house, devices) = (Authority::new("house"), Authority::new("devices"));
        let own = house.issue("127.0.0.1", Flaw::None);
        let tls = ServeTls {
            cert: house.write("cert.pem", &own.cert),
            key: house.write("key.pem", &own.key),
            client_ca: asks_devices.then(|| devices.file()),
        };
        Self {
            house,
            devices,
            tls,
        }
    }

    /// What a client has that trusts the broker, and shows a certificate that `by` issued.
    fn client(&self, shown: Option<(&Authority, &str, Flaw)>) -> TlsSettings {
        let client = shown.map(|(by, name, flaw)| {
            let own = by.issue(name, flaw);
            (
                by.write("client-cert.pem", &own.cert),
                by.write("client-key.pem", &own.key),
            )
        });
        TlsSettings {
            ca: Some(self.house.file()),
            client,
            ..TlsSettings::default()
        }
    }
}

fn over_tls(mut options: MqttOptions, tls: &TlsSettings) -> MqttOptions {
    let config = client_config(tls).unwrap();
    options.set_transport(Transport::tls_with_config(config.into()));
    options
}

/// Why a client cannot connect.
async fn why(options: MqttOptions, tls: &TlsSettings) -> String {
    match Client::connect(over_tls(options, tls)).await {
        Ok(_) => String::new(),
        Err(broken) => told(&broken, Some(tls)),
    }
}

#[tokio::test]
async fn a_link_over_tls_trusts_its_authority_alone() {
    let certified = Certified::new(false);
    let mut rig = Rig::within(Access::default(), Some(&certified.tls), Bounds::default()).await;
    let tls = certified.client(None);
    let broker = Broker {
        tls: Some(tls.clone()),
        ..Broker::at(rig.address())
    };
    let will = Will {
        topic: "tidegate/v1/plant/gateway".into(),
        payload: Vec::new(),
        retained: false,
    };
    let (link, mut events) = connect(&broker, &site(), "tidegate-gw-8", will);
    let first = timeout(PATIENCE, events.recv()).await.unwrap();
    assert!(matches!(first, Some(LinkEvent::Subscribed)), "{first:?}");
    assert!(link.publish("tidegate/v1/plant/pump-1/up", vec![1], false, None));
    let heard = timeout(PATIENCE, events.recv()).await.unwrap();
    assert!(
        matches!(heard, Some(LinkEvent::Message { .. })),
        "{heard:?}"
    );

    let distrusting = TlsSettings {
        ca: Some(certified.devices.file()),
        ..tls.clone()
    };
    let said = why(rig.stranger("a"), &distrusting).await;
    assert!(said.contains("unknown authority: none in tls.ca"), "{said}");
    assert_eq!(rig.refused().await.1, Why::NoTls);
    let mut elsewhere = MqttOptions::new("b", "localhost", rig.address().port());
    elsewhere.set_connection_timeout(PATIENCE.as_secs());
    let said = why(elsewhere, &tls).await;
    assert!(
        said.contains("wrong name: the server's certificate is for 127.0.0.1"),
        "{said}"
    );
    let plain = Client::connect(rig.stranger("c")).await;
    assert!(plain.is_err(), "without TLS nothing is said");
}

#[tokio::test]
async fn a_certificate_is_demanded_and_is_the_devices_name() {
    let certified = Certified::new(true);
    let bounds = Bounds::default();
    let access = registered(&["pump-1", "pump-2"]);
    let mut rig = Rig::within(access, Some(&certified.tls), bounds).await;
    let (_link, mut events) = rig.gateway().await;
    let id = "tidegate-plant-pump-1";

    let said = why(rig.options("pump-1"), &certified.client(None)).await;
    assert!(said.contains("set tls.cert and tls.key"), "{said}");
    assert_eq!(rig.refused().await.1, Why::NoTls);
    let strange = certified.client(Some((&certified.house, "pump-1", Flaw::None)));
    let said = why(rig.stranger(id), &strange).await;
    assert!(
        said.contains("refuses the client's certificate tls.cert"),
        "{said}"
    );
    let expired = certified.client(Some((&certified.devices, "pump-1", Flaw::Expired)));
    let said = why(rig.stranger(id), &expired).await;
    assert!(said.contains("it has expired"), "{said}");
    for _ in 0..2 {
        assert_eq!(rig.refused().await.1, Why::NoTls);
    }

    let right = certified.client(Some((&certified.devices, "pump-1", Flaw::None)));
    let mut pump = Client::connect(over_tls(rig.stranger(id), &right))
        .await
        .unwrap();
    let topic = "tidegate/v1/plant/pump-1/up";
    assert_eq!(pump.publish(topic, b"1").await, PubAckReason::Success);
    let heard = timeout(PATIENCE, events.recv()).await.unwrap();
    assert!(
        matches!(heard, Some(LinkEvent::Message { .. })),
        "{heard:?}"
    );
    let other = pump.publish("tidegate/v1/plant/pump-2/up", b"1").await;
    assert_eq!(other, PubAckReason::NotAuthorized);
    let proved = Speaker::Proved(device("pump-1"));
    assert_eq!(rig.refused().await, (proved.clone(), Why::ForeignTopic));
    // Its password is right, but the certificate is another device's.
    let stolen = Client::refusal(over_tls(rig.options("pump-2"), &right)).await;
    assert_eq!(stolen, ConnectReturnCode::ClientIdentifierNotValid);
    assert_eq!(rig.refused().await, (proved, Why::ForeignName));
    let nameless = certified.client(Some((&certified.devices, "no name", Flaw::None)));
    let code = Client::refusal(over_tls(rig.stranger(id), &nameless)).await;
    assert_eq!(code, ConnectReturnCode::NotAuthorized);
    assert_eq!(rig.refused().await.1, Why::NamelessCertificate);
    rig.doorkeeper.set(registered(&["pump-2"]));
    pump.ended().await;
}

#[tokio::test]
async fn a_handshake_that_is_held_holds_nobody_up() {
    let certified = Certified::new(false);
    let bounds = Bounds {
        handshake: Duration::from_secs(3),
        ..Bounds::default()
    };
    let mut rig = Rig::within(Access::default(), Some(&certified.tls), bounds).await;
    let held = [rig.raw().await, rig.raw().await];
    let tls = certified.client(None);
    let _other = Client::connect(over_tls(rig.stranger("other"), &tls))
        .await
        .unwrap();
    for stream in held {
        closed(stream).await;
        assert_eq!(rig.refused().await, (Speaker::Unknown, Why::Silent));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let certified = Certified::new(true);
    let listen = "127.0.0.1:0".parse().unwrap();
    let begin = |tls: ServeTls| async move {
        let (doorkeeper, _) = Doorkeeper::new(site(), GATEWAY_ID.into()).unwrap();
        let clock = Arc::new(SystemClock::new());
        let started = super::super::start(listen, Some(&tls), doorkeeper, clock);
        started.await.map(|_| ()).unwrap_err().to_string()
    };
    let missing = ServeTls {
        client_ca: Some("/nowhere/ca.pem".into()),
        ..certified.tls.clone()
    };
    let said = begin(missing).await;
    assert!(
        said.contains("mqtt.embedded.tls.client_ca = /nowhere/ca.pem"),
        "{said}"
    );
    let swapped = ServeTls {
        cert: certified.tls.key.clone(),
        ..certified.tls.clone()
    };
    let said = begin(swapped).await;
    assert!(said.contains("mqtt.embedded.tls.cert"), "{said}");
    let other = certified.devices.issue("127.0.0.1", Flaw::None);
    let unpaired = ServeTls {
        key: certified.devices.write("other.pem", &other.key),
        ..certified.tls.clone()
    };
    let said = begin(unpaired).await;
    assert!(said.contains("do not go together"), "{said}");
}
