//! Query: what stands behind the `?` of a request; what is not known there is refused by name.

use axum::http::{StatusCode, Uri};
use url::form_urlencoded;

use super::answer::{Answer, error};
use crate::plant::{DEVICES_MAX, Health, Selection};
use crate::rules::nearest;

/// Most bytes of a glob: names have 32.
const GLOB_BYTES_MAX: usize = 64;

/// The parameters of a query, each at most once.
#[derive(Debug)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads those that are `known`.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(refused(&unknown(&name, known)));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(refused(&format!("the parameter `{name}` is there twice")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// A parameter's text.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A whole number within bounds.
    pub(super) fn between(
        &self,
        name: &str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse::<usize>().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            refused(&format!(
                "`{name}` cannot be \"{}\": expected {least} to {most}",
                shown(text)
            ))
        })
    }
}

/// Names of [`selection`]'s parameters.
pub(super) const SELECTION: [&str; 4] = ["match", "health", "offset", "limit"];

/// Which devices are asked for.
pub(super) fn selection(uri: &Uri) -> Result<Selection, Refusal> {
    let query = Query::read(uri, &SELECTION)?;
    let glob = query.get("match").filter(|glob| !glob.is_empty());
    if glob.is_some_and(|glob| glob.len() > GLOB_BYTES_MAX) {
        return Err(refused(&format!(
            "`match` has more than {GLOB_BYTES_MAX} bytes, which no device's name can fit"
        )));
    }
    let health = query.get("health").filter(|health| !health.is_empty());
    let health = health.map(read_health).transpose()?;
    let default = Selection::default();
    Ok(Selection {
        glob: glob.map(str::to_owned),
        health,
        offset: query
            .between("offset", 0, u32::MAX as usize)?
            .unwrap_or(default.offset),
        limit: query
            .between("limit", 0, DEVICES_MAX)?
            .unwrap_or(default.limit),
    })
}

fn read_health(text: &str) -> Result<Health, Refusal> {
    let quoted = serde_json::Value::from(text);
    serde_json::from_value(quoted).map_err(|_| {
        refused(&format!(
            "`health` cannot be \"{}\": expected live, late, silent, suppressed, ended or unknown",
            shown(text)
        ))
    })
}

fn unknown(name: &str, known: &[&str]) -> String {
    let name_shown = shown(name);
    match (nearest(name, known.iter().copied()), known) {
        (Some(near), _) => format!("unknown parameter `{name_shown}`: did you mean `{near}`?"),
        (None, []) => format!("unknown parameter `{name_shown}`: none is taken here"),
        (None, _) => format!(
            "unknown parameter `{name_shown}`: those here are {}",
            known.join(", ")
        ),
    }
}

/// A text cut to what an error can carry.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    text.chars().take(SHOWN_CHARS).collect()
}

/// Why a request cannot be answered, in words for a person.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        error(StatusCode::BAD_REQUEST, &refusal.0)
    }
}

pub(super) fn refused(why: &str) -> Refusal {
    Refusal(why.to_owned())
}
