//! The log over a disk that fails: whatever happens, what was acknowledged is read back.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::disk::fault::{FaultDisk, Torn};
use crate::disk::{Disk, RealDisk};
use crate::rules::settings::LogSettings;

const SETTINGS: LogSettings = LogSettings {
    commit_ms: 1_000,
    segment_bytes: 4_096,
    bytes_max: 24 << 10,
};

fn open(disk: &FaultDisk) -> Opened {
    LocalLog::open(Arc::new(disk.clone()), "log", SETTINGS, 0xabcd).unwrap()
}

fn entry(position: u64) -> Vec<u8> {
    format!("entry {position} ")
        .repeat(20 + position as usize % 7)
        .into_bytes()
}

fn entries(first: u64, count: u64) -> Vec<Vec<u8>> {
    (first..first + count).map(entry).collect()
}

fn append(log: &mut LocalLog, count: u64) -> Result<u64, LogError> {
    log.append(0, log.end(), &entries(log.end(), count))
}

fn base(position: u64) -> Base {
    let part = |key: &str, bytes: Vec<u8>| Part {
        kind: 1,
        version: 1,
        key: key.to_owned(),
        bytes,
    };
    Base {
        position,
        parts: vec![
            part("position", position.to_le_bytes().to_vec()),
            part("more", vec![7; 300]),
        ],
    }
}

fn read_all(log: &LocalLog, from: u64) -> Vec<u64> {
    let mut positions = Vec::new();
    for read in log.read(0, from).unwrap() {
        let (position, bytes) = read.unwrap();
        assert_eq!(bytes, entry(position), "the entry at {position} is another");
        positions.push(position);
    }
    positions
}

/// A log of several segments with bases, rolled whenever that was due.
fn rolled(disk: &FaultDisk, appends: u64) -> LocalLog {
    let mut log = open(disk).log;
    for _ in 0..appends {
        append(&mut log, 3).unwrap();
        if log.roll_due() {
            log.roll(&base(log.end())).unwrap();
        }
    }
    log
}

fn segment_paths(disk: &FaultDisk) -> Vec<String> {
    disk.paths()
        .into_iter()
        .filter(|path| path.contains("segment-"))
        .collect()
}

#[test]
fn what_was_appended_is_read_back_from_any_position() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    assert_eq!(
        (log.end(), log.start_position(), log.incarnation()),
        (0, 0, 0xabcd)
    );
    for count in 1..8 {
        append(&mut log, count).unwrap();
    }
    disk.cut();
    let disk = disk.after_cut(Torn::Nothing);
    let opened = open(&disk);
    assert!(opened.recovery.is_clean());
    assert_eq!((opened.recovery.end, opened.recovery.entries), (28, 28));
    for from in 0..30 {
        assert_eq!(read_all(&opened.log, from), (from..28).collect::<Vec<_>>());
    }
}

#[test]
fn opening_writes_nothing() {
    let disk = FaultDisk::new();
    rolled(&disk, 30);
    let before = disk.mutations();
    disk.set_read_only(true);
    let opened = open(&disk);
    assert_eq!(
        read_all(&opened.log, opened.recovery.from).len() as u64,
        opened.recovery.entries
    );
    assert_eq!(disk.mutations(), before);
}

#[test]
fn opening_reads_the_newest_base_and_what_follows() {
    let disk = FaultDisk::new();
    let log = rolled(&disk, 40);
    let newest = log.base_positions().last().unwrap();
    let opened = open(&disk);
    assert_eq!(opened.base.unwrap(), base(newest));
    assert_eq!((opened.recovery.from, opened.recovery.end), (newest, 120));
    assert!(opened.recovery.is_clean());
    assert!(opened.recovery.entries < 30);
}

#[test]
fn old_segments_are_recycled_with_their_bases_and_replay_reaches_the_rest() {
    let disk = FaultDisk::new();
    let mut log = rolled(&disk, 100);
    assert!(log.bytes() <= SETTINGS.bytes_max, "{} bytes", log.bytes());
    let start = log.start_position();
    assert!(start > 0 && log.base_positions().next() == Some(start));
    assert!(log.base_positions().count() >= 3);
    assert_eq!(read_all(&log, start), (start..300).collect::<Vec<_>>());
    for position in log.base_positions().collect::<Vec<_>>() {
        assert_eq!(log.read_base(position).unwrap().base, base(position));
    }
    assert!(matches!(
        log.read_base(1),
        Err(LogError::NoBase { position: 1 })
    ));
    // The files' former lives do not show in a log that goes on.
    for _ in 0..3 {
        append(&mut log, 1).unwrap();
        assert!(open(&disk).recovery.is_clean());
    }
}

