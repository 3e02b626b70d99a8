//! `tidegate sink list | dead-letter | resume | test`.

mod args;
mod letters;
mod probe;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

pub use self::args::SinkCommand;
use self::args::{ResumeArgs, SinkListArgs};
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is};
use super::status::{known, number, phase};
use super::table::align;
use crate::control::{self, AskError};
use crate::disk::data_dir::DataDir;
use crate::disk::{Disk, RealDisk};
use crate::plain;
use crate::rules::settings::Settings;
use crate::sinks;
use crate::sinks::status::Phase;
use crate::status::Status;
use crate::store;

/// Runs one of them.
pub(super) fn run(command: &SinkCommand) -> Result<(), Failure> {
    match command {
        SinkCommand::List(args) => list(args),
        SinkCommand::DeadLetter(command) => letters::run(command),
        SinkCommand::Resume(args) => resume(args),
        SinkCommand::Test(args) => probe::run(args),
    }
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed {
        command: "tidegate sink",
        source: Box::new(source),
    }
}

/// Why the gateway gave no answer, or refused.
fn unanswered(why: AskError) -> Failure {
    match why {
        AskError::Refused { .. } => failed(why),
        why => why.into(),
    }
}

/// The disk of a data directory that is only looked at.
fn disk(settings: &Settings) -> Result<Arc<dyn Disk>, Failure> {
    Failure::need_data(&settings.data_dir)?;
    DataDir::check(&settings.data_dir).map_err(failed)?;
    Ok(Arc::new(
        RealDisk::existing(&settings.data_dir).map_err(failed)?,
    ))
}

/// What `sink list` says.
#[derive(Debug, Serialize)]
struct Listing {
    /// Whether a gateway runs and was asked; else its files were read.
    running: bool,
    sinks: Vec<Listed>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Listed {
    name: String,
    #[serde(rename = "type")]
    type_name: &'static str,
    /// What it is doing; none where no gateway runs.
    state: Option<Phase>,
    records_waiting: Option<u64>,
    dead_letters: Option<u64>,
    last_error: Option<String>,
}

fn list(args: &SinkListArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let listing = match control::ask(&settings.data_dir, &control::Command::Status) {
        Ok(status) => {
            let status: Status = serde_json::from_value(status).map_err(failed)?;
            of_status(&settings, &status)
        }
        Err(AskError::NotRunning { .. }) => of_files(&settings)?,
        Err(why) => return Err(why.into()),
    };
    if args.json {
        let json = serde_json::to_string_pretty(&listing).map_err(failed)?;
        print_as_is(&format!("{json}\n"))
    } else {
        print(&render(&listing))
    }
}

/// The sinks of the configuration; what a gateway that runs on an older one knows nothing of is
/// unknown.
fn of_status(settings: &Settings, status: &Status) -> Listing {
    let sinks = settings.sinks.iter().map(|sink| {
        let delivery = status.sinks.get(&sink.name).map(|sink| &sink.delivery);
        Listed {
            name: sink.name.clone(),
            type_name: sink.kind.type_name(),
            state: delivery.map(|delivery| delivery.phase),
            records_waiting: delivery.and_then(|delivery| delivery.records_waiting),
            dead_letters: delivery.and_then(|delivery| delivery.dead_letters),
            last_error: delivery.and_then(|delivery| delivery.last_error.clone()),
        }
    });
    Listing {
        running: true,
        sinks: sinks.collect(),
    }
}

fn of_files(settings: &Settings) -> Result<Listing, Failure> {
    let spool = store::waiting(&disk(settings)?, settings).map_err(failed)?;
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, sink, _) in spool.queues() {
        *waiting.entry(sink).or_default() += spool.waiting(id).map_err(failed)?.records;
    }
    let sinks = settings.sinks.iter().map(|sink| Listed {
        name: sink.name.clone(),
        type_name: sink.kind.type_name(),
        state: None,
        records_waiting: waiting.get(sink.name.as_str()).copied(),
        dead_letters: Some(spool.letters().count(&sink.name)),
        last_error: None,
    });
    Ok(Listing {
        running: false,
        sinks: sinks.collect(),
    })
}

fn render(listing: &Listing) -> String {
    let mut out = String::new();
    if !listing.running {
        out.push_str("no gateway runs; from its files:\n");
    }
    let mut rows = vec![
        ["", "type", "doing", "waiting", "dead letters"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let absent = if listing.running { "unknown" } else { "-" };
    rows.extend(listing.sinks.iter().map(|sink| {
        vec![
            sink.name.clone(),
            sink.type_name.to_owned(),
            sink.state.map_or(absent, phase).to_owned(),
            known(sink.records_waiting),
            known(sink.dead_letters),
        ]
    }));
    align(&mut out, &rows);
    for sink in &listing.sinks {
        if let Some(error) = &sink.last_error {
            let _ = writeln!(out, "  {}: {}", sink.name, plain::in_line(error));
        }
    }
    out
}

fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let asked = control::Command::Resume(args.sink.clone());
    let answer = control::ask(&settings.data_dir, &asked).map_err(unanswered)?;
    if args.json {
        return print_as_is(&format!("{answer:#}\n"));
    }
    let before: sinks::Status = serde_json::from_value(answer).map_err(failed)?;
    print(&resumed(&args.sink, &before))
}

/// What a resume means to a sink that was doing this.
fn resumed(name: &str, before: &sinks::Status) -> String {
    let next = match before.phase {
        Phase::CircuitOpen | Phase::BackingOff if before.records_underway > 0 => format!(
            "its batch of {} records goes again now; `tidegate sink list` shows what comes of it",
            number(before.records_underway)
        ),
        Phase::CircuitOpen | Phase::BackingOff => {
            "what it did not take goes again within a minute".to_owned()
        }
        Phase::SpoolFailing => {
            "its queues cannot be read or written, which is tried again by itself: check the disk"
                .to_owned()
        }
        Phase::Sending => {
            "a request is in flight; if it fails, it is tried again at once".to_owned()
        }
        Phase::Idle | Phase::Reading | Phase::Filling | Phase::Committing | Phase::Draining => {
            "it was not held up: nothing changes".to_owned()
        }
    };
    let mut out = format!("{name} was {}: {next}\n", phase(before.phase));
    if let Some(why) = &before.last_error {
        let _ = writeln!(out, "  its last error: {}", plain::in_line(why));
    }
    out
}

#[cfg(test)]
mod tests;
