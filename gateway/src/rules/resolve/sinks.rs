//! Sinks beside each other and beside the rules that forward to them: what would lose data.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::rules::mistake::{Findings, Kind};
use crate::rules::quantity::show_size;
use crate::rules::settings::{
    MqttPayload, MqttSinkSettings, Revisions, SinkKind, SinkSettings, Template, TemplatePart,
};
use crate::rules::tree::short;
use crate::rules::typed::{Typed, TypedRule, TypedSink};
use crate::rules::{Group, Late, Shape};

/// Notes what would lose data. A sink or rule that is mistaken itself is left out.
pub(super) fn check(typed: &Typed, findings: &mut Findings) {
    check_spools(typed, findings);
    check_files(&typed.sinks, findings);
    check_clients(&typed.sinks, findings);
    check_revisions(typed, findings);
    check_sites(typed, findings);
    check_retained(typed, findings);
}

/// The settings of a sink, with what follows from the site.
pub(super) fn resolve(sinks: Vec<TypedSink>, site: Option<&str>) -> Option<Vec<SinkSettings>> {
    let sinks = sinks.into_iter().map(|sink| {
        let mut settings = sink.settings?;
        if let SinkKind::Mqtt(mqtt) = &mut settings.kind
            && let MqttPayload::SparkplugB { group, .. } = &mut mqtt.payload
            && group.is_empty()
        {
            site?.clone_into(group);
        }
        Some(settings)
    });
    sinks.collect()
}

/// A queue must hold at least one full batch.
fn check_spools(typed: &Typed, findings: &mut Findings) {
    let small =
        |settings: &SinkSettings| settings.spool_bytes_max < settings.batch_bytes_max as u64;
    for sink in &typed.sinks {
        let Some(settings) = sink.settings.as_ref().filter(|settings| small(settings)) else {
            continue;
        };
        findings
            .mistake(
                Kind::Conflict,
                sink.name.span.clone(),
                format!(
                    "the queue of the sink \"{}\" is smaller than one batch",
                    short(&sink.name.text)
                ),
                format!(
                    "spool_bytes_max is {}, batch_bytes_max is {}",
                    show_size(settings.spool_bytes_max),
                    show_size(settings.batch_bytes_max as u64)
                ),
            )
            .help("raise `spool_bytes_max` or lower `batch_bytes_max`");
    }
}

/// Two sinks must not write to one file: each cuts off what it does not know as its own.
fn check_files(sinks: &[TypedSink], findings: &mut Findings) {
    let mut taken: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for sink in sinks {
        let Some(SinkKind::File(file)) = kind(sink) else {
            continue;
        };
        if let Some(first) = taken.insert(plain(&file.path), &sink.name.text) {
            findings
                .mistake(
                    Kind::Duplicate,
                    sink.place.clone(),
                    format!("the sink \"{}\" writes to this file already", short(first)),
                    "two sinks in one file would damage each other's records",
                )
                .help("give each a path of its own, or forward both rules to one sink");
        }
    }
}

/// A path without `.` and without the way back by `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// A broker has one connection of a client id: a second one throws the first out, for ever in turn.
fn check_clients(sinks: &[TypedSink], findings: &mut Findings) {
    let mut taken: BTreeMap<(String, u16, &str), &str> = BTreeMap::new();
    for sink in sinks {
        let Some(SinkKind::Mqtt(mqtt)) = kind(sink) else {
            continue;
        };
        let Some(client) = &mqtt.client_id else {
            continue;
        };
        let key = (mqtt.host.to_lowercase(), mqtt.port, client.as_str());
        if let Some(first) = taken.insert(key, &sink.name.text) {
            findings
                .mistake(
                    Kind::Duplicate,
                    sink.place.clone(),
                    format!(
                        "the sink \"{}\" has this client id at the same broker",
                        short(first)
                    ),
                    "a broker throws a client out when another comes by its id",
                )
                .help("leave `client_id` out: each sink has one of its own then");
        }
    }
}

fn kind(sink: &TypedSink) -> Option<&SinkKind> {
    Some(&sink.settings.as_ref()?.kind)
}

/// A sink that refuses a second value at one time must get none.
fn check_revisions(typed: &Typed, findings: &mut Findings) {
    if typed.limits.revise_for_us == Some(0) {
        return;
    }
    for (rule, sink, place) in forwards(typed) {
        let refuses = kind(sink).is_some_and(|kind| kind.revisions() == Revisions::Refused);
        if !refuses || !revises(rule) {
            continue;
        }
        findings
            .mistake(
                Kind::Conflict,
                place,
                format!(
                    "{} makes revisions, and the sink \"{}\" refuses them",
                    rule.title,
                    short(&sink.name.text)
                ),
                "Prometheus keeps the first value of a time: corrections would be lost",
            )
            .help("write late = \"drop\" in the rule's `window`, or revisions = \"label\" in the sink");
    }
}

