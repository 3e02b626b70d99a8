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
use crate::disk::data_dir::DataDir;
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, RealDisk};
use crate::inspection::check;
use crate::inspection::repair::{Repaired, repair};
use crate::rules::settings::Settings;
use crate::time::{Clock, SystemClock};

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
        repair(&real, &settings, drawn | 1, now, &mut show).map_err(failed)?
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
