//! Streams of events over real sockets, and that what they tell adds up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::difference::Picture;
use crate::http::tests::{Heard, Served, devices, overview, request, serve};
use crate::plant::{Device, Devices, Health};
use crate::rules::settings::ServeSettings;

/// Longest wait for an event; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event as a browser gets it.
#[derive(Debug)]
struct Told {
    id: u64,
    name: String,
    data: Value,
}

/// A browser that listens.
struct Listener {
    stream: TcpStream,
    text: String,
}

impl Listener {
    async fn to(served: &Served, query: &str) -> Self {
        let mut stream = served.connect().await;
        let asked = request("GET", &format!("/api/v1/events{query}"), "");
        stream.write_all(asked.as_bytes()).await.unwrap();
        Self {
            stream,
            text: String::new(),
        }
    }

    /// The next event; comments and the pieces that bodies are sent in are passed over.
    async fn next(&mut self) -> Told {
        loop {
            if let Some(begin) = self.text.find("id: ")
                && let Some(length) = self.text[begin..].find("\n\n")
            {
                let event = self.text[begin..begin + length].to_owned();
                self.text.drain(..begin + length + 2);
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let line = lines.find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_else(|| panic!("no {name} in {event}"))
                };
                return Told {
                    id: field("id: ").parse().unwrap(),
                    name: field("event: ").to_owned(),
                    data: serde_json::from_str(field("data: ")).unwrap(),
                };
            }
            let mut bytes = vec![0; 64 << 10];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await;
            let read = read.expect("an event comes").unwrap();
            assert!(read > 0, "the stream ended: {}", self.text);
            self.text += std::str::from_utf8(&bytes[..read]).unwrap();
        }
    }

    async fn expect(&mut self, name: &str) -> Told {
        let told = self.next().await;
        assert_eq!(told.name, name, "{told:?}");
        told
    }
}

async fn quick() -> Served {
    serve(ServeSettings::default(), |limits| {
        limits.beat = Duration::from_millis(20);
    })
    .await
}

/// What a browser does with a change; written anew here, so that it is not the difference's word.
fn apply(full: &mut Value, change: &Value) {
    for (part, value) in change["overview"].as_object().into_iter().flatten() {
        full["overview"][part] = value.clone();
    }
    let changed = &change["devices"];
    for key in ["total", "offset"] {
        if !changed[key].is_null() {
            full["devices"][key] = changed[key].clone();
        }
    }
    let list = full["devices"]["devices"].as_array_mut().unwrap();
    let of = |key: &str| changed[key].as_array().cloned().unwrap_or_default();
    for gone in of("gone") {
        list.retain(|device| device["name"] != gone);
    }
    for whole in of("whole") {
        list.retain(|device| device["name"] != whole["name"]);
        list.push(whole);
    }
    for change in of("changed") {
        let device = list
            .iter_mut()
            .find(|device| device["name"] == change["name"]);
        let device = device.unwrap().as_object_mut().unwrap();
        for (key, value) in change.as_object().unwrap() {
            if key != "sensors" {
                device[key] = value.clone();
                continue;
            }
            for sensor in value.as_array().unwrap() {
                let sensors = device["sensors"].as_array_mut().unwrap();
                let place = sensors.iter_mut().find(|old| old["name"] == sensor["name"]);
                *place.unwrap() = sensor.clone();
            }
        }
    }
    list.sort_by_key(|device| device["name"].as_str().unwrap().to_owned());
}

fn whole(devices: &[Device]) -> Value {
    json!({
        "overview": overview(),
        "devices": { "total": devices.len(), "offset": 0, "devices": devices },
    })
}

