//! Gateway: what the gateway itself goes through, from its steps to what its log holds of them.
//!
//! Over a restart and while its broker is unreachable no device reaches it; what devices make
//! meanwhile waits on them, as over an outage of their own link.

use super::timeline::Happening;
use super::{GatewayAct, GatewayStep, Test};
use crate::entry::{ENGINE, Entry, Limits, LinkChange, LinkEntry};
use crate::rules::RuleSet;

/// What happens on the stage of a test at one moment.
#[derive(Debug)]
pub(super) enum Cue {
    /// An entry is logged.
    Entry(Entry),
    /// The gateway goes off.
    Off,
    /// It starts: another start of the same log.
    On,
}

/// What comes of the gateway, with its times in µs.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// What is to stand before what devices log at the same time.
    pub before: Vec<(i64, Cue)>,
    /// What is to stand behind it.
    pub behind: Vec<(i64, Cue)>,
}

/// Plays the gateway's timeline.
pub(super) fn play(test: &Test) -> Played {
    let mut before: Vec<(i64, Cue)> = vec![(0, Cue::Entry(started(test)))];
    before.extend(in_force(&test.rules, test.limits).map(|entry| (0, Cue::Entry(entry))));
    before.push((0, Cue::Entry(subscribed(true))));
    let mut behind = Vec::new();
    for step in &test.gateway {
        match &step.act {
            GatewayAct::Restart(_) => {
                behind.push((step.at_us, Cue::Off));
                before.push((step.end_us(), Cue::On));
                before.push((step.end_us(), Cue::Entry(started(test))));
                before.push((step.end_us(), Cue::Entry(subscribed(true))));
            }
            GatewayAct::Outage(_) => {
                behind.push((step.at_us, Cue::Entry(subscribed(false))));
                before.push((step.end_us(), Cue::Entry(subscribed(true))));
            }
            GatewayAct::Rules(ruled) => {
                let entries = in_force(&ruled.0, ruled.1);
                before.extend(entries.map(|entry| (step.at_us, Cue::Entry(entry))));
            }
        }
    }
    Played { before, behind }
}

/// When devices cannot reach the gateway.
pub(super) fn absences(steps: &[GatewayStep]) -> Vec<(i64, Happening)> {
    let away = steps.iter().filter(|step| step.end_us() > step.at_us);
    away.flat_map(|step| {
        [
            (step.at_us, Happening::GatewayGone),
            (step.end_us(), Happening::GatewayBack),
        ]
    })
    .collect()
}

fn started(test: &Test) -> Entry {
    Entry::Started {
        engine: ENGINE,
        log_incarnation: 1,
        term: 1,
        site: test.site.as_str().to_owned(),
    }
}

fn in_force(rules: &RuleSet, limits: Limits) -> [Entry; 2] {
    let text = rules.to_json();
    [Entry::Rules { text }, Entry::Limits(limits)]
}

fn subscribed(is: bool) -> Entry {
    Entry::Link(LinkEntry {
        device: None,
        change: LinkChange::Subscribed(is),
    })
}
