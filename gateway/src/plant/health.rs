//! Health: how a device and a sensor do, judged by what is known of them; pure functions.
//!
//! A device is what the first row says that holds:
//!
//! | row | holds when | health |
//! |---|---|---|
//! | unseen | no frame of it was ever logged | unknown |
//! | ended | its newest frame said that it ended | ended |
//! | down | its link is down | silent |
//! | waiting | frames wait here, for a catalog or for the gateway's clock | late |
//! | backlog | it said that more frames wait there than may be in flight | late |
//! | deaf | the gateway is not subscribed, so that nothing can be heard | unknown |
//! | quiet | nothing came for its patience and [`GRACE_US`] | silent |
//! | behind | its newest frame was complete up to a time that was over for its patience and [`BEHIND_US`] when it came | late |
//! | in time | none of these | live |
//!
//! Its *patience* is what it says a sample waits there and what rules wait for late samples, as an
//! idle device has it (`docs/rules.md`), or twice what is usual between its frames, if that is
//! longer. A sensor:
//!
//! | row | holds when | health |
//! |---|---|---|
//! | device | its device is not live | that of its device |
//! | unseen | no sample of it came in the epoch | unknown |
//! | in time | its newest sample is no older than its device's patience, or twice what is usual between its samples, and [`GRACE_US`] before the time that its device is complete up to | live |
//! | held back | its device's Totals say that it holds samples back | suppressed |
//! | slow? | what is usual between its samples is not known: too few were seen | unknown |
//! | quiet | none of these | silent |

use super::Health;
use crate::pipeline::picture::DeviceFacts;
use crate::time::SECOND_US;

/// What a frame's way takes beyond all waiting: a second for the commit, the rest for the network
/// and for timers that do not run alike.
pub const GRACE_US: i64 = 5 * SECOND_US;
/// How far behind beyond its patience a device's newest frame may be: less is a slow link, more
/// is a backlog, be it that the device does not call it one.
pub const BEHIND_US: i64 = 60 * SECOND_US;

/// The row that holds for a device, with what it has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No frame of it was ever logged.
    Unseen,
    /// It ended as planned.
    Ended,
    /// Its link is down for so long.
    Down(i64),
    /// So many frames wait here.
    Waiting(u64),
    /// Frames wait there.
    Backlog,
    /// The gateway cannot hear it.
    Deaf,
    /// Nothing came for so long, where so long is usual.
    Quiet(i64, i64),
    /// It is so far behind.
    Behind(i64),
    /// Its samples come in time.
    InTime,
}

impl Verdict {
    /// Judges a device.
    pub fn of(facts: &DeviceFacts) -> Self {
        let patience_us = facts.patience_us;
        if !facts.has_frames {
            return Self::Unseen;
        }
        if facts.ended {
            return Self::Ended;
        }
        if let Some(down_us) = facts.down_us {
            return Self::Down(down_us);
        }
        if facts.frames_waiting > 0 {
            return Self::Waiting(facts.frames_waiting);
        }
        if facts.backlog {
            return Self::Backlog;
        }
        let Some(quiet_us) = facts.quiet_us else {
            return Self::Deaf;
        };
        if quiet_us > patience_us.saturating_add(GRACE_US) {
            return Self::Quiet(quiet_us, patience_us);
        }
        match facts.behind_us {
            Some(behind_us) if behind_us > patience_us.saturating_add(BEHIND_US) => {
                Self::Behind(behind_us)
            }
            _ => Self::InTime,
        }
    }

    /// The health that it is.
    pub fn health(self) -> Health {
        match self {
            Self::Unseen | Self::Deaf => Health::Unknown,
            Self::Ended => Health::Ended,
            Self::Down(_) | Self::Quiet(..) => Health::Silent,
            Self::Waiting(_) | Self::Backlog | Self::Behind(_) => Health::Late,
            Self::InTime => Health::Live,
        }
    }

    /// Why, in words; nothing where all is well.
    pub fn words(self) -> Option<String> {
        Some(match self {
            Self::Unseen => "no frame of it was logged yet".to_owned(),
            Self::Ended => "it said that it ended".to_owned(),
            Self::Down(us) => format!("its link has been down for {}", span(us)),
            Self::Waiting(1) => "a frame waits here for its catalog or the clock".to_owned(),
            Self::Waiting(frames) => {
                format!("{frames} frames wait here for their catalog or the clock")
            }
            Self::Backlog => "it sends what it kept: more frames wait there".to_owned(),
            Self::Deaf => {
                "the gateway is not subscribed at its broker: nothing can be heard".to_owned()
            }
            Self::Quiet(us, usual_us) => format!(
                "nothing came for {}, where {} is usual",
                span(us),
                span(usual_us)
            ),
            Self::Behind(us) => {
                format!("what it sends was taken {} before it came", span(us))
            }
            Self::InTime => return None,
        })
    }
}

/// What a sensor's health is judged by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SensorFacts {
    /// How far its newest sample in the epoch is behind the time that its device is complete up
    /// to; absent before the first.
    pub behind_us: Option<i64>,
    /// How long its device may be quiet.
    pub patience_us: i64,
    /// What is usual between its samples; absent where too few are known.
    pub usual_us: Option<i64>,
    /// Samples that its device held back, as far as it told.
    pub suppressed: Option<u64>,
}