#[tokio::test]
async fn a_stream_tells_everything_then_what_changes_and_everything_again() {
    let served = quick().await;
    let mut listener = Listener::to(&served, "").await;
    let first = listener.expect("full").await;
    assert_eq!((first.id, &first.data), (1, &whole(&devices())));
    let mut known = first.data;
    served.plant.devices.lock().unwrap()[0].sensors[1].value = Some(9.5);
    let change = listener.expect("change").await;
    assert_eq!(change.id, 2);
    let told = &change.data["devices"]["changed"];
    assert_eq!(told.as_array().unwrap().len(), 1);
    assert_eq!(told[0]["sensors"][0]["value"], json!(9.5));
    assert!(told[0]["heard"].is_null() && change.data["overview"].is_null());
    apply(&mut known, &change.data);
    served.plant.overview.lock().unwrap().at = "later".into();
    let change = listener.expect("change").await;
    assert_eq!(change.data, json!({ "overview": { "at": "later" } }));
    apply(&mut known, &change.data);
    // A second one, and one that comes back, are told everything as it is now.
    let mut other = Listener::to(&served, "").await;
    let again = other.expect("full").await;
    assert_eq!((again.id, &again.data), (3, &known));
    drop((listener, other));
    served.until(|counts| counts.streams == 0).await;
    let mut back = Listener::to(&served, "").await;
    assert_eq!(back.expect("full").await.data, known);
}

#[tokio::test]
async fn a_selection_is_composed_once_for_all_who_listen_and_not_for_nobody() {
    let served = quick().await;
    assert_eq!(served.plant.overviews.load(Ordering::Relaxed), 0);
    let mut listeners = Vec::new();
    for _ in 0..10 {
        let mut listener = Listener::to(&served, "?match=pump-1").await;
        let told = listener.expect("full").await;
        assert_eq!(told.data["devices"]["total"], json!(1));
        listeners.push(listener);
    }
    let asked = || {
        let overviews = served.plant.overviews.load(Ordering::Relaxed);
        (overviews, served.plant.selections.load(Ordering::Relaxed))
    };
    // The same change reaches all of them, composed in as many questions as one would take.
    served.plant.devices.lock().unwrap()[0].epoch = 7;
    for listener in &mut listeners {
        let told = listener.expect("change").await;
        assert_eq!(told.data["devices"]["changed"][0]["epoch"], json!(7));
    }
    let (overviews, selections) = asked();
    assert!(selections <= overviews, "{selections} for {overviews}");
    drop(listeners);
    served.until(|counts| counts.streams == 0).await;
    // One that listens to nobody else's selection: what is asked from now on is for it alone.
    let mut listener = Listener::to(&served, "?match=none").await;
    listener.expect("full").await;
    drop(listener);
    served.until(|counts| counts.streams == 0).await;
    // The beat that finds nobody is the last.
    let mut before = asked();
    timeout(PATIENCE, async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = asked();
            if now == before {
                return;
            }
            before = now;
        }
    })
    .await
    .expect("nobody listens, and nothing is asked");
}

#[tokio::test]
async fn a_busy_gateway_is_told_as_busy_and_nothing_is_forgotten() {
    let served = quick().await;
    let mut listener = Listener::to(&served, "").await;
    listener.expect("full").await;
    served.plant.busy.store(true, Ordering::Relaxed);
    let told = listener.expect("busy").await;
    assert!(told.data["error"].as_str().unwrap().contains("busy"));
    served.plant.busy.store(false, Ordering::Relaxed);
    served.plant.overview.lock().unwrap().alerts_open = 9;
    loop {
        let told = listener.next().await;
        if told.name == "busy" {
            continue;
        }
        assert_eq!(told.data, json!({ "overview": { "alerts_open": 9 } }));
        break;
    }
}

