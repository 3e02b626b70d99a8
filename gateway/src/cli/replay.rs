//! `tidegate replay`: other rules on the log that is there, and what would be different.

mod as_logged;
mod text;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{Bound, From, ReplayArgs};
use super::config::{self, Warnings};
use super::failure::{AnyError, Failure};
use super::output::{print, print_as_is};
use super::progress::{Of, Progress};
use crate::comparison::{self, Report};
use crate::disk::Disk;
use crate::explain::stretch::{Asked, Edge};
use crate::explain::{self, ExplainError, Past, line};
use crate::rules::settings::Settings;

/// Replays.
pub(super) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let warnings = if args.as_logged {
        Warnings::Untold
    } else {
        Warnings::Told
    };
    let settings = config::load(&args.config, warnings)?;
    Failure::need_data(&settings.data_dir)?;
    let disk = explain::look(&settings).map_err(failed)?;
    let past = Past::open(Arc::clone(&disk), &settings.site, settings.log).map_err(failed)?;
    let asked = asked(args, &past);
    if args.as_logged {
        return as_logged::print(&past, asked, args.json);
    }
    let report = compare(args, &disk, &past, &settings, asked)?;
    if args.json {
        print_as_is(&json(&report)?)
    } else {
        print(&text::render(&report, &args.config.to_string_lossy()))
    }
}

fn asked(args: &ReplayArgs, past: &Past) -> Asked {
    let edge = |bound| match bound {
        Bound::Position(position) => Edge::Position(position),
        Bound::Time(time_us) => Edge::Time(time_us),
    };
    let newest = || past.bases().last().copied().unwrap_or(0);
    Asked {
        from: args.from.map(|from| match from {
            From::Base => Edge::Position(newest()),
            From::Bound(bound) => edge(bound),
        }),
        to: args.to.map(edge),
    }
}

fn compare(
    args: &ReplayArgs,
    disk: &Arc<dyn Disk>,
    past: &Past,
    settings: &Settings,
    asked: Asked,
) -> Result<Report, Failure> {
    let mut out = match &args.write {
        Some(path) => Some(begin_file(path, &settings.data_dir)?),
        None => None,
    };
    let progress = Progress::begin("replay", Of::Entries, !args.json);
    let report = comparison::compare(
        disk,
        past,
        settings,
        asked,
        &mut |emitted| match &mut out {
            Some(out) => writeln!(out, "{}", line(emitted)),
            None => Ok(()),
        },
        &mut |done, whole| progress.show(done, whole),
    );
    progress.end();
    let report = report.map_err(failed)?;
    if let Some(out) = &mut out {
        out.flush().map_err(failed)?;
    }
    Ok(report)
}

/// A new file for the records; never one that is there already, and none among the gateway's.
fn begin_file(path: &Path, data_dir: &Path) -> Result<BufWriter<File>, Failure> {
    let refused = |source: io::Error| Failure::Unwritable {
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let folder = folder.canonicalize().map_err(refused)?;
    if folder.starts_with(data_dir.canonicalize().map_err(refused)?) {
        let why = io::Error::other("it would stand in the gateway's data directory");
        return Err(refused(why));
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.map(BufWriter::new).map_err(refused)
}

fn json(report: &Report) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(report).map_err(failed)?;
    Ok(format!("{json}\n"))
}

fn failed(error: impl Into<AnyError>) -> Failure {
    Failure::Failed {
        command: "replay",
        source: error.into(),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::begin_file;

    #[test]
    fn records_go_into_a_new_file_outside_the_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("spool")).unwrap();
        let there = folder.path().join("there.ndjson");
        fs::write(&there, "kept").unwrap();
        assert!(begin_file(&there, &data).is_err());
        assert_eq!(fs::read(&there).unwrap(), b"kept");
        for name in [
            "data/new.ndjson",
            "data/spool/new.ndjson",
            "data/../data/new.ndjson",
        ] {
            assert!(
                begin_file(&folder.path().join(name), &data).is_err(),
                "{name}"
            );
        }
        assert!(begin_file(&folder.path().join("no-folder/new.ndjson"), &data).is_err());
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        assert!(begin_file(&folder.path().join("new.ndjson"), &data).is_ok());
    }
}
