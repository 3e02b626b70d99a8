//! Cosigned: of each witness the newest checkpoint that it has cosigned.
//!
//! ```text
//! audit/cosigned/<key id>    a checkpoint, the log's signature and that witness's cosignature
//! ```
//! They are evidence: a log that has fewer entries than one of them, or others, was rewritten.

use std::sync::Arc;

use signed_note::{Note, Signature, Verifier as _};

use super::keys::{LogKey, WitnessKey};
use super::snapshot::{Signed, Snapshot};
use super::source::{OnDisk, Source, find, refused, replace_file, written};
use super::witness::Request;
use super::{AuditError, FOLDER};
use crate::disk::Disk;

/// Their folder in the log's.
pub(super) const COSIGNED: &str = "cosigned";

/// Reads them all, each with its file; cosignatures of witnesses that are not given are not
/// verified.
///
/// # Errors
/// One is none of this log's checkpoints.
pub fn all(
    source: &dyn Source,
    key: &LogKey,
    witnesses: &[WitnessKey],
) -> Result<Vec<(String, Signed)>, AuditError> {
    let names = source.list(COSIGNED).map_err(refused(COSIGNED, "read"))?;
    let mut found = Vec::new();
    for name in names.iter().filter(|name| is_name(name)) {
        let path = format!("{COSIGNED}/{name}");
        let Some(bytes) = find(source, &path)? else {
            continue;
        };
        match Signed::read(&bytes, key, witnesses) {
            Ok(signed) => found.push((path, signed)),
            Err(why) => return Err(AuditError::Checkpoint { path, why }),
        }
    }
    Ok(found)
}

/// Whether a file is one of them, and not one that is being written.
fn is_name(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Whether a file of the log's folder is one of them.
pub(super) fn is_path(path: &str) -> bool {
    let name = path.strip_prefix(COSIGNED);
    name.and_then(|name| name.strip_prefix('/'))
        .is_some_and(is_name)
}

/// How many entries a witness has cosigned, as far as is known.
///
/// # Errors
/// What is kept of it is none of this log's checkpoints.
pub fn of(source: &dyn Source, key: &LogKey, witness: &WitnessKey) -> Result<u64, AuditError> {
    let path = path_of(witness);
    let Some(bytes) = find(source, &path)? else {
        return Ok(0);
    };
    let kept = Signed::read(&bytes, key, &[]);
    let kept = kept.map_err(|why| AuditError::Checkpoint { path, why })?;
    Ok(kept.size())
}

/// How many entries the one witness that is known has cosigned; 0 where none or several are.
///
/// # Errors
/// As [`all`].
pub fn by_the_only_one(source: &dyn Source, key: &LogKey) -> Result<u64, AuditError> {
    match &all(source, key, &[])?[..] {
        [(_, only)] => Ok(only.size()),
        _ => Ok(0),
    }
}

fn path_of(witness: &WitnessKey) -> String {
    format!("{COSIGNED}/{:08x}", witness.key_id())
}

/// The newest of them over an entry, with the cosignatures of all witnesses that cosigned the same.
///
/// # Errors
/// As [`all`].
pub fn newest_over(
    source: &dyn Source,
    key: &LogKey,
    index: u64,
) -> Result<Option<Signed>, AuditError> {
    let mut all = all(source, key, &[])?;
    all.sort_by_key(|(_, signed)| signed.size());
    let Some((path, newest)) = all.last().filter(|(_, newest)| newest.size() > index) else {
        return Ok(None);
    };
    let same = all.iter().filter(|(_, one)| one.text() == newest.text());
    let mut signatures: Vec<Signature> = Vec::new();
    for signature in same.flat_map(|(_, one)| one.signatures()) {
        if !signatures.contains(signature) {
            signatures.push(signature.clone());
        }
    }
    let wrong = |why| AuditError::Checkpoint {
        path: path.clone(),
        why,
    };
    let note = Note::new(newest.text(), &signatures).map_err(|why| wrong(why.to_string()))?;
    Signed::read(&note.to_bytes(), key, &[])
        .map(Some)
        .map_err(wrong)
}

/// Keeps what a witness answered to a request of this log.
///
/// # Errors
/// The request is not of this log, or the answer no cosignature of that witness on it.
pub fn keep(
    disk: &Arc<dyn Disk>,
    key: &LogKey,
    request: &Request,
    answer: &str,
    witness: &WitnessKey,
) -> Result<(), AuditError> {
    let malformed = |what| move |why: String| AuditError::Malformed { what, why };
    let asked = Signed::read(&request.checkpoint, key, &[]).map_err(malformed("the request"))?;
    let source = OnDisk { disk: disk.clone() };
    let has = Snapshot::newest(&source, key)?.root_at(asked.size())?;
    if has != asked.root() {
        let why = "it is signed with this log's key, and this log never was that: its key signs two histories".to_owned();
        return Err(malformed("the request")(why));
    }
    let mut bytes = request.checkpoint.clone();
    bytes.extend(answer.as_bytes());
    let answered = Signed::read(&bytes, key, std::slice::from_ref(witness))
        .map_err(malformed("the witness' answer"))?;
    if answered.cosignatures().is_empty() {
        let why = format!("it has no cosignature of {}", witness.name());
        return Err(malformed("the witness' answer")(why));
    }
    let path = path_of(witness);
    let name = path.rsplit('/').next().unwrap_or(&path);
    let before = find(&source, &path)?.and_then(|bytes| Signed::read(&bytes, key, &[]).ok());
    if before.is_some_and(|before| before.size() > asked.size()) {
        return Ok(());
    }
    let kept = answered.signatures().iter().filter(|one| {
        one.name() == key.origin() || (one.name() == witness.name() && one.id() == witness.key_id())
    });
    let kept: Vec<Signature> = kept.cloned().collect();
    let note = Note::new(asked.text(), &kept)
        .map_err(|why| malformed("the witness' answer")(why.to_string()))?;
    let folder = format!("{FOLDER}/{COSIGNED}");
    disk.create_dir(&folder)
        .and_then(|()| replace_file(disk, &folder, name, &note.to_bytes()))
        .map_err(written(&folder))
}