#[tokio::test]
async fn streams_and_selections_are_bounded() {
    let served = serve(ServeSettings::default(), |limits| limits.streams = 9).await;
    let mut held = Vec::new();
    for at in 0..super::SELECTIONS_MAX {
        let mut listener = Listener::to(&served, &format!("?offset={at}")).await;
        listener.expect("full").await;
        held.push(listener);
    }
    let refused = served.get("/api/v1/events?offset=99", "").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("2"))
    );
    // The same selection as another's is no further one; but the ninth stream is the last.
    let mut ninth = Listener::to(&served, "?offset=0").await;
    ninth.expect("full").await;
    let refused = served.get("/api/v1/events?offset=0", "").await;
    assert!(refused.error().contains("too many streams"), "{refused:?}");
    // What was refused was answered: it counts once.
    assert_eq!((served.counts().busy, served.counts().unanswered), (2, 0));
    drop(held.pop());
    served.until(|counts| counts.streams == 8).await;
    let mut other = Listener::to(&served, "?offset=99").await;
    other.expect("full").await;
    let mistaken = served.get("/api/v1/events?health=well", "").await;
    assert_eq!(mistaken.status, 400);
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_let_go_and_the_others_hear_on() {
    let served = serve(ServeSettings::default(), |limits| {
        limits.beat = Duration::from_millis(5);
        limits.take = Duration::from_millis(200);
    })
    .await;
    let mut reads = Listener::to(&served, "?limit=1").await;
    reads.expect("full").await;
    let lies = Listener::to(&served, "").await;
    // Every beat another megabyte that it does not take.
    let mut marks = (0..).map(|mark| format!("{mark:x}").repeat(1 << 19));
    let grown = timeout(PATIENCE, async {
        while served.counts().slow == 0 {
            served.plant.devices.lock().unwrap()[2].why = marks.next();
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    grown.await.expect("it is let go");
    served.until(|counts| counts.streams == 1).await;
    served.plant.devices.lock().unwrap()[0].epoch = 8;
    let told = reads.expect("change").await;
    assert_eq!(told.data["devices"]["changed"][0]["epoch"], json!(8));
    drop(lies);
}

#[tokio::test]
async fn a_stream_is_of_its_type_and_not_kept() {
    let served = quick().await;
    let mut stream = served.connect().await;
    let asked = request("HEAD", "/api/v1/events", "");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let heard = Heard::read(&mut stream).await;
    assert_eq!(heard.header("content-type"), Some("text/event-stream"));
    assert_eq!(heard.header("cache-control"), Some("no-store"));
    served.until(|counts| counts.streams == 0).await;
}

/// What may become of a device from one picture to the next.
fn fates() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..6, 0u8..8), 0..8)
}

/// Lets one of these things happen to one of the devices.
fn befall(devices: &mut Vec<Device>, (what, which): (u8, u8)) {
    let names: Vec<String> = devices.iter().map(|one| one.name.clone()).collect();
    let fresh = format!("pump-{which}");
    let Some(device) = devices.get_mut(usize::from(which) % names.len().max(1)) else {
        return;
    };
    match what {
        0 => device.heard = Some(format!("{which}")),
        1 => device.health = Health::Ended,
        2 => device.sensors[0].value = Some(f64::from(which)),
        3 => device.sensors.truncate(1),
        4 => {
            let name = device.name.clone();
            devices.retain(|one| one.name != name);
        }
        _ if !names.contains(&fresh) => {
            let mut twin = device.clone();
            twin.name = fresh;
            devices.push(twin);
            devices.sort_by(|a, b| a.name.cmp(&b.name));
        }
        _ => device.why = None,
    }
}

proptest! {
    #[test]
    fn what_is_told_adds_up(steps in prop::collection::vec(fates(), 1..6)) {
        let picture = |devices: &[Device]| {
            let told = Devices {
                total: devices.len() as u64,
                offset: 0,
                devices: devices.to_vec(),
            };
            Picture::of(&overview(), &told)
        };
        let mut now = devices();
        let mut before = picture(&now);
        let mut known = before.full();
        for fates in steps {
            for fate in fates {
                befall(&mut now, fate);
            }
            let after = picture(&now);
            if let Some(change) = after.since(&before) {
                apply(&mut known, &change);
            } else {
                prop_assert_eq!(&after, &before);
            }
            prop_assert_eq!(&known, &after.full());
            before = after;
        }
    }
}
