//! Compose: the status, from what each room says of itself.

use std::collections::BTreeMap;

use super::{
    DEAD_LETTERS, DEVICES_HELD, Devices, HeldDevice, Limit, Link, Parts, Setup, Sink, State,
    Status, StorePart, Unit, WITNESS_REFUSES, Witnessed,
};
use crate::clock::trust::Distrust;
use crate::conductor::Condition;
use crate::record::rfc3339;
use crate::sinks;
use crate::sinks::status::Phase;

/// So many devices in quarantine are named; of the others it is told how many there are.
const HELD_NAMED: usize = 8;

/// Puts the parts together.
pub fn compose(setup: &Setup, parts: &Parts) -> Status {
    let mut states: Vec<State> = parts.core.conditions.iter().map(State::from).collect();
    let of_sinks = parts.sinks.iter();
    states.extend(of_sinks.filter_map(|(name, status)| sink_state(name, status)));
    let works_as_usual = states.is_empty();
    let sinks = parts.sinks.iter();
    let sinks = sinks.map(|(name, status)| (name.clone(), sink(name, status, parts)));
    let sinks: BTreeMap<String, Sink> = sinks.collect();
    states.extend(sinks.iter().filter_map(|(name, sink)| letters(name, sink)));
    states.extend(held(&parts.core.held));
    states.extend(refusing(&parts.witnesses));
    let pacing = parts.core.pacing;
    let (up, counters) = parts.link;
    Status {
        gateway: setup.about.clone(),
        works_as_usual,
        states,
        sinks,
        witnesses: parts.witnesses.clone(),
        devices: Devices {
            admitted: parts.core.devices,
            turns: pacing.turns as u64,
            paused: pacing.paused as u64,
            budget_bytes: pacing.budget_bytes,
            pauses: pacing.pauses,
            frames_held: parts.store.as_ref().map(|store| store.frames_held),
        },
        link: Link { up, counters },
        refused: parts.refused.clone(),
        control: parts.control,
        http: parts.http,
        configuration: parts.configuration.clone(),
        budget: parts.core.budget.clone(),
        limits: limits(setup, parts),
    }
}

fn sink(name: &str, status: &sinks::Status, parts: &Parts) -> Sink {
    let mut delivery = status.clone();
    let counted = parts.store.as_ref().map(|store| queue(store, name));
    // A delivery learns of its queues with its next step; the spool knows now.
    if let Some((records, _)) = counted {
        delivery.records_waiting = Some(records);
    }
    if let Some(store) = &parts.store {
        delivery.dead_letters = Some(store.letters.get(name).copied().unwrap_or(0));
    }
    Sink {
        delivery,
        spool_bytes: counted.map(|(_, bytes)| bytes),
    }
}

/// Dead letters are told, but keep nothing from working: they wait for a person, all else goes on.
fn letters(name: &str, sink: &Sink) -> Option<State> {
    let count = sink.delivery.dead_letters.filter(|count| *count > 0)?;
    Some(State {
        name: DEAD_LETTERS.to_owned(),
        sink: Some(name.to_owned()),
        why: Some(format!(
            "records that it refused and that are kept: {count}"
        )),
        meaning: "everything else goes on; tidegate sink dead-letter list says why each was \
                  refused, resend sends it again, drop gives it up"
            .to_owned(),
        ..State::default()
    })
}

/// Devices in quarantine are told: all others are taken as ever.
fn held(devices: &[HeldDevice]) -> Option<State> {
    let named = devices.iter().take(HELD_NAMED).map(|held| {
        let why = held.why.iter();
        let mut told: Vec<String> = why
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        told.push(match held.until_us {
            Some(until_us) => format!("until {}", rfc3339(until_us)),
            None => "until it is released".to_owned(),
        });
        format!("{} ({})", held.device, told.join(", "))
    });
    let mut named: Vec<String> = named.collect();
    match devices.len().saturating_sub(HELD_NAMED) {
        0 => {}
        more => named.push(format!("{more} more")),
    }
    (!named.is_empty()).then(|| State {
        name: DEVICES_HELD.to_owned(),
        why: Some(named.join("; ")),
        meaning:
            "what these devices send is neither logged nor acked, they keep it; all others go \
                  on; tidegate device release frees one before its time"
                .to_owned(),
        ..State::default()
    })
}

