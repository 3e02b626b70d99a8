//! The HTTP sink against a receiver that answers, fails and hangs on command.

use std::io::Read;
use std::net::SocketAddr;

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::receiver::{Request, receiver, receiver_that_hangs_up};
use super::*;
use crate::record::example;
use crate::rules::Priority;
use crate::rules::parse;

pub(super) fn batch() -> Arc<Batch> {
    let body = b"{\"id\":\"07\"}\n".repeat(50);
    Arc::new(Batch {
        class: Priority::Normal,
        first: 0,
        last: 0,
        records: vec![example(7)],
        ends: vec![body.len()],
        indices: vec![1],
        body,
    })
}

/// A sink, of its keys.
pub(super) fn of_keys(typed: &str) -> HttpSink {
    let text = format!(
        "[gateway]\nsite = \"hall\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[sink.up]\n{typed}\n\
         [[rule]]\nname = \"r\"\nmatch = {{ sensor = \"*\" }}\nforward = [\"up\"]\n"
    );
    let (settings, _) = parse(&text, "t.toml").unwrap_or_else(|why| panic!("{typed}: {why:#?}"));
    let settings = &settings.sinks[0];
    HttpSink::new(settings, form_of(&settings.kind).unwrap())
}

fn sink(address: SocketAddr, gzip: bool, timeout_ms: u64) -> HttpSink {
    let compress = if gzip { "gzip" } else { "none" };
    of_keys(&format!(
        "type = \"http\"\nurl = \"http://{address}/records?site=a\"\ncompress = \"{compress}\"\n\
         timeout = \"{timeout_ms}ms\""
    ))
}

const OK: Option<&str> = Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

#[tokio::test]
async fn a_batch_is_one_post_and_the_connection_is_kept() {
    let (address, mut seen) = receiver(vec![OK, OK]).await;
    let mut sink = sink(address, false, 5_000);
    let answer = sink.deliver(&batch()).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert_eq!(answer.sent_bytes, 600);
    let request = seen.recv().await.unwrap();
    assert!(
        request
            .head
            .starts_with("POST /records?site=a HTTP/1.1\r\n")
    );
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(request.header("content-encoding"), None);
    assert_eq!(
        request.header("idempotency-key"),
        Some(batch().key().as_str())
    );
    assert_eq!(request.body, batch().body);
    let response_head = OK.unwrap().len() - 2;
    assert_eq!(
        answer.header_bytes,
        (request.head.len() + response_head) as u64,
        "{}",
        request.head
    );
    sink.deliver(&batch()).await;
    assert_eq!(seen.recv().await.unwrap().connection, request.connection);
}

