//! Sources: where files of a log are read from.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AuditError;
use super::tiles::FILE_BYTES_MAX;
use crate::disk::{Disk, RealDisk};

/// Files of a log by their path in its folder.
pub trait Source {
    /// Reads a file whole.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not there.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Names of the files in a folder, sorted; none when it is not there.
    ///
    /// # Errors
    /// The system refused.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
}

impl<S: Source + ?Sized> Source for &S {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        (**self).read(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        (**self).list(folder)
    }
}

/// Reads a file that has to be there; what is missing is `None`.
pub(super) fn find(source: &dyn Source, path: &str) -> Result<Option<Vec<u8>>, AuditError> {
    match source.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(refused(path, "read")(source)),
    }
}

/// What the system refused, as the room's error.
pub(super) fn refused(
    path: &str,
    to_be: &'static str,
) -> impl FnOnce(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Io {
        path,
        to_be,
        source,
    }
}

/// The same of writing.
pub(super) fn written(path: &str) -> impl FnOnce(io::Error) -> AuditError + use<> {
    refused(path, "written")
}

/// A folder of the machine, which is only read.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The log's own folder, or the data directory that it is in.
    pub fn of(dir: &Path) -> Self {
        let inner = dir.join(super::FOLDER);
        let is_outer = !dir.join("checkpoint").exists() && inner.is_dir();
        Self {
            dir: if is_outer { inner } else { dir.to_owned() },
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every file.
    ///
    /// # Errors
    /// The system refused.
    pub fn paths(&self) -> io::Result<BTreeSet<String>> {
        let (mut paths, mut folders) = (BTreeSet::new(), vec![self.dir.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if let Ok(path) = entry.path().strip_prefix(&self.dir) {
                    paths.insert(path.to_string_lossy().into_owned());
                }
            }
        }
        Ok(paths)
    }
}

impl Source for Folder {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.dir.join(path))?;
        file.take(FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        check_bytes(bytes.len())?;
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        RealDisk::existing(&self.dir)?.list(folder)
    }
}

fn check_bytes(bytes: usize) -> io::Result<()> {
    if bytes > FILE_BYTES_MAX {
        let why = format!("it has more than {FILE_BYTES_MAX} bytes, which no file of a log has");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(())
}

/// The log's folder of a data directory.
#[derive(Clone)]
pub(super) struct OnDisk {
    pub(super) disk: Arc<dyn Disk>,
}

impl Source for OnDisk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        read_file(&self.disk, &format!("{}/{path}", super::FOLDER))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(&format!("{}/{folder}", super::FOLDER))
    }
}

/// Reads a file of a disk whole.
pub(super) fn read_file(disk: &Arc<dyn Disk>, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let length = usize::try_from(file.bytes()?).unwrap_or(usize::MAX);
    check_bytes(length)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a file that is replaced as one, durably.
pub(super) fn replace_file(
    disk: &Arc<dyn Disk>,
    folder: &str,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let (path, next) = (format!("{folder}/{name}"), format!("{folder}/{name}.new"));
    let file = disk.create(&next, 0)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&next, &path)?;
    disk.sync_dir(folder)
}
