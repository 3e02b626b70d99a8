//! Desk: where orders about devices go, to the running gateway or to the files of a stopped one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::Who;
use crate::cli::config::{self, Warnings};
use crate::cli::failure::Failure;
use crate::control::{self, AskError};
use crate::disk::data_dir::{DataDir, DataDirError};
use crate::disk::{Disk, RealDisk};
use crate::registry::registrar::{OrderError, Unaudited};
use crate::registry::{Answer, Order, Registrar};
use crate::rules::settings::Settings;
use crate::time::{Clock, SystemClock};
use crate::trust::Trust;

use super::failed;

/// Where orders go.
pub(super) struct Desk {
    /// The configuration.
    pub(super) settings: Settings,
    /// Its file.
    config: PathBuf,
}

/// Why an order cannot be given.
#[derive(Debug, thiserror::Error)]
enum DeskError {
    /// The running gateway has an older `[security]`.
    #[error(
        "the running gateway was started before [security] had a key, so it can keep no device's key yet; nothing was changed: restart it, then give the order again"
    )]
    StartedWithoutKey,
}

impl Desk {
    /// By a configuration's file.
    pub(super) fn open(config: &Path) -> Result<Self, Failure> {
        Ok(Self {
            settings: config::load(config, Warnings::Untold)?,
            config: config.to_owned(),
        })
    }

    /// Fails where a data directory is missing and must not be made: taken from another folder than
    /// the gateway's, a relative one would be a second one, whose devices no gateway knows.
    pub(super) fn need_place(&self) -> Result<(), Failure> {
        let data_dir = &self.settings.data_dir;
        if data_dir.is_absolute() || lies_here(&self.config) {
            return Ok(());
        }
        Failure::need_data(data_dir)
    }

    /// Asks the gateway first; only when nobody answers are the files opened.
    pub(super) fn ask(&self, order: &Order) -> Result<Answer, Failure> {
        let command = control::Command::Device(order.clone());
        match control::ask(&self.settings.data_dir, &command) {
            Ok(answer) => serde_json::from_value(answer).map_err(failed),
            Err(AskError::NotRunning { .. }) => self.carry_out(order),
            Err(why @ AskError::Refused { .. }) => Err(self.meant(why)),
            Err(why) => Err(why.into()),
        }
    }

    /// What a refusal means to whoever reads the configuration as it is now.
    fn meant(&self, why: AskError) -> Failure {
        let has_key = self.settings.security.key.is_some();
        match &why {
            AskError::Refused { reason } if has_key && *reason == OrderError::NoKey.to_string() => {
                failed(DeskError::StartedWithoutKey)
            }
            _ => failed(why),
        }
    }

    /// Carries an order out on the files; a gateway cannot start meanwhile.
    fn carry_out(&self, order: &Order) -> Result<Answer, Failure> {
        let data_dir = &self.settings.data_dir;
        let _held = if order.is_act() {
            self.need_place()?;
            Some(DataDir::hold(data_dir).map_err(|why| in_use(why, data_dir))?)
        } else {
            Failure::need_data(data_dir)?;
            DataDir::check(data_dir).map_err(failed)?;
            None
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(data_dir).map_err(failed)?);
        let now = SystemClock::new().now();
        if !order.is_act() {
            let registrar = Registrar::configured(disk, &self.settings.security);
            let mut registrar = registrar.map_err(failed)?;
            let answer = registrar.carry_out(order, now.wall_us, &mut Unaudited);
            return answer.map_err(failed);
        }
        let mut trust = Trust::of_stopped(&disk, &self.settings).map_err(failed)?;
        let answer = trust.carry_out(now, Who::this_user(), order);
        answer.map_err(failed)
    }
}

/// Whether a file's folder is the working directory.
fn lies_here(file: &Path) -> bool {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => return true,
    };
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    matches!((folder.canonicalize(), here), (Ok(folder), Ok(here)) if folder == here)
}

/// A gateway that holds the data directory and does not answer is told as such.
fn in_use(why: DataDirError, data_dir: &Path) -> Failure {
    match why {
        DataDirError::Held { holder, .. } => Failure::InUse {
            path: data_dir.to_owned(),
            holder,
        },
        why => failed(why),
    }
}