#[tokio::test]
async fn gzip_says_so_and_repeats_itself() {
    let (address, mut seen) = receiver(vec![Some(""), OK]).await;
    let mut sink = sink(address, true, 5_000);
    assert!(matches!(
        sink.deliver(&batch()).await.outcome,
        Outcome::Retry { .. }
    ));
    let answer = sink.deliver(&batch()).await;
    assert_eq!(answer.outcome, Outcome::Confirmed);
    let (first, second) = (seen.recv().await.unwrap(), seen.recv().await.unwrap());
    assert_eq!(first.body, second.body);
    assert_eq!(first.head, second.head);
    assert_eq!(second.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.sent_bytes, second.body.len() as u64);
    assert!(answer.sent_bytes < 100);
    let mut plain = Vec::new();
    GzDecoder::new(&second.body[..])
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(plain, batch().body);
    let response_head = OK.unwrap().len() - 2;
    assert_eq!(
        answer.header_bytes,
        (second.head.len() + response_head) as u64
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_does_not_confirm() {
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n";
    let (address, mut seen) = receiver(vec![Some(moved)]).await;
    let answer = sink(address, false, 5_000).deliver(&batch()).await;
    assert!(
        matches!(answer.outcome, Outcome::Broken { .. }),
        "{answer:?}"
    );
    assert!(seen.recv().await.is_some());
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_away_is_tried_again() {
    let (address, _seen) = receiver(vec![None]).await;
    let answer = sink(address, false, 200).deliver(&batch()).await;
    assert!(
        matches!(answer.outcome, Outcome::Retry { .. }),
        "{answer:?}"
    );
    assert_eq!(answer.sent_bytes, 600, "it may have been sent");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let answer = sink(address, false, 5_000).deliver(&batch()).await;
    assert!(
        matches!(answer.outcome, Outcome::Retry { .. }),
        "{answer:?}"
    );
    assert_eq!((answer.sent_bytes, answer.header_bytes), (0, 0));
}

#[tokio::test]
async fn a_success_counts_although_its_body_never_ends() {
    let endless = "HTTP/1.1 204 No Content\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this";
    let (address, _seen) = receiver(vec![Some(endless), Some(cut)]).await;
    let mut sink = sink(address, false, 300);
    assert_eq!(sink.deliver(&batch()).await.outcome, Outcome::Confirmed);
    assert_eq!(sink.deliver(&batch()).await.outcome, Outcome::Confirmed);
}

#[tokio::test]
async fn tls_to_a_plain_port_and_a_name_that_does_not_resolve_need_a_person() {
    let (address, _seen) = receiver(vec![]).await;
    let chatty = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = chatty.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = chatty.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let deliver = |url: String| async move {
        let mut sink = of_keys(&format!(
            "type = \"http\"\nurl = \"{url}\"\ntimeout = \"5s\""
        ));
        sink.deliver(&batch()).await.outcome
    };
    let tls = deliver(format!("https://{plain}/")).await;
    assert!(matches!(tls, Outcome::Broken { .. }), "{tls:?}");
    let unresolved = deliver(format!("http://no-such-host.invalid:{}/", address.port())).await;
    assert!(
        matches!(unresolved, Outcome::Broken { .. }),
        "{unresolved:?}"
    );
}

#[tokio::test]
async fn a_token_in_the_url_stays_out_of_what_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/records?token=s3cret",
        closed.local_addr().unwrap()
    );
    drop(closed);
    let mut sink = of_keys(&format!("type = \"http\"\nurl = \"{url}\""));
    let said = format!("{:?}", sink.deliver(&batch()).await.outcome);
    assert!(said.contains("Retry") && !said.contains("s3cret"), "{said}");
}

/// The head of a request by a sink of these keys, and whether its size was said right.
async fn head(typed: &str) -> Request {
    let (address, mut seen) = receiver(vec![OK]).await;
    let typed = typed.replace("ADDRESS", &address.to_string());
    let answer = of_keys(&typed).deliver(&batch()).await;
    assert_eq!(answer.outcome, Outcome::Confirmed, "{typed}");
    let request = seen.recv().await.unwrap();
    assert_eq!(request.body.len() as u64, answer.sent_bytes);
    let response_head = OK.unwrap().len() - 2;
    assert_eq!(
        answer.header_bytes,
        (request.head.len() + response_head) as u64,
        "{}",
        request.head
    );
    request
}

#[tokio::test]
async fn every_type_sends_its_headers_and_knows_their_size() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "open sesame\n").unwrap();
    let secret = format!("{{ file = \"{}\" }}", secret.display());
    for (keys, wanted) in [
        (
            format!(
                "type = \"http\"\nurl = \"http://ADDRESS/\"\nformat = \"json\"\ncompress = \"zstd\"\nauth = {{ user = \"Aladdin\", password = {secret} }}"
            ),
            vec![
                ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
                ("content-encoding", "zstd"),
                ("content-type", "application/json"),
            ],
        ),
        (
            "type = \"http\"\nurl = \"http://Aladdin:open%20sesame@ADDRESS/\"".to_owned(),
            vec![("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")],
        ),
        (
            format!(
                "type = \"influxdb\"\nurl = \"http://ADDRESS\"\napi = \"v2\"\norg = \"o\"\nbucket = \"b\"\nauth = {{ token = {secret} }}"
            ),
            vec![
                ("authorization", "Token open sesame"),
                ("content-type", "text/plain; charset=utf-8"),
            ],
        ),
        (
            format!(
                "type = \"prometheus\"\nurl = \"http://ADDRESS/api/v1/write\"\nauth = {{ bearer = {secret} }}\nheaders = {{ x-scope-orgid = \"7\", x-api-key = {secret} }}"
            ),
            vec![
                ("authorization", "Bearer open sesame"),
                ("content-encoding", "snappy"),
                ("x-prometheus-remote-write-version", "0.1.0"),
                ("x-scope-orgid", "7"),
                ("x-api-key", "open sesame"),
            ],
        ),
        (
            "type = \"otlp\"\nurl = \"http://ADDRESS/v1/metrics\"".to_owned(),
            vec![
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "gzip"),
            ],
        ),
    ] {
        let request = head(&keys).await;
        for (name, value) in wanted {
            assert_eq!(request.header(name), Some(value), "{}", request.head);
        }
        let keyed = keys.starts_with("type = \"http\"");
        assert_eq!(request.header("idempotency-key").is_some(), keyed);
    }
}

