//! Schema: what a configuration may say, as a JSON Schema (draft 7) for editors.
//!
//! Editors complete keys, show what they mean and underline what cannot be; whether a
//! configuration is right is for [`parse()`](super::parse()) alone to say. So the schema refuses
//! unknown keys, other types and texts of another form, and leaves out how parts go together.
//!
//! Each table has as its `title` what the reader calls it: a test goes through both and finds
//! keys that only one of them knows.

mod budget;
mod gateway;
mod http;
mod rule;
mod security;
mod sink;
mod tls;
mod witness;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::quantity::{show_duration, show_size};
use super::typed::{NAME_BYTES_MAX, RULES_MAX, SINKS_MAX, WITNESSES_MAX};

/// A duration: see [`duration_us`](super::duration_us).
const DURATION: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)\s*$";
/// A size: see [`size_bytes`](super::size_bytes).
const SIZE: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$";

/// The schema of `tidegate.toml`.
pub fn schema() -> Value {
    let mut schema = table(
        "the configuration",
        "Tidegate's configuration; `tidegate check` says whether it is right",
        &["gateway", "mqtt"],
        vec![
            ("gateway", gateway::gateway()),
            ("mqtt", gateway::mqtt()),
            ("log", gateway::log()),
            ("limits", gateway::limits()),
            ("clock", gateway::clock()),
            ("budget", budget::budget()),
            ("http", http::http()),
            ("security", security::security()),
            (
                "witness",
                json!({
                    "description": "Who cosigns the audit log: [witness.NAME], see docs/audit.md",
                    "type": "object",
                    "maxProperties": WITNESSES_MAX,
                    "propertyNames": name(),
                    "additionalProperties": witness::witness(),
                }),
            ),
            (
                "sink",
                json!({
                    "description": "Where records go: [sink.NAME], as many as wanted",
                    "type": "object",
                    "maxProperties": SINKS_MAX,
                    "propertyNames": name(),
                    "additionalProperties": sink::sink(),
                }),
            ),
            (
                "rule",
                json!({
                    "description": "What to do with which samples: [[rule]], as many as wanted",
                    "type": "array",
                    "maxItems": RULES_MAX,
                    "items": rule::rule(),
                }),
            ),
        ],
    );
    if let Some(schema) = schema.as_object_mut() {
        let draft = "http://json-schema.org/draft-07/schema#";
        schema.insert("$schema".to_owned(), json!(draft));
    }
    schema
}

/// A table: what the reader calls it, what it is for, the keys that must be there, and all keys.
fn table(title: &str, about: &str, needed: &[&str], keys: Vec<(&str, Value)>) -> Value {
    let keys: Map<String, Value> = keys
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let mut table = json!({
        "title": title,
        "description": about,
        "type": "object",
        "additionalProperties": false,
        "properties": keys,
    });
    if let Some(table) = table.as_object_mut().filter(|_| !needed.is_empty()) {
        table.insert("required".to_owned(), json!(needed));
    }
    table
}

/// A value with what it is for.
fn about(about: &str, mut value: Value) -> Value {
    if let Some(value) = value.as_object_mut() {
        value.insert("description".to_owned(), json!(about));
    }
    value
}

/// A value that is something when it is not given.
fn by_default(default: impl Into<Value>, mut value: Value) -> Value {
    if let Some(value) = value.as_object_mut() {
        value.insert("default".to_owned(), default.into());
    }
    value
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn path() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn one_of_names(names: &[&str]) -> Value {
    json!({ "enum": names })
}

/// The name of a sink or a rule.
fn name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "maxLength": NAME_BYTES_MAX,
    })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": DURATION })
}

fn duration_by_default(default_us: i64) -> Value {
    by_default(show_duration(default_us), duration())
}

fn size() -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": SIZE }] })
}

fn size_by_default(default: u64) -> Value {
    by_default(show_size(default), size())
}

fn whole(min: u64, max: u64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

fn number() -> Value {
    json!({ "type": "number" })
}

fn above_zero() -> Value {
    json!({ "type": "number", "exclusiveMinimum": 0 })
}

/// One value, or a list of some.
fn one_or_list(value: &Value, most: usize) -> Value {
    json!({ "anyOf": [value, { "type": "array", "minItems": 1, "maxItems": most, "items": value }] })
}
