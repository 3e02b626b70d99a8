//! The link: the device's end of the delivery protocol, as a state machine without I/O.
//!
//! Terms: the *floor* is the oldest frame held, or the next to be frozen when none is held. The
//! *cursor* is the newest frame sent since the last go-back; what is held up to it is in flight.
//! *Told* is the floor that the gateway was told last, in a Hello or a Progress.
//!
//! ```text
//!            Connected              gateway online            Welcome
//!    Away ──────────────► Waiting ────────────────► Greeting ─────────► Welcomed
//!     ▲                      ▲  gateway offline       │  ▲                │  │
//!     │ Disconnected         └────────────────────────┤  │ other term,    │  │
//!     │ (from anywhere)                               │  │ Refused, or no │  │
//!     └───────────────────────────────────────────────┘  │ progress after │  │
//!                                                        │ `hello_after`  │  │
//!                             Renaming ──── Renamed ────►│◄───────────────┘  │
//!                                ▲                  Refused: conflict        │
//!                                └───────────────────────────────────────────┘
//! ```
//!
//! Invariants:
//! 1. Nothing is sent but while Greeting (Hello) and Welcomed (Progress, frames), and never more
//!    frames in flight than granted.
//! 2. A frame is released only by an Ack that names a held frame by its check, sent before, in
//!    the term of the last Welcome.
//! 3. A Progress precedes every resend and follows every eviction: the gateway always knows the
//!    floor before it sees a frame that stands behind evicted ones.

mod backoff;
#[cfg(test)]
mod network;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;

use tidegate_shared::ids::{Check, Incarnation, Mark, Term};
use tidegate_shared::limits::PROTOCOL;
use tidegate_shared::message::{Ack, Presence, Refused, RefusedReason, Welcome};
use tidegate_shared::mutation::{Mutation, is_on};

use crate::outbox::Outbox;
use crate::time::Moment;

/// Most frames in flight, whatever is granted: minimq keeps 8 QoS 1 publishes, one of which is
/// left for Hello, Progress and status.
pub const IN_FLIGHT_MAX: usize = 7;
/// Most effects of one event: a release, a Progress or Hello, and a window of frames.
pub const EFFECTS_MAX: usize = IN_FLIGHT_MAX + 3;
/// Longest pause that a gateway can ask for, in ms: an hour.
pub const RETRY_AFTER_MS_MAX: u32 = 3_600_000;

/// What a link is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkConfig {
    /// Most frames in flight, at most [`IN_FLIGHT_MAX`]; 7 by default.
    pub window_max: u16,
    /// Wait for an Ack before the first resend, in ms; 4,000 by default: a gateway commits every
    /// second by default.
    pub resend_ms: u32,
    /// Longest wait between resends, in ms; 60,000 by default.
    pub resend_ms_max: u32,
    /// Resends without progress after which Hello is said again; 3 by default.
    pub hello_after: u8,
    /// Wait for a Welcome before the second Hello, in ms; 1,000 by default.
    pub hello_ms: u32,
    /// Longest wait between Hellos, in ms; 60,000 by default.
    pub hello_ms_max: u32,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            window_max: IN_FLIGHT_MAX as u16,
            resend_ms: 4_000,
            resend_ms_max: 60_000,
            hello_after: 3,
            hello_ms: 1_000,
            hello_ms_max: 60_000,
        }
    }
}

/// What happens to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Connected to the broker, and subscribed.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// The gateway topic says something.
    Presence(Presence),
    /// The gateway answers a Hello.
    Welcome(Welcome),
    /// The gateway has frames on its disk.
    Ack(Ack),
    /// The gateway does not take a frame, or the device.
    Refused(Refused),
    /// The outbox dropped frames.
    Evicted,
    /// The frames held have a new incarnation and new sequences ([`Effect::Rename`]).
    Renamed(Incarnation),
    /// Time has passed, or a frame was frozen.
    Tick,
}

