//! Witnesses: gateways that cosign each other's checkpoints, by tlog-witness.
//!
//! A witness knows of each log that it was told to watch the newest checkpoint that it has
//! cosigned. It cosigns another only when a proof shows that the log has grown from that one. Who
//! holds a log's key can then still not show one history here and another there.
//!
//! A request is the body of tlog-witness' `add-checkpoint`:
//!
//! ```text
//! old 120
//! <base64 hash>            the consistency proof; none when old is 0 or the size itself
//! …
//!
//! <checkpoint, as signed>
//! ```
//!
//! What is known is a file a log, `witness/<hash of origin>.json`: its key, and the checkpoint.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use signed_note::Signer as _;
use tlog_tiles::{Hash, check_tree};

use super::AuditError;
use super::diff::hex;
use super::keys::{LogKey, WitnessSigner};
use super::proof::{decimal, hash_lines, hashes, split_head};
use super::snapshot::Signed;
use super::source::{read_file, refused, replace_file, written};
use crate::disk::Disk;

/// The folder of what a witness knows, in the data directory.
pub const FOLDER: &str = "witness";
/// Most bytes of a request: 63 hashes, and a checkpoint with a hundred signatures.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What a witness is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The size that it has cosigned last, 0 when none.
    pub old_size: u64,
    /// The Merkle consistency proof from there.
    pub proof: Vec<Hash>,
    /// The signed checkpoint to be cosigned.
    pub checkpoint: Vec<u8>,
}

impl Request {
    /// Spells the request.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = format!("old {}\n{}\n", self.old_size, hash_lines(&self.proof));
        let mut bytes = head.into_bytes();
        bytes.extend(&self.checkpoint);
        bytes
    }

    /// Reads a request.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = |why| Refusal::Malformed { why };
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let (head, checkpoint) = split_head(bytes).ok_or(malformed("it has no empty line"))?;
        let mut lines = head.lines();
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old
            .and_then(decimal)
            .ok_or(malformed("it does not begin with `old` and a size"))?;
        let proof = hashes(lines).ok_or(malformed("a line of its proof is no hash"))?;
        Ok(Self {
            old_size,
            proof,
            checkpoint: checkpoint.to_vec(),
        })
    }

    /// The origin that it says it is of; not verified.
    fn origin(&self) -> Option<&str> {
        let end = self.checkpoint.iter().position(|byte| *byte == b'\n')?;
        std::str::from_utf8(self.checkpoint.get(..end)?).ok()
    }
}

/// Why a witness does not cosign; behind each the code that tlog-witness has for it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("this is no request to a witness: {why}")]
    Malformed {
        /// What is wrong.
        why: &'static str,
    },
    /// 404.
    #[error(
        "this witness does not watch {origin}: it was not told that log's key; tidegate audit witness --watch KEY tells it, where the witness is"
    )]
    UnknownOrigin {
        /// The log.
        origin: String,
    },
    /// 403.
    #[error("the checkpoint is not signed by the log's key that this witness was told: {why}")]
    BadSignature {
        /// What is wrong.
        why: String,
    },
    /// 409, with the size.
    #[error(
        "this witness has cosigned {known} entries of that log, not {old}: ask again with old {known}"
    )]
    Stale {
        /// What it has cosigned.
        known: u64,
        /// What the request takes it to have.
        old: u64,
    },
    /// 409.
    #[error(
        "two histories: this witness has cosigned another log of {size} entries under the same name and key; one of the two was rewritten. Keep both, and tidegate audit verify --from tells them apart"
    )]
    Conflict {
        /// The size.
        size: u64,
    },
    /// 422.
    #[error(
        "the proof does not show that the {size} entries begin with the {old} that this witness has cosigned: the log was rewritten, or the request damaged. Keep both"
    )]
    BadProof {
        /// What it has cosigned.
        old: u64,
        /// What it was to cosign.
        size: u64,
    },
}

impl Refusal {
    /// The status that tlog-witness has for it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } => 400,
            Self::BadSignature { .. } => 403,
            Self::UnknownOrigin { .. } => 404,
            Self::Stale { .. } | Self::Conflict { .. } => 409,
            Self::BadProof { .. } => 422,
        }
    }
}

/// Why a witness gave no cosignature.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// It refuses.
    #[error("not cosigned")]
    Refused(#[from] Refusal),
    /// It cannot keep what it knows.
    #[error("not cosigned: what this witness knows of the log could not be kept or read")]
    Kept(#[from] AuditError),
}

/// What a witness knows of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    v: u32,
    /// The log's key.
    key: String,
    /// The newest checkpoint that was cosigned, as the log signed it.
    checkpoint: Option<String>,
}

