//! The past: a log opened to derive its records again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use tidegate_shared::ids::SiteName;

use super::ExplainError;
use crate::disk::Disk;
use crate::entry::Logged;
use crate::log::{Entries, LocalLog, Log, Opened};
use crate::pipeline::{Pipeline, Restored};
use crate::record::{Emitted, to_json};
use crate::rules::settings::LogSettings;
use crate::store;
use crate::time::{SECOND_US, Timestamp};

/// A device's clock may be so far ahead of the gateway's: a sample may be in the log that long
/// before its time.
const AHEAD_US: i64 = 86_400 * SECOND_US;

/// A record as a line of NDJSON, without the line's end: its place, then the record.
pub fn line(emitted: &Emitted) -> String {
    format!(
        r#"{{"position":{},"ordinal":{},"record":{}}}"#,
        emitted.place.position,
        emitted.place.ordinal,
        to_json(&emitted.record)
    )
}

/// A log opened to be looked at.
pub struct Past {
    log: LocalLog,
    site: SiteName,
}

/// What an entry of the past did.
#[derive(Debug)]
pub struct Step {
    /// The entry's position.
    pub position: u64,
    /// Positions before it that are not in the log any more.
    pub missing: Range<u64>,
    /// The entry; `None` when it cannot be read, and then it did nothing.
    pub logged: Option<Logged>,
    /// The records it caused, in order.
    pub emitted: Vec<Emitted>,
}

/// The past from a beginning on, entry by entry; ends behind an error.
pub struct Replay {
    /// The state behind the entries so far.
    pub pipeline: Pipeline,
    /// Position of the first entry.
    pub from: u64,
    entries: Entries,
    next: u64,
}

impl Past {
    /// Opens the log of a data directory. Writes nothing, but through the disk's overlay.
    ///
    /// # Errors
    /// The disk refused.
    pub fn open(
        disk: Arc<dyn Disk>,
        site: &SiteName,
        settings: LogSettings,
    ) -> Result<Self, ExplainError> {
        let Opened { log, .. } = LocalLog::open(disk, store::LOG, settings, 0)?;
        Ok(Self {
            log,
            site: site.clone(),
        })
    }

    /// Position behind the last entry.
    pub fn end(&self) -> u64 {
        self.log.end()
    }

    /// Positions of the bases whose entries are all there, oldest first.
    pub fn bases(&self) -> Vec<u64> {
        let reach = self.log.start_position();
        let positions = self.log.base_positions();
        positions.filter(|position| *position >= reach).collect()
    }

    /// Where deriving can begin, oldest first: the log's first entry, if it still has it, and
    /// the bases.
    fn beginnings(&self) -> BTreeSet<u64> {
        let mut beginnings: BTreeSet<u64> = self.bases().into_iter().collect();
        if self.log.start_position() == 0 {
            beginnings.insert(0);
        }
        beginnings
    }

    /// Begins at the oldest beginning.
    ///
    /// # Errors
    /// There is none that can be read.
    pub fn begin_first(&self) -> Result<Replay, ExplainError> {
        let mut beginnings = self.beginnings().into_iter();
        beginnings
            .find_map(|position| self.begin_at(position))
            .unwrap_or(Err(ExplainError::NoBeginning))
    }

    /// Begins at the newest beginning at or before a position.
    ///
    /// # Errors
    /// There is none that can be read.
    pub fn begin_at_most(&self, position: u64) -> Result<Replay, ExplainError> {
        let beginnings = self.beginnings();
        let mut before = beginnings.range(..=position).rev();
        let found = before.find_map(|at| self.begin_at(*at));
        found.unwrap_or_else(|| {
            let reach = self.begin_first()?.from;
            Err(ExplainError::TooEarly { position, reach })
        })
    }

    /// Begins so early that every sample of an event time comes behind it, if the log reaches
    /// back that far. Says when its base was written; `None` for the log's first entry.
    ///
    /// A base will do when it, and all before it, were written a day or more before that time by
    /// a clock that was trusted.
    ///
    /// # Errors
    /// There is no beginning that can be read.
    pub fn begin_before(&self, time_us: i64) -> Result<(Replay, Option<Timestamp>), ExplainError> {
        self.begin_written(time_us.saturating_sub(AHEAD_US))
    }

    /// Begins at the newest beginning that was written up to a time by a clock that was trusted,
    /// as were all before it, else at the oldest one. Says when its base was written; `None` for
    /// the log's first entry.
    ///
    /// # Errors
    /// There is no beginning that can be read.
    pub fn begin_written(
        &self,
        until_us: i64,
    ) -> Result<(Replay, Option<Timestamp>), ExplainError> {
        let mut chosen = None;
        for position in self.beginnings() {
            let Some(replay) = self.begin_at(position) else {
                continue;
            };
            let replay = replay?;
            let at = (position > 0).then(|| replay.pipeline.newest_at());
            let is_early = at.is_none_or(|at| at.wall_trusted && at.wall_us <= until_us);
            if is_early || chosen.is_none() {
                chosen = Some((replay, at));
            }
            if !is_early {
                break;
            }
        }
        chosen.ok_or(ExplainError::NoBeginning)
    }

    /// Begins at a beginning; `None` when its base cannot be read whole.
    fn begin_at(&self, position: u64) -> Option<Result<Replay, ExplainError>> {
        let pipeline = if position == 0 {
            Pipeline::new(&self.site)
        } else {
            let read = self.log.read_base(position).ok()?;
            let (pipeline, lost) = store::pipeline_of(&self.site, &read.base);
            if !read.is_intact() || lost != Restored::default() {
                return None;
            }
            pipeline
        };
        let entries = self.log.read(store::PARTITION, position);
        Some(entries.map_err(ExplainError::from).map(|entries| Replay {
            pipeline,
            from: position,
            entries,
            next: position,
        }))
    }
}

impl Iterator for Replay {
    type Item = Result<Step, ExplainError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (position, bytes) = match self.entries.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error.into())),
        };
        let missing = self.next..position.max(self.next);
        self.next = position + 1;
        let mut emitted = Vec::new();
        let logged = postcard::from_bytes::<Logged>(&bytes).ok();
        if let Some(logged) = &logged {
            self.pipeline.apply(position, logged, &mut emitted);
        }
        Some(Ok(Step {
            position,
            missing,
            logged,
            emitted,
        }))
    }
}
