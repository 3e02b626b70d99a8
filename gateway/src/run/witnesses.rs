//! Witnesses: a task for each, which has it asked whenever the audit log has grown.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::audit::AuditError;
use crate::audit::asking::{Asker, Asking, Witnessed};
use crate::backoff;
use crate::causes;
use crate::rules::settings::WitnessSettings;
use crate::time::Clock;

/// A witness that is asked.
pub(super) struct Asked {
    /// Its name.
    pub name: String,
    /// How it stands with it.
    pub standing: watch::Receiver<Witnessed>,
    /// Ends with the gateway.
    pub task: JoinHandle<()>,
}

/// Has every witness asked; `entries` is how many the log has.
pub(super) fn spawn(
    witnesses: &[WitnessSettings],
    data_dir: &Path,
    entries: &watch::Receiver<u64>,
    clock: &Arc<dyn Clock>,
) -> Vec<Asked> {
    let askers = witnesses.iter().filter_map(|settings| {
        // The configuration was not read if it were none.
        let asker = Asker::new(settings, data_dir).ok()?;
        Some((settings.name.clone(), asker))
    });
    let spawned = askers.map(|(name, asker)| {
        let (told, standing) = watch::channel(Witnessed::default());
        let witness = Witness {
            name: name.clone(),
            asker,
            clock: Arc::clone(clock),
            told,
        };
        let task = tokio::spawn(witness.run(entries.clone()));
        Asked {
            name,
            standing,
            task,
        }
    });
    spawned.collect()
}

struct Witness {
    name: String,
    asker: Asker,
    clock: Arc<dyn Clock>,
    told: watch::Sender<Witnessed>,
}

impl Witness {
    async fn run(self, mut entries: watch::Receiver<u64>) {
        let mut asking = Asking::new(self.cosigned().await, backoff::seed());
        loop {
            asking.grow(*entries.borrow_and_update());
            self.tell(asking.standing());
            if let Some(old) = asking.ask(self.clock.now().mono_us) {
                let answer = self.asker.ask(old).await;
                asking.hear(self.clock.now().mono_us, answer);
                continue;
            }
            let until_us = asking.next_deadline();
            let wait = until_us.map(|us| us.saturating_sub(self.clock.now().mono_us));
            tokio::select! {
                changed = entries.changed() => if changed.is_err() {
                    return;
                },
                () = passed(wait) => {}
            }
        }
    }

    /// What it has cosigned by now; what cannot be read is asked for from the beginning.
    async fn cosigned(&self) -> u64 {
        let asker = self.asker.clone();
        let read = tokio::task::spawn_blocking(move || asker.cosigned()).await;
        match read {
            Ok(Ok(cosigned)) => cosigned,
            // A log that has no entry yet.
            Ok(Err(AuditError::NoLog { .. })) | Err(_) => 0,
            Ok(Err(why)) => {
                tracing::warn!(
                    witness = self.name,
                    why = causes::told(&why),
                    "what a witness has cosigned cannot be read: it is asked from the beginning"
                );
                0
            }
        }
    }

    /// Has it seen in the status, and what changed in the log.
    fn tell(&self, standing: &Witnessed) {
        let before = self.told.send_replace(standing.clone());
        if standing.refused != before.refused
            && let Some(why) = &standing.refused
        {
            tracing::error!(
                witness = self.name,
                why,
                "a witness refuses to cosign this gateway's audit log"
            );
        }
        if standing.silent.is_some() != before.silent.is_some()
            && let Some(why) = &standing.silent
        {
            tracing::warn!(
                witness = self.name,
                why,
                "a witness cannot be asked; it is tried again"
            );
        }
        if standing.cosigned > before.cosigned {
            tracing::debug!(
                witness = self.name,
                entries = standing.cosigned,
                "a witness has cosigned the audit log"
            );
        }
    }
}

/// After so many µs; never where nothing is due.
async fn passed(wait_us: Option<u64>) {
    match wait_us {
        Some(wait_us) => tokio::time::sleep(Duration::from_micros(wait_us)).await,
        None => std::future::pending().await,
    }
}
