//! Rehearsals: what each kind of step does to records, and how differences are told.

use super::*;
use crate::record::ClockQuality;
use crate::rules::{Look, draw, parse_test};

/// A rule of a minute, before a device `d` whose timeline (and keys) follow.
const MINUTE: &str = r#"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "10s" }
aggregate = ["count", "mean", "last"]
forward = ["cloud"]
[device.d]
"#;
const PAGE: &str = include_str!("../../../docs/rules-tests.md");

fn read(text: &str) -> Test {
    parse_test(text, "test.toml", |name| {
        Err(format!("there is no {name} here"))
    })
    .unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{text}"))
}

/// Runs device `d`, behind keys of the test.
fn run(top: &str, device: &str) -> Outcome {
    rehearse(&read(&format!("expect = []\n{top}\n{MINUTE}{device}")))
}

/// Records as `start.revision: samples/fresh`, with the start in seconds.
fn lines(outcome: &Outcome) -> Vec<String> {
    let records = outcome.records.iter().map(|one| &one.record);
    records
        .map(|record| {
            let start = record.start_us / 1_000_000 % 86_400;
            let (samples, fresh) = (record.samples, record.fresh);
            format!("{start}.{}: {samples}/{fresh}", record.revision)
        })
        .collect()
}

fn late(outcome: &Outcome) -> u64 {
    outcome.counters.devices["d"].sensors["a"].rules["minute"].late
}

#[test]
fn a_sample_on_a_boundary_is_of_the_window_that_begins_there() {
    let steps = r#"hold = "30s"
    timeline = [{ every = "30s", samples = { a = [1, 2, 3] } }]"#;
    assert_eq!(lines(&run("", steps)), ["0.0: 2/2", "60.0: 1/1"]);
}

#[test]
fn values_are_what_was_written() {
    let steps = r#"timeline = [{ every = "1s", samples = { a = [-0.125, 20, 1e3], b = [true] } }]"#;
    let outcome = run("", steps);
    let lasts: Vec<Datum> = outcome
        .records
        .iter()
        .map(|record| expectation::found(record, &Field::Value("last".into())))
        .collect();
    assert_eq!(lasts, [Datum::Number(1_000.0), Datum::Number(1.0)]);
    let mean = expectation::found(&outcome.records[0], &Field::Value("mean".into()));
    assert!(Datum::Number(339.958_333_333).fits(&mean, 1e-6), "{mean}");
}

#[test]
fn a_silent_device_is_idle_after_hold_and_lateness() {
    let steps = r#"timeline = [
        { every = "10s", samples = { a = [1, 2, 3] } },
        { silence = "5m" },
        { every = "10s", samples = { a = [4] } },
    ]"#;
    // The third sample's batch closes at 30 s.
    assert_eq!(lines(&run("until = \"49s\"", steps)), [""; 0]);
    assert_eq!(lines(&run("until = \"50s\"", steps)), ["0.0: 3/3"]);
    assert_eq!(lines(&run("", steps)), ["0.0: 3/3", "300.0: 1/1"]);
}

#[test]
fn what_an_outage_keeps_away_comes_behind_it() {
    let steps = r#"timeline = [
        { every = "5s", samples = { a = [1] }, repeat = 6 },
        { outage = "2m" },
        { every = "5s", samples = { a = [1] }, repeat = 30 },
    ]"#;
    assert_eq!(lines(&run("until = \"149s\"", steps)), [""; 0]);
    let brought = ["0.0: 12/12", "60.0: 12/12"];
    assert_eq!(lines(&run("until = \"150s\"", steps)), brought);
    let outcome = run("", steps);
    assert_eq!(
        lines(&outcome),
        ["0.0: 12/12", "60.0: 12/12", "120.0: 12/12"]
    );
    assert_eq!(late(&outcome), 0);
}

#[test]
fn outages_may_overlap_and_the_longest_counts() {
    let steps = r#"timeline = [
        { outage = "2m" },
        { at = "30s", outage = "30s" },
        { every = "5s", samples = { a = [1] }, repeat = 12 },
    ]"#;
    assert_eq!(lines(&run("until = \"119s\"", steps)), [""; 0]);
    // The step without `at` begins where the latest before it ended, at 30 s.
    assert_eq!(lines(&run("", steps)), ["0.0: 6/6", "60.0: 6/6"]);
}

