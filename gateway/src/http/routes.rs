//! Routes: which path is answered by what.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;

use super::answer::{Answer, error};
use super::events::Hub;
use super::query::shown;
use super::{Source, api, chart, events, health, metrics, pages};

/// What answers are made from.
pub(super) struct House<S> {
    /// The running gateway.
    pub(super) source: Arc<S>,
    /// Streams of events.
    pub(super) hub: Arc<Hub<S>>,
}

impl<S> Clone for House<S> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            hub: Arc::clone(&self.hub),
        }
    }
}

/// Every path.
pub(super) fn routes<S: Source>(house: House<S>) -> Router {
    let sensor = "/api/v1/devices/{device}/sensors/{sensor}";
    pages::served(Router::new())
        .route(health::LIVES, get(health::lives))
        .route(health::READY, get(health::ready::<S>))
        .route("/api/v1/overview", get(api::overview::<S>))
        .route("/api/v1/devices", get(api::devices::<S>))
        .route("/api/v1/devices/{device}", get(api::device::<S>))
        .route(sensor, get(api::chart::<S>))
        .route(&format!("{sensor}/chart.svg"), get(chart::svg::<S>))
        .route("/metrics", get(metrics::metrics::<S>))
        .route("/api/v1/status", get(api::status::<S>))
        .route("/api/v1/ledger", get(api::ledger::<S>))
        .route("/api/v1/bill", get(api::bill::<S>))
        .route("/api/v1/events", get(events::stream::<S>))
        .fallback(nowhere)
        .with_state(house)
}

async fn nowhere(uri: Uri) -> Answer {
    let path = shown(uri.path());
    let why = format!("there is nothing at {path}; /api/v1/openapi.json lists what there is");
    error(StatusCode::NOT_FOUND, &why)
}
