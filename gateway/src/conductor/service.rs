//! Service: what the store does for the conductor, in the one order that keeps the promises.
//!
//! ```text
//! Commit ─► append, fsync ──Durable──► acks may leave
//!           fold, spool, base ──Settled──► the next batch may come, sinks are woken
//!           append failed ──Refused──► the entries go back and are offered again
//! ```

use std::sync::Arc;

use tidegate_shared::mutation::{Mutation, is_on};

use super::{Fault, Report};
use crate::causes;
use crate::entry::Logged;
use crate::store::Store;
use crate::time::Timestamp;

/// What a store is asked.
#[derive(Debug, Clone)]
pub enum Request {
    /// Make these durable, then fold them.
    Commit(Vec<Logged>),
    /// Try again to settle what an earlier commit left unspooled.
    Settle,
}

/// Carries out a request; `report` is told each step as soon as it is done. Returns how many
/// records were spooled.
pub fn serve(
    store: &mut Store,
    now: &dyn Fn() -> Timestamp,
    request: Request,
    report: &mut dyn FnMut(Report),
) -> usize {
    if let Request::Commit(entries) = request {
        if is_on(Mutation::AckBeforeFsync) {
            report(Report::Durable(Arc::new(entries.clone())));
        }
        if is_on(Mutation::RecordBeforeEntry) {
            store.fold_early(&entries);
            let _ = store.settle(now());
        }
        if let Err(error) = store.append(&entries) {
            let (fault, why) = (Fault::of(&error), causes::told(&error));
            report(Report::Refused {
                entries,
                fault,
                why,
            });
            return 0;
        }
        let entries = Arc::new(entries);
        if !is_on(Mutation::AckBeforeFsync) {
            report(Report::Durable(Arc::clone(&entries)));
        }
        if !is_on(Mutation::RecordBeforeEntry) {
            store.fold(&entries);
        }
    }
    match store.settle(now()) {
        Ok(records) => {
            report(Report::Settled {
                deadline: store.next_deadline(),
                wanted: store.wanted(),
                spent: store.spent(now()),
            });
            records
        }
        Err(error) => {
            let (fault, why) = (Fault::of(&error), causes::told(&error));
            report(Report::Unsettled { fault, why });
            0
        }
    }
}
