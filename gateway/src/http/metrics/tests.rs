//! What is said against what `docs/metrics.md` lists, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::http::tests::{overview, serve_plain};

/// A metric as it is said or listed: type, unit, labels, meaning.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
    help: String,
}

/// The metrics of a page in the text format, read by its own rules.
fn said(text: &str) -> BTreeMap<String, Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut base = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "EOF"] => return entries,
            ["#", "HELP", name, help] => {
                base = name.to_owned();
                entries.entry(base.clone()).or_default().help = help.to_owned();
            }
            ["#", "TYPE", name, kind] => entries.get_mut(name).unwrap().kind = kind.to_owned(),
            ["#", "UNIT", name, unit] => {
                assert!(
                    name.ends_with(&format!("_{unit}")),
                    "{name} without its unit"
                );
                entries.get_mut(name).unwrap().unit = unit.to_owned();
            }
            _ => {
                let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
                let entry = entries.get_mut(&base).unwrap();
                let ending = match entry.kind.as_str() {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                assert_eq!(name, format!("{base}{ending}"), "{line}");
                let labels = rest.split('}').next().unwrap().trim_start_matches('{');
                let names = labels.split(',').filter_map(|label| label.split_once('='));
                let names: BTreeSet<String> = names.map(|(name, _)| name.to_owned()).collect();
                assert!(entry.labels.is_empty() || entry.labels == names, "{line}");
                entry.labels = names;
            }
        }
    }
    panic!("it does not end in # EOF");
}

/// The rows of the page, by the name a sample has.
fn listed() -> BTreeMap<String, Entry> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("## Worth an alert").next().unwrap();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| `tidegate_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, unit, labels, help] = cells[..] else {
            panic!("a row of other columns: {row}");
        };
        let bare = |text: &str| text.replace('`', "");
        let labels = labels
            .split(", ")
            .map(bare)
            .filter(|label| !label.is_empty());
        let entry = Entry {
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            labels: labels.collect(),
            help: help.to_owned(),
        };
        (bare(name), entry)
    })
    .collect()
}

/// Names as samples have them.
fn by_sample(entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let named = entries.into_iter().map(|(base, entry)| {
        let ending = match entry.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        (format!("{base}{ending}"), entry)
    });
    named.collect()
}

#[test]
fn the_list_is_what_is_said() {
    let said = by_sample(said(&text(overview()).unwrap()));
    let listed = listed();
    let names = |entries: &BTreeMap<String, Entry>| entries.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&said),
        names(&listed),
        "docs/metrics.md lists other metrics"
    );
    for (name, entry) in &said {
        assert_eq!(entry, &listed[name], "{name} is listed otherwise");
    }
    assert_eq!(said.len(), families().count());
}

#[test]
fn values_are_those_of_the_overview() {
    let text = text(overview()).unwrap();
    for line in [
        "tidegate_gateway_info{site=\"plant\",id=\"00000000000000c0\",version=\"0.1.0\"} 1",
        "tidegate_samples_total 14412",
        "tidegate_sent_bytes_total 117400",
        "tidegate_works_as_usual 0",
        "tidegate_state_active{state=\"log-failing\",sink=\"\"} 1",
        "tidegate_state_active{state=\"standby\",sink=\"\"} 0",
        "tidegate_state_active{state=\"sink-circuit-open\",sink=\"cloud\"} 1",
        "tidegate_state_active{state=\"sink-circuit-open\",sink=\"disk\"} 0",
        "tidegate_devices{health=\"live\"} 1",
        "tidegate_devices{health=\"ended\"} 0",
        "tidegate_sink_phase{sink=\"cloud\",phase=\"circuit-open\"} 1",
        "tidegate_sink_records_waiting{sink=\"cloud\"} 120",
        "tidegate_sink_spool_bytes{sink=\"cloud\"} 65536",
        "tidegate_sink_sent_bytes_total{sink=\"cloud\"} 33000",
        "tidegate_rule_savings_ratio{rule=\"minute\"} 0.925",
        "tidegate_month_sent_bytes{month=\"2026-03\",sink=\"cloud\",part=\"framing\"} 4400",
        "tidegate_budget_level{level=\"warned\"} 1",
        "tidegate_http_refused_total{reason=\"guessing\"} 5",
    ] {
        assert!(
            text.lines().any(|said| said == line),
            "{line} is not in\n{text}"
        );
    }
    // What is not known has no sample.
    for unknown in [
        "tidegate_sink_records_waiting{sink=\"disk\"}",
        "tidegate_sink_spool_bytes{sink=\"disk\"}",
        "tidegate_rule_savings_ratio{rule=\"vibration-high\"}",
        "tidegate_limit_used_bytes{limit=\"log.bytes_max\"}",
    ] {
        assert!(!text.contains(unknown), "{unknown} is not known");
    }
}

#[test]
fn texts_in_labels_are_escaped_and_books_that_fail_are_shown() {
    let mut overview = overview();
    let file = "a\"b\\c\nd".to_owned();
    overview.status.configuration.as_mut().unwrap().file = file;
    overview.ledger.waiting = -3;
    overview.status.budget.as_mut().unwrap().forecast_bytes = None;
    let text = text(overview).unwrap();
    assert!(text.contains(r#"file="a\"b\\c\nd""#), "{text}");
    assert!(text.contains("tidegate_books_samples{account=\"waiting\"} -3.0\n"));
    assert!(
        !text.contains("tidegate_budget_forecast_bytes"),
        "a day was not seen"
    );
}

#[tokio::test]
async fn metrics_are_served_in_their_format() {
    let served = serve_plain().await;
    let heard = served.get("/metrics", "").await;
    assert_eq!(
        (heard.status, heard.header("content-type")),
        (200, Some(KIND))
    );
    assert_eq!(heard.text(), text(overview()).unwrap());
}
