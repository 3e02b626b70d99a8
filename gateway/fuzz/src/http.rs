//! HTTP: bytes to whole servers on the loopback interface, which tell of a plant that is made up.
//!
//! The first byte, modulo 4, chooses how the rest is said; [`Way`] has them all. `hyper` reads the
//! head of a request; by the ways that make one, all that the rest says reaches the gateway.
//!
//! No bytes make it fail, and whoever has not shown the token is told nothing of the plant.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::{fs, io};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_gateway::http::Door;
use tidegate_gateway::http::answer::HEADERS;
use tidegate_gateway::rules::settings::{Secret, ServeSettings};
use tidegate_gateway::time::{Clock, Timestamp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::plant::{MadeUp, TELLTALE};
use crate::{converse, hear, holds, runtime};

/// What opens the guarded server.
const TOKEN: &str = "sesame";
/// The token's middle, in the three forms that base64 may give it.
const IN_BASE64: [&[u8]; 3] = [b"c2VzYW1l", b"zZXNhbW", b"Nlc2Ft"];
/// Between two looks at the clock, so that wrong passwords are forgotten and each is looked at.
const LEAP_US: u64 = 3_600_000_000;

/// How bytes are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As they are, to a server that asks for no token.
    Open,
    /// As they are, to one that does.
    Guarded,
    /// As the target of a request, behind its first `/`; to the open one.
    Target,
    /// As what a request shows as authorization; to the guarded one.
    Authorization,
}

impl Way {
    const ALL: [Self; 4] = [Self::Open, Self::Guarded, Self::Target, Self::Authorization];

    fn is_guarded(self) -> bool {
        matches!(self, Self::Guarded | Self::Authorization)
    }

    fn makes_a_request(self) -> bool {
        matches!(self, Self::Target | Self::Authorization)
    }

    /// What goes over the wire.
    fn say(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Open | Self::Guarded => bytes.to_vec(),
            Self::Target => request(&target(bytes), b""),
            Self::Authorization => request(b"api/v1/devices", bytes),
        }
    }
}

/// What runs as long as the process.
struct Running {
    runtime: Runtime,
    open: SocketAddr,
    guarded: SocketAddr,
    _dir: TempDir,
}

static RUNNING: LazyLock<Running> = LazyLock::new(|| start().expect("two servers can be had"));

fn start() -> io::Result<Running> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("token");
    fs::write(&file, TOKEN)?;
    let runtime = runtime();
    let anybody = ServeSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..ServeSettings::default()
    };
    let asking = ServeSettings {
        token: Some(Secret::File(file)),
        ..anybody.clone()
    };
    let serve = |settings: &ServeSettings| {
        let door = runtime.block_on(Door::open(settings));
        let door = door.map_err(io::Error::other)?;
        let at = door.local_addr();
        runtime.spawn(door.serve(Arc::new(MadeUp::new()), Arc::new(Leaping::default())));
        Ok::<_, io::Error>(at)
    };
    let (open, guarded) = (serve(&anybody)?, serve(&asking)?);
    Ok(Running {
        runtime,
        open,
        guarded,
        _dir: dir,
    })
}

/// A clock that leaps each time it is looked at.
#[derive(Default)]
struct Leaping(AtomicU64);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        Timestamp {
            mono_us: self.0.fetch_add(LEAP_US, Ordering::Relaxed),
            wall_us: 1_772_368_200_000_000,
            wall_trusted: true,
        }
    }
}

/// Feeds bytes.
pub fn feed(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        let way = Way::ALL[usize::from(first % 4)];
        let said = way.say(rest);
        check(way, &said, &answer(way, &said));
    }
}

/// What is answered to bytes that are said in some way.
pub fn ask(way: Way, bytes: &[u8]) -> Vec<u8> {
    answer(way, &way.say(bytes))
}

fn answer(way: Way, said: &[u8]) -> Vec<u8> {
    let running = &*RUNNING;
    let at = if way.is_guarded() {
        running.guarded
    } else {
        running.open
    };
    running.runtime.block_on(async {
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        if !way.makes_a_request() {
            return converse(stream, said, is_endless).await;
        }
        // The client's end stays open: one that is closed may be nobody who waits any more.
        let _ = stream.write_all(said).await;
        hear(stream, is_endless).await
    })
}

/// Whether a stream of events has begun: it goes on as long as somebody hears it.
fn is_endless(heard: &[u8]) -> bool {
    const KIND: &[u8] = b"content-type: text/event-stream";
    let kind = heard.windows(KIND.len()).position(|window| window == KIND);
    let rest = kind.and_then(|kind| heard.get(kind..));
    rest.is_some_and(|rest| holds(rest, b"\r\n\r\n"))
}

/// A request of which nothing but these parts is chosen.
fn request(target: &[u8], authorization: &[u8]) -> Vec<u8> {
    let mut request = [b"GET /", target, b" HTTP/1.1\r\nHost: localhost\r\n"].concat();
    if !authorization.is_empty() {
        let shown = authorization.iter();
        let shown = shown.map(|byte| if byte.is_ascii_control() { b' ' } else { *byte });
        request.extend(b"Authorization: ");
        request.extend(shown);
        request.extend(b"\r\n");
    }
    request.extend(b"Connection: close\r\n\r\n");
    request
}

