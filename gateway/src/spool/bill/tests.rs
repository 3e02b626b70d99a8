//! What a bill says of sendings: exactly what they took, within its bounds.

use proptest::prelude::*;

use super::*;

const DAY_US: i64 = 86_400 * 1_000_000;

fn at(month: &str) -> Timestamp {
    let month: Month = month.parse().unwrap();
    Timestamp {
        wall_us: month.start_us().unwrap() + DAY_US,
        wall_trusted: true,
        ..Timestamp::default()
    }
}

fn pieces(rows: &[(&str, &str, &str, u64)]) -> Shares {
    let mut shares = Shares::default();
    for (rule, device, sensor, bytes) in rows {
        let sensors = entry(entry(&mut shares.0, rule), device);
        *entry(sensors, sensor) = Share {
            records: 1,
            fresh: 9,
            bytes: *bytes,
        };
    }
    shares
}

fn total(bytes: u64) -> Spent {
    Spent {
        at: Timestamp::default(),
        bytes_before: bytes * 10,
        bytes_after: bytes,
        header_bytes: 7,
    }
}

fn charge(bill: &mut Bill, at: Timestamp, shares: &Shares, spent: Spent) {
    bill.charge("cloud", shares, &Spent { at, ..spent }, true);
}

fn sum(bill: &MonthBill) -> Cost {
    let mut sum = Cost::default();
    let sensors = bill.sinks.values().flat_map(BTreeMap::values);
    for cost in sensors
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::values)
    {
        sum.add(cost);
    }
    sum
}

#[test]
fn bytes_fall_to_rows_by_their_bytes_in_the_body() {
    let mut bill = Bill::default();
    let rows = [
        ("minute", "pump-1", "Pressure", 300),
        ("raw", "pump-1", "Flow", 100),
    ];
    charge(&mut bill, at("2026-11"), &pieces(&rows), total(100));
    let month = &bill.months[&"2026-11".parse().unwrap()];
    let cost = month.sinks["cloud"]["minute"]["pump-1"]["Pressure"];
    assert_eq!(
        cost,
        Cost {
            records: 1,
            bytes_before: 750,
            bytes_after: 75,
            framing_bytes: 5
        }
    );
    assert_eq!(
        month.sinks["cloud"]["raw"]["pump-1"]["Flow"].wire_bytes(),
        27
    );
    assert_eq!(month.totals["cloud"], sum(month));
    assert_eq!(bill.begun_us, Some(at("2026-11").wall_us));
}

#[test]
fn months_are_apart_and_older_ones_know_rules_only() {
    let mut bill = Bill::default();
    let rows = [
        ("minute", "a", "x", 1),
        ("minute", "b", "x", 1),
        ("raw", "a", "x", 1),
    ];
    for month in ["2026-10", "2026-11", "2026-12"] {
        charge(&mut bill, at(month), &pieces(&rows), total(90));
        charge(&mut bill, Timestamp::default(), &pieces(&rows), total(1));
    }
    let months: Vec<String> = bill.months.keys().map(Month::to_string).collect();
    assert_eq!(months, ["unknown", "2026-10", "2026-11", "2026-12"]);
    let october = &bill.months[&"2026-10".parse().unwrap()];
    assert_eq!(october.sinks["cloud"]["minute"].len(), 1);
    let minute = october.sinks["cloud"]["minute"][ALL][ALL];
    assert_eq!((minute.records, minute.bytes_after), (2, 60));
    // What comes late for it stays exact.
    charge(&mut bill, at("2026-10"), &pieces(&rows), total(30));
    let october = &bill.months[&"2026-10".parse().unwrap()];
    assert_eq!(sum(october).bytes_after, 120);
    assert_eq!(october.sinks["cloud"]["minute"].len(), 1);
    let november = &bill.months[&"2026-11".parse().unwrap()];
    assert_eq!(november.sinks["cloud"]["minute"].len(), 2);
    let unknown = bill.sent(Month::Unknown, |_| true);
    assert_eq!((unknown.records, unknown.bytes_after), (9, 3));
}

