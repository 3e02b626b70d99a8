//! The golden log: a small log with all that can happen in it, and the records that every engine
//! of its number must derive from it, on every target, wherever deriving begins.
//!
//! ```text
//! log              postcard of the entries, one after the other
//! records.ndjson   a record a line, as `tidegate replay --as-logged` prints them
//! ```

pub mod script;
pub mod story;

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidegate_gateway::disk::overlay::OverlayDisk;
use tidegate_gateway::disk::{Disk, FaultDisk};
use tidegate_gateway::entry::{Entry, Logged};
use tidegate_gateway::explain::{ExplainError, Past, Replay, line};
use tidegate_gateway::log::{Base, LocalLog, Log, LogError, Opened};
use tidegate_gateway::pipeline::Pipeline;
use tidegate_gateway::rules::settings::LogSettings;
use tidegate_gateway::store::parts_of;
use tidegate_shared::ids::SiteName;

/// The log's file.
pub const LOG: &str = "log";
/// The records' file.
pub const RECORDS: &str = "records.ndjson";
/// Entries of a commit batch.
const BATCH: usize = 3;
/// Entries between two bases; no multiple of a batch's, and odd.
const ROLL: usize = 7 * BATCH;

/// Why records are not what they should be.
#[derive(Debug)]
pub enum Wrong {
    /// The log's bytes are not entries.
    Log(postcard::Error),
    /// The store failed.
    Store(LogError),
    /// The past could not be derived again.
    Past(ExplainError),
    /// Other records.
    Records {
        /// Where deriving began, and in which log.
        place: String,
        /// The first line that is not as it should be, from 1; it may be missing.
        number: usize,
        /// That line.
        found: Option<String>,
        /// What it should be.
        wanted: Option<String>,
    },
    /// Deriving did not begin where it should, or nothing was recycled.
    Beginning(String),
}

impl From<LogError> for Wrong {
    fn from(error: LogError) -> Self {
        Self::Store(error)
    }
}

impl From<ExplainError> for Wrong {
    fn from(error: ExplainError) -> Self {
        Self::Past(error)
    }
}

/// Entries as the log's bytes.
pub fn encode(log: &[Logged]) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    for logged in log {
        bytes.extend(postcard::to_stdvec(logged).map_err(Wrong::Log)?);
    }
    Ok(bytes)
}

/// Entries from the log's bytes.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Logged>, Wrong> {
    let mut log = Vec::new();
    while !bytes.is_empty() {
        let (logged, rest) = postcard::take_from_bytes(bytes).map_err(Wrong::Log)?;
        log.push(logged);
        bytes = rest;
    }
    Ok(log)
}

/// The engine that a log says it was written under.
pub fn engine(log: &[Logged]) -> Option<u32> {
    log.iter().find_map(|logged| match logged.entry {
        Entry::Started { engine, .. } => Some(engine),
        _ => None,
    })
}

/// The records of a log, derived without any store.
pub fn records(log: &[Logged]) -> Vec<String> {
    let mut pipeline = Pipeline::new(&site());
    let mut emitted = Vec::new();
    for (position, logged) in (0..).zip(log) {
        pipeline.apply(position, logged, &mut emitted);
    }
    emitted.iter().map(line).collect()
}

/// Derives a log's records from its first entry and from every base, of a log that keeps all and
/// of one that recycles what it can, and compares. Gives a line about each base: its digest too,
/// which must be the same on every target.
pub fn check(log: &[Logged], wanted: &[String]) -> Result<String, Wrong> {
    let mut report = String::new();
    check_whole(log, wanted, &mut report)?;
    check_trimmed(log, wanted, &mut report)?;
    Ok(report)
}

fn check_whole(log: &[Logged], wanted: &[String], report: &mut String) -> Result<(), Wrong> {
    let mut store = Store::new(u64::MAX)?;
    for entries in log.chunks(ROLL) {
        store.take(entries)?;
        store.roll()?;
    }
    let past = store.past()?;
    compare(past.begin_first()?, wanted, log.len(), "the whole log")?;
    let _ = writeln!(
        report,
        "whole log: {} entries, {} records",
        log.len(),
        wanted.len()
    );
    for base in past.bases() {
        let replay = past.begin_at_most(base)?;
        if replay.from != base {
            return Err(Wrong::Beginning(format!("base {base} was passed over")));
        }
        compare(replay, wanted, log.len(), "the whole log")?;
        let digest = store.digest(base);
        let _ = writeln!(report, "base {base}: {digest}");
    }
    Ok(())
}