#[test]
fn a_damaged_base_costs_a_longer_replay_and_a_damaged_last_one_its_part() {
    let disk = FaultDisk::new();
    let log = rolled(&disk, 40);
    let positions: Vec<u64> = log.base_positions().collect();
    let damage = |position: u64, offset: usize| {
        let path = format!("log/base-{position:020}");
        let mut content = disk.content(&path).unwrap();
        content[offset] ^= 1;
        disk.put(&path, content);
    };
    let newest = *positions.last().unwrap();
    damage(newest, 200);
    let opened = open(&disk);
    assert_eq!(opened.recovery.bases_passed_over, 1);
    let second = positions[positions.len() - 2];
    assert_eq!(opened.base.unwrap().position, second);
    assert_eq!(
        read_all(&opened.log, second),
        (second..120).collect::<Vec<_>>()
    );
    // All damaged: the newest is used for what can be read of it.
    for position in &positions[..positions.len() - 1] {
        damage(*position, 200);
    }
    let opened = open(&disk);
    assert_eq!(opened.recovery.parts_damaged, [(1, "more".to_owned())]);
    assert_eq!(opened.base.unwrap().parts, base(newest).parts[..1]);
    // No base at all: it starts, and says what is missing.
    for position in &positions {
        damage(*position, 3);
    }
    let opened = open(&disk);
    assert!(opened.base.is_none() && opened.recovery.base_missing);
    assert_eq!(opened.recovery.end, 120);
}

#[test]
fn a_cut_stop_leaves_the_log_as_it_was() {
    let disk = FaultDisk::new();
    let mut log = rolled(&disk, 21);
    assert!(log.base_positions().max() < Some(log.end()));
    let mut stop = base(log.end());
    stop.parts[1].bytes = vec![7; 4_096];
    let before = disk.mutations();
    log.stop(&stop).unwrap();
    for nth in before + 1..=disk.mutations() {
        for seed in 0..20 {
            let disk = FaultDisk::new();
            let mut log = rolled(&disk, 21);
            disk.cut_at(nth);
            log.stop(&stop).unwrap_err();
            let opened = open(&disk.after_cut(Torn::Sectors(seed)));
            assert!(opened.recovery.is_clean(), "{nth}: {:?}", opened.recovery);
            assert_eq!(opened.log.end(), stop.position);
        }
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay() {
    let disk = FaultDisk::new();
    for run in 1..=5 {
        let mut opened = open(&disk);
        if run > 1 {
            assert_eq!(opened.base.as_ref().unwrap().position, (run - 1) * 3);
            assert_eq!(opened.recovery.entries, 0);
            assert!(opened.recovery.is_clean());
        }
        append(&mut opened.log, 3).unwrap();
        let end = opened.log.end();
        opened.log.stop(&base(end)).unwrap();
        let stops = disk
            .paths()
            .iter()
            .filter(|path| path.contains("stop-"))
            .count();
        assert_eq!(stops as u64, run.min(2));
    }
    // One of the two is cut while it is written: the other one, and replay, hold the state.
    let mut opened = open(&disk);
    append(&mut opened.log, 3).unwrap();
    let end = opened.log.end();
    disk.cut_at(disk.mutations() + 3);
    assert!(opened.log.stop(&base(end)).is_err());
    for seed in 0..8 {
        let opened = open(&disk.after_cut(Torn::Sectors(seed)));
        assert!(opened.base.unwrap().position >= 15);
        assert_eq!(opened.recovery.end, 18);
    }
}

#[test]
fn restarts_do_not_put_the_next_base_off() {
    let disk = FaultDisk::new();
    let mut runs = 0;
    loop {
        let mut log = open(&disk).log;
        if log.roll_due() {
            break;
        }
        append(&mut log, 2).unwrap();
        log.stop(&base(log.end())).unwrap();
        runs += 1;
        assert!(runs < 20);
    }
}

#[test]
fn a_failed_sync_moves_the_batch_to_a_new_segment() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    append(&mut log, 3).unwrap();
    disk.fail_sync(disk.syncs() + 1);
    assert!(matches!(append(&mut log, 4), Err(LogError::Write { .. })));
    assert_eq!(log.end(), 3);
    // Another batch than the failed one: the newer version counts.
    append(&mut log, 2).unwrap();
    append(&mut log, 2).unwrap();
    assert_eq!(segment_paths(&disk).len(), 2);
    for torn in [Torn::Nothing, Torn::Sectors(1), Torn::Sectors(2)] {
        let opened = open(&disk.after_cut(torn));
        assert!(opened.recovery.is_clean(), "{:?}", opened.recovery);
        assert_eq!(read_all(&opened.log, 0), (0..7).collect::<Vec<_>>());
    }
    assert_eq!(read_all(&open(&disk).log, 0), (0..7).collect::<Vec<_>>());
}

#[test]
fn every_failing_sync_leaves_a_log_that_goes_on() {
    for nth in 1..60 {
        let disk = FaultDisk::new();
        disk.fail_sync(nth);
        let mut log = open(&disk).log;
        let mut failures = 0;
        for _ in 0..30 {
            while append(&mut log, 3).is_err() {
                failures += 1;
            }
            if log.roll_due() && log.roll(&base(log.end())).is_err() {
                failures += 1;
            }
        }
        assert!(
            failures <= 1,
            "one failed sync failed {failures} operations"
        );
        disk.cut();
        let opened = open(&disk.after_cut(Torn::Sectors(nth)));
        assert!(
            opened.recovery.is_clean(),
            "sync {nth}: {:?}",
            opened.recovery
        );
        let from = opened.log.start_position();
        assert_eq!(
            read_all(&opened.log, from),
            (from..90).collect::<Vec<_>>(),
            "sync {nth}"
        );
    }
}

#[test]
fn what_a_killed_process_left_in_the_cache_is_made_durable_before_more_is_acknowledged() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    append(&mut log, 3).unwrap();
    // The sync fails and the process is killed at once: the batch reads back, and is not durable.
    disk.fail_sync(disk.syncs() + 1);
    append(&mut log, 3).unwrap_err();
    let mut log = open(&disk).log;
    assert_eq!(log.end(), 6);
    append(&mut log, 1).unwrap();
    disk.cut();
    let opened = open(&disk.after_cut(Torn::Nothing));
    assert_eq!(read_all(&opened.log, 0), (0..7).collect::<Vec<_>>());
    assert!(opened.recovery.is_clean());
}

