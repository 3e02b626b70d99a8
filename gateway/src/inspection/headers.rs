//! Headers: what the batches of a segment, or the parts of a base, say of themselves.

use std::sync::Arc;

use serde_json::{Value, json};

use super::files::{self, Room};
use super::walk::walk;
use crate::disk::Disk;
use crate::log::LogError;
use crate::log::base;
use crate::log::bases::read_file;

/// Rows of a file, one per batch or part, as JSON objects; `None` when there is no such file in
/// any room.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(disk: &Arc<dyn Disk>, path: &str) -> Result<Option<Vec<Value>>, LogError> {
    for room in Room::ALL {
        let files = files::list(&**disk, room)?;
        if let Some(segment) = files.segments.iter().find(|file| file.path == path) {
            let mut rows = Vec::new();
            let walked = walk(disk, segment, |batch, _| {
                rows.push(json!({
                    "is": "batch",
                    "offset": batch.offset,
                    "bytes": batch.bytes,
                    "first": batch.first,
                    "entries": batch.end - batch.first,
                }));
            })?;
            rows.extend(walked.damaged.iter().map(|damage| {
                json!({
                    "is": "damaged",
                    "offset": damage.offset,
                    "bytes": damage.bytes,
                    "first": damage.first,
                    "entries": damage.end - damage.first,
                })
            }));
            rows.sort_by_key(|row| row["offset"].as_u64());
            if walked.torn_bytes > 0 {
                rows.push(json!({ "is": "torn", "bytes": walked.torn_bytes, "first": walked.end }));
            }
            return Ok(Some(rows));
        }
        if files.bases.iter().any(|file| file.path == path) {
            return Ok(Some(of_base(disk, path)));
        }
    }
    Ok(None)
}

fn of_base(disk: &Arc<dyn Disk>, path: &str) -> Vec<Value> {
    let read = read_file(&**disk, path).and_then(|bytes| base::decode(&bytes));
    let Some(read) = read else {
        return vec![json!({ "is": "unreadable" })];
    };
    let head = json!({
        "is": "base",
        "position": read.base.position,
        "incarnation": format!("{:08x}", read.incarnation),
    });
    let parts = read.base.parts.iter().map(|part| {
        json!({
            "is": "part",
            "kind": part.kind,
            "version": part.version,
            "key": part.key,
            "bytes": part.bytes.len(),
        })
    });
    let damaged = read
        .damaged
        .iter()
        .map(|(kind, key)| json!({ "is": "damaged", "kind": kind, "key": key }));
    let unnamed = (0..read.unnamed).map(|_| json!({ "is": "damaged" }));
    std::iter::once(head)
        .chain(parts)
        .chain(damaged)
        .chain(unnamed)
        .collect()
}