/// Looks at the log after every roll: at some of them its first entries, its first rules and
/// catalogs among them, are gone, and those in force are known by the base alone.
fn check_trimmed(log: &[Logged], wanted: &[String], report: &mut String) -> Result<(), Wrong> {
    let mut store = Store::new(1)?;
    let mut taken = 0;
    for entries in log.chunks(ROLL) {
        store.take(entries)?;
        taken += entries.len();
        // Before the roll there is a tail behind the newest base.
        let past = store.past()?;
        let mut beginnings = past.bases();
        beginnings.push(past.begin_first()?.from);
        for base in beginnings {
            let until = wanted
                .iter()
                .take_while(|line| position(line) < taken as u64);
            let until: Vec<String> = until.cloned().collect();
            compare(past.begin_at_most(base)?, &until, taken, "the trimmed log")?;
        }
        store.roll()?;
    }
    let from = store.past()?.begin_first()?.from;
    let says_rules = |logged: &Logged| matches!(logged.entry, Entry::Rules { .. });
    let rules = log.iter().rposition(says_rules).unwrap_or(log.len());
    if from <= rules as u64 {
        let why = format!("the trimmed log begins at {from}, not behind the rules at {rules}");
        return Err(Wrong::Beginning(why));
    }
    let _ = writeln!(report, "trimmed log: begins at {from}");
    Ok(())
}

fn site() -> SiteName {
    SiteName::try_from("golden").expect("the name is valid")
}

/// The position in a line of NDJSON.
fn position(line: &str) -> u64 {
    let digits = line.split([':', ',']).nth(1);
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Compares a replay with the lines from its beginning on, and that it saw every entry.
fn compare(replay: Replay, wanted: &[String], end: usize, log: &str) -> Result<(), Wrong> {
    let from = replay.from;
    let place = format!("{log}, from position {from}");
    let mut wanted = wanted.iter().skip_while(|line| position(line) < from);
    let (mut number, mut entries) = (0, 0);
    for step in replay {
        let step = step?;
        entries += 1;
        for found in step.emitted.iter().map(line) {
            number += 1;
            let wanted = wanted.next();
            if wanted != Some(&found) {
                return Err(Wrong::Records {
                    place,
                    number,
                    found: Some(found),
                    wanted: wanted.cloned(),
                });
            }
        }
    }
    if entries + from != end as u64 {
        return Err(Wrong::Beginning(format!(
            "{place}: {entries} entries of {end}"
        )));
    }
    match wanted.next() {
        None => Ok(()),
        Some(line) => Err(Wrong::Records {
            place,
            number: number + 1,
            found: None,
            wanted: Some(line.clone()),
        }),
    }
}

/// A log in memory and the pipeline that its bases are of.
struct Store {
    disk: Arc<dyn Disk>,
    settings: LogSettings,
    log: LocalLog,
    pipeline: Pipeline,
    /// Digest of every base, by position.
    digests: Vec<(u64, String)>,
}

impl Store {
    fn new(bytes_max: u64) -> Result<Self, Wrong> {
        let settings = LogSettings {
            commit_ms: 0,
            segment_bytes: 4_096,
            bytes_max,
        };
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let Opened { log, .. } = LocalLog::open(Arc::clone(&disk), "log", settings, 1)?;
        Ok(Self {
            disk,
            settings,
            log,
            pipeline: Pipeline::new(&site()),
            digests: Vec::new(),
        })
    }

    fn take(&mut self, entries: &[Logged]) -> Result<(), Wrong> {
        for batch in entries.chunks(BATCH) {
            let encoded: Result<Vec<_>, _> = batch.iter().map(postcard::to_stdvec).collect();
            let first = self.log.end();
            self.log.append(0, first, &encoded.map_err(Wrong::Log)?)?;
            for (position, logged) in (first..).zip(batch) {
                self.pipeline.apply(position, logged, &mut Vec::new());
            }
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), Wrong> {
        let base = Base {
            position: self.log.end(),
            parts: parts_of(&self.pipeline),
        };
        let mut hash = Sha256::new();
        for part in &base.parts {
            hash.update(&part.bytes);
        }
        let digest = hash
            .finalize()
            .iter()
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
        self.digests.push((base.position, digest));
        Ok(self.log.roll(&base)?)
    }

    fn digest(&self, position: u64) -> &str {
        let mut digests = self.digests.iter();
        let found = digests.find(|(at, _)| *at == position);
        found.map_or("unknown", |(_, digest)| digest)
    }

    /// The log as a command beside the gateway sees it.
    fn past(&self) -> Result<Past, Wrong> {
        let disk = Arc::new(OverlayDisk::new(Arc::clone(&self.disk)));
        Ok(Past::open(disk, &site(), self.settings)?)
    }
}