#[test]
fn a_batch_that_cannot_be_made_durable_in_its_file_moves() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    append(&mut log, 3).unwrap();
    append(&mut log, 3).unwrap();
    let mut log = open(&disk).log;
    // The first sync is of the names, the second of the batch written again.
    disk.fail_sync(disk.syncs() + 2);
    append(&mut log, 1).unwrap();
    disk.cut();
    let opened = open(&disk.after_cut(Torn::Nothing));
    assert_eq!(read_all(&opened.log, 0), (0..7).collect::<Vec<_>>());
    assert!(opened.recovery.is_clean());
}

#[test]
fn a_batch_on_its_way_to_a_new_segment_is_never_hidden() {
    // Behind its first batch the segment has others, or it is the segment's first itself.
    for batches in 1..3 {
        let all: Vec<u64> = (0..3 * batches).collect();
        let prepared = || {
            let disk = FaultDisk::new();
            let mut log = open(&disk).log;
            for _ in 0..batches {
                append(&mut log, 3).unwrap();
            }
            disk
        };
        for cut in 1..30 {
            for torn in [Torn::Nothing, Torn::Sectors(cut)] {
                let disk = prepared();
                let mut log = open(&disk).log;
                // Of the names; of the batch where it is, which fails: it moves.
                disk.fail_sync(disk.syncs() + 2);
                disk.cut_at(disk.mutations() + cut);
                log.settle().ok();
                let opened = open(&disk.after_cut(torn));
                assert_eq!(read_all(&opened.log, 0), all, "cut at {cut}, {torn:?}");
                assert!(opened.recovery.is_clean());
            }
        }
        // Moving fails too, at every sync that it makes, and is tried again.
        for failing in 3..5 {
            let disk = prepared();
            let mut log = open(&disk).log;
            disk.fail_sync(disk.syncs() + 2);
            disk.fail_sync(disk.syncs() + failing);
            log.settle().unwrap_err();
            assert_eq!(
                read_all(&open(&disk).log, 0),
                all,
                "as a killed process leaves it"
            );
            log.settle().unwrap();
            append(&mut log, 3).unwrap();
            let left = disk.after_cut(Torn::Nothing);
            let opened = open(&left);
            assert_eq!(opened.log.end(), 3 * batches + 3, "sync {failing} failed");
            assert!(opened.recovery.is_clean());
            let drafts = left
                .paths()
                .into_iter()
                .filter(|path| path.contains(".tmp"));
            assert_eq!(drafts.count(), 0);
        }
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = FaultDisk::new();
    let mut log = rolled(&disk, 20);
    disk.limit_bytes(Some(0));
    let error = loop {
        if let Err(error) = append(&mut log, 3) {
            break error;
        }
    };
    assert!(error.is_storage_full());
    assert!(append(&mut log, 3).is_err() && log.roll(&base(log.end())).is_err());
    assert!(!log.roll_due(), "a failed roll is not due again at once");
    let end = log.end();
    disk.limit_bytes(None);
    append(&mut log, 3).unwrap();
    disk.cut();
    let opened = open(&disk.after_cut(Torn::Nothing));
    let from = opened.log.start_position();
    assert_eq!(
        read_all(&opened.log, from),
        (from..end + 3).collect::<Vec<_>>()
    );
}

#[test]
fn a_restored_log_goes_on_under_another_incarnation() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    append(&mut log, 3).unwrap();
    log.restored(0x1111);
    append(&mut log, 3).unwrap();
    let opened = open(&disk);
    assert_eq!(opened.log.incarnation(), 0x1111);
    assert_eq!(read_all(&opened.log, 0), (0..6).collect::<Vec<_>>());
    // A stop base of another log does not count.
    let other = FaultDisk::new();
    let mut foreign = LocalLog::open(Arc::new(other.clone()), "log", SETTINGS, 9)
        .unwrap()
        .log;
    append(&mut foreign, 50).unwrap();
    foreign.stop(&base(50)).unwrap();
    disk.put("log/stop-a", other.content("log/stop-a").unwrap());
    let opened = open(&disk);
    assert!(opened.base.is_none());
    assert_eq!(opened.recovery.end, 6);
}

