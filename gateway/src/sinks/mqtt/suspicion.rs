//! Suspicion: a record that brings the connection down.
//!
//! A broker of 3.1.1 has no word for a message that it will not take: it closes the connection.
//! Sent again with others around it, such a record would hold the queue for ever, and no other
//! could be blamed. So after a connection that closed without a word while messages were
//! unacknowledged, the first of them goes alone; when it alone has closed [`STRIKES_MAX`]
//! connections that were fine until then, it is refused. A broker that restarts closes
//! connections too, but not that often in the growing waits between the attempts.

use crate::record::RecordId;

/// Connections that one record may close, sent alone, before it is refused: with the waits
/// between attempts some 20 s.
pub const STRIKES_MAX: u32 = 6;

/// Which record is suspected.
#[derive(Debug, Default)]
pub struct Suspicion {
    suspect: Option<(RecordId, u32)>,
}

impl Suspicion {
    /// Whether the next attempt has to send its first record alone.
    pub fn is_on(&self) -> bool {
        self.suspect.is_some()
    }

    /// A connection closed without a word, and this was the first unacknowledged record. Returns
    /// whether it is to be refused.
    pub fn strike(&mut self, id: RecordId) -> bool {
        let strikes = match self.suspect {
            Some((suspect, strikes)) if suspect == id => strikes + 1,
            _ => 1,
        };
        self.suspect = Some((id, strikes));
        strikes > STRIKES_MAX
    }

    /// A record was acknowledged.
    pub fn acquit(&mut self) {
        self.suspect = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: RecordId = RecordId([1; 16]);
    const OTHER: RecordId = RecordId([2; 16]);

    #[test]
    fn one_record_that_closes_connection_after_connection_is_refused() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.is_on());
        for _ in 0..STRIKES_MAX {
            assert!(!suspicion.strike(ONE));
            assert!(suspicion.is_on());
        }
        assert!(suspicion.strike(ONE));
    }

    #[test]
    fn another_record_or_an_acknowledgement_begins_anew() {
        let mut suspicion = Suspicion::default();
        for _ in 0..STRIKES_MAX {
            suspicion.strike(ONE);
        }
        assert!(!suspicion.strike(OTHER));
        assert!(!suspicion.strike(ONE));
        suspicion.acquit();
        assert!(!suspicion.is_on());
        assert!(!suspicion.strike(ONE));
    }
}
