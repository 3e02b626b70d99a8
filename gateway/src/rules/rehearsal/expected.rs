//! `[[expect]]`: fields of a record that has to come.

use super::time::read_offset;
use crate::record::GROUP;
use crate::rehearsal::{Datum, Device, Expected, Field};
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::tree::{Section, Value, boolean, choice, list, number, short, text, whole};
use crate::rules::{Aggregate, Group, Rule};
use toml::de::DeValue;

/// What a test's parts are called, for those that name them.
pub(super) struct Names<'t> {
    /// The devices; `None` for a mistaken one.
    pub(super) devices: &'t [Option<Device>],
    /// The rules of all rule sets that are in force at some time, if they are known.
    pub(super) rules: Option<&'t [Rule]>,
    /// When the test begins.
    pub(super) begin_utc_us: i64,
}

impl<'t> Names<'t> {
    /// The rules of a name: one of each rule set that has one.
    fn rules(&self, name: &str) -> Vec<&'t Rule> {
        let rules = self.rules.unwrap_or_default().iter();
        rules.filter(|rule| rule.name == name).collect()
    }

    /// Whether a rule groups its records so; yes if the rules are not known.
    fn has(&self, group: Group) -> bool {
        let of_group = |rules: &[Rule]| rules.iter().any(|rule| rule.group == group);
        self.rules.is_none_or(of_group)
    }

    /// The names there are, if all are known.
    fn known(&self, of: &str) -> Option<Vec<&'t str>> {
        match of {
            "rule" => {
                let rules = self.rules?.iter();
                Some(rules.map(|rule| rule.name.as_str()).collect())
            }
            "device" => {
                let devices = self.devices.iter();
                let site = self.has(Group::Site).then_some(Some(GROUP));
                devices
                    .map(|device| Some(device.as_ref()?.name.as_str()))
                    .chain(site)
                    .collect()
            }
            _ => {
                let sensors = self.devices.iter().map(|device| {
                    let sensors = device.as_ref()?.sensors.iter();
                    Some(sensors.map(|sensor| sensor.name.as_str()).collect())
                });
                let all = self.has(Group::Device).then(|| Some(vec![GROUP]));
                let sensors: Option<Vec<Vec<&str>>> = sensors.chain(all).collect();
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
        let rules = rule.as_deref().map(|name| names.rules(name));
        read_values(value, &rules.unwrap_or_default(), &mut fields, findings);
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
        ("version", Field::Version),
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
    const ALERTS: [(&str, &str); 3] = [
        ("opened", "opened"),
        ("still", "still"),
        ("cleared", "cleared"),
    ];
    const CAUSES: [(&str, &str); 2] = [("condition", "condition"), ("silence", "silence")];
    let alert = section.get("alert");
    let alert = alert.and_then(|value| choice("`alert`", value, &ALERTS, findings));
    let cause = section.get("cause");
    let cause = cause.and_then(|value| choice("`cause`", value, &CAUSES, findings));
    for (key, field) in [("historic", Field::Historic), ("partial", Field::Partial)] {
        let flag = section.get(key);
        let flag = flag.and_then(|value| boolean(&format!("`{key}`"), value, findings));
        fields.extend(flag.map(|flag| (field, Datum::Flag(flag))));
    }
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
        (Field::Alert, alert),
        (Field::Cause, cause),
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
    rules: &[&Rule],
    fields: &mut Vec<(Field, Datum)>,
    findings: &mut Findings,
) {
    let expected = "a table such as { count = 6, mean = 21.5 }";
    let Some(section) = Section::of_value("`values`", value, &[], expected, findings) else {
        return;
    };
    let known = (!rules.is_empty()).then(|| Known::of_all(rules));
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
        let title = format!("`{}`", short(name));
        let datum = match value.get_ref() {
            DeValue::String(text) if text == "absent" => Some(Datum::Absent),
            DeValue::Array(counts) => {
                let bounds = 0..=u64::from(u32::MAX);
                let counts = counts
                    .iter()
                    .map(|count| whole("a count", count, bounds.clone(), findings));
                let counts: Option<Vec<u64>> = counts.collect();
                counts.map(Datum::Counts)
            }
            _ => number(&title, value, findings).map(Datum::Number),
        };
        fields.extend(datum.map(|datum| (Field::Value(name.to_owned()), datum)));
    }
}

/// The values that records of a rule have.
struct Known {
    names: Vec<String>,
    /// Those that a record has of several sensors each, as `SENSOR.NAME`.
    of_sensors: Vec<String>,
}

impl Known {
    /// Of the versions of a rule.
    fn of_all(rules: &[&Rule]) -> Self {
        let mut known = Self {
            names: Vec::new(),
            of_sensors: Vec::new(),
        };
        for rule in rules {
            // A sample that passed, or one that an alert told of, is a value alone.
            let names = match rule.window {
                Some(_) => rule.aggregates.iter().map(Aggregate::name).collect(),
                None => vec!["value".to_owned()],
            };
            if rule.window.is_some() && rule.group == Group::Device {
                known.of_sensors.extend(names);
            } else {
                known.names.extend(names);
            }
        }
        known
    }

    fn has(&self, name: &str) -> bool {
        let is_of_sensor = |known: &String| {
            let sensor = name.strip_suffix(known.as_str());
            sensor.is_some_and(|sensor| sensor.len() > 1 && sensor.ends_with('.'))
        };
        self.names.iter().any(|known| known == name) || self.of_sensors.iter().any(is_of_sensor)
    }

    /// What was meant by a name that is none of them.
    fn meant(&self, name: &str) -> String {
        let of_sensors = self.of_sensors.iter();
        let all: Vec<String> = of_sensors
            .map(|one| format!("SENSOR.{one}"))
            .chain(self.names.iter().cloned())
            .collect();
        nearest(name, self.names.iter().map(String::as_str)).map_or_else(
            || format!("it has: {}", all.join(", ")),
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
        let passed = Known::of_all(&[&Rule::default()]);
        assert!(passed.has("value") && !passed.has("mean"));
        let watched = Known::of_all(&[&Rule {
            alert: Some(Alert::default()),
            ..Rule::default()
        }]);
        assert!(watched.has("value"));
        let mut rule = Rule {
            window: Some(Window::tumbling(1, 0, Late::Revise)),
            aggregates: vec![Aggregate::Percentile(999), Aggregate::Mean],
            ..Rule::default()
        };
        let of_one = Known::of_all(&[&rule]);
        assert!(of_one.has("p99.9") && !of_one.has("value") && !of_one.has("a.mean"));
        assert_eq!(of_one.meant("men"), "did you mean `mean`?");
        rule.group = Group::Device;
        let of_all = Known::of_all(&[&rule]);
        assert!(of_all.has("flow.p99.9") && of_all.has("a.b.mean"));
        assert!(!of_all.has("mean") && !of_all.has(".mean") && !of_all.has("flowmean"));
        assert_eq!(of_all.meant("mean"), "it has: SENSOR.p99.9, SENSOR.mean");
    }
}
