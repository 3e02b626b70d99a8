//! Desk: where orders about devices go, to the running gateway or to the files of a stopped one.

use std::path::Path;
use std::sync::Arc;

use crate::audit::Who;
use crate::cli::config::{self, Warnings};
use crate::cli::failure::Failure;
use crate::control::{self, AskError};
use crate::disk::data_dir::{DataDir, DataDirError};
use crate::disk::{Disk, RealDisk};
use crate::registry::registrar::Unaudited;
use crate::registry::{Answer, Order, Registrar};
use crate::rules::settings::Settings;
use crate::time::{Clock, SystemClock};
use crate::trust::Trust;

use super::failed;

/// Where orders go.
pub(super) struct Desk {
    /// The configuration.
    pub(super) settings: Settings,
}

impl Desk {
    /// By a configuration's file.
    pub(super) fn open(config: &Path) -> Result<Self, Failure> {
        let settings = config::load(config, Warnings::Untold)?;
        Ok(Self { settings })
    }

    /// Asks the gateway first; only when nobody answers are the files opened.
    pub(super) fn ask(&self, order: &Order) -> Result<Answer, Failure> {
        let command = control::Command::Device(order.clone());
        match control::ask(&self.settings.data_dir, &command) {
            Ok(answer) => serde_json::from_value(answer).map_err(failed),
            Err(AskError::NotRunning { .. }) => self.carry_out(order),
            Err(why @ AskError::Refused { .. }) => Err(failed(why)),
            Err(why) => Err(why.into()),
        }
    }

    /// Carries an order out on the files; a gateway cannot start meanwhile.
    fn carry_out(&self, order: &Order) -> Result<Answer, Failure> {
        let data_dir = &self.settings.data_dir;
        let _held = if order.is_act() {
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
