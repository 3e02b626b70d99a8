//! One sealed secret in a file of its own, replaced whole or not at all.
//!
//! The file is written under another name, made durable and renamed: a power cut leaves the former
//! or the new one. Both are for their owner alone.

use std::io;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{AtRest, SealError};
use crate::disk::Disk;

/// Most bytes of a sealed file: the registry of a hundred thousand devices has half of it.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// Why a sealed file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not open.
    #[error("{name} in the data directory cannot be opened, and nothing was changed: {why}")]
    Sealed {
        /// The file.
        name: String,
        /// Why not.
        why: SealError,
    },
    /// It is there and no key is.
    #[error(
        "{name} in the data directory is sealed, and the configuration names no key to open it with: nothing was changed; name it as security.key"
    )]
    NoKey {
        /// The file.
        name: String,
    },
    /// It is longer than any.
    #[error(
        "{name} in the data directory is longer than {FILE_BYTES_MAX} bytes, which none is: nothing was changed"
    )]
    TooLong {
        /// The file.
        name: String,
    },
    /// It cannot be read.
    #[error("{name} in the data directory cannot be read; nothing was changed")]
    Unreadable {
        /// The file.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be written.
    #[error(
        "{name} in the data directory could not be made durable: what was there before holds, unless it says otherwise now"
    )]
    Unwritten {
        /// The file.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

/// Reads and opens the file of a name; none where there is no such file.
pub fn read(
    disk: &Arc<dyn Disk>,
    name: &str,
    context: &str,
    at_rest: Option<&AtRest>,
) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let Some(sealed) = read_sealed(disk, name)? else {
        return Ok(None);
    };
    let name = name.to_owned();
    let Some(at_rest) = at_rest else {
        return Err(FileError::NoKey { name });
    };
    let opened = at_rest.open(context, &sealed);
    opened
        .map(Some)
        .map_err(|why| FileError::Sealed { name, why })
}

/// The file's bytes as they are.
fn read_sealed(disk: &Arc<dyn Disk>, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let unreadable = |source| FileError::Unreadable {
        name: name.to_owned(),
        source,
    };
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    let length = file.bytes().map_err(unreadable)?;
    if length > FILE_BYTES_MAX {
        let name = name.to_owned();
        return Err(FileError::TooLong { name });
    }
    let mut sealed = vec![0; length as usize];
    let count = file.read_at(0, &mut sealed).map_err(unreadable)?;
    sealed.truncate(count);
    Ok(Some(sealed))
}

/// Seals `plain` into the file of a name, which has it or what it had before.
pub fn write(
    disk: &Arc<dyn Disk>,
    name: &str,
    context: &str,
    at_rest: &AtRest,
    plain: &[u8],
) -> Result<(), FileError> {
    prepare(disk, name, context, at_rest, plain)?;
    commit(disk, name)
}

/// Seals `plain` into the file of a name under another name, durably: what is to become of it is
/// decided elsewhere, and [`commit`] puts it in its place.
pub fn prepare(
    disk: &Arc<dyn Disk>,
    name: &str,
    context: &str,
    at_rest: &AtRest,
    plain: &[u8],
) -> Result<(), FileError> {
    let sealed = at_rest.seal(context, plain).map_err(io::Error::other);
    let written = sealed.and_then(|sealed| {
        let file = disk.create_private(&next_of(name))?;
        file.write_at(0, &sealed)?;
        file.sync()?;
        disk.sync_dir("")
    });
    written.map_err(unwritten(name))
}

/// Puts what was prepared into its place; where that was done and not made durable, makes it so.
pub fn commit(disk: &Arc<dyn Disk>, name: &str) -> Result<(), FileError> {
    let renamed = if is_prepared(disk, name) {
        disk.rename(&next_of(name), name)
    } else {
        Ok(())
    };
    let put = renamed.and_then(|()| disk.sync_dir(""));
    put.map_err(unwritten(name))
}

