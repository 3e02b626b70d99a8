//! Dead letters: records that a sink refused for good, each in a file of its own.
//!
//! Terms: a letter is *dead* until a person has it sent *again*, or drops it. One of which the
//! sink has taken a newer revision meanwhile is *old*: it is never sent, since it would take the
//! place of what corrected it.
//!
//! Invariants:
//! - A letter is durable before its record leaves the queue. Where a crash came between, opening
//!   finds both and removes the letter: its record is sent, and refused, once more.
//! - Nothing removes a letter but a person, or its delivery. A full store takes no more; it never
//!   makes room.
//! - A letter that was delivered is *sent* before the journal says so, and removed behind that, so
//!   that its samples move from dead-lettered to delivered once.
//!
//! ```text
//! dead-letters/cloud.normal-<id>.dead     JSON of a [`Stored`]
//!
//!   bury ─▶ dead ──resend──▶ again ──delivered──▶ sent ──journaled──▶ removed
//!            ▲ │ │             │ │
//!            │ │ └─drop        │ └─newer revision delivered─▶ old ──drop──▶ removed
//!            └─┼──refused again┘                               ▲
//!              └──newer revision delivered─────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SpoolError;
use super::queue::{parse_prefix, prefix};
use crate::disk::Disk;
use crate::log::LogError;
use crate::record::{Record, RecordId};
use crate::rules::Priority;
use crate::time::Timestamp;

/// Where they are in the data directory.
pub const FOLDER: &str = "dead-letters";

/// What is to become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterState {
    /// A person decides.
    Dead,
    /// It goes to the sink once more.
    Again,
    /// The sink has it; the journal is about to say so.
    Sent,
    /// The sink has a newer revision of it.
    Old,
}

impl LetterState {
    const ALL: [Self; 4] = [Self::Dead, Self::Again, Self::Sent, Self::Old];

    fn suffix(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Again => "again",
            Self::Sent => "sent",
            Self::Old => "old",
        }
    }
}

/// A letter as its file holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The sink that refused it.
    pub sink: String,
    /// Class of its queue.
    pub priority: Priority,
    /// Its index there.
    pub index: u64,
    /// When it was refused last.
    pub at: Timestamp,
    /// Attempts so far at it alone.
    pub attempts: u32,
    /// What the sink said last.
    pub why: String,
    /// The record.
    pub record: Record,
}

/// What is known of a letter without reading its file.
#[derive(Debug, Clone)]
struct Known {
    priority: Priority,
    state: LetterState,
    /// Where its record was, what it stands for whatever the revision, and its revision; read
    /// from the file.
    index: u64,
    window: [u8; 16],
    revision: u32,
}

/// All letters.
pub struct Letters {
    disk: Arc<dyn Disk>,
    known: BTreeMap<(String, RecordId), Known>,
    unreadable: u64,
}

impl Letters {
    /// Reads what there is.
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Self, SpoolError> {
        let mut letters = Self {
            disk,
            known: BTreeMap::new(),
            unreadable: 0,
        };
        let names = letters.disk.list(FOLDER);
        for name in names.map_err(|error| LogError::read(FOLDER, error))? {
            let Some((state, id)) = parse(&name) else {
                continue;
            };
            let path = format!("{FOLDER}/{name}");
            // One that was never whole was never counted: its record is still in the queue.
            let Ok(Some(stored)) = letters.load(&path) else {
                tracing::warn!(path, "a dead letter cannot be read; its file is kept");
                letters.unreadable += 1;
                continue;
            };
            letters.known.insert(
                (stored.sink.clone(), id),
                Known {
                    priority: stored.priority,
                    state,
                    index: stored.index,
                    window: window(&stored.record),
                    revision: stored.record.revision,
                },
            );
        }
        Ok(letters)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.known.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Files that hold none.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// How many a sink has.
    pub fn count(&self, sink: &str) -> u64 {
        self.of(sink).count() as u64
    }

    fn of<'a>(&'a self, sink: &'a str) -> impl Iterator<Item = (RecordId, &'a Known)> {
        let from = (sink.to_owned(), RecordId([0; 16]));
        let known = self.known.range(from..);
        known
            .take_while(move |((of, _), _)| of == sink)
            .map(|((_, id), known)| (*id, known))
    }

    /// Every sink that has any.
    pub fn sinks(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        let names = self.known.keys().map(|(sink, _)| sink.as_str());
        names.filter(move |sink| last.replace(*sink) != Some(*sink))
    }

    /// Ids of a sink's letters, ascending.
    pub fn ids(&self, sink: &str) -> Vec<RecordId> {
        self.of(sink).map(|(id, _)| id).collect()
    }

