//! What Prometheus and what imitates it answer to queries in PromQL.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::request::Client;

/// A series: labels (its name among them, as `__name__`) and values at times.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// Times in ms since 1970, with values, oldest first.
    pub points: Vec<(i64, f64)>,
}

impl Series {
    /// The value of a label; empty if there is none, as PromQL has it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

#[derive(Deserialize)]
struct Item {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// What an expression gives at a moment in ms; `None` means now. A plain number is a series
/// without labels.
pub(super) fn instant(client: &Client, expression: &str, at_ms: Option<i64>) -> Vec<Series> {
    let time = at_ms.map(seconds);
    let mut query = vec![("query", expression)];
    query.extend(time.as_deref().map(|time| ("time", time)));
    ask(client, "/api/v1/query", &query)
}

/// What an expression gives from a moment to another, both inclusive, every `step_ms`.
pub(super) fn range(
    client: &Client,
    expression: &str,
    (from_ms, to_ms): (i64, i64),
    step_ms: i64,
) -> Vec<Series> {
    let (from, to, step) = (seconds(from_ms), seconds(to_ms), seconds(step_ms));
    let query = [
        ("query", expression),
        ("start", &from),
        ("end", &to),
        ("step", &step),
    ];
    ask(client, "/api/v1/query_range", &query)
}

fn ask(client: &Client, path: &str, query: &[(&str, &str)]) -> Vec<Series> {
    let what = query[0].1;
    let answer = client.get(path, query);
    let mut answer = answer
        .unwrap_or_else(|error| panic!("{what}: {error}"))
        .json(what);
    let result = answer["data"]["result"].take();
    if answer["data"]["resultType"] == "scalar" {
        let point: (f64, String) = read(what, result);
        return vec![Series {
            labels: BTreeMap::new(),
            points: vec![number(&point)],
        }];
    }
    let items: Vec<Item> = read(what, result);
    let series = items.into_iter().map(|item| Series {
        labels: item.metric,
        points: item.value.iter().chain(&item.values).map(number).collect(),
    });
    series.collect()
}

fn read<T: for<'de> Deserialize<'de>>(what: &str, result: Value) -> T {
    let text = result.to_string();
    serde_json::from_value(result).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
}

fn number((at, text): &(f64, String)) -> (i64, f64) {
    let value = text.parse();
    let value = value.unwrap_or_else(|_| panic!("a value that is no number: {text:?}"));
    ((at * 1000.0).round() as i64, value)
}

/// A time in s, from one in ms.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}
