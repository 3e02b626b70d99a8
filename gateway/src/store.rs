//! Store: log, pipeline and spool in the one order that keeps the promises.
//!
//! ```text
//! entries ──► log, fsync ──► durable (acks may go) ──► session marks, pipeline
//!                                                            │ records
//!                    base, next segment ◄── when due ◄── fsync, spool
//! ```
//! Invariants:
//! - nothing is folded before its fsync returned; no record is in the spool before its cause is
//!   on disk; no base covers an entry whose records are not synced; nothing is recycled before a
//!   later base is durable;
//! - a failed append leaves the entries with the caller, who offers them again; a failed spool
//!   sync keeps the records here, and nothing more is taken until [`Store::settle`] succeeds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tidegate_shared::ids::{CatalogHash, DeviceName, SiteName};

use crate::budget::{self, Billed, Budget, Decision, Spent};
use crate::clock::Moment;
use crate::disk::data_dir::{DataDir, DataDirError};
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, RealDisk};
use crate::entry::{Entry, Limits, Logged};
use crate::kill_point::KillPoint;
use crate::ledger;
use crate::ledger::balance::{Balances, balances};
use crate::ledger::counters::Counters;
use crate::ledger::past::{self, PastError};
use crate::log::{Base, LocalLog, Log, LogError, Opened, Part, Recovery};
use crate::pipeline::picture::Picture;
use crate::pipeline::{self, Observed, Pipeline};
use crate::record::Emitted;
use crate::rules::settings::{Settings, SinkSettings};
use crate::rules::{Priority, RuleSet};
use crate::session::Marks;
use crate::spool::bill::Bill;
use crate::spool::counters as spool;
use crate::spool::{Extent, QueueSettings, Spool, SpoolError, SpoolReport};
use crate::time::{Clock, SystemClock, Timestamp};

/// The log's only partition.
pub(crate) const PARTITION: u32 = 0;
/// Folder of the log.
pub(crate) const LOG: &str = "log";
/// Kind of the parts that hold session marks; the pipeline's kinds are counted from
/// [`PIPELINE_KINDS`].
const PART_MARKS: u16 = 1;
const PIPELINE_KINDS: u16 = 0x100;
/// Kind of the parts that say how far each queue had come.
const PART_EXTENT: u16 = 2;
const EXTENT_VERSION: u16 = 1;
/// Version of the marks' parts.
const MARKS_VERSION: u16 = 1;

