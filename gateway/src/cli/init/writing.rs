//! Writing the configuration: whole or not at all, for its owner alone, never over another.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

/// It may come to hold a broker's password.
const MODE: u32 = 0o600;

/// Fails when something of that name is there.
pub(super) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Failure::ConfigExists {
            path: path.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// Writes the file beside its place, then puts it there; `replace` takes the place of another.
pub(super) fn write(path: &Path, text: &str, replace: bool) -> Result<(), Failure> {
    let beside = beside(path);
    let written = write_beside(&beside, text).and_then(|()| put(&beside, path, replace));
    let _ = fs::remove_file(&beside);
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists if !replace => Failure::ConfigExists {
            path: path.to_owned(),
        },
        _ => Failure::ConfigUnwritable {
            path: path.to_owned(),
            source,
        },
    })
}

/// `.NAME.PID` in the same folder.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn write_beside(beside: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn put(beside: &Path, path: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(beside, path);
    }
    match fs::hard_link(beside, path) {
        // A file system without links; nobody else writes this file in this moment.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            fs::rename(beside, path)
        }
        linked => linked,
    }
}
