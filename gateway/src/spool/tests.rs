//! The spool by itself: queues, marks, commits, evictions and counters.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::counters::SensorCounts;
use super::journal::{Share, Shares};
use super::*;
use crate::disk::fault::{FaultDisk, Torn};
use crate::record::{ClockQuality, Record, RecordId, Value};

#[path = "bill_tests.rs"]
mod bill_tests;
#[path = "cut_tests.rs"]
mod cut_tests;
#[path = "letter_tests.rs"]
mod letter_tests;

pub(super) fn place(position: u64, ordinal: u32) -> Place {
    Place { position, ordinal }
}

pub(super) fn emitted(at: Place, sinks: &[&str], priority: Priority) -> Emitted {
    let minute = i64::try_from(at.position).unwrap() * 60_000_000;
    Emitted {
        place: at,
        forward: sinks.iter().map(|sink| (*sink).to_owned()).collect(),
        priority,
        record: Record {
            id: RecordId([at.position as u8; 16]),
            site: "pump-house".into(),
            device: format!("pump-{}", at.position % 2),
            sensor: "Pressure".into(),
            unit: "bar".into(),
            rule: if at.ordinal == 0 { "minute" } else { "burst" }.into(),
            version: 1,
            epoch: 0,
            start_us: minute,
            end_us: minute + 60_000_000,
            revision: 0,
            samples: 60,
            fresh: fresh(at),
            clock: ClockQuality::Device,
            partial: false,
            alert: None,
            values: vec![
                ("count".into(), Value::Count(60)),
                ("mean".into(), Value::Number(at.position as f64 / 7.0)),
            ],
            note: None,
        },
    }
}

pub(super) fn fresh(at: Place) -> u64 {
    at.position % 5 + 1
}

fn normal(positions: std::ops::Range<u64>) -> Vec<Emitted> {
    positions
        .map(|position| emitted(place(position, 0), &["cloud"], Priority::Normal))
        .collect()
}

pub(super) fn settings(sink: &str, priority: Priority, bytes_max: u64) -> QueueSettings {
    QueueSettings {
        sink: sink.to_owned(),
        priority,
        bytes_max,
        letters_max: 100,
    }
}

pub(super) fn now(seconds: u64) -> Timestamp {
    Timestamp {
        mono_us: seconds * 1_000_000,
        wall_us: 1_600_000_000_000_000,
        wall_trusted: true,
    }
}

pub(super) fn delivery(outcome: Outcome) -> Delivery {
    Delivery {
        outcome,
        at: now(1),
        bytes_before: 1_000,
        bytes_after: 300,
        header_bytes: 150,
        attempts: 1,
    }
}

/// A batch's body, all of one sensor.
pub(super) fn pieces() -> Shares {
    let mut pieces = Shares::default();
    let part = Share {
        bytes: 10,
        ..Share::default()
    };
    let emitted = emitted(place(1, 0), &["cloud"], Priority::Normal);
    pieces.add(&emitted.record, part);
    pieces
}

fn cloud() -> Vec<QueueSettings> {
    vec![
        settings("cloud", Priority::Low, 16 << 10),
        settings("cloud", Priority::Normal, 32 << 10),
        settings("cloud", Priority::High, 16 << 10),
    ]
}

fn open(disk: &FaultDisk, queues: &[QueueSettings]) -> (Spool, SpoolReport) {
    Spool::open(Arc::new(disk.clone()), queues).unwrap()
}

/// Places of everything that waits, read in small batches.
pub(super) fn waiting(spool: &mut Spool, id: QueueId) -> Vec<Place> {
    let (mut places, mut after) = (Vec::new(), 0);
    loop {
        let batch = spool.read(id, after, 7, 100_000).unwrap();
        let Some(last) = batch.last() else { break };
        after = last.index;
        for one in &batch {
            assert_eq!(one.record.fresh, fresh(one.place));
            places.push(one.place);
        }
    }
    assert_eq!(places.len() as u64, spool.waiting(id).unwrap().records);
    places
}

fn positions(spool: &mut Spool, id: QueueId) -> Vec<u64> {
    waiting(spool, id)
        .iter()
        .map(|place| place.position)
        .collect()
}