/// Judges a request by what is known of its log, without remembering anything.
fn judge(key: &LogKey, known: Option<&Signed>, request: &Request) -> Result<Signed, Refusal> {
    let asked =
        Signed::read(&request.checkpoint, key, &[]).map_err(|why| Refusal::BadSignature { why })?;
    let (old, size) = (request.old_size, asked.size());
    if old > size {
        let why = "its old size is greater than the checkpoint's";
        return Err(Refusal::Malformed { why });
    }
    let known_size = known.map_or(0, Signed::size);
    if old != known_size {
        let known = known_size;
        return Err(Refusal::Stale { known, old });
    }
    let known_root = known.map_or(tlog_tiles::EMPTY_HASH, Signed::root);
    if old == size && known_root != asked.root() {
        return Err(Refusal::Conflict { size });
    }
    let proves = if old == 0 || old == size {
        request.proof.is_empty()
    } else {
        check_tree(&request.proof, size, asked.root(), old, known_root).is_ok()
    };
    if proves {
        Ok(asked)
    } else {
        Err(Refusal::BadProof { old, size })
    }
}

/// A witness with what it knows.
pub struct Witness {
    disk: Arc<dyn Disk>,
    signer: WitnessSigner,
}

impl Witness {
    /// Takes the data directory and who signs.
    pub fn new(disk: Arc<dyn Disk>, signer: WitnessSigner) -> Self {
        Self { disk, signer }
    }

    /// Tells the witness to watch a log.
    ///
    /// # Errors
    /// It watches one of that origin with another key, or the disk refused.
    pub fn watch(&self, key: &LogKey) -> Result<(), AuditError> {
        if let Some(known) = self.known(key.origin())? {
            if known.key == key.text() {
                return Ok(());
            }
            return Err(AuditError::OtherKey {
                path: file_of(key.origin()),
                named: known.key,
            });
        }
        let known = Known {
            v: 1,
            key: key.text().to_owned(),
            checkpoint: None,
        };
        self.remember(key.origin(), &known)
    }

    /// Cosigns a checkpoint if its log has grown from what was cosigned before: the answer is a
    /// signature line. The time is UTC in seconds. The caller lets one request in at a time.
    ///
    /// # Errors
    /// It refuses, or cannot remember.
    pub fn add_checkpoint(&mut self, request: &[u8], now_s: u64) -> Result<String, WitnessError> {
        let request = Request::parse(request)?;
        let origin = request.origin().unwrap_or_default();
        let Some(known) = self.known(origin)? else {
            let origin = origin.to_owned();
            return Err(Refusal::UnknownOrigin { origin }.into());
        };
        let key = LogKey::parse(&known.key).map_err(AuditError::from)?;
        let before = known.checkpoint.as_deref().map(|text| {
            Signed::read(text.as_bytes(), &key, &[]).map_err(|why| AuditError::Checkpoint {
                path: file_of(origin),
                why,
            })
        });
        let before = before.transpose()?;
        let asked = judge(&key, before.as_ref(), &request)?;
        let line = self.cosign(&asked, now_s)?;
        let checkpoint = String::from_utf8_lossy(&request.checkpoint).into_owned();
        let known = Known {
            checkpoint: Some(checkpoint),
            ..known
        };
        self.remember(origin, &known)?;
        Ok(line)
    }

    fn cosign(&self, asked: &Signed, now_s: u64) -> Result<String, AuditError> {
        let signer = self.signer.at(now_s);
        let unsigned = |why: String| AuditError::EntryUnwritable { why };
        let signature = signer
            .sign(asked.text())
            .map_err(|why| unsigned(why.to_string()))?;
        let signature =
            signed_note::Signature::new(signer.name().to_owned(), signer.key_id(), signature)
                .map_err(|why| unsigned(why.to_string()))?;
        Ok(String::from_utf8_lossy(&signature.to_bytes()).into_owned())
    }

    fn known(&self, origin: &str) -> Result<Option<Known>, AuditError> {
        let path = file_of(origin);
        let bytes = match read_file(&self.disk, &path) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(refused(&path, "read"))?,
        };
        let known: Known =
            serde_json::from_slice(&bytes).map_err(|why| AuditError::Checkpoint {
                path: path.clone(),
                why: format!("it cannot be read: {why}"),
            })?;
        let is_right = known.v == 1 && LogKey::parse(&known.key)?.origin() == origin;
        is_right
            .then_some(Some(known))
            .ok_or(AuditError::Checkpoint {
                path,
                why: "it is of another log or version".to_owned(),
            })
    }

    fn remember(&self, origin: &str, known: &Known) -> Result<(), AuditError> {
        let path = file_of(origin);
        let name = path.rsplit('/').next().unwrap_or(&path);
        let spelt = serde_json::to_vec(known).map_err(std::io::Error::other);
        let kept = spelt.and_then(|bytes| {
            self.disk.create_dir(FOLDER)?;
            replace_file(&self.disk, FOLDER, name, &bytes)
        });
        kept.map_err(written(&path))
    }
}

/// Whether a file's name in the folder is one of what is known of a log, and not of one that is
/// being written.
pub fn is_name(name: &str) -> bool {
    let hash = name.strip_suffix(".json");
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// The file of what is known of a log.
fn file_of(origin: &str) -> String {
    let hash = hex(&Sha256::digest(origin.as_bytes()));
    format!("{FOLDER}/{}.json", &hash[..16])
}
