//! The delivery journal: what became of every batch, beside the log.
//!
//! Entries are postcard of [`Journaled`], in a log of their own (`journal/`) whose bases are the
//! spool's state. Records count once however often an entry is applied: a batch counts only those
//! of its indices that were still waiting, a drop only beyond the place dropped so far. What
//! attempts took is charged by each entry behind the base. A commit is
//! written at once, and so outlives the process; it is synced with the spool at most every
//! 30 s, so a power cut may forget the newest commits, and which batches had begun. Their records
//! wait again and are sent again under the same ids, perhaps in other batches, and the counters
//! say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SpoolError;
use super::counters::{Counted, entry};
use crate::disk::Disk;
use crate::log::{Base, LocalLog, Log, Opened, Recovery};
use crate::record::{Place, Record, RecordId};
use crate::rules::Priority;
use crate::rules::settings::LogSettings;
use crate::time::Timestamp;

/// Longest time a written commit stays unsynced while the spool is being synced.
pub(super) const SYNC_US: u64 = 30 * 1_000_000;

/// Entries that may be unsynced; beyond, the journal is synced at once or nothing more is taken.
const UNSYNCED_MAX: usize = 1_024;
/// A segment of 1 MiB at a time, 64 MiB to look back on.
const SETTINGS: LogSettings = LogSettings {
    commit_ms: 0,
    // Small in tests, so that they roll it.
    segment_bytes: if cfg!(test) { 8 << 10 } else { 1 << 20 },
    bytes_max: 64 << 20,
};
const FOLDER: &str = "journal";
/// The journal has one incarnation: its positions never run backwards.
const INCARNATION: u32 = 1;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The sink has it.
    Confirmed,
    /// The sink will never take it: dead-lettered.
    Refused,
    /// It made room for newer records.
    Evicted,
}

/// How a batch left its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What became of it.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Body bytes before compression, over the attempts that are in no [`Tried`].
    pub bytes_before: u64,
    /// Body bytes as sent, over the same attempts.
    pub bytes_after: u64,
    /// Header bytes, estimated, over the same attempts.
    pub header_bytes: u64,
    /// Times it was sent.
    pub attempts: u32,
}

/// What one sensor has of a batch under one rule.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Records.
    pub records: u64,
    /// Fresh samples in them.
    pub fresh: u64,
    /// Body bytes before compression.
    pub bytes: u64,
}

/// What each sensor has of a batch, by rule, device and sensor.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares(pub BTreeMap<String, BTreeMap<String, BTreeMap<String, Share>>>);

impl Shares {
    /// Adds a record's part.
    pub fn add(&mut self, record: &Record, part: Share) {
        let sensors = entry(entry(&mut self.0, &record.rule), &record.device);
        let share = entry(sensors, &record.sensor);
        share.records += part.records;
        share.fresh += part.fresh;
        share.bytes += part.bytes;
    }

    /// Every rule, device and sensor with its share.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str, &Share)> {
        self.0.iter().flat_map(|(rule, devices)| {
            devices.iter().flat_map(move |(device, sensors)| {
                let shares = sensors.iter();
                shares.map(move |(sensor, share)| {
                    (rule.as_str(), device.as_str(), sensor.as_str(), share)
                })
            })
        })
    }

    /// Body bytes of each rule.
    pub(super) fn weights(&self) -> BTreeMap<String, u64> {
        let mut weights = BTreeMap::new();
        for (rule, _, _, share) in self.iter() {
            *entry(&mut weights, rule) += share.bytes;
        }
        weights
    }

    /// Takes the body bytes of another account of the same batch.
    pub(super) fn set_bytes(&mut self, pieces: &Self) {
        for (rule, device, sensor, piece) in pieces.iter() {
            let sensors = entry(entry(&mut self.0, rule), device);
            entry(sensors, sensor).bytes += piece.bytes;
        }
    }
}

/// A batch that left its queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Sink of the queue.
    pub sink: String,
    /// Class of the queue.
    pub priority: Priority,
    /// First index of the batch.
    pub first: u64,
    /// Last index of the batch.
    pub last: u64,
    /// Place of its first record.
    pub first_place: Place,
    /// Place of its last record.
    pub last_place: Place,
    /// Records of it that were waiting until now.
    pub records: u64,
    /// What each sensor has of those, and of the body as it was sent: records that were evicted
    /// meanwhile have bytes there, too.
    pub shares: Shares,
    /// How it left.
    pub delivery: Delivery,
}

/// Records that never entered a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Sink of the queue.
    pub sink: String,
    /// Class of the queue.
    pub priority: Priority,
    /// When.
    pub at: Timestamp,
    /// What each would have counted, with its place.
    pub records: Vec<(Place, Counted)>,
}

/// A batch that is about to be sent for the first time: a gateway that is ended before it is
/// answered takes the same records up again, under the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Sink of the queue.
    pub sink: String,
    /// Class of the queue.
    pub priority: Priority,
    /// When.
    pub at: Timestamp,
    /// First index of the batch.
    pub first: u64,
    /// Last index of the batch.
    pub last: u64,
}

/// Attempts that failed and took bytes all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Sink of the queue.
    pub sink: String,
    /// Class of the queue.
    pub priority: Priority,
    /// What each sensor has of the body; records and fresh samples are those of the delivery.
    pub shares: Shares,
    /// What they took; nothing came of it.
    pub cost: Cost,
}

/// What attempts took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// When.
    pub at: Timestamp,
    /// Body bytes before compression.
    pub bytes_before: u64,
    /// Body bytes as sent.
    pub bytes_after: u64,
    /// Header bytes, estimated.
    pub header_bytes: u64,
}