/// Why the store could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log refused: nothing of the batch counts as logged or acked.
    #[error("the log could not be used: what was to be logged is not acked, devices keep it")]
    Log(#[from] LogError),
    /// The spool refused: the batch is in the log, its records are not in the spool yet.
    #[error("the spool could not be used: its records are in the log and will be derived again")]
    Spool(#[from] SpoolError),
    /// An entry could not be encoded.
    #[error("an entry could not be encoded: it is not logged")]
    Encoding(#[from] postcard::Error),
}

/// Why a data directory could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It is not there, newer or not readable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its files could not be opened.
    #[error("the data directory could not be read; nothing was changed")]
    Disk(#[from] std::io::Error),
    /// Its store could not be opened.
    #[error("the store could not be read; nothing was changed")]
    Store(#[from] StoreError),
    /// What it was earlier could not be found.
    #[error("what the store held earlier could not be read")]
    Past(#[from] PastError),
}

/// What an opening found.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// The log's recovery.
    pub recovery: Recovery,
    /// The spool's.
    pub spool: SpoolReport,
    /// Parts of the base that could not be read, as kind and key.
    pub parts_lost: Vec<String>,
    /// Record ids must not continue: the state that they count from is lost.
    pub ids_begin_anew: bool,
    /// Entries of the log that could not be read.
    pub entries_unreadable: u64,
}

impl OpenReport {
    /// Tells the operator what was lost, if anything.
    pub fn announce(&self) {
        let recovery = &self.recovery;
        let spool = &self.spool;
        let spool_clean =
            spool.records_lost == 0 && spool.commits_uncounted == 0 && spool.parts_damaged == 0;
        for (sink, class, records) in &spool.orphans {
            tracing::warn!(
                sink,
                ?class,
                records,
                "records wait for a sink that is not configured; they are kept"
            );
        }
        if spool.letters > 0 {
            tracing::info!(
                letters = spool.letters,
                "records that sinks refused are kept as dead letters, see `tidegate sink dead-letter`"
            );
        }
        if spool.letters_unreadable > 0 {
            tracing::warn!(
                files = spool.letters_unreadable,
                "files of dead letters hold none; they are kept, and no record is counted with them"
            );
        }
        if spool.commits_lost > 0 {
            tracing::warn!(
                commits = spool.commits_lost,
                "a power cut forgot confirmations: their records are sent again under the same ids"
            );
        }
        if recovery.is_clean()
            && spool_clean
            && self.parts_lost.is_empty()
            && self.entries_unreadable == 0
        {
            tracing::info!(
                replayed = recovery.entries,
                from = recovery.from,
                end = recovery.end,
                torn_bytes = recovery.torn_bytes,
                "the store is open; nothing durable was lost"
            );
            return;
        }
        tracing::error!(
            entries_lost = recovery.entries_lost,
            entries_unreadable = self.entries_unreadable,
            bytes_skipped = recovery.bytes_skipped,
            bases_passed_over = recovery.bases_passed_over,
            parts_lost = ?self.parts_lost,
            parts_damaged = ?recovery.parts_damaged,
            base_missing = recovery.base_missing,
            spool_records_lost = spool.records_lost,
            spool_commits_uncounted = spool.commits_uncounted,
            spool_parts_damaged = spool.parts_damaged,
            "the store is open, but part of it was damaged and is lost; the rest runs on"
        );
    }
}

/// Somebody who is shown what was folded: copies, behind everything that is promised of them.
pub trait Onlooker: Send {
    /// Whether there is somebody to show it to, at a monotonic time in µs.
    fn looks(&mut self, now_us: u64) -> bool;

    /// These samples were folded and caused these records. It waits for nobody.
    fn saw(&mut self, samples: Vec<Observed>, records: &[Emitted]);
}

/// Log, session marks, pipeline and spool of one gateway.
pub struct Store {
    log: LocalLog,
    marks: Marks,
    pipeline: Pipeline,
    spool: Arc<Mutex<Spool>>,
    /// Emitted and not synced in the spool yet.
    unspooled: Vec<Emitted>,
    kill_point: KillPoint,
    onlooker: Option<Box<dyn Onlooker>>,
}

impl Store {
    /// Opens the store: the newest base, what follows it in the log, the spool. Records that a
    /// crash kept out of the spool are derived again and put there.
    ///
    /// # Errors
    /// The disk refused. Damage is no error: it is salvaged and reported.
    pub fn open(
        disk: &Arc<dyn Disk>,
        settings: &Settings,
        log_incarnation: u32,
        now: Timestamp,
    ) -> Result<(Self, OpenReport), StoreError> {
        let Opened {
            mut log,
            base,
            recovery,
        } = LocalLog::open(Arc::clone(disk), LOG, settings.log, log_incarnation)?;
        // What a killed process left may be in the cache only: it is made durable before anything
        // is derived from it, acked by it, or sent.
        log.settle()?;
        let (mut spool, spool_report) = Spool::open(Arc::clone(disk), &queues(&settings.sinks))?;
        let mut report = OpenReport {
            recovery,
            spool: spool_report,
            ..OpenReport::default()
        };
        for extent in base.iter().flat_map(extents) {
            report.spool.records_lost += spool.measure(&extent)?;
        }
        let (marks, pipeline) = restore(settings, base, &mut report);
        let mut store = Self {
            log,
            marks,
            pipeline,
            spool: Arc::new(Mutex::new(spool)),
            unspooled: Vec::new(),
            kill_point: KillPoint::default(),
            onlooker: None,
        };
        store.keep_above_spool(&mut report.recovery);
        let lost_records = lock(&store.spool).lost_records();
        store.replay(&mut report, now)?;
        store.settle_spool(now)?;
        // What was derived again is not lost.
        let again = lost_records.saturating_sub(lock(&store.spool).lost_records());
        report.spool.records_lost = report.spool.records_lost.saturating_sub(again);
        store.kill_point = KillPoint::from_env();
        Ok((store, report))
    }

    /// Makes entries durable. On an error none of them counts, and the caller may offer them
    /// again.
    ///
    /// # Errors
    /// The disk refused, or an entry cannot be encoded.
    pub fn append(&mut self, entries: &[Logged]) -> Result<(), StoreError> {
        let encoded: Result<Vec<_>, _> = entries.iter().map(postcard::to_stdvec).collect();
        for logged in entries {
            if let Entry::Started {
                log_incarnation, ..
            } = logged.entry
                && log_incarnation != self.log.incarnation()
            {
                self.log.restored(log_incarnation);
            }
        }
        self.log.append(PARTITION, self.log.end(), &encoded?)?;
        Ok(())
    }

    /// Folds entries that [`Store::append`] just made durable; `entries` must be those.
    pub fn fold(&mut self, entries: &[Logged]) {
        self.fold_from(self.log.end() - entries.len() as u64, entries);
    }

    /// Folds entries that [`Store::append`] is yet to make durable: what must never be done, for
    /// the mutation of that name.
    pub(crate) fn fold_early(&mut self, entries: &[Logged]) {
        self.fold_from(self.log.end(), entries);
    }

    fn fold_from(&mut self, first: u64, entries: &[Logged]) {
        let looks = self.is_looked_at(entries);
        let before = self.unspooled.len();
        for (position, logged) in (first..).zip(entries) {
            self.marks.apply(logged);
            self.pipeline.apply(position, logged, &mut self.unspooled);
        }
        if let Some(onlooker) = self.onlooker.as_mut().filter(|_| looks) {
            onlooker.saw(self.pipeline.take_observed(), &self.unspooled[before..]);
        }
    }

    /// Shows what is folded from here on to somebody.
    pub fn show_to(&mut self, onlooker: Box<dyn Onlooker>) {
        self.onlooker = Some(onlooker);
    }

    /// Whether somebody looks at what these entries bring.
    fn is_looked_at(&mut self, entries: &[Logged]) -> bool {
        let Some(onlooker) = &mut self.onlooker else {
            return false;
        };
        let newest = entries.last().map(|logged| logged.at.mono_us);
        let looks = newest.is_some_and(|now_us| onlooker.looks(now_us));
        if looks {
            self.pipeline.observe();
        } else {
            self.pipeline.look_away();
        }
        looks
    }

    /// The pipeline's state as it is at a moment.
    pub fn picture(&self, now: Moment) -> Picture<'_> {
        self.pipeline.picture(now)
    }

    /// Brings the records of folded entries to disk; then, when the segment is full, writes the
    /// base and begins the next one. Returns how many records were spooled.
    ///
    /// # Errors
    /// The disk refused; call again later.
    pub fn settle(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let records = self.settle_spool(now)?;
        if self.log.roll_due() {
            let base = self.base();
            // Without a base the segment goes on growing and a start replays more: no reason to
            // hold back records that are durable, nor frames.
            if let Err(error) = self.log.roll(&base) {
                tracing::warn!(%error, "no base could be written; nothing is lost, it is tried again");
            }
        }
        Ok(records)
    }

    fn settle_spool(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let records = self.unspooled.len();
        if records > 0 {
            let mut spool = lock(&self.spool);
            spool.append(now, &self.unspooled)?;
            spool.sync(now)?;
            drop(spool);
            self.unspooled.clear();
            self.kill_point.pass("spool-synced");
        }
        Ok(records)
    }

    /// Settles and writes a last base, so that the next start replays nothing.
    ///
    /// # Errors
    /// The disk refused; the next start replays more of the log.
    pub fn stop(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.settle_spool(now)?;
        lock(&self.spool).stop(now)?;
        let base = self.base();
        Ok(self.log.stop(&base)?)
    }

    /// Reads every queue through, so that records that cannot be read any more are counted now
    /// and not when their turn comes. Returns how many that are.
    ///
    /// # Errors
    /// The queues' files cannot be read.
    pub fn find_losses(&mut self) -> Result<u64, StoreError> {
        Ok(lock(&self.spool).find_losses()?)
    }

    /// The session's part of what is durable.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The queues, shared with the sinks' tasks.
    pub fn spool(&self) -> Arc<Mutex<Spool>> {
        Arc::clone(&self.spool)
    }

    /// Position after the last durable entry.
    pub fn end(&self) -> u64 {
        self.log.end()
    }

    /// Bytes of the log's files, its bases among them.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Identity of the log.
    pub fn log_incarnation(&self) -> u32 {
        self.log.incarnation()
    }

    /// When the pipeline wants a tick, monotonic µs of this start.
    pub fn next_deadline(&self) -> Option<u64> {
        self.pipeline.next_deadline()
    }

    /// Frames that wait for the gateway's clock to be trusted.
    pub fn held_frames(&self) -> u64 {
        self.pipeline.held_frames()
    }

    /// Wall time of the newest trusted entry, in µs; what a start's
    /// [`crate::clock::trust::TrustWatch`] begins from.
    pub fn newest_trusted_us(&self) -> Option<i64> {
        self.pipeline.newest_trusted_us()
    }

    /// Catalogs that batches wait for.
    pub fn wanted(&self) -> Vec<(DeviceName, CatalogHash)> {
        self.pipeline.all_wanted()
    }

    /// The rule set in force.
    pub fn rules(&self) -> &RuleSet {
        self.pipeline.rules()
    }

    /// What was decided last about the budget.
    pub fn decided(&self) -> Option<Decision> {
        self.pipeline.decided().cloned()
    }

    /// What was sent in the month of a moment.
    pub fn spent(&self, now: Timestamp) -> Spent {
        Spent::of(lock(&self.spool).bill(), now)
    }

    /// What was sent to which sink, month by month.
    pub fn bill(&self) -> Bill {
        lock(&self.spool).bill().clone()
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        self.pipeline.limits()
    }

    /// The ledger as far as the store knows it.
    pub fn ledger(&self) -> Value {
        let (pipeline, spool) = self.counters();
        ledger::of_store(self.log.end(), &pipeline, &spool)
    }

    /// The three balances of the books as they stand.
    pub fn balances(&self) -> Balances {
        let (pipeline, spool) = self.counters();
        balances(&pipeline, &spool)
    }

    /// The counters of pipeline and spool, records on their way between them among those spooled.
    pub fn counters(&self) -> (Counters, spool::Counters) {
        let spool = lock(&self.spool);
        let mut counters = spool.counters();
        for one in &self.unspooled {
            for sink in &one.forward {
                if !spool.has(sink, one.priority, one.place) {
                    counters.expect(sink, &one.record);
                }
            }
        }
        (self.pipeline.counters(), counters)
    }

    /// A log that lost its tail must not give out positions below what the spool holds: a queue
    /// would take new records for old ones. What had records was durable: it is lost, not torn.
    fn keep_above_spool(&mut self, recovery: &mut Recovery) {
        let highest = lock(&self.spool).highest_mark();
        let end = self.log.end();
        if let Some(mark) = highest
            && mark.position >= end
        {
            recovery.lose_tail(self.log.advance_to(mark.position + 1));
        }
    }

    fn replay(&mut self, report: &mut OpenReport, now: Timestamp) -> Result<(), StoreError> {
        for entry in self.log.read(PARTITION, report.recovery.from)? {
            let (position, bytes) = entry?;
            match postcard::from_bytes::<Logged>(&bytes) {
                Ok(logged) => {
                    self.marks.apply(&logged);
                    self.pipeline.apply(position, &logged, &mut self.unspooled);
                }
                Err(_) => report.entries_unreadable += 1,
            }
            // A long tail must not gather all of its records in memory.
            if self.unspooled.len() >= REPLAY_RECORDS {
                self.settle_spool(now)?;
            }
        }
        Ok(())
    }

    fn base(&self) -> Base {
        let marks = self
            .marks
            .snapshot()
            .into_iter()
            .map(|(device, bytes)| Part {
                kind: PART_MARKS,
                version: MARKS_VERSION,
                key: device.as_str().to_owned(),
                bytes,
            });
        let spool = lock(&self.spool);
        let extents = spool.extents().filter_map(|extent| {
            Some(Part {
                kind: PART_EXTENT,
                version: EXTENT_VERSION,
                key: format!("{} {:?}", extent.sink, extent.priority),
                // Without it a lost queue is not noticed; nothing else depends on it.
                bytes: postcard::to_stdvec(&extent).ok()?,
            })
        });
        let parts = marks.chain(parts_of(&self.pipeline)).chain(extents);
        Base {
            position: self.log.end(),
            parts: parts.collect(),
        }
    }
}

/// Records gathered during replay before they are spooled.
const REPLAY_RECORDS: usize = 1_000;

/// Times that a spool in use is looked at again.
const LOOKS_MAX: u32 = 4;

/// The ledger of a data directory that no gateway runs on, without changing a byte of it.
///
/// # Errors
/// The directory is missing, newer, or cannot be read.
pub fn read_ledger(settings: &Settings) -> Result<Value, LookError> {
    DataDir::check(&settings.data_dir)?;
    let real: Arc<dyn Disk> = Arc::new(RealDisk::open(&settings.data_dir)?);
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::new(real));
    let (store, _) = Store::open(&disk, settings, 0, Timestamp::default())?;
    let session = ledger::of_marks(store.marks());
    Ok(ledger::join(store.ledger(), &session))
}

/// The bill of a data directory that no gateway runs on, without changing a byte of it, and where
/// the budget stands by the machine's clock.
///
/// # Errors
/// The directory is missing, newer, or cannot be read.
pub fn read_bill(settings: &Settings) -> Result<Billed, LookError> {
    DataDir::check(&settings.data_dir)?;
    let real: Arc<dyn Disk> = Arc::new(RealDisk::open(&settings.data_dir)?);
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::new(real));
    let (store, _) = Store::open(&disk, settings, 0, Timestamp::default())?;
    let now = SystemClock::new().now();
    let sinks = budget::Sinks::of(&settings.sinks);
    let held = store.decided().unwrap_or_else(Decision::none);
    let mut machine = Budget::new(settings.budget, sinks, held);
    machine.hear(store.spent(now));
    Ok(Billed {
        bill: store.bill(),
        standing: machine.standing(now),
    })
}

