//! The judge of reloads: what records of a rule that changed and of one that did not must be.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_tests::answers::{self, Expected};
use tidegate_tests::recomputation::Key;
use tidegate_tests::records::{Received, Record};
use tidegate_tests::utc;

/// Lengths of the windows of `reload::SHAPES`, in seconds, and what they compute.
const SHAPES: [(i64, &[&str]); 2] = [
    (60, &["count", "max", "sum"]),
    (20, &["count", "min", "p95", "sum"]),
];

/// The rule that never changes gave what it gives when nothing is reloaded.
pub fn assert_undisturbed(expected: &Expected, received: &[Received]) {
    let of_device = received.iter();
    let of_device = of_device.filter(|one| one.record.device == expected.device);
    let of_device: Vec<Received> = of_device.cloned().collect();
    answers::assert_none("unchanged rule", &answers::faults(expected, &of_device));
}

/// Every record has the shape of its version; how many versions have one. The first shape is the
/// one that the gateway began with, as version 1.
pub fn assert_shapes(received: &[Received]) -> usize {
    let mut versions = BTreeSet::new();
    for one in received.iter().filter(|one| one.taken) {
        let record = &one.record;
        versions.insert(record.version);
        let (length_s, names) = SHAPES[usize::from(record.version % 2 == 0)];
        let end_s = utc::seconds(&record.end).expect("an end is a time");
        let found: Vec<&str> = record.values.keys().map(String::as_str).collect();
        assert_eq!(end_s - record.start_s(), length_s, "{}", one.line);
        assert_eq!(found, names, "{}", one.line);
    }
    versions.len()
}

/// The samples of every minute stand under the versions of the rule once in all: their numbers
/// and sums add up to those of the file.
pub fn assert_each_under_one_version(expected: &Expected, received: &[Received]) {
    let mut minutes: BTreeMap<Key, (u64, f64)> = BTreeMap::new();
    for record in newest(expected, received) {
        let start_s = record.start_s().div_euclid(60) * 60;
        let minute = minutes.entry((record.sensor.clone(), start_s)).or_default();
        minute.0 += record.samples;
        minute.1 += record.values["sum"];
    }
    let mut faults = Vec::new();
    for (key, answer) in &expected.answers {
        let (count, sum) = minutes.remove(key).unwrap_or_default();
        let resolution = expected.resolutions[&key.0];
        let off = (sum - answer.values["sum"]).abs();
        let tolerance = answer.count as f64 * resolution / 2.0 + answer.magnitude * 1e-12;
        if count != answer.count || off > tolerance {
            faults.push(format!(
                "{key:?}: {count} of {}, sum off by {off}",
                answer.count
            ));
        }
    }
    faults.extend(minutes.keys().map(|key| format!("invented: {key:?}")));
    answers::assert_none("samples under versions", &faults);
}

/// The newest revision of each window of the device.
fn newest<'r>(expected: &Expected, received: &'r [Received]) -> Vec<&'r Record> {
    let mut newest = BTreeMap::new();
    for one in received.iter().filter(|one| one.taken) {
        let record = &one.record;
        if record.device != expected.device {
            continue;
        }
        let kept = newest.entry(record.window()).or_insert(record);
        if record.revision > kept.revision {
            *kept = record;
        }
    }
    newest.into_values().collect()
}
