//! The pipeline against an oracle that keeps every sample in lists, over random rules and logs.
//!
//! The oracle follows what the rules' documentation says, in floats and without state worth
//! saving: `gate` what passes, `windows` which windows hold it, `aggregates` what they give,
//! `oracle` what closes when and which version takes what. After every log entry it says which
//! records come and how the books stand; both are compared in full, revisions included.
//!
//! A few dozen cases run by default; `TIDEGATE_FULL=1` runs many more.

mod aggregates;
mod calendar;
mod case;
mod gate;
mod oracle;
mod rules;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::case::{Case, case};
use self::oracle::{Book, Expected, Key, Oracle};
pub(super) use self::rules::expression;
use super::script::site;
use crate::pipeline::Pipeline;
use crate::record::{Emitted, Record};
use crate::rules::Rule;
use crate::time::SECOND_US;

/// Event time in µs and raw.
type Reading = (i64, i64);

/// The sensors: a gauge of two decimals and a counter of one.
const NAMES: [&str; 2] = ["a", "b"];
const COUNTER: usize = 1;
/// How long the device holds samples back.
const HOLD_US: i64 = 10 * SECOND_US;

/// Decimals of what leaves a rule's gate on a sensor.
fn decimals_of(rule: &Rule, sensor: usize) -> u8 {
    let own = if sensor == COUNTER { 1 } else { 2 };
    rule.derive.as_ref().map_or(own, |derive| derive.decimals)
}

fn value_of(mantissa: i64, decimals: u8) -> f64 {
    mantissa as f64 / 10_f64.powi(decimals.into())
}

fn key(record: &Record) -> Key {
    (
        record.rule.clone(),
        record.version,
        record.sensor.clone(),
        record.epoch,
        record.start_us,
        record.end_us,
        record.revision,
    )
}

fn compare(emitted: &[Emitted], mut expected: Vec<Expected>) -> Result<(), String> {
    // Stable: of one key those come in log order.
    let mut found: Vec<&Record> = emitted.iter().map(|one| &one.record).collect();
    found.sort_by_key(|record| key(record));
    expected.sort_by_key(|one| one.key.clone());
    let keys: Vec<Key> = found.iter().map(|record| key(record)).collect();
    let wanted: Vec<Key> = expected.iter().map(|one| one.key.clone()).collect();
    if keys != wanted {
        let lacks: Vec<_> = wanted.iter().filter(|one| !keys.contains(one)).collect();
        let more: Vec<_> = keys.iter().filter(|one| !wanted.contains(one)).collect();
        return Err(format!("lacks {lacks:#?}\nhas also {more:#?}"));
    }
    for (record, one) in found.into_iter().zip(expected) {
        let counts = (record.samples, record.fresh);
        if counts != (one.samples, one.fresh) {
            return Err(format!(
                "{counts:?} samples and fresh, not those of {one:#?}"
            ));
        }
        let names: BTreeSet<_> = record.values.iter().map(|(name, _)| name).collect();
        let same = record.values.len() == one.values.len()
            && one.values.iter().all(|(name, _)| names.contains(name));
        let values: BTreeMap<_, _> = record.values.iter().cloned().collect();
        let off = one
            .values
            .iter()
            .find(|(name, wanted)| !values.get(name).is_some_and(|found| wanted.is(found)));
        if !same || off.is_some() {
            return Err(format!("{off:?} is off in {record:#?}\nof {one:#?}"));
        }
    }
    Ok(())
}

fn books_of(pipeline: &Pipeline) -> BTreeMap<(String, usize), Book> {
    let counters = pipeline.counters();
    let mut books = BTreeMap::new();
    for (sensor, name) in NAMES.into_iter().enumerate() {
        let found = counters
            .devices
            .get("dev")
            .and_then(|one| one.sensors.get(name));
        for (rule, counts) in found.into_iter().flat_map(|one| &one.rules) {
            let filtered: u64 = counts.filtered.values().sum();
            let sum = filtered + counts.late + counts.examined + counts.folded + counts.open;
            assert_eq!(counts.matched, sum, "{rule} on {name}: {counts:?}");
            let book = Book {
                matched: counts.matched,
                filtered: counts.filtered.clone(),
                late: counts.late,
                folded: counts.folded,
                open: counts.open,
            };
            books.insert((rule.clone(), sensor), book);
        }
    }
    books.retain(|_, book| *book != Book::default());
    books
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let played = case.play();
    let mut oracle = Oracle::default();
    let mut pipeline = Pipeline::new(&site());
    let mut ids = BTreeSet::new();
    let log = played.script.log.iter().zip(&played.whats);
    for (position, (logged, (now_us, what))) in log.enumerate() {
        let mut emitted = Vec::new();
        pipeline.apply(position as u64, logged, &mut emitted);
        let expected = oracle.apply(*now_us, what);
        let fail = |message: String| {
            TestCaseError::fail(format!("entry {position}, {what:#?}: {message}"))
        };
        compare(&emitted, expected).map_err(fail)?;
        for one in &emitted {
            if !ids.insert(one.record.id) {
                return Err(fail(format!("{:#?} has the id of another", one.record)));
            }
        }
        let (found, wanted) = (books_of(&pipeline), oracle.books());
        if found != wanted {
            return Err(fail(format!("books are {found:#?}\nnot {wanted:#?}")));
        }
    }
    Ok(())
}

/// Restores the pipeline before some entries, and compares what it emits with one that ran
/// through.
fn check_restores(case: &Case, cuts: u64) -> Result<(), TestCaseError> {
    let played = case.play();
    let mut through = Pipeline::new(&site());
    let mut restored = Pipeline::new(&site());
    for (position, logged) in played.script.log.iter().enumerate() {
        if cuts >> (position % 64) & 1 == 1 {
            let parts = restored.snapshot();
            restored = Pipeline::restore(&site(), &parts).0;
            prop_assert!(
                restored.snapshot() == parts,
                "entry {}: another state",
                position
            );
            prop_assert_eq!(restored.next_deadline(), through.next_deadline());
        }
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        through.apply(position as u64, logged, &mut wanted);
        restored.apply(position as u64, logged, &mut found);
        prop_assert_eq!(found, wanted, "entry {}", position);
        prop_assert_eq!(restored.counters(), through.counters());
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    let is_full = std::env::var_os("TIDEGATE_FULL").is_some();
    ProptestConfig {
        cases: if is_full { cases * 100 } else { cases },
        max_shrink_iters: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn records_and_books_are_those_of_the_oracle(case in case()) {
        check(&case)?;
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn restores_anywhere_change_nothing(case in case(), cuts: u64) {
        check_restores(&case, cuts)?;
    }
}
