//! Log and spool together, the power cut at every operation of a run.
//!
//! The run appends entries, derives records from them, spools, commits, evicts, rolls with bases
//! and recycles, in the order of durability that the gateway keeps. After each cut the next start
//! replays from the base it finds, and everything must be there once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::journal::Shares;
use super::*;
use crate::log::{Base, LocalLog, Log, LogError, Opened, Part};
use crate::rules::settings::LogSettings;

const LOG: LogSettings = LogSettings {
    commit_ms: 1_000,
    segment_bytes: 4_096,
    bytes_max: 20 << 10,
};

fn queues() -> Vec<QueueSettings> {
    vec![
        settings("cloud", Priority::Normal, 32 << 10),
        settings("cloud", Priority::High, 16 << 10),
        settings("file", Priority::Low, 12 << 10),
    ]
}

/// What a run knows of itself.
#[derive(Default, Clone)]
struct Known {
    /// Every entry whose append was tried, by position.
    tried: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Entries before this position were acknowledged.
    acknowledged: u64,
    /// Entries before this position have their records in the spool, durably.
    spooled: u64,
    /// Places whose commit was tried, by queue.
    committed: BTreeSet<(QueueId, Place)>,
    rolls: u64,
}

struct Store {
    log: LocalLog,
    spool: Spool,
}

fn entry(position: u64, run: u64) -> Vec<u8> {
    format!("entry {position} of run {run} ")
        .repeat(10 + position as usize % 9)
        .into_bytes()
}

fn derive(position: u64) -> Vec<Emitted> {
    let mut records = vec![emitted(
        place(position, 0),
        &["cloud", "file"],
        Priority::Normal,
    )];
    records[0].forward.truncate(1);
    records.push(emitted(place(position, 1), &["file"], Priority::Low));
    if position.is_multiple_of(4) {
        records.push(emitted(place(position, 2), &["cloud"], Priority::High));
    }
    records
}

fn base(position: u64) -> Base {
    let part = Part {
        kind: 1,
        version: 1,
        key: String::new(),
        bytes: vec![1; 400],
    };
    Base {
        position,
        parts: vec![part],
    }
}

/// Opens a store as the gateway does: what the base does not cover is derived again.
fn start(disk: &FaultDisk) -> Result<(Store, Marks), SpoolError> {
    let Opened {
        log,
        base,
        recovery,
    } = LocalLog::open(Arc::new(disk.clone()), "log", LOG, 7)?;
    let (mut spool, report) = Spool::open(Arc::new(disk.clone()), &queues())?;
    let before: Vec<Option<Place>> = (0..3)
        .map(|at| spool.mark(QueueId(at)))
        .collect::<Result<_, _>>()?;
    assert!(recovery.is_clean(), "{recovery:?}");
    assert!(base.is_none_or(|base| base.position == recovery.from));
    assert_eq!(
        (report.records_lost, report.parts_damaged, report.recounted),
        (0, 0, false)
    );
    for read in log.read(0, recovery.from)? {
        spool.append(now(1), &derive(read?.0))?;
    }
    spool.sync(now(1))?;
    Ok((Store { log, spool }, before))
}

/// The queues' marks before replay.
type Marks = Vec<Option<Place>>;

fn step(store: &mut Store, known: &mut Known, step: u64, run: u64) -> Result<(), SpoolError> {
    let Store { log, spool } = store;
    let first = log.end();
    let entries: Vec<Vec<u8>> = (first..first + 3)
        .map(|position| entry(position, run))
        .collect();
    for (position, bytes) in (first..).zip(&entries) {
        known.tried.entry(position).or_default().push(bytes.clone());
    }
    known.acknowledged = log.append(0, first, &entries)?;
    let records: Vec<Emitted> = (first..known.acknowledged).flat_map(derive).collect();
    let time = now(step * 20);
    spool.append(time, &records)?;
    spool.sync(time)?;
    known.spooled = known.acknowledged;
    for (at, every) in [(0, 2), (1, 5)] {
        let id = QueueId(at);
        if step % every == 1 {
            let batch = spool.read(id, 0, 9, 100_000)?;
            if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
                known
                    .committed
                    .extend(batch.iter().map(|one| (id, one.place)));
                spool.commit(
                    id,
                    first.index..=last.index,
                    delivery(Outcome::Confirmed),
                    &Shares::default(),
                )?;
            }
        }
    }
    if log.roll_due() {
        match log.roll(&base(log.end())) {
            Ok(()) => known.rolls += 1,
            Err(error @ LogError::Write { .. }) => return Err(error.into()),
            Err(error) => panic!("{error}"),
        }
    }
    Ok(())
}

/// Runs until done or cut.
fn run(disk: &FaultDisk, known: &mut Known, run: u64, steps: u64) {
    let Ok((mut store, _)) = start(disk) else {
        return;
    };
    for number in 0..steps {
        if step(&mut store, known, number, run).is_err() {
            return;
        }
    }
    let _ = store
        .spool
        .stop(now(steps * 20))
        .map(|()| store.log.stop(&base(store.log.end())));
}

