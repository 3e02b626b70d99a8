//! Routes: which path is answered by what.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;

use super::answer::{Answer, error};
use super::events::Hub;
use super::large::Large;
use super::newest::Newest;
use super::query::shown;
use super::{Source, api, chart, events, health, metrics, pages};

/// What answers are made from.
pub(super) struct House<S> {
    /// The running gateway.
    pub(super) source: Arc<S>,
    /// Its overview and status, shared.
    pub(super) newest: Arc<Newest<S>>,
    /// Where large answers are made.
    pub(super) large: Large,
    /// Streams of events.
    pub(super) hub: Arc<Hub<S>>,
}

impl<S> Clone for House<S> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            newest: Arc::clone(&self.newest),
            large: self.large.clone(),
            hub: Arc::clone(&self.hub),
        }
    }
}

/// Every path but those of the page, as the router reads them.
#[cfg(test)]
pub(super) const PATHS: [&str; 13] = [
    health::LIVES,
    health::READY,
    "/metrics",
    OVERVIEW,
    DEVICES,
    DEVICE,
    CHART,
    CHART_SVG,
    STATUS,
    LEDGER,
    BILL,
    EVENTS,
    "/api/v1/openapi.json",
];

const OVERVIEW: &str = "/api/v1/overview";
const DEVICES: &str = "/api/v1/devices";
const DEVICE: &str = "/api/v1/devices/{device}";
const CHART: &str = "/api/v1/devices/{device}/sensors/{sensor}";
const CHART_SVG: &str = "/api/v1/devices/{device}/sensors/{sensor}/chart.svg";
const STATUS: &str = "/api/v1/status";
const LEDGER: &str = "/api/v1/ledger";
const BILL: &str = "/api/v1/bill";
const EVENTS: &str = "/api/v1/events";

/// What answers each path.
pub(super) fn routes<S: Source>(house: House<S>) -> Router {
    pages::served(Router::new())
        .route(health::LIVES, get(health::lives))
        .route(health::READY, get(health::ready::<S>))
        .route("/metrics", get(metrics::metrics::<S>))
        .route(OVERVIEW, get(api::overview::<S>))
        .route(DEVICES, get(api::devices::<S>))
        .route(DEVICE, get(api::device::<S>))
        .route(CHART, get(api::chart::<S>))
        .route(CHART_SVG, get(chart::svg::<S>))
        .route(STATUS, get(api::status::<S>))
        .route(LEDGER, get(api::ledger::<S>))
        .route(BILL, get(api::bill::<S>))
        .route(EVENTS, get(events::stream::<S>))
        .fallback(nowhere)
        .with_state(house)
}

async fn nowhere(uri: Uri) -> Answer {
    let path = shown(uri.path());
    let why = format!("there is nothing at {path}; /api/v1/openapi.json lists what there is");
    error(StatusCode::NOT_FOUND, &why)
}
