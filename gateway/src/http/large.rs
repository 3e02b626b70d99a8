//! Large: answers that may have many megabytes, few of which are made or sent at a time.
//!
//! An answer has its place from before the gateway is asked until the last of its bytes was taken
//! or its connection ended: the place lives in the bytes themselves.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Answer, BUSY_RETRY_S, busy, json_text, later, typed};
use super::counts::{Counters, count};

/// Where large answers are made.
#[derive(Debug, Clone)]
pub(super) struct Large {
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// A text that keeps its place.
struct Kept {
    text: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Large {
    /// For so many at a time.
    pub(super) fn new(most: usize, counters: Arc<Counters>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            counters,
        }
    }

    /// Asks and tells what is said, unless enough others are being told.
    pub(super) async fn told<T: Serialize>(
        &self,
        asked: impl Future<Output = Option<T>>,
    ) -> Answer {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            count(&self.counters.busy);
            return later(
                StatusCode::SERVICE_UNAVAILABLE,
                BUSY_RETRY_S,
                "enough large answers (ledger, bill, many devices) are being read; ask again, or \
                 for fewer devices",
            );
        };
        let Some(said) = asked.await else {
            return busy();
        };
        match json_text(&said) {
            Ok(text) => {
                let kept = Kept {
                    text,
                    _place: place,
                };
                typed("application/json", Bytes::from_owner(kept))
            }
            Err(why) => *why,
        }
    }
}
