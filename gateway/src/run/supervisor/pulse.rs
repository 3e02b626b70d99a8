//! Pulse: whether a look at the gateway found it alive, and the line that says what holds.
//!
//! The core must answer at every look: it waits for nothing but its own short steps. The store's
//! thread may be inside a call of the disk, and a worn card or a full queue of a USB disk can hold
//! one for a minute; killing the gateway would not make the disk faster, and what it then reads
//! again costs more. So the store may be silent for [`STORE_SILENT_MAX_US`]. Behind that it is
//! taken as hung: no sign of life is given, the watchdog ends the process, and what was acked is
//! on disk. A disk that fails is another thing: the store then answers, and says so.

use crate::status::{State, Status};
use crate::time::Timestamp;

/// Longest time without an answer of the store: five minutes.
pub(super) const STORE_SILENT_MAX_US: u64 = 300_000_000;

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Pulse {
    store_answered_us: u64,
    line: String,
}

impl Pulse {
    /// A gateway that has just started: core and store did.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            store_answered_us: now.mono_us,
            line: String::new(),
        }
    }

    /// What a look tells: a sign of life if there was one, and the line if it is another than
    /// before. `status` is none when the core did not answer.
    pub(super) fn look(&mut self, now: Timestamp, status: Option<&Status>) -> Vec<String> {
        let Some(status) = status else {
            return self.say("the core does not answer".to_owned());
        };
        // The frames that wait for the clock are the store's to tell.
        if status.devices.frames_held.is_some() {
            self.store_answered_us = now.mono_us;
        }
        let silent_us = now.mono_us.saturating_sub(self.store_answered_us);
        let mut told = self.say(line(status, silent_us));
        if silent_us <= STORE_SILENT_MAX_US {
            told.push("WATCHDOG=1".to_owned());
        }
        told
    }

    fn say(&mut self, line: String) -> Vec<String> {
        if self.line == line {
            return Vec::new();
        }
        let told = format!("STATUS={line}");
        self.line = line;
        vec![told]
    }
}

/// What holds, in a line.
fn line(status: &Status, silent_us: u64) -> String {
    let site = &status.gateway.site;
    let devices = match status.devices.admitted {
        1 => "1 device".to_owned(),
        count => format!("{count} devices"),
    };
    let mut line = match status.states.first() {
        Some(first) if !status.works_as_usual => {
            let more = match status.states.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            format!("{site}: {}{more}; {devices}", state(first))
        }
        _ => format!("{site}: works as usual; {devices}"),
    };
    if silent_us > 0 {
        line.push_str("; the store is held up and does not answer");
    }
    // A line is all that the protocol can carry.
    line.replace(['\n', '\r'], " ")
}

fn state(state: &State) -> String {
    let of = state.sink.as_ref().or(state.fault.as_ref());
    let of = of.map(|of| format!(" ({of})")).unwrap_or_default();
    format!("{}{of}: {}", state.name, state.meaning)
}
