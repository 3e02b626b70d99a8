//! The server over real sockets on the loopback interface, before a plant that is made up.

mod description;
mod limits;
mod plant;
mod random;
mod requests;
mod tls;
mod witness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(super) use self::plant::{MadeUp, chart, devices, overview};
use super::{Counts, Door, Limits, Meter};
use crate::rules::settings::ServeSettings;
use crate::time::SystemClock;

/// Longest any step of a test may take; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(super) struct Served {
    pub(super) at: SocketAddr,
    pub(super) plant: Arc<MadeUp>,
    pub(super) meter: Meter,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a plant on a free port.
pub(super) async fn serve(mut settings: ServeSettings, change: impl FnOnce(&mut Limits)) -> Served {
    settings.listen.set_port(0);
    let mut door = Door::open(&settings).await.unwrap();
    // What a test changes is seen at once, unless it says otherwise.
    door.limits.fresh = Duration::ZERO;
    change(&mut door.limits);
    let (at, meter, plant) = (door.local_addr(), door.meter(), MadeUp::new());
    let served = door.serve(Arc::clone(&plant), Arc::new(SystemClock::new()));
    Served {
        at,
        plant,
        meter,
        task: tokio::spawn(served),
    }
}

pub(super) async fn serve_plain() -> Served {
    serve(ServeSettings::default(), |_| {}).await
}

impl Served {
    pub(super) fn counts(&self) -> Counts {
        self.meter.counts()
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    /// Sends a request as it stands and reads to the connection's end.
    pub(super) async fn raw(&self, request: &[u8]) -> Heard {
        let mut stream = self.connect().await;
        // A server that has refused already may have closed its end.
        let _ = stream.write_all(request).await;
        Heard::read(&mut stream).await
    }

    /// Gets a path, with further headers.
    pub(super) async fn get(&self, path: &str, headers: &str) -> Heard {
        self.raw(request("GET", path, headers).as_bytes()).await
    }

    /// Waits until its counts say something.
    pub(super) async fn until(&self, says: impl Fn(&Counts) -> bool) -> Counts {
        let counted = async {
            loop {
                let counts = self.counts();
                if says(&counts) {
                    return counts;
                }
                tokio::task::yield_now().await;
            }
        };
        let Ok(counts) = timeout(PATIENCE, counted).await else {
            panic!("it never came: {:?}", self.counts());
        };
        counts
    }
}

pub(super) fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Heard {
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        // What was refused is cut off: the rest of its answer is what came.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
            .await
            .expect("an answer ends");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        Self {
            status: head[9..12].parse().unwrap(),
            head,
            body: bytes.split_off(end + 4),
        }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}
