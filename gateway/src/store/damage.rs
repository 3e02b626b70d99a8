//! A small data directory damaged in every place: it starts, and tells what was lost.
//!
//! Every byte of every file is flipped in turn; every file is cut at each sector, at each byte of
//! its newest batch, and removed. What an opening reports is compared with what is really gone,
//! found here from the layout alone: the batches that the damage touches.
//!
//! By default a part of the bytes is flipped, another one in every file; `TIDEGATE_FULL=1` flips
//! them all.

pub(crate) mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::world::{Batch, Kept, World};
use super::*;
use crate::disk::FaultDisk;
use crate::disk::fault::Torn;

/// Every how many bytes one is flipped, in the short form.
const STRIDE: usize = 61;

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Flip(usize),
    Cut(usize),
    Removed,
}

impl Damage {
    /// The content after it; `None` for no file.
    fn apply(self, content: &[u8]) -> Option<Vec<u8>> {
        let mut content = content.to_vec();
        match self {
            Self::Flip(at) => content[at] ^= 0x5a,
            Self::Cut(length) => content.truncate(length),
            Self::Removed => return None,
        }
        Some(content)
    }

    /// Whether a batch does not survive it.
    fn breaks(self, batch: &Batch) -> bool {
        match self {
            Self::Flip(at) => batch.range.contains(&at),
            Self::Cut(length) => batch.range.end > length,
            Self::Removed => true,
        }
    }

    /// Everything that is done to a file.
    fn of(content: &[u8], batches: &[Batch]) -> Vec<Self> {
        let stride = if std::env::var_os("TIDEGATE_FULL").is_some() {
            1
        } else {
            STRIDE
        };
        let mut all: BTreeSet<(u8, usize)> = BTreeSet::new();
        all.extend((0..content.len()).step_by(stride).map(|at| (0, at)));
        all.extend((0..content.len()).step_by(512).map(|at| (1, at)));
        if let Some(last) = batches.last() {
            let whole = last.range.clone().step_by(stride.min(7));
            all.extend(whole.map(|at| (1, at)));
        }
        // The head of every batch: magic, incarnation, position, count, length, check.
        for batch in batches {
            let fields = [0, 4, 8, 15, 16, 20, 24].map(|field| (0, batch.range.start + field));
            all.extend(fields);
        }
        let all = all.into_iter().map(|(kind, at)| match kind {
            0 => Self::Flip(at),
            _ => Self::Cut(at),
        });
        all.chain([Self::Removed]).collect()
    }
}

/// Damages a copy of a world and opens it.
fn open(world: &World, path: &str, damage: Damage) -> (Kept, OpenReport) {
    let copy = world.disk.after_cut(Torn::Nothing);
    match damage.apply(&world.disk.content(path).unwrap()) {
        Some(content) => copy.put(path, content),
        None => Disk::remove(&copy, path).unwrap(),
    }
    let disk: Arc<dyn Disk> = Arc::new(copy);
    let (mut store, report) = Store::open(&disk, &world.settings, 99, world::later()).unwrap();
    let kept = Kept::of(&mut store);
    if matches!(damage, Damage::Flip(at) if at % 5 != 0) {
        return (kept, report);
    }
    // It goes on, and the next start finds what this one left.
    let end = store.end();
    store.append(&world::tick()).unwrap();
    store.fold(&world::tick());
    store.settle(world::later()).unwrap();
    drop(store);
    let (again, second) = Store::open(&disk, &world.settings, 98, world::later()).unwrap();
    assert_eq!(again.end(), end + 1, "{path} {damage:?}: {second:?}");
    (kept, report)
}

fn each(world: &World, folder: &str, mut check: impl FnMut(&str, Damage, &Kept, &OpenReport)) {
    let paths = world.disk.paths();
    let mut opened = 0;
    for path in paths.iter().filter(|path| path.starts_with(folder)) {
        let content = world.disk.content(path).unwrap();
        let batches = world.batches.get(path).cloned().unwrap_or_default();
        for damage in Damage::of(&content, &batches) {
            let (kept, report) = open(world, path, damage);
            check(path, damage, &kept, &report);
            opened += 1;
        }
    }
    assert!(opened > 20, "{folder}: {opened}");
}

