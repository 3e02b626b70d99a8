//! Every combination of answers gives a configuration without a finding; wrong ones are asked again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::ValueEnum;

use super::answers::{Answers, Kind, Question};
use super::*;
use crate::rules::Kind as Finding;

const SITE: &str = "hall";

/// Where a sink of each type may be.
const ADDRESSES: [(Kind, &[&str]); 8] = [
    (
        Kind::File,
        &["records.ndjson", "/var/lib/my \"own\" records.ndjson"],
    ),
    (
        Kind::Http,
        &["http://127.0.0.1:8080/r", "https://ingest.example/v1"],
    ),
    (Kind::Influxdb, &["http://127.0.0.1:8086"]),
    (Kind::Prometheus, &["http://127.0.0.1:9090/api/v1/write"]),
    (Kind::Otlp, &["https://collector.example/v1/metrics"]),
    (
        Kind::Mqtt,
        &["mqtt://127.0.0.1:1883", "mqtts://broker.example"],
    ),
    (Kind::Nats, &["nats://127.0.0.1:4222", "tls://nats.example"]),
    (Kind::Stdout, &[""]),
];

fn combinations() -> Vec<Answers> {
    let mut all = vec![Answers::of_site(SITE)];
    let mut spread = |question: Question, said: &[&str]| {
        let further = all.iter().flat_map(|answers| {
            let fit = said.iter().filter(|_| answers.needs(question));
            let mut given: Vec<Answers> = fit
                .map(|said| answers.with(question, said).unwrap().0)
                .collect();
            if given.is_empty() {
                given.push(answers.clone());
            }
            given
        });
        all = further.collect();
    };
    spread(Question::Site, &["pump-house", "A.b_c-9"]);
    spread(
        Question::Broker,
        &[
            "127.0.0.1:1883",
            "[::1]:11883",
            "mqtt://broker.example",
            "mqtt://10.0.0.7:1884",
        ],
    );
    let kinds: Vec<&str> = Kind::value_variants()
        .iter()
        .map(|kind| kind.name())
        .collect();
    spread(Question::Sink, &kinds);
    spread(
        Question::Secret,
        &["none", "env:TOKEN", "file:/etc/tidegate/token"],
    );
    spread(Question::Every, &["1s", "1m", "5m", "1h", "1d"]);
    all
}

#[test]
fn every_combination_of_answers_has_no_finding() {
    let all = combinations();
    assert!(all.len() > 500, "{}", all.len());
    for answers in &all {
        let text = answers.text("tidegate.toml");
        let (settings, warnings) =
            parse(&text, "tidegate.toml").unwrap_or_else(|found| panic!("{}\n{text}", found[0]));
        assert!(warnings.is_empty(), "{}\n{text}", warnings[0]);
        assert_eq!((settings.sinks.len(), settings.rules.rules.len()), (1, 1));
    }
}

#[test]
fn every_address_that_such_a_sink_may_have_is_taken() {
    for (kind, addresses) in ADDRESSES {
        let answers = Answers::of_site(SITE);
        let (answers, _) = answers.with(Question::Sink, kind.name()).unwrap();
        for address in addresses.iter().filter(|_| answers.needs(Question::To)) {
            let (answers, odd) = answers.with(Question::To, address).unwrap();
            assert_eq!(odd, Vec::<String>::new(), "{address}");
            let text = answers.text("tidegate.toml");
            let (settings, _) = parse(&text, "tidegate.toml").unwrap();
            let sink = format!("{:?}", settings.sinks[0].kind);
            let part = address.trim_end_matches('/').rsplit(['/', ':']).next();
            assert!(
                sink.contains(part.unwrap().trim_start_matches("my ")) || kind == Kind::File,
                "{sink}"
            );
        }
    }
}

