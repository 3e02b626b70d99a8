//! Delivered: what the delivery journal says that records of the log's own rules really cost.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::upstream::Cost;
use crate::disk::Disk;
use crate::spool::{Journaled, Outcome, SpoolError, journal};

/// What a sink confirmed, as far as the journal still has it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Records.
    pub records: u64,
    /// Batches.
    pub batches: u64,
    /// What they cost, over all attempts not charged apart; framing is that of both directions.
    #[serde(flatten)]
    pub cost: Cost,
}

/// By sink, the confirmed batches whose records were all caused at these log positions.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    positions: &Range<u64>,
) -> Result<BTreeMap<String, Delivered>, SpoolError> {
    let mut found: BTreeMap<String, Delivered> = BTreeMap::new();
    for entry in journal::look(Arc::clone(disk))? {
        let Journaled::Left(left) = entry?.1 else {
            continue;
        };
        let is_within = positions.contains(&left.first_place.position)
            && positions.contains(&left.last_place.position);
        if left.delivery.outcome == Outcome::Confirmed && is_within {
            let sum = found.entry(left.sink).or_default();
            sum.records += left.records;
            sum.batches += 1;
            sum.cost.add(&Cost {
                bytes_before: left.delivery.bytes_before,
                bytes_after: left.delivery.bytes_after,
                header_bytes: left.delivery.header_bytes,
            });
        }
    }
    Ok(found)
}
