//! The data directory's own two files: `lock` (who runs on it) and `format` (how it is laid out).
//!
//! - `lock` holds the process id of the gateway that holds the system's lock on it. The lock goes
//!   with the process, however it ends; the text stays and means nothing without the lock.
//! - `format` holds one line, `1 tidegate 0.1.0 #0c0ffee0`: the layout's number, who made it, and
//!   CRC-32C of the text before the ` #`. Only a line whose check holds is believed to be newer: a
//!   damaged one must not keep a gateway from starting.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tidegate_shared::frame::crc32c;

use super::real::sync_folder;

/// The layout this version reads and writes.
pub const FORMAT: u32 = 1;

const MADE_BY: &str = concat!("tidegate ", env!("CARGO_PKG_VERSION"));
/// Longest text read from either file: a damaged one must not fill the memory.
const TEXT_BYTES_MAX: u64 = 256;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another gateway runs on it.
    #[error("{dir} is in use by {holder}: nothing was changed")]
    Held {
        /// The data directory.
        dir: PathBuf,
        /// Who holds it: `process 1234`.
        holder: String,
    },
    /// A newer version made it.
    #[error(
        "{dir} has format {format}, made by {made_by}; this is {MADE_BY}, which knows formats up to {FORMAT}: nothing was changed"
    )]
    Newer {
        /// The data directory.
        dir: PathBuf,
        /// Its format.
        format: u32,
        /// The version that made it.
        made_by: String,
    },
    /// The system refused.
    #[error("{path} could not be used: nothing was changed")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A data directory that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    /// Whether the `format` file was unreadable and has been written anew.
    pub format_repaired: bool,
    _lock: Lock,
}

/// The system's lock on a file, held until the value is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Closing alone would not do: a process that this one is just starting has the file, too, until
    /// it runs its own program.
    fn drop(&mut self) {
        // What cannot be unlocked is closed next.
        let _ = self.0.unlock();
    }
}

impl DataDir {
    /// Creates the directory if missing, takes its lock and checks (or writes) its format.
    pub fn hold(dir: &Path) -> Result<Self, DataDirError> {
        fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
        let lock = take_lock(dir)?;
        let format_repaired = match check_format(dir)? {
            Format::Known => false,
            Format::Missing => write_format(dir).map(|()| false)?,
            Format::Unreadable => write_format(dir).map(|()| true)?,
        };
        if format_repaired {
            tracing::warn!(
                dir = %dir.display(),
                "the file `format` was damaged and is written anew; nothing else is lost"
            );
        }
        Ok(Self {
            format_repaired,
            _lock: lock,
        })
    }

    /// Who runs on a directory, without taking its lock: the process, as its text; `None` when
    /// nobody does.
    pub fn holder(dir: &Path) -> Option<String> {
        let file = File::open(dir.join("lock")).ok()?;
        // Shared, and given back at once: a gateway that starts at this very moment would be told
        // that the directory is in use, and starts again.
        if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            return Some(holder(&file));
        }
        drop(Lock(file));
        None
    }

    /// Checks the format without the lock and without writing: for commands that only look.
    pub fn check(dir: &Path) -> Result<(), DataDirError> {
        check_format(dir).map(|_| ())
    }
}

/// Waits for the lock of a folder, which is made if missing; it goes with the value. Who holds it
/// holds it for some fsyncs.
pub fn lock_of(folder: &Path) -> io::Result<Lock> {
    fs::create_dir_all(folder)?;
    let mut options = OpenOptions::new();
    let lock = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))?;
    lock.lock()?;
    Ok(Lock(lock))
}

enum Format {
    Known,
    Missing,
    Unreadable,
}

