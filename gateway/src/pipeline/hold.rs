//! Hold: whether frames wait for the gateway's wall clock to be trusted.
//!
//! A device holds when its first waiting frame has a time that hangs on that clock (see
//! [`crate::clock::Clocks::needs_wall`]); what comes behind it waits with it, in order.
//!
//! ```text
//!        first entry of a start without trust          wall known: devices go on, but for frames
//!  off ───────────────────────────────────────▶ on ──▶ of an earlier start, whose device may
//!   ▲                                          │ │     still say where its boot lies
//!   │ wall known and nobody holds              │ │
//!   ├──────────────────────────────────────────┘ │ `clock.wait` passed, or too many bytes held:
//!   └────────────────────────── over ◀───────────┘ devices go on, their records marked
//! ```
//! Invariants:
//! - The wait is arrival time, which runs on over restarts, so that starts in quick succession do
//!   not add up to a longer one. Once it is over, only a later start begins another.
//! - Losing trust within a start that had it holds nothing: the monotonic clock carries it on.

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::entry::Limits;

/// The hold, as the log has brought it about.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    stage: Stage,
    start: u32,
    /// Frames' bytes that began to wait since it is on.
    pub bytes: u64,
    /// Times it ended because too many bytes were held.
    pub cut_short: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    #[default]
    Off,
    /// Since an arrival time, in µs.
    On(i64),
    Over,
}

impl Hold {
    /// Takes an entry of a gateway start. `anyone` tells whether a device holds. Returns whether
    /// devices must go on because the wait is over.
    pub fn advance(
        &mut self,
        start: u32,
        wall: &Wall,
        anyone: bool,
        now_us: i64,
        limits: &Limits,
    ) -> bool {
        let is_new = self.start != start;
        self.start = start;
        match self.stage {
            Stage::Off | Stage::Over if wall.is_known() => self.set(Stage::Off),
            Stage::On(_) if wall.is_known() && !anyone => self.set(Stage::Off),
            Stage::Off => self.set(Stage::On(now_us)),
            Stage::Over if is_new => self.set(Stage::On(now_us)),
            Stage::Over | Stage::On(_) => {}
        }
        let is_full = self.bytes > limits.clock_hold_bytes_max;
        let is_due = self.until_us(limits).is_some_and(|until| until <= now_us);
        if is_due || is_full && self.is_on() {
            self.cut_short += u64::from(!is_due);
            self.set(Stage::Over);
            return true;
        }
        false
    }

    fn set(&mut self, stage: Stage) {
        self.stage = stage;
        self.bytes = 0;
    }

    /// Whether frames wait.
    pub fn is_on(&self) -> bool {
        matches!(self.stage, Stage::On(_))
    }

    /// Until when at most, in arrival time.
    pub fn until_us(&self, limits: &Limits) -> Option<i64> {
        match self.stage {
            Stage::On(since_us) => Some(since_us.saturating_add(limits.clock_wait_us)),
            Stage::Off | Stage::Over => None,
        }
    }
}
