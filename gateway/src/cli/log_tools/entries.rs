//! Entries shown in words or printed as JSON.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{failed, load};
use crate::cli::args::{Bound, EntryFilter, LogExportArgs, LogInspectArgs};
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_as_is, say};
use crate::disk::Disk;
use crate::inspection::Room;
use crate::inspection::entries::{LogEntry, journal_json, journal_line, read_record, record_line};
use crate::inspection::files::{self, SegmentFile};
use crate::inspection::headers;
use crate::inspection::walk::{Walked, walk};
use crate::record::to_json;
use crate::rules::settings::Settings;
use crate::store::waiting;

/// How entries are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Words,
    Json,
}

/// Shows entries, or one, or a file's batches.
pub(super) fn inspect(args: &LogInspectArgs) -> Result<(), Failure> {
    let (settings, disk) = load(&args.config)?;
    let form = if args.json { Form::Json } else { Form::Words };
    let Some(what) = &args.what else {
        return show(&settings, &disk, &args.filter, form);
    };
    if let Ok(position) = what.parse::<u64>() {
        return one(&settings, &disk, position, form);
    }
    let path = relative(what, &settings.data_dir);
    let rows = headers::of_file(&disk, &path).map_err(failed)?;
    let rows = rows.ok_or_else(|| Failure::NoSuch {
        what: format!("segment or base {path}"),
        path: settings.data_dir.clone(),
    })?;
    rows.iter().try_for_each(|row| match form {
        Form::Json => print_as_is(&format!("{row}\n")),
        Form::Words => print(&row_words(row)),
    })
}

/// Prints entries as JSON.
pub(super) fn export(args: &LogExportArgs) -> Result<(), Failure> {
    let (settings, disk) = load(&args.config)?;
    if args.filter.room == Room::Spool {
        return export_records(&settings, &disk, &args.filter);
    }
    show(&settings, &disk, &args.filter, Form::Json)
}

/// A path as a person writes it, relative to the data directory.
fn relative(what: &str, data_dir: &Path) -> String {
    let path = Path::new(what);
    let inside = path.strip_prefix(data_dir).unwrap_or(path);
    inside.to_string_lossy().into_owned()
}

fn row_words(row: &Value) -> String {
    let Value::Object(fields) = row else {
        return String::new();
    };
    let mut line = fields["is"].as_str().unwrap_or_default().to_owned();
    for (name, value) in fields.iter().filter(|(name, _)| *name != "is") {
        line.extend(["  ", name, " ", &value.to_string()]);
    }
    line + "\n"
}

/// One entry with everything it holds.
fn one(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    position: u64,
    form: Form,
) -> Result<(), Failure> {
    let listed = files::list(&**disk, Room::Log).map_err(failed)?;
    let mut found = None;
    // Of two versions of a position the newer segment's counts.
    let may_hold = |file: &&SegmentFile| {
        file.first <= position && file.limit.is_none_or(|limit| position < limit)
    };
    for segment in listed.segments.iter().filter(may_hold) {
        read(disk, segment, |at, bytes| {
            if at == position {
                found = Some(LogEntry::read(at, bytes));
            }
            Ok(())
        })?;
    }
    let entry = found.ok_or_else(|| Failure::NoSuch {
        what: format!("entry {position} that can be read"),
        path: settings.data_dir.clone(),
    })?;
    match form {
        Form::Json => print_as_is(&format!("{}\n", entry.to_json())),
        Form::Words => print(&format!("{}\n{:#}\n", entry.line(), entry.to_json())),
    }
}

