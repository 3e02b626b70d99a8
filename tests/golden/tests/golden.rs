//! The golden log against this engine. `UPDATE_GOLDEN=1` rewrites it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_gateway::entry::{ENGINE, Entry};
use tidegate_golden::{LOG, RECORDS, check, decode, encode, engine, records, story};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn stored_records() -> Vec<String> {
    let text = fs::read_to_string(file(RECORDS)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What to do when the stored log gives other records than are stored with it.
fn advice(stored_engine: Option<u32>) -> String {
    if stored_engine == Some(ENGINE) {
        format!(
            "the golden log gives other records than before under the same engine number {ENGINE}: \
             if that is meant, let ENGINE grow in gateway/src/entry.rs, then UPDATE_GOLDEN=1"
        )
    } else {
        "the engine's number has grown: run this test with UPDATE_GOLDEN=1".to_owned()
    }
}

#[test]
fn the_golden_log_gives_its_records_from_every_base() {
    let told = story::tell();
    let derived = records(&told);
    let bytes = encode(&told).unwrap();
    let stored = fs::read(file(LOG)).unwrap_or_default();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    // A log that this version cannot read any more has a new format: nothing to compare.
    if let Ok(log) = decode(&stored)
        && !log.is_empty()
        && records(&log) != stored_records()
    {
        let advice = advice(engine(&log));
        assert!(update && engine(&log) != Some(ENGINE), "{advice}");
    }
    if update {
        fs::write(file(LOG), &bytes).unwrap();
        fs::write(file(RECORDS), derived.join("\n") + "\n").unwrap();
    }
    let stored = fs::read(file(LOG)).unwrap();
    assert!(
        stored == bytes,
        "the story or the format of entries has changed: run this test with UPDATE_GOLDEN=1"
    );
    let report = check(&decode(&stored).unwrap(), &stored_records()).unwrap();
    assert!(report.matches("base ").count() > 5, "{report}");
}

#[test]
fn a_changed_record_is_found_wherever_it_stands() {
    let log = story::tell();
    let wanted = records(&log);
    for at in [0, wanted.len() / 2, wanted.len() - 1] {
        let mut changed = wanted.clone();
        changed[at] = changed[at].replace(r#""revision":"#, r#""revision":1"#);
        check(&log, &changed).unwrap_err();
        let mut missing = wanted.clone();
        missing.remove(at);
        check(&log, &missing).unwrap_err();
    }
}

#[test]
fn everything_happens_in_the_golden_log() {
    let log = story::tell();
    let mut starts = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for logged in &log {
        starts.insert(logged.start);
        kinds.insert(match &logged.entry {
            Entry::Started { .. } => "started",
            Entry::Rules { .. } => "rules",
            Entry::Limits(_) => "limits",
            Entry::Frame(_) => "frame",
            Entry::Gap(_) => "gap",
            Entry::Link(_) => "link",
            Entry::ClockStep { .. } => "clock step",
            Entry::Decision { .. } => "decision",
            Entry::Tick => "tick",
            Entry::Tally { .. } => "tally",
        });
    }
    assert_eq!((starts.len(), kinds.len()), (4, 10));
    let lines = records(&log);
    let having = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    for part in [
        r#""revision":1"#,
        r#""epoch":1"#,
        r#""epoch":2"#,
        r#""version":2"#,
        r#""version":3"#,
        r#""clock":"device""#,
        r#""clock":"learnt""#,
        r#""clock":"bounded""#,
        r#""clock":"untrusted""#,
        r#""rule":"raw""#,
        r#""rule":"kept""#,
        r#""unit":"MJ""#,
        r#""device":"meter""#,
        r#""samples":400"#,
        r#""rule":"tidegate.audit""#,
        r#""note":"golden.0123456789abcdef.tidegate\n3\n"#,
    ] {
        assert!(having(part) > 0, "no record with {part}");
    }
}