fn io_error(path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read_text(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Who wrote the lock's text.
fn holder(file: &File) -> String {
    match read_text(file).unwrap_or_default().parse::<u32>() {
        Ok(id) => format!("process {id}"),
        Err(_) => "another process".to_owned(),
    }
}

fn take_lock(dir: &Path) -> Result<Lock, DataDirError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| io_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirError::Held {
                dir: dir.to_owned(),
                holder: holder(&file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(io_error(&path, source)),
    }
    let mut lock = Lock(file);
    lock.0
        .set_len(0)
        .and_then(|()| writeln!(lock.0, "{}", std::process::id()))
        .map_err(|source| io_error(&path, source))?;
    Ok(lock)
}

fn check_format(dir: &Path) -> Result<Format, DataDirError> {
    let path = dir.join("format");
    let text = match File::open(&path).and_then(|file| read_text(&file)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Format::Missing),
        Err(source) => return Err(io_error(&path, source)),
    };
    let Some((text, check)) = text.rsplit_once(" #") else {
        return Ok(Format::Unreadable);
    };
    if check != checked(text) {
        return Ok(Format::Unreadable);
    }
    let (number, made_by) = text.split_once(' ').unwrap_or((text, "an unnamed version"));
    match number.parse::<u32>() {
        Ok(format) if format > FORMAT => Err(DataDirError::Newer {
            dir: dir.to_owned(),
            format,
            made_by: made_by.to_owned(),
        }),
        Ok(format) if format == FORMAT => Ok(Format::Known),
        _ => Ok(Format::Unreadable),
    }
}

/// The check of a line's text.
fn checked(text: &str) -> String {
    format!("{:08x}", crc32c(text.as_bytes()))
}

fn write_format(dir: &Path) -> Result<(), DataDirError> {
    let path = dir.join("format");
    let draft = dir.join("format.tmp");
    File::create(&draft)
        .and_then(|mut file| {
            let text = format!("{FORMAT} {MADE_BY}");
            writeln!(file, "{text} #{}", checked(&text))?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, &path))
        .and_then(|()| sync_folder(dir))
        .map_err(|source| io_error(&path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::hold(dir.path()).unwrap();
        let text = DataDir::hold(dir.path()).unwrap_err().to_string();
        let holder = format!("process {}", std::process::id());
        assert!(text.contains(&holder), "{text}");
        drop(held);
        assert!(!DataDir::hold(dir.path()).unwrap().format_repaired);
    }

    #[test]
    fn a_directory_is_free_at_once_though_a_process_that_starts_has_the_file_still() {
        let dir = tempfile::tempdir().unwrap();
        let held = take_lock(dir.path()).unwrap();
        // As a process has it between its fork and its own program.
        let _inherited = held.0.try_clone().unwrap();
        assert!(take_lock(dir.path()).is_err());
        drop(held);
        assert!(DataDir::hold(dir.path()).is_ok());
    }

    #[test]
    fn a_newer_format_is_refused_by_name_and_a_damaged_one_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("format");
        let text = "2 tidegate 3.4.5";
        fs::write(&path, format!("{text} #{}\n", checked(text))).unwrap();
        let text = DataDir::hold(dir.path()).unwrap_err().to_string();
        assert!(text.contains("made by tidegate 3.4.5"), "{text}");
        assert!(DataDir::check(dir.path()).is_err());
        fs::write(&path, [0xff, 0, 7]).unwrap();
        assert!(DataDir::hold(dir.path()).unwrap().format_repaired);
        assert!(!DataDir::hold(dir.path()).unwrap().format_repaired);
        DataDir::check(dir.path()).unwrap();
    }

    #[test]
    fn every_damage_of_the_format_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("format");
        drop(DataDir::hold(dir.path()).unwrap());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                fs::write(&path, &flipped).unwrap();
                let held = DataDir::hold(dir.path()).unwrap();
                // Whatever ends the line.
                let is_end = at + 1 == whole.len();
                assert!(held.format_repaired || is_end, "byte {at} bit {bit}");
                drop(held);
                DataDir::check(dir.path()).unwrap();
                fs::write(&path, &whole[..at]).unwrap();
                DataDir::hold(dir.path()).unwrap();
                assert_eq!(fs::read(&path).unwrap().trim_ascii(), whole.trim_ascii());
            }
        }
        fs::remove_file(&path).unwrap();
        DataDir::hold(dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
