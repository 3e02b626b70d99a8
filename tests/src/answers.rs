//! Compares delivered records with the recomputation: no window missing, doubled or invented, and
//! every value within its tolerance.

use std::collections::{BTreeMap, BTreeSet};

use crate::recomputation::{Answer, Key};
use crate::records::{Received, Record};
use crate::utc;

/// What is expected of one device's records of one rule.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Site in every record.
    pub site: String,
    /// Device in every record.
    pub device: String,
    /// Rule in every record.
    pub rule: String,
    /// Length of a window in seconds.
    pub window_s: i64,
    /// Resolution of each sensor: the device rounds to it.
    pub resolutions: BTreeMap<String, f64>,
    /// The answers.
    pub answers: BTreeMap<Key, Answer>,
}

/// Everything that is wrong with what was taken; empty when all is right.
pub fn faults(expected: &Expected, received: &[Received]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut newest: BTreeMap<Key, &Record> = BTreeMap::new();
    let mut fresh: BTreeMap<Key, u64> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    for one in received.iter().filter(|one| one.taken) {
        let record = &one.record;
        faults.extend(head_fault(expected, record));
        let key = (record.sensor.clone(), record.start_s());
        if !expected.answers.contains_key(&key) {
            faults.push(format!("invented: {}", one.line));
            continue;
        }
        if counted.insert(&record.id) {
            *fresh.entry(key.clone()).or_default() += record.fresh;
        }
        let kept = newest.entry(key).or_insert(record);
        if record.revision > kept.revision {
            *kept = record;
        }
    }
    for (key, answer) in &expected.answers {
        let Some(record) = newest.get(key) else {
            faults.push(format!("missing: {} at {}", key.0, utc::text(key.1)));
            continue;
        };
        let fresh = fresh.get(key).copied().unwrap_or_default();
        if fresh != answer.count || record.samples != answer.count {
            faults.push(format!(
                "{} at {}: samples {} and fresh {fresh} in all, expected {} of both",
                key.0, record.start, record.samples, answer.count
            ));
        }
        let resolution = expected.resolutions.get(&key.0).copied();
        let resolution = resolution.unwrap_or_else(|| panic!("no resolution of {}", key.0));
        faults.extend(value_faults(answer, record, resolution));
    }
    faults
}

/// Fails the test with the first few of `faults`, if there are any.
pub fn assert_none(what: &str, faults: &[String]) {
    let shown: Vec<&str> = faults.iter().take(12).map(String::as_str).collect();
    assert!(
        faults.is_empty(),
        "{what}: {} faults, the first:\n  {}",
        faults.len(),
        shown.join("\n  ")
    );
}

fn head_fault(expected: &Expected, record: &Record) -> Option<String> {
    let right = record.site == expected.site
        && record.device == expected.device
        && record.rule == expected.rule
        && record.version == 1
        && record.epoch == 0
        && record.clock == "device"
        && !record.partial
        && utc::seconds(&record.end) == Some(record.start_s() + expected.window_s);
    (!right).then(|| format!("a head that was not expected: {record:?}"))
}

/// Percentiles are exact up to this many samples.
const EXACT_SAMPLES: u64 = 256;

fn value_faults(answer: &Answer, record: &Record, resolution: f64) -> Vec<String> {
    let mut faults = Vec::new();
    let names: BTreeSet<&str> = answer.values.keys().copied().collect();
    let found: BTreeSet<&str> = record.values.keys().map(String::as_str).collect();
    if names != found {
        faults.push(format!(
            "{} at {}: values {found:?}, expected {names:?}",
            record.sensor, record.start
        ));
    }
    for (name, expected) in &answer.values {
        let Some(value) = record.values.get(*name) else {
            continue;
        };
        let tolerance = match *name {
            "count" => 0.0,
            // The last term is what adding in f64 itself may be off by.
            "sum" => answer.count as f64 * resolution / 2.0 + answer.magnitude * 1e-12,
            // Beyond this many samples a percentile comes from a histogram, within 1 %.
            "p50" | "p95" if answer.count > EXACT_SAMPLES => resolution + expected.abs() / 100.0,
            _ => resolution + expected.abs() * 1e-12,
        };
        let off = (value - expected).abs();
        if off.is_nan() || off > tolerance {
            faults.push(format!(
                "{} at {}: {name} is {value}, expected {expected} within {tolerance:e}",
                record.sensor, record.start
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::received;

    fn expected() -> Expected {
        let answer = Answer {
            count: 5,
            magnitude: 20.0,
            values: BTreeMap::from([("count", 5.0), ("sum", 20.0), ("max", 9.0)]),
        };
        Expected {
            site: "s".into(),
            device: "d".into(),
            rule: "minute".into(),
            window_s: 60,
            resolutions: BTreeMap::from([("x".into(), 0.1)]),
            answers: BTreeMap::from([(("x".into(), 60), answer)]),
        }
    }

    fn line(id: &str, minute: u32, revision: u32, fresh: u64, values: &str) -> String {
        let start = format!("1970-01-01T00:0{minute}:00Z");
        let end = format!("1970-01-01T00:0{}:00Z", minute + 1);
        crate::records::tests::line(id, &start, revision, fresh, values)
            .replace(r#""end":"-""#, &format!(r#""end":"{end}""#))
    }

    fn fault_count(lines: &[(String, bool)]) -> usize {
        faults(&expected(), &received(lines)).len()
    }

    const RIGHT: &str = r#"{"count":5,"sum":20.24,"max":9.1}"#;

    #[test]
    fn the_right_answer_passes_and_the_last_revision_counts() {
        let right = line("a", 1, 0, 5, RIGHT);
        assert_eq!(fault_count(&[(right.clone(), true)]), 0);
        assert_eq!(fault_count(&[(right.clone(), true), (right, true)]), 0);
        let early = line("b", 1, 0, 3, r#"{"count":3,"sum":1,"max":1}"#);
        let late = line("c", 1, 1, 2, RIGHT);
        assert_eq!(fault_count(&[(late, true), (early, true)]), 0);
    }

    #[test]
    fn each_kind_of_wrong_is_found() {
        let right = (line("a", 1, 0, 5, RIGHT), true);
        let wrong = |values: &str| fault_count(&[(line("a", 1, 0, 5, values), true)]);
        assert_eq!(fault_count(&[]), 1, "missing");
        assert_eq!(fault_count(&[(right.0.clone(), false)]), 1, "refused");
        let invented = (line("z", 2, 0, 5, RIGHT), true);
        assert_eq!(fault_count(&[right.clone(), invented]), 1, "invented");
        assert_eq!(wrong(r#"{"count":4,"sum":20,"max":9}"#), 1, "count");
        assert_eq!(wrong(r#"{"count":5,"sum":20.26,"max":9}"#), 1, "sum");
        assert_eq!(wrong(r#"{"count":5,"sum":20,"max":9.11}"#), 1, "max");
        assert_eq!(wrong(r#"{"count":5,"sum":20}"#), 1, "left out");
        let counted_twice = (line("b", 1, 1, 5, RIGHT), true);
        assert_eq!(fault_count(&[right.clone(), counted_twice]), 1, "fresh");
        let foreign = (right.0.replace(r#""d""#, r#""e""#), true);
        assert_eq!(fault_count(&[foreign]), 1, "head");
    }
}
