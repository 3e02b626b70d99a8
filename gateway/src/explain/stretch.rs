//! Stretch: which entries of the past are asked for, by position or by when they were written.
//!
//! ```text
//! Before ──an entry at or behind `from`──▶ Within ──an entry at or behind `to`──▶ Behind
//! ```
//! An entry written by a clock that was not trusted is at no time: it belongs to what the entry
//! before it belongs to.

use serde::Serialize;

use super::ExplainError;
use super::past::{Past, Replay, Step};
use crate::record::rfc3339;
use crate::time::Timestamp;

/// An edge of what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// A log position.
    Position(u64),
    /// When an entry was written, UTC in µs.
    Time(i64),
}

/// What is asked for: from an edge on, up to before another.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Where it begins; as far back as the log reaches without one.
    pub from: Option<Edge>,
    /// Where it ends; with the log without one.
    pub to: Option<Edge>,
}

/// Where an entry stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before what is asked for: only what it leaves behind matters.
    #[default]
    Before,
    /// In it.
    Within,
    /// Behind it, as is everything from here on.
    Behind,
}

/// What part of the log was replayed, and what of it was asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Position of the oldest entry from which records can be derived again.
    pub reach_position: u64,
    /// When the gateway had come so far; `null` for the log's first entry.
    pub reach_time: Option<String>,
    /// Whether the log reaches back to what was asked for.
    pub is_reached: bool,
    /// Whether it goes as far as what was asked for.
    pub is_ended: bool,
    /// Position the replay began at.
    pub began_position: u64,
    /// Position of the first entry asked for.
    pub from_position: Option<u64>,
    /// When it was written.
    pub from_time: Option<String>,
    /// Position behind the last entry asked for.
    pub to_position: u64,
    /// When that was written.
    pub to_time: Option<String>,
    /// Position behind the log's last entry.
    pub end_position: u64,
    /// Entries asked for.
    pub entries: u64,
    /// Entries that the disk lost, since the replay began.
    pub entries_missing: u64,
    /// Entries that cannot be read, since the replay began.
    pub entries_unreadable: u64,
}

/// Follows a replay from before what is asked for to behind it.
#[derive(Debug)]
pub struct Stretch {
    asked: Asked,
    phase: Phase,
    last_at: Option<Timestamp>,
    extent: Extent,
}

impl Edge {
    fn is_reached(self, step: &Step) -> bool {
        match self {
            Self::Position(position) => step.position >= position,
            Self::Time(time_us) => step
                .logged
                .as_ref()
                .is_some_and(|logged| logged.at.wall_trusted && logged.at.wall_us >= time_us),
        }
    }

    fn told(self) -> String {
        match self {
            Self::Position(position) => format!("position {position}"),
            Self::Time(time_us) => rfc3339(time_us),
        }
    }
}

impl Stretch {
    /// Begins a replay early enough for what is asked for, and `before_us` earlier if the log
    /// reaches back that far.
    ///
    /// # Errors
    /// The log has nothing of what is asked for.
    pub fn begin(
        past: &Past,
        asked: Asked,
        before_us: i64,
    ) -> Result<(Self, Replay), ExplainError> {
        let first = past.begin_first()?;
        let reach_position = first.from;
        let reach = (first.from > 0).then(|| first.pipeline.newest_at());
        let replay = match asked.from {
            None => first,
            Some(Edge::Time(time_us)) => past.begin_written(time_us.saturating_sub(before_us))?.0,
            Some(Edge::Position(position)) => {
                let near = past.begin_at_most(position)?;
                let at = near.pipeline.newest_at();
                if before_us > 0 && near.from > 0 && at.wall_trusted {
                    past.begin_written(at.wall_us.saturating_sub(before_us))?.0
                } else {
                    near
                }
            }
        };
        let is_reached = match (asked.from, reach) {
            (Some(Edge::Time(time_us)), Some(at)) => at.wall_trusted && at.wall_us <= time_us,
            _ => true,
        };
        let extent = Extent {
            reach_position,
            reach_time: reach.map(|at| rfc3339(at.wall_us)),
            is_reached,
            began_position: replay.from,
            to_position: replay.from,
            end_position: past.end(),
            ..Extent::default()
        };
        let stretch = Self {
            asked,
            phase: Phase::Before,
            last_at: None,
            extent,
        };
        Ok((stretch, replay))
    }

    /// Where an entry stands; entries come in order.
    pub fn place(&mut self, step: &Step) -> Phase {
        let has_begun = |from: Option<Edge>| from.is_none_or(|edge| edge.is_reached(step));
        if self.phase == Phase::Before && has_begun(self.asked.from) {
            self.phase = Phase::Within;
        }
        if self.asked.to.is_some_and(|edge| edge.is_reached(step)) {
            self.phase = Phase::Behind;
            self.extent.is_ended = true;
        }
        if self.phase == Phase::Behind {
            return self.phase;
        }
        self.extent.entries_missing += step.missing.end - step.missing.start;
        self.extent.entries_unreadable += u64::from(step.logged.is_none());
        let at = step.logged.as_ref().map(|logged| logged.at);
        self.last_at = at.or(self.last_at);
        if self.phase == Phase::Within {
            self.extent.entries += 1;
            self.extent.to_position = step.position + 1;
            if self.extent.from_position.is_none() {
                self.extent.from_position = Some(step.position);
                self.extent.from_time = at.map(|at| rfc3339(at.wall_us));
            }
        }
        self.phase
    }

    /// What was replayed.
    ///
    /// # Errors
    /// The log has nothing of what is asked for.
    pub fn end(mut self) -> Result<Extent, ExplainError> {
        let last = self.last_at.map(|at| rfc3339(at.wall_us));
        if self.extent.entries > 0 || self.extent.end_position == 0 {
            self.extent.is_ended |= self.asked.to.is_none();
            self.extent.to_time = last;
            return Ok(self.extent);
        }
        let from = self.asked.from.map(|edge| format!("from {}", edge.told()));
        let to = self.asked.to.map(|edge| format!("before {}", edge.told()));
        let asked: Vec<String> = from.into_iter().chain(to).collect();
        Err(ExplainError::NothingThere {
            asked: asked.join(" and "),
            reach: self.extent.reach_position,
            since: self
                .extent
                .reach_time
                .map_or_else(String::new, |time| format!(" of {time}")),
            end: self.extent.end_position,
            until: last.map_or_else(String::new, |time| {
                format!("; the newest looked at was written at {time}")
            }),
        })
    }
}