#[test]
fn a_reboot_keeps_what_was_held_and_the_window_open() {
    let steps = r#"timeline = [
        { every = "5s", samples = { a = [1] }, repeat = 5 },
        { reboot = "5s" },
        { every = "5s", samples = { a = [1] }, repeat = 6 },
    ]"#;
    let outcome = run("", steps);
    assert_eq!(lines(&outcome), ["0.0: 11/11"]);
    assert_eq!(outcome.counters.devices["d"].doubts.boots, 2);
}

#[test]
fn a_boot_never_seen_live_lies_between_its_neighbours() {
    let steps = r#"clock = "none"
    timeline = [
        { outage = "10m" },
        { every = "10s", samples = { a = [1, 2, 3] } },
        { reboot = "10s" },
        { every = "10s", samples = { a = [4] } },
    ]"#;
    let outcome = run("", steps);
    let clocks: Vec<ClockQuality> = outcome.records.iter().map(|one| one.record.clock).collect();
    assert!(!clocks.is_empty());
    assert!(clocks.contains(&ClockQuality::Learnt) || clocks.contains(&ClockQuality::Bounded));
    assert_eq!(outcome.counters.devices["d"].sensors["a"].logged, 4);
}

#[test]
fn a_planned_stop_closes_at_once_and_the_next_boot_revises() {
    let steps = r#"timeline = [
        { every = "5s", samples = { a = [1] }, repeat = 3 },
        { stop = "15s" },
        { every = "5s", samples = { a = [1] }, repeat = 6 },
    ]"#;
    assert_eq!(lines(&run("until = \"14s\"", steps)), [""; 0]);
    assert_eq!(lines(&run("until = \"15s\"", steps)), ["0.0: 3/3"]);
    assert_eq!(lines(&run("", steps)), ["0.0: 3/3", "0.1: 9/6"]);
}

#[test]
fn a_late_sample_is_counted_in_its_window_until_that_closes() {
    let flow = r#"{ every = "5s", samples = { a = [1] }, repeat = 24 }"#;
    let one = |late: &str| {
        let step = format!(
            r#"{{ at = "52s", times = ["0s"], samples = {{ a = [9] }}, late = "{late}" }}"#
        );
        run("", &format!("hold = \"5s\"\ntimeline = [{flow}, {step}]"))
    };
    // The watermark passes 60 s + 10 s with the batch that closes at 70 s.
    let within = one("17s");
    assert_eq!(lines(&within), ["0.0: 13/13", "60.0: 12/12"]);
    assert_eq!(late(&within), 0);
    let beyond = one("19s");
    assert_eq!(lines(&beyond), ["0.0: 12/12", "60.0: 12/12"]);
    assert_eq!(late(&beyond), 1);
}

#[test]
fn a_clock_set_back_by_more_than_lateness_begins_an_epoch() {
    let steps = |by: &str| {
        format!(
            r#"timeline = [
                {{ every = "10s", samples = {{ a = [1] }}, repeat = 6 }},
                {{ clock = "{by}" }},
                {{ every = "10s", samples = {{ a = [2] }}, repeat = 6 }},
            ]"#
        )
    };
    let back = run("", &steps("-1m"));
    let epochs: Vec<u32> = back.records.iter().map(|one| one.record.epoch).collect();
    assert_eq!(lines(&back), ["0.0: 6/6", "0.0: 6/6"]);
    assert_eq!(epochs, [0, 1]);
    let little = run("", &steps("-5s"));
    assert_eq!(lines(&little), ["0.0: 7/7", "60.0: 5/5"]);
    let forward = run("", &steps("+1h"));
    assert_eq!(lines(&forward), ["0.0: 6/6", "3660.0: 6/6"]);
}

#[test]
fn samples_where_the_device_is_off_fail_the_test() {
    let steps = r#"timeline = [
        { every = "10s", samples = { a = [1, 2, 3] } },
        { at = "5s", reboot = "20s" },
    ]"#;
    let outcome = run("others = \"ignored\"", steps);
    let device = "d".to_owned();
    assert_eq!(
        outcome.differences,
        [Difference::NotTaken { device, samples: 2 }]
    );
}