/// Sums over all rules, devices and sensors of a sink.
pub(super) fn sums(spool: &Spool, sink: &str) -> SensorCounts {
    let mut sums = SensorCounts::default();
    let counters = spool.counters();
    let rules = counters
        .sinks
        .get(sink)
        .into_iter()
        .flat_map(BTreeMap::values);
    let sensors = rules.flat_map(|rule| rule.devices.values().flat_map(BTreeMap::values));
    for counts in sensors {
        sums.spooled_fresh += counts.spooled_fresh;
        sums.delivered_fresh += counts.delivered_fresh;
        sums.refused_fresh += counts.refused_fresh;
        sums.evicted_fresh += counts.evicted_fresh;
        sums.dropped_fresh += counts.dropped_fresh;
    }
    sums
}

fn fresh_of(positions: impl IntoIterator<Item = u64>) -> u64 {
    positions
        .into_iter()
        .map(|position| fresh(place(position, 0)))
        .sum()
}

#[test]
fn records_wait_until_they_are_committed_and_outlive_a_cut() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool.append(now(1), &normal(0..40)).unwrap();
    assert!(
        spool.read(id, 0, 10, 10_000).unwrap().len() < 40,
        "only what is durable is read"
    );
    spool.sync(now(1)).unwrap();
    assert_eq!(positions(&mut spool, id), (0..40).collect::<Vec<_>>());
    let batch = spool.read(id, 0, 10, 100_000).unwrap();
    assert_eq!((batch.len(), batch[0].index, batch[9].index), (10, 1, 10));
    assert_eq!(spool.read(id, 0, 10, 1).unwrap().len(), 1);
    assert_eq!(
        spool
            .commit(id, 1..=10, delivery(Outcome::Confirmed), &pieces())
            .unwrap(),
        10
    );
    assert_eq!(
        spool
            .commit(id, 1..=10, delivery(Outcome::Confirmed), &pieces())
            .unwrap(),
        0
    );
    assert_eq!(
        spool
            .commit(id, 31..=32, delivery(Outcome::Refused), &pieces())
            .unwrap(),
        2
    );
    let left: Vec<u64> = (10..30).chain(32..40).collect();
    assert_eq!(positions(&mut spool, id), left);
    // The process is killed: what was written is read back, commits included, without writing.
    disk.set_read_only(true);
    let (mut spool, report) = open(&disk, &cloud());
    disk.set_read_only(false);
    assert_eq!(report, SpoolReport::default());
    assert_eq!(positions(&mut spool, id), left);
    let sum = sums(&spool, "cloud");
    assert_eq!(sum.delivered_fresh, fresh_of(0..10));
    assert_eq!(sum.refused_fresh, fresh_of(30..32));
    assert_eq!(sum.waiting_fresh(), fresh_of(left.clone()));
    let bill = spool.counters().rule("cloud", "minute").unwrap().clone();
    assert_eq!(
        (bill.bytes_before, bill.bytes_after, bill.header_bytes),
        (3_000, 900, 450),
        "what was sent in vain was sent, too"
    );
    assert_eq!(
        (
            bill.delivered_records,
            bill.refused_records,
            bill.waiting_records()
        ),
        (10, 2, 28)
    );
    // The power is cut: the commits were not synced yet and are forgotten, all else is there.
    disk.cut();
    let (mut spool, _) = open(&disk.after_cut(Torn::Nothing), &cloud());
    assert_eq!(positions(&mut spool, id), (0..40).collect::<Vec<_>>());
    assert_eq!(sums(&spool, "cloud").waiting_fresh(), fresh_of(0..40));
}

#[test]
fn commits_are_synced_with_the_spool_after_a_while() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool.append(now(1), &normal(0..9)).unwrap();
    spool.sync(now(1)).unwrap();
    spool
        .commit(id, 1..=4, delivery(Outcome::Confirmed), &Shares::default())
        .unwrap();
    spool.sync(now(40)).unwrap();
    disk.cut();
    let (mut spool, _) = open(&disk.after_cut(Torn::Nothing), &cloud());
    assert_eq!(positions(&mut spool, id), (4..9).collect::<Vec<_>>());
}

#[test]
fn what_is_not_above_the_mark_is_not_put_in_again() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool.append(now(1), &normal(0..9)).unwrap();
    spool.append(now(1), &normal(3..9)).unwrap();
    spool.sync(now(1)).unwrap();
    spool
        .commit(id, 1..=9, delivery(Outcome::Confirmed), &Shares::default())
        .unwrap();
    spool.stop(now(2)).unwrap();
    let (mut spool, _) = open(&disk, &cloud());
    assert_eq!(spool.mark(id).unwrap(), Some(place(8, 0)));
    assert_eq!(spool.highest_mark(), Some(place(8, 0)));
    spool.append(now(1), &normal(5..11)).unwrap();
    spool.sync(now(1)).unwrap();
    assert_eq!(positions(&mut spool, id), [9, 10]);
    assert_eq!(sums(&spool, "cloud").spooled_fresh, fresh_of(0..11));
}

