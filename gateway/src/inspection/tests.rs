//! Scripts for inspection and repair, over a small store.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::check::{Report, check};
use super::entries::LogEntry;
use super::files::{self, Room};
use super::repair::{ASIDE, Step, repair};
use super::walk::walk;
use super::{headers, repair};
use crate::disk::fault::Torn;
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, DiskFile, FaultDisk};
use crate::store::Store;
use crate::store::damage::world::{Kept, World, later};

fn copy(world: &World) -> FaultDisk {
    world.disk.after_cut(Torn::Nothing)
}

fn shared(disk: &FaultDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn look(disk: &FaultDisk) -> Report {
    let mut last = (0, 0);
    let found = check(&shared(disk), &mut |done, total| last = (done, total)).unwrap();
    assert_eq!(last.0, last.1, "progress ends at the end");
    found
}

fn contents(disk: &FaultDisk) -> BTreeMap<String, Vec<u8>> {
    let paths = disk.paths().into_iter();
    paths
        .map(|path| (path.clone(), disk.content(&path).unwrap()))
        .collect()
}

fn flip(disk: &FaultDisk, path: &str, at: usize) {
    let mut content = disk.content(path).unwrap();
    content[at] ^= 0x5a;
    disk.put(path, content);
}

/// The segments of a room with at least three batches, and the middle one's offset and positions.
fn middle(world: &World, room: &str) -> (String, usize, u64, u64) {
    let mut found = world
        .batches
        .iter()
        .filter(|(path, batches)| path.starts_with(room) && batches.len() >= 3)
        .map(|(path, batches)| {
            let batch = &batches[batches.len() / 2];
            (path.clone(), batch.range.start, batch.first, batch.end)
        });
    found.next_back().unwrap()
}

fn with_identity(world: &World) -> FaultDisk {
    let disk = copy(world);
    crate::identity::begin(&shared(&disk), 5).unwrap();
    disk
}

#[test]
fn a_whole_store_is_clean_and_counted() {
    let world = World::killed();
    let disk = with_identity(&world);
    let found = look(&disk);
    assert!(found.clean, "{found:?}");
    let log = &found.rooms[&Room::Log];
    assert_eq!(
        log.sum(|one| one.walked.entries),
        world.kept.entries.len() as u64
    );
    assert!(log.bases.iter().all(super::check::BaseReport::is_intact));
    disk.put("identity", vec![1, 2, 3]);
    let found = look(&disk);
    assert!(!found.clean && !found.identity_readable);
}

#[test]
fn damage_is_named_by_file_offset_and_positions() {
    let world = World::killed();
    for at in [0, 9, 17, 25, 40] {
        let disk = with_identity(&world);
        let (path, offset, first, end) = middle(&world, "log/");
        flip(&disk, &path, offset + at);
        let found = look(&disk);
        assert!(!found.clean);
        let log = &found.rooms[&Room::Log];
        let damaged = log.segments.iter().find(|one| one.file == path).unwrap();
        let damage = &damaged.walked.damaged[0];
        assert_eq!(
            (damage.offset, damage.first, damage.end),
            (offset as u64, first, end)
        );
        let rows = headers::of_file(&shared(&disk), &path).unwrap().unwrap();
        assert!(
            rows.iter()
                .any(|row| row["is"] == "damaged" && row["first"] == first)
        );
    }
    assert_eq!(
        headers::of_file(&shared(&world.disk), "log/other").unwrap(),
        None
    );
}

#[test]
fn what_a_base_covers_is_missed_by_replay_only() {
    let world = World::killed();
    let disk = with_identity(&world);
    // The oldest segment, cut to its first batch.
    let (path, batches) = world
        .batches
        .iter()
        .find(|(path, _)| path.starts_with("log/seg"))
        .unwrap();
    let mut content = disk.content(path).unwrap();
    content.truncate(batches[0].range.end);
    disk.put(path, content);
    let found = look(&disk);
    let log = &found.rooms[&Room::Log];
    let gap = batches[0].end..batches.last().unwrap().end;
    assert_eq!(log.missing_before_base, [gap], "{found:?}");
    assert!(found.clean);
}

#[test]
fn repair_moves_aside_covers_the_loss_and_is_done_once() {
    let world = World::killed();
    let disk = with_identity(&world);
    let (log, offset, first, end) = middle(&world, "log/segment");
    flip(&disk, &log, offset);
    let base = disk
        .paths()
        .into_iter()
        .rfind(|path| path.starts_with("log/base"))
        .unwrap();
    flip(&disk, &base, 3);
    let (queue, at, ..) = middle(&world, "spool/cloud");
    flip(&disk, &queue, at);
    let before = contents(&disk);

    let over: Arc<dyn Disk> = Arc::new(OverlayDisk::new(shared(&disk)));
    let would = repair(&over, &world.settings, 9, later(), &mut |_, _| {}).unwrap();
    assert_eq!(contents(&disk), before, "telling changes nothing");
    let did = repair(&shared(&disk), &world.settings, 9, later(), &mut |_, _| {}).unwrap();
    assert_eq!(did, would);
    let lost = did.steps.iter().find_map(|step| match step {
        Step::Salvaged {
            file, entries_lost, ..
        } if *file == log => Some(*entries_lost),
        _ => None,
    });
    assert_eq!(lost, Some(end - first));
    for (path, damaged) in before
        .iter()
        .filter(|(path, _)| [&log, &base, &queue].contains(path))
    {
        let kept_as = format!("{ASIDE}/{}.1", path.replace('/', "."));
        assert_eq!(disk.content(&kept_as).unwrap(), *damaged, "{kept_as}");
    }
    let found = look(&disk);
    assert!(found.clean, "{found:?}");
    let again = repair(&shared(&disk), &world.settings, 9, later(), &mut |_, _| {}).unwrap();
    assert_eq!(again.steps, []);

    let (mut store, report) = Store::open(&shared(&disk), &world.settings, 8, later()).unwrap();
    assert!(report.recovery.is_clean(), "{report:?}");
    assert_eq!((report.spool.records_lost, report.parts_lost.len()), (0, 0));
    let kept = Kept::of(&mut store);
    let whole = world.kept.entries.clone().into_iter();
    let left: BTreeMap<_, _> = whole.filter(|(at, _)| !(first..end).contains(at)).collect();
    assert_eq!(kept.entries, left);
    let waited: usize = world.kept.waiting.values().map(BTreeSet::len).sum();
    let waits: usize = kept.waiting.values().map(BTreeSet::len).sum();
    assert_eq!(waits as u64 + kept.lost_records, waited as u64);
}

#[test]
fn a_lost_base_is_left_to_the_start() {
    let world = World::killed();
    let disk = with_identity(&world);
    let oldest = disk
        .paths()
        .into_iter()
        .find(|path| path.starts_with("log/seg"))
        .unwrap();
    Disk::remove(&disk, &oldest).unwrap();
    for path in disk.paths() {
        if path.starts_with("log/base") {
            flip(&disk, &path, 3);
        }
    }
    let did = repair(&shared(&disk), &world.settings, 9, later(), &mut |_, _| {}).unwrap();
    assert!(
        matches!(did.steps.last(), Some(Step::LeftToStart { .. })),
        "{did:?}"
    );
    let (_, report) = Store::open(&shared(&disk), &world.settings, 8, later()).unwrap();
    assert!(report.ids_begin_anew, "the start must hear of it");
}

#[test]
fn entries_read_in_words_and_as_json() {
    let world = World::killed();
    let listed = files::list(&world.disk, Room::Log).unwrap();
    let (mut lines, mut kinds) = (Vec::new(), Vec::new());
    for segment in &listed.segments {
        walk(&shared(&world.disk), segment, |_, entries| {
            for (position, bytes) in entries {
                let entry = LogEntry::read(position, bytes);
                lines.push(entry.line());
                kinds.push((entry.kind(), entry.to_json()));
            }
        })
        .unwrap();
    }
    let has = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(
        has("batch: 8 samples of 2 sensors") && has("dev  opened 00000007 boot 1"),
        "{lines:?}"
    );
    assert!(has("catalog") && has("site s, engine"), "{lines:?}");
    let frame = kinds.iter().rfind(|(kind, _)| *kind == "frame").unwrap();
    assert_eq!(frame.1["frame"]["message"]["kind"], "batch");
    assert_eq!(frame.1["frame"]["message"]["blocks"][1]["sensor"], 1);
    assert!(
        LogEntry::read(3, &[255; 9])
            .line()
            .contains("cannot be understood")
    );
}

/// A disk on which one file goes after it was opened so many times.
struct Vanishing {
    disk: FaultDisk,
    path: String,
    opens: AtomicU32,
}

impl Disk for Vanishing {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        if path == self.path && self.opens.fetch_sub(1, Ordering::Relaxed) == 0 {
            Disk::remove(&self.disk, path)?;
            self.opens.store(0, Ordering::Relaxed);
            return Err(io::ErrorKind::NotFound.into());
        }
        self.disk.open(path)
    }
    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path, bytes)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.create_dir(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_dir(folder)
    }
}

