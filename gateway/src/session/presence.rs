//! Presence: who owns the site, said and heard on the gateway topic.
//!
//! ```text
//!            hears a lower id live
//!   Owner ---------------------------> Standby
//!     ^   <--------------------------- heard no live repeat for STANDBY_US
//! publishes online after every SUBACK, every REPEAT_US, and when it reads an offline that is
//! not meant, or a live repeat of a higher id (so that the other stands by at once)
//! ```
//! A message proves life only when it is delivered unretained: a broker repeats a retained one
//! to every new subscriber, for years if need be. So a retained `online` of another gateway
//! neither makes this one stand by nor keeps it standing by.

use tidegate_shared::message::Presence;

/// How often an owner says that it is there.
pub const REPEAT_US: u64 = 30_000_000;
/// How long a standby waits for a live repeat before it takes the site: three repeats.
pub const STANDBY_US: u64 = 90_000_000;
/// Shortest time between two answers on the gateway topic, whatever is read there.
pub const ANSWER_US: u64 = 1_000_000;

/// What to do after an event.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Publish online (true) or offline (false).
    pub publish: Option<bool>,
    /// The role changed: stands by (true) or owns the site (false).
    pub standby: Option<bool>,
    /// The gateway's own id was heard with a later start: its store is older than that.
    pub restored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Logs and acks.
    Owner,
    /// Another gateway, heard at `heard_us`, does.
    Standby { heard_us: u64 },
}

/// This gateway's side of the gateway topic.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    gateway: u64,
    start: u32,
    role: Role,
    connected: bool,
    stopped: bool,
    published_us: Option<u64>,
    publish_at_us: u64,
}

impl Watch {
    /// Owns the site until it hears otherwise.
    pub fn new(gateway: u64, start: u32) -> Self {
        Self {
            gateway,
            start,
            role: Role::Owner,
            connected: false,
            stopped: false,
            published_us: None,
            publish_at_us: 0,
        }
    }

    /// Whether another gateway owns the site.
    pub fn is_standby(&self) -> bool {
        self.role != Role::Owner
    }