/// What stands in the file as a comment works when its signs are taken off.
#[test]
fn the_alert_in_the_comments_works() {
    for kind in Kind::value_variants() {
        let (answers, _) = Answers::of_site(SITE)
            .with(Question::Sink, kind.name())
            .unwrap();
        let text = answers.text("tidegate.toml");
        let (rest, alert) = text.split_once("# [[rule]]\n").unwrap();
        let alert = alert.replace("# ", "");
        let text = format!("{rest}[[rule]]\n{alert}");
        let (settings, warnings) =
            parse(&text, "tidegate.toml").unwrap_or_else(|found| panic!("{}\n{text}", found[0]));
        assert_eq!(settings.rules.rules.len(), 2);
        assert!(warnings.is_empty(), "{kind:?}: {}\n{text}", warnings[0]);
    }
}

/// A broker that whoever reaches it can use is taken, and told of.
#[test]
fn a_broker_for_every_network_is_told_of() {
    let answers = Answers::of_site(SITE);
    let (answers, odd) = answers.with(Question::Broker, "0.0.0.0:1883").unwrap();
    assert!(odd[0].contains("beyond this machine"), "{odd:?}");
    let (_, warnings) = parse(&answers.text("t"), "t").unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].kind, Finding::Exposed);
}

/// Asks with these lines: what was answered, and what was said meanwhile.
fn asked(args: &InitArgs, lines: &str) -> (Result<Answers, Failure>, String) {
    let mut said = String::new();
    let answers = answered(args, SITE, &mut lines.as_bytes(), |text| {
        said.push_str(text);
    });
    (answers, said)
}

#[test]
fn enter_takes_the_defaults() {
    let (answers, said) = asked(&InitArgs::default(), "\n\n\n\n\n");
    let defaults = Answers::of_site(SITE);
    assert_eq!(answers.unwrap().text("t"), defaults.text("t"));
    assert!(
        said.contains("[hall] > ") && said.contains("[5m] > "),
        "{said}"
    );
    for number in 1..=4 {
        assert_eq!(said.matches(&format!("{number}. ")).count(), 1, "{said}");
    }
    assert!(!said.contains("token"), "{said}");
}

