//! Answers: JSON, text or an error that says what to do, with the headers that all have.

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

/// An answer.
pub(super) type Answer = Response<Body>;

/// Headers of every answer: nothing but what comes from here is loaded, nobody frames it, no type
/// is guessed, no address is told to others.
pub const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// What data is never kept in.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Seconds after which a busy gateway is asked again.
pub(super) const BUSY_RETRY_S: u64 = 2;

/// Adds what every answer has; what is not said to be kept is not.
pub(super) fn finish(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    answer
}

/// A body of some type.
pub(super) fn typed(kind: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Answer {
    match json_text(value) {
        Ok(text) => typed("application/json", text),
        Err(why) => *why,
    }
}

/// A value's text as JSON, or the answer that says why there is none.
pub(super) fn json_text<T: Serialize>(value: &T) -> Result<Vec<u8>, Box<Answer>> {
    serde_json::to_vec(value).map_err(|why| {
        Box::new(error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the answer cannot be written as JSON: {why}; nothing is lost by it"),
        ))
    })
}

/// What went wrong, for a person.
pub(super) fn error(status: StatusCode, why: &str) -> Answer {
    let mut answer = typed("application/json", json!({ "error": why }).to_string());
    *answer.status_mut() = status;
    answer
}

/// The same, and when to come back.
pub(super) fn later(status: StatusCode, after_s: u64, why: &str) -> Answer {
    let mut answer = error(status, why);
    let after = HeaderValue::from(after_s);
    answer.headers_mut().insert(header::RETRY_AFTER, after);
    answer
}

/// Marks an answer of a gateway that did not answer; a refusal, or "not ready", is an answer.
#[derive(Debug, Clone, Copy)]
struct Unanswered;

/// The gateway could not say it now.
pub(super) fn busy() -> Answer {
    unanswered("the gateway is busy or stopping; what it received is safe; ask again")
}

/// The gateway did not say it in time.
pub(super) fn late() -> Answer {
    unanswered("the answer took too long to be made; what the gateway received is safe; ask again")
}

fn unanswered(why: &str) -> Answer {
    let mut answer = later(StatusCode::SERVICE_UNAVAILABLE, BUSY_RETRY_S, why);
    answer.extensions_mut().insert(Unanswered);
    answer
}

/// Whether the gateway did not answer.
pub(super) fn is_unanswered(answer: &Answer) -> bool {
    answer.extensions().get::<Unanswered>().is_some()
}
