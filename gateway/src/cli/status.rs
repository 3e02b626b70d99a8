//! `tidegate status`: whether the running gateway works as usual, and how near it is to its limits.

use std::fmt::Write;

use indicatif::HumanBytes;

use super::args::StatusArgs;
use super::bill;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is};
use super::table::{align, grouped};
use crate::control::{self, AskError};
use crate::mqtt::access::RefusalCounts;
use crate::plain;
use crate::reload::InForce;
use crate::rules::show_size;
use crate::sinks::status::{Drain, Phase};
use crate::status::{Limit, Sink, State, Status, Unit};

/// Shows the status, and fails with a code of its own when a state holds.
pub(super) fn show(args: &StatusArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let answer = control::ask(&settings.data_dir, &control::Command::Status);
    let answer = answer.map_err(|why| match why {
        AskError::NotRunning { .. } if !settings.data_dir.is_dir() => Failure::NoData {
            path: settings.data_dir.clone(),
        },
        why => why.into(),
    })?;
    let status: Status =
        serde_json::from_value(answer.clone()).map_err(|source| Failure::Failed {
            command: "status",
            source: source.into(),
        })?;
    if args.json {
        print_as_is(&format!("{answer:#}\n"))?;
    } else {
        print(&render(&status))?;
    }
    if status.works_as_usual {
        Ok(())
    } else {
        Err(Failure::Unusual)
    }
}

/// Lays a status out for people.
fn render(status: &Status) -> String {
    let mut out = String::new();
    let gateway = &status.gateway;
    if status.works_as_usual {
        let _ = writeln!(out, "{} works as usual{}", gateway.site, unreached(status));
    }
    for state in &status.states {
        state_lines(&mut out, &gateway.site, state);
    }
    let _ = writeln!(
        out,
        "  gateway {}, start {}, version {}",
        gateway.id,
        grouped(&gateway.start.to_string()),
        gateway.version
    );
    if let Some(in_force) = &status.configuration {
        configuration(&mut out, in_force);
    }
    sinks(&mut out, status);
    witnesses(&mut out, status);
    around(&mut out, status);
    if let Some(standing) = &status.budget {
        let _ = writeln!(out, "budget    {}", bill::standing_words(standing));
    }
    limits(&mut out, &status.limits);
    out
}

/// Which configuration holds, and what is to be known of others.
fn configuration(out: &mut String, in_force: &InForce) {
    let InForce {
        file, hash, since, ..
    } = in_force;
    let _ = writeln!(
        out,
        "  configuration {hash} of {file}, in force since {since}"
    );
    if in_force.pending {
        let _ = writeln!(
            out,
            "  another one is right and waits for its entry to be on disk"
        );
    }
    let Some(refused) = &in_force.refused else {
        return;
    };
    let when = if refused.is_current {
        "the file is not in force: refused at"
    } else {
        "the last one refused, before that: at"
    };
    let _ = writeln!(out, "  {when} {}: {}", refused.at, refused.refusal.why);
    for place in refused.refusal.places.iter().filter(|_| refused.is_current) {
        let _ = writeln!(out, "    {place}");
    }
}

/// Sinks that do not answer for the moment, which is usual enough.
fn unreached(status: &Status) -> String {
    let backing_off = |sink: &Sink| sink.delivery.phase == Phase::BackingOff;
    let sinks = status.sinks.iter().filter(|(_, sink)| backing_off(sink));
    let names: Vec<&str> = sinks.map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "; not reached at the moment, records wait for: {}",
        names.join(", ")
    )
}

/// One state: what is wrong and what it means for the data, then why.
fn state_lines(out: &mut String, site: &str, state: &State) {
    let of_sink = state.sink.as_ref();
    let subject = of_sink.map_or_else(|| site.to_owned(), |sink| format!("{site}, sink {sink}"));
    let fault = state.fault.as_ref();
    let fault = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
    let since = state.since.as_ref();
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    let (name, meaning) = (&state.name, &state.meaning);
    let _ = writeln!(out, "{subject}: {name}{fault}{since}: {meaning}");
    if let Some(why) = &state.why {
        let _ = writeln!(out, "  because: {}", plain::in_line(why));
    }
}