/// The spool of a data directory, without changing a byte of it; also beside a running gateway,
/// as it was a moment ago.
///
/// # Errors
/// Its files cannot be read.
pub fn waiting(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<Spool, SpoolError> {
    let mut tries_left = LOOKS_MAX;
    loop {
        let over: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::clone(disk)));
        match Spool::open(over, &queues(&settings.sinks)) {
            // A segment may be recycled between its listing and its reading.
            Err(_) if tries_left > 0 => tries_left -= 1,
            opened => return Ok(opened?.0),
        }
    }
}

/// The queues of the configured sinks: one per class.
pub(crate) fn queues(sinks: &[SinkSettings]) -> Vec<QueueSettings> {
    let classes = [Priority::Low, Priority::Normal, Priority::High];
    sinks
        .iter()
        .flat_map(|sink| {
            classes.map(|priority| QueueSettings {
                sink: sink.name.clone(),
                priority,
                bytes_max: sink.spool_bytes_max,
                letters_max: sink.dead_letters_max,
            })
        })
        .collect()
}

/// The balances since a moment (UTC in µs), from the files of a data directory, which stay as they
/// are: `now` are the present ones of the gateway that runs on it, or else those of its files.
///
/// # Errors
/// The directory is missing, newer, or cannot be read.
pub fn read_since(
    settings: &Settings,
    now: Balances,
    asked_us: i64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Balances, LookError> {
    DataDir::check(&settings.data_dir)?;
    let real: Arc<dyn Disk> = Arc::new(RealDisk::open(&settings.data_dir)?);
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::new(real));
    Ok(past::since(&disk, settings, now, asked_us, progress)?)
}

