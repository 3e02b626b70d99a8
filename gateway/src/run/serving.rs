//! Serving: the doors by which people and programs ask the gateway.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::RunError;
use super::answers::Answers;
use crate::audit::witness;
use crate::control::Control;
use crate::disk::data_dir::lock_of;
use crate::disk::{Disk, RealDisk};
use crate::http::{Cosigner, Door};
use crate::rules::settings::Settings;
use crate::time::Clock;
use crate::trust::witness_signer;

/// Opens the control socket. Without it the gateway runs; commands then read the files.
pub(super) fn open_control(settings: &Settings) -> Option<Control> {
    Control::open(&settings.data_dir)
        .inspect_err(|error| tracing::warn!(%error, "commands cannot ask this gateway"))
        .ok()
}

pub(super) fn serve(control: Control, answers: &Arc<Answers>) -> JoinHandle<()> {
    let answers = Arc::clone(answers);
    tokio::spawn(async move { control.serve(answers, std::future::pending()).await })
}

/// Has the door take requests to a witness where the configuration says so.
pub(super) fn with_witness(
    door: Door,
    settings: &Settings,
    gateway: u64,
    clock: &Arc<dyn Clock>,
) -> Result<Door, RunError> {
    if !settings.http.as_ref().is_some_and(|http| http.witness) {
        return Ok(door);
    }
    let dir = &settings.data_dir;
    let refused = |source| RunError::Disk {
        dir: dir.clone(),
        source,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::existing(dir).map_err(refused)?);
    let _held = lock_of(&dir.join(witness::FOLDER)).map_err(refused)?;
    let whose = (settings.site.as_str(), gateway);
    let signer = witness_signer(&disk, &settings.security, whose, None)?;
    let key = signer.public().text();
    tracing::info!(
        key,
        "this gateway is a witness of the audit logs that it watches"
    );
    Ok(door.with_witness(Cosigner::new(disk, dir, signer, Arc::clone(clock))))
}

/// Serves page, API and metrics until the task is aborted.
pub(super) fn serve_http(
    door: Door,
    answers: &Arc<Answers>,
    clock: Arc<dyn Clock>,
) -> (String, JoinHandle<()>) {
    let url = door.url();
    tracing::info!(%url, "page, API and metrics are served");
    (url, tokio::spawn(door.serve(Arc::clone(answers), clock)))
}
