//! Fuzzing of what reads requests in the gateway: HTTP, the control socket, who comes to the broker
//! inside, and what a witness is asked.
//!
//! Each module feeds bytes to the gateway as whoever connects would, and panics where something
//! does not hold. `targets/` are the same as coverage-guided targets, `run` builds and runs them:
//! there only the gateway is instrumented, not what it is made of.
//!
//! Each module also has *seeds*: requests as they are really made, from which fuzzing begins. A
//! test feeds all of them.

pub mod broker;
pub mod control;
pub mod http;
mod plant;
pub mod witness;

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Longest wait for the end of an answer; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A target's name, what makes its seeds, and what it does with bytes.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Requests to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Feeds bytes.
    pub feed: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target {
        name: "http",
        seeds: http::seeds,
        feed: http::feed,
    },
    Target {
        name: "control",
        seeds: control::seeds,
        feed: control::feed,
    },
    Target {
        name: "broker",
        seeds: broker::seeds,
        feed: broker::feed,
    },
    Target {
        name: "witness",
        seeds: witness::seeds,
        feed: witness::feed,
    },
];

/// Writes a target's seeds into the folder that the variable `TIDEGATE_FUZZ_SEEDS` names, if there
/// is one. A target does so as it starts: whatever has the instrumented gateway in it needs the
/// fuzzing engine, too.
pub fn write_seeds(name: &str) {
    let Some(folder) = env::var_os("TIDEGATE_FUZZ_SEEDS").map(PathBuf::from) else {
        return;
    };
    let target = TARGETS.iter().find(|target| target.name == name);
    let seeds = target.map_or_else(Vec::new, |target| (target.seeds)());
    let written = seeds.iter().enumerate().try_for_each(|(number, seed)| {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{number}")), seed)
    });
    if let Err(why) = written {
        panic!("the seeds cannot be written to {}: {why}", folder.display());
    }
}

/// One thread for servers and clients: what comes of bytes does not depend on scheduling.
fn runtime() -> Runtime {
    let built = Builder::new_current_thread().enable_all().build();
    built.expect("the system has what a runtime needs")
}

/// Says all of a client's bytes, then that there are no more, and hears what comes until the server
/// ends or `is_enough`.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bytes: &[u8],
    is_enough: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    // A server that has refused already may have closed its end.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    hear(stream, is_enough).await
}

/// Hears what comes until the server ends or `is_enough`.
async fn hear(mut stream: impl AsyncRead + Unpin, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut heard = Vec::with_capacity(16 << 10);
    let hearing = async {
        // Of what was refused the rest may be cut off: what came is what was said.
        while !is_enough(&heard) && matches!(stream.read_buf(&mut heard).await, Ok(1..)) {}
    };
    let ended = timeout(PATIENCE, hearing).await;
    assert!(ended.is_ok(), "it neither answers nor closes");
    heard
}

/// Whether bytes hold others.
pub fn holds(bytes: &[u8], others: &[u8]) -> bool {
    bytes.windows(others.len()).any(|window| window == others)
}
