//! Words: how causes, states and clocks are called, in every encoding alike and as in JSON; and
//! notes where a text has one line.

use crate::record::{AlertCause, AlertState, ClockQuality};

/// How an alert's cause is called.
pub fn cause_name(cause: AlertCause) -> &'static str {
    match cause {
        AlertCause::Condition => "condition",
        AlertCause::Silence => "silence",
        AlertCause::Budget => "budget",
        AlertCause::Conduct => "conduct",
    }
}

/// How an alert's state is called.
pub fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Opened => "opened",
        AlertState::Still => "still",
        AlertState::Cleared => "cleared",
    }
}

/// How a clock's quality is called.
pub fn clock_name(clock: ClockQuality) -> &'static str {
    match clock {
        ClockQuality::Device => "device",
        ClockQuality::Learnt => "learnt",
        ClockQuality::Bounded => "bounded",
        ClockQuality::Untrusted => "untrusted",
    }
}

/// A note where a text cannot have several lines: line ends as `\n`, backslashes as `\\`.
pub fn in_one_line(note: &str) -> String {
    note.replace('\\', "\\\\").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        let json = |value: &dyn Fn() -> String| value().trim_matches('"').to_owned();
        for cause in [AlertCause::Condition, AlertCause::Silence] {
            let word = json(&|| serde_json::to_string(&cause).unwrap());
            assert_eq!(cause_name(cause), word);
        }
        for state in [AlertState::Opened, AlertState::Still, AlertState::Cleared] {
            let word = json(&|| serde_json::to_string(&state).unwrap());
            assert_eq!(state_name(state), word);
        }
        for clock in [
            ClockQuality::Device,
            ClockQuality::Learnt,
            ClockQuality::Bounded,
            ClockQuality::Untrusted,
        ] {
            let word = json(&|| serde_json::to_string(&clock).unwrap());
            assert_eq!(clock_name(clock), word);
        }
    }
}
