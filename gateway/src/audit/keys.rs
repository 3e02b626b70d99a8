//! Keys: who signs and cosigns checkpoints, as signed-note and tlog-cosignature spell it.
//!
//! A key's text is `<name>+<8 hex digits>+<base64 of type and key>`; the digits are a hash of name,
//! type and key. Type 1 signs notes, type 4 cosigns checkpoints: the cosigned message begins with a
//! line of its own, so neither signature passes for the other.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use signed_note::{Signer, StandardVerifier, Verifier, key_id, new_ed25519_verifier_key};
use zeroize::Zeroizing;

const COSIGNATURE: u8 = 4;

/// Why a text is not a key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{text}` is not the key of {of}: {why}")]
pub struct KeyUnreadable {
    text: String,
    of: &'static str,
    why: String,
}

/// The origin, and name of the key, of a gateway's log.
pub fn origin_of(site: &str, gateway: u64) -> String {
    format!("{site}.{gateway:016x}.tidegate")
}

/// The public key of a log.
#[derive(Clone)]
pub struct LogKey {
    text: String,
    verifier: StandardVerifier,
}

impl LogKey {
    /// Reads a key's text.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, KeyUnreadable> {
        let text = text.trim();
        let verifier = StandardVerifier::new(text).map_err(|why| KeyUnreadable {
            text: text.to_owned(),
            of: "an audit log",
            why: why.to_string(),
        })?;
        Ok(Self {
            text: text.to_owned(),
            verifier,
        })
    }

    /// The key's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    pub(super) fn verifier(&self) -> Box<dyn Verifier> {
        Box::new(self.verifier.clone())
    }

    pub(super) fn id(&self) -> u32 {
        self.verifier.key_id()
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Signs checkpoints of a log.
pub(super) struct LogSigner {
    name: String,
    id: u32,
    key: SigningKey,
}

impl LogSigner {
    pub(super) fn new(origin: &str, seed: &Zeroizing<[u8; 32]>) -> Self {
        let key = SigningKey::from_bytes(seed);
        let mut public = vec![1];
        public.extend(key.verifying_key().to_bytes());
        Self {
            name: origin.to_owned(),
            id: key_id(origin, &public),
            key,
        }
    }

    /// The text of its public key.
    pub(super) fn public(&self) -> String {
        new_ed25519_verifier_key(&self.name, &self.key.verifying_key())
    }
}

impl Signer for LogSigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.key.try_sign(text)?.to_vec())
    }
}

/// The public key of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl WitnessKey {
    /// Reads a key's text.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, KeyUnreadable> {
        let text = text.trim();
        Self::read(text).ok_or_else(|| KeyUnreadable {
            text: text.to_owned(),
            of: "a witness",
            why: "expected name+12345678+base64, as tidegate audit witness --show-key prints it"
                .to_owned(),
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('+')?;
        let (id, material) = rest.split_once('+')?;
        let material = STANDARD.decode(material).ok()?;
        let (kind, key) = material.split_first()?;
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
        let found = Self {
            name: name.to_owned(),
            id: key_id(name, &material),
            key,
        };
        let is_named = signed_note::is_key_name_valid(name) && id == format!("{:08x}", found.id);
        (is_named && *kind == COSIGNATURE).then_some(found)
    }

    /// The key's text.
    pub fn text(&self) -> String {
        let material = STANDARD.encode(material(&self.key));
        format!("{}+{:08x}+{material}", self.name, self.id)
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn material(key: &VerifyingKey) -> Vec<u8> {
    let mut bytes = vec![COSIGNATURE];
    bytes.extend(key.to_bytes());
    bytes
}

/// What a cosignature at a time is over: UTC in seconds.
fn cosigned_message(text: &[u8], at_s: u64) -> Vec<u8> {
    let mut message = format!("cosignature/v1\ntime {at_s}\n").into_bytes();
    message.extend(text);
    message
}

/// When a cosignature was given, UTC in seconds.
pub(super) fn cosigned_at(signature: &[u8]) -> Option<u64> {
    let (at, _) = signature.split_first_chunk()?;
    Some(u64::from_be_bytes(*at))
}

impl Verifier for WitnessKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((at, signature)) = signature.split_first_chunk() else {
            return false;
        };
        let at_s = u64::from_be_bytes(*at);
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        let message = cosigned_message(text, at_s);
        i64::try_from(at_s).is_ok() && self.key.verify_strict(&message, &signature).is_ok()
    }
}

/// Cosigns checkpoints.
pub struct WitnessSigner {
    name: String,
    key: SigningKey,
}

impl WitnessSigner {
    /// Takes the witness's name and its seed, which no log must sign with.
    pub fn new(name: &str, seed: &Zeroizing<[u8; 32]>) -> Self {
        Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(seed),
        }
    }

    /// The public key.
    pub fn public(&self) -> WitnessKey {
        let key = self.key.verifying_key();
        WitnessKey {
            name: self.name.clone(),
            id: key_id(&self.name, &material(&key)),
            key,
        }
    }

    /// A note's signer at a time.
    pub(super) fn at(&self, at_s: u64) -> impl Signer {
        Cosigner {
            id: self.public().id,
            of: self,
            at_s,
        }
    }
}

struct Cosigner<'a> {
    of: &'a WitnessSigner,
    id: u32,
    at_s: u64,
}

impl Signer for Cosigner<'_> {
    fn name(&self) -> &str {
        &self.of.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        let signature = self.of.key.try_sign(&cosigned_message(text, self.at_s))?;
        let mut bytes = self.at_s.to_be_bytes().to_vec();
        bytes.extend(signature.to_bytes());
        Ok(bytes)
    }
}
