//! Sealing: what a device with a key seals, and which sealed frames it takes.
//!
//! The device keeps plain frames and hands each to its [`Guard`] when it goes out; what comes in is
//! opened here before anything else looks at it. The format is [`tidegate_shared::seal`].
//!
//! Terms: a *counter* numbers what this boot said unsequenced, from 1. A down frame is *new* when it
//! answers a Hello of this connection, none older than the one before it did, and was not counted
//! by its gateway's term already.
//!
//! Invariants:
//! 1. No counter of a boot stands on two different frames, whatever connections, keys and
//!    incarnations come and go; when numbers run out, nothing unsequenced is said until the next boot.
//! 2. What is taken was sealed for this incarnation and boot by who holds the key, and is taken
//!    once: neither what was recorded earlier nor what is recorded now comes in again.
//! 3. A will counts one less than the `online` of its connection: so a gateway tells a will that
//!    comes late from the newest connection's.

#[cfg(test)]
pub(crate) mod tests;

use heapless::String;
use tidegate_shared::ids::{Incarnation, Term};
use tidegate_shared::message::Down;
use tidegate_shared::seal::{self, Envelope, Key, Opening, PASSWORD_BYTES, Way};

use crate::device::ReceiveError;
use crate::settings::DeviceKey;

/// Gateways whose frames behind one Hello are told apart: the owner, and the one standing by.
pub const TERMS_MAX: usize = 2;

/// A password as a broker is told it: hexadecimal digits.
pub type Password = String<{ 2 * PASSWORD_BYTES }>;

impl DeviceKey {
    /// What the device says to a broker that asks for a password; the user is the device's name.
    pub fn password(&self) -> Password {
        let mut password = Password::new();
        for byte in Key::new(self.bytes).password() {
            for digit in [byte >> 4, byte & 0xf] {
                let digit = char::from_digit(digit.into(), 16).unwrap_or_default();
                // Two digits a byte: that is its capacity.
                let _ = password.push(digit);
            }
        }
        password
    }
}

/// What is to be sealed, as far as its number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A held frame: numbered by its sequence.
    Frame,
    /// A Hello, which down frames then answer.
    Hello,
    /// A Progress.
    Progress,
    /// The offline that the broker says when the connection to come is lost.
    Will,
    /// The online of that connection.
    Online,
    /// The offline that the device says itself.
    Goodbye,
}

/// A device's key, and what it knows of the frames that went out and came in under it.
#[derive(Debug)]
pub struct Guard {
    id: u8,
    key: Key,
    /// The newest counter said; 0 before the first.
    counter: u32,
    /// The counter kept for this connection's `online`; 0 before the first will.
    online: u32,
    /// First and newest Hello of this connection.
    hellos: Option<(u32, u32)>,
    /// The Hello that the newest frame taken answered.
    taken: u32,
    /// Who answered it, and up to which counter; a counter of 0 is nobody's.
    terms: [(Term, u32); TERMS_MAX],
}

impl Guard {
    /// A guard at the begin of a boot.
    pub fn new(key: &DeviceKey) -> Self {
        Self {
            id: key.id,
            key: Key::new(key.bytes),
            counter: 0,
            online: 0,
            hellos: None,
            taken: 0,
            terms: [(Term(0), 0); TERMS_MAX],
        }
    }

    /// A connection begins or ends: Hellos said before are answered no more.
    pub fn begin_connection(&mut self) {
        self.hellos = None;
    }

    /// Seals a plain frame into `out`, which has to be [`seal::SEAL_BYTES_MAX`] longer; `None` when
    /// it is not, or when the numbers ran out.
    pub fn seal(&mut self, said: Said, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let counter = self.number(said)?;
        seal::seal(&self.key, self.id, Way::Up { counter }, plain, out).ok()
    }

    /// Opens a down frame into `out`, which takes the plain frame, for the device's incarnation and
    /// boot of now.
    pub fn open<'o>(
        &mut self,
        (incarnation, boot): (Incarnation, u32),
        sealed: &[u8],
        out: &'o mut [u8],
    ) -> Result<Down<'o>, ReceiveError> {
        if !seal::is_sealed(sealed) {
            return Err(ReceiveError::Unsealed);
        }
        let opening = Opening::Down { boot };
        let envelope = seal::envelope(sealed, opening).map_err(ReceiveError::Frame)?;
        if envelope.header.key_id != self.id {
            return Err(ReceiveError::OtherKey);
        }
        if envelope.header.incarnation != incarnation {
            return Err(ReceiveError::Stranger);
        }
        let terms = self.after(&envelope).ok_or(ReceiveError::Stale)?;
        let opened =
            seal::open(&self.key, opening, sealed, out).map_err(|_| ReceiveError::Forged)?;
        let message = Down::read(opened.frame.body).map_err(ReceiveError::Body)?;
        let said = match &message {
            Down::Welcome(welcome) => Some(welcome.term),
            Down::Ack(ack) => Some(ack.term),
            Down::Refused(refused) => Some(refused.term),
            _ => None,
        };
        if said.is_some_and(|term| term != term_of(&envelope)) {
            return Err(ReceiveError::Forged);
        }
        self.taken = envelope.header.mark.sequence;
        self.terms = terms;
        Ok(message)
    }

    /// The number of what is said now.
    fn number(&mut self, said: Said) -> Option<u32> {
        match said {
            Said::Frame => Some(0),
            Said::Hello => {
                let counter = self.next()?;
                let first = self.hellos.map_or(counter, |(first, _)| first);
                self.hellos = Some((first, counter));
                Some(counter)
            }
            Said::Progress | Said::Goodbye => self.next(),
            Said::Will => {
                let counter = self.next()?;
                self.online = self.next()?;
                Some(counter)
            }
            // Said again when it was not taken, it is the same frame.
            Said::Online => Some(self.online).filter(|online| *online > 0),
        }
    }

    fn next(&mut self) -> Option<u32> {
        self.counter = self.counter.checked_add(1)?;
        Some(self.counter)
    }

    /// Who has answered up to which counter once this frame is taken; `None` unless it is new.
    fn after(&self, envelope: &Envelope) -> Option<[(Term, u32); TERMS_MAX]> {
        let hello = envelope.header.mark.sequence;
        let (first, newest) = self.hellos?;
        if hello < first.max(self.taken) || hello > newest {
            return None;
        }
        let mut terms = self.terms;
        if hello > self.taken {
            terms = [(Term(0), 0); TERMS_MAX];
        }
        let term = term_of(envelope);
        let place = terms
            .iter_mut()
            .find(|(one, counter)| *one == term || *counter == 0)?;
        if place.1 >= envelope.counter {
            return None;
        }
        *place = (term, envelope.counter);
        Some(terms)
    }
}

/// The gateway's term that a down frame says.
fn term_of(envelope: &Envelope) -> Term {
    Term(envelope.header.mark.boot)
}
