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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::disk::{Disk, FaultDisk};
    use crate::pipeline::Observed;
    use crate::pipeline::tests::script::{S, Script, passing};
    use crate::record::Emitted;
    use crate::rules::parse;
    use crate::store::Onlooker;

    /// How many samples and records were shown.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<(usize, usize)>>);

    impl Onlooker for Seen {
        fn looks(&mut self, _: u64) -> bool {
            true
        }

        fn saw(&mut self, samples: Vec<Observed>, records: &[Emitted]) {
            let mut seen = self.0.lock().unwrap();
            seen.0 += samples.iter().map(|one| one.samples.len()).sum::<usize>();
            seen.1 += records.len();
        }
    }

    /// Page, charts and taps never show what the log does not hold.
    #[test]
    fn what_is_shown_is_on_disk() {
        let configuration = "[gateway]\nsite = \"site\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n\
                             [sink.cloud]\ntype = \"file\"\npath = \"records\"\n[[rule]]\n\
                             name = \"all\"\nmatch = { sensor = \"*\" }\nforward = [\"cloud\"]\n";
        let (settings, _) = parse(configuration, "test").unwrap();
        let fault = FaultDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(fault.clone());
        let (mut store, _) = Store::open(&disk, &settings, 1, Timestamp::default()).unwrap();
        let seen = Seen::default();
        store.show_to(Box::new(seen.clone()));
        let mut script = Script::new(&[passing("p")]);
        script.batch(20 * S, &[(0, &[(3 * S, 5), (10 * S, 7)])]);
        let at = script.at;
        fault.set_read_only(true);
        let mut entries = None;
        let commit = Request::Commit(script.log.clone());
        serve(&mut store, &|| at, commit, &mut |report| {
            if let Report::Refused { entries: back, .. } = report {
                entries = Some(back);
            }
        });
        assert_eq!(*seen.0.lock().unwrap(), (0, 0), "nothing of it is durable");
        fault.set_read_only(false);
        let commit = Request::Commit(entries.expect("they came back"));
        serve(&mut store, &|| at, commit, &mut |_| {});
        assert_eq!(*seen.0.lock().unwrap(), (2, 2));
    }
}