/// A dead letter that was delivered after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resent {
    /// Sink of the queue.
    pub sink: String,
    /// Class of the queue.
    pub priority: Priority,
    /// The record.
    pub id: RecordId,
    /// What it counts.
    pub counted: Counted,
    /// What it has of the body: all.
    pub shares: Shares,
    /// What it took.
    pub cost: Cost,
}

/// An entry of the journal. Kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Journaled {
    /// A batch left its queue.
    Left(Left),
    /// Records were dropped.
    Dropped(Dropped),
    /// A batch begins.
    Begun(Begun),
    /// Attempts failed.
    Tried(Tried),
    /// A dead letter was delivered.
    Resent(Resent),
}

impl Delivery {
    /// What it took.
    pub fn cost(&self) -> Cost {
        Cost {
            at: self.at,
            bytes_before: self.bytes_before,
            bytes_after: self.bytes_after,
            header_bytes: self.header_bytes,
        }
    }
}

impl Journaled {
    /// When it happened.
    pub fn at(&self) -> &Timestamp {
        match self {
            Self::Left(left) => &left.delivery.at,
            Self::Dropped(dropped) => &dropped.at,
            Self::Begun(begun) => &begun.at,
            Self::Tried(tried) => &tried.cost.at,
            Self::Resent(resent) => &resent.cost.at,
        }
    }

    /// The queue it is about.
    pub fn queue(&self) -> (&str, Priority) {
        match self {
            Self::Left(left) => (&left.sink, left.priority),
            Self::Dropped(dropped) => (&dropped.sink, dropped.priority),
            Self::Begun(begun) => (&begun.sink, begun.priority),
            Self::Tried(tried) => (&tried.sink, tried.priority),
            Self::Resent(resent) => (&resent.sink, resent.priority),
        }
    }
}

/// The entries that are in the files, oldest first, with their numbers: for commands that look
/// beside a running gateway.
///
/// # Errors
/// The files could not be read.
pub fn look(
    disk: Arc<dyn Disk>,
) -> Result<impl Iterator<Item = Result<(u64, Journaled), SpoolError>>, SpoolError> {
    let (journal, ..) = Journal::open(disk)?;
    journal.read(0)
}

/// The journal's files, and the entries that are not durable in them yet.
pub(super) struct Journal {
    log: LocalLog,
    /// Not written.
    held: Vec<Vec<u8>>,
    /// Written and not synced: a failed write or sync puts them among the held again.
    unsynced: Vec<Vec<u8>>,
}

impl Journal {
    pub fn open(disk: Arc<dyn Disk>) -> Result<(Self, Option<Base>, Recovery), SpoolError> {
        let Opened {
            log,
            base,
            recovery,
        } = LocalLog::open(disk, FOLDER, SETTINGS, INCARNATION)?;
        let journal = Self {
            log,
            held: Vec::new(),
            unsynced: Vec::new(),
        };
        Ok((journal, base, recovery))
    }

    /// Number of the next entry to be taken.
    pub fn taken(&self) -> u64 {
        self.log.end() + self.held.len() as u64
    }

    /// Number of the next entry, when none is held.
    pub fn end(&self) -> u64 {
        self.log.end()
    }

    pub fn read(
        &self,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Journaled), SpoolError>> + use<>, SpoolError>
    {
        Ok(self.log.read(0, from)?.filter_map(|entry| match entry {
            Ok((number, bytes)) => {
                let entry = postcard::from_bytes(&bytes).ok()?;
                Some(Ok((number, entry)))
            }
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Sees to it that one more entry can be taken.
    pub fn make_room(&mut self) -> Result<(), SpoolError> {
        if self.held.len() + self.unsynced.len() < UNSYNCED_MAX {
            Ok(())
        } else {
            self.sync()
        }
    }

    /// Takes an entry, to be written.
    pub fn hold(&mut self, entry: &Journaled) -> Result<(), SpoolError> {
        let bytes = postcard::to_stdvec(entry).map_err(|_| SpoolError::Unencodable)?;
        self.held.push(bytes);
        Ok(())
    }

    /// Writes what is held.
    pub fn write(&mut self) -> Result<(), SpoolError> {
        if self.held.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.log.append_unsynced(&self.held) {
            self.take_back();
            return Err(error.into());
        }
        self.unsynced.append(&mut self.held);
        Ok(())
    }

    /// Makes durable what was taken. A failure is tried once more, on another file.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.try_sync().or_else(|error| {
            tracing::warn!(%error, "the delivery journal could not be synced; trying a new file");
            self.try_sync()
        })
    }

    fn try_sync(&mut self) -> Result<(), SpoolError> {
        self.write()?;
        if let Err(error) = self.log.sync() {
            self.take_back();
            return Err(error.into());
        }
        self.unsynced.clear();
        Ok(())
    }

    /// The log dropped what was not synced: it is to be written again, in the old order.
    fn take_back(&mut self) {
        self.unsynced.append(&mut self.held);
        std::mem::swap(&mut self.unsynced, &mut self.held);
    }

    /// Entries that are in memory because they are not durable.
    #[cfg(test)]
    pub fn unsynced(&self) -> usize {
        self.held.len() + self.unsynced.len()
    }

    pub fn is_unsynced(&self) -> bool {
        !(self.held.is_empty() && self.unsynced.is_empty())
    }

    pub fn base_is_due(&self) -> bool {
        self.log.roll_due()
    }

    /// Writes a base at the end; everything taken must be synced.
    pub fn checkpoint(&mut self, base: &Base) -> Result<(), SpoolError> {
        Ok(self.log.checkpoint(base)?)
    }

    /// Writes the base of a clean stop.
    pub fn stop(&mut self, base: &Base) -> Result<(), SpoolError> {
        Ok(self.log.stop(base)?)
    }
}
