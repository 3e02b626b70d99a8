//! The server over TLS.

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::requests::guarded;
use super::*;
use crate::http::check_tls;
use crate::rules::settings::{ServeTls, TlsSettings};
use crate::sinks::tls::authority::{Authority, Flaw};
use crate::sinks::tls::client_config;

fn settings(authority: &Authority, folder: &std::path::Path) -> ServeSettings {
    let identity = authority.issue("gateway.example", Flaw::None);
    ServeSettings {
        tls: Some(ServeTls {
            cert: authority.write("cert.pem", &identity.cert),
            key: authority.write("key.pem", &identity.key),
            client_ca: None,
        }),
        ..guarded(folder)
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_answered() {
    let (authority, folder) = (Authority::new("house"), tempfile::tempdir().unwrap());
    let served = serve(settings(&authority, folder.path()), |_| {}).await;
    let trust = TlsSettings {
        ca: Some(authority.file()),
        ..TlsSettings::default()
    };
    let connector = TlsConnector::from(Arc::new(client_config(&trust).unwrap()));
    let name = ServerName::try_from("gateway.example").unwrap();
    let stream = served.connect().await;
    let mut stream = connector.connect(name, stream).await.unwrap();
    let header = "Authorization: Bearer sesame\r\n";
    let asked = request("GET", "/api/v1/overview", header);
    // With a secret and without `hosts` any name will do: a machine has many.
    let asked = asked.replace("localhost", "gateway.example");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let heard = Heard::read(&mut stream).await;
    assert_eq!(heard.status, 200);
    assert_eq!(heard.json()["at"], "2026-03-01T12:30:00.000000Z");
}

#[tokio::test]
async fn who_speaks_no_tls_or_shakes_no_hand_is_let_go() {
    let (authority, folder) = (Authority::new("house"), tempfile::tempdir().unwrap());
    let served = serve(settings(&authority, folder.path()), |limits| {
        limits.handshake = Duration::from_millis(50);
    })
    .await;
    let mut plain = served.connect().await;
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    served.until(|counts| counts.malformed == 1).await;
    let _silent = served.connect().await;
    served.until(|counts| counts.slow == 1).await;
    served.until(|counts| counts.connections == 0).await;
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (authority, folder) = (Authority::new("house"), tempfile::tempdir().unwrap());
    let right = settings(&authority, folder.path());
    check_tls(&right).unwrap();
    let other = authority.issue("gateway.example", Flaw::None);
    let (other_key, nowhere) = (
        authority.write("other.pem", &other.key),
        folder.path().join("nowhere.pem"),
    );
    let tls = right.tls.clone().unwrap();
    for (cert, key, said) in [
        (&nowhere, &tls.key, ["http.tls.cert", "cannot be read"]),
        (&tls.cert, &nowhere, ["http.tls.key", "cannot be read"]),
        (
            &tls.key,
            &tls.key,
            ["http.tls.cert", "-----BEGIN CERTIFICATE-----"],
        ),
        (
            &tls.cert,
            &tls.cert,
            ["http.tls.key", "-----BEGIN PRIVATE KEY-----"],
        ),
        (&tls.cert, &other_key, ["cert.pem", "do not go together"]),
    ] {
        let (cert, key) = (cert.clone(), key.clone());
        let wrong = ServeSettings {
            tls: Some(ServeTls {
                cert,
                key,
                ..tls.clone()
            }),
            ..right.clone()
        };
        let why = check_tls(&wrong).unwrap_err().to_string();
        assert!(said.iter().all(|said| why.contains(said)), "{why}");
    }
}
