//! HTTP over TLS against servers whose certificates, or whose demands, are right and wrong.

use std::net::SocketAddr;
use std::path::Path;

use super::tests::{batch, of_keys};
use super::*;
use crate::sinks::tls::authority::{Authority, Flaw, Identity, serve};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn sink(address: SocketAddr, host: &str, tls: &str) -> HttpSink {
    let port = address.port();
    of_keys(&format!(
        "type = \"http\"\nurl = \"https://{host}:{port}/\"\ntls = {{ {tls} }}\ntimeout = \"10s\""
    ))
}

fn ca(path: &Path) -> String {
    format!("ca = \"{}\"", path.display())
}

fn with_client(authority: &Authority, name: &str, client: &Identity) -> String {
    let cert = authority.write(&format!("{name}.pem"), &client.cert);
    let key = authority.write(&format!("{name}.key"), &client.key);
    format!(
        "{}, cert = \"{}\", key = \"{}\"",
        ca(&authority.file()),
        cert.display(),
        key.display()
    )
}

/// What is said of a batch that was not sent.
async fn refusal(mut sink: HttpSink) -> String {
    let answer = sink.deliver(&batch()).await;
    match answer.outcome {
        Outcome::Broken { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_by_name_and_by_address() {
    let authority = Authority::new("plant");
    for host in ["localhost", "127.0.0.1"] {
        let identity = authority.issue(host, Flaw::None);
        let address = serve(Authority::server(&identity, None), OK).await;
        let mut sink = sink(address, host, &ca(&authority.file()));
        assert_eq!(sink.deliver(&batch()).await.outcome, Outcome::Confirmed);
    }
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_told_by_what_is_wrong_with_it() {
    let authority = Authority::new("plant");
    let trusted = ca(&authority.file());
    let stranger = Authority::new("stranger");
    for (identity, said) in [
        (
            authority.issue("other.example", Flaw::None),
            &["wrong name", "other.example", "localhost"][..],
        ),
        (
            authority.issue("10.1.2.3", Flaw::None),
            &["wrong name", "10.1.2.3", "localhost"],
        ),
        (
            authority.issue("localhost", Flaw::Expired),
            &["expired", "2001-02-03T00:00:00Z", "clock"],
        ),
        (
            authority.issue("localhost", Flaw::NotYetValid),
            &["not valid yet", "3001-02-03T00:00:00Z", "clock"],
        ),
        (
            stranger.issue("localhost", Flaw::None),
            &["unknown authority", "tls.ca = ", "ca.pem"],
        ),
    ] {
        let address = serve(Authority::server(&identity, None), OK).await;
        let why = refusal(sink(address, "localhost", &trusted)).await;
        for part in said {
            assert!(why.contains(part), "wanted {part:?}, said: {why}");
        }
    }
}

#[tokio::test]
async fn without_tls_ca_a_private_authority_is_unknown() {
    let authority = Authority::new("plant");
    let identity = authority.issue("localhost", Flaw::None);
    let address = serve(Authority::server(&identity, None), OK).await;
    let why = refusal(sink(address, "localhost", "")).await;
    // Or the machine that tests has no authorities at all.
    assert!(
        why.contains("set tls.ca") && (why.contains("unknown") || why.contains("install")),
        "{why}"
    );
}

#[tokio::test]
async fn a_server_may_demand_a_certificate_of_the_client() {
    let authority = Authority::new("plant");
    let stranger = Authority::new("stranger");
    let identity = authority.issue("localhost", Flaw::None);
    let server = || Authority::server(&identity, Some(&authority));
    let address = serve(server(), OK).await;

    let client = with_client(&authority, "client", &authority.issue("hall", Flaw::None));
    let mut right = sink(address, "localhost", &client);
    assert_eq!(right.deliver(&batch()).await.outcome, Outcome::Confirmed);

    let why = refusal(sink(address, "localhost", &ca(&authority.file()))).await;
    assert!(why.contains("demands a client's certificate"), "{why}");
    assert!(why.contains("tls.cert and tls.key"), "{why}");

    let expired = with_client(&authority, "old", &authority.issue("hall", Flaw::Expired));
    let why = refusal(sink(address, "localhost", &expired)).await;
    assert!(why.contains("refuses the client's certificate"), "{why}");
    assert!(why.contains("old.pem") && why.contains("expired"), "{why}");

    let unknown = with_client(&authority, "strange", &stranger.issue("hall", Flaw::None));
    let why = refusal(sink(address, "localhost", &unknown)).await;
    assert!(why.contains("refuses the client's certificate"), "{why}");
    assert!(why.contains("strange.pem"), "{why}");
}

#[tokio::test]
async fn a_renewed_certificate_is_read_without_a_restart() {
    let authority = Authority::new("plant");
    let identity = authority.issue("localhost", Flaw::None);
    let address = serve(Authority::server(&identity, Some(&authority)), OK).await;
    let keys = with_client(
        &authority,
        "client",
        &authority.issue("hall", Flaw::Expired),
    );
    let mut sink = sink(address, "localhost", &keys);
    let answer = sink.deliver(&batch()).await;
    assert!(
        matches!(answer.outcome, Outcome::Broken { .. }),
        "{answer:?}"
    );
    let _ = with_client(&authority, "client", &authority.issue("hall", Flaw::None));
    assert_eq!(sink.deliver(&batch()).await.outcome, Outcome::Confirmed);
}

#[tokio::test]
async fn a_missing_file_needs_a_person_and_not_the_gateways_end() {
    let mut sink = of_keys(
        "type = \"http\"\nurl = \"https://localhost:1/\"\ntls = { ca = \"/nowhere/ca.pem\" }",
    );
    let answer = sink.deliver(&batch()).await;
    let Outcome::Broken { why } = answer.outcome else {
        panic!("{answer:?}");
    };
    assert!(why.contains("tls.ca = /nowhere/ca.pem"), "{why}");
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let reply = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(reply).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let authority = Authority::new("plant");
    let why = refusal(sink(address, "localhost", &ca(&authority.file()))).await;
    assert!(why.contains("does not speak TLS"), "{why}");
}
