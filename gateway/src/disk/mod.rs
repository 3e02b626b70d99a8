//! Disk: the small seam that all files of the store go through.
//!
//! Paths are relative to the data directory, with `/` between parts. What is written is durable
//! only after [`DiskFile::sync`] returned; a created, renamed or removed name only after
//! [`Disk::sync_dir`] of its folder returned.

pub mod data_dir;
pub mod fault;
pub mod overlay;
pub mod real;

use std::io;
use std::sync::Arc;

pub use fault::FaultDisk;
pub use real::RealDisk;

/// A data directory.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing; it must exist.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates (or truncates) a file of `bytes` zeros, preallocated where the system can.
    fn create(&self, path: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file that only the folder's owner may use, in place of what has the name.
    /// Where a disk knows no owners, a file like any other.
    fn create_private(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.create(path, 0)
    }
    /// Names of the files in a folder, sorted; empty when the folder does not exist.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Creates a folder and its parents.
    fn create_dir(&self, folder: &str) -> io::Result<()>;
    /// Renames a file, replacing what has the name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the folder's names durable.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads up to `into.len()` bytes at an offset; fewer only at the file's end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes at an offset, growing the file if need be.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn bytes(&self) -> io::Result<u64>;
}
