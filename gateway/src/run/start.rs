//! Start: what happens before anything is received.

use std::sync::Arc;

use super::RunError;
use crate::conductor::{self, Conductor, Draws, Start};
use crate::disk::{Disk, RealDisk};
use crate::rules::settings::Settings;
use crate::session::Keyring;
use crate::time::{Timestamp, Word};
use crate::trust::{Trust, TrustError, Whose};

/// Counts the start and opens the store.
pub(super) fn begin(
    settings: &Settings,
    now: (Timestamp, Word),
) -> Result<(Start, Trust), RunError> {
    let disk = RealDisk::open(&settings.data_dir).map_err(|source| RunError::Disk {
        dir: settings.data_dir.clone(),
        source,
    })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let draws = Draws {
        gateway: draw()?,
        incarnation: draw()? as u32 | 1,
        spare_incarnation: draw()? as u32 | 1,
        term: draw()? as u32 | 1,
        counter: draw()? as u32,
    };
    let start = conductor::start(&disk, settings, draws, now)?;
    start.report.announce();
    let whose = Whose {
        site: settings.site.as_str(),
        gateway: start.identity.gateway,
        start: start.identity.start,
    };
    let trust = Trust::open(&disk, &settings.security, whose)?;
    Ok((start, trust))
}

/// Gives the conductor the keys in force, what is to be done about offences, and the audit log's
/// checkpoint.
pub(super) fn secure(
    conductor: &mut Conductor,
    settings: &Settings,
    (trust, keys): (&Trust, &Keyring),
    now: Timestamp,
) -> Result<(), TrustError> {
    conductor.set_keys(keys.clone());
    conductor.set_policy(settings.policy());
    for (device, until_us) in trust.held() {
        conductor.hold_device(now, device.clone(), *until_us);
    }
    if let Some(newest) = trust.checkpoint()? {
        conductor.take_checkpoint(newest);
    }
    if !trust.is_noted() {
        tracing::info!(
            "there is no audit log: name a key under [security] to have one, and to register devices"
        );
    }
    Ok(())
}

fn draw() -> Result<u64, RunError> {
    getrandom::u64().map_err(|error| RunError::System(std::io::Error::other(error)))
}
