//! The spool's state as parts of a base: one part per queue, one per sink and rule.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::SpoolError;
use super::bill::{Bill, Month, MonthBill};
use super::counters::{Counters, RuleCounts};
use super::queue::Queue;
use crate::log::{Base, Part};
use crate::record::Place;
use crate::rules::Priority;

const QUEUE: u16 = 1;
const COUNTS: u16 = 2;
/// What the months of the bill have in common, and a month of it.
const BILL: u16 = 3;
const BILL_MONTH: u16 = 4;
const VERSION: u16 = 2;
/// A part's key is for people: the names inside are whole.
const KEY_CHARS_MAX: usize = 200;

/// A queue at the time of a base.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueState {
    /// Index after the last durable record; those before it are in the counters.
    pub next: u64,
    /// Place of the record before that.
    pub mark: Option<Place>,
    pub dropped_through: Option<Place>,
    pub lost_records: u64,
    /// First, last, place of the last.
    pub done: Vec<(u64, u64, Option<Place>)>,
    /// First and last of the batch that was begun last.
    pub begun: Option<(u64, u64)>,
}

impl From<&Queue> for QueueState {
    fn from(queue: &Queue) -> Self {
        Self {
            next: queue.next(),
            mark: queue.mark_durable,
            dropped_through: queue.dropped_through,
            lost_records: queue.lost_records,
            done: queue.done.iter().collect(),
            begun: queue.begun,
        }
    }
}

/// The whole state.
#[derive(Debug, Default)]
pub(super) struct State {
    pub queues: BTreeMap<(String, Priority), QueueState>,
    pub counters: Counters,
    pub bill: Bill,
    /// Parts that could not be understood.
    pub unreadable: u64,
}

fn part(kind: u16, name: &str, value: &impl Serialize) -> Result<Part, SpoolError> {
    Ok(Part {
        kind,
        version: VERSION,
        key: name.chars().take(KEY_CHARS_MAX).collect(),
        bytes: postcard::to_stdvec(value).map_err(|_| SpoolError::Unencodable)?,
    })
}

/// The state as a base.
pub(super) fn encode(
    position: u64,
    queues: &[Queue],
    counters: &Counters,
    bill: &Bill,
) -> Result<Base, SpoolError> {
    let mut parts = Vec::new();
    for queue in queues {
        let name = super::queue::prefix(&queue.sink, queue.priority);
        let state = (&queue.sink, queue.priority, QueueState::from(queue));
        parts.push(part(QUEUE, &name, &state)?);
    }
    for (sink, rules) in &counters.sinks {
        for (rule, counts) in rules {
            parts.push(part(
                COUNTS,
                &format!("{sink} {rule}"),
                &(sink, rule, counts),
            )?);
        }
    }
    parts.push(part(BILL, "", &bill.head())?);
    for (month, of_month) in &bill.months {
        let name = month.to_string();
        parts.push(part(BILL_MONTH, &name, &(month, of_month))?);
    }
    Ok(Base { position, parts })
}

fn read<T: DeserializeOwned>(part: &Part) -> Option<T> {
    postcard::from_bytes(&part.bytes)
        .ok()
        .filter(|_| part.version == VERSION)
}

/// The state from a base.
pub(super) fn decode(base: &Base) -> State {
    let mut state = State::default();
    let mut has_bill = false;
    for part in &base.parts {
        let understood = match part.kind {
            QUEUE => read::<(String, Priority, QueueState)>(part).map(|(sink, priority, queue)| {
                state.queues.insert((sink, priority), queue);
            }),
            COUNTS => read::<(String, String, RuleCounts)>(part).map(|(sink, rule, counts)| {
                state
                    .counters
                    .sinks
                    .entry(sink)
                    .or_default()
                    .insert(rule, counts);
            }),
            BILL => read(part).map(|head| {
                has_bill = true;
                state.bill.take_head(head);
            }),
            BILL_MONTH => read::<(Month, MonthBill)>(part).map(|(month, of_month)| {
                state.bill.months.insert(month, of_month);
            }),
            _ => None,
        };
        state.unreadable += u64::from(understood.is_none());
    }
    if !has_bill || state.unreadable > 0 {
        state.bill.lost();
    }
    state
}
