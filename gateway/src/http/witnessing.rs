//! Witnessing: `POST /add-checkpoint` of tlog-witness, the one thing that is taken here.
//!
//! It is served where `http.witness` says so, behind the same guard as all else. What it changes
//! is what this gateway knows as a witness of others' audit logs, and nothing of the plant.
//!
//! | answer | means |
//! |---|---|
//! | 200, `text/plain` | the cosignature, a line |
//! | 400 | no such request |
//! | 403, 404 | not signed by the log's key; a log that it was not told to watch |
//! | 409, `text/x.tlog.size` | it has cosigned another size, which is the body |
//! | 409, JSON | two histories of one size |
//! | 413 | longer than any |
//! | 422 | the log has not grown from what was cosigned |
//! | 500 | what it knows cannot be kept or read: nothing was cosigned |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{Answer, error, typed};
use crate::audit::WitnessSigner;
use crate::audit::witness::{self, REQUEST_BYTES_MAX, Refusal, Witness, WitnessError};
use crate::causes;
use crate::disk::Disk;
use crate::disk::data_dir::lock_of;
use crate::time::{Clock, SECOND_US};

/// Where requests to a witness go.
pub(super) const ADD_CHECKPOINT: &str = "/add-checkpoint";

/// Who asks a gateway that is no witness hears this.
pub(super) const NO_WITNESS: &str = "this gateway is no witness: nothing was cosigned; `witness = true` under [http] in its configuration makes it one, at its next start";

/// The witness of a running gateway. Commands may cosign beside it: a lock lets one in at a time.
pub struct Cosigner {
    witness: Mutex<Witness>,
    lock: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Cosigner {
    /// Takes the data directory, and who signs.
    pub fn new(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        signer: WitnessSigner,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            witness: Mutex::new(Witness::new(disk, signer)),
            lock: data_dir.join(witness::FOLDER),
            clock,
        }
    }

    /// Cosigns a checkpoint, or refuses. Waits for the disk.
    fn add_checkpoint(&self, request: &[u8]) -> Result<Result<String, WitnessError>, io::Error> {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = lock_of(&self.lock)?;
        let now_s = u64::try_from(self.clock.now().wall_us / SECOND_US).unwrap_or(0);
        Ok(witness.add_checkpoint(request, now_s))
    }
}

/// Whether a request is one to a witness.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path() == ADD_CHECKPOINT
}

/// Answers a request to the witness.
pub(super) async fn add_checkpoint(request: Request<Incoming>, cosigner: Arc<Cosigner>) -> Answer {
    let Ok(body) = to_bytes(Body::new(request.into_body()), REQUEST_BYTES_MAX).await else {
        let why = format!("a request to a witness has at most {REQUEST_BYTES_MAX} bytes");
        return error(StatusCode::PAYLOAD_TOO_LARGE, &why);
    };
    let asked = tokio::task::spawn_blocking(move || cosigner.add_checkpoint(&body));
    let failed = |why: &dyn std::error::Error| {
        tracing::error!(
            why = causes::told(why),
            "a witness's cosignature was not given"
        );
        error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not cosigned: what this witness knows could not be kept or read; its log says why",
        )
    };
    match asked.await {
        Ok(Ok(Ok(line))) => typed("text/plain; charset=utf-8", line),
        Ok(Ok(Err(WitnessError::Refused(refusal)))) => refused(&refusal),
        Ok(Ok(Err(why))) => failed(&why),
        Ok(Err(why)) => failed(&why),
        Err(why) => failed(&why),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let Refusal::Stale { known, .. } = refusal else {
        tracing::warn!(%refusal, "as a witness this gateway did not cosign");
        return error(status, &refusal.to_string());
    };
    // The usual course: who asks learns from where on it has to prove.
    tracing::debug!(%refusal, "as a witness this gateway was asked with another size");
    let mut answer = typed("text/x.tlog.size", format!("{known}\n"));
    *answer.status_mut() = status;
    answer
}
