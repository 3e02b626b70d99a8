//! Alerts: those that one side opens and the other does not.
//!
//! An alert is a stretch of event time, from when its condition began (or the sensor fell silent)
//! to when it cleared. Two of one rule and sensor are the same when their stretches touch: other
//! thresholds open it earlier or later.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::{AlertCause, AlertState, Record, rfc3339};

/// Most alerts of a side that are compared one by one; further ones are counted as left out.
pub(super) const ALERTS_MAX: usize = 10_000;

/// Alerts of both sides.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct AlertsCompared {
    /// Opened under the log's own rules.
    pub logged: u64,
    /// Opened under the rules tried.
    pub tried: u64,
    /// Those that only the rules tried open.
    pub gained: Vec<Alert>,
    /// Those that only the log's own rules opened.
    pub lost: Vec<Alert>,
    /// Not compared for want of room.
    pub left_out: u64,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Rule.
    pub rule: String,
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// What it watches.
    pub cause: AlertCause,
    /// When its condition began.
    pub start: String,
    /// When it cleared; `null` while it is open where the stretch ends.
    pub end: Option<String>,
}

/// Rule, device, sensor and cause.
type Key = (String, String, String, AlertCause);

/// From when, and until when if it is over, in µs.
type Span = (i64, Option<i64>);

/// The alerts of one side.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    /// By key, in the order they opened.
    opened: BTreeMap<Key, Vec<Span>>,
    count: u64,
    left_out: u64,
}

impl Alerts {
    /// Takes a record.
    pub fn take(&mut self, record: &Record) {
        let Some(note) = record.alert else {
            return;
        };
        let key = (
            record.rule.clone(),
            record.device.clone(),
            record.sensor.clone(),
            note.cause,
        );
        match note.state {
            AlertState::Opened => {
                self.count += 1;
                if self.count - self.left_out > ALERTS_MAX as u64 {
                    self.left_out += 1;
                    return;
                }
                let opened = self.opened.entry(key).or_default();
                opened.push((record.start_us, None));
            }
            AlertState::Still => {}
            AlertState::Cleared => {
                let opened = self.opened.get_mut(&key);
                if let Some(last) = opened.and_then(|opened| opened.last_mut()) {
                    last.1.get_or_insert(record.end_us);
                }
            }
        }
    }

    /// Lays both sides beside each other.
    pub fn compare(logged: &Self, tried: &Self) -> AlertsCompared {
        AlertsCompared {
            logged: logged.count,
            tried: tried.count,
            gained: tried.without(logged),
            lost: logged.without(tried),
            left_out: logged.left_out + tried.left_out,
        }
    }

    /// Those that the other side has not.
    fn without(&self, other: &Self) -> Vec<Alert> {
        let mut alone = Vec::new();
        for (key, spans) in &self.opened {
            let others = other.opened.get(key).map_or(&[][..], Vec::as_slice);
            for span in spans {
                if !others.iter().any(|other| touch(span, other)) {
                    alone.push(Alert {
                        rule: key.0.clone(),
                        device: key.1.clone(),
                        sensor: key.2.clone(),
                        cause: key.3,
                        start: rfc3339(span.0),
                        end: span.1.map(rfc3339),
                    });
                }
            }
        }
        alone
    }
}

fn touch(one: &Span, other: &Span) -> bool {
    let ends = |span: &Span| span.1.unwrap_or(i64::MAX);
    one.0 <= ends(other) && other.0 <= ends(one)
}
