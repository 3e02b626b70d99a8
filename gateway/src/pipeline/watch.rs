//! Watches: an alert of a rule on one sensor.
//!
//! ```text
//!              when holds           …for `for` in event time
//!   quiet ──────────────────▶ pending ──────────────────────▶ open ──┐ every `repeat`: still
//!     ▲  when does not hold      │                             │ ◀────┘
//!     └──────────────────────────┘◀─── clear holds, or without it when does not ───┘ cleared
//!
//!   no sample for `silent_for` in arrival time ──▶ silent: opened ── a sample ──▶ cleared
//! ```
//! Invariants:
//! - `for`, `repeat` and clearing run in event time, from sample to sample; only silence runs on
//!   ticks. A condition that cannot be worked out (an absent input) changes nothing.
//! - A sample that is not newer than the one before changes nothing: it comes out of order.
//! - Of one opening there is one clearing, be it that the rule changes.
//! - An alert is *historic* when the sample that opened it was older than `historic_after` when it
//!   arrived: what it says is over, perhaps.

use serde::{Deserialize, Serialize};

use super::gate::Let;
use super::lane::{Sample, Tide};
use super::program::{Constants, Program};
use crate::record::id::SampleIdentity;
use crate::record::{AlertCause, AlertState, ClockQuality};
use crate::rules::Alert;

/// An alert of a rule on one sensor.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    state: State,
    /// Since when the sensor is taken as silent, in event time: its newest sample.
    silent_us: Option<i64>,
    /// The newest sample in event time.
    newest: Option<Newest>,
    /// Whether an epoch began since: the next sample is newer, whatever its time.
    anew: bool,
    /// Arrival time of the sample logged last.
    heard_us: Option<i64>,
    #[serde(skip)]
    bound: Bound,
}

/// The newest sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Newest {
    identity: SampleIdentity,
    raw: i64,
    clock: ClockQuality,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Quiet,
    /// The condition holds since then.
    Pending { since_us: i64 },
    /// It opened; the last record is of `told_us`.
    Open {
        since_us: i64,
        told_us: i64,
        historic: bool,
    },
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Bound {
    when: Option<Program>,
    clear: Option<Program>,
}

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transition {
    pub cause: AlertCause,
    pub state: AlertState,
    pub historic: bool,
    /// Since when what is told holds: of a condition its first sample, of silence the last one
    /// before it.
    pub start_us: i64,
    /// When it was so: the sample's time, or where silence was long enough.
    pub end_us: i64,
    /// The newest sample.
    pub identity: SampleIdentity,
    /// Its raw value; `None` where silence is told.
    pub raw: Option<i64>,
    pub clock: ClockQuality,
}

