//! Texts against the settings in force.

use super::*;
use crate::conductor::Reconfiguration;

const IN_FORCE: &str = r#"
[gateway]
site = "plant"
[mqtt]
url = "mqtt://127.0.0.1"
[limits]
devices_max = 20
[sink.cloud]
type = "file"
path = "records"
[sink.spare]
type = "file"
path = "spare"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m" }
aggregate = ["count"]
forward = ["cloud"]
[[rule]]
name = "all"
match = { sensor = "*" }
forward = ["cloud"]
"#;

fn settings(text: &str) -> Settings {
    parse(text, "test").unwrap().0
}

/// What is made of [`IN_FORCE`] with each of `changes` made in it.
fn examined(changes: &[(&str, &str)]) -> Result<Option<Change>, Refusal> {
    let mut text = IN_FORCE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let found = examine(&text, "tidegate.toml", &settings(IN_FORCE))?;
    Ok(found.1)
}

fn taken(changes: &[(&str, &str)]) -> Change {
    examined(changes).unwrap().expect("something changes")
}

fn keys(from: &str, to: &str) -> Vec<String> {
    examined(&[(from, to)]).unwrap_err().places
}

#[test]
fn a_text_that_says_the_same_in_other_words_changes_nothing() {
    let comment = ("[gateway]", "# spring\n[gateway]");
    let default = ("[sink.cloud]", "revise_for = \"24h\"\n[sink.cloud]");
    assert_eq!(examined(&[comment, default]), Ok(None));
    assert_ne!(hash(IN_FORCE), hash(&IN_FORCE.replace('\n', "\r\n")));
}

#[test]
fn a_hash_is_the_beginning_of_what_sha256sum_prints() {
    assert_eq!(hash("abc"), "ba7816bf8f01");
}

#[test]
fn rules_are_taken_and_each_change_is_told() {
    let change = taken(&[("\"1m\"", "\"5m\""), ("name = \"all\"", "name = \"every\"")]);
    assert_eq!(
        change.told,
        [
            "rule minute changed: a new version; windows already open finish under the old one",
            "rule every added",
            "rule all removed: its open windows finish",
        ]
    );
    let Reconfiguration { rules, limits, .. } = change.reconfiguration;
    assert_eq!(rules.map(|rules| rules.rules.len()), Some(2));
    assert_eq!(limits, None, "limits that do not change are not written");
}

#[test]
fn where_records_go_is_no_new_version() {
    let change = taken(&[("forward = [\"cloud\"]", "forward = [\"spare\"]")]);
    assert_eq!(change.told.len(), 1);
    assert!(change.told[0].starts_with("rule minute keeps its version"));
}

#[test]
fn the_order_of_rules_is_a_change() {
    let renamed = [
        ("name = \"minute\"\n", "name = \"x\"\n"),
        ("name = \"all\"\n", "name = \"minute\"\n"),
        ("name = \"x\"\n", "name = \"all\"\n"),
    ];
    // The same two rules, exchanged: all but their names moves with them.
    let moved = [
        (
            "window = { tumbling = \"1m\" }\naggregate = [\"count\"]\n",
            "",
        ),
        (
            "name = \"minute\"\nmatch = { sensor = \"*\" }\n",
            "name = \"minute\"\nmatch = { sensor = \"*\" }\nwindow = { tumbling = \"1m\" }\naggregate = [\"count\"]\n",
        ),
    ];
    let change = taken(&[&renamed[..], &moved[..]].concat());
    assert_eq!(change.told, ["the order of the rules changed"]);
    assert!(change.reconfiguration.rules.is_some());
}

#[test]
fn limits_are_taken_and_told_with_before_and_after() {
    let more = "devices_max = 30\nwindow_max = 5\noffline_close = \"5m\"";
    let log = ("[sink.cloud]", "[log]\ncommit_ms = 100\n[sink.cloud]");
    let change = taken(&[("devices_max = 20", more), log]);
    assert_eq!(
        change.told,
        [
            "limits.devices_max: 20 → 30",
            "limits.offline_close: 15m → 5m",
            "limits.window_max: 7 → 5",
            "log.commit_ms: 1000 → 100",
        ]
    );
    let new = change.reconfiguration;
    assert_eq!(new.rules, None, "rules that do not change are not written");
    assert_eq!(new.limits.map(|limits| limits.devices_max), Some(30));
    assert_eq!((new.window_max, new.commit_ms), (5, 100));
}

#[test]
fn what_takes_a_restart_is_refused_by_its_key() {
    for (from, to, key) in [
        ("\"plant\"", "\"other\"", "gateway.site changed"),
        (
            "[mqtt]",
            "data_dir = \"x\"\n[mqtt]",
            "gateway.data_dir changed",
        ),
        ("//127.0.0.1", "//127.0.0.2", "mqtt.url changed"),
        (
            "devices_max = 20",
            "pending_bytes_max = \"1 MiB\"\ndevices_max = 20",
            "limits.pending_bytes_max changed",
        ),
        (
            "[limits]",
            "[log]\nsegment_bytes = \"1 MiB\"\n[limits]",
            "log.segment_bytes changed",
        ),
        (
            "[limits]",
            "[log]\nbytes_max = \"64 MiB\"\n[limits]",
            "log.bytes_max changed",
        ),
        (
            "[limits]",
            "[http]\nhosts = [\"gateway.local\"]\n[limits]",
            "http changed",
        ),
        ("\"spare\"", "\"elsewhere\"", "sink.spare changed"),
        (
            "[sink.spare]\ntype = \"file\"\npath = \"spare\"\n",
            "",
            "sink.spare removed",
        ),
        (
            "[sink.spare]",
            "[sink.more]\ntype = \"file\"\npath = \"more\"\n[sink.spare]",
            "sink.more added",
        ),
    ] {
        assert_eq!(keys(from, to), [key]);
    }
}

#[test]
fn one_key_that_takes_a_restart_refuses_all_the_rest() {
    let refusal = examined(&[("\"1m\"", "\"5m\""), ("\"plant\"", "\"other\"")]).unwrap_err();
    assert_eq!(refusal.places, ["gateway.site changed"]);
    assert!(
        refusal.why.contains("nothing of it is taken"),
        "{}",
        refusal.why
    );
    assert!(refusal.hash.is_some());
}

#[test]
fn mistakes_are_told_each_with_its_place() {
    let mistakes = [("\"1m\"", "\"1 parsec\""), ("match", "mach")];
    let refusal = examined(&mistakes).unwrap_err();
    assert!(refusal.places.len() >= 2, "{:?}", refusal.places);
    let placed = |one: &String| one.starts_with("tidegate.toml:");
    assert!(refusal.places.iter().all(placed), "{:?}", refusal.places);
    assert!(
        refusal.why.contains("mistakes: correct it"),
        "{}",
        refusal.why
    );
}