/// Log segments: what is missing is what the damage touched, and the report says so.
fn damage_log(world: &World) {
    each(world, "log/segment", |path, damage, kept, report| {
        let case = format!("{path} {damage:?}: {report:?}");
        let broken = world.batches[path]
            .iter()
            .filter(|batch| damage.breaks(batch));
        let gone: BTreeSet<u64> = broken.flat_map(|batch| batch.first..batch.end).collect();
        let missing: BTreeSet<u64> = world
            .kept
            .entries
            .keys()
            .copied()
            .filter(|position| !kept.entries.contains_key(position))
            .collect();
        assert_eq!(missing, gone, "{case}");
        assert!(
            kept.entries
                .iter()
                .all(|(at, bytes)| world.kept.entries[at] == *bytes),
            "{case}"
        );
        let behind = gone
            .iter()
            .filter(|at| **at >= report.recovery.from)
            .count() as u64;
        assert_eq!(report.recovery.entries_lost, behind, "{case}");
        let told: u64 = report
            .recovery
            .gaps
            .iter()
            .map(|gap| gap.end - gap.start)
            .sum();
        assert_eq!(told, behind, "{case}");
        assert_eq!(report.recovery.end, world.end, "{case}");
        assert_eq!(report.recovery.bases_passed_over, 0, "{case}");
        assert!(report.parts_lost.is_empty(), "{case}");
        assert_eq!(kept.waiting, world.kept.waiting, "records stay: {case}");
        if behind == 0 {
            assert_eq!(kept.ledger, world.kept.ledger, "{case}");
        }
    });
}

/// Bases: one that is damaged has another behind it, so nothing is lost; the report names it.
fn damage_bases(world: &World, prefix: &str) {
    each(world, prefix, |path, damage, kept, report| {
        let case = format!("{path} {damage:?}: {report:?}");
        assert_eq!(kept.entries, world.kept.entries, "{case}");
        assert_eq!(report.recovery.entries_lost, 0, "{case}");
        assert_eq!(kept.waiting, world.kept.waiting, "{case}");
        assert_eq!(kept.ledger, world.kept.ledger, "{case}");
        assert_eq!(kept.lost_records, 0, "{case}");
        assert!(
            report.parts_lost.is_empty() && !report.ids_begin_anew,
            "{case}"
        );
    });
}

/// Queues: a record is there, was derived again, or is counted as lost.
fn damage_queues(world: &World) {
    each(world, "spool/", |path, damage, kept, report| {
        let case = format!("{path} {damage:?}: {report:?}");
        assert_eq!(kept.entries, world.kept.entries, "{case}");
        let (mut lost, mut more) = (0, 0);
        for (queue, records) in &world.kept.waiting {
            let left = &kept.waiting[queue];
            lost += records.difference(left).count() as u64;
            more += left.difference(records).count();
        }
        assert_eq!((kept.lost_records, more), (lost, 0), "{case}");
        assert!(report.spool.records_lost <= lost, "{case}");
        let broken = world.batches[path].iter().any(|batch| damage.breaks(batch));
        if !broken {
            assert_eq!(kept.ledger, world.kept.ledger, "{case}");
        }
    });
}

/// The journal: what it forgets waits again and is sent again; nothing is lost.
fn damage_journal(world: &World) {
    each(world, "journal/", |path, damage, kept, report| {
        let case = format!("{path} {damage:?}: {report:?}");
        assert_eq!(kept.entries, world.kept.entries, "{case}");
        assert_eq!(kept.lost_records, 0, "{case}");
        for (queue, records) in &world.kept.waiting {
            let left = &kept.waiting[queue];
            assert!(left.is_superset(records), "{case}");
        }
    });
}

#[test]
fn damaged_log_of_a_killed_gateway() {
    damage_log(&World::killed());
}

#[test]
fn damaged_log_of_a_stopped_gateway() {
    damage_log(&World::stopped());
}

#[test]
fn damaged_bases_of_the_log() {
    damage_bases(&World::killed(), "log/base");
    damage_bases(&World::stopped(), "log/stop");
}

#[test]
fn damaged_queues_of_a_killed_gateway() {
    damage_queues(&World::killed());
}

#[test]
fn damaged_queues_of_a_stopped_gateway() {
    damage_queues(&World::stopped());
}

#[test]
fn damaged_journal() {
    damage_journal(&World::killed());
    damage_journal(&World::stopped());
}

/// What the log's bases remember of the queues is never ahead of them.
#[test]
fn a_power_cut_is_no_damage() {
    let settings = world::settings();
    let run = |disk: &FaultDisk| -> Result<(), StoreError> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut store, _) = Store::open(&shared, &settings, 7, world::later())?;
        let mut script = world::Script::begin(&mut store, &settings)?;
        for _ in 0..40 {
            script.step(&mut store)?;
        }
        store.stop(world::later())
    };
    let whole = FaultDisk::new();
    run(&whole).unwrap();
    let stride = if std::env::var_os("TIDEGATE_FULL").is_some() {
        1
    } else {
        7
    };
    for cut_at in (1..=whole.mutations()).step_by(stride) {
        let disk = FaultDisk::new();
        disk.cut_at(cut_at);
        run(&disk).unwrap_err();
        let left: Arc<dyn Disk> = Arc::new(disk.after_cut(Torn::Sectors(cut_at)));
        let (mut store, report) = Store::open(&left, &settings, 8, world::later()).unwrap();
        let lost = (report.spool.records_lost, Kept::of(&mut store).lost_records);
        assert!(report.recovery.is_clean(), "cut at {cut_at}: {report:?}");
        assert_eq!(lost, (0, 0), "cut at {cut_at}: {report:?}");
    }
}