    /// The letters of a sink, by id.
    pub fn list(&self, sink: &str) -> Result<Vec<(LetterState, Stored)>, SpoolError> {
        let mut listed = Vec::new();
        for (id, known) in self.of(sink) {
            if let Some(stored) = self.load(&path(sink, known.priority, id, known.state))? {
                listed.push((known.state, stored));
            }
        }
        Ok(listed)
    }

    /// A letter.
    pub fn get(
        &self,
        sink: &str,
        id: RecordId,
    ) -> Result<Option<(LetterState, Stored)>, SpoolError> {
        let Some(known) = self.known.get(&(sink.to_owned(), id)) else {
            return Ok(None);
        };
        let stored = self.load(&path(sink, known.priority, id, known.state))?;
        Ok(stored.map(|stored| (known.state, stored)))
    }

    /// Has a letter sent again. False when there is none, or an old one.
    pub fn resend(&mut self, sink: &str, id: RecordId) -> Result<bool, SpoolError> {
        match self.state(sink, id) {
            Some(LetterState::Dead) => self
                .become_state(sink, id, LetterState::Again)
                .map(|()| true),
            Some(LetterState::Again) => Ok(true),
            _ => Ok(false),
        }
    }

    /// Drops a letter: its samples stay dead-lettered, unless it was on its way and the sink took
    /// it. False when there is none.
    pub fn discard(&mut self, sink: &str, id: RecordId) -> Result<bool, SpoolError> {
        if self
            .state(sink, id)
            .is_none_or(|state| state == LetterState::Sent)
        {
            return Ok(false);
        }
        self.remove(sink, id)?;
        Ok(true)
    }

    /// The next letter that a sink is to get again: of a window the earlier revision first.
    pub fn again(&mut self, sink: &str) -> Option<Stored> {
        loop {
            let marked = self
                .of(sink)
                .filter(|(_, known)| known.state == LetterState::Again);
            let next = marked.min_by_key(|(_, known)| (known.revision, known.index));
            let (id, path) = next.map(|(id, known)| {
                let path = path(sink, known.priority, id, known.state);
                (id, path)
            })?;
            if let Ok(Some(stored)) = self.load(&path) {
                return Some(stored);
            }
            tracing::error!(
                path,
                "a dead letter cannot be read, so it is not sent again: its record is lost, its file kept"
            );
            self.known.remove(&(sink.to_owned(), id));
            self.unreadable += 1;
        }
    }

    pub(super) fn bury(&mut self, stored: &Stored) -> Result<(), SpoolError> {
        let id = stored.record.id;
        let path = path(&stored.sink, stored.priority, id, LetterState::Dead);
        self.store(&path, stored)?;
        let known = Known {
            priority: stored.priority,
            state: LetterState::Dead,
            index: stored.index,
            window: window(&stored.record),
            revision: stored.record.revision,
        };
        self.known.insert((stored.sink.clone(), id), known);
        Ok(())
    }

    /// A letter that went again was refused again.
    pub(super) fn refused_again(
        &mut self,
        sink: &str,
        id: RecordId,
        (why, at, attempts): (&str, Timestamp, u32),
    ) -> Result<(), SpoolError> {
        let Some((LetterState::Again, mut stored)) = self.get(sink, id)? else {
            return Ok(());
        };
        why.clone_into(&mut stored.why);
        stored.at = at;
        stored.attempts = stored.attempts.saturating_add(attempts);
        let path = path(sink, stored.priority, id, LetterState::Again);
        self.store(&path, &stored)?;
        self.become_state(sink, id, LetterState::Dead)
    }

    /// A letter that went again was taken; returns it, if it is still there.
    pub(super) fn sent(&mut self, sink: &str, id: RecordId) -> Result<Option<Stored>, SpoolError> {
        if self.state(sink, id) != Some(LetterState::Sent) {
            if self.state(sink, id).is_none() {
                return Ok(None);
            }
            self.become_state(sink, id, LetterState::Sent)?;
        }
        Ok(self.get(sink, id)?.map(|(_, stored)| stored))
    }