#[test]
fn a_torn_tail_lowers_the_mark_and_replay_repairs_it() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool.append(now(1), &normal(0..5)).unwrap();
    spool.sync(now(1)).unwrap();
    spool.append(now(1), &normal(5..9)).unwrap();
    disk.cut_at(disk.mutations() + 2);
    spool.sync(now(1)).unwrap_err();
    let (mut spool, report) = open(&disk.after_cut(Torn::Nothing), &cloud());
    assert_eq!(report.records_lost, 0);
    assert_eq!(spool.mark(id).unwrap(), Some(place(4, 0)));
    spool.append(now(1), &normal(0..9)).unwrap();
    spool.sync(now(1)).unwrap();
    assert_eq!(positions(&mut spool, id), (0..9).collect::<Vec<_>>());
}

#[test]
fn done_segments_are_recycled_and_the_queue_does_not_grow() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    for round in 0..100 {
        spool
            .append(now(round), &normal(round * 20..round * 20 + 20))
            .unwrap();
        spool.sync(now(round)).unwrap();
        let batch = spool.read(id, 0, 100, 100_000).unwrap();
        assert_eq!(batch.len(), 20);
        let range = batch[0].index..=batch[19].index;
        spool
            .commit(id, range, delivery(Outcome::Confirmed), &Shares::default())
            .unwrap();
    }
    let backlog = spool.waiting(id).unwrap();
    assert!(
        backlog.records == 0 && backlog.bytes <= 16 << 10,
        "{backlog:?}"
    );
    assert_eq!(sums(&spool, "cloud").delivered_fresh, fresh_of(0..2_000));
    assert_eq!(spool.journal(0).unwrap().count(), 100);
    let (spool, report) = open(&disk, &cloud());
    assert_eq!(report, SpoolReport::default());
    assert_eq!(sums(&spool, "cloud").delivered_fresh, fresh_of(0..2_000));
    assert_eq!(spool.mark(id).unwrap(), Some(place(1_999, 0)));
}

#[test]
fn a_segment_that_grew_behind_the_base_is_not_recycled() {
    // The cut falls into each operation of the sync that begins the second segment.
    for nth in 1..20 {
        let disk = FaultDisk::new();
        let (mut spool, _) = open(&disk, &cloud());
        let id = spool.queue("cloud", Priority::Normal).unwrap();
        // Seven of a segment's eight blocks, done by commits: only the base's are durable.
        for position in 0..7 {
            let records = normal(position..position + 1);
            spool.append(now(1), &records).unwrap();
            spool.sync(now(1)).unwrap();
            let index = position + 1;
            spool
                .commit(
                    id,
                    index..=index,
                    delivery(Outcome::Confirmed),
                    &Shares::default(),
                )
                .unwrap();
            if position == 2 {
                spool.write_base().unwrap();
            }
        }
        spool.append(now(2), &normal(7..9)).unwrap();
        disk.cut_at(disk.mutations() + nth);
        let synced = spool.sync(now(2)).is_ok();
        disk.cut();
        let (mut spool, report) = open(&disk.after_cut(Torn::Nothing), &cloud());
        assert_eq!(
            (report.records_lost, report.commits_uncounted),
            (0, 0),
            "{nth}"
        );
        let waiting = positions(&mut spool, id);
        assert!(waiting.starts_with(&[3, 4, 5, 6]) || waiting == [7, 8] || waiting.is_empty());
        let spooled = if waiting.contains(&7) || synced { 9 } else { 7 };
        let sums = sums(&spool, "cloud");
        let gone_or_waiting = sums.delivered_fresh + fresh_of(waiting);
        assert_eq!(gone_or_waiting, fresh_of(0..spooled), "{nth}");
    }
}

