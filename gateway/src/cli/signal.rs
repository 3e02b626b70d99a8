//! Signals: the first ctrl-c or SIGTERM asks for a clean stop, the second ends the process.
//!
//! Ending at once loses nothing that was acked: it is a kill, and the store is made for those.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

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
            super::logs::end();
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

/// A last word at ctrl-c for a command that asks questions, instead of a silent end.
pub(super) struct Courtesy {
    is_over: Arc<AtomicBool>,
}

impl Courtesy {
    /// From here on ctrl-c says `word` and ends the process. Where the system gives no thread for
    /// it, ctrl-c ends the process as ever.
    pub(super) fn begin(word: &'static str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let (listening, listens) = sync_channel(1);
        let wait = async move {
            let interrupts = signal(SignalKind::interrupt());
            let _ = listening.send(());
            let Ok(mut interrupts) = interrupts else {
                return;
            };
            while interrupts.recv().await.is_some() {
                if !ended.load(Ordering::Acquire) {
                    super::output::say(word);
                    std::process::exit(ENDED_AT_ONCE);
                }
            }
        };
        let _ = thread::Builder::new().name("ctrl-c".into()).spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(wait);
            }
        });
        // Without a thread there is nobody who sends, which is an answer, too.
        let _ = listens.recv();
        Self { is_over }
    }

    /// From here on ctrl-c is not heard: what is done now takes a moment and is done whole.
    pub(super) fn end(self) {
        self.is_over.store(true, Ordering::Release);
    }
}
