//! Memory: what the largest gateway holds.

use super::script::{EPOCH_US, S, Script, rule, sensor};
use crate::entry::Logged;
use crate::pipeline::Pipeline;
use crate::rules::{Aggregate, Rule};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.map_or(0, |number| number.parse().unwrap())
}

/// Ten thousand devices of 8 sensors with 5 scalar rules, two open windows each and 64 frames
/// remembered. Run it alone: it reads the whole process' resident memory.
#[test]
#[ignore = "measures the process' memory, so it must run alone: cargo test -- --ignored ten_thousand"]
fn ten_thousand_devices_stay_within_the_budget() {
    let rules: Vec<Rule> = (0..5)
        .map(|number| Rule {
            aggregates: vec![Aggregate::Count, Aggregate::Mean, Aggregate::Max],
            ..rule(&format!("rule-{number}"), 60 + number, 30)
        })
        .collect();
    let mut script = Script::empty();
    script.rules(&rules);
    script.subscribed(true);
    let mut pipeline = Pipeline::new(&super::script::site());
    let mut out = Vec::new();
    let mut apply = |log: &mut Vec<Logged>, rename: Option<usize>| {
        for mut logged in log.drain(..) {
            let name = rename.map(|number| super::script::name(&format!("device-{number:05}")));
            match (&mut logged.entry, name) {
                (crate::entry::Entry::Frame(frame), Some(name)) => frame.device = name,
                (crate::entry::Entry::Link(link), Some(name)) => link.device = Some(name),
                _ => {}
            }
            pipeline.apply(0, &logged, &mut out);
            out.clear();
        }
    };
    apply(&mut script.log, None);
    let names: Vec<String> = (0..8).map(|number| format!("sensor-{number}")).collect();
    let sensors: Vec<_> = names.iter().map(|name| sensor(name, "bar", -2)).collect();
    script.open(10_000);
    script.catalog(&sensors);
    script.clock(0, EPOCH_US);
    for frame in 0..66_u64 {
        let rows = [(frame * S, 1), (frame * S + 1, 2)];
        let blocks: Vec<_> = (0..8).map(|number| (number, &rows[..])).collect();
        script.batch(frame * S, &blocks);
    }
    let before = resident_kib();
    for number in 0..10_000 {
        apply(&mut script.log.clone(), Some(number));
    }
    let used = resident_kib() - before;
    println!(
        "10,000 devices of 8 sensors with 5 rules, the pipeline's state: {:.1} MB anonymous of at most 300",
        used as f64 * 1_024.0 / 1e6
    );
    assert_eq!(pipeline.counters().devices.len(), 10_000);
    assert!(used * 1_024 <= 300_000_000, "{used} KiB");
}