/// The pipeline of a base; without one, empty.
pub(crate) fn restore_pipeline(settings: &Settings, base: Option<Base>) -> Pipeline {
    restore(settings, base, &mut OpenReport::default()).1
}

/// The pipeline as a base says, and what the base could not say.
pub(crate) fn pipeline_of(site: &SiteName, base: &Base) -> (Pipeline, pipeline::Restored) {
    let of_pipeline = base.parts.iter().filter_map(|part| {
        Some(pipeline::Part {
            kind: part.kind.checked_sub(PIPELINE_KINDS)?,
            version: part.version,
            key: part.key.clone(),
            bytes: part.bytes.clone(),
        })
    });
    let parts: Vec<pipeline::Part> = of_pipeline.collect();
    Pipeline::restore(site, &parts)
}

/// The parts of a base that a pipeline is.
pub fn parts_of(pipeline: &Pipeline) -> Vec<Part> {
    let parts = pipeline.snapshot().into_iter();
    let of_log = parts.map(|part| Part {
        kind: PIPELINE_KINDS + part.kind,
        version: part.version,
        key: part.key,
        bytes: part.bytes,
    });
    of_log.collect()
}

/// How far the queues had come by a base.
fn extents(base: &Base) -> impl Iterator<Item = Extent> {
    let parts = base.parts.iter();
    parts
        .filter(|part| part.kind == PART_EXTENT && part.version == EXTENT_VERSION)
        .filter_map(|part| postcard::from_bytes(&part.bytes).ok())
}

