//! A cut at any write, or a sync that fails, leaves an entry in or out, and a log that verifies.

use super::*;
use crate::disk::fault::Torn;

/// Appends until something fails; gives how many appends succeeded.
fn append_on(log: &mut Log, batches: &[std::ops::Range<u64>]) -> usize {
    let mut done = 0;
    for batch in batches {
        match log.append_all(&entries(batch.clone())) {
            Ok(range) => assert_eq!(range, *batch),
            Err(_) => return done,
        }
        done += 1;
    }
    done
}

/// Grows from a size by batches with a cut at each mutation in turn.
fn cut_everywhere(size: u64, batches: &[std::ops::Range<u64>]) -> u64 {
    let (ready, log) = log_of(size);
    drop(log);
    let ready = ready.after_cut(Torn::Nothing);
    let mut cuts = 0;
    for nth in 1.. {
        let fault = ready.after_cut(Torn::Nothing);
        let mut log = Log::open(disk_of(&fault), &seed(1)).unwrap();
        fault.cut_at(fault.mutations() + nth);
        let done = append_on(&mut log, batches);
        if !fault.is_cut() {
            return cuts;
        }
        for torn in [Torn::Nothing, Torn::Sectors(nth), Torn::Sectors(nth + 1000)] {
            let left = fault.after_cut(torn);
            let told = done.checked_sub(1).map_or(size, |last| batches[last].end);
            let begun = batches.get(done).map_or(told, |batch| batch.end);
            check_left(&left, told, begun);
        }
        cuts += 1;
    }
    cuts
}

/// What a cut left has all that was told as durable, and of what was begun all or nothing.
fn check_left(left: &FaultDisk, told: u64, begun: u64) {
    let mut log = Log::open(disk_of(left), &seed(1)).unwrap();
    let size = log.size().unwrap();
    assert!(
        [told, begun].contains(&size),
        "{size}, told {told}, begun {begun}"
    );
    check_log(left, &log);
    log.append_all(&entries(size..size + 3)).unwrap();
    check_log(left, &log);
}

fn check_log(fault: &FaultDisk, log: &Log) {
    let report = Copy::of(fault).verify(log.key(), &[]).unwrap();
    let none: [&str; 0] = [];
    assert_eq!(report.not_covered, none);
    let size = log.size().unwrap();
    let snapshot = log.snapshot().unwrap();
    let there = snapshot.entries(0..size).unwrap();
    assert!(
        there
            .into_iter()
            .eq((0..size).map(|number| (number, entry(number))))
    );
}

#[test]
#[expect(clippy::single_range_in_vec_init, reason = "batches are ranges")]
fn a_cut_at_any_write_leaves_an_entry_in_or_out() {
    assert!(cut_everywhere(0, &[0..1, 1..2]) > 20);
    assert!(cut_everywhere(40, &[40..41]) > 5);
    assert!(cut_everywhere(254, &[254..255, 255..256, 256..257, 257..258]) > 40);
    assert!(cut_everywhere(250, &[250..506]) > 10);
    assert!(cut_everywhere(40, &[40..1_300]) > 30);
    assert!(cut_everywhere(511, &[511..600, 600..768]) > 20);
}

#[test]
fn a_cut_while_a_log_is_begun_leaves_none_or_an_empty_one() {
    for nth in 1.. {
        let fault = FaultDisk::new();
        fault.cut_at(nth);
        let begun = Log::create(disk_of(&fault), ORIGIN, &seed(1));
        if !fault.is_cut() {
            assert!(begun.is_ok() && nth > 5);
            return;
        }
        for torn in [Torn::Nothing, Torn::Sectors(nth), Torn::Sectors(nth + 99)] {
            let left = fault.after_cut(torn);
            let disk = disk_of(&left);
            let log = match Log::open(disk.clone(), &seed(1)) {
                Ok(log) => log,
                Err(AuditError::NoLog { .. }) => Log::create(disk, ORIGIN, &seed(1)).unwrap(),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(log.size(), Some(0));
            Copy::of(&left).verify(log.key(), &[]).unwrap();
        }
    }
}

#[test]
fn after_a_failed_sync_the_next_append_goes_on_from_what_is_there() {
    for size in [0, 5, 255, 256] {
        for nth in 1.. {
            let (fault, mut log) = log_of(size);
            let before = fault.syncs();
            fault.fail_sync(before + nth);
            let tried = log.append(&entry(size));
            fault.disarm();
            if tried.is_ok() {
                assert!(nth > 4);
                break;
            }
            let index = log.append(&entry(size)).unwrap();
            // The checkpoint may have been in place when its folder could not be synced.
            assert!([size, size + 1].contains(&index), "{index}");
            let left = fault.after_cut(Torn::Nothing);
            let log = Log::open(disk_of(&left), &seed(1)).unwrap();
            assert_eq!(log.size(), Some(index + 1));
            Copy::of(&left).verify(log.key(), &[]).unwrap();
        }
    }
}

#[test]
fn a_full_disk_costs_only_the_entry_that_did_not_fit() {
    let (fault, mut log) = log_of(10);
    fault.limit_bytes(Some(fault.bytes() + 100));
    assert!(matches!(log.append(&entry(10)), Err(AuditError::Io { .. })));
    assert_eq!(log.size(), None);
    fault.limit_bytes(None);
    assert_eq!(log.append(&entry(10)).unwrap(), 10);
    check_log(&fault, &log);
}

#[test]
fn an_entry_is_durable_when_its_index_is_told() {
    let fault = FaultDisk::new();
    let mut log = log_on(&fault);
    for number in 0..260 {
        let syncs = fault.syncs();
        assert_eq!(log.append(&entry(number)).unwrap(), number);
        // Bundle, tile, their folders, the checkpoint and its name; one level more once in 256.
        let syncs = fault.syncs() - syncs;
        assert!(syncs == 6 || number % 256 == 255, "{syncs} at {number}");
        let left = fault.after_cut(Torn::Nothing);
        let log = Log::open(disk_of(&left), &seed(1)).unwrap();
        assert_eq!(log.size(), Some(number + 1));
    }
    check_log(&fault, &log);
    let paths = fault.paths();
    let partial = paths.iter().filter(|path| path.contains(".p/")).count();
    assert_eq!(partial, 5, "{paths:?}");
}

#[test]
fn a_log_that_does_not_verify_is_not_gone_on_with() {
    let (fault, log) = log_of(300);
    drop(log);
    let whole = Copy::of(&fault);
    let edge = [
        "checkpoint",
        "tile/entries/001.p/44",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
    ];
    for path in edge {
        let content = &whole.0[path];
        for at in (0..content.len()).step_by(7) {
            let mut changed = content.clone();
            changed[at] ^= 1;
            fault.put(&format!("audit/{path}"), changed);
            let opened = Log::open(disk_of(&fault), &seed(1));
            assert!(opened.is_err(), "{path} byte {at}");
        }
        disk_of(&fault).remove(&format!("audit/{path}")).unwrap();
        let why = Log::open(disk_of(&fault), &seed(1))
            .err()
            .unwrap()
            .to_string();
        assert!(why.contains(path) || why.contains("checkpoint"), "{why}");
        let again = Log::create(disk_of(&fault), ORIGIN, &seed(1));
        assert!(again.is_err(), "{path}");
        fault.put(&format!("audit/{path}"), content.clone());
    }
    let other = Log::open(disk_of(&fault), &seed(2));
    assert!(matches!(other, Err(AuditError::OtherKey { .. })));
    Log::open(disk_of(&fault), &seed(1)).unwrap();
}
