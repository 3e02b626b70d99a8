//! Pages: the page and what it needs, from within the binary. A browser that has them asks only
//! whether they changed.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use axum::http::{Response, StatusCode};
use sha2::{Digest, Sha256};

use super::answer::{Answer, typed};

const INDEX: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");
const OPENAPI: &str = include_str!("openapi.json");
const FAVICON: &str = include_str!("page/favicon.svg");

pub(super) async fn index(headers: HeaderMap) -> Answer {
    kept("text/html; charset=utf-8", INDEX, &headers)
}

pub(super) async fn css(headers: HeaderMap) -> Answer {
    kept("text/css; charset=utf-8", CSS, &headers)
}

pub(super) async fn js(headers: HeaderMap) -> Answer {
    kept("text/javascript; charset=utf-8", JS, &headers)
}

pub(super) async fn favicon(headers: HeaderMap) -> Answer {
    kept("image/svg+xml", FAVICON, &headers)
}

pub(super) async fn openapi(headers: HeaderMap) -> Answer {
    kept("application/json", OPENAPI, &headers)
}

/// A text that a browser keeps, and asks for again by its sum.
fn kept(kind: &'static str, text: &'static str, headers: &HeaderMap) -> Answer {
    let sum: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let begins = sum.first_chunk().copied().unwrap_or_default();
    let tag = format!("\"{:016x}\"", u64::from_be_bytes(begins));
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag));
    let mut answer = if is_known {
        let mut unchanged = Response::new(Body::empty());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        typed(kind, text)
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    answer
}