/// A segment's entries; what was recycled meanwhile or is damaged is told on stderr.
fn read(
    disk: &Arc<dyn Disk>,
    segment: &SegmentFile,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    let walked = walk(disk, segment, |_, entries| {
        for (position, bytes) in entries {
            if outcome.is_ok() {
                outcome = each(position, bytes);
            }
        }
    });
    outcome?;
    let gone = disk.open(&segment.path).is_err();
    match walked {
        _ if gone => say(&format!("{}: recycled meanwhile\n", segment.path)),
        Ok(walked) => tell_damage(segment, &walked),
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

fn tell_damage(segment: &SegmentFile, walked: &Walked) {
    if walked.damaged_places > 0 {
        say(&format!(
            "{}: damaged in {} places; tidegate log check tells which\n",
            segment.path, walked.damaged_places
        ));
    }
}

/// Lines to stdout until its reader goes away.
struct Out(io::BufWriter<io::StdoutLock<'static>>);

impl Out {
    fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// False when nobody reads any more.
    fn line(&mut self, line: &str) -> Result<bool, Failure> {
        ended(writeln!(self.0, "{line}"))
    }

    fn end(mut self) -> Result<(), Failure> {
        ended(self.0.flush()).map(drop)
    }
}

fn ended(written: io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Failure::System { source }),
    }
}

fn show(
    _settings: &Settings,
    disk: &Arc<dyn Disk>,
    filter: &EntryFilter,
    form: Form,
) -> Result<(), Failure> {
    let mut out = Out::new();
    let mut reading = true;
    for segment in files::list(&**disk, filter.room).map_err(failed)?.segments {
        if !reading {
            break;
        }
        if is_beyond(&segment, filter) {
            continue;
        }
        let queue = segment.prefix.clone();
        read(disk, &segment, |position, bytes| {
            if reading && let Some(line) = line(filter, form, &queue, position, bytes) {
                reading = out.line(&line)?;
            }
            Ok(())
        })?;
    }
    out.end()
}

/// Whether a segment holds nothing that is asked for.
fn is_beyond(segment: &SegmentFile, filter: &EntryFilter) -> bool {
    let before = matches!((filter.from, segment.limit), (Some(Bound::Position(from)), Some(limit)) if limit <= from);
    let behind = matches!(filter.until, Some(Bound::Position(until)) if segment.first >= until);
    before || behind
}

/// An entry as a line; `None` when it is not asked for.
fn line(
    filter: &EntryFilter,
    form: Form,
    queue: &str,
    position: u64,
    bytes: &[u8],
) -> Option<String> {
    match filter.room {
        Room::Log => {
            let entry = LogEntry::read(position, bytes);
            let kind_fits = filter.kind.as_ref().is_none_or(|kind| kind == entry.kind());
            if !(kind_fits && is_within(filter, position, entry.wall_us())) {
                return None;
            }
            Some(match form {
                Form::Words => entry.line(),
                Form::Json => entry.to_json().to_string(),
            })
        }
        Room::Journal => is_within(filter, position, None).then(|| match form {
            Form::Words => journal_line(position, bytes),
            Form::Json => journal_json(position, bytes).to_string(),
        }),
        Room::Spool => {
            let record = read_record(bytes);
            let end_us = record.as_ref().map(|(_, record)| record.end_us);
            if !is_within(filter, position, end_us) {
                return None;
            }
            let Some((place, record)) = record else {
                return Some(format!(
                    "{queue} {position:>8}  a record that cannot be understood"
                ));
            };
            Some(match form {
                Form::Words => record_line(queue, position, place, &record),
                Form::Json => json!({
                    "room": "spool",
                    "queue": queue,
                    "index": position,
                    "record": serde_json::from_str::<Value>(&to_json(&record)).unwrap_or_default(),
                })
                .to_string(),
            })
        }
    }
}

/// Whether an entry lies within the bounds; one without a time is within bounds of time.
fn is_within(filter: &EntryFilter, position: u64, time_us: Option<i64>) -> bool {
    let reached = |bound: &Bound| match bound {
        Bound::Position(at) => position >= *at,
        Bound::Time(at) => time_us.is_some_and(|time| time >= *at),
    };
    let from = filter.from.as_ref();
    let begun = from.is_none_or(|from| reached(from) || is_timeless(from, time_us));
    begun && !filter.until.as_ref().is_some_and(reached)
}

fn is_timeless(bound: &Bound, time_us: Option<i64>) -> bool {
    matches!(bound, Bound::Time(_)) && time_us.is_none()
}

/// The records that wait, as the lines that a sink would get.
fn export_records(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    filter: &EntryFilter,
) -> Result<(), Failure> {
    let waits = waiting(disk, settings).map_err(failed)?;
    let mut out = Out::new();
    let mut reading = true;
    for segment in files::list(&**disk, Room::Spool).map_err(failed)?.segments {
        read(disk, &segment, |index, bytes| {
            let Some((_, record)) = read_record(bytes) else {
                return Ok(());
            };
            if reading
                && waits.holds(&segment.prefix, index)
                && is_within(filter, index, Some(record.end_us))
            {
                reading = out.line(&to_json(&record))?;
            }
            Ok(())
        })?;
    }
    out.end()
}
