//! With the broker inside over TLS, which demands certificates: the adversary has the certificate
//! of one device.

use std::fs;
use std::time::Duration;

use tidegate_tests::certificates::{Certificates, Flaw, Identity};
use tidegate_tests::connection::Connection;
use tidegate_tests::ports;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::wall::wait_until;

use super::expected;
use super::packets::{Client, Connect};
use super::table::{Table, closed, refusal};
use crate::passage;
use crate::wire::SITE;

#[test]
fn over_tls_nobody_comes_in_without_a_certificate_or_as_another() {
    let certificates = Certificates::new();
    let rig = Rig::free(CONFIGURATION);
    let port = inside_over_tls(&rig, &certificates);
    let mut gateway = rig.gateway(&[]);
    wait_until("the broker to answer", Duration::from_mins(1), || {
        ports::answers(port)
    });
    let mut table = Table::new("The broker inside over TLS, one certificate stolen:");
    let named = |name: &str| Connect {
        id: format!("tidegate-{SITE}-{name}"),
        ..Connect::default()
    };
    let mut raw = |attempt, bytes: &[u8]| {
        let mut client = Client::open(port).expect("the broker listens");
        // It may be closed before all is sent.
        let _ = client.send(bytes);
        table.note(attempt, closed(client.is_closed()));
    };
    raw("MQTT without TLS", &named("stolen").packet());
    raw("garbage", &[0x55; 4_096]);
    // A record of a handshake, of TLS 1.0 as all begin, with 512 bytes of nothing.
    raw(
        "a ClientHello of garbage",
        &[&[0x16, 3, 1, 2, 0][..], &[0xff; 512]].concat(),
    );
    raw(
        "a record longer than TLS allows",
        &[&[0x16, 3, 1, 0xff, 0xff][..], &[1; 512]].concat(),
    );

    let mut knock = |attempt, identity: Option<&Identity>, connect: &Connect| {
        let shaken = Connection::open(port).and_then(|plain| plain.into_tls(identity));
        let greeted = shaken.map_err(|_| None).map(Client::over);
        let greeted = greeted.and_then(|client| client.greet(connect));
        table.note(
            attempt,
            refusal(greeted.map_or_else(|code| code, |_| Some(0))),
        );
    };
    let stolen = certificates.known.client("stolen", Flaw::None);
    let unknown = certificates.unknown.client("pump-1", Flaw::None);
    let expired = certificates.known.client("pump-1", Flaw::Expired);
    knock("no certificate", None, &named("pump-1"));
    knock(
        "a certificate of an unknown authority",
        Some(&unknown),
        &named("pump-1"),
    );
    knock("an expired certificate", Some(&expired), &named("pump-1"));
    knock("another's client id", Some(&stolen), &named("pump-1"));
    let login = Some(("pump-1".to_owned(), "00".to_owned()));
    let as_user = Connect {
        login,
        ..named("stolen")
    };
    knock("another's user name", Some(&stolen), &as_user);
    knock("its own name", Some(&stolen), &named("stolen"));
    let shaken = Connection::open(port).and_then(|plain| plain.into_tls(Some(&stolen)));
    let mut inside = Client::over(shaken.expect("its certificate is good"));
    let _ = inside.send(&[0x55; 4_096]);
    table.note("garbage inside TLS", closed(inside.is_closed()));
    table.check(&expected::SECURED);
    assert!(gateway.stop(passage::STOP).success());
}

/// Has the broker inside speak TLS and demand certificates; its port.
fn inside_over_tls(rig: &Rig, certificates: &Certificates) -> u16 {
    let port = ports::free();
    let server = certificates.known.server(Flaw::None);
    let inside = format!(
        "embedded = {{ listen = \"127.0.0.1:{port}\", tls = {{ cert = \"{}\", \
         key = \"{}\", client_ca = \"{}\" }} }}",
        server.certificate.display(),
        server.key.display(),
        certificates.known.certificate.display()
    );
    let file = rig.path().join("tidegate.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    let url = format!("url = \"mqtt://127.0.0.1:{}\"", rig.broker.port);
    assert!(text.contains(&url));
    fs::write(&file, text.replace(&url, &inside)).expect("it can be written");
    port
}
