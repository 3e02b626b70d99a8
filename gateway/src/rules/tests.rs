//! Whole configurations: golden diagnostics of wrong ones, settings of right ones.
//!
//! `golden/NAME.toml` is a configuration, `golden/NAME.txt` what is said about it. Run with
//! `UPDATE_GOLDEN=1` to write the latter anew, and read the difference.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::settings::{
    Compression, Endpoint, HttpFormat, HttpSettings, IntakeSettings, LogSettings, MqttSettings,
    SecuritySettings, Settings, SinkKind, SinkSettings,
};
use super::*;
use crate::entry::Limits;

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/golden")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// What a person is told: each finding as a line, then drawn.
fn told(text: &str, file: &str) -> String {
    let (verdict, findings) = match parse(text, file) {
        Ok((_, warnings)) => ("runs", warnings),
        Err(mistakes) => ("does not run", mistakes),
    };
    let mut told = format!("{file} {verdict}\n\n");
    for finding in &findings {
        writeln!(told, "{finding}").unwrap();
    }
    told.push('\n');
    told.push_str(&draw(&findings, text, Look::Plain));
    told
}

#[test]
fn diagnostics_are_as_in_the_golden_files() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(golden_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    names.sort();
    let mut differing = Vec::new();
    for config in names {
        let file = config.file_name().unwrap().to_string_lossy().into_owned();
        let found = told(&read(&config), &file);
        assert!(!found.contains("sesame"), "{file} tells a secret:\n{found}");
        let golden = config.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        } else if std::fs::read_to_string(&golden).ok().as_deref() != Some(&found) {
            differing.push(format!("--- {file}\n{found}"));
        }
    }
    assert!(
        differing.is_empty(),
        "differing from their golden files (UPDATE_GOLDEN=1 rewrites them):\n{}",
        differing.join("\n")
    );
}

/// Every golden configuration that cannot run, with what is said about it.
fn wrong_ones() -> Vec<(String, Vec<Mistake>)> {
    let entries = std::fs::read_dir(golden_dir()).unwrap();
    let configs = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let checked = configs.map(|path| {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        (parse(&read(&path), &file).err(), file)
    });
    checked
        .filter_map(|(mistakes, file)| Some((file, mistakes?)))
        .collect()
}

#[test]
fn thirty_wrong_configurations_are_told_of() {
    let wrong = wrong_ones();
    assert!(wrong.len() >= 30, "{} wrong configurations", wrong.len());
    // Each finding underlines something, and says what was expected or what to do.
    for (file, finding) in wrong
        .iter()
        .flat_map(|(file, all)| all.iter().map(move |one| (file, one)))
    {
        assert!(!finding.message.is_empty(), "{file}: {finding}");
        let told = !finding.expected.is_empty() || finding.help.is_some();
        assert!(told, "{file}: {finding}");
        assert!(finding.end_column >= finding.column, "{file}: {finding}");
    }
    // Together they show every kind of mistake that there is.
    let kinds = [
        Kind::Syntax,
        Kind::UnknownKey,
        Kind::NotInThisVersion,
        Kind::Missing,
        Kind::WrongType,
        Kind::Malformed,
        Kind::OutOfRange,
        Kind::UnknownName,
        Kind::Duplicate,
        Kind::Conflict,
    ];
    for kind in kinds {
        let shown = wrong.iter().flat_map(|(_, findings)| findings);
        assert!(
            shown.clone().any(|finding| finding.kind == kind),
            "no golden configuration shows {kind:?}"
        );
    }
}

#[test]
fn three_mistakes_are_told_at_once_with_their_places() {
    let text = read(&golden_dir().join("three-mistakes.toml"));
    let mistakes = parse(&text, "three-mistakes.toml").unwrap_err();
    let places: Vec<_> = mistakes
        .iter()
        .map(|mistake| (mistake.kind, mistake.line, mistake.column))
        .collect();
    assert_eq!(
        places,
        [
            (Kind::Malformed, 2, 8),
            (Kind::Malformed, 14, 23),
            (Kind::UnknownKey, 15, 1),
        ]
    );
}