/// Whether a window of the rule can be emitted again. One of a number of samples cannot.
fn revises(rule: &TypedRule) -> bool {
    rule.window.as_ref().is_some_and(|window| {
        let window = window.get_ref();
        window.late == Late::Revise && !matches!(window.shape, Shape::Count { .. })
    })
}

/// Samples of several devices under one name stand at one time, where some sinks keep one value.
fn check_sites(typed: &Typed, findings: &mut Findings) {
    for (rule, sink, place) in forwards(typed) {
        let of_site = rule.group.as_ref().map(|group| *group.get_ref()) == Some(Group::Site);
        let passes = of_site && rule.window.is_none() && rule.alert.is_none();
        let keeps_one = matches!(
            kind(sink),
            Some(SinkKind::Influxdb(_) | SinkKind::Prometheus(_))
        );
        if !passes || !keeps_one {
            continue;
        }
        findings
            .mistake(
                Kind::Conflict,
                place,
                format!(
                    "{} passes records of several devices under one name",
                    rule.title
                ),
                format!(
                    "the sink \"{}\" keeps one value of a name and time",
                    short(&sink.name.text)
                ),
            )
            .help("give the rule a `window`, or leave out group = \"site\"");
    }
}

/// A retained topic holds one record: what is to stay apart must not share it.
fn check_retained(typed: &Typed, findings: &mut Findings) {
    for sink in &typed.sinks {
        let Some(SinkKind::Mqtt(MqttSinkSettings {
            payload: MqttPayload::Json { topic },
            retain: true,
            ..
        })) = kind(sink)
        else {
            continue;
        };
        let of_sink = || {
            let all = forwards(typed);
            all.filter(|(_, other, _)| other.name.text == sink.name.text)
                .map(|(rule, _, _)| rule)
        };
        let one_name = |globs: &[String]| match globs {
            [only] => !only.contains(['*', '?']),
            _ => false,
        };
        let wanted = |of: fn(&TypedRule) -> Option<Vec<String>>| {
            of_sink().any(|rule| of(rule).is_none_or(|globs| !one_name(&globs)))
                || names(of_sink().filter_map(of)) > 1
        };
        let lacking = [
            (TemplatePart::Device, "{device}", wanted(devices)),
            (TemplatePart::Sensor, "{sensor}", wanted(sensors)),
            (TemplatePart::Rule, "{rule}", of_sink().count() > 1),
        ];
        let lacking: Vec<&str> = lacking
            .into_iter()
            .filter(|(part, _, wanted)| *wanted && !has(topic, part))
            .map(|(_, name, _)| name)
            .collect();
        if lacking.is_empty() {
            continue;
        }
        findings
            .mistake(
                Kind::Conflict,
                sink.place.clone(),
                format!(
                    "records that differ in {} share a retained topic",
                    lacking.join(" and ")
                ),
                "a topic retains one message: each record would replace another's",
            )
            .help(format!(
                "put {} into `topic`, or take `retain` out",
                lacking.join(" and ")
            ));
    }
}

fn has(template: &Template, part: &TemplatePart) -> bool {
    template.parts.contains(part)
}

/// How many different names there are.
fn names(lists: impl Iterator<Item = Vec<String>>) -> usize {
    let all: std::collections::BTreeSet<String> = lists.flatten().collect();
    all.len()
}

fn devices(rule: &TypedRule) -> Option<Vec<String>> {
    Some(rule.matching.as_ref()?.resolved().device)
}

fn sensors(rule: &TypedRule) -> Option<Vec<String>> {
    Some(rule.matching.as_ref()?.resolved().sensor)
}

/// Every rule with every sink that it forwards to, and where it says so.
fn forwards(
    typed: &Typed,
) -> impl Iterator<Item = (&TypedRule, &TypedSink, std::ops::Range<usize>)> {
    let by_name: BTreeMap<&str, &TypedSink> = typed
        .sinks
        .iter()
        .map(|sink| (sink.name.text.as_str(), sink))
        .collect();
    typed.rules.iter().flat_map(move |rule| {
        let named = rule.forward.sinks().iter();
        let found: Vec<_> = named
            .filter_map(|named| {
                Some((rule, *by_name.get(named.text.as_str())?, named.span.clone()))
            })
            .collect();
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_same_however_they_are_written() {
        for (one, other) in [
            ("./a.ndjson", "a.ndjson"),
            ("x/../a.ndjson", "a.ndjson"),
            ("/var/./x//a", "/var/x/a"),
        ] {
            assert_eq!(plain(Path::new(one)), plain(Path::new(other)), "{one}");
        }
        assert_ne!(plain(Path::new("../a")), plain(Path::new("a")));
    }
}