/// Marks and pipeline from a base; without one, empty.
fn restore(settings: &Settings, base: Option<Base>, report: &mut OpenReport) -> (Marks, Pipeline) {
    let Some(base) = base else {
        report.ids_begin_anew = report.recovery.base_missing;
        return (Marks::default(), Pipeline::new(&settings.site));
    };
    let (mut marks, mut parts) = (Vec::new(), Vec::new());
    for part in base.parts {
        if part.kind >= PIPELINE_KINDS {
            parts.push(pipeline::Part {
                kind: part.kind - PIPELINE_KINDS,
                version: part.version,
                key: part.key,
                bytes: part.bytes,
            });
        } else if part.kind == PART_EXTENT && part.version == EXTENT_VERSION {
            // Measured already.
        } else if part.kind == PART_MARKS && part.version == MARKS_VERSION {
            match DeviceName::try_from(part.key.as_str()) {
                Ok(device) => marks.push((device, part.bytes)),
                Err(_) => report.parts_lost.push(part.key),
            }
        } else {
            report.parts_lost.push(part.key);
        }
    }
    let (marks, unreadable) = Marks::restore(marks);
    let (pipeline, restored) = Pipeline::restore(&settings.site, &parts);
    let lost = unreadable.into_iter().map(|lost| lost.part.to_string());
    report.parts_lost.extend(lost);
    report.parts_lost.extend(restored.devices_lost);
    report.ids_begin_anew = restored.base_lost;
    (marks, pipeline)
}