#[test]
fn the_wait_for_a_trusted_clock_may_be_none() {
    for (wait, us) in [("0s", 0), ("90s", 90_000_000), ("1d", 86_400_000_000)] {
        let text = format!("{MINUTE}\n[clock]\nwait = \"{wait}\"\nhold_bytes_max = \"1 MiB\"\n");
        let (settings, warnings) = parse(&text, "tidegate.toml").unwrap();
        assert_eq!(warnings, []);
        assert_eq!(settings.limits.clock_wait_us, us);
        assert_eq!(settings.limits.clock_hold_bytes_max, 1 << 20);
    }
}

const MINUTE: &str = r#"
[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
compress = "none"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s" }
aggregate = ["count", "min", "max", "mean", "sum", "first", "last", "stddev", "p50", "p95"]
forward = ["cloud"]
"#;

#[test]
fn a_whole_configuration_becomes_settings() {
    let (settings, warnings) = parse(MINUTE, "tidegate.toml").unwrap();
    assert_eq!(warnings, []);
    let expected = Settings {
        site: "pump-house".parse().unwrap(),
        data_dir: "./data".into(),
        limits: Limits {
            devices_max: 1_000,
            pending_catalog_max: 4_096,
            revise_for_us: 86_400_000_000,
            offline_close_us: 900_000_000,
            clock_wait_us: 600_000_000,
            clock_hold_bytes_max: 32 << 20,
        },
        intake: IntakeSettings {
            pending_bytes_max: 4 << 20,
            window_max: 7,
        },
        mqtt: MqttSettings::External {
            host: "127.0.0.1".into(),
            port: 21883,
            credentials: None,
            tls: None,
        },
        log: LogSettings {
            commit_ms: 1_000,
            segment_bytes: 16 << 20,
            bytes_max: 1 << 30,
        },
        budget: None,
        http: None,
        security: SecuritySettings::default(),
        witnesses: Vec::new(),
        sinks: vec![SinkSettings::new(
            "cloud",
            SinkKind::Http(HttpSettings {
                endpoint: Endpoint::plain("http://127.0.0.1:28080/records"),
                format: HttpFormat::Ndjson,
                compression: Compression::None,
            }),
        )],
        rules: RuleSet {
            rules: vec![Rule {
                name: "minute".into(),
                matching: Match {
                    sensor: vec!["*".into()],
                    ..Match::default()
                },
                window: Some(Window::tumbling(60_000_000, 30_000_000, Late::Revise)),
                aggregates: vec![
                    Aggregate::Count,
                    Aggregate::Min,
                    Aggregate::Max,
                    Aggregate::Mean,
                    Aggregate::Sum,
                    Aggregate::First,
                    Aggregate::Last,
                    Aggregate::Stddev,
                    Aggregate::Percentile(500),
                    Aggregate::Percentile(950),
                ],
                priority: Priority::Normal,
                forward: vec!["cloud".into()],
                ..Rule::default()
            }],
        },
    };
    assert_eq!(settings, expected);
}

#[test]
fn the_example_file_runs_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tidegate.toml");
    let (settings, warnings) = parse(&read(&path), "tidegate.toml").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(settings.sinks.len(), 2);
    assert_eq!(settings.rules.rules.len(), 11);
}

#[test]
fn the_examples_commented_keys_show_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tidegate.toml");
    let text = read(&path);
    let shown: String = text
        .split_inclusive('\n')
        .map(|line| {
            let key = line
                .strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") && !rest.starts_with("url"));
            key.unwrap_or(line)
        })
        .collect();
    assert_ne!(shown, text);
    let (defaults, _) = parse(&text, "tidegate.toml").unwrap();
    let (settings, _) = parse(&shown, "tidegate.toml").unwrap();
    assert_eq!(settings, defaults);
}

#[test]
fn debug_of_settings_hides_secrets() {
    let text = MINUTE
        .replace("mqtt://", "mqtt://operator:sesame@")
        .replace("/records", "/records?token=sesame");
    let (settings, _) = parse(&text, "tidegate.toml").unwrap();
    assert!(!format!("{settings:?}").contains("sesame"));
    assert!(matches!(
        &settings.mqtt,
        MqttSettings::External { credentials: Some((user, password)), .. }
            if user == "operator" && password == "sesame"
    ));
}

#[test]
fn a_file_of_mistakes_is_told_up_to_a_limit() {
    let text: String = "k = 1\n".repeat(5_000);
    let mistakes = parse(&text, "tidegate.toml").unwrap_err();
    assert_eq!(mistakes.len(), MISTAKES_MAX + 1);
    assert_eq!(mistakes.last().map(|last| last.kind), Some(Kind::TooMany));
    let long = " ".repeat(CONFIG_BYTES_MAX + 1);
    assert_eq!(parse(&long, "tidegate.toml").unwrap_err().len(), 1);
}

