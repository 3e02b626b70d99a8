//! Wall: the gateway's wall clock as the log tells it, over all starts.
//!
//! Terms: the *base* of a moment is its wall time minus its monotonic time. Within a start the
//! monotonic clock carries any trusted base to moments whose wall clock was untrusted, earlier
//! and later ones; it does not outlive the start. The wall is *known* in a start once the start
//! has had one trusted entry.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// When an entry was made: on the clocks of which start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The gateway's start.
    pub start: u32,
    /// Its clocks.
    pub at: Timestamp,
}

impl Moment {
    /// Wall minus monotonic time, in µs.
    pub fn base_us(&self) -> i64 {
        self.at.wall_us.saturating_sub_unsigned(self.at.mono_us)
    }
}

/// What is known of the wall clock.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wall {
    /// The newest entry.
    newest: Moment,
    /// The newest trusted one.
    trusted: Option<Moment>,
    /// Least base of the newest start: it did not begin before the trusted entry ahead of it.
    floor_us: Option<i64>,
}

impl Wall {
    /// Takes an entry's moment. Returns whether the wall became known in its start by it.
    pub fn advance(&mut self, moment: Moment) -> bool {
        if moment.start != self.newest.start {
            let trusted_us = self.newest_trusted_us();
            self.floor_us = trusted_us.map(|us| us.saturating_sub_unsigned(moment.at.mono_us));
        }
        self.newest = moment;
        if !moment.at.wall_trusted {
            return false;
        }
        let was_known = self.is_known();
        self.trusted = Some(moment);
        !was_known
    }

    /// Whether it is known in the newest entry's start.
    pub fn is_known(&self) -> bool {
        self.base_us(self.newest.start).is_some()
    }

    /// The trusted base of a start, if that is the one with the newest trusted entry.
    pub fn base_us(&self, start: u32) -> Option<i64> {
        let trusted = self.trusted.filter(|one| one.start == start)?;
        Some(trusted.base_us())
    }

    /// Wall time of the newest trusted entry, in µs.
    pub fn newest_trusted_us(&self) -> Option<i64> {
        self.trusted.map(|one| one.at.wall_us)
    }

    /// Whether the time of an earlier moment is known: it was trusted, or its start had trust.
    pub fn knows(&self, moment: &Moment) -> bool {
        moment.at.wall_trusted || self.base_us(moment.start).is_some()
    }

    /// An untrusted moment, its wall clock no earlier than it can have been.
    pub fn lifted(&self, moment: &Moment) -> Moment {
        let floor_us = self.floor_us.filter(|_| moment.start == self.newest.start);
        let base_us = floor_us.map_or(moment.base_us(), |floor| floor.max(moment.base_us()));
        let wall_us = base_us.saturating_add_unsigned(moment.at.mono_us);
        Moment {
            at: Timestamp {
                wall_us,
                ..moment.at
            },
            ..*moment
        }
    }

    /// An earlier moment as well as it is known. One of an earlier start that never had trust is
    /// the newest entry's, if that is known: it was not later.
    pub fn best(&self, moment: &Moment) -> Timestamp {
        if moment.at.wall_trusted {
            return moment.at;
        }
        let at = |base_us: i64, mono_us| Timestamp {
            mono_us,
            wall_us: base_us.saturating_add_unsigned(mono_us),
            wall_trusted: true,
        };
        if let Some(base_us) = self.base_us(moment.start) {
            return at(base_us, moment.at.mono_us);
        }
        match self.base_us(self.newest.start) {
            Some(base_us) => at(base_us, self.newest.at.mono_us),
            None => self.lifted(moment).at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(start: u32, mono_us: u64, wall_us: i64, wall_trusted: bool) -> Moment {
        let at = Timestamp {
            mono_us,
            wall_us,
            wall_trusted,
        };
        Moment { start, at }
    }

    #[test]
    fn trust_reaches_back_and_forth_within_a_start_and_bounds_earlier_ones() {
        let mut wall = Wall::default();
        let early = moment(1, 10, 3, false);
        assert!(!wall.advance(early));
        assert!(!wall.knows(&early));
        assert_eq!(wall.best(&early), early.at);
        assert!(wall.advance(moment(1, 30, 5_030, true)));
        assert!(!wall.advance(moment(1, 31, 5_031, true)), "known already");
        assert_eq!(wall.best(&early), moment(1, 10, 5_010, true).at);
        assert!(!wall.advance(moment(1, 40, 7, false)));
        assert!(wall.is_known());
        assert_eq!(wall.best(&moment(1, 40, 7, false)).wall_us, 5_040);
        wall.advance(moment(2, 5, 7, false));
        assert!(!wall.is_known());
        let lost = moment(2, 5, 7, false);
        wall.advance(moment(3, 2, 9_002, true));
        assert!(!wall.knows(&lost));
        assert_eq!(wall.best(&lost), moment(3, 2, 9_002, true).at);
        assert_eq!(wall.newest_trusted_us(), Some(9_002));
        // The next start cannot lie before that, however it reckons.
        wall.advance(moment(4, 100, 50, false));
        assert_eq!(wall.best(&moment(4, 100, 50, false)).wall_us, 9_002);
        assert_eq!(wall.best(&moment(4, 130, 80, false)).wall_us, 9_032);
        assert_eq!(wall.best(&moment(4, 140, 9_900, false)).wall_us, 9_900);
    }
}
