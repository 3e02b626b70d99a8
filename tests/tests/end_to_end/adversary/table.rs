//! The table: what was attempted, and what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::report::say;
use tidegate_tests::rig::Rig;
use tidegate_tests::wall::poll_for;

use super::expected;

/// Longest time until the ledger has counted what was sent.
const COUNTED: Duration = Duration::from_secs(15);

/// Attempts with their outcomes, in order; told when it goes, so that also a failed test tells it.
#[derive(Debug)]
pub struct Table {
    title: &'static str,
    rows: Vec<(&'static str, String)>,
}

impl Table {
    /// An empty one.
    pub fn new(title: &'static str) -> Self {
        let rows = Vec::new();
        Self { title, rows }
    }

    /// Notes one.
    pub fn note(&mut self, attempt: &'static str, outcome: impl Into<String>) {
        self.rows.push((attempt, outcome.into()));
    }

    /// Fails where it is not what is expected.
    pub fn check(&self, expected: &[(&str, &str)]) {
        let rows = self.rows.iter();
        let found: Vec<(&str, &str)> = rows.map(|(one, other)| (*one, other.as_str())).collect();
        let differs = found.iter().zip(expected).find(|(one, other)| one != other);
        assert_eq!(differs, None, "found and expected");
        assert_eq!(found.len(), expected.len(), "as many attempts as expected");
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut text = format!("{}\n| attempt | outcome |\n|---|---|", self.title);
        for (attempt, outcome) in &self.rows {
            let _ = write!(text, "\n| {attempt} | {outcome} |");
        }
        say(&text);
    }
}

/// What a reason code means, of CONNACK, PUBACK or SUBACK; none where the connection is closed.
pub fn refusal(code: Option<u8>) -> String {
    match code {
        Some(0 | 1) => expected::LET.into(),
        Some(0x85) => expected::CLIENT_ID.into(),
        Some(0x86) => expected::LOGIN.into(),
        Some(0x87) => expected::RIGHTS.into(),
        Some(code) => format!("refused by the broker ({code:#04x})"),
        None => expected::ENDED.into(),
    }
}

/// Whether a connection was closed, in words.
pub fn closed(is_closed: bool) -> String {
    if is_closed {
        refusal(None)
    } else {
        "still connected".into()
    }
}

/// Counts of what was not logged, by reason.
pub type Counts = BTreeMap<String, u64>;

/// Watches what the gateway counts instead of logging it.
pub struct Watch<'r> {
    rig: &'r Rig,
    /// Whose counts are left out.
    except: &'static [&'static str],
    /// Reasons that are left out.
    beside: &'static [&'static str],
    seen: Counts,
}

impl<'r> Watch<'r> {
    /// Begins with what is counted by now.
    pub fn new(rig: &'r Rig, except: &'static [&'static str]) -> Self {
        Self {
            rig,
            except,
            beside: &[],
            seen: counts(&rig.ledger(), except),
        }
    }

    /// Leaves reasons out from now on: those of what devices do beside the attempts.
    pub fn leave_out(&mut self, reasons: &'static [&'static str]) {
        self.beside = reasons;
    }

    /// What was counted since the last look, once it is as many as were sent.
    pub fn risen(&mut self, sent: u64) -> Counts {
        self.risen_by(sent, |_| true)
    }

    /// As [`Self::risen`], once what was counted for these reasons is as many.
    pub fn risen_by(&mut self, sent: u64, is_own: impl Fn(&str) -> bool) -> Counts {
        let mut risen = Counts::new();
        poll_for(COUNTED, || {
            let now = counts(&self.rig.ledger(), self.except);
            risen = now
                .iter()
                .map(|(reason, count)| {
                    let before = self.seen.get(reason).copied().unwrap_or(0);
                    (reason.clone(), count - before)
                })
                .filter(|(reason, count)| *count > 0 && !self.beside.contains(&reason.as_str()))
                .collect();
            let own = risen.iter().filter(|(reason, _)| is_own(reason));
            let is_done = own.map(|(_, count)| count).sum::<u64>() >= sent;
            if is_done {
                self.seen = now;
            }
            is_done.then_some(())
        });
        risen
    }

    /// Leaves out what was counted until now.
    pub fn pass(&mut self) {
        self.seen = counts(&self.rig.ledger(), self.except);
    }

    /// As [`Self::risen`], in words: each reason with how often.
    pub fn told(&mut self, sent: u64) -> String {
        let risen = self.risen(sent);
        if risen.is_empty() {
            return "taken".into();
        }
        let words = risen.iter().map(|(reason, count)| match count {
            1 => reason.clone(),
            _ => format!("{reason} {count}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// As [`Self::risen`], reasons alone.
    pub fn reasons(&mut self, sent: u64) -> String {
        let risen = self.risen(sent);
        risen.into_keys().collect::<Vec<_>>().join(", ")
    }
}

fn counts(ledger: &Value, except: &[&str]) -> Counts {
    let devices = ledger["devices"].as_object().into_iter().flatten();
    let devices = devices.filter(|(name, _)| !except.contains(&name.as_str()));
    let sections = devices
        .map(|(_, device)| device)
        .chain([&ledger["gateway"]]);
    let mut counts = Counts::new();
    for section in sections {
        let reasons = section["uncounted"].as_object().into_iter().flatten();
        for (reason, count) in reasons {
            *counts.entry(reason.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    counts
}
