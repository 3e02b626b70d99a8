//! Pages: the page and what it needs, from within the binary. A browser that has them asks only
//! whether they changed.

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::answer::{Answer, typed};

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";

/// Path, type and text of each.
pub(super) const FILES: [(&str, &str, &str); 14] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/page.js", JS, include_str!("page/page.js")),
    ("/chart.js", JS, include_str!("page/chart.js")),
    ("/devices.js", JS, include_str!("page/devices.js")),
    ("/elements.js", JS, include_str!("page/elements.js")),
    ("/live.js", JS, include_str!("page/live.js")),
    ("/marks.js", JS, include_str!("page/marks.js")),
    ("/overview.js", JS, include_str!("page/overview.js")),
    ("/plant.js", JS, include_str!("page/plant.js")),
    ("/upstream.js", JS, include_str!("page/upstream.js")),
    ("/words.js", JS, include_str!("page/words.js")),
    ("/favicon.svg", SVG, include_str!("page/favicon.svg")),
    ("/api/v1/openapi.json", JSON, include_str!("openapi.json")),
];

/// Adds them to what is served.
pub(super) fn served<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES.iter().fold(router, |router, (path, kind, text)| {
        router.route(
            path,
            get(async |headers: HeaderMap| kept(kind, text, &headers)),
        )
    })
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