#[test]
fn over_budget_the_oldest_of_the_lowest_class_go_first() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let ids = [Priority::Low, Priority::Normal, Priority::High]
        .map(|priority| spool.queue("cloud", priority).unwrap());
    let put = |spool: &mut Spool, positions: std::ops::Range<u64>, priority| {
        for position in positions {
            spool
                .append(now(1), &[emitted(place(position, 0), &["cloud"], priority)])
                .unwrap();
        }
        spool.sync(now(1)).unwrap();
    };
    put(&mut spool, 0..100, Priority::Low);
    put(&mut spool, 100..600, Priority::Normal);
    let low = positions(&mut spool, ids[0]);
    assert!(low.is_empty(), "the lowest class goes first: {low:?}");
    let kept = positions(&mut spool, ids[1]);
    assert_eq!(kept, (kept[0]..600).collect::<Vec<_>>());
    assert!(kept[0] > 100, "then the oldest of the next");
    let held: u64 = ids.iter().map(|id| spool.waiting(*id).unwrap().bytes).sum();
    assert!(
        held <= 64 << 10,
        "{held} bytes are within the sink's budget"
    );
    // A record never displaces one of a higher class: it is dropped, and counted.
    put(&mut spool, 600..1_600, Priority::High);
    assert!(positions(&mut spool, ids[1]).is_empty());
    let high = positions(&mut spool, ids[2]);
    put(&mut spool, 1_600..1_700, Priority::Low);
    assert_eq!(positions(&mut spool, ids[2]), high);
    let sum = sums(&spool, "cloud");
    assert_eq!(sum.dropped_fresh, fresh_of(1_600..1_700));
    assert_eq!(sum.spooled_fresh, fresh_of(0..1_600));
    assert_eq!(sum.waiting_fresh(), fresh_of(high));
    // The same after a restart and after the drops are derived again.
    let (mut spool, report) = open(&disk, &cloud());
    assert_eq!(report, SpoolReport::default());
    put(&mut spool, 1_600..1_700, Priority::Low);
    assert_eq!(sums(&spool, "cloud"), sum);
    let evicted = spool.journal(0).unwrap().filter(|entry| {
        matches!(entry, Ok((_, Journaled::Left(left))) if left.delivery.outcome == Outcome::Evicted)
    });
    assert!(evicted.count() > 10);
}

#[test]
fn what_goes_nowhere_is_dropped_and_counted_once() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let mut long = emitted(place(1, 0), &["cloud"], Priority::Normal);
    long.record.values = vec![("x".repeat(5_000), Value::Count(1))];
    let nowhere = emitted(place(2, 0), &["gone"], Priority::Normal);
    spool
        .append(now(1), &[normal(0..1).remove(0), long, nowhere])
        .unwrap();
    for _ in 0..2 {
        spool.sync(now(1)).unwrap();
        assert_eq!(sums(&spool, "cloud").dropped_fresh, fresh_of([1]));
        assert_eq!(sums(&spool, "gone").dropped_fresh, fresh_of([2]));
        disk.cut();
        spool = open(&disk.after_cut(Torn::Nothing), &cloud()).0;
        spool.append(now(1), &normal(0..1)).unwrap();
    }
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    assert_eq!(positions(&mut spool, id), [0]);
}

#[test]
fn a_queue_done_in_too_many_places_evicts_its_oldest_and_counts_them() {
    let disk = FaultDisk::new();
    let queues = [settings("cloud", Priority::Normal, 4 << 20)];
    let (mut spool, _) = open(&disk, &queues);
    let ranges = DONE_RANGES_MAX as u64 + 10;
    spool.append(now(1), &normal(0..2 * ranges)).unwrap();
    spool.sync(now(1)).unwrap();
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    for index in (1..2 * ranges).step_by(2) {
        spool
            .commit(
                id,
                index..=index,
                delivery(Outcome::Confirmed),
                &Shares::default(),
            )
            .unwrap();
    }
    spool.sync(now(2)).unwrap();
    let queue = &spool.queues[0];
    assert_eq!(queue.done.iter().count(), DONE_RANGES_MAX);
    assert_eq!(spool.waiting(id).unwrap().records, ranges - 10);
    let counts = spool.counters().rule("cloud", "minute").unwrap().clone();
    assert_eq!(
        (counts.evicted_records, counts.waiting_records()),
        (10, ranges - 10)
    );
    let (mut spool, _) = open(&disk, &queues);
    assert_eq!(
        spool
            .counters()
            .rule("cloud", "minute")
            .unwrap()
            .evicted_records,
        10
    );
    assert_eq!(waiting(&mut spool, id).len() as u64, ranges - 10);
}

#[test]
fn queues_of_sinks_no_longer_configured_are_kept_and_reported() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    spool.append(now(1), &normal(0..9)).unwrap();
    spool.sync(now(1)).unwrap();
    let other = [settings("other", Priority::Normal, 32 << 10)];
    let (mut spool, report) = open(&disk, &other);
    assert_eq!(report.orphans, [("cloud".to_owned(), Priority::Normal, 9)]);
    spool.append(now(1), &normal(9..10)).unwrap();
    spool.stop(now(1)).unwrap();
    let (mut spool, report) = open(&disk, &cloud());
    assert!(report.orphans.is_empty());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    assert_eq!(positions(&mut spool, id), (0..9).collect::<Vec<_>>());
    assert_eq!(sums(&spool, "cloud").dropped_fresh, fresh_of([9]));
}

