//! The audit log with its signing key: opened, or begun once.
//!
//! ```text
//! audit-key, opened    begun u8, 0 or 1 | seed of the Ed25519 key, 32 bytes
//! ```
//! `begun` is 0 before the log is made and 1 before anything is noted in it. So a log that is gone
//! is told from one that never was, and is not begun anew: no key would be valid by the new one,
//! and what the old one said would be forgotten.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{SEED, TrustError, Whose};
use crate::at_rest::{self, AtRest};
use crate::audit::{self, Log};
use crate::disk::Disk;

const SEED_BYTES: usize = 32;

/// The signing key as its file has it.
struct Signing {
    is_begun: bool,
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

/// Opens the log; makes key and log where there is neither.
pub(super) fn open_log(
    disk: &Arc<dyn Disk>,
    at_rest: &AtRest,
    whose: Whose<'_>,
) -> Result<Log, TrustError> {
    let is_there = Log::is_there(disk);
    let mut signing = match read(disk, at_rest)? {
        Some(signing) => signing,
        None if is_there => return Err(TrustError::NoSeed),
        None => Signing::draw()?,
    };
    if signing.is_begun && !is_there {
        return Err(TrustError::LogGone);
    }
    let log = if is_there {
        Log::open(Arc::clone(disk), &signing.seed)?
    } else {
        write(disk, at_rest, &signing)?;
        let origin = audit::origin_of(whose.site, whose.gateway);
        Log::create(Arc::clone(disk), &origin, &signing.seed)?
    };
    if !signing.is_begun {
        signing.is_begun = true;
        write(disk, at_rest, &signing)?;
    }
    Ok(log)
}

impl Signing {
    fn draw() -> Result<Self, TrustError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(&mut *seed).map_err(TrustError::Random)?;
        Ok(Self {
            is_begun: false,
            seed,
        })
    }
}

fn read(disk: &Arc<dyn Disk>, at_rest: &AtRest) -> Result<Option<Signing>, TrustError> {
    let Some(bytes) = at_rest::file::read(disk, SEED, SEED, Some(at_rest))? else {
        return Ok(None);
    };
    let parts = bytes.split_first();
    let signing = parts.and_then(|(begun, seed)| {
        let is_begun = match begun {
            0 => false,
            1 => true,
            _ => return None,
        };
        let seed = Zeroizing::new(<[u8; SEED_BYTES]>::try_from(seed).ok()?);
        Some(Signing { is_begun, seed })
    });
    signing.map(Some).ok_or(TrustError::SeedUnsound)
}

fn write(disk: &Arc<dyn Disk>, at_rest: &AtRest, signing: &Signing) -> Result<(), TrustError> {
    let mut plain = Zeroizing::new([0; 1 + SEED_BYTES]);
    let (begun, seed) = plain.split_at_mut(1);
    begun.fill(u8::from(signing.is_begun));
    seed.copy_from_slice(&*signing.seed);
    Ok(at_rest::file::write(disk, SEED, SEED, at_rest, &*plain)?)
}