/// Opens what a cut left and holds it against what the run knew.
fn check(disk: &FaultDisk, known: &mut Known, what: &str) {
    let untouched = Spool::open(Arc::new(disk.clone()), &queues()).unwrap().0;
    let (mut store, marks) = start(disk).unwrap();
    let Store { log, spool } = &mut store;
    check_log(log, known, what);
    let end = log.end();
    let evicted = evicted(spool);
    for (at, mark) in marks.into_iter().enumerate() {
        let id = QueueId(at);
        let derived: Vec<Place> = (0..end)
            .flat_map(derive)
            .filter(|one| goes_to(one, id))
            .map(|one| one.place)
            .collect();
        let spooled = derived
            .iter()
            .filter(|place| place.position < known.spooled)
            .max();
        assert!(
            mark >= spooled.copied(),
            "{what}: what was synced is in the spool"
        );
        let waiting = waiting(spool, id);
        assert!(
            waiting.is_sorted_by(|a, b| a < b),
            "{what}: once each, in order"
        );
        let waiting: BTreeSet<Place> = waiting.into_iter().collect();
        for place in &derived {
            let gone = known.committed.contains(&(id, *place)) || is_in(&evicted, id, *place);
            assert!(
                waiting.contains(place) || gone,
                "{what}: {place:?} is missing in {id:?}"
            );
        }
        assert!(
            waiting
                .iter()
                .all(|place| derived.binary_search(place).is_ok())
        );
        drop(waiting);
    }
    for (sink, ids) in [("cloud", &[0, 1][..]), ("file", &[2])] {
        let sum = sums(spool, sink);
        let of_sink = |one: &Emitted| ids.iter().any(|at| goes_to(one, QueueId(*at)));
        let derived = (0..end).flat_map(derive).filter(of_sink);
        let folded: u64 = derived.map(|one| one.record.fresh).sum();
        assert_eq!(
            sum.spooled_fresh + sum.dropped_fresh,
            folded,
            "{what}: {sink} {sum:?}"
        );
        let places = ids.iter().flat_map(|at| waiting(spool, QueueId(*at)));
        let waits: u64 = places.map(fresh).sum();
        assert_eq!(sum.waiting_fresh(), waits, "{what}: {sink} {sum:?}");
    }
    drop(untouched);
    known.acknowledged = end;
}

fn check_log(log: &LocalLog, known: &Known, what: &str) {
    assert!(
        log.end() >= known.acknowledged,
        "{what}: acknowledged entries are missing"
    );
    let tried = known.tried.keys().next_back().map_or(0, |last| last + 1);
    assert!(log.end() <= tried, "{what}: entries nobody appended");
    let mut expected = log.start_position();
    for read in log.read(0, expected).unwrap() {
        let (position, bytes) = read.unwrap();
        assert_eq!(position, expected, "{what}");
        assert!(
            known.tried[&position].contains(&bytes),
            "{what}: {position} is another"
        );
        expected += 1;
    }
    assert_eq!(expected, log.end(), "{what}");
}

fn goes_to(one: &Emitted, id: QueueId) -> bool {
    let queue = &queues()[id.0];
    one.priority == queue.priority && one.forward[0] == queue.sink
}

fn evicted(spool: &Spool) -> Vec<(QueueId, Place, Place)> {
    let entries = spool
        .journal(0)
        .unwrap()
        .filter_map(|entry| match entry.unwrap().1 {
            Journaled::Left(left) if left.delivery.outcome == Outcome::Evicted => {
                let id = spool.queue(&left.sink, left.priority).unwrap();
                Some((id, left.first_place, left.last_place))
            }
            _ => None,
        });
    entries.collect()
}

fn is_in(evicted: &[(QueueId, Place, Place)], id: QueueId, place: Place) -> bool {
    let mut ranges = evicted.iter().filter(|(of, ..)| *of == id);
    ranges.any(|(_, first, last)| (first..=last).contains(&&place))
}

#[test]
fn the_power_may_be_cut_at_every_operation() {
    const STEPS: u64 = 45;
    let disk = FaultDisk::new();
    let mut known = Known::default();
    run(&disk, &mut known, 1, STEPS);
    let operations = disk.mutations();
    let whole = disk.after_cut(Torn::Nothing);
    check(&whole, &mut known.clone(), "uncut");
    let (store, _) = start(&whole).unwrap();
    let evictions = evicted(&store.spool).len();
    assert!(store.log.start_position() > 0, "the run recycles");
    assert!(known.rolls >= 4 && evictions >= 4 && known.committed.len() > 100);
    println!(
        "{operations} cut points, {} rolls, {evictions} evictions",
        known.rolls
    );
    assert!(operations >= 400);
    for nth in 1..=operations {
        let disk = FaultDisk::new();
        disk.cut_at(nth);
        let mut known = Known::default();
        run(&disk, &mut known, 1, STEPS);
        assert!(disk.is_cut());
        for torn in [Torn::Nothing, Torn::Sectors(nth)] {
            let mut known = known.clone();
            let what = format!("cut at {nth}, {torn:?}");
            let disk = disk.after_cut(torn);
            // Straight into the next run, which is cut too, then a look at what both left.
            disk.cut_at(nth * 31 % 83 + 1);
            run(&disk, &mut known, 2, 4);
            disk.cut();
            check(&disk.after_cut(torn), &mut known, &what);
        }
    }
}

#[test]
fn every_sync_may_fail_before_a_cut() {
    let disk = FaultDisk::new();
    run(&disk, &mut Known::default(), 1, 25);
    for nth in 1..=disk.syncs() {
        let disk = FaultDisk::new();
        disk.fail_sync(nth);
        let mut known = Known::default();
        // A failed step ends the process, which is started again without a cut.
        run(&disk, &mut known, 1, 25);
        known.acknowledged = known.acknowledged.max(end_of(&disk));
        run(&disk, &mut known, 2, 5);
        disk.cut();
        check(
            &disk.after_cut(Torn::Sectors(nth)),
            &mut known,
            &format!("sync {nth}"),
        );
    }
}

fn end_of(disk: &FaultDisk) -> u64 {
    LocalLog::open(Arc::new(disk.clone()), "log", LOG, 7)
        .unwrap()
        .recovery
        .end
}
