//! Supervisor: tells the service manager (systemd) that the gateway runs, what it does, and that
//! it still lives.
//!
//! By the protocol of `sd_notify(3)`: datagrams of lines `NAME=value` to the socket that
//! `NOTIFY_SOCKET` names. Without one, as in a terminal, nothing is told and nothing is done.
//!
//! | told | when |
//! |---|---|
//! | `READY=1` | broker, link, sinks and core are started; what a crash left is recovered |
//! | `STATUS=` | a line of what holds, when it changed; looked at every 30 s or three times a watchdog |
//! | `RELOADING=1`, then `READY=1` | around a reading that SIGHUP or `tidegate reload` asked for |
//! | `WATCHDOG=1` | at each look at which the gateway lives: see [`pulse`] |
//! | `STOPPING=1` | it was asked to stop |
//!
//! A message that cannot be sent is dropped: the gateway's work does not depend on who watches it.

mod pulse;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::pulse::Pulse;
use crate::status::Status;
use crate::time::{Clock, kernel_mono_us};

/// How often is looked where no watchdog asks for more.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Looks in the time of a watchdog: one may fail, and the next still comes in time.
const LOOKS_PER_WATCHDOG: u32 = 3;

/// Who watches this process, if anybody does.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    way: Option<Arc<Way>>,
    /// How long it waits for a sign of life.
    watchdog: Option<Duration>,
}

/// The way to the service manager.
#[derive(Debug)]
struct Way {
    socket: UnixDatagram,
    to: SocketAddr,
    is_stopping: AtomicBool,
}

impl Supervisor {
    /// The one that the environment names; nobody where it names none.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(socket) = variable("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let us = variable("WATCHDOG_USEC");
        let process = variable("WATCHDOG_PID");
        let watchdog = watchdog(us.as_deref(), process.as_deref(), std::process::id());
        Self::at(&socket, watchdog).unwrap_or_else(|error| {
            tracing::warn!(%error, "the socket that NOTIFY_SOCKET names cannot be used: the service manager will not hear that the gateway runs");
            Self::default()
        })
    }

    /// One at a socket: a path, or `@name` of an abstract one.
    fn at(socket: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let to = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold the gateway up.
        socket.set_nonblocking(true)?;
        Ok(Self {
            way: Some(Arc::new(Way {
                socket,
                to,
                is_stopping: AtomicBool::new(false),
            })),
            watchdog,
        })
    }

    fn tell(&self, text: &str) {
        let Some(way) = &self.way else { return };
        if let Err(error) = way.socket.send_to_addr(text.as_bytes(), &way.to) {
            tracing::debug!(%error, text, "the service manager did not take a message");
        }
    }

    /// The gateway runs.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is read again; [`Self::ready`] follows, whatever comes of it.
    pub(super) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", kernel_mono_us()));
    }

    /// The gateway was asked to stop, or ends.
    pub(super) fn stopping(&self) {
        if let Some(way) = &self.way {
            way.is_stopping.store(true, Ordering::Relaxed);
        }
        self.tell("STOPPING=1\nSTATUS=stopping: what was received is brought to disk and acked");
    }

    fn is_stopping(&self) -> bool {
        let way = self.way.as_ref();
        way.is_some_and(|way| way.is_stopping.load(Ordering::Relaxed))
    }

    /// Looks after the gateway until the process ends; `status` is none when the core does not
    /// answer.
    pub(super) async fn watch(
        self,
        status: impl AsyncFn() -> Option<Status>,
        clock: Arc<dyn Clock>,
    ) {
        if self.way.is_none() {
            return;
        }
        let every = match self.watchdog {
            Some(watchdog) => (watchdog / LOOKS_PER_WATCHDOG).min(LOOK_EVERY),
            None => LOOK_EVERY,
        };
        let mut pulse = Pulse::new(clock.now());
        loop {
            // How long a stop may take is bounded by the manager's time for it, and the core does
            // not answer any more.
            if self.is_stopping() {
                self.tell("WATCHDOG=1");
            } else {
                let heard = tokio::time::timeout(every, status()).await;
                let told = pulse.look(clock.now(), heard.ok().flatten().as_ref());
                if !told.is_empty() && !self.is_stopping() {
                    self.tell(&told.join("\n"));
                }
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// The time of the watchdog, if it is this process that it watches.
fn watchdog(us: Option<&OsStr>, process: Option<&OsStr>, me: u32) -> Option<Duration> {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    if process.is_some_and(|id| number(id) != Some(u64::from(me))) {
        return None;
    }
    let us = number(us?).filter(|us| *us > 0)?;
    Some(Duration::from_micros(us))
}
