//! Health: whether the process lives, and whether it works as usual, for those who restart or
//! watch it. Both are answered without a password; they name states, and nothing of the plant.

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Source;
use super::answer::{Answer, busy, json as told, typed};
use super::routes::House;
use crate::status::Status;

/// Whether the process lives.
pub(super) const LIVES: &str = "/healthz";
/// Whether the gateway works as usual.
pub(super) const READY: &str = "/readyz";

/// Whether a path is answered to anybody.
pub(super) fn is_open(path: &str) -> bool {
    path == LIVES || path == READY
}

pub(super) async fn lives() -> Answer {
    typed("text/plain; charset=utf-8", "lives\n")
}

pub(super) async fn ready<S: Source>(State(house): State<House<S>>) -> Answer {
    let Some(status) = house.newest.status().await else {
        return busy();
    };
    let mut answer = told(&json!({ "ready": status.works_as_usual, "reasons": reasons(&status) }));
    if !status.works_as_usual {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

/// What keeps the gateway from working as usual: names, and what they mean for the data.
fn reasons(status: &Status) -> Vec<Value> {
    let states = status.states.iter();
    let kept = states.filter(|state| state.is_trouble());
    kept.map(|state| {
        let mut reason = json!({ "state": state.name, "meaning": state.meaning });
        if let (Some(fault), Some(reason)) = (&state.fault, reason.as_object_mut()) {
            reason.insert("fault".to_owned(), json!(fault));
        }
        reason
    })
    .collect()
}
