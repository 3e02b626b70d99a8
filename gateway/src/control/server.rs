//! The server: answers on the control socket while the gateway runs.
//!
//! The socket is made in a folder of mode 0700, given mode 0600 and only then renamed to its
//! place, so that at no moment somebody else could open it. The rename also replaces what a
//! killed gateway left behind.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{
    CONNECTIONS_MAX, Command, EXCHANGE_MAX, Named, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Response,
    socket_path, tapping::Tapping,
};

use crate::plant::TapFilter;
use crate::recent::Tap;

/// The folder in which the socket is made.
const CRADLE: &str = "control.new";
/// Bytes of a socket's path that Linux takes, without its closing zero.
const PATH_BYTES_MAX: usize = 107;

/// Something that knows the answers.
pub trait Handler: Send + Sync + 'static {
    /// Answers a command of the user with this id with JSON, or with what went wrong in words for a person. It must not
    /// take longer than [`EXCHANGE_MAX`]; it is dropped then.
    fn answer(
        &self,
        command: Command,
        uid: Option<u32>,
    ) -> impl Future<Output = Result<Value, String>> + Send;

    /// Opens a tap; none where nothing flows.
    fn tap(&self, _filter: TapFilter) -> Option<Tap> {
        None
    }
}

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another gateway answers on it.
    #[error("another gateway answers on {}: stop it first, or use another data_dir", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path is longer than a socket's may be.
    #[error(
        "the path {} has {bytes} bytes, a socket's may have {bytes_max}: use a shorter data_dir",
        path.display()
    )]
    PathTooLong {
        /// The path needed to make the socket.
        path: PathBuf,
        /// Its bytes.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// The system refused.
    #[error("the control socket {} cannot be made; commands could only read the files", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the server did, since it began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests answered, with an answer or an error.
    pub answered: u64,
    /// Requests that could not be read or were too long.
    pub malformed: u64,
    /// Connections refused because there were [`CONNECTIONS_MAX`].
    pub busy: u64,
    /// Connections closed because a step took longer than [`EXCHANGE_MAX`], or a tap's client took
    /// nothing for [`super::TAP_STUCK_MAX`].
    pub slow: u64,
    /// Taps that are open.
    #[serde(default)]
    pub taps: u64,
    /// Lines told by taps.
    #[serde(default)]
    pub tapped: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    malformed: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) taps: AtomicU64,
    pub(super) tapped: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Tells what a control socket did, without keeping it open.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Counters>);

impl Meter {
    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            answered: read(&self.0.answered),
            malformed: read(&self.0.malformed),
            busy: read(&self.0.busy),
            slow: read(&self.0.slow),
            taps: read(&self.0.taps),
            tapped: read(&self.0.tapped),
        }
    }
}

/// An open control socket; its file is removed on drop.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    counters: Arc<Counters>,
    /// [`EXCHANGE_MAX`], but in tests of it.
    pub(super) exchange_max: Duration,
}

