//! What waits to be published: a Hello or Progress, then a window of frames.

use heapless::Deque;
use tidegate_shared::ids::Mark;

use crate::link::IN_FLIGHT_MAX;

/// Something to publish on the up topic. Its bytes are written when it goes out, so that a Hello
/// or Progress is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// A Hello.
    Hello,
    /// A Progress.
    Progress,
    /// A held frame.
    Frame(Mark),
}

/// Publishes that the transport has not taken yet: bounded, because what is new replaces what it
/// makes stale.
///
/// A Hello begins a session anew: nothing queued before it goes out. A Progress goes before the
/// frames. A frame not above the queued ones begins a go-back: those are dropped.
#[derive(Debug, Default)]
pub struct Outgoing {
    hello: bool,
    progress: bool,
    frames: Deque<Mark, IN_FLIGHT_MAX>,
}

impl Outgoing {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.peek().is_none()
    }

    /// What goes out next.
    pub fn peek(&self) -> Option<Publish> {
        if self.hello {
            Some(Publish::Hello)
        } else if self.progress {
            Some(Publish::Progress)
        } else {
            self.frames.front().map(|mark| Publish::Frame(*mark))
        }
    }

    /// Takes what goes out next.
    pub fn pop(&mut self) -> Option<Publish> {
        let next = self.peek();
        match next {
            Some(Publish::Hello) => self.hello = false,
            Some(Publish::Progress) => self.progress = false,
            Some(Publish::Frame(_)) => {
                self.frames.pop_front();
            }
            None => {}
        }
        next
    }

    /// Forgets everything: the connection is gone.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, publish: Publish) {
        match publish {
            Publish::Hello => {
                self.clear();
                self.hello = true;
            }
            Publish::Progress => self.progress = true,
            Publish::Frame(mark) => {
                if self.frames.back().is_some_and(|newest| *newest >= mark) {
                    self.frames.clear();
                }
                // In flight are at most as many as fit; one too many would be resent later.
                let _ = self.frames.push_back(mark);
            }
        }
    }
}

impl Extend<Publish> for Outgoing {
    fn extend<T: IntoIterator<Item = Publish>>(&mut self, publishes: T) {
        for publish in publishes {
            self.push(publish);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn frame(sequence: u32) -> Publish {
        Publish::Frame(Mark { boot: 1, sequence })
    }

    fn drained(mut outgoing: Outgoing) -> Vec<Publish> {
        core::iter::from_fn(|| outgoing.pop()).collect()
    }

    #[test]
    fn progress_overtakes_frames_and_a_hello_replaces_all() {
        let mut outgoing = Outgoing::default();
        outgoing.extend([frame(1), frame(2), Publish::Progress]);
        assert_eq!(outgoing.peek(), Some(Publish::Progress));
        assert_eq!(drained(outgoing), [Publish::Progress, frame(1), frame(2)]);
        let mut outgoing = Outgoing::default();
        outgoing.extend([Publish::Progress, frame(1), Publish::Hello]);
        assert_eq!(drained(outgoing), [Publish::Hello]);
    }

    #[test]
    fn a_go_back_drops_the_frames_queued_before() {
        let mut outgoing = Outgoing::default();
        outgoing.extend((3..=9).map(frame));
        outgoing.extend([Publish::Progress]);
        outgoing.extend((3..=9).map(frame));
        assert_eq!(drained(outgoing).len(), 8);
    }
}