/// An alert that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub cause: AlertCause,
    /// Since when, in event time.
    pub since_us: i64,
    pub historic: bool,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(alert: &Alert, constants: &Constants<'_>) -> Self {
        let mut watch = Self::default();
        watch.bind(alert, constants);
        watch
    }

    /// Binds the rule's expressions.
    pub fn bind(&mut self, alert: &Alert, constants: &Constants<'_>) {
        let bind = |expression| Program::bind(expression, constants);
        self.bound = Bound {
            when: alert.when.as_ref().map(bind),
            clear: alert.clear.as_ref().map(bind),
        };
    }

    /// Begins an epoch: what is open stays open, but time may run differently.
    pub fn begin_epoch(&mut self) {
        if let State::Pending { .. } = self.state {
            self.state = State::Quiet;
        }
        self.anew = true;
    }

    /// Samples came, whether or not the rule's filter lets them pass: the sensor is not silent.
    pub fn hear(&mut self, now_us: i64) {
        self.heard_us = Some(now_us);
    }

    /// Takes a sample that passed.
    pub fn take(
        &mut self,
        alert: &Alert,
        sample: &Sample,
        passed: &Let,
        tide: &Tide,
        tell: &mut dyn FnMut(Transition),
    ) {
        let time_us = sample.time_us;
        let is_newer = self
            .newest
            .is_none_or(|newest| newest.identity.time_us < time_us);
        if !is_newer && !std::mem::take(&mut self.anew) {
            return;
        }
        self.anew = false;
        let newest = Newest {
            identity: tide.identity(sample),
            raw: passed.raw,
            clock: tide.clock,
        };
        self.newest = Some(newest);
        if let Some(since_us) = self.silent_us.take() {
            // What was sent late is older than the silence that was told.
            let told_us = since_us.saturating_add(alert.silent_for_us.unwrap_or(0));
            let span = (since_us.min(time_us), time_us.max(told_us));
            tell(newest.tells(AlertCause::Silence, AlertState::Cleared, false, span));
        }
        self.examine(alert, passed, &newest, tide, tell);
    }

    fn examine(
        &mut self,
        alert: &Alert,
        passed: &Let,
        newest: &Newest,
        tide: &Tide,
        tell: &mut dyn FnMut(Transition),
    ) {
        let Some(when) = &self.bound.when else {
            return;
        };
        let time_us = newest.identity.time_us;
        let mut say = |state, historic, since_us: i64| {
            let span = (since_us.min(time_us), time_us);
            tell(newest.tells(AlertCause::Condition, state, historic, span));
        };
        if let State::Open {
            since_us,
            told_us,
            historic,
        } = &mut self.state
        {
            let clears = match &self.bound.clear {
                Some(clear) => clear.holds(&passed.inputs),
                None => when.holds(&passed.inputs).map(|holds| !holds),
            };
            if clears == Some(true) {
                say(AlertState::Cleared, *historic, *since_us);
                self.state = State::Quiet;
            } else if alert
                .repeat_us
                .is_some_and(|repeat_us| time_us.saturating_sub(*told_us) >= repeat_us)
            {
                *told_us = time_us;
                say(AlertState::Still, *historic, *since_us);
            }
            return;
        }
        let Some(holds) = when.holds(&passed.inputs) else {
            return;
        };
        if !holds {
            self.state = State::Quiet;
            return;
        }
        let since_us = match self.state {
            State::Pending { since_us } => since_us,
            _ => time_us,
        };
        if time_us.saturating_sub(since_us) < alert.for_us {
            self.state = State::Pending { since_us };
            return;
        }
        let historic = tide.arrived_us.saturating_sub(time_us) > alert.historic_after_us;
        self.state = State::Open {
            since_us,
            told_us: time_us,
            historic,
        };
        say(AlertState::Opened, historic, since_us);
    }

    /// What is open: a condition, silence, both or neither.
    pub fn opened(&self) -> [Option<Opened>; 2] {
        let condition = match self.state {
            State::Open {
                since_us, historic, ..
            } => Some(Opened {
                cause: AlertCause::Condition,
                since_us,
                historic,
            }),
            State::Quiet | State::Pending { .. } => None,
        };
        let silence = self.silent_us.map(|since_us| Opened {
            cause: AlertCause::Silence,
            since_us,
            historic: false,
        });
        [condition, silence]
    }

    /// The raw of the newest sample.
    pub fn newest_raw(&self) -> Option<i64> {
        self.newest.map(|newest| newest.raw)
    }

    /// When silence is due, in arrival time; `since_us` is from when on it can be heard.
    pub fn silent_at_us(&self, alert: &Alert, since_us: i64) -> Option<i64> {
        let silent_for_us = alert.silent_for_us?;
        if self.silent_us.is_some() {
            return None;
        }
        // A sensor that never spoke has not fallen silent.
        let heard_us = self.heard_us?;
        Some(heard_us.max(since_us).saturating_add(silent_for_us))
    }

    /// The sensor is silent.
    pub fn fall_silent(&mut self, alert: &Alert, tell: &mut dyn FnMut(Transition)) {
        let Some((newest, silent_for_us)) = self.newest.zip(alert.silent_for_us) else {
            return;
        };
        let since_us = newest.identity.time_us;
        self.silent_us = Some(since_us);
        let span = (since_us, since_us.saturating_add(silent_for_us));
        tell(newest.tells(AlertCause::Silence, AlertState::Opened, false, span));
    }

    /// The rule ends in this version: what is open is cleared.
    pub fn end(&mut self, tell: &mut dyn FnMut(Transition)) {
        let Some(newest) = self.newest else {
            return;
        };
        let time_us = newest.identity.time_us;
        if let State::Open {
            since_us, historic, ..
        } = std::mem::take(&mut self.state)
        {
            let span = (since_us.min(time_us), time_us);
            tell(newest.tells(AlertCause::Condition, AlertState::Cleared, historic, span));
        }
        if let Some(since_us) = self.silent_us.take() {
            let span = (since_us.min(time_us), time_us);
            tell(newest.tells(AlertCause::Silence, AlertState::Cleared, false, span));
        }
    }
}

impl Newest {
    fn tells(
        &self,
        cause: AlertCause,
        state: AlertState,
        historic: bool,
        (start_us, end_us): (i64, i64),
    ) -> Transition {
        let is_silence = cause == AlertCause::Silence && state == AlertState::Opened;
        Transition {
            cause,
            state,
            historic,
            start_us,
            end_us,
            identity: self.identity,
            raw: (!is_silence).then_some(self.raw),
            clock: self.clock,
        }
    }
}