#[test]
fn a_file_recycled_while_it_is_read_is_no_damage() {
    let world = World::killed();
    // Gone before it is read; gone after it was read as another segment was written into it.
    for opens in [1, 2] {
        let disk = with_identity(&world);
        let (path, offset, ..) = middle(&world, "log/segment-0000000001");
        flip(&disk, &path, offset);
        let vanishing: Arc<dyn Disk> = Arc::new(Vanishing {
            disk,
            path,
            opens: AtomicU32::new(opens),
        });
        let found = check(&vanishing, &mut |_, _| {}).unwrap();
        assert!(found.clean, "{found:?}");
        assert_eq!(found.rooms[&Room::Log].recycled_meanwhile, 1);
    }
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was() {
    let world = World::killed();
    let disk = with_identity(&world);
    let (path, offset, ..) = middle(&world, "log/");
    flip(&disk, &path, offset);
    let before = contents(&disk);
    disk.limit_bytes(Some(before.values().map(|one| one.len() as u64).sum()));
    let refused = repair(&shared(&disk), &world.settings, 9, later(), &mut |_, _| {});
    assert!(matches!(refused, Err(repair::RepairError::Disk { .. })));
    for (path, content) in before {
        assert_eq!(disk.content(&path).unwrap(), content, "{path}");
    }
}