#[test]
fn a_lost_tail_is_not_given_out_again() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    append(&mut log, 3).unwrap();
    append(&mut log, 3).unwrap();
    log.stop(&base(6)).unwrap();
    let path = segment_paths(&disk).remove(0);
    let content = disk.content(&path).unwrap();
    let second = content
        .windows(4)
        .rposition(|bytes| bytes == b"TGcb")
        .unwrap();
    let mut damaged = content.clone();
    damaged[second + 100] ^= 1;
    disk.put(&path, damaged);
    let mut opened = open(&disk);
    // A base has what they did; only replay from before it misses them.
    assert_eq!((opened.recovery.from, opened.recovery.end), (6, 6));
    assert!(opened.recovery.is_clean());
    append(&mut opened.log, 1).unwrap();
    assert_eq!(opened.log.advance_to(9), 2);
    append(&mut opened.log, 1).unwrap();
    assert_eq!(read_all(&opened.log, 0), [0, 1, 2, 6, 9]);
}

#[test]
fn wrong_calls_are_refused() {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    let wrong = log.append(0, 5, &entries(0, 1));
    assert!(matches!(
        wrong,
        Err(LogError::WrongPosition {
            expected: 5,
            actual: 0
        })
    ));
    assert!(matches!(
        log.append(1, 0, &[]),
        Err(LogError::UnknownPartition { partition: 1 })
    ));
    assert!(log.read(1, 0).is_err());
    assert!(matches!(
        log.roll(&base(1)),
        Err(LogError::WrongPosition { .. })
    ));
    let long = vec![vec![0; batch::BATCH_BYTES_MAX]];
    assert!(matches!(
        log.append(0, 0, &long),
        Err(LogError::BatchTooLong { .. })
    ));
    assert_eq!(log.append(0, 0, &[]).unwrap(), 0);
}

/// Bytes of a small log of one segment: seven batches of two entries.
fn small_log() -> (String, Vec<u8>) {
    let disk = FaultDisk::new();
    let mut log = open(&disk).log;
    for _ in 0..7 {
        append(&mut log, 2).unwrap();
    }
    let path = segment_paths(&disk).remove(0);
    let content = disk.content(&path).unwrap();
    (path, content)
}

