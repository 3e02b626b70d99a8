//! The HTTP sink against a receiver that answers, fails and hangs on command.

use std::io::Read;
use std::net::SocketAddr;

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::record::example;
use crate::rules::Priority;
use crate::rules::settings::{Endpoint, HttpFormat};

fn batch() -> Arc<Batch> {
    Arc::new(Batch {
        class: Priority::Normal,
        first: 0,
        last: 0,
        records: vec![example(7)],
        body: b"{\"id\":\"07\"}\n".repeat(50),
        ends: vec![600],
        indices: vec![1],
    })
}

/// A request as it came over the wire.
struct Request {
    connection: u64,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A receiver that answers each request with the next reply; `None` hangs, an empty one hangs up.
async fn receiver(replies: Vec<Option<&'static str>>) -> (SocketAddr, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, seen) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut replies = replies.into_iter();
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some((head, body)) = read_request(&mut stream).await {
                let request = Request {
                    connection,
                    head,
                    body,
                };
                requests.send(request).await.unwrap();
                match replies.next().unwrap() {
                    None => std::future::pending().await,
                    Some("") => break,
                    Some(reply) => stream.write_all(reply.as_bytes()).await.unwrap(),
                }
            }
        }
    });
    (address, seen)
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = bytes.split_off(head_end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.unwrap() == 0 {
            return None;
        }
    }
    Some((head, body))
}

fn http_sink(url: &str, gzip: bool, timeout_ms: u64) -> Result<HttpSink, SinkError> {
    let compression = if gzip {
        Compression::Gzip
    } else {
        Compression::None
    };
    let settings = HttpSettings {
        endpoint: Endpoint::plain(url),
        format: HttpFormat::Ndjson,
        compression,
    };
    HttpSink::new("cloud", &settings, Duration::from_millis(timeout_ms))
}

fn sink(address: SocketAddr, gzip: bool, timeout_ms: u64) -> HttpSink {
    let url = format!("http://{address}/records?site=a");
    http_sink(&url, gzip, timeout_ms).unwrap()
}

const OK: Option<&str> = Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

#[tokio::test]
async fn a_batch_is_one_post_and_the_connection_is_kept() {
    let (address, mut seen) = receiver(vec![OK, OK]).await;
    let sink = sink(address, false, 5_000);
    let answer = sink.attempt(&batch()).await;
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
    sink.attempt(&batch()).await;
    assert_eq!(seen.recv().await.unwrap().connection, request.connection);
}

#[tokio::test]
async fn gzip_says_so_and_repeats_itself() {
    let (address, mut seen) = receiver(vec![Some(""), OK]).await;
    let sink = sink(address, true, 5_000);
    assert!(matches!(
        sink.attempt(&batch()).await.outcome,
        Outcome::Retry { .. }
    ));
    let answer = sink.attempt(&batch()).await;
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
    let sink = sink(address, false, 300);
    assert_eq!(sink.attempt(&batch()).await.outcome, Outcome::Confirmed);
    assert_eq!(sink.attempt(&batch()).await.outcome, Outcome::Confirmed);
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
        // A machine without CA certificates has no https sink at all, and says so.
        match http_sink(&url, false, 5_000) {
            Ok(sink) => Some(sink.attempt(&batch()).await.outcome),
            Err(error) => {
                assert!(error.to_string().contains("CA certificates"), "{error}");
                None
            }
        }
    };
    let tls = deliver(format!("https://{plain}/")).await;
    assert!(
        matches!(tls, None | Some(Outcome::Broken { .. })),
        "{tls:?}"
    );
    let unresolved = deliver(format!("http://no-such-host.invalid:{}/", address.port())).await;
    assert!(
        matches!(unresolved, Some(Outcome::Broken { .. })),
        "{unresolved:?}"
    );
}

#[test]
fn every_status_has_its_class() {
    let class = |code| match classify(StatusCode::from_u16(code).unwrap(), None, b"") {
        Outcome::Confirmed => "confirmed",
        Outcome::Retry { .. } => "retry",
        Outcome::Broken { .. } => "broken",
        Outcome::TooLarge { .. } => "too large",
        Outcome::Refused { .. } => "refused",
    };
    for (codes, expected) in [
        (&[200, 201, 202, 204, 206][..], "confirmed"),
        (&[408, 425, 429, 500, 501, 502, 503, 504, 507, 599], "retry"),
        (&[300, 301, 302, 304, 307, 308], "broken"),
        (&[413], "too large"),
        (&[401, 403, 404, 405, 407, 421], "broken"),
        (
            &[400, 402, 406, 409, 410, 411, 415, 418, 422, 451],
            "refused",
        ),
    ] {
        for code in codes {
            assert_eq!(class(*code), expected, "{code}");
        }
    }
}

#[test]
fn a_refusal_shows_what_the_receiver_said_on_one_line() {
    let outcome = classify(
        StatusCode::BAD_REQUEST,
        None,
        b" no field\n\"unit\" \x1b[31m",
    );
    let Outcome::Refused { why } = outcome else {
        panic!("400 refuses");
    };
    assert_eq!(why, "HTTP 400 Bad Request: no field \"unit\"  [31m");
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let after = |retry: &str, date: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after_us(&headers)
    };
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(after("120", None), Some(120_000_000));
    assert_eq!(after("99999999999999999999", None), None);
    assert_eq!(after("18446744073709551615", None), Some(u64::MAX));
    assert_eq!(
        after("Sun, 06 Nov 1994 08:50:37 GMT", date),
        Some(60_000_000)
    );
    assert_eq!(after("Sun, 06 Nov 1994 08:48:37 GMT", date), None);
    assert_eq!(after("Sun, 06 Nov 1994 08:48:37 GMT", None), None);
    assert_eq!(after("soon", date), None);
}

#[tokio::test]
async fn a_token_in_the_url_stays_out_of_what_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/records?token=s3cret",
        closed.local_addr().unwrap()
    );
    drop(closed);
    let sink = http_sink(&url, false, 5_000).unwrap();
    let said = format!("{:?}", sink.attempt(&batch()).await.outcome);
    assert!(said.contains("Retry") && !said.contains("s3cret"), "{said}");
}