    /// Letters that a crash left behind between their delivery and the journal.
    pub(super) fn half_sent(&self) -> Vec<(String, RecordId)> {
        let sent = self.known.iter();
        sent.filter(|(_, known)| known.state == LetterState::Sent)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Letters whose records, by class and index, are still `waiting`.
    pub(super) fn half_buried(
        &self,
        waiting: impl Fn(&str, Priority, u64) -> bool,
    ) -> Vec<(String, RecordId)> {
        let known = self.known.iter();
        known
            .filter(|((sink, _), known)| waiting(sink, known.priority, known.index))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The sink has taken a record: letters of earlier revisions are old now.
    pub(crate) fn supersede(&mut self, sink: &str, record: &Record) -> Result<(), SpoolError> {
        if record.revision == 0 || self.of(sink).next().is_none() {
            return Ok(());
        }
        let window = window(record);
        let earlier = |known: &Known| known.window == window && known.revision < record.revision;
        let is_open = |known: &Known| matches!(known.state, LetterState::Dead | LetterState::Again);
        let of = self.of(sink);
        let old: Vec<RecordId> = of
            .filter(|(_, known)| earlier(known) && is_open(known))
            .map(|(id, _)| id)
            .collect();
        for id in old {
            self.become_state(sink, id, LetterState::Old)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, sink: &str, id: RecordId) -> Result<(), SpoolError> {
        let name = (sink.to_owned(), id);
        let Some(known) = self.known.get(&name) else {
            return Ok(());
        };
        let path = path(sink, known.priority, id, known.state);
        let removed = self.disk.remove(&path);
        removed.map_err(|error| LogError::write(&path, error))?;
        self.sync_folder()?;
        self.known.remove(&name);
        Ok(())
    }

    /// What is to become of a letter; none when there is none.
    pub fn state(&self, sink: &str, id: RecordId) -> Option<LetterState> {
        let known = self.known.get(&(sink.to_owned(), id));
        known.map(|known| known.state)
    }

    fn become_state(
        &mut self,
        sink: &str,
        id: RecordId,
        state: LetterState,
    ) -> Result<(), SpoolError> {
        let Some(known) = self.known.get_mut(&(sink.to_owned(), id)) else {
            return Ok(());
        };
        let from = path(sink, known.priority, id, known.state);
        let to = path(sink, known.priority, id, state);
        let renamed = self.disk.rename(&from, &to);
        renamed.map_err(|error| LogError::write(&from, error))?;
        known.state = state;
        self.sync_folder()
    }

    fn store(&self, path: &str, stored: &Stored) -> Result<(), SpoolError> {
        let bytes = serde_json::to_vec(stored).map_err(|_| SpoolError::Unencodable)?;
        // Under another name first: a letter that has its name is whole.
        let draft = format!("{path}.draft");
        self.write(&draft, &bytes)
            .and_then(|()| self.disk.rename(&draft, path))
            .map_err(|error| LogError::write(path, error))?;
        self.sync_folder()
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.create_dir(FOLDER)?;
        let file = self.disk.create(path, bytes.len() as u64)?;
        file.write_at(0, bytes)?;
        file.sync()
    }

    fn sync_folder(&self) -> Result<(), SpoolError> {
        let synced = self.disk.sync_dir(FOLDER);
        Ok(synced.map_err(|error| LogError::write(FOLDER, error))?)
    }

    /// A letter's file; none when it does not hold one.
    fn load(&self, path: &str) -> Result<Option<Stored>, SpoolError> {
        let read = || -> io::Result<Vec<u8>> {
            let file = self.disk.open(path)?;
            let mut bytes = vec![0; usize::try_from(file.bytes()?).unwrap_or(0)];
            let read = file.read_at(0, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        };
        let bytes = read().map_err(|error| LogError::read(path, error))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

fn path(sink: &str, priority: Priority, id: RecordId, state: LetterState) -> String {
    let queue = prefix(sink, priority);
    format!("{FOLDER}/{queue}-{id}.{}", state.suffix())
}

fn parse(name: &str) -> Option<(LetterState, RecordId)> {
    let (name, suffix) = name.rsplit_once('.')?;
    let state = LetterState::ALL
        .into_iter()
        .find(|state| state.suffix() == suffix)?;
    let (queue, digits) = name.rsplit_once('-')?;
    parse_prefix(queue)?;
    let id = u128::from_str_radix(digits, 16)
        .ok()
        .filter(|_| digits.len() == 32)?;
    Some((state, RecordId(id.to_be_bytes())))
}

/// What a record stands for, whatever its revision.
fn window(record: &Record) -> [u8; 16] {
    let stands_for = (
        (&record.rule, record.version),
        (&record.device, &record.sensor, record.epoch),
        (record.start_us, record.end_us),
    );
    // Texts and numbers always encode.
    let bytes = postcard::to_stdvec(&stands_for).unwrap_or_default();
    let mut window = [0; 16];
    window.copy_from_slice(&Sha256::digest(bytes)[..16]);
    window
}
