//! Dead letters as people handle them: listed, shown, sent again or dropped.
//!
//! The same code answers for a running gateway (over the control socket) and works on the files of
//! a stopped one. What a letter is, and how it is kept, is told in [`crate::spool::letters`].
//!
//! Invariants:
//! - The spool is held for one letter at a time: a gateway with thousands of them goes on between.
//! - Each letter asked for has an outcome of its own; one that cannot be handled stops no other.
//! - An id may be shortened to digits that begin only one of the sink's letters.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::causes;
use crate::record::{RecordId, rfc3339, to_json};
use crate::rules::{Priority, nearest};
use crate::spool::letters::{LetterState, Stored};
use crate::spool::{Spool, SpoolError};

/// Letters of one answer to a listing: some 500 KB. The rest is asked for behind the last of them.
pub const LISTED_MAX: usize = 1_000;
/// Letters that one order may resend or drop: each is an fsync or two, and an answer has seconds.
pub const ORDERED_MAX: usize = 64;

/// What is to be done with a sink's letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The sink.
    pub sink: String,
    /// What.
    pub wish: Wish,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// List them, from behind an id on if one is given.
    List(Option<String>),
    /// Show the one of an id.
    Show(String),
    /// Send those of these ids once more, at most [`ORDERED_MAX`].
    Resend(Vec<String>),
    /// Drop those of these ids, at most [`ORDERED_MAX`].
    Drop(Vec<String>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The letters, by id.
    Listed {
        /// At most [`LISTED_MAX`].
        letters: Vec<Letter>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// The letter.
    Shown(Box<Letter>),
    /// What became of each, in the order asked.
    Handled(Vec<Handled>),
}

/// A letter, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// The record's id, 32 hexadecimal digits.
    pub id: String,
    /// What is to become of it.
    pub state: LetterState,
    /// When the sink refused it last, RFC 3339, by the gateway's clock.
    pub at: String,
    /// Whether that clock was to be trusted then.
    pub clock_trusted: bool,
    /// Attempts at it alone.
    pub attempts: u32,
    /// What the sink said last.
    pub why: String,
    /// Class of the queue that it was in.
    pub priority: Priority,
    /// The record as sinks get it as JSON.
    pub record: Value,
}

/// What became of one id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// The letter's id; as it was typed where there is no such letter.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What the disk said, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It goes to the sink once more.
    Again,
    /// It is gone.
    Dropped,
    /// There is none of that id.
    Unknown,
    /// The digits begin more than one id.
    Ambiguous,
    /// The sink has a newer revision of it.
    Old,
    /// The sink is not in the configuration, so nothing is sent there.
    Unconfigured,
    /// The sink has taken it meanwhile.
    Sent,
    /// The disk refused.
    Failed,
}

impl Outcome {
    /// Whether what was asked for is done.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Again | Self::Dropped)
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Again => "goes to the sink once more",
            Self::Dropped => "dropped; its samples stay counted as dead-lettered",
            Self::Unknown => "there is no dead letter of this id",
            Self::Ambiguous => "begins more than one id: write more digits",
            Self::Old => {
                "old: the sink has taken a newer revision of this window, whose place it would \
                 take; it can be dropped"
            }
            Self::Unconfigured => {
                "the sink is not in the configuration, so it would never go; it can be dropped"
            }
            Self::Sent => "the sink has just taken it",
            Self::Failed => "the disk refused; nothing was changed",
        }
    }
}

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// No such sink.
    #[error("there is no sink `{sink}`{}", meant(nearest.as_deref()))]
    UnknownSink {
        /// As it was typed.
        sink: String,
        /// The nearest of those there are.
        nearest: Option<String>,
    },
    /// No such letter.
    #[error("sink `{sink}` has no dead letter {id}; it may have been delivered or dropped")]
    UnknownLetter {
        /// The sink.
        sink: String,
        /// As it was typed.
        id: String,
    },
    /// Several letters begin so.
    #[error("{letters} dead letters of sink `{sink}` begin with {id}: write more digits")]
    Ambiguous {
        /// The sink.
        sink: String,
        /// As it was typed.
        id: String,
        /// How many.
        letters: usize,
    },
    /// Too many at once.
    #[error("{ids} ids are more than an order may have, {ORDERED_MAX}: nothing was done")]
    TooMany {
        /// How many.
        ids: usize,
    },
    /// Their files cannot be read.
    #[error("the dead letters cannot be read; none was changed")]
    Files(#[from] SpoolError),
}

/// The end of a sentence that names what was perhaps meant.
pub(crate) fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Carries an order out.
pub fn carry_out(spool: &Mutex<Spool>, order: &Order) -> Result<Reply, DeadLetterError> {
    let sink = order.sink.as_str();
    check_sink(&hold(spool), sink)?;
    match &order.wish {
        Wish::List(after) => list(spool, sink, after.as_deref()),
        Wish::Show(typed) => show(&hold(spool), sink, typed),
        Wish::Resend(ids) => handle(spool, sink, ids, resend),
        Wish::Drop(ids) => handle(spool, sink, ids, discard),
    }
}

