//! A file that holds a secret: for its owner alone, in the place of none, there before what goes
//! into it is made.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

const MODE: u32 = 0o600;

/// A new file, which goes again unless it is written.
pub(super) struct NewFile {
    path: PathBuf,
    file: Option<File>,
}

impl NewFile {
    /// Makes the file, empty.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(MODE).open(path);
        let file = made.map_err(|source| Failure::Unwritable {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
        })
    }

    /// Gives it to whom the file before it belongs, with the same mode: before anything is in it.
    ///
    /// # Errors
    /// This user may not; then it stays this one's alone.
    pub(super) fn belong_as(&self, former: &Metadata) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        fchown(file, Some(former.uid()), Some(former.gid()))?;
        file.set_permissions(Permissions::from_mode(former.mode() & 0o777))
    }

    /// Writes all of it, durably.
    pub(super) fn write(mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|source| Failure::NotKept {
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_owners_replaces_none_and_goes_when_nothing_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pump-1.page");
        drop(NewFile::create(&path).unwrap());
        assert!(!path.exists());
        NewFile::create(&path).unwrap().write(b"page").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"page");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(NewFile::create(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"page");
    }
}
