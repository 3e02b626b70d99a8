//! Explain: what became of a sample, found by deriving the past again.
//!
//! Terms: the *past* is a log opened to be looked at. A *beginning* is where deriving can begin:
//! the log's first entry or a base. A *trail* follows one sample from its frame to its records;
//! the spool's queues and the delivery journal say what became of those.
//!
//! Invariant: nothing in the data directory changes, and a gateway may run on it. What it writes
//! meanwhile may be missing from the answer; what it recycles meanwhile is an error that says so.
//!
//! ```text
//! data directory ─overlay─▶ past ─replay─▶ pipeline with probe ─▶ trail ─┐
//!                        └▶ journal, queues ─▶ deliveries ───────────────┴▶ answer ─▶ text, JSON
//! ```

pub mod answer;
mod deliveries;
mod losses;
pub mod past;
pub mod stretch;
mod text;
mod trail;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tidegate_shared::ids::SiteName;

pub use self::answer::Answer;
pub use self::past::{Past, Replay, Step, line};

use self::answer::Reach;
use self::trail::Trail;
use crate::disk::data_dir::{DataDir, DataDirError};
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, RealDisk};
use crate::log::LogError;
use crate::pipeline::probe::Probe;
use crate::record::rfc3339;
use crate::rules::settings::{LogSettings, Settings, SinkSettings};
use crate::spool::SpoolError;

/// Why the past could not be told. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The data directory is newer or not readable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its folder could not be opened.
    #[error("the data directory could not be read; nothing was changed")]
    Disk(#[from] std::io::Error),
    /// The log could not be read.
    #[error(
        "the log could not be read to its end; nothing was changed. A gateway that runs on it may have recycled a segment meanwhile: ask again"
    )]
    Log(#[from] LogError),
    /// The spool or its journal could not be read.
    #[error("the spool could not be read; nothing was changed")]
    Spool(#[from] SpoolError),
    /// Records before where the log reaches back to.
    #[error(
        "records can be derived from position {reach} on: position {position} is before all that the log still has"
    )]
    TooEarly {
        /// The position asked for.
        position: u64,
        /// How far back the log reaches.
        reach: u64,
    },
    /// Nothing of what was asked for is in the log.
    #[error(
        "the log has no entry {asked}: it holds positions {reach}{since} to before {end}{until}"
    )]
    NothingThere {
        /// What was asked for.
        asked: String,
        /// How far back the log reaches.
        reach: u64,
        /// When it was written, if that is not the log's first entry.
        since: String,
        /// Position behind its last entry.
        end: u64,
        /// When the newest entry that was looked at was written.
        until: String,
    },
    /// The log's first entries are recycled and no base of what is left can be read.
    #[error(
        "the log has no readable base to begin from, and its first entries are gone: its records cannot be derived again"
    )]
    NoBeginning,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// Event time, UTC in µs.
    pub time_us: i64,
}

/// A data directory to be looked at: every change stays in memory.
///
/// # Errors
/// It is missing, newer, or cannot be read.
pub fn look(settings: &Settings) -> Result<Arc<dyn Disk>, ExplainError> {
    DataDir::check(&settings.data_dir)?;
    let real: Arc<dyn Disk> = Arc::new(RealDisk::existing(&settings.data_dir)?);
    Ok(Arc::new(OverlayDisk::new(real)))
}

/// Explains what became of the sample nearest to a time. `progress` hears positions done and the
/// log's end.
///
/// # Errors
/// The log or the spool cannot be read.
pub fn explain(
    disk: &Arc<dyn Disk>,
    (site, log, sinks): (&SiteName, LogSettings, &[SinkSettings]),
    question: &Question,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Answer, ExplainError> {
    let past = Past::open(Arc::clone(disk), site, log)?;
    let (mut replay, reach) = past.begin_before(question.time_us)?;
    let probe = Probe::new(&question.device, &question.sensor, question.time_us);
    replay.pipeline.watch(probe);
    let mut trail = Trail::new(question, &replay.pipeline);
    let reach = Reach {
        from_position: replay.from,
        until_position: past.end(),
        from_time: reach.map(|at| rfc3339(at.wall_us)),
        is_complete: reach.is_none_or(|at| at.wall_trusted && at.wall_us <= question.time_us),
    };
    while let Some(step) = replay.next() {
        let step = step?;
        trail.follow(&step, &mut replay.pipeline);
        progress(
            step.position - reach.from_position,
            past.end() - reach.from_position,
        );
    }
    trail.end(past.end(), &replay.pipeline);
    let deliveries = deliveries::find(disk, &past, sinks, trail.records())?;
    Ok(trail.answer(reach, deliveries))
}
