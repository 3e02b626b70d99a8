//! Events: the plant as it changes, as a stream of server-sent events.
//!
//! ```text
//! event: full    everything of the selection; the first of a stream
//! event: change  what changed since the event before (see `difference`), once a second at most
//! event: busy    the gateway could not say; what was told before is what is known
//! : comment      nothing happened for a while; the connection lives
//! ```
//! Every event has an `id` that grows; a browser that comes back is told everything again.
//!
//! Streams of the same selection are one *topic*: it is composed once a second, however many
//! listen, and not at all when nobody does.

mod difference;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use self::difference::Picture;
use super::answer::{Answer, BUSY_RETRY_S, later, typed};
use super::counts::{Counters, Open, count};
use super::newest::Newest;
use super::query::selection;
use super::routes::House;
use super::{CHANGES_MAX, Limits, SELECTIONS_MAX, Source};
use crate::plant::Selection;

/// Beats without an event after which a comment is sent.
const QUIET_BEATS: u32 = 15;
/// What a stream begins with: when to come back after it broke, in ms.
const GREETING: &str = "retry: 2000\n\n";

/// Composes what streams tell.
pub(super) struct Hub<S> {
    newest: Arc<Newest<S>>,
    topics: Mutex<Vec<Topic>>,
    /// That a stream came.
    came: Notify,
    counters: Arc<Counters>,
    limits: Limits,
}

/// What is told to all who listen to the same selection.
struct Topic {
    selection: Selection,
    /// The newest picture, with the id of its event.
    newest: Option<(u64, Picture)>,
    /// Beats since the last event.
    quiet: u32,
    listeners: Vec<mpsc::Sender<Bytes>>,
}

impl<S: Source> Hub<S> {
    pub(super) fn new(newest: Arc<Newest<S>>, counters: Arc<Counters>, limits: Limits) -> Self {
        Self {
            newest,
            topics: Mutex::default(),
            came: Notify::new(),
            counters,
            limits,
        }
    }

    fn topics(&self) -> MutexGuard<'_, Vec<Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Composes once a second while somebody listens, for ever.
    pub(super) async fn beat(&self) -> Infallible {
        loop {
            if !self.is_heard() {
                self.came.notified().await;
            }
            self.compose(|_| true).await;
            let mut beat = pin!(sleep(self.limits.beat));
            loop {
                tokio::select! {
                    () = &mut beat => break,
                    // The first of a selection does not wait for the next beat.
                    () = self.came.notified() => self.compose(Topic::is_new).await,
                }
            }
        }
    }

    /// Forgets who left; whether anybody listens.
    fn is_heard(&self) -> bool {
        let mut topics = self.topics();
        for topic in topics.iter_mut() {
            topic.listeners.retain(|listener| !listener.is_closed());
        }
        topics.retain(|topic| !topic.listeners.is_empty());
        !topics.is_empty()
    }

    /// Asks the gateway once for each of these selections, and tells what changed.
    async fn compose(&self, which: impl Fn(&Topic) -> bool) {
        let selections: Vec<Selection> = self
            .topics()
            .iter()
            .filter(|topic| which(topic))
            .map(|topic| topic.selection.clone())
            .collect();
        if selections.is_empty() {
            return;
        }
        let overview = self.newest.overview().await;
        for selection in selections {
            let devices = match &overview {
                Some(_) => self.newest.source.devices(selection.clone()).await,
                None => None,
            };
            let picture = overview.as_ref().zip(devices);
            let picture = picture.map(|(overview, devices)| Picture::of(overview, &devices));
            let mut topics = self.topics();
            let mut topics = topics.iter_mut();
            if let Some(topic) = topics.find(|topic| topic.selection == selection) {
                topic.tell(picture, &self.counters);
            }
        }
    }

    /// A new stream; none when there are enough, of them or of their selections.
    fn listen(&self, selection: Selection) -> Option<mpsc::Receiver<Bytes>> {
        self.is_heard();
        let (sender, receiver) = mpsc::channel(CHANGES_MAX);
        let mut topics = self.topics();
        if let Some(topic) = topics.iter_mut().find(|topic| topic.selection == selection) {
            if let Some((id, picture)) = &topic.newest {
                // The channel is empty yet: it takes this.
                let _ = sender.try_send(event(*id, "full", &picture.full()));
            }
            topic.listeners.push(sender);
            return Some(receiver);
        }
        if topics.len() >= SELECTIONS_MAX {
            return None;
        }
        topics.push(Topic {
            selection,
            newest: None,
            quiet: 0,
            listeners: vec![sender],
        });
        self.came.notify_one();
        Some(receiver)
    }
}

impl Topic {
    /// Tells a picture, or that there is none.
    fn tell(&mut self, picture: Option<Picture>, counters: &Counters) {
        let told = match (picture, self.newest.take()) {
            (None, newest) => {
                self.newest = newest;
                let why = "the gateway is busy or stopping; what was told before is what is known";
                Some(event(self.id(), "busy", &json!({ "error": why })))
            }
            (Some(picture), None) => {
                let told = event(1, "full", &picture.full());
                self.newest = Some((1, picture));
                Some(told)
            }
            (Some(picture), Some((id, before))) => {
                let change = picture.since(&before);
                let told = change.map(|change| event(id + 1, "change", &change));
                let id = if told.is_some() { id + 1 } else { id };
                self.newest = Some((id, picture));
                told
            }
        };
        match told {
            Some(told) => self.send(&told, counters),
            None if self.quiet + 1 >= QUIET_BEATS => {
                self.send(&Bytes::from_static(b": quiet\n\n"), counters);
            }
            None => self.quiet += 1,
        }
    }

    /// Whether nothing was told yet.
    fn is_new(&self) -> bool {
        self.newest.is_none()
    }

    fn id(&self) -> u64 {
        self.newest.as_ref().map_or(0, |(id, _)| *id)
    }

    /// Gives it to all who listen; who left the last ones lying is let go.
    fn send(&mut self, told: &Bytes, counters: &Counters) {
        self.quiet = 0;
        self.listeners
            .retain(|listener| match listener.try_send(told.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    count(&counters.slow);
                    false
                }
            });
    }
}

/// An event as it travels. JSON has no line's end outside its texts, and escapes those inside.
fn event(id: u64, name: &str, data: &Value) -> Bytes {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// Begins a stream.
pub(super) async fn stream<S: Source>(State(house): State<House<S>>, uri: Uri) -> Answer {
    let selection = match selection(&uri) {
        Ok(selection) => selection,
        Err(refused) => return refused.into(),
    };
    let hub = &house.hub;
    let open = Open::one(
        &hub.counters,
        |counters| &counters.streams,
        hub.limits.streams,
    );
    let events = open.and_then(|open| Some((open, hub.listen(selection)?)));
    let Some((open, events)) = events else {
        count(&hub.counters.busy);
        return later(
            StatusCode::SERVICE_UNAVAILABLE,
            BUSY_RETRY_S,
            "too many streams of events are open, or of too many different selections; close some",
        );
    };
    let stream = Stream {
        greeting: Some(Bytes::from_static(GREETING.as_bytes())),
        events,
        _open: open,
    };
    typed("text/event-stream", Body::new(stream))
}

/// What a stream still has to tell.
struct Stream {
    greeting: Option<Bytes>,
    events: mpsc::Receiver<Bytes>,
    _open: Open,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(Ok(Frame::data(greeting))));
        }
        let told = self.events.poll_recv(context);
        told.map(|told| told.map(|told| Ok(Frame::data(told))))
    }
}