    /// Whether publishing reaches the broker.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether the gateway said that it stops.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The broker confirmed the subscriptions.
    pub fn subscribed(&mut self, now_us: u64) -> Step {
        self.connected = true;
        match &mut self.role {
            Role::Owner => self.publish(now_us),
            Role::Standby { heard_us } => {
                *heard_us = now_us;
                Step::default()
            }
        }
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// The gateway stops cleanly.
    pub fn stop(&mut self) -> Step {
        self.stopped = true;
        Step {
            publish: (self.connected && self.role == Role::Owner).then_some(false),
            ..Step::default()
        }
    }

    /// Something was read on the gateway topic; `None` is a deleted retained message.
    pub fn heard(&mut self, now_us: u64, said: Option<Presence>, retained: bool) -> Step {
        let Some(said) = said.filter(|said| said.online) else {
            let mut step = self.answer(now_us);
            step.restored = said.is_some_and(|said| self.is_later(&said));
            return step;
        };
        if said.gateway == self.gateway {
            return Step {
                restored: self.is_later(&said),
                ..Step::default()
            };
        }
        if retained || self.stopped {
            return Step::default();
        }
        if said.gateway > self.gateway {
            return self.answer(now_us);
        }
        let was_owner = self.role == Role::Owner;
        self.role = Role::Standby { heard_us: now_us };
        Step {
            standby: was_owner.then_some(true),
            ..Step::default()
        }
    }

    /// Time passed.
    pub fn deadline(&mut self, now_us: u64) -> Step {
        if self.next_deadline().is_none_or(|due| now_us < due) {
            return Step::default();
        }
        let took = self.is_standby();
        self.role = Role::Owner;
        Step {
            standby: took.then_some(false),
            ..self.publish(now_us)
        }
    }

    /// When [`Self::deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.connected || self.stopped {
            return None;
        }
        Some(match self.role {
            Role::Owner => self.publish_at_us,
            Role::Standby { heard_us } => heard_us.saturating_add(STANDBY_US),
        })
    }

    fn is_later(&self, said: &Presence) -> bool {
        said.gateway == self.gateway && said.start > self.start
    }

    fn answer(&mut self, now_us: u64) -> Step {
        if self.role != Role::Owner || !self.connected || self.stopped {
            return Step::default();
        }
        let earliest = self
            .published_us
            .map_or(0, |at| at.saturating_add(ANSWER_US));
        if now_us >= earliest {
            return self.publish(now_us);
        }
        self.publish_at_us = self.publish_at_us.min(earliest);
        Step::default()
    }

    fn publish(&mut self, now_us: u64) -> Step {
        self.published_us = Some(now_us);
        self.publish_at_us = now_us.saturating_add(REPEAT_US);
        Step {
            publish: (!self.stopped).then_some(true),
            ..Step::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_shared::ids::Term;

    use super::*;

    const S: u64 = 1_000_000;

    fn said(gateway: u64, start: u32, online: bool) -> Presence {
        Presence {
            gateway,
            term: Term(9),
            start,
            online,
        }
    }

    fn publishes(online: bool) -> Step {
        Step {
            publish: Some(online),
            ..Step::default()
        }
    }

    #[test]
    fn an_owner_says_so_after_every_suback_and_every_30_s() {
        let mut watch = Watch::new(5, 1);
        assert_eq!(watch.next_deadline(), None);
        assert_eq!(watch.subscribed(S), publishes(true));
        assert_eq!(watch.next_deadline(), Some(31 * S));
        assert_eq!(watch.deadline(30 * S), Step::default());
        assert_eq!(watch.deadline(31 * S), publishes(true));
        watch.disconnected();
        assert_eq!(watch.next_deadline(), None);
        assert_eq!(watch.subscribed(40 * S), publishes(true));
        assert_eq!(watch.stop(), publishes(false));
        assert_eq!(
            watch.heard(41 * S, Some(said(5, 1, false)), false),
            Step::default()
        );
        assert_eq!(watch.next_deadline(), None);
    }

    #[test]
    fn an_offline_that_is_not_meant_is_answered_at_most_once_a_second() {
        let mut watch = Watch::new(5, 2);
        watch.subscribed(0);
        assert_eq!(
            watch.heard(S, Some(said(5, 1, false)), false),
            publishes(true)
        );
        assert_eq!(
            watch.heard(S + 1, Some(said(7, 1, false)), false),
            Step::default()
        );
        assert_eq!(watch.next_deadline(), Some(2 * S));
        assert_eq!(watch.deadline(2 * S), publishes(true));
        assert_eq!(watch.heard(9 * S, None, true), publishes(true));
    }

    #[test]
    fn the_lower_id_stays_and_the_other_stands_by_for_90_s() {
        let mut low = Watch::new(1, 1);
        let mut high = Watch::new(2, 1);
        low.subscribed(0);
        high.subscribed(10 * S);
        assert_eq!(
            low.heard(10 * S, Some(said(2, 1, true)), false),
            publishes(true)
        );
        let step = high.heard(10 * S, Some(said(1, 1, true)), false);
        assert_eq!(step.standby, Some(true));
        assert!(high.is_standby());
        assert_eq!(
            high.heard(40 * S, Some(said(1, 1, true)), false),
            Step::default()
        );
        assert_eq!(high.next_deadline(), Some(130 * S));
        // The owner's offline, and what a broker kept, prove no life.
        assert_eq!(
            high.heard(50 * S, Some(said(1, 1, false)), false),
            Step::default()
        );
        assert_eq!(
            high.heard(60 * S, Some(said(1, 1, true)), true),
            Step::default()
        );
        let step = high.deadline(130 * S);
        assert_eq!((step.standby, step.publish), (Some(false), Some(true)));
    }

    #[test]
    fn a_standby_that_was_cut_off_waits_anew() {
        let mut watch = Watch::new(2, 1);
        watch.subscribed(0);
        watch.heard(S, Some(said(1, 1, true)), false);
        watch.disconnected();
        assert_eq!(watch.next_deadline(), None);
        assert_eq!(watch.subscribed(500 * S), Step::default());
        assert_eq!(watch.next_deadline(), Some(590 * S));
        assert_eq!(watch.stop(), Step::default());
    }

    #[test]
    fn a_retained_owner_proves_no_life() {
        let mut watch = Watch::new(2, 1);
        watch.subscribed(0);
        assert_eq!(
            watch.heard(1, Some(said(1, 1, true)), true),
            Step::default()
        );
        assert!(!watch.is_standby());
    }

    #[test]
    fn the_own_id_with_a_later_start_tells_of_an_older_store() {
        let mut watch = Watch::new(2, 3);
        watch.subscribed(0);
        assert!(!watch.heard(2 * S, Some(said(2, 3, true)), true).restored);
        assert!(!watch.heard(2 * S, Some(said(2, 2, false)), true).restored);
        assert!(watch.heard(2 * S, Some(said(2, 4, true)), true).restored);
        assert!(watch.heard(4 * S, Some(said(2, 4, false)), true).restored);
        assert!(!watch.heard(4 * S, Some(said(7, 9, false)), true).restored);
    }
}
