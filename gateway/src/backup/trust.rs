//! What trust needs: registry, audit log with its key, and what a witness knows.
//!
//! ```text
//! written:  audit-key ──► registry.next ──► entry in the audit log ──► registry
//!           witness-key ──► what the witness knows
//! read:     registry.next, registry, audit-key, audit log, what the witness knows, witness-key
//! ```
//! So the copied log has at least the entries of what the copied registry holds, and the keys that
//! signed and cosigned come along. Where the registry became another meanwhile it is all read again,
//! so that the log has no more entries either, unless orders come without a pause.

use super::{BackupError, Packer, READINGS_MAX};
use crate::audit::{AuditError, copy, witness};
use crate::log::LogError;
use crate::registry::store;
use crate::trust::{SEED, WITNESS_SEED};

/// Sealed files: for their owner alone.
pub(super) const SEALED: [&str; 4] = [store::FILE, store::NEXT, SEED, WITNESS_SEED];

impl Packer<'_> {
    pub(super) fn pack_trust(&mut self) -> Result<(), BackupError> {
        for reading in 1..=READINGS_MAX {
            let begin = self.bookmark()?;
            let before = self.registries()?;
            self.pack_trust_once()?;
            if self.registries()? == before || reading == READINGS_MAX {
                break;
            }
            self.back_to(begin)?;
        }
        Ok(())
    }

    /// The registry, and what it is to become, as they are now.
    fn registries(&self) -> Result<[Option<Vec<u8>>; 2], BackupError> {
        let read = |path: &str| {
            let Some(file) = self.open(path)? else {
                return Ok(None);
            };
            let failed = |source| LogError::read(path, source);
            let mut bytes = vec![0; file.bytes().map_err(failed)? as usize];
            let count = file.read_at(0, &mut bytes).map_err(failed)?;
            bytes.truncate(count);
            Ok::<_, BackupError>(Some(bytes))
        };
        Ok([read(store::NEXT)?, read(store::FILE)?])
    }

    fn pack_trust_once(&mut self) -> Result<(), BackupError> {
        self.pack_file(store::NEXT, u64::MAX)?;
        self.summary.registry = self.pack_file(store::FILE, u64::MAX)?;
        let has_seed = self.pack_file(SEED, u64::MAX)?;
        let has_log = self.pack_audit()?;
        self.summary.audit_log = has_log;
        if has_log && !has_seed {
            // The log was begun just now.
            self.pack_file(SEED, u64::MAX)?;
        }
        let known = self.disk.list(witness::FOLDER);
        for name in known.map_err(|source| LogError::read(witness::FOLDER, source))? {
            if witness::is_name(&name) {
                self.pack_file(&format!("{}/{name}", witness::FOLDER), u64::MAX)?;
            }
        }
        self.pack_file(WITNESS_SEED, u64::MAX)?;
        Ok(())
    }

    /// Packs the audit log as it is at one checkpoint; false where there is none.
    fn pack_audit(&mut self) -> Result<bool, BackupError> {
        let mut missing = String::new();
        for _ in 0..READINGS_MAX {
            let begin = self.bookmark()?;
            let Some(parts) = copy::parts(self.disk)? else {
                return Ok(false);
            };
            match self.pack_parts(parts)? {
                None => return Ok(true),
                Some(path) => missing = path,
            }
            self.back_to(begin)?;
        }
        Err(AuditError::TileMissing { path: missing }.into())
    }

    /// Packs them; gives the first that is not there, or not any more.
    fn pack_parts(&mut self, parts: copy::Parts) -> Result<Option<String>, BackupError> {
        for path in parts.tiles {
            if !self.pack_file(&path, u64::MAX)? {
                return Ok(Some(path));
            }
        }
        for (path, bytes) in parts.small {
            self.pack_bytes(&path, &bytes)?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