#[test]
fn the_longest_files_are_answered_in_time() {
    // Each would take minutes if its mistakes were worked out in quadratic time.
    let keys: String = (0..60_000).fold(String::new(), |mut text, key| {
        let _ = writeln!(text, "k{key} = 1");
        text
    });
    let names = format!("[[rule]]\nforward = [{}]\n", "\"a\",".repeat(200_000));
    for text in ["k\n".repeat(CONFIG_BYTES_MAX / 2), keys, names] {
        assert!(parse(&text, "tidegate.toml").is_err());
    }
}

#[test]
fn a_damaged_rule_set_is_an_error() {
    assert!(RuleSet::from_json("{\"rules\":[{}]}").is_err());
    assert!(RuleSet::from_json("").is_err());
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let bound = || proptest::option::of(-1e300..1e300_f64);
    (
        "[a-z]{1,8}",
        bound(),
        bound(),
        proptest::option::of(1e-9..1e9_f64),
        proptest::option::of((1..1_000_000_i64, 0..1_000_000_i64, any::<bool>())),
        proptest::collection::vec(0..=1_000_u16, 0..4),
    )
        .prop_map(|(name, min, max, deadband, window, percentiles)| Rule {
            name,
            matching: Match::names("pump-*", "?"),
            keep: Some(Keep {
                min,
                max,
                rate_max: None,
            }),
            thin: deadband.map(Thinning::deadband),
            window: window.map(|(length_us, lateness_us, drop)| {
                let late = if drop { Late::Drop } else { Late::Revise };
                Window::tumbling(length_us, lateness_us, late)
            }),
            aggregates: percentiles.into_iter().map(Aggregate::Percentile).collect(),
            priority: Priority::High,
            forward: vec!["cloud".into()],
            ..Rule::default()
        })
}

/// Text out of the pieces that configurations are made of, in no sensible order.
fn any_soup() -> impl Strategy<Value = String> {
    let pieces = proptest::sample::select(vec![
        "[gateway]\n",
        "[mqtt]\n",
        "[log]\n",
        "[limits]\n",
        "[sink.a]\n",
        "[[rule]]\n",
        "[rule]\n",
        "[sink]\n",
        "site",
        "url",
        "embedded",
        "type",
        "match",
        "keep",
        "window",
        "aggregate",
        "forward",
        "name",
        "commit_ms",
        "bytes_max",
        " = ",
        "=",
        "\n",
        ".",
        ",",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "\"\"\"",
        "\"1m\"",
        "\"mqtt://a:b@c\"",
        "\"http\"",
        "1",
        "-1.5",
        "nan",
        "0x",
        "true",
        "# ü@://?\n",
        "é",
        "\r\n",
        "1979-05-27",
        "{ sensor = \"*\" }",
        "[\"a\"]",
    ]);
    proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

fn check_any(text: &str) {
    let findings = match parse(text, "tidegate.toml") {
        Ok((_, warnings)) => warnings,
        Err(mistakes) => mistakes,
    };
    for finding in &findings {
        assert!(finding.line >= 1 && finding.column >= 1);
        assert!(text.get(finding.span.clone()).is_some());
    }
    let _ = draw(&findings, text, Look::Plain);
}

proptest! {
    #[test]
    fn any_text_is_answered(text: String) {
        check_any(&text);
    }

    #[test]
    fn any_soup_of_keys_is_answered(text in any_soup()) {
        check_any(&text);
    }

    #[test]
    fn any_single_slip_in_a_right_file_is_answered(at in 0..MINUTE.len(), with in "[a-z\"=\\[{}#@\n]?") {
        let text = format!("{}{with}{}", &MINUTE[..at], &MINUTE[at + 1..]);
        check_any(&text);
    }

    #[test]
    fn a_rule_set_reads_back_bit_for_bit(rules in proptest::collection::vec(any_rule(), 0..4)) {
        let rules = RuleSet { rules };
        let text = rules.to_json();
        let back = RuleSet::from_json(&text).unwrap();
        prop_assert_eq!(back.to_json(), text);
        prop_assert_eq!(back, rules);
    }
}