/// Witnesses that refuse are told: what flows is none of theirs.
fn refusing(witnesses: &BTreeMap<String, Witnessed>) -> Option<State> {
    let refuses = witnesses.iter().filter_map(|(name, witness)| {
        let why = witness.refused.as_ref()?;
        Some(format!("{name}: {why}"))
    });
    let refuses: Vec<String> = refuses.collect();
    (!refuses.is_empty()).then(|| State {
        name: WITNESS_REFUSES.to_owned(),
        why: Some(refuses.join("; ")),
        meaning: "samples and records go on; what was noted in the audit log since is not \
                  cosigned, and if the witness tells of two histories, the log was rewritten: \
                  keep a copy of the data directory and look at docs/audit.md"
            .to_owned(),
        ..State::default()
    })
}

/// Records and bytes in a sink's queues. A sink without a queue has none there.
fn queue(store: &StorePart, sink: &str) -> (u64, u64) {
    store.queues.get(sink).copied().unwrap_or_default()
}

fn limits(setup: &Setup, parts: &Parts) -> Vec<Limit> {
    let bytes = |key: String, used, most| Limit {
        key,
        used,
        most,
        unit: Unit::Bytes,
    };
    let store = parts.store.as_ref();
    let mut limits = vec![
        Limit {
            key: "limits.devices_max".into(),
            used: Some(parts.core.devices),
            most: parts.core.devices_max,
            unit: Unit::Devices,
        },
        bytes(
            "limits.pending_bytes_max".into(),
            Some(parts.core.pending_bytes),
            setup.pending_bytes_max,
        ),
        bytes(
            "log.bytes_max".into(),
            store.map(|store| store.log_bytes),
            setup.log_bytes_max,
        ),
    ];
    limits.extend(setup.sinks.iter().map(|sink| {
        bytes(
            format!("sink.{}.spool_bytes_max", sink.name),
            store.map(|store| queue(store, &sink.name).1),
            sink.spool_bytes_max,
        )
    }));
    limits
}

impl State {
    /// Whether it keeps the gateway from working as usual.
    pub fn is_trouble(&self) -> bool {
        ![DEAD_LETTERS, DEVICES_HELD, WITNESS_REFUSES].contains(&self.name.as_str())
    }
}

impl From<&Condition> for State {
    fn from(condition: &Condition) -> Self {
        let (name, fault) = condition.name();
        let (since_us, why) = match condition {
            Condition::LogFailing { since_us, why, .. }
            | Condition::SpoolFailing { since_us, why, .. } => (Some(*since_us), Some(why.clone())),
            Condition::ClockUntrusted { since_us, why } => {
                (Some(*since_us), Some(distrust(*why).to_owned()))
            }
            Condition::Standby { since_us } => (Some(*since_us), None),
            Condition::Unsubscribed => (None, None),
        };
        Self {
            name: name.to_owned(),
            fault: fault.map(|fault| fault.name().to_owned()),
            sink: None,
            since: since_us.map(rfc3339),
            why,
            meaning: condition.meaning().to_owned(),
        }
    }
}

/// Why the clock is not trusted: the reason's name in `docs/clock.md`, and what it says.
fn distrust(why: Distrust) -> &'static str {
    match why {
        Distrust::Unsynchronised => "unsynchronised: no time service has set it yet",
        Distrust::BeforeNewestEntry => {
            "before-newest-entry: it is earlier than the newest entry of the log"
        }
        Distrust::BeforeBuild => "before-build: it is earlier than this version of the gateway",
    }
}

/// What a person has to help a sink out of. An attempt that failed is not: it is tried again.
fn sink_state(name: &str, status: &sinks::Status) -> Option<State> {
    let (state, meaning) = match status.phase {
        Phase::CircuitOpen => (
            "sink-circuit-open",
            "this sink does not take records: they wait in the spool until its address, credentials or receiver are right; it is tried every minute",
        ),
        Phase::SpoolFailing => (
            "sink-spool-failing",
            "this sink's queues cannot be read or written: nothing is sent to it until they can",
        ),
        Phase::Idle
        | Phase::Reading
        | Phase::Filling
        | Phase::Sending
        | Phase::BackingOff
        | Phase::Committing
        | Phase::Draining => return None,
    };
    Some(State {
        name: state.to_owned(),
        sink: Some(name.to_owned()),
        why: status.last_error.clone(),
        meaning: meaning.to_owned(),
        ..State::default()
    })
}