/// What was prepared and not committed; none where there is nothing, or nothing whole.
pub fn prepared(
    disk: &Arc<dyn Disk>,
    name: &str,
    context: &str,
    at_rest: &AtRest,
) -> Option<Zeroizing<Vec<u8>>> {
    read(disk, &next_of(name), context, Some(at_rest)).ok()?
}

/// Whether something was prepared, be it not whole.
pub fn is_prepared(disk: &Arc<dyn Disk>, name: &str) -> bool {
    disk.open(&next_of(name)).is_ok()
}

/// Removes what was prepared. What cannot be removed is in nobody's way.
pub fn discard(disk: &Arc<dyn Disk>, name: &str) {
    let _ = disk.remove(&next_of(name));
}

fn unwritten(name: &str) -> impl FnOnce(io::Error) -> FileError + use<> {
    let name = name.to_owned();
    |source| FileError::Unwritten { name, source }
}

fn next_of(name: &str) -> String {
    format!("{name}.next")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::at_rest::tests::at_rest;
    use crate::disk::fault::Torn;
    use crate::disk::{FaultDisk, RealDisk};

    fn read_with(disk: &FaultDisk, at_rest: Option<&AtRest>) -> Result<Option<Vec<u8>>, String> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let read = read(&disk, "seed", "seed", at_rest);
        read.map(|plain| plain.map(|plain| plain.to_vec()))
            .map_err(|why| why.to_string())
    }

    fn write_on(disk: &FaultDisk, plain: &[u8]) -> Result<(), FileError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        write(&disk, "seed", "seed", &at_rest(1), plain)
    }

    #[test]
    fn a_cut_at_any_moment_leaves_the_former_or_the_new_one() {
        let steps = {
            let disk = FaultDisk::new();
            write_on(&disk, b"former").unwrap();
            let before = disk.mutations();
            write_on(&disk, b"new").unwrap();
            before..disk.mutations() + 1
        };
        assert!(steps.clone().count() >= 5, "{steps:?}");
        for nth in steps {
            for seed in 0..20 {
                let disk = FaultDisk::new();
                write_on(&disk, b"former").unwrap();
                disk.cut_at(nth);
                let written = write_on(&disk, b"new");
                let next = disk.after_cut(Torn::Sectors(seed));
                let found = read_with(&next, Some(&at_rest(1))).unwrap().unwrap();
                let is_one = found == b"new" || found == b"former" && written.is_err();
                assert!(is_one, "cut {nth}, seed {seed}: {found:?}, {written:?}");
            }
        }
    }

    #[test]
    fn what_does_not_open_says_why_and_stays() {
        let disk = FaultDisk::new();
        assert_eq!(read_with(&disk, None), Ok(None));
        write_on(&disk, b"sesame").unwrap();
        let whole = disk.content("seed").unwrap();
        let why = read_with(&disk, Some(&at_rest(2))).unwrap_err();
        assert!(why.contains("another key") && why.contains("nothing was changed"));
        assert!(!why.contains("damaged"), "{why}");
        let why = read_with(&disk, None).unwrap_err();
        assert!(why.contains("security.key"), "{why}");
        let mut damaged = whole.clone();
        damaged[50] ^= 1;
        disk.put("seed", damaged);
        let why = read_with(&disk, Some(&at_rest(1))).unwrap_err();
        assert!(why.contains("damaged"), "{why}");
        disk.put("seed", whole);
        assert_eq!(
            read_with(&disk, Some(&at_rest(1))),
            Ok(Some(b"sesame".to_vec()))
        );
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        // What somebody else left there with other rights is no place for a secret.
        std::fs::write(dir.path().join("seed.next"), "old").unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
        write(&disk, "seed", "seed", &at_rest(1), b"sesame").unwrap();
        let found = std::fs::metadata(dir.path().join("seed")).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        let opened = read(&disk, "seed", "seed", Some(&at_rest(1)));
        assert_eq!(opened.unwrap().unwrap().as_slice(), b"sesame");
    }
}
