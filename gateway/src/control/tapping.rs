//! Tapping: a connection that carries samples and records as they flow.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::server::{Counters, Handler, count, send};
use super::{Response, TAP_STUCK_MAX, TAPS_MAX};
use crate::plant::{Passing, TapFilter};
use crate::recent::Tap;

/// Bytes gathered before they are written: one call of the system for many lines.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What a tap's connection needs.
pub(super) struct Tapping<'c, H> {
    pub handler: &'c H,
    pub counters: &'c Counters,
    pub exchange_max: Duration,
}

/// A place among the taps; it is free again on drop.
struct Place<'c>(&'c Counters);

impl<'c> Place<'c> {
    fn take(counters: &'c Counters) -> Option<Self> {
        let taken = counters
            .taps
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taps| {
                (taps < TAPS_MAX).then_some(taps + 1)
            });
        taken.ok().map(|_| Self(counters))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taps.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<H: Handler> Tapping<'_, H> {
    /// Runs a tap until the client is gone or stuck, or the gateway stops.
    pub async fn run(
        &self,
        filter: TapFilter,
        requests: &mut BufReader<OwnedReadHalf>,
        write: &mut OwnedWriteHalf,
    ) {
        let place = Place::take(self.counters);
        if place.is_none() {
            count(&self.counters.busy);
            return self
                .say(write, Err("busy: too many taps at a time; try again"))
                .await;
        }
        let Some(mut tap) = self.handler.tap(filter) else {
            return self.say(write, Err("nothing flows here")).await;
        };
        self.say(write, Ok("tapped")).await;
        tokio::select! {
            () = self.pour(&mut tap, write) => {}
            _ = requests.fill_buf() => {}
        }
    }

    async fn say(&self, write: &mut OwnedWriteHalf, told: Result<&str, &str>) {
        let response = match told {
            Ok(told) => Response::Ok(json!(told)),
            Err(why) => Response::Error(why.to_owned()),
        };
        // A client that does not take this takes nothing behind it either.
        let _ = timeout(self.exchange_max, send(write, &response)).await;
    }

    async fn pour(&self, tap: &mut Tap, write: &mut OwnedWriteHalf) {
        let mut lines = Vec::new();
        while let Some(first) = tap.next().await {
            lines.clear();
            let mut passing = Some(first);
            let mut told = 0;
            while let Some(one) = passing {
                put(&mut lines, &one);
                told += 1;
                passing = (lines.len() < WRITE_BYTES_MAX)
                    .then(|| tap.ready())
                    .flatten();
            }
            match timeout(TAP_STUCK_MAX, write.write_all(&lines)).await {
                Ok(Ok(())) => {
                    self.counters.tapped.fetch_add(told, Ordering::Relaxed);
                }
                Ok(Err(_)) => return,
                Err(_) => return count(&self.counters.slow),
            }
        }
    }
}

fn put(lines: &mut Vec<u8>, passing: &Passing) {
    let before = lines.len();
    if serde_json::to_writer(&mut *lines, passing).is_err() {
        // Nothing of it can fail to be JSON; half a line would be worse than none.
        lines.truncate(before);
        return;
    }
    lines.push(b'\n');
}
