//! As logged: the records that the log's own rules gave, derived again.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use serde_json::json;

use super::{ExplainError, closed, failed};
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::cli::progress::{Of, Progress};
use crate::explain::stretch::{Asked, Extent, Phase, Stretch};
use crate::explain::{Past, line};

/// Prints them, and a summary to stderr.
pub(super) fn print(past: &Past, asked: Asked, as_json: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = |line: &str| {
        out.write_all(line.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
    };
    let derived = derive(past, asked, !as_json, &mut write);
    let flushed = out.flush();
    let (extent, records) = match derived {
        Err(Stop::Output(source)) => return closed(source),
        Err(Stop::Past(error)) => return Err(failed(error)),
        Ok(derived) => derived,
    };
    flushed.or_else(closed)?;
    say(&if as_json {
        summary_json(&extent, records)
    } else {
        summary(&extent, records)
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
    asked: Asked,
    is_shown: bool,
    write: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(Extent, u64), Stop> {
    let (mut stretch, replay) = Stretch::begin(past, asked, 0).map_err(Stop::Past)?;
    let began = replay.from;
    let mut records = 0;
    let progress = Progress::begin("replay", Of::Entries, is_shown);
    for step in replay {
        let step = step.map_err(Stop::Past)?;
        let phase = stretch.place(&step);
        if phase == Phase::Behind {
            break;
        }
        let emitted = step.emitted.iter().filter(|_| phase == Phase::Within);
        for emitted in emitted {
            write(&line(emitted)).map_err(Stop::Output)?;
            records += 1;
        }
        progress.show(step.position - began, past.end() - began);
    }
    progress.end();
    let extent = stretch.end().map_err(Stop::Past)?;
    Ok((extent, records))
}

fn summary(extent: &Extent, records: u64) -> String {
    let from = extent.from_position.unwrap_or(extent.began_position);
    let mut text = format!(
        "{records} records of {} entries, positions {from} to {}\n",
        extent.entries, extent.to_position
    );
    text.push_str(&edges(extent));
    text
}

fn summary_json(extent: &Extent, records: u64) -> String {
    let summary = json!({ "log": extent, "records": records });
    format!("{summary}\n")
}

/// What the log does not hold of what was asked for.
pub(super) fn edges(extent: &Extent) -> String {
    let mut text = String::new();
    if let Some(time) = extent.reach_time.as_ref().filter(|_| !extent.is_reached) {
        let _ = writeln!(
            text,
            "records can be derived from {time} on (position {}): what is before it is not in the log any more",
            extent.reach_position
        );
    }
    if !extent.is_ended {
        let written = extent.to_time.as_deref().unwrap_or("an unknown time");
        let _ = writeln!(
            text,
            "the log ends before what was asked for, at position {}, written at {written}",
            extent.end_position
        );
    }
    if extent.entries_missing + extent.entries_unreadable > 0 {
        let _ = writeln!(
            text,
            "{} entries were lost by the disk and {} cannot be read: what they would have given is missing",
            extent.entries_missing, extent.entries_unreadable
        );
    }
    text
}
