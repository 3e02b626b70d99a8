//! A link in memory: what the core publishes comes out of a channel, what a test sends goes in.
//!
//! It keeps the bounds and the silence-when-away of the real link, and no socket: simulations
//! and tests of the core run over it on virtual time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, watch};

use super::{
    LinkEvent, LinkHandle, PUBLICATIONS_MAX, Publication, RECEIVE_MAXIMUM, Receipt, State,
};

/// The broker's end of a link in memory.
#[derive(Debug)]
pub struct FarEnd {
    events: mpsc::Sender<LinkEvent>,
    publications: mpsc::Receiver<Publication>,
    state: Arc<State>,
}

/// A link that begins away; returns the core's two halves and the broker's end.
pub fn pair() -> (LinkHandle, mpsc::Receiver<LinkEvent>, FarEnd) {
    let (events, intake) = mpsc::channel(usize::from(RECEIVE_MAXIMUM));
    let (to_far, publications) = mpsc::channel(PUBLICATIONS_MAX);
    let state = Arc::new(State::default());
    let handle = LinkHandle {
        publications: to_far,
        state: Arc::clone(&state),
        stop: watch::Sender::new(false),
    };
    let far = FarEnd {
        events,
        publications,
        state,
    };
    (handle, intake, far)
}

impl FarEnd {
    /// The link comes up. Returns whether the intake had room for the news.
    pub fn subscribe(&self) -> bool {
        self.state.up.store(true, Ordering::Release);
        State::count(&self.state.subscribed);
        self.events.try_send(LinkEvent::Subscribed).is_ok()
    }

    /// The link goes away. Returns whether the intake had room for the news.
    pub fn disconnect(&self, why: &str) -> bool {
        self.state.up.store(false, Ordering::Release);
        State::count(&self.state.lost);
        let why = why.to_owned();
        self.events
            .try_send(LinkEvent::Disconnected { why })
            .is_ok()
    }

    /// A message arrives. Returns whether the intake had room.
    pub fn send(&self, topic: &str, payload: Vec<u8>, retained: bool) -> bool {
        let message = LinkEvent::Message {
            topic: topic.to_owned(),
            payload,
            retained,
            receipt: Receipt::default(),
        };
        self.events.try_send(message).is_ok()
    }

    /// The next message that the core published, if any.
    pub fn published(&mut self) -> Option<Publication> {
        self.publications.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Link;

    #[test]
    fn what_is_published_while_away_is_dropped_and_counted() {
        let (handle, _intake, mut far) = pair();
        assert!(!handle.publish("t", vec![1], false, None));
        assert!(far.subscribe());
        assert!(handle.publish("t", vec![2], true, Some(30)));
        assert_eq!(
            far.published(),
            Some(Publication {
                topic: "t".into(),
                payload: vec![2],
                retained: true,
                expiry_s: Some(30),
            })
        );
        assert!(far.disconnect("test"));
        assert!(!handle.publish("t", vec![3], false, None));
        assert_eq!(far.published(), None);
        assert_eq!(handle.counters().dropped_away, 2);
    }

    #[test]
    fn a_full_queue_and_a_large_payload_are_counted() {
        let (handle, _intake, far) = pair();
        assert!(far.subscribe());
        for _ in 0..PUBLICATIONS_MAX {
            assert!(handle.publish("t", Vec::new(), false, None));
        }
        assert!(!handle.publish("t", Vec::new(), false, None));
        assert!(!handle.publish("t", vec![0; 12 * 1024], false, None));
        let counters = handle.counters();
        assert_eq!((counters.dropped_full, counters.dropped_large), (1, 1));
    }
}
