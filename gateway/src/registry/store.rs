//! Store: the registry in one sealed file of the data directory.
//!
//! ```text
//! registry        sealed (see at_rest) as `device registry`
//! registry.next   the same: what it is to become, if that is noted
//! an export       sealed as `device registry export`: one is never taken for the other
//! either, opened  version u8 = 1 | the registry in postcard: devices, claims
//! ```

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Registry;
use crate::at_rest::file::{self, FileError};
use crate::at_rest::{AtRest, KeyError, SealError};
use crate::disk::Disk;

/// The registry's file.
pub const FILE: &str = "registry";
/// What the registry is to become.
pub const NEXT: &str = "registry.next";
/// Where a command lays an export that the gateway is to import.
pub const INCOMING: &str = "registry.incoming";

const CONTEXT: &str = "device registry";
const EXPORT_CONTEXT: &str = "device registry export";
const VERSION: u8 = 1;

/// Why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key that its file is sealed under.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What it holds.
    #[error("what {name} in the data directory holds cannot be read; nothing was changed: {why}")]
    Content {
        /// The file.
        name: &'static str,
        /// Why.
        why: ContentError,
    },
    /// An export does not open.
    #[error("the exported registry cannot be opened; nothing was imported: {0}")]
    Export(SealError),
    /// There is nothing to import.
    #[error("there is no {INCOMING} in the data directory; nothing was imported")]
    NothingIncoming,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes; nothing was changed: {0}")]
    Random(getrandom::Error),
}

/// Why a text of bytes is no registry, though it was sealed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A newer version wrote it.
    #[error("a newer version wrote it, in form {version}; this one knows forms up to {VERSION}")]
    Newer {
        /// The form.
        version: u8,
    },
    /// No version wrote it.
    #[error("no version of this program writes such a one")]
    Unsound,
}

/// Reads the registry; an empty one where there is no file.
pub fn read(disk: &Arc<dyn Disk>, at_rest: Option<&AtRest>) -> Result<Registry, StoreError> {
    let Some(plain) = file::read(disk, FILE, CONTEXT, at_rest)? else {
        return Ok(Registry::default());
    };
    decode(&plain).map_err(|why| StoreError::Content { name: FILE, why })
}

/// Whether there is a registry's file.
pub fn is_there(disk: &Arc<dyn Disk>) -> bool {
    disk.open(FILE).is_ok()
}

/// Writes the registry beside its file, durably: it is in force once what changed is noted.
pub fn prepare(
    disk: &Arc<dyn Disk>,
    at_rest: &AtRest,
    registry: &Registry,
) -> Result<(), StoreError> {
    let plain = encode(registry);
    Ok(file::prepare(disk, FILE, CONTEXT, at_rest, &plain)?)
}

/// Puts the registry that was prepared in the place of its file.
pub fn commit(disk: &Arc<dyn Disk>) -> Result<(), StoreError> {
    Ok(file::commit(disk, FILE)?)
}

/// Whether something was prepared, be it not whole.
pub fn is_prepared(disk: &Arc<dyn Disk>) -> bool {
    file::is_prepared(disk, FILE)
}

/// The registry that was prepared and not put in its place, if it is whole.
pub fn prepared(disk: &Arc<dyn Disk>, at_rest: &AtRest) -> Option<Registry> {
    decode(&file::prepared(disk, FILE, CONTEXT, at_rest)?).ok()
}

/// Removes a registry that was prepared.
pub fn discard(disk: &Arc<dyn Disk>) {
    file::discard(disk, FILE);
}

/// The registry sealed for another gateway: all devices, and no claim, which is open here alone.
pub fn export(at_rest: &AtRest, registry: &Registry) -> Result<Vec<u8>, StoreError> {
    let sealed = at_rest.seal(EXPORT_CONTEXT, &encode(&registry.without_claims()));
    sealed.map_err(StoreError::Random)
}

/// The registry that waits to be imported.
pub fn incoming(disk: &Arc<dyn Disk>, at_rest: &AtRest) -> Result<Registry, StoreError> {
    let read = file::read(disk, INCOMING, EXPORT_CONTEXT, Some(at_rest));
    let plain = read.map_err(|error| match error {
        FileError::Sealed { why, .. } => StoreError::Export(why),
        other => other.into(),
    })?;
    let plain = plain.ok_or(StoreError::NothingIncoming)?;
    decode(&plain).map_err(|why| StoreError::Content {
        name: INCOMING,
        why,
    })
}

fn encode(registry: &Registry) -> Zeroizing<Vec<u8>> {
    const NEVER: &str = "names, numbers and keys have a form in postcard";
    let bytes = postcard::experimental::serialized_size(registry).expect(NEVER);
    // All of it at once, so that no part is left behind where it grew.
    let mut plain = Zeroizing::new(vec![0; 1 + bytes]);
    if let Some((version, body)) = plain.split_first_mut() {
        *version = VERSION;
        postcard::to_slice(registry, body).expect(NEVER);
    }
    plain
}

fn decode(plain: &[u8]) -> Result<Registry, ContentError> {
    let read = match plain.split_first() {
        Some((&VERSION, body)) => whole(body),
        Some((&version, _)) if version > VERSION => return Err(ContentError::Newer { version }),
        _ => None,
    };
    let sound = read.filter(Registry::is_sound);
    sound.ok_or(ContentError::Unsound)
}

/// The registry that all of these bytes are.
fn whole(body: &[u8]) -> Option<Registry> {
    let (registry, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(registry)
}
