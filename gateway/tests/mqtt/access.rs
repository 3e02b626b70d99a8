//! A Mosquitto that knows the devices by files of ours, over TLS with clients' certificates.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rumqttc::Transport;
use rumqttc::v5::ConnectionError;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use tidegate_gateway::mqtt::mosquitto::{acl, passwords};
use tidegate_gateway::rules::settings::TlsSettings;
use tidegate_gateway::sinks::tls::client_config;
use tidegate_shared::ids::DeviceName;

use super::*;

const GATEWAY_USER: &str = "tidegate-gateway";
const DEVICES: [&str; 2] = ["pump-1", "pump-2"];

/// An authority whose files stand in a folder.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "plant");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate and its key, as files.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        );
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    fn tls(&self, name: Option<&str>) -> TlsSettings {
        TlsSettings {
            ca: Some(self.file("ca.pem")),
            client: name.map(|name| self.issue(name)),
            ..TlsSettings::default()
        }
    }

    async fn mosquitto(&self) -> Mosquitto {
        let (cert, key) = self.issue("127.0.0.1");
        let ca = self.file("ca.pem");
        Mosquitto::start_with(|folder| {
            let (acl_file, password_file) = (folder.join("acl"), folder.join("passwords"));
            let devices = DEVICES.map(|name| DeviceName::try_from(name).unwrap());
            std::fs::write(&acl_file, acl(&site(), GATEWAY_USER, &devices)).unwrap();
            let users = [GATEWAY_USER, DEVICES[0], DEVICES[1]];
            let users = users.map(|user| (user, format!("{user}-key")));
            let users = users.iter().map(|(user, key)| (*user, key.as_str()));
            std::fs::write(&password_file, passwords(users).unwrap()).unwrap();
            format!(
                "user root\nallow_anonymous false\nuse_username_as_clientid true\n\
                 cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
                 acl_file {}\npassword_file {}\n",
                ca.display(),
                cert.display(),
                key.display(),
                acl_file.display(),
                password_file.display()
            )
        })
        .await
    }

    fn options(&self, address: SocketAddr, name: &str, password: &str) -> MqttOptions {
        let id = format!("tidegate-pump-house-{name}");
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        let config = client_config(&self.tls(Some(name))).unwrap();
        options
            .set_transport(Transport::tls_with_config(config.into()))
            .set_credentials(name, password);
        options
    }
}

async fn refused(options: MqttOptions) -> ConnectionError {
    let (_client, mut events) = AsyncClient::new(options, 8);
    loop {
        match timeout(PATIENCE, events.poll()).await.expect("an answer") {
            Ok(Event::Incoming(Packet::ConnAck(ack))) => panic!("it was let in: {ack:?}"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_keeps_devices_apart_by_files_of_ours() {
    let authority = Authority::new();
    let broker = authority.mosquitto().await;
    let address = broker.address;
    let gateway = Broker {
        credentials: Some((GATEWAY_USER.into(), format!("{GATEWAY_USER}-key"))),
        tls: Some(authority.tls(Some(GATEWAY_USER))),
        ..Broker::at(address)
    };
    let will = Will {
        topic: GATEWAY.into(),
        payload: b"offline".to_vec(),
        retained: true,
    };
    let (link, mut events) = connect(&gateway, &site(), "tidegate-gw-1", will);
    subscribed(&mut events).await;

    let options = authority.options(address, "pump-1", "pump-1-key");
    let mut pump = Device::with(options, Some(STATUS));
    pump.client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    pump.packet(|packet| matches!(packet, Packet::SubAck(_)).then_some(()))
        .await;
    let reason = |packet| match packet {
        Packet::PubAck(ack) => Some(ack.reason),
        _ => None,
    };
    for topic in ["tidegate/v1/pump-house/pump-2/up", DOWN, GATEWAY, "x"] {
        pump.publish(topic, "lie", false).await;
        assert_eq!(
            pump.packet(reason).await,
            PubAckReason::NotAuthorized,
            "{topic}"
        );
    }
    pump.publish(UP, "true", false).await;
    assert_eq!(pump.packet(reason).await, PubAckReason::Success);
    assert_eq!(message(&mut events).await.0, said(UP, b"true", false));
    for topic in ["tidegate/v1/pump-house/pump-2/down", DOWN] {
        assert!(link.publish(topic, b"hello".to_vec(), false, None));
    }
    let heard = pump.packet(|packet| match packet {
        Packet::Publish(publish) => Some(publish.topic),
        _ => None,
    });
    assert_eq!(&heard.await[..], DOWN.as_bytes(), "another's was not heard");

    let wrong = refused(authority.options(address, "pump-1", "pump-2-key")).await;
    assert!(
        matches!(wrong, ConnectionError::ConnectionRefused(_)),
        "{wrong:?}"
    );
    let mut bare = authority.options(address, "pump-2", "pump-2-key");
    let config = client_config(&authority.tls(None)).unwrap();
    bare.set_transport(Transport::tls_with_config(config.into()));
    let bare = refused(bare).await;
    assert!(
        !matches!(bare, ConnectionError::ConnectionRefused(_)),
        "{bare:?}"
    );
    // Mosquitto lets in who has another's will, but does not publish it.
    let mut willed = authority.options(address, "pump-2", "pump-2-key");
    willed.set_last_will(LastWill::new(STATUS, "lie", QoS::AtLeastOnce, true, None));
    let mut willed = Device::with(willed, None);
    willed
        .packet(|packet| matches!(packet, Packet::ConnAck(_)).then_some(()))
        .await;
    willed.polling.abort();
    drop(willed);
    let log = broker.folder.path().join("log");
    let closed = async {
        let is_told = |line: &str| line.contains("pump-2") && line.contains("closed");
        while !std::fs::read_to_string(&log).unwrap().lines().any(is_told) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("Mosquitto tells it");
    pump.publish(UP, "still", false).await;
    assert_eq!(message(&mut events).await.0, said(UP, b"still", false));
}
