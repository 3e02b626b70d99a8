//! Claiming: how a device that has no key yet gets one of its own, as a state machine without I/O.
//!
//! It runs before the device's [link](crate::link), on connections of its own ([`crate::shell::enrol`]):
//! nothing but claims goes out on them, and samples wait in the outbox. The format is
//! [`tidegate_shared::claim`].
//!
//! ```text
//!            Connected              gateway online              a grant opens
//!    Away ──────────────► Waiting ────────────────► Claiming ───────────────► (a key)
//!     ▲                      ▲  gateway offline       │   ▲ │
//!     │ Disconnected         └────────────────────────┤   └─┘ again, with growing pauses
//!     └───────────────────────────────────────────────┘
//! ```
//! Invariants:
//! 1. The claims of a start are the same bytes, so a gateway can tell a claim said again from a
//!    device that started again.
//! 2. A grant is taken only when it opens by this start's secret; any other is counted, and changes
//!    nothing.
//! 3. A key is the device's once it is kept where it survives a power cut, not before: who asks keeps
//!    it first, and says when that failed ([`Event::NotKept`]).

use tidegate_shared::claim::{
    ClaimBytes, ClaimError, ClaimId, Claimant, Code, PUBLIC_BYTES, Secret,
};
use tidegate_shared::ids::{DeviceName, SiteName, Term};
use tidegate_shared::message::Presence;
use tidegate_shared::seal::Key;

use crate::link::Backoff;
use crate::seal::Password;
use crate::settings::{DeviceKey, PageClaim};
use crate::shell::Entropy;
use crate::time::Moment;

/// Wait after the first claim, in ms: a gateway notes a key durably before it grants it.
pub const CLAIM_MS: u32 = 2_000;
/// Longest wait between claims, in ms: 5 minutes. A gateway does not answer a claim that it refuses,
/// so this is how long a device takes to notice that somebody opened one for it.
pub const CLAIM_MS_MAX: u32 = 300_000;

/// What happens while a device claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Connected to the broker, and subscribed.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// The gateway topic says something.
    Presence(Presence),
    /// Bytes on the device's own topic.
    Down(&'a [u8]),
    /// The key that was granted could not be kept.
    NotKept,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Publish [`Claiming::claim`] on the device's up topic.
    Claim,
    /// Keep this key durably; then it is the device's.
    Keep(DeviceKey),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection.
    Away,
    /// Connected; the gateway is offline or was not heard of.
    Waiting,
    /// A claim goes out at this moment, and again.
    Claiming(Moment),
}

/// A device that gets itself a key.
#[derive(Debug)]
pub struct Claiming<'n> {
    code: Code,
    site: &'n SiteName,
    device: &'n DeviceName,
    secret: Secret,
    state: State,
    present: Option<Term>,
    backoff: Backoff,
    ignored: u32,
}

impl<'n> Claiming<'n> {
    /// Begins to claim, under the device's own name. Draws this start's secret, and works out its
    /// public key: some tenths of a second on a small microcontroller.
    pub fn new(
        claim: &PageClaim,
        (site, device): (&'n SiteName, &'n DeviceName),
        entropy: &mut impl Entropy,
    ) -> Self {
        let mut bytes = [0; PUBLIC_BYTES];
        for word in bytes.chunks_exact_mut(4) {
            word.copy_from_slice(&entropy.draw().to_le_bytes());
        }
        Self {
            code: code(claim),
            site,
            device,
            secret: Secret::new(bytes),
            state: State::Away,
            present: None,
            backoff: Backoff::new(CLAIM_MS, CLAIM_MS_MAX, entropy.draw()),
            ignored: 0,
        }
    }

    /// Takes an event; tells what is to be done, which is at most one thing.
    pub fn handle(&mut self, now: Moment, event: Event<'_>) -> Option<Effect> {
        match event {
            Event::Connected => {
                self.present = None;
                self.state = State::Waiting;
            }
            Event::Disconnected => self.state = State::Away,
            Event::Presence(presence) => self.on_presence(now, &presence),
            Event::Down(bytes) => match self.granted(bytes) {
                Ok(key) => return Some(Effect::Keep(key)),
                Err(_) => self.ignored = self.ignored.saturating_add(1),
            },
            Event::NotKept => {
                self.backoff.exhaust();
                if let State::Claiming(again_at) = &mut self.state {
                    *again_at = self.backoff.next(now);
                }
            }
            Event::Tick => {}
        }
        let is_due = matches!(self.state, State::Claiming(at) if at <= now);
        is_due.then(|| {
            self.state = State::Claiming(self.backoff.next(now));
            Effect::Claim
        })
    }

    /// When to come back with [`Event::Tick`] at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Away | State::Waiting => None,
            State::Claiming(again_at) => Some(again_at),
        }
    }

    /// What the device says.
    pub fn claim(&self) -> ClaimBytes {
        self.claimant().ask(&self.secret)
    }

    /// Messages on the device's topic that were no grant for it.
    pub fn ignored(&self) -> u32 {
        self.ignored
    }

    fn on_presence(&mut self, now: Moment, presence: &Presence) {
        if self.state == State::Away {
            return;
        }
        if !presence.online {
            // A late will of a gateway that another start has replaced says nothing.
            if self.present.is_none_or(|term| term == presence.term) {
                self.present = None;
                self.state = State::Waiting;
            }
            return;
        }
        let is_other = self.present != Some(presence.term);
        self.present = Some(presence.term);
        if self.state == State::Waiting || is_other {
            self.backoff.reset();
            self.state = State::Claiming(now);
        }
    }

    fn granted(&self, bytes: &[u8]) -> Result<DeviceKey, ClaimError> {
        let (id, key) = self.claimant().granted(&self.secret, bytes)?;
        let bytes = *key.bytes();
        Ok(DeviceKey { id, bytes })
    }

    fn claimant(&self) -> Claimant<'_> {
        Claimant {
            code: &self.code,
            site: self.site,
            device: self.device,
        }
    }
}

impl PageClaim {
    /// What a device that claims says to a broker that asks for a password; the user is its name.
    pub fn password(&self) -> Password {
        let of = DeviceKey {
            id: 0,
            bytes: self.code,
        };
        of.password()
    }
}

fn code(claim: &PageClaim) -> Code {
    Code {
        id: ClaimId(claim.id),
        key: Key::new(claim.code),
    }
}

#[cfg(test)]
pub(crate) mod tests;
