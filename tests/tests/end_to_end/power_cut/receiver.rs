//! Receivers: what stands upstream. They remember all they were ever given.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_gateway::record::RecordId;
use tidegate_gateway::sinks::Waiting;

/// Length of `{"id":"…",`, with which every line begins.
const ID_BYTES: usize = 41;

/// A sink's far end.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Every record by id: its line, and where it stood.
    pub records: BTreeMap<RecordId, (String, Waiting)>,
    /// Records given, those given again included.
    pub given: u64,
}

impl Receiver {
    /// Takes a record; the same id never has other content.
    pub fn take(&mut self, line: &str, waiting: &Waiting) {
        self.given += 1;
        let id = waiting.record.id;
        let kept = self
            .records
            .entry(id)
            .or_insert_with(|| (line.to_owned(), waiting.clone()));
        assert_eq!(kept.0, line, "record {id} came with other content");
        assert_eq!(kept.1.place, waiting.place, "record {id} moved in the log");
    }

    /// Every record's line without its id, sorted.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.records.values();
        let mut lines: Vec<String> = lines.map(|(line, _)| line[ID_BYTES..].to_owned()).collect();
        lines.sort_unstable();
        lines
    }

    /// Ids of the records that stand for windows.
    pub fn windows(&self) -> BTreeSet<RecordId> {
        let records = self.records.iter();
        let windows = records.filter(|(_, (_, one))| one.record.start_us < one.record.end_us);
        windows.map(|(id, _)| *id).collect()
    }

    /// Fresh samples by rule, device and sensor, each record counted once.
    pub fn fresh(&self) -> BTreeMap<(String, String, String), u64> {
        let mut fresh = BTreeMap::new();
        for (_, waiting) in self.records.values() {
            let record = &waiting.record;
            let key = (
                record.rule.clone(),
                record.device.clone(),
                record.sensor.clone(),
            );
            *fresh.entry(key).or_default() += record.fresh;
        }
        fresh
    }
}
