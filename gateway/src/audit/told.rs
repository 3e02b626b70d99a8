//! Told: checkpoints as those have them to whom they were sent, held against the log.
//!
//! What is read is what a sink received: records, a JSON object or array a line, of which those of
//! the rule [`RULE`] carry a checkpoint; or checkpoints themselves, one behind the other. Who has
//! changed the gateway's history since, and signed it with its key, is found: what was told is
//! signed by the same key and is no earlier state of the log that is there.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use serde::Deserialize;

use super::keys::LogKey;
use super::snapshot::{Signed, Snapshot};
use super::source::Source;
use super::verify::{Wrong, check_earlier};
use crate::checkpoint::RULE;

/// Longest line of what was received.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// A checkpoint that was told.
#[derive(Debug)]
pub struct Told {
    /// In which line it begins, from 1.
    pub line: usize,
    /// The checkpoint.
    pub signed: Signed,
}

/// Checkpoints that were told, all of one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldReport {
    /// How many.
    pub checkpoints: usize,
    /// Entries of the smallest.
    pub from: u64,
    /// Entries of the largest.
    pub to: u64,
}

/// What was received cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The system refused.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// A line is neither.
    #[error("line {line} is neither a record nor part of a checkpoint: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A checkpoint that this log's key has not signed.
    #[error("the checkpoint in line {line} is not one of this log: {why}")]
    Foreign {
        /// Where it begins.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// There is none.
    #[error("no line of it is a record of the rule {RULE} or begins a checkpoint")]
    Nothing,
}

/// What is read of a record.
#[derive(Deserialize)]
struct Line {
    rule: String,
    note: Option<String>,
}

/// Reads the checkpoints of what was received, and verifies that this log's key has signed them.
///
/// # Errors
/// It is not what was sent, or there is none.
pub fn read(input: impl BufRead, key: &LogKey) -> Result<Vec<Told>, Unread> {
    let mut told = Vec::new();
    for (line, note) in notes(input)? {
        let signed =
            Signed::read(note.as_bytes(), key, &[]).map_err(|why| Unread::Foreign { line, why })?;
        told.push(Told { line, signed });
    }
    if told.is_empty() {
        return Err(Unread::Nothing);
    }
    Ok(told)
}

/// The notes in what was received, each with its first line.
fn notes(mut input: impl BufRead) -> Result<Vec<(usize, String)>, Unread> {
    let mut notes = Vec::new();
    let mut open = Open::default();
    for number in 1.. {
        let mut bytes = Vec::new();
        let mut limited = (&mut input).take(LINE_BYTES_MAX as u64 + 1);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let wrong = |why: &str| Unread::Line {
            line: number,
            why: why.to_owned(),
        };
        if bytes.len() > LINE_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8"))?;
        let is_record = text.starts_with(['{', '[']);
        if is_record || !open.goes_on_with(&text) {
            notes.extend(open.close());
        }
        if is_record {
            let carried = carried(&text).map_err(|why| wrong(&why))?;
            notes.extend(carried.into_iter().map(|note| (number, note)));
        } else {
            open.take(number, &text);
        }
    }
    notes.extend(open.close());
    Ok(notes)
}

/// The notes of a line of records.
fn carried(text: &str) -> Result<Vec<String>, String> {
    let lines = if text.starts_with('[') {
        serde_json::from_str::<Vec<Line>>(text)
    } else {
        serde_json::from_str(text).map(|line| vec![line])
    };
    let lines = lines.map_err(|why| why.to_string())?;
    let of_audit = lines.into_iter().filter(|line| line.rule == RULE);
    let notes = of_audit.map(|line| line.note.ok_or_else(|| "it has no `note`".to_owned()));
    notes.collect()
}

/// A note that is being read: its text, an empty line, its signatures.
#[derive(Debug, Default)]
struct Open {
    line: usize,
    note: String,
    is_signed: bool,
}

impl Open {
    /// Whether a line is of this note, and not of the next or of none.
    fn goes_on_with(&self, text: &str) -> bool {
        !self.is_signed || text.starts_with('\u{2014}')
    }

    fn take(&mut self, number: usize, text: &str) {
        if self.note.is_empty() {
            if text.trim().is_empty() {
                return;
            }
            self.line = number;
        }
        self.note.push_str(text);
        self.is_signed |= text.starts_with('\u{2014}');
    }

    fn close(&mut self) -> Option<(usize, String)> {
        let Self { line, note, .. } = std::mem::take(self);
        (!note.is_empty()).then_some((line, note))
    }
}

/// Holds checkpoints that were told against each other: those of one size have one root hash.
/// Whether one has grown into another only the log can say.
///
/// # Errors
/// Two of one size differ.
pub fn compare(told: &[Told]) -> Result<ToldReport, Wrong> {
    let mut sizes: BTreeMap<u64, &Told> = BTreeMap::new();
    for one in told {
        let size = one.signed.size();
        let first = sizes.entry(size).or_insert(one);
        if first.signed.root() != one.signed.root() {
            return Err(Wrong::TwoTold {
                size,
                lines: (first.line, one.line),
            });
        }
    }
    let end = |found: Option<(&u64, _)>| found.map_or(0, |(size, _): (&u64, &&Told)| *size);
    Ok(ToldReport {
        checkpoints: told.len(),
        from: end(sizes.first_key_value()),
        to: end(sizes.last_key_value()),
    })
}

/// Holds checkpoints that were told against a log: each is how it was once.
///
/// # Errors
/// How many are not, and the first of them.
pub(super) fn hold<S: Source>(snapshot: &Snapshot<S>, told: &[Told]) -> Result<ToldReport, Wrong> {
    let mut known: BTreeMap<(u64, [u8; 32]), bool> = BTreeMap::new();
    let (mut wrong, mut first) = (0, None);
    for one in told {
        let state = (one.signed.size(), one.signed.root().0);
        if let Some(is_wrong) = known.get(&state) {
            wrong += usize::from(*is_wrong);
            continue;
        }
        let what = format!("the checkpoint upstream in line {}", one.line);
        let held = check_earlier(snapshot, &what, &one.signed);
        known.insert(state, held.is_err());
        match held {
            Ok(()) => {}
            Err(found @ (Wrong::CutBack { .. } | Wrong::TwoHistories { .. })) => {
                wrong += 1;
                first.get_or_insert(found);
            }
            Err(other) => return Err(other),
        }
    }
    if let Some(first) = first {
        return Err(Wrong::Told {
            wrong,
            of: told.len(),
            first: Box::new(first),
        });
    }
    compare(told)
}