#[test]
fn what_the_disk_lost_is_taken_out_of_what_was_spooled() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    for position in 0..6 {
        spool
            .append(now(1), &normal(position * 4..position * 4 + 4))
            .unwrap();
        spool.sync(now(1)).unwrap();
    }
    let path = disk
        .paths()
        .into_iter()
        .find(|path| path.starts_with("spool/"))
        .unwrap();
    let content = disk.content(&path).unwrap();
    let batches: Vec<usize> = (0..content.len())
        .step_by(512)
        .filter(|at| content[*at..].starts_with(b"TGcb"))
        .collect();
    // In the middle: found when it is read.
    let mut damaged = content.clone();
    damaged[batches[2] + 60] ^= 1;
    disk.put(&path, damaged);
    let (mut spool, _) = open(&disk, &cloud());
    let left: Vec<u64> = (0..8).chain(12..24).collect();
    assert_eq!(spool.read(id, 0, 100, 100_000).unwrap().len(), 20);
    assert_eq!(positions(&mut spool, id), left);
    assert_eq!(spool.waiting(id).unwrap().lost_records, 4);
    assert_eq!(sums(&spool, "cloud").spooled_fresh, fresh_of(left));
    // At the end, below what a base knows: found when it is opened; replay may derive it again.
    let mut damaged = content.clone();
    damaged[batches[5] + 60] ^= 1;
    disk.put(&path, content);
    let (mut spool, _) = open(&disk, &cloud());
    spool.stop(now(1)).unwrap();
    disk.put(&path, damaged);
    let (mut spool, report) = open(&disk, &cloud());
    assert!(report.recounted && report.records_lost == 4);
    assert_eq!(spool.mark(id).unwrap(), Some(place(19, 0)));
    spool.append(now(1), &normal(0..24)).unwrap();
    spool.sync(now(1)).unwrap();
    assert_eq!(positions(&mut spool, id), (0..24).collect::<Vec<_>>());
    assert_eq!(sums(&spool, "cloud").waiting_fresh(), fresh_of(0..24));
}

#[test]
fn any_damaged_byte_of_the_state_leaves_a_spool_that_starts_and_balances() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool.append(now(1), &normal(0..30)).unwrap();
    spool.sync(now(1)).unwrap();
    spool
        .commit(id, 1..=10, delivery(Outcome::Confirmed), &Shares::default())
        .unwrap();
    spool.stop(now(1)).unwrap();
    let files: Vec<String> = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("journal/"))
        .collect();
    for path in files {
        let content = disk.content(&path).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        for at in 0..=used {
            let mut damaged = content.clone();
            damaged[at] ^= 4;
            disk.put(&path, damaged);
            let (mut spool, _) = open(&disk, &cloud());
            let waiting = positions(&mut spool, id);
            assert_eq!(waiting[waiting.len() - 20..], (10..30).collect::<Vec<_>>());
            assert_eq!(
                sums(&spool, "cloud").waiting_fresh(),
                fresh_of(waiting),
                "{path} {at}"
            );
        }
        disk.put(&path, content);
    }
}

#[test]
fn wrong_calls_are_refused() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    let none = QueueId(99);
    assert!(matches!(
        spool.read(none, 0, 1, 1),
        Err(SpoolError::UnknownQueue(_))
    ));
    let reversed = RangeInclusive::new(2, 1);
    for range in [0..=1, 1..=1, reversed] {
        let refused = spool.commit(id, range, delivery(Outcome::Confirmed), &Shares::default());
        assert!(matches!(
            refused,
            Err(SpoolError::UnknownRecords { next: 1, .. })
        ));
    }
    assert!(spool.queue("other", Priority::Low).is_none());
    assert_eq!(spool.queues().count(), 3);
}

#[test]
fn a_full_disk_keeps_what_it_could_not_write() {
    let disk = FaultDisk::new();
    let (mut spool, _) = open(&disk, &cloud());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    disk.limit_bytes(Some(1_000));
    spool.append(now(1), &normal(0..3)).unwrap();
    assert!(matches!(spool.sync(now(1)), Err(SpoolError::Files(_))));
    assert!(spool.sync(now(1)).is_err());
    disk.limit_bytes(None);
    spool.sync(now(1)).unwrap();
    assert_eq!(positions(&mut spool, id), [0, 1, 2]);
}
