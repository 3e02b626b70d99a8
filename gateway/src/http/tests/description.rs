//! The description in `openapi.json` against what is really answered, both ways.

use std::collections::BTreeSet;

use serde_json::{Map, json};

use super::*;
use crate::http::routes::PATHS;

fn description() -> Value {
    serde_json::from_str(include_str!("../openapi.json")).unwrap()
}

/// Follows a `$ref` within the document.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(place) => document
            .pointer(place.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{place} is nowhere")),
        None => schema,
    }
}

/// Holds values against schemas, and remembers which properties it saw with a value.
struct Holding<'d> {
    document: &'d Value,
    seen: BTreeSet<String>,
}

impl Holding<'_> {
    /// Why a value is not what a schema says. Properties that it does not name are a fault, too.
    fn misfit(&mut self, schema: &Value, value: &Value, place: &str) -> Option<String> {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap().to_owned();
            let target = resolved(self.document, schema).clone();
            return self.misfit(&target, value, &name);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let misfits: Vec<String> = choices
                .iter()
                .map_while(|choice| self.misfit(choice, value, place))
                .collect();
            let none = misfits.len() == choices.len();
            return none.then(|| misfits.join("; or "));
        }
        if let Some(fault) = wrong_type(schema, value) {
            return Some(format!("{place}: {fault}"));
        }
        match value {
            Value::Object(fields) => self.misfit_of_fields(schema, fields, place),
            Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| {
                let of_place = schema["prefixItems"].get(at).unwrap_or(&schema["items"]);
                assert!(of_place.is_object(), "{place} says nothing of its items");
                self.misfit(of_place, item, place)
            }),
            _ => None,
        }
    }

    fn misfit_of_fields(
        &mut self,
        schema: &Value,
        fields: &Map<String, Value>,
        place: &str,
    ) -> Option<String> {
        let needed = schema["required"].as_array().cloned().unwrap_or_default();
        let lacking = needed
            .iter()
            .find(|key| !fields.contains_key(key.as_str().unwrap()));
        if let Some(key) = lacking {
            return Some(format!("{place} has no {key}"));
        }
        fields.iter().find_map(|(key, value)| {
            let inner = format!("{place}.{key}");
            if let Some(known) = schema["properties"].get(key) {
                if !value.is_null() {
                    self.seen.insert(inner.clone());
                }
                return self.misfit(known, value, &inner);
            }
            match &schema["additionalProperties"] {
                Value::Bool(true) => None,
                Value::Object(_) => self.misfit(
                    &schema["additionalProperties"],
                    value,
                    &format!("{place}.*"),
                ),
                _ => Some(format!("{inner} is not described")),
            }
        })
    }
}

fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    if let Some(names) = schema["enum"].as_array()
        && !names.contains(value)
    {
        return Some(format!("{value} is none of {names:?}"));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => return Some("its type is not described".to_owned()),
        one => vec![one.clone()],
    };
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    let fits = types.iter().any(|name| is(name.as_str().unwrap()));
    (!fits).then(|| format!("{value} is not of {types:?}"))
}

/// Every property of a schema, as [`Holding`] names them.
fn properties(schema: &Value, place: &str, all: &mut BTreeSet<String>) {
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        properties(choice, place, all);
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let inner_place = format!("{place}.{key}");
        all.insert(inner_place.clone());
        properties(inner, &inner_place, all);
    }
    if schema["items"].is_object() {
        properties(&schema["items"], place, all);
    }
    if schema["additionalProperties"].is_object() {
        let inner = &schema["additionalProperties"];
        properties(inner, &format!("{place}.*"), all);
    }
}

/// What a path answers with a status and a type, as its schema.
fn schema<'d>(document: &'d Value, path: &str, status: u16, kind: &str) -> &'d Value {
    let operation = &document["paths"][path]["get"];
    let answer = &operation["responses"][status.to_string()];
    let answer = resolved(document, answer);
    let content = answer["content"].as_object();
    let content = content.unwrap_or_else(|| panic!("{path} does not describe {status}"));
    let kind = kind.split(';').next().unwrap();
    let described = content.get(kind);
    &described.unwrap_or_else(|| panic!("{path} {status} is no {kind}"))["schema"]
}