/// What a link wants done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Free the frames up to and including this one.
    Release(Mark),
    /// Draw a new incarnation, free the frames before this one, renumber what is left from
    /// sequence 1, and answer with [`Event::Renamed`].
    Rename(Mark),
    /// Publish a Hello, its contents as of then.
    Hello,
    /// Publish a Progress, its contents as of then.
    Progress,
    /// Publish a held frame.
    Send(Mark),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection.
    Away,
    /// Connected; the gateway is offline or was not heard of.
    Waiting,
    /// A Hello goes out at this moment, and again until Welcome.
    Greeting(Moment),
    /// Frames flow.
    Welcomed,
    /// A new incarnation is being drawn.
    Renaming,
}

/// The device's end of a session.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    state: State,
    incarnation: Incarnation,
    /// The term that the gateway topic named last as online.
    present: Option<Term>,
    /// The term of the last Welcome.
    term: Option<Term>,
    window: u16,
    /// Largest frame that the gateway takes.
    frame_bytes_max: u16,
    cursor: Mark,
    /// Newest frame ever sent in this incarnation.
    sent: Mark,
    acked: Mark,
    told: Mark,
    /// After Welcome, until the Ack that says what the gateway has already.
    probing: bool,
    paused_until: Moment,
    resend_at: Option<Moment>,
    resends: u8,
    backoff: Backoff,
}

impl Link {
    /// A link that is not connected. `acked` is what an earlier boot knew as acknowledged; `before`
    /// is the mark before the boot's first frame: of frames up to there, kept from earlier boots,
    /// any may have been sent. `seed` feeds the jitter: it should differ from device to device.
    pub fn new(
        config: LinkConfig,
        incarnation: Incarnation,
        (acked, before): (Mark, Mark),
        seed: u32,
    ) -> Self {
        Self {
            config,
            state: State::Away,
            incarnation,
            present: None,
            term: None,
            window: 0,
            frame_bytes_max: u16::MAX,
            cursor: before,
            sent: before,
            acked,
            told: Mark::default(),
            probing: false,
            paused_until: Moment::default(),
            resend_at: None,
            resends: 0,
            backoff: Backoff::new(config.hello_ms, config.hello_ms_max, seed),
        }
    }

    /// The incarnation in use.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Highest frame acknowledged; zeros before the first Ack.
    pub fn acked(&self) -> Mark {
        self.acked
    }

    /// Whether a gateway has welcomed the device and is thought to be there.
    pub fn is_welcomed(&self) -> bool {
        self.state == State::Welcomed
    }

    /// Largest frame that the gateway takes, as of the last Welcome.
    pub fn frame_bytes_max(&self) -> u16 {
        self.frame_bytes_max
    }

    /// Takes an event; tells `effects` what is to be done. `next` is the mark that the next
    /// frame will get; `outbox` is asked, not changed.
    pub fn handle(
        &mut self,
        now: Moment,
        event: Event,
        outbox: &impl Outbox,
        next: Mark,
        effects: &mut impl Extend<Effect>,
    ) {
        let floor = outbox
            .next_after(self.acked)
            .map_or(next, |entry| entry.mark);
        match event {
            Event::Connected => {
                self.present = None;
                self.leave(State::Waiting);
            }
            Event::Disconnected => self.leave(State::Away),
            Event::Presence(presence) => self.on_presence(now, &presence),
            Event::Welcome(welcome) => self.on_welcome(now, &welcome, floor, effects),
            Event::Ack(ack) => self.on_ack(now, &ack, outbox, floor, effects),
            Event::Refused(refused) => self.on_refused(now, &refused, outbox, effects),
            Event::Evicted => self.on_evicted(floor, effects),
            Event::Renamed(incarnation) => self.on_renamed(now, incarnation),
            Event::Tick => {}
        }
        self.keep_time(now, floor, effects);
        self.send(now, outbox, effects);
        self.arm(now, outbox);
    }