/// Bytes as a target has them: what no target may have is written in hexadecimal.
fn target(bytes: &[u8]) -> Vec<u8> {
    let spelled = bytes.iter().flat_map(|byte| match byte {
        b'!'..=b'~' => vec![*byte],
        _ => format!("%{byte:02x}").into_bytes(),
    });
    spelled.collect()
}

fn check(way: Way, said: &[u8], heard: &[u8]) {
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1."));
    if way.is_guarded() && !shows_token(said) {
        assert!(!holds(heard, TELLTALE), "it tells somebody of the plant");
    }
    if !way.makes_a_request() {
        return;
    }
    // A request that is one has an answer.
    let (head, body) = head_of(heard).expect("an answer has a head");
    let head = String::from_utf8_lossy(head).to_lowercase();
    let status = head.get(9..12).expect("a status");
    match status {
        "400" | "401" | "404" | "421" | "200" | "503" => {}
        // Of the target's length; hyper says it of a head that has none of ours.
        "414" | "431" => return assert!(said.len() > 2_048),
        _ => panic!("{head}"),
    }
    if head.contains("cache-control") {
        for (name, value) in HEADERS {
            let line = format!("{name}: {}", value.to_lowercase());
            assert!(head.contains(&line), "without {name}: {head}");
        }
    } else {
        // What hyper cannot read it refuses by itself.
        assert_eq!(status, "400", "{head}");
    }
    if head.contains("application/json") && !head.contains("chunked") {
        let read = serde_json::from_slice::<Value>(body);
        assert!(read.is_ok(), "{:?}", String::from_utf8_lossy(body));
    }
}

/// An answer's head with its empty line, and what is behind it.
fn head_of(heard: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n")?;
    heard.split_at_checked(end + 4)
}

/// Whether a request may show the token: not whether it does so where it has to.
fn shows_token(said: &[u8]) -> bool {
    let forms = IN_BASE64.iter().copied();
    forms
        .chain([TOKEN.as_bytes()])
        .any(|form| holds(said, form))
}

/// Requests as `curl`, browsers and Prometheus make them, to each path of the API's description;
/// targets and authorizations of them.
pub fn seeds() -> Vec<Vec<u8>> {
    let paths = paths();
    let curl = "User-Agent: curl/8.14.1\r\nAccept: */*\r\n";
    let browser = "User-Agent: Mozilla/5.0\r\nAccept: text/html\r\nAccept-Encoding: gzip, br\r\n\
                   Accept-Language: en\r\nConnection: keep-alive\r\nSec-Fetch-Mode: navigate\r\n\
                   Authorization: Basic bWU6c2VzYW1l\r\n";
    let scraper = "User-Agent: Prometheus/3.4.0\r\nAccept: text/plain;version=0.0.4\r\n\
                   X-Prometheus-Scrape-Timeout-Seconds: 10\r\nAuthorization: Bearer sesame\r\n";
    let mut seeds = Vec::new();
    let mut seed = |way: Way, text: &str| {
        seeds.push([&[way as u8], text.as_bytes()].concat());
    };
    for path in &paths {
        seed(Way::Target, path);
        for (way, host, headers) in [
            (Way::Open, "127.0.0.1:8380", curl),
            (Way::Guarded, "gateway.local:8380", browser),
            (Way::Guarded, "gateway.local", scraper),
        ] {
            let head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
            seed(way, &head);
        }
    }
    let posted = "POST /api/v1/devices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let chunked =
        "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let asked = "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let proxied = "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for whole in [posted, chunked, asked, proxied, &asked.repeat(3)] {
        seed(Way::Open, whole);
        seed(Way::Guarded, whole);
    }
    for shown in [
        "Bearer sesame",
        "bearer  wrong ",
        "Basic bWU6c2VzYW1l",
        "Basic OnNlc2FtZQ==",
        "Basic OnM",
        "Digest sesame",
    ] {
        seed(Way::Authorization, shown);
    }
    seeds
}

/// Paths behind their first `/`, with names put in and with parameters.
fn paths() -> Vec<String> {
    let text = include_str!("../../src/http/openapi.json");
    let described: Value = serde_json::from_str(text).expect("the description is JSON");
    let described = described["paths"].as_object().expect("it has paths");
    let named = |path: &String| {
        let path = path.trim_start_matches('/').replace("{device}", "pump-1");
        path.replace("{sensor}", "vibration.rms")
    };
    let mut paths: Vec<String> = described.keys().map(named).collect();
    paths.push(String::new());
    for query in [
        "match=pump-*&health=late&offset=1&limit=50",
        "limit=500",
        "match=%70ump-%3f+",
        "health=none&limt=1",
        "offset=-1",
        "limit=1&limit=2",
    ] {
        paths.push(format!("api/v1/devices?{query}"));
        paths.push(format!("api/v1/events?{query}"));
    }
    paths
}
