//! `from`, `match`, `with` and `max_age`: which samples a rule takes, and what it sees beside
//! them.

use std::fmt::Display;

use tidegate_shared::ids::{DeviceName, SensorName, is_name_byte};
use toml::Spanned;
use toml::de::DeValue;

use super::{Named, is_word, named, time};
use crate::rules::expression::usable_as_name;
use crate::rules::glob::matches;
use crate::rules::mistake::{Findings, Kind, nearest};
use crate::rules::tree::{Section, Value, malformed, short, text, whole};
use crate::rules::{Input, Match};

/// Most bytes of a glob: twice the longest name it could match.
pub(in crate::rules) const GLOB_BYTES_MAX: usize = 64;
/// Most globs of a list: each costs a match per sensor of a catalog.
pub(in crate::rules) const GLOBS_MAX: usize = 16;
/// Most inputs of a rule: each costs a look at another sensor per sample.
pub(in crate::rules) const INPUTS_MAX: usize = 8;
/// Decimals of values that are not a sensor's own when none are given.
pub(in crate::rules) const DECIMALS: u8 = 6;
/// Most decimals: as many as the integers they are kept in leave room for.
pub(in crate::rules) const DECIMALS_MOST: u64 = 9;
/// Kinds of sensors.
const KINDS: [&str; 4] = ["gauge", "counter", "state", "bool"];

/// `from` as typed.
#[derive(Debug)]
pub(in crate::rules) struct TypedSource {
    /// The rule's name, not yet looked up.
    pub(in crate::rules) rule: Named,
    /// Which value, where one was named.
    pub(in crate::rules) value: Option<Named>,
    /// Decimals kept of it.
    pub(in crate::rules) decimals: u8,
}

/// `match` as typed: every glob with its place.
#[derive(Debug, Default)]
pub(in crate::rules) struct TypedMatch {
    /// `site`.
    pub(in crate::rules) site: Vec<Named>,
    /// `device`.
    pub(in crate::rules) device: Vec<Named>,
    /// `sensor`.
    pub(in crate::rules) sensor: Vec<Named>,
    /// `unit`.
    pub(in crate::rules) unit: Vec<Named>,
    /// `kind`.
    pub(in crate::rules) kind: Vec<Named>,
    /// `tags`.
    pub(in crate::rules) tags: Vec<Named>,
}

impl TypedMatch {
    /// Its lists by their keys.
    pub(in crate::rules) fn lists(&self) -> [(&'static str, &[Named]); 6] {
        [
            ("site", &self.site),
            ("device", &self.device),
            ("sensor", &self.sensor),
            ("unit", &self.unit),
            ("kind", &self.kind),
            ("tags", &self.tags),
        ]
    }

    /// What runs.
    pub(in crate::rules) fn resolved(&self) -> Match {
        let texts = |globs: &[Named]| globs.iter().map(|glob| glob.text.clone()).collect();
        Match {
            site: texts(&self.site),
            device: texts(&self.device),
            sensor: texts(&self.sensor),
            unit: texts(&self.unit),
            kind: texts(&self.kind),
            tags: texts(&self.tags),
        }
    }
}

/// Reads `from`: a rule's name, or a table with it.
pub(super) fn read_source(value: &Value<'_>, findings: &mut Findings) -> Option<TypedSource> {
    if let Some(typed) = value.get_ref().as_str() {
        return Some(TypedSource {
            rule: named(typed, value.span()),
            value: None,
            decimals: DECIMALS,
        });
    }
    let expected = "a table such as { rule = \"minute\", value = \"mean\" }";
    let mut section = Section::of_value("`from`", value, &[], expected, findings)?;
    let name = |value: Option<&Value<'_>>, of: &str, example, findings: &mut Findings| {
        let value = value?;
        let typed = text(of, value, example, findings)?;
        Some(named(typed, value.span()))
    };
    let rule = section.need("rule", "rule = \"minute\"");
    let rule = name(rule, "`rule`", "the name of a rule", findings);
    let picked = section.get("value");
    let value = name(picked, "`value`", "a text such as \"mean\"", findings);
    let decimals = read_decimals(&mut section, findings);
    section.close(findings);
    if picked.is_some() && value.is_none() {
        return None;
    }
    Some(TypedSource {
        rule: rule?,
        value,
        decimals: decimals?,
    })
}

