//! API: what the running gateway says, as JSON.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use serde::Serialize;

use super::Source;
use super::answer::{Answer, busy, error, json};
use super::query::{Query, selection, shown};
use super::routes::House;
use crate::plant::{DEVICES_DEFAULT, Device, Selection};

/// The answer, or that the gateway is busy.
fn told<T: Serialize>(answer: Option<T>) -> Answer {
    answer.map_or_else(busy, |answer| json(&answer))
}

/// Refuses parameters where none is taken.
fn none_taken(uri: &Uri) -> Option<Answer> {
    Query::read(uri, &[]).err().map(Answer::from)
}

pub(super) async fn overview<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    match none_taken(&uri) {
        Some(refused) => refused,
        None => told(house.newest.overview().await.as_deref()),
    }
}

pub(super) async fn status<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    match none_taken(&uri) {
        Some(refused) => refused,
        None => told(house.newest.status().await.as_deref()),
    }
}

pub(super) async fn ledger<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    match none_taken(&uri) {
        Some(refused) => refused,
        None => house.large.told(house.source.ledger()).await,
    }
}

pub(super) async fn bill<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    match none_taken(&uri) {
        Some(refused) => refused,
        None => house.large.told(house.source.bill()).await,
    }
}

pub(super) async fn devices<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    match selection(&uri) {
        Ok(selection) if selection.limit > DEVICES_DEFAULT => {
            house.large.told(house.source.devices(selection)).await
        }
        Ok(selection) => told(house.source.devices(selection).await),
        Err(refused) => refused.into(),
    }
}

pub(super) async fn device<S: Source>(
    State(house): State<House<S>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let name = match (name, none_taken(&uri)) {
        (Ok(Path(name)), None) => name,
        (Err(_), _) => return unreadable(),
        (_, Some(refused)) => return refused,
    };
    if !is_name(&name) {
        return no_device(&name);
    }
    let selection = Selection {
        glob: Some(name.clone()),
        limit: 1,
        ..Selection::default()
    };
    let Some(devices) = house.source.devices(selection).await else {
        return busy();
    };
    let mut found = devices.devices.into_iter();
    let found: Option<Device> = found.find(|device| device.name == name);
    found.map_or_else(|| no_device(&name), |device| json(&device))
}

/// A sensor of a device, as a path names it.
pub(super) type SensorPath = Result<Path<(String, String)>, PathRejection>;

pub(super) async fn chart<S: Source>(
    State(house): State<House<S>>,
    names: SensorPath,
    uri: Uri,
) -> Answer {
    if let Some(refused) = none_taken(&uri) {
        return refused;
    }
    match find_chart(&house, names).await {
        Ok(chart) => json(&chart),
        Err(why) => *why,
    }
}

/// A sensor's chart, or the answer that says why there is none.
pub(super) async fn find_chart<S: Source>(
    house: &House<S>,
    names: SensorPath,
) -> Result<crate::plant::Chart, Box<Answer>> {
    let Ok(Path((device, sensor))) = names else {
        return Err(Box::new(unreadable()));
    };
    if !is_name(&device) || !is_name(&sensor) {
        return Err(Box::new(no_sensor(&device, &sensor)));
    }
    let found = house.source.chart(device.clone(), sensor.clone()).await;
    match found {
        Some(Some(chart)) => Ok(chart),
        Some(None) => Err(Box::new(no_sensor(&device, &sensor))),
        None => Err(Box::new(busy())),
    }
}

/// Whether a text can name a device or sensor; no other is asked for, a glob least of all.
fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(tidegate_shared::ids::is_name_byte)
}

fn unreadable() -> Answer {
    error(
        StatusCode::BAD_REQUEST,
        "the path cannot be read: names are A-Z a-z 0-9 . _ -",
    )
}

fn no_device(device: &str) -> Answer {
    let device = shown(device);
    let why = format!("there is no device \"{device}\"; /api/v1/devices lists them");
    error(StatusCode::NOT_FOUND, &why)
}

fn no_sensor(device: &str, sensor: &str) -> Answer {
    let (device, sensor) = (shown(device), shown(sensor));
    let why = format!(
        "there is no sensor \"{sensor}\" of a device \"{device}\"; /api/v1/devices lists them"
    );
    error(StatusCode::NOT_FOUND, &why)
}
