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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::plant::{MadeUp, TELLTALE};
use crate::{PATIENCE, converse, holds, runtime};

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
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let running = &*RUNNING;
    let way = Way::ALL[usize::from(first % 4)];
    let (at, said) = match way {
        Way::Open => (running.open, rest.to_vec()),
        Way::Guarded => (running.guarded, rest.to_vec()),
        Way::Target => (running.open, request(&target(rest), b"")),
        Way::Authorization => (running.guarded, request(b"api/v1/devices", rest)),
    };
    let heard = running.runtime.block_on(async {
        let stream = TcpStream::connect(at).await.expect("it listens");
        match way {
            Way::Open | Way::Guarded => converse(stream, &said).await,
            Way::Target | Way::Authorization => ask(stream, &said).await,
        }
    });
    check(way, &said, &heard);
}

/// Says a request and hears its answer. Until then the client's end stays open: one that is closed
/// may be nobody who waits for an answer any more. Of a stream of events the head is enough.
async fn ask(mut stream: TcpStream, request: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    let answered = async {
        let _ = stream.write_all(request).await;
        // What was refused is cut off: the rest of its answer is what came.
        while let Ok(1..) = stream.read_buf(&mut heard).await {
            if head_of(&heard).is_some_and(|(head, _)| holds(head, b"text/event-stream")) {
                break;
            }
        }
    };
    let ended = timeout(PATIENCE, answered).await;
    assert!(ended.is_ok(), "a request without an answer");
    heard
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
    let is_guarded = matches!(way, Way::Guarded | Way::Authorization);
    if is_guarded && !shows_token(said) {
        assert!(!holds(heard, TELLTALE), "it tells somebody of the plant");
    }
    if matches!(way, Way::Open | Way::Guarded) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(way: Way, text: &[u8]) -> String {
        let running = &*RUNNING;
        let at = if way == Way::Authorization {
            running.guarded
        } else {
            running.open
        };
        let said = match way {
            Way::Authorization => request(b"api/v1/devices", text),
            _ => request(&target(text), b""),
        };
        let heard = running.runtime.block_on(async {
            let stream = TcpStream::connect(at).await.unwrap();
            ask(stream, &said).await
        });
        String::from_utf8_lossy(&heard).into_owned()
    }

    #[test]
    fn the_token_alone_opens_and_then_the_plant_is_told() {
        let told = |shown: &[u8]| {
            let heard = heard(Way::Authorization, shown);
            holds(heard.as_bytes(), TELLTALE)
        };
        assert!(told(b"Bearer sesame") && told(b"Basic bWU6c2VzYW1l"));
        assert!(!told(b"Bearer sesam") && !told(b"Basic sesame"));
    }

    #[test]
    fn every_byte_of_a_target_reaches_the_gateway() {
        let heard = heard(Way::Target, b"api/v1/devices?\xff \r\n=1");
        assert!(heard.contains("unknown parameter"), "{heard}");
    }
}
