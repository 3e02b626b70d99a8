//! `tidegate audit request --ask`: has a witness of the configuration cosign now.

use std::path::Path;

use super::{failed, with_newest};
use crate::audit::asking::{Asker, Asking};
use crate::cli::config::{self, Warnings};
use crate::cli::failure::Failure;
use crate::rules::nearest;

/// Why a witness gave no cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum Remote {
    /// It is none of the configuration's.
    #[error("there is no [witness.{name}] in the configuration{}", hint(.nearest.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// It refuses.
    #[error("the witness {name} refuses: {why}")]
    Refused {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// It cannot be asked.
    #[error("the witness {name} cannot be asked, nothing was changed: {why}")]
    Silent {
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Has the newest checkpoint cosigned; gives how many entries are.
pub(super) fn ask(config: &Path, name: &str, data_dir: &Path) -> Result<u64, Failure> {
    let settings = config::load(config, Warnings::Untold)?;
    let witness = settings.witnesses.iter().find(|one| one.name == name);
    let witness = witness.ok_or_else(|| {
        let names = settings.witnesses.iter().map(|one| one.name.as_str());
        failed(Remote::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, names).map(str::to_owned),
        })
    })?;
    let asker = Asker::new(witness, data_dir).map_err(failed)?;
    let size = with_newest(data_dir, |log, _| Ok(log.size()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { source })?;
    let mut asking = Asking::new(asker.cosigned().map_err(failed)?, 0);
    asking.grow(size);
    // What is due now: it is asked once more where it has cosigned another size than was thought.
    while let Some(old) = asking.ask(0) {
        let answer = runtime.block_on(asker.ask(old));
        asking.hear(0, answer);
    }
    let (name, standing) = (name.to_owned(), asking.standing().clone());
    match (standing.refused, standing.silent) {
        (Some(why), _) => Err(Failure::NotCosigned {
            source: Box::new(Remote::Refused { name, why }),
        }),
        (None, Some(why)) => Err(failed(Remote::Silent { name, why })),
        (None, None) => Ok(standing.cosigned),
    }
}
