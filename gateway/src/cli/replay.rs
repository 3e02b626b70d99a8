//! `tidegate replay`: derives records again from a data directory's log.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use serde_json::json;

use super::args::{From, ReplayArgs};
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::say;
use super::progress::{Of, Progress};
use crate::explain::{self, ExplainError, Past, line};

/// What a replay did.
#[derive(Debug, Default)]
struct Summary {
    began: u64,
    until: u64,
    entries: u64,
    entries_missing: u64,
    entries_unreadable: u64,
    records: u64,
}

/// Prints the records.
pub(super) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    Failure::need_data(&settings.data_dir)?;
    let disk = explain::look(&settings).map_err(failed)?;
    let past = Past::open(disk, &settings.site, settings.log).map_err(failed)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = |line: &str| {
        out.write_all(line.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
    };
    let derived = derive(&past, args, &mut write);
    let flushed = out.flush();
    let summary = match derived {
        Err(Stop::Output(source)) => return closed(source),
        Err(Stop::Past(error)) => return Err(failed(error)),
        Ok(summary) => summary,
    };
    flushed.or_else(closed)?;
    say(&if args.json {
        summary.json()
    } else {
        summary.text()
    });
    Ok(())
}

/// Why deriving ended before its end.
enum Stop {
    Past(ExplainError),
    Output(io::Error),
}

fn derive(
    past: &Past,
    args: &ReplayArgs,
    write: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<Summary, Stop> {
    let newest = past.bases().last().copied().unwrap_or(0);
    let (replay, from) = match args.from {
        None => past.begin_first().map(|replay| (replay, 0)),
        Some(From::Base) => past.begin_at_most(newest).map(|replay| (replay, newest)),
        Some(From::Position(from)) => past.begin_at_most(from).map(|replay| (replay, from)),
    }
    .map_err(Stop::Past)?;
    let until = args.until.unwrap_or(u64::MAX).min(past.end());
    let mut summary = Summary {
        began: replay.from,
        until,
        ..Summary::default()
    };
    let whole = until.saturating_sub(replay.from);
    let progress = Progress::begin("replay", Of::Entries, !args.json);
    for step in replay {
        let step = step.map_err(Stop::Past)?;
        if step.position >= until {
            break;
        }
        summary.entries += 1;
        summary.entries_missing += step.missing.end - step.missing.start;
        summary.entries_unreadable += u64::from(step.logged.is_none());
        for emitted in step.emitted.iter().filter(|one| one.place.position >= from) {
            write(&line(emitted)).map_err(Stop::Output)?;
            summary.records += 1;
        }
        progress.show(step.position.saturating_sub(summary.began), whole);
    }
    progress.end();
    Ok(summary)
}

impl Summary {
    fn text(&self) -> String {
        let mut text = format!(
            "replayed {} entries, positions {} to {}: {} records\n",
            self.entries, self.began, self.until, self.records
        );
        if self.entries_missing + self.entries_unreadable > 0 {
            let _ = writeln!(
                text,
                "{} entries were lost by the disk and {} cannot be read: their records are missing above",
                self.entries_missing, self.entries_unreadable
            );
        }
        text
    }

    fn json(&self) -> String {
        let summary = json!({
            "from_position": self.began,
            "until_position": self.until,
            "entries": self.entries,
            "entries_missing": self.entries_missing,
            "entries_unreadable": self.entries_unreadable,
            "records": self.records,
        });
        format!("{summary}\n")
    }
}

/// A reader that went away (`| head`) has seen enough.
fn closed(source: io::Error) -> Result<(), Failure> {
    if source.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(Failure::System { source })
    }
}

fn failed(error: ExplainError) -> Failure {
    Failure::Failed {
        command: "replay",
        source: error.into(),
    }
}
