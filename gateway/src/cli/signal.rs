//! Signals: the first ctrl-c or SIGTERM asks for a clean stop, the second ends the process.
//!
//! Ending at once loses nothing that was acked: it is a kill, and the store is made for those.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a stop that was not waited for, as shells have it for ctrl-c.
const ENDED_AT_ONCE: i32 = 130;

/// The signals that ask for a stop.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Begins to listen; from here on the signals do not end the process by themselves. Must be
    /// called inside a tokio runtime.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// SIGHUPs, which ask for the configuration to be read again; from here on they do not end
    /// the process.
    pub(super) fn hangups() -> io::Result<Signal> {
        signal(SignalKind::hangup())
    }

    /// Completes at the first signal; the next one ends the process.
    pub(super) async fn stop(mut self) {
        let name = self.next().await;
        tracing::info!(signal = name, "asked to stop");
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!(
                signal = name,
                "asked a second time: ending at once; the next start recovers what is in the files"
            );
            std::process::exit(ENDED_AT_ONCE);
        });
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
