//! The witness's secret: drawn once, sealed under `security.key`, or taken over from a file.
//!
//! ```text
//! witness-key, opened    seed of the Ed25519 key, 32 bytes
//! ```
//! It is not that of the gateway's own audit log. A gateway that has cosigned and has no secret any
//! more is not given another: those who verify its cosignatures know it by the one that it had.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::TrustError;
use crate::at_rest::{self, AtRest};
use crate::audit::{WitnessSigner, origin_of, witness};
use crate::disk::Disk;
use crate::rules::settings::SecuritySettings;

/// File of the witness's secret, sealed.
pub const WITNESS_SEED: &str = "witness-key";

const SEED_BYTES: usize = 32;

/// A secret that cosigns.
pub type WitnessSeed = Zeroizing<[u8; SEED_BYTES]>;

/// Who cosigns for a gateway: a witness by the name that its log has, too. `given` is a secret that
/// was kept elsewhere until now, and is kept sealed from here on.
///
/// # Errors
/// There is no key to seal under, the secret is gone or another, or the disk refused: nothing was
/// changed.
pub fn witness_signer(
    disk: &Arc<dyn Disk>,
    settings: &SecuritySettings,
    (site, gateway): (&str, u64),
    given: Option<WitnessSeed>,
) -> Result<WitnessSigner, TrustError> {
    let Some(key) = &settings.key else {
        return Err(TrustError::NoKeyForWitness);
    };
    let at_rest = at_rest::key::read(key)?;
    let seed = match (read(disk, &at_rest)?, given) {
        (Some(kept), Some(given)) if *kept != *given => return Err(TrustError::OtherWitnessSeed),
        (Some(kept), _) => kept,
        (None, Some(given)) => keep(disk, &at_rest, given)?,
        (None, None) if has_cosigned(disk) => return Err(TrustError::WitnessSeedGone),
        (None, None) => keep(disk, &at_rest, draw()?)?,
    };
    let name = format!("{}/witness", origin_of(site, gateway));
    Ok(WitnessSigner::new(&name, &seed))
}

/// Whether the gateway knows of others' logs.
fn has_cosigned(disk: &Arc<dyn Disk>) -> bool {
    let known = disk.list(witness::FOLDER);
    known.is_ok_and(|names| names.iter().any(|name| witness::is_name(name)))
}

fn draw() -> Result<WitnessSeed, TrustError> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    getrandom::fill(&mut *seed).map_err(TrustError::Random)?;
    Ok(seed)
}

fn read(disk: &Arc<dyn Disk>, at_rest: &AtRest) -> Result<Option<WitnessSeed>, TrustError> {
    let found = at_rest::file::read(disk, WITNESS_SEED, WITNESS_SEED, Some(at_rest))?;
    let seed = found.map(|bytes| {
        let seed = <[u8; SEED_BYTES]>::try_from(&bytes[..]);
        let seed = seed.map(Zeroizing::new);
        seed.map_err(|_| TrustError::WitnessSeedUnsound)
    });
    seed.transpose()
}

fn keep(
    disk: &Arc<dyn Disk>,
    at_rest: &AtRest,
    seed: WitnessSeed,
) -> Result<WitnessSeed, TrustError> {
    at_rest::file::write(disk, WITNESS_SEED, WITNESS_SEED, at_rest, &*seed)?;
    Ok(seed)
}