#[tokio::test]
async fn a_missing_secret_needs_a_person_and_a_new_one_is_read_without_a_restart() {
    const UNKNOWN: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 13\r\n\r\nnot first-one";
    let (address, mut seen) = receiver(vec![Some(UNKNOWN), OK, OK]).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let mut sink = of_keys(&format!(
        "type = \"http\"\nurl = \"http://{address}/\"\nauth = {{ bearer = {{ file = \"{}\" }} }}",
        token.display()
    ));
    let answer = sink.deliver(&batch()).await;
    let Outcome::Broken { why } = &answer.outcome else {
        panic!("{answer:?}");
    };
    assert!(why.contains(&token.display().to_string()), "{why}");
    assert_eq!((answer.sent_bytes, answer.header_bytes), (0, 0));
    assert!(seen.try_recv().is_err());

    std::fs::write(&token, "first-one").unwrap();
    let Outcome::Broken { why } = sink.deliver(&batch()).await.outcome else {
        panic!("401 is broken");
    };
    assert_eq!(why, "HTTP 401 Unauthorized: not *********");
    let request = seen.recv().await.unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer first-one"));

    std::fs::write(&token, "second-one").unwrap();
    assert_eq!(sink.deliver(&batch()).await.outcome, Outcome::Confirmed);
    let request = seen.recv().await.unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer second-one"));

    // What works is not read again.
    std::fs::remove_file(&token).unwrap();
    assert_eq!(sink.deliver(&batch()).await.outcome, Outcome::Confirmed);
}

#[tokio::test]
async fn half_an_answer_is_none_but_for_the_body_of_a_success() {
    for (reply, taken) in [
        ("HTTP/1.1 20", false),
        ("HTTP/1.1 200 OK\r\ncontent-le", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", true),
        ("HTTP/1.1 500 Oh\r\ncontent-length: 9\r\n\r\nhalf", false),
    ] {
        let (address, _seen) = receiver_that_hangs_up(reply).await;
        let outcome = sink(address, false, 5_000).deliver(&batch()).await.outcome;
        let is_taken = outcome == Outcome::Confirmed;
        assert_eq!(is_taken, taken, "{reply:?}: {outcome:?}");
        assert!(
            is_taken || matches!(outcome, Outcome::Retry { .. }),
            "{outcome:?}"
        );
    }
    // A collector's body says what it rejected.
    let reply =
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nhalf";
    let (address, _seen) = receiver_that_hangs_up(reply).await;
    let mut sink = of_keys(&format!(
        "type = \"otlp\"\nurl = \"http://{address}/v1/metrics\""
    ));
    let outcome = sink.deliver(&batch()).await.outcome;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
}
