//! `tidegate sink test`: a marked record to a sink, and what it said.

use std::fmt::Write;

use serde_json::{Value, json};

use super::args::SinkTestArgs;
use super::failed;
use crate::cli::config::{self, Warnings};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is};
use crate::cli::status::number;
use crate::cli::wiring;
use crate::dead_letters::DeadLetterError;
use crate::plain;
use crate::rules::nearest;
use crate::rules::settings::{SinkKind, SinkSettings};
use crate::sinks::delivery::Outcome;
use crate::sinks::probe::Probed;

/// Sends the record, and fails when the sink does not take it.
pub(super) fn run(args: &SinkTestArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let sinks = || settings.sinks.iter();
    let Some(sink) = sinks().find(|sink| sink.name == args.sink) else {
        let names = sinks().map(|sink| sink.name.as_str());
        return Err(failed(DeadLetterError::UnknownSink {
            sink: args.sink.clone(),
            nearest: nearest(&args.sink, names).map(str::to_owned),
        }));
    };
    let probed = wiring::probe(sink, settings.site.as_str())?;
    if args.json {
        print_as_is(&format!("{:#}\n", to_json(sink, &probed)))?;
    } else {
        print(&render(sink, &probed))?;
    }
    if probed.is_taken() {
        Ok(())
    } else {
        Err(Failure::ProbeNotTaken {
            sink: args.sink.clone(),
        })
    }
}

/// What an outcome is called, what the sink said, what delivery makes of it, and what to do.
struct Verdict<'a> {
    outcome: &'static str,
    why: Option<&'a str>,
    means: &'static str,
    help: &'static str,
}

fn verdict(outcome: &Outcome) -> Verdict<'_> {
    match outcome {
        Outcome::Confirmed => Verdict {
            outcome: "confirmed",
            why: None,
            means: "records are delivered",
            help: "",
        },
        Outcome::Retry { why, .. } => Verdict {
            outcome: "retry",
            why: Some(why),
            means: "records wait in the spool and are sent again, at most a minute later each time",
            help: "see that the receiver runs, listens there and can be reached from here",
        },
        Outcome::Broken { why } => Verdict {
            outcome: "broken",
            why: Some(why),
            means: "the circuit opens: records wait in the spool, none is dropped, until a person \
                    helps",
            help: "correct the sink's address, credentials or certificates, or the receiver",
        },
        Outcome::TooLarge { why } => Verdict {
            outcome: "too-large",
            why: Some(why),
            means: "even one record is too large: each becomes a dead letter, and after a few in \
                    a row the circuit opens",
            help: "raise the receiver's limit",
        },
        Outcome::Refused { why } => Verdict {
            outcome: "refused",
            why: Some(why),
            means: "a record like this becomes a dead letter, and after a few in a row the \
                    circuit opens",
            help: "compare what the receiver wants with the sink's type and format",
        },
    }
}

fn to_json(sink: &SinkSettings, probed: &Probed) -> Value {
    let verdict = verdict(&probed.answer.outcome);
    let after_ms = match &probed.answer.outcome {
        Outcome::Retry { after_us, .. } => after_us.map(|us| us / 1_000),
        _ => None,
    };
    json!({
        "sink": sink.name,
        "type": sink.kind.type_name(),
        "id": probed.id,
        "outcome": verdict.outcome,
        "why": verdict.why,
        "retry_after_ms": after_ms,
        "took_ms": probed.took_ms,
        "body_bytes": probed.body_bytes,
        "sent_bytes": probed.answer.sent_bytes,
        "header_bytes_estimated": probed.answer.header_bytes,
    })
}

fn render(sink: &SinkSettings, probed: &Probed) -> String {
    let verdict = verdict(&probed.answer.outcome);
    let name = &sink.name;
    let mut out = String::new();
    let Some(why) = verdict.why else {
        let answer = &probed.answer;
        let _ = writeln!(
            out,
            "{name} confirmed the probe in {} ms\n  record {}\n  body {} bytes, {} as sent, and about {} of heads",
            number(probed.took_ms),
            probed.id,
            number(probed.body_bytes),
            number(answer.sent_bytes),
            number(answer.header_bytes)
        );
        out.push_str(left_behind(&sink.kind));
        return out;
    };
    let why = plain::in_line(why);
    let _ = writeln!(
        out,
        "{name} did not take the probe ({}, after {} ms): {why}\n  with records of the gateway: {}\n  try: {}",
        verdict.outcome,
        number(probed.took_ms),
        verdict.means,
        verdict.help
    );
    if let Outcome::Retry {
        after_us: Some(after_us),
        ..
    } = &probed.answer.outcome
    {
        let seconds = number(after_us.div_ceil(1_000_000));
        let _ = writeln!(out, "  it asked for {seconds} s before the next attempt");
    }
    out
}

/// What stays of a probe.
fn left_behind(kind: &SinkKind) -> &'static str {
    match kind {
        SinkKind::File(_) => {
            "  in a folder beside the sink's file, which the gateway alone writes; it is removed again\n"
        }
        SinkKind::Stdout => "  the line above is the record; the gateway's go to its own output\n",
        SinkKind::Mqtt(_) => "  under a client id of its own, not retained\n",
        _ => "  it stays with the receiver: device, sensor and rule are tidegate-probe\n",
    }
}

#[cfg(test)]
mod tests;
