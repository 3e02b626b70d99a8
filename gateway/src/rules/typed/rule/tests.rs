//! Whole rules: every key of the language read, and where its mistakes are placed.

use std::path::Path;

use crate::rules::*;

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/golden");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The rules of `golden/every-key.toml`.
fn every_key() -> Vec<Rule> {
    let text = golden("every-key.toml");
    let (settings, warnings) = parse(&text, "every-key.toml").unwrap();
    assert_eq!(warnings, []);
    settings.rules.rules
}

fn rule(name: &str) -> Rule {
    let rule = every_key().into_iter().find(|rule| rule.name == name);
    rule.unwrap_or_else(|| panic!("no rule {name}"))
}

#[test]
fn every_key_of_a_rule_is_read() {
    let rule = rule("everything");
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
    assert_eq!(
        rule.matching,
        Match {
            site: texts(&["pump-*"]),
            device: texts(&["pump-?", "tank-*"]),
            sensor: texts(&["pressure"]),
            unit: texts(&["bar", "°C"]),
            kind: texts(&["gauge", "count*"]),
            tags: texts(&["line=*"]),
        }
    );
    let keep = Keep {
        min: Some(-1.0),
        max: Some(25.5),
        rate_max: Some(3.0),
    };
    assert_eq!(rule.keep, Some(keep));
    let input = |alias: &str, sensor: &str| Input {
        alias: alias.into(),
        device: None,
        sensor: sensor.into(),
    };
    assert_eq!(rule.inputs, [input("q", "flow"), input("t", "temperature")]);
    assert_eq!(rule.max_age_us, 10_000_000);
    let derive = rule.derive.unwrap();
    assert_eq!((derive.unit.as_deref(), derive.decimals), (Some("kW"), 3));
    assert!(matches!(&derive.what, Derivation::Value(value) if value.text == "value * q"));
    assert_eq!(
        rule.when.map(|when| when.text).as_deref(),
        Some("value > t && device != \"pump-9\"")
    );
    let thin = Thinning::Deadband {
        absolute: Some(0.2),
        relative: Some(0.05),
    };
    assert_eq!(rule.thin, Some(thin));
    assert_eq!(rule.heartbeat_us, Some(600_000_000));
    let window = Window {
        shape: Shape::Hopping {
            length_us: 900_000_000,
            every_us: 60_000_000,
        },
        lateness_us: 0,
        late: Late::Drop,
        hold_us: 120_000_000,
    };
    assert_eq!(rule.window, Some(window));
    let names: Vec<String> = rule.aggregates.iter().map(Aggregate::name).collect();
    assert_eq!(names.get(8..10), Some(texts(&["p95", "median"]).as_slice()));
    assert_eq!(names.get(14..), Some(texts(&["hot", "spread"]).as_slice()));
    let spread = Aggregate::Histogram {
        name: "spread".into(),
        bounds: vec![0.0, 10.0, 20.0, 50.0],
    };
    assert_eq!(rule.aggregates.last(), Some(&spread));
    assert_eq!((rule.group, rule.priority), (Group::Sensor, Priority::Low));
}

#[test]
fn windows_have_their_shapes_and_holds() {
    const HOUR_US: i64 = 3_600_000_000;
    let window = |name| rule(name).window.unwrap();
    let shapes = [
        (
            "tumbling",
            Shape::Tumbling {
                length_us: 60_000_000,
            },
            60_000_000,
        ),
        (
            "sliding",
            Shape::Sliding {
                length_us: 300_000_000,
            },
            300_000_000,
        ),
        (
            "session",
            Shape::Session {
                gap_us: 300_000_000,
                length_max_us: 12 * HOUR_US,
            },
            300_000_000,
        ),
        ("count", Shape::Count { samples: 100 }, HOUR_US),
        (
            "month",
            Shape::Calendar {
                every: Calendar::Month,
                zone: "Europe/Berlin".into(),
            },
            24 * HOUR_US,
        ),
    ];
    for (name, shape, hold_us) in shapes {
        let found = window(name);
        assert_eq!((found.shape, found.hold_us), (shape, hold_us), "{name}");
        assert_eq!((found.lateness_us, found.late), (10_000_000, Late::Revise));
    }
}

#[test]
fn steps_and_alerts_are_read_with_their_defaults() {
    let rate = Derivation::Rate {
        per_us: 1_000_000,
        gap_max_us: 600_000_000,
    };
    let integral = Derivation::Integral {
        per_us: 3_600_000_000,
        gap_max_us: 3_600_000_000,
    };
    assert_eq!(rule("tumbling").derive.unwrap().what, rate);
    assert_eq!(rule("sliding").derive.unwrap().what, integral);
    let thin = |name| rule(name).thin.unwrap();
    assert_eq!(thin("tumbling"), Thinning::OnChange);
    assert_eq!(
        thin("session"),
        Thinning::DecimateTime {
            every_us: 10_000_000
        }
    );
    assert_eq!(thin("count"), Thinning::DecimateCount { every: 10 });
    assert_eq!(thin("door"), Thinning::SwingingDoor { max_error: 0.1 });
    let alert = rule("vibration-high").alert.unwrap();
    let times = (
        alert.for_us,
        alert.repeat_us,
        alert.silent_for_us,
        alert.historic_after_us,
    );
    assert_eq!(
        times,
        (5_000_000, Some(3_600_000_000), Some(600_000_000), 0)
    );
    assert_eq!(
        alert.clear.map(|clear| clear.text).as_deref(),
        Some("value < 3.5")
    );
    assert_eq!(
        rule("mean-high").alert.unwrap().historic_after_us,
        300_000_000
    );
}

#[test]
fn what_a_rule_takes_from_another_is_looked_up() {
    let source = |rule: &str, value: &str, decimals| Source {
        rule: rule.into(),
        value: value.into(),
        decimals,
    };
    let from = |name| rule(name).from.unwrap();
    assert_eq!(from("sliding"), source("everything", "hot", 2));
    // The only value of its records.
    assert_eq!(from("month"), source("sliding", "max", 6));
    let site = rule("site");
    assert_eq!(site.group, Group::Site);
    assert_eq!(site.inputs[0].device.as_deref(), Some("tank-2"));
    assert_eq!(site.matching, Match::default());
    assert!(rule("tumbling").forward.is_empty());
}

#[test]
fn mistakes_of_expressions_stand_where_they_are() {
    let text = golden("expressions.toml");
    let mistakes = parse(&text, "expressions.toml").unwrap_err();
    let underlined: Vec<&str> = mistakes
        .iter()
        .map(|mistake| &text[mistake.span.clone()])
        .collect();
    for part in ["valu", "flow", "devise", "valeu", r#""devise == \"x\"""#] {
        assert!(underlined.contains(&part), "{part} in {underlined:?}");
    }
}
