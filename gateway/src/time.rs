//! Time as an argument: the one file that reads a clock.

mod evidence;

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use evidence::Evidence;

/// One moment on the gateway, on both of its clocks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// µs since this gateway process began; never runs backwards. Timers and idleness use it.
    pub mono_us: u64,
    /// UTC in µs since 1970-01-01, as the machine believes.
    pub wall_us: i64,
    /// Whether that belief is to be trusted (synchronised, and not before the newest entry).
    pub wall_trusted: bool,
}

/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000_000;

/// How often the machine is asked again whether its clock is synchronised.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// What the machine says of its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// A time service has set it.
    Synchronised,
    /// No time service has set it yet, but one may.
    Unsynchronised,
    /// Nothing: there is neither a battery-backed clock nor a time service, as in a container.
    Silent,
}

/// Something that tells the time.
pub trait Clock: Send + Sync {
    /// The present moment, its wall clock trusted unless the machine says otherwise. What is
    /// logged goes through [`crate::clock::trust::TrustWatch`], which also asks the log.
    fn now(&self) -> Timestamp;

    /// What the machine says of its wall clock.
    fn word(&self) -> Word {
        if self.now().wall_trusted {
            Word::Synchronised
        } else {
            Word::Unsynchronised
        }
    }
}

/// The kernel's monotonic clock in µs, which other programs of this machine read the same: for the
/// service manager, which orders by it.
#[cfg(feature = "network")]
pub fn kernel_mono_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (s, ns) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    s * SECOND_US.unsigned_abs() + ns / 1_000
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
    /// A [`Word`], as its number.
    word: Arc<AtomicU8>,
}

impl SystemClock {
    /// Starts the monotonic clock at zero; the wall clock is taken as it is.
    #[expect(
        clippy::new_without_default,
        reason = "starting a clock is an act, not a default"
    )]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads the clock"
    )]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            word: Arc::new(AtomicU8::new(Word::Silent as u8)),
        }
    }

    /// Starts the monotonic clock at zero and asks the machine about the wall clock: now, which
    /// may take two seconds, and from then on in a thread, until it is synchronised.
    pub fn watching() -> Self {
        let clock = Self::new();
        let evidence = Evidence::new(Path::new("/"));
        let word = evidence.word();
        clock.word.store(word as u8, Ordering::Relaxed);
        if word == Word::Silent {
            tracing::warn!(
                "this machine has no clock with a battery and no time service: its wall clock is taken as right"
            );
        }
        if word == Word::Unsynchronised {
            let heard = Arc::downgrade(&clock.word);
            let asking = thread::Builder::new()
                .name("clock".into())
                .spawn(move || ask_on(&evidence, &heard));
            if let Err(error) = asking {
                tracing::warn!(%error, "the machine cannot be asked again about its clock: records stay marked as of an untrusted one until a restart");
            }
        }
        clock
    }
}

/// Asks until the clock is synchronised or nobody wants to know any more.
fn ask_on(evidence: &Evidence, heard: &Weak<AtomicU8>) {
    loop {
        thread::sleep(ASK_AGAIN);
        let Some(heard) = heard.upgrade() else {
            return;
        };
        // A time service that went away again does not make a clock right.
        if evidence.word() == Word::Synchronised {
            heard.store(Word::Synchronised as u8, Ordering::Relaxed);
            return;
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        let wall_us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Timestamp {
            mono_us: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            wall_us,
            wall_trusted: self.word() != Word::Unsynchronised,
        }
    }

    fn word(&self) -> Word {
        let word = self.word.load(Ordering::Relaxed);
        let all = [Word::Synchronised, Word::Unsynchronised, Word::Silent];
        let known = all.into_iter().find(|one| *one as u8 == word);
        known.unwrap_or(Word::Silent)
    }
}
