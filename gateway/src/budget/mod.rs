//! Budget: what to do about the bytes that leave in a month. A machine without I/O or clock.
//!
//! Terms: the *cap* is `budget.bytes_per_month`; *used* is what the bill says was sent to remote
//! sinks this month, framing among it; the *forecast* is what that makes of the whole month at the
//! pace so far. A *level* is where that stands, and a *decision* is a change of it or of what
//! follows from it. Decisions go into the log before they take effect: what follows is the
//! pipeline's ([`crate::pipeline`]), so that replay follows it, too.
//!
//! ```text
//! Free ──used ≥ warn_at, or forecast ≥ cap──► Warned ──used ≥ cap──► Capped
//!   ▲                                            │                      │
//!   └──────── another month, or another budget ──┴──────────────────────┘
//! ```
//! Invariants:
//! - Within a month and a budget the level only rises.
//! - An untrusted clock decides nothing: it does not know the month.
//! - Rules of high priority, and those that feed them, are never touched.

mod coarsening;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::coarsening::coarsened;

use crate::rules::settings::{BudgetSettings, SinkSettings};
use crate::spool::bill::{Bill, Month};
use crate::time::Timestamp;

/// The kind of these decisions in the log ([`crate::entry::Entry::Decision`]).
pub const KIND: &str = "budget";
/// The rule of the records that tell of a budget. Rules of a configuration cannot have the name.
pub const RULE: &str = "tidegate.budget";
/// What names of rules must not begin with.
pub const RESERVED: &str = "tidegate.";
/// Before so much of a month was seen there is no forecast, in µs: a day has its rhythm.
pub const FORECAST_AFTER_US: i64 = 86_400 * 1_000_000;

/// Where the month stands.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Below the warning, or without a budget.
    #[default]
    Free,
    /// Past the warning.
    Warned,
    /// The budget is used up.
    Capped,
}

/// What happens at the cap.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing but the record that says so.
    #[default]
    Nothing,
    /// Records of low priority go to no sink and are counted.
    DropLow,
    /// Tumbling windows of low and normal priority that are shorter get this length.
    Coarsen {
        /// That length in µs.
        to_us: i64,
    },
}

/// What was decided; its JSON is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Of which month.
    pub month: Month,
    /// Where it stands.
    pub level: Level,
    /// What happens while the level is [`Level::Capped`].
    pub action: Action,
    /// Bytes sent so far.
    pub used_bytes: u64,
    /// Bytes that the month will have, as it looks.
    pub forecast_bytes: Option<u64>,
    /// Bytes that a warning is due at; 0 without a budget.
    pub warn_bytes: u64,
    /// Bytes allowed; 0 without a budget.
    pub cap_bytes: u64,
    /// The sinks that are told.
    pub sinks: Vec<String>,
}

impl Decision {
    /// Before anything was decided.
    pub fn none() -> Self {
        Self {
            month: Month::Unknown,
            level: Level::Free,
            action: Action::Nothing,
            used_bytes: 0,
            forecast_bytes: None,
            warn_bytes: 0,
            cap_bytes: 0,
            sinks: Vec::new(),
        }
    }

    /// The text of its entry.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a decision holds names and numbers, which are all JSON")
    }
}

/// What was sent in a month, as the bill says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The month.
    pub month: Month,
    /// Since when the bill is kept, UTC in µs.
    pub since_us: Option<i64>,
    /// Bytes on the wire by sink.
    pub sinks: BTreeMap<String, u64>,
    /// Whether some of it may be missing.
    pub gap: bool,
}

impl Spent {
    /// What a bill says of the month of a moment.
    pub fn of(bill: &Bill, now: Timestamp) -> Self {
        let month = Month::of(now);
        let of_month = bill.months.get(&month);
        let totals = of_month.into_iter().flat_map(|one| &one.totals);
        Self {
            month,
            since_us: bill.begun_us,
            sinks: totals
                .map(|(sink, cost)| (sink.clone(), cost.wire_bytes()))
                .collect(),
            gap: of_month.is_some_and(|one| one.gap),
        }
    }
}

/// Where the budget stands, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The month.
    pub month: Month,
    /// What was decided last.
    pub level: Level,
    /// What happens at the cap.
    pub action: Action,
    /// Bytes sent; a lower bound where there is a gap.
    pub used_bytes: u64,
    /// Whether some of what was sent may be missing.
    pub gap: bool,
    /// Bytes that the month will have at this pace; unknown before a day was seen.
    pub forecast_bytes: Option<u64>,
    /// Bytes that a warning is due at.
    pub warn_bytes: u64,
    /// Bytes allowed.
    pub cap_bytes: u64,
}

/// What a gateway answers that is asked for its bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billed {
    /// What was sent.
    pub bill: Bill,
    /// Where the budget stands; none without one, or while the month is not known.
    pub standing: Option<Standing>,
}