#[test]
fn a_byte_flipped_anywhere_costs_one_batch_at_most_and_is_counted() {
    let (path, content) = small_log();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap();
    for at in 0..=used {
        let disk = FaultDisk::new();
        let mut flipped = content.clone();
        flipped[at] ^= 0x10;
        disk.put(&path, flipped);
        let mut opened = open(&disk);
        let positions = read_all(&opened.log, 0);
        let recovery = &opened.recovery;
        assert!(
            positions.len() >= 12,
            "byte {at} cost {} entries",
            14 - positions.len()
        );
        if positions.len() < 14 {
            let torn = positions == (0..12).collect::<Vec<_>>();
            assert_eq!(recovery.entries_lost, if torn { 0 } else { 2 });
            assert!(torn == (recovery.torn_bytes > 0), "byte {at}: {recovery:?}");
            assert!(torn || recovery.bytes_skipped > 0);
            let gap = if torn {
                12..12
            } else {
                recovery.gaps[0].clone()
            };
            assert!(positions.iter().all(|position| !gap.contains(position)));
        }
        append(&mut opened.log, 2).unwrap();
        assert_eq!(
            open(&disk).recovery.entries_lost,
            opened.recovery.entries_lost
        );
    }
}

#[test]
fn a_file_cut_short_anywhere_keeps_what_is_before() {
    let (path, content) = small_log();
    for length in 0..content.len() {
        let disk = FaultDisk::new();
        disk.put(&path, content[..length].to_vec());
        let mut opened = open(&disk);
        let positions = read_all(&opened.log, 0);
        assert_eq!(positions, (0..positions.len() as u64).collect::<Vec<_>>());
        assert_eq!(opened.recovery.entries_lost, 0);
        append(&mut opened.log, 2).unwrap();
        assert_eq!(read_all(&open(&disk).log, 0).len(), positions.len() + 2);
    }
}

#[test]
fn an_unreadable_sector_costs_its_batch() {
    let (path, content) = small_log();
    let disk = FaultDisk::new();
    disk.put(&path, content);
    disk.make_unreadable(&path, 1_000).unwrap();
    let opened = open(&disk);
    assert_eq!(opened.recovery.entries_lost, 2);
    assert_eq!(read_all(&opened.log, 0).len(), 12);
}

#[test]
fn foreign_files_are_left_alone() {
    let disk = FaultDisk::new();
    rolled(&disk, 10);
    for name in [
        "segment-x-1-2",
        "base-",
        "base-zzz",
        "notes.txt",
        "stop-c",
        "segment-1-2-3",
    ] {
        disk.put(&format!("log/{name}"), vec![1; 700]);
    }
    let opened = open(&disk);
    assert!(opened.recovery.is_clean());
    assert_eq!(opened.recovery.end, 30);
    assert_eq!(disk.content("log/notes.txt").unwrap().len(), 700);
}

#[test]
fn the_same_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
        LocalLog::open(disk, "log", SETTINGS, 3).unwrap()
    };
    for run in 1..=3 {
        let mut log = open().log;
        for _ in 0..30 {
            append(&mut log, 3).unwrap();
            if log.roll_due() {
                log.roll(&base(log.end())).unwrap();
            }
        }
        if run == 2 {
            log.stop(&base(log.end())).unwrap();
        }
    }
    let opened = open();
    assert!(opened.recovery.is_clean());
    let start = opened.log.start_position();
    assert!(start > 0);
    assert_eq!(
        read_all(&opened.log, start),
        (start..270).collect::<Vec<_>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_damage_leaves_a_log_that_starts_and_goes_on(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 1..900_usize), 1..6),
        lost in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let disk = FaultDisk::new();
        rolled(&disk, 30);
        let paths = disk.paths();
        for (path, at, byte, length) in damage {
            let path = path.get(&paths);
            let mut content = disk.content(path).unwrap();
            let at = at.index(content.len());
            let end = (at + length).min(content.len());
            content[at..end].fill(byte);
            disk.put(path, content);
        }
        if let Some(lost) = lost {
            disk.remove(&paths[lost.index(paths.len())]).unwrap();
        }
        let mut opened = open(&disk);
        let before = read_all(&opened.log, 0);
        prop_assert!(before.is_sorted_by(|a, b| a < b));
        let end = opened.log.end();
        prop_assert!(before.last().is_none_or(|last| *last < end) && end <= 90);
        append(&mut opened.log, 3).unwrap();
        opened.log.roll(&base(end + 3)).unwrap();
        append(&mut opened.log, 2).unwrap();
        let opened = open(&disk);
        prop_assert_eq!(opened.recovery.from, end + 3);
        prop_assert!(opened.recovery.is_clean());
        prop_assert_eq!(read_all(&opened.log, end), (end..end + 5).collect::<Vec<_>>());
    }
}