/// Places where a property cannot be in the plant made up for tests: bodies of streams, which
/// their own tests hold.
fn is_of_streams(property: &str) -> bool {
    property.starts_with("Full.") || property.starts_with("Change.")
}

#[tokio::test]
async fn what_is_described_is_what_is_answered() {
    let document = description();
    let mut holding = Holding {
        document: &document,
        seen: BTreeSet::new(),
    };
    let served = serve_plain().await;
    let sensor = "/api/v1/devices/{device}/sensors/{sensor}";
    for path in PATHS {
        if path.ends_with("/events") || !document["paths"][path].is_object() {
            continue;
        }
        let asked = path
            .replace("{device}", "pump-1")
            .replace("{sensor}", "vibration.rms");
        let heard = served.get(&asked, "").await;
        let kind = heard.header("content-type").unwrap();
        let schema = schema(&document, path, heard.status, kind);
        let value = if kind.contains("json") && !path.ends_with("openapi.json") {
            heard.json()
        } else {
            continue;
        };
        assert_eq!(holding.misfit(schema, &value, path), None);
    }
    // Errors, each of them described where it comes.
    for (path, asked, status) in [
        ("/api/v1/devices", "/api/v1/devices?limit=x", 400),
        ("/api/v1/devices/{device}", "/api/v1/devices/none", 404),
        (sensor, "/api/v1/devices/none/sensors/none", 404),
        (
            "/api/v1/overview",
            &format!("/api/v1/overview?{}", "x".repeat(3_000)),
            414,
        ),
    ] {
        let heard = served.get(asked, "").await;
        assert_eq!(heard.status, status);
        let schema = schema(&document, path, status, "application/json");
        assert_eq!(holding.misfit(schema, &heard.json(), path), None);
    }
    let mut all = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        properties(schema, name, &mut all);
    }
    // What is flagged as another's choice is seen under its own name or not at all.
    let never: Vec<&String> = all
        .iter()
        .filter(|property| !holding.seen.contains(*property) && !is_of_streams(property))
        .collect();
    assert!(never.is_empty(), "described, but never answered: {never:?}");
}

#[tokio::test]
async fn events_are_as_described() {
    let document = description();
    let mut holding = Holding {
        document: &document,
        seen: BTreeSet::new(),
    };
    let whole = json!({
        "overview": overview(),
        "devices": { "total": 3, "offset": 0, "devices": devices() },
    });
    let schemas = &document["components"]["schemas"];
    assert_eq!(holding.misfit(&schemas["Full"], &whole, "Full"), None);
    let changed = json!({
        "overview": { "at": "now" },
        "devices": {
            "total": 2, "offset": 1, "whole": [devices()[0]], "gone": ["pump-2"],
            "changed": [{ "name": "pump-3", "heard": null }],
        },
    });
    assert_eq!(holding.misfit(&schemas["Change"], &changed, "Change"), None);
    let wrong = json!({ "devices": { "lost": [] } });
    assert!(
        holding
            .misfit(&schemas["Change"], &wrong, "Change")
            .is_some()
    );
}

#[test]
fn every_path_and_parameter_is_described_and_no_other() {
    let document = description();
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let served: BTreeSet<&str> = PATHS.into_iter().collect();
    assert_eq!(described, served);
    let names = |path: &str, place: &str| -> BTreeSet<String> {
        let operation = &document["paths"][path]["get"];
        let parameters = operation["parameters"].as_array().cloned();
        let parameters = parameters.unwrap_or_default();
        let parameters = parameters.iter().map(|one| resolved(&document, one));
        let of_place = parameters.filter(|one| one["in"] == place);
        of_place
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for path in described {
        let in_path: BTreeSet<String> = path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        assert_eq!(names(path, "path"), in_path, "{path}");
        let taken: &[&str] = match path {
            "/api/v1/devices" | "/api/v1/events" => &crate::http::query::SELECTION,
            _ if path.ends_with("/chart.svg") => &crate::http::chart::LOOK,
            _ => &[],
        };
        let taken: BTreeSet<String> = taken.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(path, "query"), taken, "{path}");
        for (status, answer) in document["paths"][path]["get"]["responses"]
            .as_object()
            .unwrap()
        {
            let answer = resolved(&document, answer);
            assert!(answer["description"].is_string(), "{path} {status}");
        }
    }
}
