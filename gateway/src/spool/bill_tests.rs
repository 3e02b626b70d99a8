//! The bill of a spool: what its batches took, once, whatever ends between.

use super::*;
use crate::log::{Base, Part};
use crate::spool::bill::{Bill, Cost, Month};
use crate::spool::journal::Shares;
use crate::spool::state;

fn september() -> Month {
    "2020-09".parse().unwrap()
}

fn total(bill: &Bill, month: Month) -> Cost {
    let mut sum = Cost::default();
    let of_month = bill.months.get(&month);
    let sinks = of_month.into_iter().flat_map(|month| month.sinks.values());
    let sensors = sinks.flat_map(BTreeMap::values);
    let costs = sensors
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::values);
    costs.for_each(|cost| sum.add(cost));
    sum
}

/// Forty records, of which three batches of ten left: one refused, two confirmed.
fn used(disk: &FaultDisk) -> Spool {
    let (mut spool, _) = open(disk, &cloud());
    spool.append(now(1), &normal(1..41)).unwrap();
    spool.sync(now(1)).unwrap();
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    for (first, outcome) in [
        (1, Outcome::Confirmed),
        (11, Outcome::Refused),
        (21, Outcome::Confirmed),
    ] {
        spool
            .commit(id, first..=first + 9, delivery(outcome), &Shares::default())
            .unwrap();
    }
    spool
}

fn taken(records: u64, batches: u64) -> Cost {
    Cost {
        records,
        bytes_before: 1_000 * batches,
        bytes_after: 300 * batches,
        framing_bytes: 150 * batches,
    }
}

#[test]
fn every_batch_is_billed_to_its_sensors_once() {
    let spool = used(&FaultDisk::new());
    let bill = spool.bill();
    assert_eq!(total(bill, september()), taken(20, 3));
    let month = &bill.months[&september()];
    assert!(!month.gap);
    let devices: Vec<&String> = month.sinks["cloud"]["minute"].keys().collect();
    assert_eq!(devices, ["pump-0", "pump-1"]);
}

#[test]
fn what_was_done_before_costs_its_bytes_and_is_no_record_more() {
    let mut spool = used(&FaultDisk::new());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool
        .commit(id, 1..=10, delivery(Outcome::Confirmed), &Shares::default())
        .unwrap();
    assert_eq!(total(spool.bill(), september()), taken(20, 4));
}

#[test]
fn what_is_evicted_costs_nothing() {
    let mut spool = used(&FaultDisk::new());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    let evicted = Delivery {
        outcome: Outcome::Evicted,
        at: now(1),
        bytes_before: 0,
        bytes_after: 0,
        header_bytes: 0,
        attempts: 0,
    };
    spool
        .commit(id, 31..=35, evicted, &Shares::default())
        .unwrap();
    assert_eq!(total(spool.bill(), september()), taken(20, 3));
}

#[test]
fn the_bill_is_the_same_from_the_journal_and_from_a_base() {
    let disk = FaultDisk::new();
    let spool = used(&disk);
    let bill = spool.bill().clone();
    drop(spool);
    // The process was killed: everything behind the first base is in the journal.
    let (mut spool, _) = open(&disk, &cloud());
    assert_eq!(*spool.bill(), bill);
    spool.write_base().unwrap();
    drop(spool);
    let (mut spool, report) = open(&disk, &cloud());
    assert_eq!((spool.bill(), report.parts_damaged), (&bill, 0));
    // A base, then entries behind it.
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    spool
        .commit(
            id,
            31..=40,
            delivery(Outcome::Confirmed),
            &Shares::default(),
        )
        .unwrap();
    drop(spool);
    let (mut spool, _) = open(&disk, &cloud());
    assert_eq!(total(spool.bill(), september()), taken(30, 4));
    spool.stop(now(2)).unwrap();
    drop(spool);
    let (spool, _) = open(&disk, &cloud());
    assert_eq!(total(spool.bill(), september()), taken(30, 4));
}

#[test]
fn a_damaged_bill_is_never_more_than_was_sent_and_the_report_says_so() {
    let disk = FaultDisk::new();
    let mut spool = used(&disk);
    spool.stop(now(2)).unwrap();
    drop(spool);
    let whole = taken(20, 3);
    let paths = disk.paths().into_iter();
    let bases: Vec<String> = paths.filter(|path| path.starts_with("journal/")).collect();
    for path in bases {
        let content = disk.content(&path).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        for at in (0..=used).step_by(5) {
            let mut damaged = content.clone();
            damaged[at] ^= 4;
            disk.put(&path, damaged);
            let (spool, report) = open(&disk, &cloud());
            let known = total(spool.bill(), september());
            assert!(known.bytes_after <= whole.bytes_after, "{path} {at}");
            let told = report.parts_damaged > 0 || report.commits_lost > 0;
            assert!(known == whole || told, "{path} {at}: {known:?}, {report:?}");
        }
        disk.put(&path, content);
    }
}

#[test]
fn a_base_without_all_of_the_bill_leaves_a_gap_in_the_next_month_that_is_billed() {
    let base = used(&FaultDisk::new()).base().unwrap();
    let has_gap = |base: &Base| {
        let mut bill = state::decode(base).bill;
        let cost = delivery(Outcome::Confirmed).cost();
        bill.charge("cloud", &Shares::default(), &cost, false);
        bill.months[&september()].gap
    };
    assert!(!has_gap(&base));
    let of_bill = |part: &Part| part.key.is_empty() || part.key == "2020-09";
    let at: Vec<usize> = (0..base.parts.len())
        .filter(|at| of_bill(&base.parts[*at]))
        .collect();
    assert_eq!(at.len(), 2);
    // Written by an earlier version, which kept no bill.
    let mut before = base.clone();
    before.parts.retain(|part| !of_bill(part));
    assert!(has_gap(&before));
    for at in at {
        let mut damaged = base.clone();
        damaged.parts[at].bytes.truncate(1);
        assert!(has_gap(&damaged), "part {at}");
    }
}

#[test]
fn while_the_clock_is_not_trusted_the_month_is_unknown() {
    let mut spool = used(&FaultDisk::new());
    let id = spool.queue("cloud", Priority::Normal).unwrap();
    let mut untrusted = delivery(Outcome::Confirmed);
    untrusted.at.wall_trusted = false;
    spool
        .commit(id, 31..=40, untrusted, &Shares::default())
        .unwrap();
    assert_eq!(total(spool.bill(), Month::Unknown), taken(10, 1));
    assert_eq!(total(spool.bill(), september()), taken(20, 3));
}