#[test]
fn wrong_answers_are_asked_again_with_the_reason() {
    let lines = "pump house\npump-house\nlocalhost:1883\n127.0.0.1:0\ntcp://x\n127.0.0.1:1884\n\
                 influx\ninfluxdb\nwhere\nhttp://127.0.0.1:8086\nhunter2\nenv:INFLUX_TOKEN\n\
                 1 parsec\n0s\n1m\n";
    let (answers, said) = asked(&InitArgs::default(), lines);
    let answers = answers.unwrap();
    let text = answers.text("tidegate.toml");
    for line in [
        "site = \"pump-house\"",
        "embedded = { listen = \"127.0.0.1:1884\" }",
        "type = \"influxdb\"",
        "url = \"http://127.0.0.1:8086\"",
        "auth = { token = { env = \"INFLUX_TOKEN\" } }",
        "window = { tumbling = \"1m\", lateness = \"30s\" }",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    let reasons: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("not taken: "))
        .collect();
    assert_eq!(reasons.len(), 9, "{said}");
    for (reason, word) in reasons.iter().zip([
        "A-Z a-z 0-9",
        "did you mean \"127.0.0.1:1883\"?",
        "port 0",
        "mqtt://",
        "influxdb",
        "url",
        "never the secret itself",
        "the unit is not known",
        "too small",
    ]) {
        assert!(reason.contains(word), "no {word} in {reason}");
    }
    assert!(
        !text.contains("hunter2") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn a_password_is_refused_wherever_it_is_typed() {
    for (kind, url) in [
        ("http", "http://me:hunter2@ingest.example/v1"),
        ("mqtt", "mqtt://me:hunter2@broker.example"),
        ("influxdb", "http://me:hunter2@db.example:8086"),
    ] {
        let (answers, _) = Answers::of_site(SITE).with(Question::Sink, kind).unwrap();
        let why = answers.with(Question::To, url).unwrap_err().to_string();
        assert!(
            why.contains("password") && !why.contains("hunter2"),
            "{why}"
        );
    }
    let broker = Answers::of_site(SITE).with(Question::Broker, "mqtt://me:hunter2@b.example");
    assert!(broker.unwrap_err().to_string().contains("password"));
}

#[test]
fn answers_that_end_early_write_nothing() {
    for lines in ["", "pump-house\n", "pump house\n", "\n\nfile"] {
        let (answers, _) = asked(&InitArgs::default(), lines);
        assert!(matches!(answers, Err(Failure::AnswersEnded)), "{lines:?}");
    }
    let endless = "x".repeat(100_000);
    let (answers, _) = asked(&InitArgs::default(), &endless);
    assert!(matches!(answers, Err(Failure::AnswersEnded)));
}

#[test]
fn what_flags_say_is_not_asked() {
    let args = InitArgs {
        site: Some("pump-house".to_owned()),
        sink: Some(Kind::Stdout),
        every: Some("1h".to_owned()),
        ..InitArgs::default()
    };
    let (answers, said) = asked(&args, "\n");
    let text = answers.unwrap().text("tidegate.toml");
    assert!(
        text.contains("type = \"stdout\"") && text.contains("\"1h\""),
        "{text}"
    );
    assert_eq!(said.matches("] > ").count(), 1, "{said}");
    let args = InitArgs { yes: true, ..args };
    let (answers, said) = asked(&args, "");
    assert!(answers.is_ok());
    assert_eq!(said, "");
}

#[test]
fn a_wrong_flag_is_named_with_the_reason() {
    let wrong = |args: InitArgs| {
        let (answers, _) = asked(&InitArgs { yes: true, ..args }, "");
        answers.unwrap_err().told()
    };
    let told = wrong(InitArgs {
        every: Some("often".to_owned()),
        ..InitArgs::default()
    });
    assert!(
        told.starts_with("error: --every is not taken; nothing was written"),
        "{told}"
    );
    let told = wrong(InitArgs {
        to: Some("x".to_owned()),
        sink: Some(Kind::Stdout),
        ..InitArgs::default()
    });
    assert!(told.contains("stdout has none"), "{told}");
}

#[test]
fn the_file_is_its_owners_and_never_written_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidegate.toml");
    writing::write(&path, "one", false).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told = writing::write(&path, "two", false).unwrap_err().told();
    assert!(
        told.contains("is there already; nothing was changed"),
        "{told}"
    );
    assert!(told.contains("--force"), "{told}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    writing::write(&path, "three", true).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "three");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let nowhere = dir.path().join("nowhere/tidegate.toml");
    let told = writing::write(&nowhere, "four", false).unwrap_err().told();
    assert!(
        told.contains("cannot be written") && told.contains("because: "),
        "{told}"
    );
}

#[test]
fn what_comes_next_names_file_and_broker() {
    let told = |file: &str, broker: &str| {
        let answers = Answers::of_site(SITE);
        let (answers, _) = answers.with(Question::Broker, broker).unwrap();
        let (settings, _) = parse(&answers.text(file), file).unwrap();
        next(Path::new(file), &settings, &answers)
    };
    let usual = told("tidegate.toml", "0.0.0.0:1883");
    assert!(
        usual.starts_with("tidegate.toml is written: site hall; 1 sink (records)"),
        "{usual}"
    );
    assert!(usual.contains("  tidegate run\n"), "{usual}");
    assert!(usual.contains("--broker mqtt://127.0.0.1:1883 "), "{usual}");
    let other = told("/etc/plant.toml", "mqtt://[::1]:1884");
    assert!(
        other.contains("  tidegate run --config /etc/plant.toml\n"),
        "{other}"
    );
    assert!(other.contains("--broker 'mqtt://[::1]:1884' "), "{other}");
}

#[test]
fn commands_name_odd_files_as_a_shell_reads_them() {
    for (file, word) in [
        ("my plant's.toml", "'my plant'\\''s.toml'"),
        ("-x.toml", "./-x.toml"),
        ("a\nb\u{7f}.toml", "$'a\\012b\\177.toml'"),
    ] {
        let answers = Answers::of_site(SITE);
        let text = answers.text(file);
        let (settings, _) = parse(&text, file).unwrap();
        let told = next(Path::new(file), &settings, &answers);
        assert!(
            told.contains(&format!("  tidegate run --config {word}\n")),
            "{told}"
        );
        assert!(
            text.contains(&format!("\n#     tidegate check {word}\n")),
            "{text}"
        );
    }
}
