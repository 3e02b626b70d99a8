//! The real disk: a folder of the machine's file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Disk, DiskFile};

/// Zeros written at a time where the system cannot preallocate.
const ZEROS_BYTES: usize = 64 << 10;

/// A folder of the machine's file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// Opens a folder, creating it and its parents when missing.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Opens a folder that must exist: for commands that only look.
    pub fn existing(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        if fs::metadata(&dir)?.is_dir() {
            Ok(Self { dir })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Makes a folder's names durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => fill_with_zeros(file, bytes),
        Err(error) => Err(error.into()),
    }
}

/// Takes the blocks now by writing them, so that a full disk shows here and not in a commit.
fn fill_with_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = 0;
    while at < bytes {
        let length = ZEROS_BYTES.min(usize::try_from(bytes - at).unwrap_or(ZEROS_BYTES));
        file.write_all_at(&zeros[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

impl Disk for RealDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(path);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                // Looking must work on a read-only mount; a write will fail and say so.
                File::open(&path)?
            }
            opened => opened?,
        };
        Ok(Arc::new(RealFile { file }))
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        if let Err(error) = preallocate(&file, bytes) {
            // A half-made file would hold the space that others need.
            drop(file);
            if let Err(left) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), error = %left, "a file without its space could not be removed");
            }
            return Err(error);
        }
        Ok(Arc::new(RealFile { file }))
    }

    fn create_private(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(path);
        // A file that is there keeps its rights, so it makes way first.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        // What a command of root makes is for the gateway, too.
        let owner = fs::metadata(&self.dir)?;
        if file.metadata()?.uid() != owner.uid() {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(Arc::new(RealFile { file }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.dir.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        let path = self.dir.join(folder);
        fs::create_dir_all(&path)?;
        // Also when it was there: a killed process may have left its name in the cache only.
        path.parent().map_or(Ok(()), sync_folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(path))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.dir.join(folder))
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_with_its_space_written_renamed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path().join("data")).unwrap();
        assert!(disk.list("log").unwrap().is_empty());
        disk.create_dir("log").unwrap();
        let file = disk.create("log/one", 4096).unwrap();
        assert_eq!(file.bytes().unwrap(), 4096);
        file.write_at(4090, b"grows the file").unwrap();
        file.sync().unwrap();
        disk.rename("log/one", "log/two").unwrap();
        disk.sync_dir("log").unwrap();
        assert_eq!(disk.list("log").unwrap(), ["two"]);
        let mut into = [1; 20];
        let read = disk.open("log/two").unwrap().read_at(4090, &mut into);
        assert_eq!(read.unwrap(), 14);
        assert_eq!(&into[..14], b"grows the file");
        disk.remove("log/two").unwrap();
        assert!(disk.open("log/two").is_err());
        assert!(RealDisk::existing(dir.path().join("other")).is_err());
    }

    #[test]
    fn a_private_file_belongs_to_the_folders_owner_alone_and_to_no_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let own = fs::metadata(dir.path()).unwrap().uid();
        // Only root can give a folder away; anybody else keeps it.
        let owner = if own == 0 { 12_345 } else { own };
        std::os::unix::fs::chown(dir.path(), Some(owner), None).unwrap();
        // With other rights, as somebody else may have left it.
        fs::write(dir.path().join("seed"), "a former one").unwrap();
        disk.create_private("seed").unwrap();
        let found = fs::metadata(dir.path().join("seed")).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (0o600, owner));
        assert_eq!(found.len(), 0);
    }

    #[test]
    fn zeros_stand_in_for_preallocation() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create_new(dir.path().join("zeros")).unwrap();
        fill_with_zeros(&file, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
