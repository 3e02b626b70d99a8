//! Newest: the state of a log beside the gateway that appends to it.

use super::{AuditError, Folder, LogKey, Snapshot, Source};

/// Times that a log is read anew which grew while it was read.
const READINGS_MAX: u32 = 8;

/// The key that a log's own folder names: to read it, not to trust it.
///
/// # Errors
/// There is none.
pub fn own_key(folder: &Folder) -> Result<LogKey, AuditError> {
    let path = || folder.dir().join("public-key").display().to_string();
    let text = folder
        .read("public-key")
        .map_err(|_| AuditError::NoLog { path: path() })?;
    Ok(LogKey::parse(&String::from_utf8_lossy(&text))?)
}

/// Does something with the newest state of a log. A tile that a running gateway has replaced
/// meanwhile is looked for anew.
///
/// # Errors
/// There is no log, it is wrong, or what was to be done failed.
pub fn with_newest<T>(
    folder: &Folder,
    mut act: impl FnMut(&Snapshot<&Folder>, &LogKey) -> Result<T, AuditError>,
) -> Result<T, AuditError> {
    let key = own_key(folder)?;
    let mut readings = 0;
    loop {
        let read = Snapshot::newest(folder, &key)?;
        readings += 1;
        match act(&read, &key) {
            Err(AuditError::TileMissing { .. })
                if readings < READINGS_MAX && has_grown(folder, &key, read.size()) => {}
            done => return done,
        }
    }
}

fn has_grown(folder: &Folder, key: &LogKey, size: u64) -> bool {
    Snapshot::newest(folder, key).is_ok_and(|newest| newest.size() > size)
}