#[test]
fn the_oldest_months_go() {
    let mut bill = Bill::default();
    for nth in 0..40 {
        let month = Month::Nth(2020 * 12 + nth).to_string();
        charge(
            &mut bill,
            at(&month),
            &pieces(&[("r", "d", "s", 1)]),
            total(1),
        );
    }
    assert_eq!(bill.months.len(), BILL_MONTHS_MAX);
    assert_eq!(bill.months.keys().next().unwrap().to_string(), "2021-05");
    assert_eq!(bill.begun_us, Some(at("2020-01").wall_us));
    // A clock set back: what was sent then is billed to no month that is known.
    let rows = pieces(&[("r", "d", "s", 1)]);
    charge(&mut bill, at("2019-01"), &rows, total(5));
    assert_eq!(bill.months.len(), BILL_MONTHS_MAX + 1);
    assert_eq!(bill.sent(Month::Unknown, |_| true).bytes_after, 5);
}

#[test]
fn beyond_its_rows_a_rule_is_billed_as_a_whole() {
    let mut bill = Bill::default();
    let names: Vec<String> = (0..BILL_ROWS_MAX + 10)
        .map(|nth| format!("s{nth}"))
        .collect();
    for name in &names {
        let rows = [("r", "d", name.as_str(), 1)];
        charge(&mut bill, at("2026-11"), &pieces(&rows), total(3));
    }
    charge(
        &mut bill,
        at("2026-11"),
        &pieces(&[("q", "d", "s", 1)]),
        total(3),
    );
    let month = &bill.months[&"2026-11".parse().unwrap()];
    let cost = |rule: &str| month.sinks["cloud"][rule][ALL][ALL];
    assert_eq!((cost("r").records, cost("q").records), (10, 1));
    assert_eq!(month.sinks["cloud"]["r"]["d"].len(), BILL_ROWS_MAX);
    assert_eq!(sum(month).bytes_after, 3 * (BILL_ROWS_MAX as u64 + 11));
    assert_eq!(month.totals["cloud"], sum(month));
}

#[test]
fn a_loss_is_a_gap_in_the_next_month_that_is_billed() {
    let mut bill = Bill::default();
    let rows = pieces(&[("r", "d", "s", 1)]);
    charge(&mut bill, at("2026-10"), &rows, total(1));
    bill.lost();
    charge(&mut bill, at("2026-11"), &rows, total(1));
    charge(&mut bill, at("2026-12"), &rows, total(1));
    let gaps: Vec<bool> = bill.months.values().map(|month| month.gap).collect();
    assert_eq!(gaps, [false, true, false]);
}

#[test]
fn bytes_of_a_batch_that_holds_nothing_are_billed_all_the_same() {
    let mut bill = Bill::default();
    charge(&mut bill, at("2026-11"), &Shares::default(), total(5));
    let month = &bill.months[&"2026-11".parse().unwrap()];
    assert_eq!(month.sinks["cloud"][ALL][ALL][ALL].bytes_after, 5);
}

proptest! {
    #[test]
    fn every_byte_is_billed(
        sendings in prop::collection::vec(
            (
                0..5_i32,
                prop::collection::vec((0..4_u8, 0..3_u8, 0..3_u8, 0..5_000_u64), 0..12),
                0..100_000_u64,
            ),
            1..30,
        ),
    ) {
        let mut bill = Bill::default();
        let mut sent = 0;
        for (month, rows, bytes) in &sendings {
            let named: Vec<[String; 3]> = rows
                .iter()
                .map(|(rule, device, sensor, _)| {
                    [format!("r{rule}"), format!("d{device}"), format!("s{sensor}")]
                })
                .collect();
            let rows: Vec<(&str, &str, &str, u64)> = named
                .iter()
                .zip(rows)
                .map(|([rule, device, sensor], (.., weight))| {
                    (rule.as_str(), device.as_str(), sensor.as_str(), *weight)
                })
                .collect();
            let month = Month::Nth(2026 * 12 + month).to_string();
            charge(&mut bill, at(&month), &pieces(&rows), total(*bytes));
            sent += total(*bytes).bytes_after + total(*bytes).header_bytes;
        }
        let billed: u64 = bill.months.values().map(|month| sum(month).wire_bytes()).sum();
        prop_assert_eq!(billed, sent);
        for month in bill.months.values() {
            prop_assert_eq!(month.totals.values().map(Cost::wire_bytes).sum::<u64>(), sum(month).wire_bytes());
        }
    }
}