/// Which sinks there are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sinks {
    /// Those whose bytes count.
    pub remote: Vec<String>,
    /// Those that are told.
    pub all: Vec<String>,
}

impl Sinks {
    /// The sinks of a configuration.
    pub fn of(sinks: &[SinkSettings]) -> Self {
        let name = |sink: &SinkSettings| sink.name.clone();
        let remote = sinks.iter().filter(|sink| sink.kind.is_remote());
        Self {
            remote: remote.map(name).collect(),
            all: sinks.iter().map(name).collect(),
        }
    }
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Budget {
    settings: Option<BudgetSettings>,
    sinks: Sinks,
    /// What the log holds, or will.
    held: Decision,
    spent: Option<Spent>,
}

impl Budget {
    /// The machine; `held` is what was decided last.
    pub fn new(settings: Option<BudgetSettings>, sinks: Sinks, held: Decision) -> Self {
        Self {
            settings,
            sinks,
            held,
            spent: None,
        }
    }

    /// Another budget holds from now on.
    pub fn set(&mut self, settings: Option<BudgetSettings>) {
        self.settings = settings;
    }

    /// What was sent in the month.
    pub fn hear(&mut self, spent: Spent) {
        self.spent = Some(spent);
    }

    /// What is to be logged now, if anything; it counts as logged from here on.
    pub fn decide(&mut self, now: Timestamp) -> Option<Decision> {
        if !now.wall_trusted {
            return None;
        }
        let wanted = self.wanted(now)?;
        let held = &self.held;
        let rests = wanted.level == Level::Free && held.level == Level::Free;
        let is_same = is_same_budget(&wanted, held)
            && (wanted.level, wanted.month) == (held.level, held.month);
        if rests || is_same {
            return None;
        }
        self.held = wanted.clone();
        Some(wanted)
    }

    /// The sinks that are told what is decided.
    pub fn told(&self) -> &[String] {
        &self.sinks.all
    }

    /// Where it stands; none without a budget, or while the month is not known.
    pub fn standing(&self, now: Timestamp) -> Option<Standing> {
        self.settings.filter(|_| now.wall_trusted)?;
        let wanted = self.wanted(now)?;
        let spent = self.spent.as_ref();
        Some(Standing {
            month: wanted.month,
            level: wanted.level,
            action: wanted.action,
            used_bytes: wanted.used_bytes,
            gap: spent.is_some_and(|spent| spent.gap),
            forecast_bytes: wanted.forecast_bytes,
            warn_bytes: wanted.warn_bytes,
            cap_bytes: wanted.cap_bytes,
        })
    }

    fn wanted(&self, now: Timestamp) -> Option<Decision> {
        let Some(settings) = self.settings else {
            return Some(Decision {
                month: Month::of(now),
                sinks: self.sinks.all.clone(),
                ..Decision::none()
            });
        };
        let month = Month::of(now);
        let spent = self.spent.as_ref().filter(|spent| spent.month == month)?;
        let counted = spent.sinks.iter();
        let counted = counted.filter(|(sink, _)| self.sinks.remote.contains(sink));
        let used_bytes = counted
            .map(|(_, bytes)| *bytes)
            .fold(0, u64::saturating_add);
        let forecast_bytes = forecast(month, spent.since_us, used_bytes, now.wall_us);
        let mut decision = Decision {
            month,
            level: Level::Free,
            action: settings.at_cap,
            used_bytes,
            forecast_bytes,
            warn_bytes: settings.warn_bytes(),
            cap_bytes: settings.cap_bytes,
            sinks: self.sinks.all.clone(),
        };
        let will_be = forecast_bytes.unwrap_or(0);
        decision.level = if used_bytes >= settings.cap_bytes {
            Level::Capped
        } else if used_bytes >= decision.warn_bytes || will_be >= settings.cap_bytes {
            Level::Warned
        } else {
            Level::Free
        };
        if self.held.month == month && is_same_budget(&decision, &self.held) {
            decision.level = decision.level.max(self.held.level);
        }
        Some(decision)
    }
}

fn is_same_budget(one: &Decision, other: &Decision) -> bool {
    let budget = |one: &Decision| (one.cap_bytes, one.warn_bytes, one.action);
    budget(one) == budget(other)
}

/// What a month will have at the pace so far: since its start, or since the bill began. None
/// before a day was seen.
pub fn forecast(month: Month, since_us: Option<i64>, used_bytes: u64, now_us: i64) -> Option<u64> {
    let (start_us, end_us) = (month.start_us()?, month.end_us()?);
    let seen_us = now_us - start_us.max(since_us?);
    if seen_us < FORECAST_AFTER_US || now_us >= end_us {
        return None;
    }
    let rest_us = u128::try_from(end_us - now_us).ok()?;
    let more = u128::from(used_bytes) * rest_us / u128::try_from(seen_us).ok()?;
    Some(used_bytes.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