impl Control {
    /// Opens the socket in a data directory, which must exist and be locked by this process. A
    /// socket that nobody answers on is replaced. Must be called inside a tokio runtime.
    pub fn open(data_dir: &Path) -> Result<Self, ControlError> {
        let path = socket_path(data_dir);
        let cradle = data_dir.join(CRADLE);
        let made = cradle.join("s");
        let bytes = made.as_os_str().len().max(path.as_os_str().len());
        if bytes > PATH_BYTES_MAX {
            return Err(ControlError::PathTooLong {
                path: made,
                bytes,
                bytes_max: PATH_BYTES_MAX,
            });
        }
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(ControlError::InUse { path });
        }
        match make(&cradle, &made, &path) {
            Ok(listener) => Ok(Self {
                listener,
                path,
                counters: Arc::default(),
                exchange_max: EXCHANGE_MAX,
            }),
            Err(source) => Err(ControlError::Refused { path, source }),
        }
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.meter().counts()
    }

    /// What tells the same wherever it is kept.
    pub fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.counters))
    }

    /// Answers until `shutdown` completes; then ends open connections at once, since whoever
    /// asked can ask the files.
    pub async fn serve<H: Handler>(&self, handler: Arc<H>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &handler, &mut connections),
                    Err(why) => {
                        tracing::warn!(%why, "a connection to the control socket failed");
                        // Out of file descriptors, say: asking again at once would spin.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        connections.shutdown().await;
    }

    /// Begins a conversation, or refuses it when there are enough.
    fn admit<H: Handler>(&self, stream: UnixStream, handler: &Arc<H>, open: &mut JoinSet<()>) {
        while open.try_join_next().is_some() {}
        if open.len() >= CONNECTIONS_MAX {
            count(&self.counters.busy);
            refuse(&stream);
            return;
        }
        let handler = Arc::clone(handler);
        let counters = Arc::clone(&self.counters);
        let exchange_max = self.exchange_max;
        open.spawn(async move { converse(stream, &*handler, &counters, exchange_max).await });
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn make(cradle: &Path, made: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::remove_dir_all(cradle) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(cradle)?;
    let listener = UnixListener::bind(made)?;
    fs::set_permissions(made, Permissions::from_mode(0o600))?;
    fs::rename(made, path)?;
    fs::remove_dir(cradle)?;
    Ok(listener)
}

/// Tells a connection beyond the limit so, as far as its buffer takes it without waiting.
fn refuse(stream: &UnixStream) {
    let _ = stream.try_write(b"{\"error\":\"busy: too many commands at a time; try again\"}\n");
}

/// Answers the requests of one connection.
async fn converse<H: Handler>(
    stream: UnixStream,
    handler: &H,
    counters: &Counters,
    exchange_max: Duration,
) {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let (read, mut write) = stream.into_split();
    let mut requests = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        match timeout(exchange_max, next_line(&mut requests, &mut line)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) => return,
            Err(_) => return count(&counters.slow),
        }
        let too_long = line.len() > REQUEST_BYTES_MAX;
        let response = match read_request(&line) {
            Ok(Command::Tap(filter)) => {
                let tapping = Tapping {
                    handler,
                    counters,
                    exchange_max,
                };
                return tapping.run(filter, &mut requests, &mut write).await;
            }
            Ok(command) => match timeout(exchange_max, handler.answer(command, uid)).await {
                Ok(Ok(answer)) => Response::Ok(answer),
                Ok(Err(reason)) => Response::Error(reason),
                Err(_) => {
                    count(&counters.slow);
                    Response::Error("the gateway is too busy to answer; try again".to_owned())
                }
            },
            Err(reason) => {
                count(&counters.malformed);
                Response::Error(reason)
            }
        };
        match timeout(exchange_max, send(&mut write, &response)).await {
            Ok(Ok(())) => count(&counters.answered),
            Ok(Err(_)) => return,
            Err(_) => return count(&counters.slow),
        }
        if too_long {
            return;
        }
    }
}

/// Reads a line of at most one byte more than allowed; false at the end.
async fn next_line(
    requests: &mut BufReader<OwnedReadHalf>,
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    line.clear();
    let mut limited = requests.take(REQUEST_BYTES_MAX as u64 + 1);
    limited.read_until(b'\n', line).await?;
    Ok(!line.is_empty())
}

fn read_request(line: &[u8]) -> Result<Command, String> {
    if line.len() > REQUEST_BYTES_MAX {
        return Err(format!("a request has at most {REQUEST_BYTES_MAX} bytes"));
    }
    let Ok(asked) = serde_json::from_slice::<Named>(line) else {
        return Err("a request is a line such as {\"command\":\"ledger\"}".to_owned());
    };
    if !Command::NAMES.contains(&asked.command.as_str()) {
        return Err(format!(
            "this gateway does not know that command; it knows: {}",
            Command::NAMES.join(", ")
        ));
    }
    serde_json::from_slice(line)
        .map_err(|why| format!("the command {} is asked otherwise: {why}", asked.command))
}

pub(super) async fn send(write: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    if line.len() >= RESPONSE_BYTES_MAX {
        let reason = format!("the answer has {} bytes, too many to send", line.len());
        line = serde_json::to_vec(&Response::Error(reason))?;
    }
    line.push(b'\n');
    write.write_all(&line).await
}
