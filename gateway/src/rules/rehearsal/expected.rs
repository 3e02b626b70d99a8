//! `[[expect]]`: fields of a record that has to come.

use super::time::read_offset;
use crate::rehearsal::{Datum, Device, Expected, Field};
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::tree::{Section, Value, choice, list, number, short, text, whole};
use crate::rules::{Aggregate, Group, Rule, RuleSet};

/// What a test's parts are called, for those that name them.
pub(super) struct Names<'t> {
    /// The devices; `None` for a mistaken one.
    pub(super) devices: &'t [Option<Device>],
    /// The rules, if they are known.
    pub(super) rules: Option<&'t RuleSet>,
    /// When the test begins.
    pub(super) begin_utc_us: i64,
}

impl<'t> Names<'t> {
    fn rule(&self, name: &str) -> Option<&'t Rule> {
        self.rules?.rules.iter().find(|rule| rule.name == name)
    }

    /// The names there are, if all are known.
    fn known(&self, of: &str) -> Option<Vec<&'t str>> {
        match of {
            "rule" => {
                let rules = self.rules?.rules.iter();
                Some(rules.map(|rule| rule.name.as_str()).collect())
            }
            "device" => {
                let devices = self.devices.iter();
                devices
                    .map(|device| Some(device.as_ref()?.name.as_str()))
                    .collect()
            }
            _ => {
                let sensors = self.devices.iter().map(|device| {
                    let sensors = device.as_ref()?.sensors.iter();
                    Some(sensors.map(|sensor| sensor.name.as_str()).collect())
                });
                let sensors: Option<Vec<Vec<&str>>> = sensors.collect();
                Some(sensors?.concat())
            }
        }
    }

    /// Reads the name of a rule, device or sensor of this test.
    pub(super) fn read(
        &self,
        key: &'static str,
        section: &mut Section<'_, '_>,
        findings: &mut Findings,
    ) -> Option<String> {
        let value = section.get(key)?;
        let expected = format!("the name of a {key}");
        let typed = text(&format!("`{key}`"), value, &expected, findings)?;
        if let Some(known) = self.known(key).filter(|known| !known.contains(&typed)) {
            let help = nearest(typed, known.iter().copied()).map_or_else(
                || format!("there are: {}", known.join(", ")),
                |name| format!("did you mean \"{name}\"?"),
            );
            findings
                .mistake(
                    Kind::UnknownName,
                    value.span(),
                    format!("there is no {key} \"{}\"", short(typed)),
                    format!("expected {expected} of this test"),
                )
                .help(help);
        }
        Some(typed.to_owned())
    }
}