    /// When to come back with [`Event::Tick`] at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Away | State::Waiting | State::Renaming => None,
            State::Greeting(again_at) => Some(again_at),
            State::Welcomed => {
                let paused = Some(self.paused_until).filter(|until| *until > Moment::default());
                self.resend_at.into_iter().chain(paused).min()
            }
        }
    }

    fn leave(&mut self, state: State) {
        self.state = state;
        self.resend_at = None;
        self.resends = 0;
        self.probing = false;
        self.paused_until = Moment::default();
    }

    fn greet(&mut self, at: Moment) {
        self.leave(State::Greeting(at));
    }

    fn on_presence(&mut self, now: Moment, presence: &Presence) {
        if matches!(self.state, State::Away | State::Renaming) {
            return;
        }
        if !presence.online {
            // A late will of a gateway that another start has replaced says nothing.
            if self.present.is_none_or(|term| term == presence.term) {
                self.present = None;
                self.leave(State::Waiting);
            }
            return;
        }
        let is_other = self.present != Some(presence.term);
        self.present = Some(presence.term);
        let is_welcomed = self.state == State::Welcomed && self.term == Some(presence.term);
        if self.state == State::Waiting || (is_other && !is_welcomed) {
            self.backoff.reset();
            self.greet(now);
        }
    }

    fn on_welcome(
        &mut self,
        now: Moment,
        welcome: &Welcome,
        floor: Mark,
        effects: &mut impl Extend<Effect>,
    ) {
        if !matches!(self.state, State::Greeting(_)) {
            return;
        }
        if !(welcome.protocol_min..=welcome.protocol_max).contains(&PROTOCOL) {
            self.backoff.exhaust();
            let again_at = self.backoff.next(now);
            self.greet(again_at);
            return;
        }
        self.leave(State::Welcomed);
        self.backoff.reset();
        self.term = Some(welcome.term);
        self.window = welcome
            .window
            .min(self.config.window_max)
            .min(IN_FLIGHT_MAX as u16);
        self.frame_bytes_max = welcome.frame_bytes_max;
        self.probing = true;
        self.cursor = before(floor);
        if floor != self.told {
            self.tell(floor, effects);
        }
    }

    fn on_ack(
        &mut self,
        now: Moment,
        ack: &Ack,
        outbox: &impl Outbox,
        floor: Mark,
        effects: &mut impl Extend<Effect>,
    ) {
        if self.state != State::Welcomed || ack.incarnation != self.incarnation {
            return;
        }
        if self.term != Some(ack.term) {
            self.greet(now);
            return;
        }
        let through = Mark {
            boot: ack.boot,
            sequence: ack.through,
        };
        if through >= floor {
            if !self.is_sent_and_held(through, ack.check, outbox) {
                return;
            }
            effects.extend([Effect::Release(through)]);
            self.acked = through;
            self.cursor = self.cursor.max(through);
            self.resends = 0;
            self.resend_at = None;
        }
        if self.probing {
            self.resend_at = None;
        }
        self.probing = false;
        self.window = ack
            .window
            .min(self.config.window_max)
            .min(IN_FLIGHT_MAX as u16);
        if ack.retry_after_ms > 0 {
            self.resend_at = None;
            self.paused_until = now.plus_ms(ack.retry_after_ms.min(RETRY_AFTER_MS_MAX).into());
        }
    }

    fn on_refused(
        &mut self,
        now: Moment,
        refused: &Refused,
        outbox: &impl Outbox,
        effects: &mut impl Extend<Effect>,
    ) {
        if refused.incarnation != self.incarnation {
            return;
        }
        let mark = Mark {
            boot: refused.boot,
            sequence: refused.sequence,
        };
        match self.state {
            // Before a Welcome only the device as a whole can be refused.
            State::Greeting(_) if refused.sequence == 0 => {}
            State::Welcomed if self.term == Some(refused.term) => {
                let is_meant = self.is_sent_and_held(mark, refused.check, outbox)
                    || is_on(Mutation::RefusedUnchecked);
                if refused.sequence != 0 && !is_meant {
                    return;
                }
            }
            _ => return,
        }
        if refused.reason == RefusedReason::Conflict && refused.sequence != 0 {
            self.leave(State::Renaming);
            effects.extend([Effect::Rename(mark)]);
            return;
        }
        let asked = now.plus_ms(refused.retry_after_ms.min(RETRY_AFTER_MS_MAX).into());
        let again_at = self.backoff.next(now);
        self.greet(asked.max(again_at));
    }

    fn on_evicted(&mut self, floor: Mark, effects: &mut impl Extend<Effect>) {
        if self.state == State::Welcomed {
            self.cursor = self.cursor.max(before(floor));
            self.tell(floor, effects);
        }
    }

    fn on_renamed(&mut self, now: Moment, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.acked = Mark::default();
        self.sent = Mark::default();
        self.cursor = Mark::default();
        if self.state == State::Renaming {
            self.greet(now);
        }
    }

    /// Does what is due: a Hello, a go-back, or the end of a pause.
    fn keep_time(&mut self, now: Moment, floor: Mark, effects: &mut impl Extend<Effect>) {
        if self.paused_until <= now {
            self.paused_until = Moment::default();
        }
        let is_late = self.resend_at.is_some_and(|at| at <= now);
        if self.state == State::Welcomed && is_late && self.paused_until == Moment::default() {
            self.resend_at = None;
            self.probing = false;
            if self.resends >= self.config.hello_after {
                self.greet(now);
            } else {
                self.resends += 1;
                self.cursor = before(floor);
                self.tell(floor, effects);
            }
        }
        if let State::Greeting(at) = self.state
            && at <= now
        {
            self.state = State::Greeting(self.backoff.next(now));
            self.told = floor;
            effects.extend([Effect::Hello]);
        }
    }

    fn send(&mut self, now: Moment, outbox: &impl Outbox, effects: &mut impl Extend<Effect>) {
        if self.state != State::Welcomed || self.probing || self.paused_until > now {
            return;
        }
        let mut in_flight = outbox.count(self.acked, self.cursor);
        while in_flight < usize::from(self.window) {
            let Some(entry) = outbox.next_after(self.cursor.max(self.acked)) else {
                return;
            };
            effects.extend([Effect::Send(entry.mark)]);
            self.cursor = entry.mark;
            self.sent = self.sent.max(entry.mark);
            in_flight += 1;
        }
    }

    /// Sets the resend timer while an answer is expected, or a grant.
    fn arm(&mut self, now: Moment, outbox: &impl Outbox) {
        if self.state != State::Welcomed {
            return;
        }
        let waits = self.probing || outbox.next_after(self.acked).is_some();
        if !waits {
            self.resend_at = None;
        } else if self.resend_at.is_none() {
            let LinkConfig {
                resend_ms,
                resend_ms_max,
                ..
            } = self.config;
            let wait_ms = u64::from(resend_ms) << self.resends.min(16);
            let wait_ms = wait_ms.min(resend_ms_max.into());
            let from = now.max(self.paused_until);
            self.resend_at = Some(from.plus_ms(wait_ms + self.backoff.jitter(wait_ms / 4)));
        }
    }

    fn tell(&mut self, floor: Mark, effects: &mut impl Extend<Effect>) {
        self.told = floor;
        effects.extend([Effect::Progress]);
    }

    fn is_sent_and_held(&self, mark: Mark, check: Check, outbox: &impl Outbox) -> bool {
        mark <= self.sent && outbox.get(mark).is_some_and(|entry| entry.check == check)
    }
}

/// The mark before this one, within its boot.
fn before(mark: Mark) -> Mark {
    Mark {
        sequence: mark.sequence.saturating_sub(1),
        ..mark
    }
}