fn sinks(out: &mut String, status: &Status) {
    let mut rows = vec![
        [
            "",
            "doing",
            "waiting",
            "confirmed",
            "failed attempts",
            "dead letters",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(status.sinks.iter().map(|(name, sink)| {
        let counters = &sink.delivery.counters;
        vec![
            name.clone(),
            phase(sink.delivery.phase).to_owned(),
            known(sink.delivery.records_waiting),
            number(counters.records),
            number(counters.retries + counters.broken),
            known(sink.delivery.dead_letters),
        ]
    }));
    let _ = writeln!(out, "\nsinks, records");
    align(out, &rows);
    for (name, sink) in &status.sinks {
        sink_lines(out, name, sink);
    }
}

/// Who cosigns the audit log, a line each.
fn witnesses(out: &mut String, status: &Status) {
    for (name, witness) in &status.witnesses {
        let _ = write!(
            out,
            "\nwitness   {name} has cosigned {} of {} entries of the audit log",
            number(witness.cosigned),
            number(witness.entries)
        );
        if let Some(why) = &witness.silent {
            let _ = write!(out, "; it cannot be asked: {}", plain::in_line(why));
        }
    }
    if !status.witnesses.is_empty() {
        let _ = writeln!(out);
    }
}

fn sink_lines(out: &mut String, name: &str, sink: &Sink) {
    if let Some(error) = &sink.delivery.last_error {
        let attempts = number(sink.delivery.attempts.into());
        let error = plain::in_line(error);
        let _ = writeln!(out, "  {name}: after {attempts} attempts: {error}");
    }
    let counters = &sink.delivery.counters;
    if counters.halved + counters.refused > 0 {
        let _ = writeln!(
            out,
            "  {name}: since the start batches were halved {} times, records refused alone {} times, \
             {} became dead letters",
            number(counters.halved),
            number(counters.refused),
            number(counters.dead_letters)
        );
    }
    if let Some(drain) = &sink.delivery.drain {
        let _ = writeln!(
            out,
            "  {name}: a backlog goes out, {}; {} records of it sent",
            pace(drain),
            number(drain.records)
        );
    }
}

fn pace(drain: &Drain) -> String {
    let bytes = drain
        .bytes_per_s
        .map(|bytes| format!("{} a second", show_size(bytes)));
    let records = drain
        .records_per_s
        .map(|records| format!("{} records a second", number(records)));
    match (bytes, records) {
        (Some(bytes), Some(records)) => format!("at most {bytes} and {records}"),
        (Some(one), None) | (None, Some(one)) => format!("at most {one}"),
        (None, None) => "as fast as its sink takes it".to_owned(),
    }
}

/// Devices, broker and commands: a line each.
fn around(out: &mut String, status: &Status) {
    let devices = &status.devices;
    let _ = writeln!(
        out,
        "\ndevices   {} admitted; {} have a turn, {} were asked to wait; {} frames wait for the clock",
        number(devices.admitted),
        number(devices.turns),
        number(devices.paused),
        known(devices.frames_held)
    );
    let counters = &status.link.counters;
    let dropped = counters.unreliable_dropped
        + counters.dropped_away
        + counters.dropped_full
        + counters.dropped_large;
    let _ = writeln!(
        out,
        "broker    {}; {} messages in, {} out, {} dropped; lost or not made {} times, held back {} times",
        if status.link.up { "connected" } else { "away" },
        number(counters.received),
        number(counters.published),
        number(dropped),
        number(counters.lost),
        number(counters.intake_full)
    );
    if let Some(refused) = &status.refused {
        doors(out, refused);
    }
    if let Some(control) = &status.control {
        let _ = writeln!(
            out,
            "commands  {} answered; {} malformed, {} refused as busy, {} too slow",
            number(control.answered),
            number(control.malformed),
            number(control.busy),
            number(control.slow)
        );
    }
    if let Some(http) = &status.http {
        let _ = writeln!(
            out,
            "page      {} answered; {} malformed, {} refused as busy, {} too slow; {} with a wrong secret, {} not looked at",
            number(http.answered),
            number(http.malformed),
            number(http.busy),
            number(http.slow),
            number(http.unauthorised),
            number(http.guessing)
        );
    }
}

/// What the broker inside refused, by reason, and who that was last.
fn doors(out: &mut String, refused: &RefusalCounts) {
    let by_reason = refused.by_reason.iter();
    let told: Vec<String> = by_reason
        .map(|(why, count)| format!("{} {}", why.name(), number(*count)))
        .collect();
    let Some(last) = refused.last.as_ref().filter(|_| !told.is_empty()) else {
        return;
    };
    let who = match &last.device {
        Some(device) if last.is_proved => device.clone(),
        Some(device) => format!("who says that it is {device}"),
        None => "somebody unknown".to_owned(),
    };
    let _ = writeln!(
        out,
        "refused   {} at the broker inside; last {who} from {}: {}",
        told.join(", "),
        last.peer,
        last.why.told()
    );
}

fn limits(out: &mut String, limits: &[Limit]) {
    let mut rows = vec![["", "used", "most", ""].map(str::to_owned).to_vec()];
    rows.extend(limits.iter().map(|limit| {
        let (used, most) = match limit.unit {
            Unit::Bytes => (
                limit.used.map(|bytes| HumanBytes(bytes).to_string()),
                show_size(limit.most),
            ),
            Unit::Devices => (limit.used.map(number), number(limit.most)),
        };
        vec![
            limit.key.clone(),
            used.unwrap_or_else(|| "unknown".to_owned()),
            most,
            limit
                .used
                .map_or_else(String::new, |used| share(used, limit.most)),
        ]
    }));
    let _ = writeln!(out, "\nlimits");
    align(out, &rows);
}

/// A share in whole percent, rounded down: what is below one is not 0, and nothing is 100 before
/// it is full.
fn share(used: u64, most: u64) -> String {
    let percent = u128::from(used) * 100 / u128::from(most.max(1));
    if percent == 0 && used > 0 {
        "< 1 %".to_owned()
    } else {
        format!("{percent} %")
    }
}

pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Reading => "reading",
        Phase::Filling => "filling",
        Phase::Sending => "sending",
        Phase::BackingOff => "backing-off",
        Phase::CircuitOpen => "circuit-open",
        Phase::Committing => "committing",
        Phase::SpoolFailing => "spool-failing",
        Phase::Draining => "draining",
    }
}

pub(super) fn known(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), number)
}

pub(super) fn number(count: u64) -> String {
    grouped(&count.to_string())
}

#[cfg(test)]
mod tests;
