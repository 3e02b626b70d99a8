//! Deliveries: what became of records at their sinks, from the delivery journal and the queues.
//!
//! The first batch in the journal whose places cover a record's is the one it left with: what a
//! later one covers was done before. What the journal does not show is looked for in the queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ExplainError;
use super::answer::{Batch, Delivery, State};
use super::past::Past;
use crate::disk::Disk;
use crate::record::{Emitted, Place, rfc3339};
use crate::rules::Priority;
use crate::rules::settings::SinkSettings;
use crate::spool::journal::{Dropped, Left, Resent};
use crate::spool::{Journaled, Outcome, Spool};
use crate::store;

/// Records and bytes of a queue read at a time.
const READ_RECORDS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;

/// A record at a sink, and what is known of it.
struct Wanted<'a> {
    place: Place,
    sink: &'a str,
    priority: Priority,
    stored_bytes: u64,
    left: Option<Left>,
    delivery: Delivery,
}

impl Wanted<'_> {
    fn is_of(&self, sink: &str, priority: Priority) -> bool {
        self.sink == sink && self.priority == priority && self.delivery.state == State::Unknown
    }
}

/// What became of each record, at each of its sinks.
pub(super) fn find(
    disk: &Arc<dyn Disk>,
    past: &Past,
    sinks: &[SinkSettings],
    records: &[(usize, Emitted)],
) -> Result<Vec<Vec<Delivery>>, ExplainError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted: Vec<(usize, Wanted<'_>)> = Vec::new();
    for (at, (_, emitted)) in records.iter().enumerate() {
        wanted.extend(emitted.forward.iter().map(|sink| (at, want(emitted, sink))));
    }
    let (mut spool, _) = Spool::open(Arc::clone(disk), &store::queues(sinks))?;
    for entry in spool.journal(0)? {
        match entry?.1 {
            Journaled::Left(left) => apply_left(&mut wanted, &left),
            Journaled::Dropped(dropped) => apply_dropped(&mut wanted, &dropped),
            Journaled::Resent(resent) => apply_resent(records, &mut wanted, &resent),
            Journaled::Begun(_) | Journaled::Tried(_) => {}
        }
    }
    for (_, one) in &mut wanted {
        if one.delivery.state == State::Unknown {
            one.delivery.state = look_in_queue(&mut spool, one)?;
        }
    }
    share(past, &mut wanted)?;
    let mut found: Vec<Vec<Delivery>> = records.iter().map(|_| Vec::new()).collect();
    for (at, one) in wanted {
        found[at].push(one.delivery);
    }
    Ok(found)
}

fn want<'a>(emitted: &Emitted, sink: &'a str) -> Wanted<'a> {
    Wanted {
        place: emitted.place,
        sink,
        priority: emitted.priority,
        stored_bytes: stored_bytes(emitted),
        left: None,
        delivery: Delivery {
            sink: sink.to_owned(),
            state: State::Unknown,
            at: None,
            batch: None,
        },
    }
}

/// Bytes of a record in a queue.
fn stored_bytes(emitted: &Emitted) -> u64 {
    postcard::to_stdvec(&(emitted.place, &emitted.record)).map_or(0, |bytes| bytes.len() as u64)
}