/// Reads an expectation; its line is an offset until the text is at hand.
pub(super) fn read(
    number: usize,
    value: &Value<'_>,
    within: f64,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<Expected> {
    let title = format!("[[expect]] number {number}");
    let expected = "a section that begins with [[expect]]";
    let mut section = Section::of_value(title, value, &[], expected, findings)?;
    let mut fields = Vec::new();
    let rule = names.read("rule", &mut section, findings);
    for (field, name) in [
        (Field::Rule, rule.clone()),
        (Field::Device, names.read("device", &mut section, findings)),
        (Field::Sensor, names.read("sensor", &mut section, findings)),
    ] {
        fields.extend(name.map(|name| (field, Datum::Text(name))));
    }
    read_times(&mut section, names, &mut fields, findings);
    read_numbers(&mut section, &mut fields, findings);
    read_words(&mut section, &mut fields, findings);
    if let Some(value) = section.get("values") {
        let rule = rule.as_deref().and_then(|name| names.rule(name));
        read_values(value, rule, &mut fields, findings);
    }
    let within = section
        .get("within")
        .map_or(Some(within), |value| read_within(value, findings));
    let line = section.span.start;
    section.close(findings);
    Some(Expected {
        number,
        line,
        fields,
        within: within?,
    })
}

/// Reads `within`: a distance.
pub(super) fn read_within(value: &Value<'_>, findings: &mut Findings) -> Option<f64> {
    let within = number("`within`", value, findings)?;
    if within < 0.0 {
        findings.mistake(
            Kind::OutOfRange,
            value.span(),
            "`within` is below 0",
            "expected how far a number may differ, such as 0.01",
        );
        return None;
    }
    Some(within)
}

fn read_times(
    section: &mut Section<'_, '_>,
    names: &Names<'_>,
    fields: &mut Vec<(Field, Datum)>,
    findings: &mut Findings,
) {
    for (key, field) in [("start", Field::Start), ("end", Field::End)] {
        let Some(value) = section.get(key) else {
            continue;
        };
        let begin_us = names.begin_utc_us;
        let expected = "a duration from the beginning such as \"1m\", or UTC";
        let name = format!("`{key}`");
        let offset = read_offset(&name, value, Some(begin_us), expected, findings);
        fields.extend(offset.map(|us| (field, Datum::Time(begin_us.saturating_add(us)))));
    }
}

fn read_numbers(
    section: &mut Section<'_, '_>,
    fields: &mut Vec<(Field, Datum)>,
    findings: &mut Findings,
) {
    for (key, field) in [
        ("epoch", Field::Epoch),
        ("revision", Field::Revision),
        ("samples", Field::Samples),
        ("fresh", Field::Fresh),
    ] {
        let Some(value) = section.get(key) else {
            continue;
        };
        let bounds = 0..=u64::from(u32::MAX);
        let number = whole(&format!("`{key}`"), value, bounds, findings);
        fields.extend(number.map(|number| (field, Datum::Number(number as f64))));
    }
}

fn read_words(
    section: &mut Section<'_, '_>,
    fields: &mut Vec<(Field, Datum)>,
    findings: &mut Findings,
) {
    const CLOCKS: [(&str, &str); 4] = [
        ("device", "device"),
        ("learnt", "learnt"),
        ("bounded", "bounded"),
        ("untrusted", "untrusted"),
    ];
    const PRIORITIES: [(&str, &str); 3] = [("low", "low"), ("normal", "normal"), ("high", "high")];
    let unit = section.get("unit");
    let unit = unit.and_then(|value| text("`unit`", value, "a text such as \"bar\"", findings));
    let clock = section.get("clock");
    let clock = clock.and_then(|value| choice("`clock`", value, &CLOCKS, findings));
    let priority = section.get("priority");
    let priority = priority.and_then(|value| choice("`priority`", value, &PRIORITIES, findings));
    for (field, word) in [
        (Field::Unit, unit),
        (Field::Clock, clock),
        (Field::Priority, priority),
    ] {
        fields.extend(word.map(|word| (field, Datum::Text(word.to_owned()))));
    }
    let Some(value) = section.get("forward") else {
        return;
    };
    let names = list("`forward`", value, "a list such as [\"cloud\"]", findings);
    let names = names.map(|names| {
        let read = |value| text("a sink's name", value, "a text such as \"cloud\"", findings);
        let read: Vec<&str> = names.iter().filter_map(read).collect();
        read.into_iter().map(str::to_owned).collect()
    });
    fields.extend(names.map(|names| (Field::Forward, Datum::Names(names))));
}

fn read_values(
    value: &Value<'_>,
    rule: Option<&Rule>,
    fields: &mut Vec<(Field, Datum)>,
    findings: &mut Findings,
) {
    let expected = "a table such as { count = 6, mean = 21.5 }";
    let Some(section) = Section::of_value("`values`", value, &[], expected, findings) else {
        return;
    };
    let known = rule.map(Known::of);
    for (name, span, value) in section.entries() {
        if let Some(known) = known.as_ref().filter(|known| !known.has(name)) {
            findings
                .mistake(
                    Kind::UnknownName,
                    span,
                    format!("the rule's records have no value `{}`", short(name)),
                    "not a value of this rule",
                )
                .help(known.meant(name));
            continue;
        }
        let datum = if value.get_ref().as_str() == Some("absent") {
            Some(Datum::Absent)
        } else {
            number(&format!("`{}`", short(name)), value, findings).map(Datum::Number)
        };
        fields.extend(datum.map(|datum| (Field::Value(name.to_owned()), datum)));
    }
}

/// The values that records of a rule have.
struct Known {
    names: Vec<String>,
    /// Whether a record has them of several sensors, as `SENSOR.NAME`.
    of_sensors: bool,
}

impl Known {
    fn of(rule: &Rule) -> Self {
        // A sample that passed, or one that an alert told of, is a value alone.
        let names = match rule.window {
            Some(_) => rule.aggregates.iter().map(Aggregate::name).collect(),
            None => vec!["value".to_owned()],
        };
        Self {
            names,
            of_sensors: rule.window.is_some() && rule.group == Group::Device,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| {
            if self.of_sensors {
                let sensor = name.strip_suffix(known.as_str());
                sensor.is_some_and(|sensor| sensor.len() > 1 && sensor.ends_with('.'))
            } else {
                known == name
            }
        })
    }

    /// What was meant by a name that is none of them.
    fn meant(&self, name: &str) -> String {
        if self.of_sensors {
            let names: Vec<String> = self
                .names
                .iter()
                .map(|one| format!("SENSOR.{one}"))
                .collect();
            return format!("it has: {}", names.join(", "));
        }
        nearest(name, self.names.iter().map(String::as_str)).map_or_else(
            || format!("it has: {}", self.names.join(", ")),
            |name| format!("did you mean `{name}`?"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Known;
    use crate::rules::{Aggregate, Alert, Group, Late, Rule, Window};

    #[test]
    fn the_values_of_a_rule_are_known() {
        let passed = Known::of(&Rule::default());
        assert!(passed.has("value") && !passed.has("mean"));
        let watched = Known::of(&Rule {
            alert: Some(Alert::default()),
            ..Rule::default()
        });
        assert!(watched.has("value"));
        let mut rule = Rule {
            window: Some(Window::tumbling(1, 0, Late::Revise)),
            aggregates: vec![Aggregate::Percentile(999), Aggregate::Mean],
            ..Rule::default()
        };
        let of_one = Known::of(&rule);
        assert!(of_one.has("p99.9") && !of_one.has("value") && !of_one.has("a.mean"));
        assert_eq!(of_one.meant("men"), "did you mean `mean`?");
        rule.group = Group::Device;
        let of_all = Known::of(&rule);
        assert!(of_all.has("flow.p99.9") && of_all.has("a.b.mean"));
        assert!(!of_all.has("mean") && !of_all.has(".mean") && !of_all.has("flowmean"));
        assert_eq!(of_all.meant("mean"), "it has: SENSOR.p99.9, SENSOR.mean");
    }
}
