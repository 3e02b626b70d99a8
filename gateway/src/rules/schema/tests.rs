//! The schema beside the reader: the same keys, and no right configuration that it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use super::*;
use crate::rules::parse;
use crate::rules::tree::asked::{self, Asked};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every configuration of the repository, by file name.
fn configurations() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for place in ["src/rules/golden", "../examples"] {
        for entry in std::fs::read_dir(folder(place)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_toml = path.extension().is_some_and(|end| end == "toml");
            if is_toml && !name.ends_with(".test.toml") {
                texts.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

/// The text as JSON, if it is TOML.
fn as_json(text: &str) -> Option<Value> {
    let table: toml::Table = text.parse().ok()?;
    Some(serde_json::to_value(table).unwrap())
}

/// Why a value does not fit a schema; of the keywords that this schema uses.
fn misfit(schema: &Value, value: &Value, place: &str) -> Option<String> {
    let rules = schema.as_object().unwrap();
    rules.iter().find_map(|(keyword, wanted)| {
        let fits = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => is_of_type(wanted.as_str().unwrap(), value),
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "pattern" => value
                .as_str()
                .is_none_or(|text| Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text)),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() >= size_of(wanted)),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() <= size_of(wanted)),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= wanted.as_f64().unwrap()),
            "maximum" => value
                .as_f64()
                .is_none_or(|number| number <= wanted.as_f64().unwrap()),
            "exclusiveMinimum" => value
                .as_f64()
                .is_none_or(|number| number > wanted.as_f64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() >= size_of(wanted)),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() <= size_of(wanted)),
            "maxProperties" => value
                .as_object()
                .is_none_or(|keys| keys.len() <= size_of(wanted)),
            "required" => value.as_object().is_none_or(|keys| {
                wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|key| keys.contains_key(key.as_str().unwrap()))
            }),
            "anyOf" => {
                let schemas = wanted.as_array().unwrap();
                schemas
                    .iter()
                    .any(|schema| misfit(schema, value, place).is_none())
            }
            "items" => {
                return value.as_array().and_then(|items| {
                    let mut places = items.iter().enumerate();
                    places.find_map(|(at, item)| misfit(wanted, item, &format!("{place}[{at}]")))
                });
            }
            "propertyNames" => {
                return value.as_object().and_then(|keys| {
                    keys.keys()
                        .find_map(|key| misfit(wanted, &json!(key), &format!("{place}.{key}")))
                });
            }
            "properties" => {
                return value.as_object().and_then(|keys| {
                    keys.iter().find_map(|(key, value)| {
                        misfit(wanted.get(key)?, value, &format!("{place}.{key}"))
                    })
                });
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                let mut others = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(key, _)| !known.is_some_and(|known| known.contains_key(*key)));
                return others.find_map(|(key, value)| {
                    let place = format!("{place}.{key}");
                    if *wanted == json!(false) {
                        return Some(format!("{place}: no such key"));
                    }
                    misfit(wanted, value, &place)
                });
            }
            other => panic!("the schema has the keyword {other}, which this test does not check"),
        };
        (!fits).then(|| format!("{place}: {value} is not {keyword} {wanted}"))
    })
}

fn size_of(wanted: &Value) -> usize {
    usize::try_from(wanted.as_u64().unwrap()).unwrap()
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("no JSON has the type {other}"),
    }
}

/// The keys of every table of the schema, by the table's title.
fn keys_of(schema: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match schema {
        Value::Object(rules) => {
            if let (Some(Value::String(title)), Some(Value::Object(keys))) =
                (rules.get("title"), rules.get("properties"))
            {
                let all = found.entry(title.clone()).or_default();
                all.extend(keys.keys().cloned());
            }
            rules.values().for_each(|inner| keys_of(inner, found));
        }
        Value::Array(inner) => inner.iter().for_each(|inner| keys_of(inner, found)),
        _ => {}
    }
}

#[test]
fn the_schema_knows_the_keys_that_the_reader_asks_for() {
    asked::take();
    for (name, text) in configurations() {
        let _ = parse(&text, &name);
    }
    let asked: Asked = asked::take();
    let asked: BTreeMap<String, BTreeSet<String>> = asked
        .into_iter()
        .map(|(title, keys)| (title, keys.into_iter().map(str::to_owned).collect()))
        .collect();
    let mut known = BTreeMap::new();
    keys_of(&schema(), &mut known);
    assert_eq!(known, asked);
    assert!(known.values().map(BTreeSet::len).sum::<usize>() > 80);
}

#[test]
fn right_configurations_fit_the_schema() {
    let schema = schema();
    let mut right = 0;
    for (name, text) in configurations() {
        if parse(&text, &name).is_err() {
            continue;
        }
        right += 1;
        let value = as_json(&text).unwrap();
        assert_eq!(misfit(&schema, &value, "$"), None, "{name}");
    }
    assert!(right >= 8, "{right} right configurations");
}

#[test]
fn slips_do_not_fit_the_schema() {
    let schema = schema();
    for name in [
        "aggregates.toml",
        "elsewhere.toml",
        "globs.toml",
        "not-in-this-version.toml",
        "sinks.toml",
        "thinning.toml",
        "unknown-names.toml",
        "wrong-types.toml",
    ] {
        let text = configurations().remove(name).unwrap();
        let value = as_json(&text).unwrap();
        assert!(misfit(&schema, &value, "$").is_some(), "{name}");
    }
}

#[test]
fn durations_and_sizes_of_the_schema_are_those_that_are_read() {
    let (duration, size) = (Regex::new(DURATION).unwrap(), Regex::new(SIZE).unwrap());
    for typed in [
        "1s", "1.5 h", " 30m ", "0.5ms", "1d", "1", "s", "1 sec", "-1s", "1..5s", "1.s",
    ] {
        let read = crate::rules::duration_us(typed).is_ok();
        assert_eq!(duration.is_match(typed), read, "{typed}");
    }
    for typed in [
        "16 MiB", "1kB", "1.5KiB", "2 GB", "12", "1 mb", "MiB", "-1 B",
    ] {
        let read = crate::rules::size_bytes(typed).is_ok();
        assert_eq!(size.is_match(typed), read, "{typed}");
    }
}

#[test]
fn the_schema_beside_the_examples_is_this_one() {
    let path = folder("../examples/tidegate.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(
        stored == text,
        "examples/tidegate.schema.json is another: `tidegate schema > examples/tidegate.schema.json`"
    );
}