/// A dead letter was delivered after all.
fn apply_resent(records: &[(usize, Emitted)], wanted: &mut [(usize, Wanted<'_>)], resent: &Resent) {
    for (at, one) in wanted {
        if one.sink == resent.sink && records[*at].1.record.id == resent.id {
            one.delivery.state = State::Delivered;
            one.delivery.at = Some(rfc3339(resent.cost.at.wall_us));
        }
    }
}

fn apply_left(wanted: &mut [(usize, Wanted<'_>)], left: &Left) {
    let places = left.first_place..=left.last_place;
    for (_, one) in wanted {
        if left.records == 0
            || !one.is_of(&left.sink, left.priority)
            || !places.contains(&one.place)
        {
            continue;
        }
        let delivery = left.delivery;
        one.delivery.state = match delivery.outcome {
            Outcome::Confirmed => State::Delivered,
            Outcome::Refused => State::Refused,
            Outcome::Evicted => State::Evicted,
        };
        one.delivery.at = Some(rfc3339(delivery.at.wall_us));
        one.delivery.batch = Some(Batch {
            first: left.first,
            last: left.last,
            records: left.records,
            attempts: delivery.attempts,
            bytes_before: delivery.bytes_before,
            bytes_after: delivery.bytes_after,
            header_bytes: delivery.header_bytes,
            share_bytes: 0,
            share_is_even: false,
        });
        one.left = Some(left.clone());
    }
}

fn apply_dropped(wanted: &mut [(usize, Wanted<'_>)], dropped: &Dropped) {
    for (_, one) in wanted {
        let is_it = |(place, _): &(Place, _)| *place == one.place;
        if one.is_of(&dropped.sink, dropped.priority) && dropped.records.iter().any(is_it) {
            one.delivery.state = State::Dropped;
            one.delivery.at = Some(rfc3339(dropped.at.wall_us));
        }
    }
}

/// Where a record is that never left.
fn look_in_queue(spool: &mut Spool, one: &Wanted<'_>) -> Result<State, ExplainError> {
    let Some(id) = spool.queue(one.sink, one.priority) else {
        return Ok(State::NotSpooled);
    };
    if spool.mark(id)?.is_none_or(|mark| mark < one.place) {
        return Ok(State::NotSpooled);
    }
    let mut after = 0;
    loop {
        let waiting = spool.read(id, after, READ_RECORDS, READ_BYTES)?;
        let Some(last) = waiting.last() else {
            return Ok(State::Unknown);
        };
        if last.place < one.place {
            after = last.index;
            continue;
        }
        let waits = waiting.iter().any(|other| other.place == one.place);
        return Ok(if waits {
            State::Waiting
        } else {
            State::Unknown
        });
    }
}

/// Gives every record its share of its batch's bytes, by stored size, which the records of the
/// batch are derived again for.
fn share(past: &Past, wanted: &mut [(usize, Wanted<'_>)]) -> Result<(), ExplainError> {
    let weighs = |left: &Left| left.delivery.bytes_after + left.delivery.header_bytes > 0;
    let mut batches: BTreeMap<(String, Priority, u64), (Left, u64, u64)> = BTreeMap::new();
    for left in wanted.iter().filter_map(|(_, one)| one.left.as_ref()) {
        if weighs(left) {
            let name = (left.sink.clone(), left.priority, left.first);
            batches.insert(name, (left.clone(), 0, 0));
        }
    }
    weigh(past, &mut batches)?;
    for (_, one) in wanted {
        let (Some(left), Some(batch)) = (&one.left, &mut one.delivery.batch) else {
            continue;
        };
        let name = (left.sink.clone(), left.priority, left.first);
        let Some((_, records, bytes)) = batches.get(&name) else {
            continue;
        };
        batch.share_is_even = *records != left.records;
        let (part, whole) = if batch.share_is_even {
            (1, left.records)
        } else {
            (one.stored_bytes, *bytes)
        };
        let sent = u128::from(batch.bytes_after + batch.header_bytes);
        let whole = u128::from(whole.max(1));
        let share = (sent * u128::from(part) + whole / 2) / whole;
        batch.share_bytes = u64::try_from(share).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Counts the records of batches and their stored bytes, where the log still reaches them.
fn weigh(
    past: &Past,
    batches: &mut BTreeMap<(String, Priority, u64), (Left, u64, u64)>,
) -> Result<(), ExplainError> {
    let lefts = || batches.values().map(|(left, ..)| left);
    let Some(from) = lefts().map(|left| left.first_place.position).min() else {
        return Ok(());
    };
    let until = lefts().map(|left| left.last_place.position).max();
    let replay = match past.begin_at_most(from) {
        Err(ExplainError::TooEarly { .. } | ExplainError::NoBeginning) => return Ok(()),
        begun => begun?,
    };
    for step in replay {
        let step = step?;
        if Some(step.position) > until {
            break;
        }
        for emitted in &step.emitted {
            for (left, records, bytes) in batches.values_mut() {
                let places = left.first_place..=left.last_place;
                if emitted.priority == left.priority
                    && emitted.forward.contains(&left.sink)
                    && places.contains(&emitted.place)
                {
                    *records += 1;
                    *bytes += stored_bytes(emitted);
                }
            }
        }
    }
    Ok(())
}
