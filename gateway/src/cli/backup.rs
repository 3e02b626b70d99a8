//! `tidegate backup` and `tidegate restore`: a data directory as one file, and back.

use std::sync::Arc;

use super::args::{BackupArgs, RestoreArgs};
use super::config::{self, Warnings};
use super::failure::Failure;
use super::log_tools::is_data_dir;
use super::output::{print, print_as_is};
use super::progress::{Of, Progress};
use crate::backup::{self, BackupError, Summary};
use crate::disk::data_dir::DataDir;
use crate::disk::{Disk, RealDisk};
use crate::rules::show_size;
use crate::time::{Clock, SECOND_US, SystemClock};

fn failed(command: &'static str) -> impl Fn(BackupError) -> Failure {
    move |source| Failure::Failed {
        command,
        source: Box::new(source),
    }
}

/// Copies the data directory into a file.
pub(super) fn back_up(args: &BackupArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let failed = failed("backup");
    if !is_data_dir(&settings.data_dir) {
        return Err(Failure::NoData {
            path: settings.data_dir,
        });
    }
    DataDir::check(&settings.data_dir).map_err(|error| failed(error.into()))?;
    let disk = RealDisk::existing(&settings.data_dir);
    let disk: Arc<dyn Disk> = Arc::new(disk.map_err(|source| Failure::System { source })?);
    let bar = Progress::begin("copying", Of::Bytes, true);
    let now_s = u64::try_from(SystemClock::new().now().wall_us / SECOND_US).unwrap_or(0);
    let made = backup::back_up(&disk, &args.file, now_s, &mut |done, total| {
        bar.show(done, total);
    });
    bar.end();
    let summary = made.map_err(failed)?;
    tell(
        args.json,
        &summary,
        &format!(
            "{}: the log up to position {}, queues, journal, identity, {} of {}",
            args.file.display(),
            summary.log_end,
            trust_in(&summary),
            settings.data_dir.display()
        ),
    )
}

/// What says who may speak, as far as it is in a backup.
fn trust_in(summary: &Summary) -> &'static str {
    match (summary.registry, summary.audit_log) {
        (true, true) => "registry of devices and audit log",
        (false, true) => "audit log (there is no registry: no device was registered)",
        (true, false) => "registry of devices (there is no audit log)",
        (false, false) => "no registry of devices and no audit log (there are none)",
    }
}

/// Unpacks a file into an empty data directory.
pub(super) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let settings = config::load(&args.config, Warnings::Untold)?;
    let drawn = args.new_identity.then(getrandom::u64).transpose();
    let gateway = drawn.map_err(|error| Failure::System {
        source: std::io::Error::other(error),
    })?;
    let restored = backup::restore(&args.file, &settings.data_dir, gateway);
    let summary = restored.map_err(failed("restore"))?;
    tell(
        args.json,
        &summary,
        &format!(
            "{} is unpacked into {}; what was acked since the backup was made is counted as lost when the gateway hears of it",
            args.file.display(),
            settings.data_dir.display()
        ),
    )
}

fn tell(json: bool, summary: &Summary, words: &str) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string(summary).map_err(|error| Failure::System {
            source: std::io::Error::other(error),
        })?;
        return print_as_is(&format!("{text}\n"));
    }
    print(&format!(
        "{words}; {} files, {}\n",
        summary.files,
        show_size(summary.bytes)
    ))
}
