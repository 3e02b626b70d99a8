//! `tidegate audit show | verify | prove | request | witness | cosign`.

mod args;
mod remote;
mod show;
mod verify;
mod witness;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::args::AuditCommand;
use self::args::ProveArgs;
use super::config::{self, Warnings};
use super::failure::Failure;
use super::output::print_as_is;
use crate::audit::{AuditError, Folder, KeyUnreadable, LogKey, Snapshot, cosigned, newest};
use crate::disk::data_dir::DataDir;

/// Runs one of them.
pub(super) fn run(command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Show(args) => show::show(args),
        AuditCommand::Verify(args) => verify::verify(args),
        AuditCommand::Prove(args) => prove(args),
        AuditCommand::Request(args) => witness::request(args),
        AuditCommand::Witness(args) => witness::witness(args),
        AuditCommand::Cosign(args) => witness::cosign(args),
    }
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed {
        command: "tidegate audit",
        source: Box::new(source),
    }
}

/// The data directory that a configuration names.
fn data_dir(config: &Path) -> Result<PathBuf, Failure> {
    let data_dir = config::load(config, Warnings::Untold)?.data_dir;
    Failure::need_data(&data_dir)?;
    DataDir::check(&data_dir).map_err(failed)?;
    Ok(data_dir)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Writes a command's result to a file that is not there yet, or to stdout.
fn write(out: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    let Some(path) = out else {
        return print_as_is(&String::from_utf8_lossy(bytes));
    };
    let write = || {
        let mut file = fs::File::create_new(path)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    };
    write().map_err(|source| Failure::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// A key that was given as its text, or in a file.
fn key<K>(given: &str, parse: fn(&str) -> Result<K, KeyUnreadable>) -> Result<K, Failure> {
    if let Ok(key) = parse(given) {
        return Ok(key);
    }
    let path = Path::new(given);
    let text = if path.is_file() {
        String::from_utf8_lossy(&read_file(path)?).into_owned()
    } else {
        given.to_owned()
    };
    parse(&text).map_err(failed)
}

/// Does something with the newest state of the log of a data directory.
fn with_newest<T>(
    data_dir: &Path,
    act: impl FnMut(&Snapshot<&Folder>, &LogKey) -> Result<T, AuditError>,
) -> Result<T, Failure> {
    newest::with_newest(&Folder::of(data_dir), act).map_err(failed)
}

/// Writes a proof, by a cosigned checkpoint where there is one over the entry.
fn prove(args: &ProveArgs) -> Result<(), Failure> {
    let data_dir = data_dir(&args.config)?;
    let (proof, entry) = with_newest(&data_dir, |snapshot, key| {
        let folder = Folder::of(&data_dir);
        let cosigned = cosigned::newest_over(&folder, key, args.index)?;
        let by = cosigned.as_ref().unwrap_or(snapshot.signed());
        Ok((snapshot.prove(args.index, by)?, snapshot.entry(args.index)?))
    })?;
    if let Some(path) = &args.entry {
        write(Some(path), &entry)?;
    }
    write(args.out.as_deref(), &proof.to_bytes())
}

#[cfg(test)]
mod tests;