/// Reads `decimals`.
pub(super) fn read_decimals(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<u8> {
    let Some(value) = section.get("decimals") else {
        return Some(DECIMALS);
    };
    let decimals = whole("`decimals`", value, 0..=DECIMALS_MOST, findings)?;
    Some(decimals as u8)
}

/// Reads `match`, which rules over records may leave out: what they come from says enough.
pub(super) fn read_match(
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<TypedMatch> {
    let value = if section.holds("from") {
        let Some(value) = section.get("match") else {
            return Some(TypedMatch::default());
        };
        value
    } else {
        section.need("match", "match = { device = \"*\", sensor = \"*\" }")?
    };
    if let Some(typed) = value.get_ref().as_str() {
        findings
            .mistake(
                Kind::WrongType,
                value.span(),
                "`match` is a text",
                "expected a table of globs",
            )
            .help(format!("write match = {{ sensor = \"{}\" }}", short(typed)));
        return None;
    }
    let expected = "a table such as { device = \"pump-*\", sensor = \"temperature\" }";
    let mut section = Section::of_value("`match`", value, &[], expected, findings)?;
    let mut globs = |key, over| read_globs(key, over, &mut section, findings);
    let site = globs("site", Over::Names);
    let device = globs("device", Over::Names);
    let sensor = globs("sensor", Over::Names);
    let unit = globs("unit", Over::Units);
    let kind = globs("kind", Over::Kinds);
    let tags = globs("tags", Over::Tags);
    section.close(findings);
    Some(TypedMatch {
        site: site?,
        device: device?,
        sensor: sensor?,
        unit: unit?,
        kind: kind?,
        tags: tags?,
    })
}

/// What globs are matched against.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Over {
    Names,
    Units,
    Kinds,
    Tags,
}

/// Reads a glob or a list of them.
fn read_globs(
    key: &'static str,
    over: Over,
    section: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<Vec<Named>> {
    let Some(value) = section.get(key) else {
        return Some(Vec::new());
    };
    let DeValue::Array(values) = value.get_ref() else {
        return Some(vec![read_glob(key, over, value, findings)?]);
    };
    if values.is_empty() || values.len() > GLOBS_MAX {
        findings
            .mistake(
                Kind::OutOfRange,
                value.span(),
                format!("`{key}` has {} globs", values.len()),
                format!("expected 1 to {GLOBS_MAX} globs"),
            )
            .help_maybe(
                values
                    .is_empty()
                    .then(|| format!("leave `{key}` out to match every one")),
            );
        return None;
    }
    let globs: Vec<_> = values
        .iter()
        .map(|value| read_glob(key, over, value, findings))
        .collect();
    globs.into_iter().collect()
}

fn read_glob(key: &str, over: Over, value: &Value<'_>, findings: &mut Findings) -> Option<Named> {
    let name = format!("`{key}`");
    let example = match over {
        Over::Names => "a glob such as \"pump-*\", or a list of them",
        Over::Units => "a unit such as \"bar\", or a list of them",
        Over::Kinds => "\"gauge\", \"counter\", \"state\" or \"bool\"",
        Over::Tags => "a tag such as \"line=2\", or a list of them",
    };
    let typed = text(&name, value, example, findings)?;
    if over == Over::Kinds && !KINDS.iter().any(|kind| matches(typed, kind)) {
        findings
            .mistake(
                Kind::UnknownName,
                value.span(),
                format!("`kind` cannot be \"{}\"", short(typed)),
                format!("expected {example}"),
            )
            .help_maybe(nearest(typed, KINDS).map(|kind| format!("did you mean \"{kind}\"?")));
        return None;
    }
    let fits = typed.len() <= GLOB_BYTES_MAX
        && match over {
            Over::Names | Over::Kinds => {
                !typed.is_empty()
                    && typed
                        .bytes()
                        .all(|byte| is_name_byte(byte) || byte == b'*' || byte == b'?')
            }
            Over::Units => !typed.contains(char::is_control),
            Over::Tags => !typed.is_empty() && !typed.contains(char::is_control),
        };
    if !fits {
        let expected = match over {
            Over::Names | Over::Kinds => format!(
                "expected 1 to {GLOB_BYTES_MAX} of A-Z a-z 0-9 . _ - with * for any run of signs and ? for one"
            ),
            Over::Units => format!("expected at most {GLOB_BYTES_MAX} bytes of text"),
            Over::Tags => format!("expected 1 to {GLOB_BYTES_MAX} bytes of text"),
        };
        let what = match over {
            Over::Names | Over::Kinds => "name",
            Over::Units => "unit",
            Over::Tags => "tag",
        };
        malformed(
            value.span(),
            format!("{name} can match no {what}"),
            &expected,
            findings,
        );
    }
    fits.then(|| named(typed, value.span()))
}

/// Reads `with`: other sensors by the names that expressions have for them.
pub(super) fn read_inputs(value: &Value<'_>, findings: &mut Findings) -> Vec<Spanned<Input>> {
    let expected = "a table such as { q = \"flow\" }";
    let Some(section) = Section::of_value("`with`", value, &[], expected, findings) else {
        return Vec::new();
    };
    let count = section.entries().count();
    if count == 0 || count > INPUTS_MAX {
        findings
            .mistake(
                Kind::OutOfRange,
                value.span(),
                format!("`with` names {count} sensors"),
                format!("expected 1 to {INPUTS_MAX} of them"),
            )
            .help_maybe((count == 0).then(|| "leave `with` out".to_owned()));
    }
    section
        .entries()
        .take(INPUTS_MAX)
        .filter_map(|(alias, span, value)| {
            let known = check_alias(alias, &span, findings);
            let (device, sensor) = read_input(alias, value, findings)?;
            let input = Input {
                alias: known.then(|| alias.to_owned())?,
                device,
                sensor,
            };
            Some(Spanned::new(span, input))
        })
        .collect()
}

fn check_alias(alias: &str, span: &std::ops::Range<usize>, findings: &mut Findings) -> bool {
    if !is_word(alias) {
        malformed(
            span.clone(),
            format!("\"{}\" cannot be a name in expressions", short(alias)),
            "expected 1 to 32 of a-z 0-9 _, not beginning with a digit",
            findings,
        );
        return false;
    }
    let free = alias != "value" && usable_as_name(alias);
    if !free {
        findings
            .mistake(
                Kind::Conflict,
                span.clone(),
                format!("`{alias}` already means something in expressions"),
                "expected another name",
            )
            .help(format!("call it other_{alias}"));
    }
    free
}

/// A sensor's name, or a table with it and a device's.
fn read_input(
    alias: &str,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<(Option<String>, String)> {
    let sensor_of = |value: &Value<'_>, findings: &mut Findings| {
        name_of::<SensorName>(&format!("`{}`", short(alias)), "sensor", value, findings)
    };
    if value.get_ref().as_str().is_some() {
        return Some((None, sensor_of(value, findings)?));
    }
    let title = format!("`{}` in `with`", short(alias));
    let expected = "a sensor's name or { device = \"tank-2\", sensor = \"temperature\" }";
    let mut section = Section::of_value(title, value, &[], expected, findings)?;
    let device = section
        .get("device")
        .map(|value| name_of::<DeviceName>("`device`", "device", value, findings));
    let sensor = section
        .need("sensor", "sensor = \"temperature\"")
        .and_then(|value| sensor_of(value, findings));
    section.close(findings);
    let device = match device {
        Some(device) => Some(device?),
        None => None,
    };
    Some((device, sensor?))
}

/// Reads the name of one sensor or device: no glob.
fn name_of<N>(key: &str, of: &str, value: &Value<'_>, findings: &mut Findings) -> Option<String>
where
    N: for<'a> TryFrom<&'a str>,
    for<'a> <N as TryFrom<&'a str>>::Error: Display,
{
    let typed = text(key, value, &format!("the name of a {of}"), findings)?;
    match N::try_from(typed) {
        Ok(_) => Some(typed.to_owned()),
        Err(why) => {
            let glob = typed.contains(['*', '?']);
            findings
                .mistake(
                    Kind::Malformed,
                    value.span(),
                    format!("{key} is not a {of}'s name: {why}"),
                    format!("expected the name of one {of}"),
                )
                .help_maybe(glob.then(|| format!("globs cannot stand here: name one {of}")));
            None
        }
    }
}

/// Reads `max_age`, in µs.
pub(super) fn read_max_age(section: &mut Section<'_, '_>, findings: &mut Findings) -> Option<i64> {
    let value = section.get("max_age")?;
    time("`max_age`", value, findings)
}