/// Judges a sensor of a device of that health.
pub fn of_sensor(device: Health, facts: &SensorFacts) -> Health {
    if device != Health::Live {
        return device;
    }
    let Some(behind_us) = facts.behind_us else {
        return Health::Unknown;
    };
    let usual_us = facts.usual_us.unwrap_or(0);
    let patience_us = facts.patience_us.max(usual_us.saturating_mul(2));
    if behind_us <= patience_us.saturating_add(GRACE_US) {
        Health::Live
    } else if facts.suppressed.is_some_and(|samples| samples > 0) {
        Health::Suppressed
    } else if facts.usual_us.is_none() {
        Health::Unknown
    } else {
        Health::Silent
    }
}

/// A span as people say it: its two largest units.
pub fn span(us: i64) -> String {
    let seconds = us.max(0) / SECOND_US;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0);
    let Some(first) = first else {
        return "0 s".to_owned();
    };
    let told = parts.iter().skip(first).take(2);
    let told = told.filter(|(count, _)| *count > 0);
    let words: Vec<String> = told
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose samples come in time.
    fn well() -> DeviceFacts {
        DeviceFacts {
            has_frames: true,
            quiet_us: Some(3 * SECOND_US),
            patience_us: 10 * SECOND_US,
            behind_us: Some(12 * SECOND_US),
            ..DeviceFacts::default()
        }
    }

    fn judged(facts: DeviceFacts) -> (Health, String) {
        let verdict = Verdict::of(&facts);
        (verdict.health(), verdict.words().unwrap_or_default())
    }

    #[test]
    fn every_row_of_a_device_in_its_order() {
        let facts = DeviceFacts {
            has_frames: false,
            ended: true,
            down_us: Some(75 * SECOND_US),
            backlog: true,
            frames_waiting: 2,
            quiet_us: None,
            patience_us: 10 * SECOND_US,
            behind_us: Some(1_000 * SECOND_US),
        };
        let rows = [
            (facts, Health::Unknown, "no frame of it was logged yet"),
            (
                DeviceFacts {
                    has_frames: true,
                    ..facts
                },
                Health::Ended,
                "it said that it ended",
            ),
        ];
        let mut facts = DeviceFacts {
            has_frames: true,
            ended: false,
            ..facts
        };
        let mut steps: Vec<(DeviceFacts, Health, &str)> = rows.to_vec();
        steps.push((
            facts,
            Health::Silent,
            "its link has been down for 1 min 15 s",
        ));
        facts.down_us = None;
        steps.push((
            facts,
            Health::Late,
            "2 frames wait here for their catalog or the clock",
        ));
        facts.frames_waiting = 0;
        steps.push((
            facts,
            Health::Late,
            "it sends what it kept: more frames wait there",
        ));
        facts.backlog = false;
        steps.push((
            facts,
            Health::Unknown,
            "the gateway is not subscribed at its broker: nothing can be heard",
        ));
        facts.quiet_us = Some(16 * SECOND_US);
        steps.push((
            facts,
            Health::Silent,
            "nothing came for 16 s, where 10 s is usual",
        ));
        facts.quiet_us = Some(15 * SECOND_US);
        steps.push((
            facts,
            Health::Late,
            "what it sends was taken 16 min 40 s before it came",
        ));
        facts.behind_us = Some(70 * SECOND_US);
        steps.push((facts, Health::Live, ""));
        facts.behind_us = None;
        steps.push((facts, Health::Live, ""));
        for (facts, health, why) in steps {
            assert_eq!(judged(facts), (health, why.to_owned()), "{facts:?}");
        }
    }

    #[test]
    fn every_row_of_a_sensor() {
        let facts = SensorFacts {
            behind_us: Some(40 * SECOND_US),
            patience_us: 10 * SECOND_US,
            usual_us: Some(SECOND_US),
            suppressed: None,
        };
        assert_eq!(of_sensor(Health::Live, &facts), Health::Silent);
        let told_none = SensorFacts {
            suppressed: Some(0),
            ..facts
        };
        assert_eq!(of_sensor(Health::Live, &told_none), Health::Silent);
        let holds_back = SensorFacts {
            suppressed: Some(1),
            ..facts
        };
        assert_eq!(of_sensor(Health::Live, &holds_back), Health::Suppressed);
        let slow = SensorFacts {
            usual_us: Some(20 * SECOND_US),
            ..facts
        };
        assert_eq!(of_sensor(Health::Live, &slow), Health::Live);
        let perhaps_slow = SensorFacts {
            usual_us: None,
            ..facts
        };
        assert_eq!(of_sensor(Health::Live, &perhaps_slow), Health::Unknown);
        let recent = SensorFacts {
            behind_us: Some(15 * SECOND_US),
            ..holds_back
        };
        assert_eq!(of_sensor(Health::Live, &recent), Health::Live);
        let unseen = SensorFacts {
            behind_us: None,
            ..holds_back
        };
        assert_eq!(of_sensor(Health::Live, &unseen), Health::Unknown);
        for of_device in [Health::Late, Health::Silent, Health::Ended, Health::Unknown] {
            assert_eq!(of_sensor(of_device, &recent), of_device);
        }
    }

    #[test]
    fn what_is_well_is_live_and_says_nothing() {
        assert_eq!(judged(well()), (Health::Live, String::new()));
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        let texts = [0, 59, 60, 3_661, 86_400, 90_061].map(|s| span(s * SECOND_US));
        assert_eq!(
            texts,
            ["0 s", "59 s", "1 min", "1 h 1 min", "1 d", "1 d 1 h"]
        );
    }
}
