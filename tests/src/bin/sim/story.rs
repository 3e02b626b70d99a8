//! Story: what happened in a run, for whoever has to understand a failure, and what it covered.

use std::collections::BTreeMap;

/// Lines of a story that are kept: the newest.
const LINES_MAX: usize = 400;

/// Counts over one run or many.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Faults injected, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What else happened, by kind.
    pub happened: BTreeMap<&'static str, u64>,
    /// Invariants checked, by name.
    pub checks: BTreeMap<&'static str, u64>,
    /// Virtual time in µs.
    pub virtual_us: u64,
    /// Samples taken.
    pub samples: u64,
    /// Entries logged.
    pub entries: u64,
    /// Records given to sinks.
    pub records: u64,
}

impl Coverage {
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &other.happened {
            *self.happened.entry(name).or_default() += count;
        }
        for (name, count) in &other.checks {
            *self.checks.entry(name).or_default() += count;
        }
        self.virtual_us += other.virtual_us;
        self.samples += other.samples;
        self.entries += other.entries;
        self.records += other.records;
    }
}

/// A run's story.
#[derive(Debug, Default)]
pub struct Story {
    pub now_us: u64,
    lines: Vec<String>,
    pub coverage: Coverage,
    /// The first broken promise.
    pub broken: Option<String>,
}

impl Story {
    /// Something worth telling.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() >= LINES_MAX {
            self.lines.drain(..LINES_MAX / 2);
        }
        let seconds = self.now_us as f64 / 1e6;
        self.lines.push(format!("{seconds:12.3} s  {}", line()));
    }

    /// A fault was injected.
    pub fn fault(&mut self, kind: &'static str, what: impl FnOnce() -> String) {
        *self.coverage.faults.entry(kind).or_default() += 1;
        self.tell(|| format!("{kind}: {}", what()));
    }

    /// Something that is no fault happened.
    pub fn happen(&mut self, kind: &'static str) {
        *self.coverage.happened.entry(kind).or_default() += 1;
    }

    /// Checks an invariant; the first that does not hold ends the run.
    pub fn check(&mut self, name: &'static str, holds: bool, why: impl FnOnce() -> String) {
        *self.coverage.checks.entry(name).or_default() += 1;
        if !holds && self.broken.is_none() {
            let why = format!("{name}: {}", why());
            self.tell(|| format!("BROKEN {why}"));
            self.broken = Some(why);
        }
    }

    /// The newest lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