fn hold(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink is known that has queues, or letters from when it had.
fn check_sink(spool: &Spool, sink: &str) -> Result<(), DeadLetterError> {
    let known = || {
        let queues = spool.queues().map(|(_, name, _)| name);
        queues.chain(spool.letters().sinks())
    };
    if known().any(|name| name == sink) {
        return Ok(());
    }
    Err(DeadLetterError::UnknownSink {
        sink: sink.to_owned(),
        nearest: nearest(sink, known()).map(str::to_owned),
    })
}

fn list(spool: &Mutex<Spool>, sink: &str, after: Option<&str>) -> Result<Reply, DeadLetterError> {
    let mut ids = hold(spool).letters().ids(sink);
    if let Some(after) = after {
        ids.retain(|id| id.to_string().as_str() > after);
    }
    let more = ids.len() > LISTED_MAX;
    ids.truncate(LISTED_MAX);
    let mut letters = Vec::with_capacity(ids.len());
    for id in ids {
        // One that went meanwhile is none.
        if let Some((state, stored)) = hold(spool).letters().get(sink, id)? {
            letters.push(Letter::new(state, &stored));
        }
    }
    Ok(Reply::Listed { letters, more })
}

fn show(spool: &Spool, sink: &str, typed: &str) -> Result<Reply, DeadLetterError> {
    let found = matching(&spool.letters().ids(sink), typed);
    let (sink, id) = (sink.to_owned(), typed.to_owned());
    let one = match found.as_slice() {
        [] => return Err(DeadLetterError::UnknownLetter { sink, id }),
        [one] => *one,
        several => {
            let letters = several.len();
            return Err(DeadLetterError::Ambiguous { sink, id, letters });
        }
    };
    match spool.letters().get(&sink, one)? {
        Some((state, stored)) => Ok(Reply::Shown(Box::new(Letter::new(state, &stored)))),
        None => Err(DeadLetterError::UnknownLetter { sink, id }),
    }
}

/// Does something with each of the letters that were asked for.
fn handle(
    spool: &Mutex<Spool>,
    sink: &str,
    typed: &[String],
    act: impl Fn(&mut Spool, &str, RecordId) -> Result<Outcome, SpoolError>,
) -> Result<Reply, DeadLetterError> {
    if typed.len() > ORDERED_MAX {
        return Err(DeadLetterError::TooMany { ids: typed.len() });
    }
    let known = hold(spool).letters().ids(sink);
    let handled = typed.iter().map(|typed| {
        let (id, outcome, why) = match matching(&known, typed).as_slice() {
            [] => (typed.clone(), Outcome::Unknown, None),
            [one] => match act(&mut hold(spool), sink, *one) {
                Ok(outcome) => (one.to_string(), outcome, None),
                Err(error) => {
                    let why = causes::told(&error);
                    (one.to_string(), Outcome::Failed, Some(why))
                }
            },
            _ => (typed.clone(), Outcome::Ambiguous, None),
        };
        Handled { id, outcome, why }
    });
    Ok(Reply::Handled(handled.collect()))
}

fn resend(spool: &mut Spool, sink: &str, id: RecordId) -> Result<Outcome, SpoolError> {
    if !spool.is_configured(sink) {
        return Ok(Outcome::Unconfigured);
    }
    let letters = spool.letters_mut();
    if letters.resend(sink, id)? {
        return Ok(Outcome::Again);
    }
    Ok(left_alone(letters.state(sink, id)))
}

fn discard(spool: &mut Spool, sink: &str, id: RecordId) -> Result<Outcome, SpoolError> {
    let letters = spool.letters_mut();
    if letters.discard(sink, id)? {
        return Ok(Outcome::Dropped);
    }
    Ok(left_alone(letters.state(sink, id)))
}

/// Why a letter in this state was left alone.
fn left_alone(state: Option<LetterState>) -> Outcome {
    match state {
        None => Outcome::Unknown,
        Some(LetterState::Old) => Outcome::Old,
        Some(LetterState::Sent | LetterState::Dead | LetterState::Again) => Outcome::Sent,
    }
}

/// The ids that begin with what was typed; letters that went meanwhile may be among them.
fn matching(known: &[RecordId], typed: &str) -> Vec<RecordId> {
    let typed = typed.to_ascii_lowercase();
    if typed.is_empty() {
        return Vec::new();
    }
    let ids = known.iter().copied();
    ids.filter(|id| id.to_string().starts_with(&typed))
        .collect()
}

impl Letter {
    fn new(state: LetterState, stored: &Stored) -> Self {
        let line = to_json(&stored.record);
        Self {
            id: stored.record.id.to_string(),
            state,
            at: rfc3339(stored.at.wall_us),
            clock_trusted: stored.at.wall_trusted,
            attempts: stored.attempts,
            why: stored.why.clone(),
            priority: stored.priority,
            record: serde_json::from_str(&line).unwrap_or(Value::String(line)),
        }
    }
}

#[cfg(test)]
mod tests;
