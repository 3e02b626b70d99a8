//! Records as a receiver got them, and what must hold between them whatever happened.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::receiver::{Answer, Request};
use crate::utc;

/// A record, read from its JSON line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Record {
    /// Identity.
    pub id: String,
    /// Site.
    pub site: String,
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// Unit.
    pub unit: String,
    /// Rule.
    pub rule: String,
    /// The rule's version.
    pub version: u32,
    /// The device's epoch.
    pub epoch: u32,
    /// Window's start.
    pub start: String,
    /// Window's end.
    pub end: String,
    /// Revision.
    pub revision: u32,
    /// Samples it stands for.
    pub samples: u64,
    /// Of those, counted for the first time.
    pub fresh: u64,
    /// How well the times are known.
    pub clock: String,
    /// Whether part of the samples was lost with a damaged store.
    #[serde(default)]
    pub partial: bool,
    /// Values by name.
    pub values: BTreeMap<String, f64>,
}

/// A record with the request that brought it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The record.
    pub record: Record,
    /// Its line, byte for byte.
    pub line: String,
    /// Number of the request, from 0.
    pub request: usize,
    /// Whether the request was answered with 200.
    pub taken: bool,
}

/// What a window is known by: device, sensor, rule, version, start, epoch.
pub type Window = (String, String, String, u32, String, u32);

impl Record {
    /// Which window it tells of.
    pub fn window(&self) -> Window {
        (
            self.device.clone(),
            self.sensor.clone(),
            self.rule.clone(),
            self.version,
            self.start.clone(),
            self.epoch,
        )
    }

    /// Start of its window in seconds since 1970-01-01.
    pub fn start_s(&self) -> i64 {
        utc::seconds(&self.start).unwrap_or_else(|| panic!("start {:?} is no time", self.start))
    }

    /// Its content without its id, which differs from one data directory to the next.
    #[must_use]
    pub fn content(&self) -> Self {
        Self {
            id: String::new(),
            ..self.clone()
        }
    }
}

/// Reads the records of requests, in order; a line that is no record fails the test.
pub fn read(requests: &[Request]) -> Vec<Received> {
    let mut received = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        let text = std::str::from_utf8(&request.body).expect("NDJSON is UTF-8");
        assert!(text.ends_with('\n'), "request {number} ends inside a line");
        for line in text.lines() {
            received.push(Received {
                record: serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("not a record: {error}: {line}")),
                line: line.to_owned(),
                request: number,
                taken: request.answer == Answer::Taken,
            });
        }
    }
    received
}

/// Faults of identity over everything received, refused or taken: an id with two contents, or a
/// window's revision with two ids.
pub fn identity_faults(received: &[Received]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut contents: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ids: BTreeMap<(Window, u32), &str> = BTreeMap::new();
    for one in received {
        let record = &one.record;
        let content = *contents.entry(&record.id).or_insert(&one.line);
        if content != one.line {
            faults.push(format!("one id, two contents: {content} and {}", one.line));
        }
        let key = (record.window(), record.revision);
        let id = *ids.entry(key).or_insert(&record.id);
        if id != record.id {
            faults.push(format!(
                "one window and revision, ids {id} and {}: {}",
                record.id, one.line
            ));
        }
    }
    faults
}

/// Records taken more than once: allowed where a gateway was killed, a fault elsewhere.
pub fn repeats(received: &[Received]) -> Vec<String> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for one in received.iter().filter(|one| one.taken) {
        *seen.entry(&one.record.id).or_default() += 1;
    }
    seen.into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(id, times)| format!("record {id} was taken {times} times"))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn line(id: &str, start: &str, revision: u32, fresh: u64, values: &str) -> String {
        format!(
            r#"{{"id":"{id}","site":"s","device":"d","sensor":"x","unit":"","rule":"minute","version":1,"epoch":0,"start":"{start}","end":"-","revision":{revision},"samples":5,"fresh":{fresh},"clock":"device","values":{values}}}"#
        )
    }

    pub(crate) fn received(lines: &[(String, bool)]) -> Vec<Received> {
        let requests: Vec<Request> = lines
            .iter()
            .map(|(line, taken)| Request {
                at: std::time::Duration::ZERO,
                raw: crate::http::Raw::default(),
                body: format!("{line}\n").into_bytes(),
                answer: if *taken {
                    Answer::Taken
                } else {
                    Answer::Refused
                },
            })
            .collect();
        read(&requests)
    }

    const START: &str = "1970-01-01T00:01:00Z";

    #[test]
    fn resent_records_are_no_fault_of_identity() {
        let one = line("a", START, 0, 5, r#"{"count":5}"#);
        let all = received(&[(one.clone(), false), (one.clone(), true), (one, true)]);
        assert!(identity_faults(&all).is_empty());
        assert_eq!(repeats(&all).len(), 1);
        assert!(repeats(&all[..2]).is_empty());
    }

    #[test]
    fn an_id_has_one_content_and_a_revision_one_id() {
        let one = line("a", START, 0, 5, r#"{"count":5}"#);
        let changed = line("a", START, 0, 5, r#"{"count":6}"#);
        let renamed = line("b", START, 0, 5, r#"{"count":5}"#);
        let revised = line("b", START, 1, 0, r#"{"count":5}"#);
        let faults = |other: String| {
            identity_faults(&received(&[(one.clone(), true), (other, false)])).len()
        };
        assert_eq!(faults(changed), 1);
        assert_eq!(faults(renamed), 1);
        assert_eq!(faults(revised), 0);
    }
}