fn lock(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod damage;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FaultDisk;
    use crate::disk::fault::Torn;
    use crate::rules::parse;

    const CONFIGURATION: &str = r#"
        [gateway]
        site = "s"
        [mqtt]
        url = "mqtt://127.0.0.1"
        [sink.file]
        type = "file"
        path = "records"
        [[rule]]
        name = "all"
        match = { sensor = "*" }
        forward = ["file"]
    "#;

    fn open(disk: &Arc<dyn Disk>) -> Store {
        let (settings, _) = parse(CONFIGURATION, "test").unwrap();
        Store::open(disk, &settings, 7, Timestamp::default())
            .unwrap()
            .0
    }

    fn tick() -> Vec<Logged> {
        vec![Logged {
            start: 1,
            at: Timestamp::default(),
            entry: Entry::Tick,
        }]
    }

    #[test]
    fn what_opening_shows_outlives_a_power_cut() {
        let fault = FaultDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(fault.clone());
        let mut store = open(&disk);
        store.append(&tick()).unwrap();
        fault.fail_sync(fault.syncs() + 1);
        store.append(&tick()).unwrap_err();
        drop(store);
        // Killed behind a failed fsync: the next start reads from the cache what is not on disk,
        // derives records from it and acks it. So it must be on disk by then.
        let shown = open(&disk).end();
        assert_eq!(shown, 2);
        let left: Arc<dyn Disk> = Arc::new(fault.after_cut(Torn::Nothing));
        assert_eq!(open(&left).end(), shown);
    }
}
