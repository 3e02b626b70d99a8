//! `tidegate log check | inspect | export | repair`: the store's files as they lie.

mod entries;
mod report;

use std::path::Path;
use std::sync::Arc;

use super::args::{LogCheckArgs, LogCommand, LogRepairArgs};
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::{print, print_as_is, say};
use super::progress::{Of, Progress};
use crate::audit::{Act, Who};
use crate::causes;
use crate::disk::data_dir::DataDir;
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, RealDisk};
use crate::inspection::check;
use crate::inspection::repair::{Repaired, repair};
use crate::rules::settings::Settings;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::trust::Trust;

/// Most bytes that the audit log says of a repair.
const REPAIR_BYTES_MAX: usize = 32 << 10;

/// Runs one of them.
pub(super) fn run(command: &LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Check(args) => check_files(args),
        LogCommand::Inspect(args) => entries::inspect(args),
        LogCommand::Export(args) => entries::export(args),
        LogCommand::Repair(args) => repair_files(args),
    }
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed {
        command: "log",
        source: Box::new(source),
    }
}

/// Whether a gateway ever ran on a folder: an empty one is clean of nothing.
pub(super) fn is_data_dir(dir: &Path) -> bool {
    ["format", "identity", "log"]
        .iter()
        .any(|name| dir.join(name).exists())
}

fn load(config: &Path) -> Result<(Settings, Arc<dyn Disk>), Failure> {
    let settings = config::load(config, Warnings::Untold)?;
    if !is_data_dir(&settings.data_dir) {
        return Err(Failure::NoData {
            path: settings.data_dir,
        });
    }
    DataDir::check(&settings.data_dir).map_err(failed)?;
    let disk = RealDisk::existing(&settings.data_dir).map_err(failed)?;
    Ok((settings, Arc::new(disk)))
}

fn check_files(args: &LogCheckArgs) -> Result<(), Failure> {
    let (settings, disk) = load(&args.config)?;
    let bar = Progress::begin("reading", Of::Bytes, true);
    let found = check::check(&disk, &mut |done, total| bar.show(done, total));
    bar.end();
    let found = found.map_err(failed)?;
    if args.json {
        print_as_is(&format!("{}\n", report::to_json(&found)))?;
    } else {
        print(&report::check_lines(&settings, &found))?;
    }
    if found.clean {
        Ok(())
    } else {
        Err(Failure::Damaged)
    }
}

/// Has the audit log say what was repaired, where there is one.
fn note(disk: &Arc<dyn Disk>, settings: &Settings, now: Timestamp, repaired: &Repaired) {
    if repaired.steps.is_empty() || settings.security.key.is_none() {
        return;
    }
    let mut what = serde_json::to_string(&repaired.steps).unwrap_or_default();
    what.truncate(what.floor_char_boundary(REPAIR_BYTES_MAX));
    let act = Act::StoreRepaired { what };
    let noted = match Trust::of_stopped(disk, settings) {
        Ok(mut trust) => trust.note_of(now, Who::this_user(), act),
        Err(why) => Err(why.into()),
    };
    if let Err(why) = noted {
        let why = causes::told(&*why);
        say(&format!(
            "the audit log does not say that the store was repaired: {why}\n"
        ));
    }
}

fn repair_files(args: &LogRepairArgs) -> Result<(), Failure> {
    let (settings, real) = load(&args.config)?;
    let drawn = getrandom::u32().map_err(|error| Failure::System {
        source: std::io::Error::other(error),
    })?;
    let now = SystemClock::new().now();
    let bar = Progress::begin("reading", Of::Bytes, true);
    let mut show = |done, total| bar.show(done, total);
    let repaired: Repaired = if args.apply {
        let _held = DataDir::hold(&settings.data_dir).map_err(failed)?;
        let repaired = repair(&real, &settings, drawn | 1, now, &mut show).map_err(failed)?;
        note(&real, &settings, now, &repaired);
        repaired
    } else {
        if let Some(holder) = DataDir::holder(&settings.data_dir) {
            return Err(Failure::InUse {
                path: settings.data_dir,
                holder,
            });
        }
        // The same over the files, with every change in memory.
        let over: Arc<dyn Disk> = Arc::new(OverlayDisk::new(real));
        repair(&over, &settings, drawn | 1, now, &mut show).map_err(failed)?
    };
    bar.end();
    if args.json {
        print_as_is(&format!("{}\n", report::to_json(&repaired)))
    } else {
        if !args.apply && !repaired.steps.is_empty() {
            say("nothing was changed; with --apply this is done:\n");
        }
        print(&report::repair_lines(&settings, &repaired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::repair::Step;
    use crate::rules::parse;

    fn noted(data_dir: &Path) -> String {
        let bundle = data_dir.join("audit/tile/entries/000.p/1");
        let bytes = std::fs::read(bundle).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_repair_is_noted_where_there_is_a_key_and_something_was_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        std::fs::write(dir.path().join("key"), "5a".repeat(32)).unwrap();
        let text = format!(
            "[gateway]\nsite = \"plant\"\ndata_dir = \"{path}/data\"\n\
             [mqtt]\nurl = \"mqtt://127.0.0.1\"\n\
             [sink.file]\ntype = \"file\"\npath = \"{path}/records\"\n\
             [security]\nkey = {{ file = \"{path}/key\" }}\n"
        );
        let (settings, _) = parse(&text, "test").unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&settings.data_dir).unwrap());
        let now = SystemClock::new().now();
        let mut repaired = Repaired::default();
        note(&disk, &settings, now, &repaired);
        assert!(noted(&settings.data_dir).is_empty());
        repaired.steps.push(Step::MovedAside {
            file: "log/0001.base".into(),
            kept_as: "damaged/0001.base".into(),
        });
        let mut without = settings.clone();
        without.security.key = None;
        note(&disk, &without, now, &repaired);
        assert!(noted(&settings.data_dir).is_empty());
        note(&disk, &settings, now, &repaired);
        let said = noted(&settings.data_dir);
        assert!(
            said.contains("store-repaired") && said.contains("damaged/0001.base"),
            "{said}"
        );
    }
}