#[test]
fn a_vague_expectation_takes_no_record_from_a_particular_one() {
    let text = format!(
        r#"expect = [{{ rule = "minute" }}, {{ start = "0s" }}]
        {MINUTE}hold = "30s"
        timeline = [{{ every = "30s", samples = {{ a = [1, 2, 3] }} }}]"#
    );
    assert_eq!(rehearse(&read(&text)).differences, []);
}

#[test]
fn a_record_that_nobody_expects_is_told_unless_others_are_ignored() {
    let steps = r#"timeline = [{ every = "30s", samples = { a = [1] } }]"#;
    let outcome = run("", steps);
    assert!(matches!(
        outcome.differences.as_slice(),
        [Difference::Unexpected { .. }]
    ));
    let test = read(&format!("expect = []\n{MINUTE}{steps}"));
    assert_eq!(
        tell(&test, &outcome, "a.toml", Look::Plain),
        "FAILED  a.toml: 1 difference\n  \
         not expected: minute d a, start 0s, revision 0: samples 1, fresh 1, \
         values.count 1, values.mean 1, values.last 1\n"
    );
    assert!(run("others = \"ignored\"", steps).holds());
}

const RULES_PAGE: &str = "../docs/rules.md";

/// Whole tests on a page, those with devices.
fn on(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("[device.")).collect()
}

/// Whole tests on the page of tests.
fn on_page() -> Vec<&'static str> {
    on(PAGE)
}

/// A file or folder of the repository, from the gateway's folder.
fn place(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Why a test does not hold, if it does not; `path` is for people.
fn fault(path: &str, text: &str) -> Option<String> {
    let test = match parse_test(text, path, |name| Err(format!("there is no {name}"))) {
        Ok(test) => test,
        Err(mistakes) => return Some(draw(&mistakes, text, Look::Plain)),
    };
    let outcome = rehearse(&test);
    (!outcome.holds()).then(|| tell(&test, &outcome, path, Look::Plain))
}

#[test]
fn the_tests_on_the_page_of_rules_hold() {
    let page = std::fs::read_to_string(place(RULES_PAGE)).unwrap();
    let tests = on(&page);
    assert!(tests.len() >= 14, "{}", tests.len());
    let numbered = (1..).zip(tests);
    let faults: Vec<String> = numbered
        .filter_map(|(number, text)| fault(&format!("rules.md, test {number}"), text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_cases_hold() {
    let mut paths: Vec<_> = std::fs::read_dir(place("src/rehearsal/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "{}", paths.len());
    let faults: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            fault(&path.file_name().unwrap().to_string_lossy(), &text)
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_tests_on_the_page_hold() {
    assert_eq!(on_page().len(), 6);
    for text in on_page() {
        let outcome = rehearse(&read(text));
        assert_eq!(outcome.differences, [], "{text}");
        assert!(!outcome.records.is_empty());
    }
}

#[test]
fn differences_are_told_as_on_the_page() {
    let text = on_page()[0]
        .replace("samples = 6\n", "samples = 7\n")
        .replace("mean = 2.0667", "mean = 2.2");
    let text = format!(
        "{text}\n[[expect]]\nrule = \"minute\"\nstart = \"2m\"\n\n\
         [[counts]]\nrule = \"minute\"\nlate = 1\n"
    );
    let test = read(&text);
    let outcome = rehearse(&test);
    let told = tell(&test, &outcome, "tank.test.toml", Look::Plain);
    assert!(PAGE.contains(&format!("```text\n{told}```")), "{told}");
    let coloured = tell(&test, &outcome, "tank.test.toml", Look::Fancy);
    assert!(coloured.contains("\u{1b}[32m2.2 ±0.001\u{1b}[0m  \u{1b}[31m2.066"));
    let kinds: Vec<String> = outcome
        .differences
        .iter()
        .map(|one| one.to_json()["kind"].to_string())
        .collect();
    assert_eq!(kinds, ["\"differs\"", "\"missing\"", "\"count\""]);
}

#[test]
fn a_test_without_a_difference_says_what_it_compared() {
    let test = read(on_page()[5]);
    assert_eq!(
        tell(&test, &rehearse(&test), "room.toml", Look::Plain),
        "ok      room.toml: records: 2, counts: 5\n"
    );
}
