//! First contact: a device without a key claims one by a code, and is granted one of its own.
//!
//! ```text
//! claim, up:    version u8 = 1 | flags u8 = 2 | claim id u32 LE | public key of the device, 32
//!               | tag, 16: by the code, over all bytes before it and both names
//! grant, down:  version u8 = 1 | flags u8 = 2 | claim id u32 LE | public key of the device, 32
//!               | public key of the gateway, 32
//!               | key id u8, key 32, encrypted | tag, 16: both by the shared secret
//!               | tag, 16: by the code
//! ```
//! Terms: a *claim* is leave for devices to enrol by themselves, known by its id; its *code* is a
//! key of 32 random bytes that stands in the settings page of every one of them. The *shared
//! secret* is X25519 (RFC 7748) of one end's secret and the other's public key. The *names* are
//! those of site and device, each behind its length.
//!
//! ```text
//! nonce, 24 bytes = way u8 (4 claim, 6 grant) | first 23 bytes of the sender's public key
//! nonce, 24 bytes = way u8 (5, what is granted) | 0 … 0     (its key is used this once)
//! ```
//! Invariants:
//! 1. Who has the code later, or a recording and the code, learns no key that was granted: both
//!    ends forget their secrets. Who has the code at the time can stand between them.
//! 2. A grant opens for the one claim that it answers: that code, those names, that secret.
//! 3. No nonce repeats with other bytes: a device draws a secret for each of its starts and says
//!    the same bytes again, a gateway draws one for each grant.
//! 4. A claim or a grant never reads as a frame, plain or sealed, and no frame as one of them.

use core::cmp::Ordering;
use core::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{Tag, XNonce};
use heapless::Vec;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::{Zeroize, Zeroizing};

use crate::frame::{FLAG_CLAIM, FrameError, VERSION};
use crate::ids::{DeviceName, SiteName};
use crate::limits::{DEVICE_BYTES_MAX, SITE_BYTES_MAX};
use crate::seal::{KEY_BYTES, Key, NONCE_BYTES, TAG_BYTES};

/// Bytes of a public key, and of the secret that it is made of.
pub const PUBLIC_BYTES: usize = 32;
/// Bytes of a claim.
pub const CLAIM_BYTES: usize = HEAD_BYTES + PUBLIC_BYTES + TAG_BYTES;
/// Bytes of a grant.
pub const GRANT_BYTES: usize = GRANTED_AT + GRANTED_BYTES + TAG_BYTES + TAG_BYTES;

/// Version, flags, claim id.
const HEAD_BYTES: usize = 2 + 4;
/// Where a grant's encrypted bytes begin.
const GRANTED_AT: usize = HEAD_BYTES + PUBLIC_BYTES + PUBLIC_BYTES;
/// Key id and key.
const GRANTED_BYTES: usize = 1 + KEY_BYTES;
const WAY_CLAIM: u8 = 4;
const WAY_GRANTED: u8 = 5;
const WAY_GRANT: u8 = 6;

/// A claim's bytes.
pub type ClaimBytes = Vec<u8, CLAIM_BYTES>;
/// A grant's bytes.
pub type GrantBytes = Vec<u8, GRANT_BYTES>;
/// What a tag covers: at most a grant before its last tag, and both names.
type Covered = Vec<u8, { GRANT_BYTES + 1 + SITE_BYTES_MAX + 1 + DEVICE_BYTES_MAX }>;

/// Which claim; drawn at random, 0 is none.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId(pub u32);

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimId({:#010x})", self.0)
    }
}

/// What a device enrols by: the claim and the key that proves that it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The claim.
    pub id: ClaimId,
    /// Its key. A broker that asks for a password gets [`Key::password`] of it.
    pub key: Key,
}

/// One end's X25519 secret with its public key. Overwritten when dropped, never shown.
pub struct Secret {
    secret: [u8; PUBLIC_BYTES],
    public: [u8; PUBLIC_BYTES],
}

impl Secret {
    /// A secret of bytes that have to be drawn at random. Works out its public key, which takes a
    /// small microcontroller some tenths of a second.
    pub fn new(bytes: [u8; PUBLIC_BYTES]) -> Self {
        Self {
            public: x25519(bytes, X25519_BASEPOINT_BYTES),
            secret: bytes,
        }
    }

    /// Its public key.
    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// The secret shared with whoever has that public key; none of a key that gives the same one
    /// to everybody.
    fn shared(&self, public: [u8; PUBLIC_BYTES]) -> Result<Key, ClaimError> {
        let shared = Zeroizing::new(x25519(self.secret, public));
        let is_weak = shared.iter().fold(0, |all, byte| all | byte) == 0;
        if is_weak {
            return Err(ClaimError::Weak);
        }
        Ok(Key::new(*shared))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A claim whose tag held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The public key that the grant is for. A device says the same one until it starts again.
    pub public: [u8; PUBLIC_BYTES],
}

/// Why a claim or a grant was not taken or not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimError {
    /// The bytes are neither: their version, their flags or their length.
    Frame(FrameError),
    /// It belongs to another claim.
    Claim {
        /// The claim that it names.
        found: ClaimId,
    },
    /// A grant that answers what another start of the device said, or another device.
    Start,
    /// A tag does not hold: another code, other names, or bytes that somebody changed.
    Tag,
    /// The other end's public key makes no secret: nobody draws such a key.
    Weak,
    /// A key id of 0, which is nobody's.
    KeyId,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Claim { found } => write!(f, "it is of claim {found}, not of this one"),
            Self::Start => f.write_str("the grant answers another start of the device"),
            Self::Tag => f.write_str("the tag does not hold: another code made it, or none"),
            Self::Weak => f.write_str("the public key is one that nobody draws"),
            Self::KeyId => f.write_str("a key id of 0 is nobody's"),
        }
    }
}

impl core::error::Error for ClaimError {}

impl From<FrameError> for ClaimError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// A device that asks, and the code that it asks by.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The code.
    pub code: &'a Code,
    /// Its site.
    pub site: &'a SiteName,
    /// Its own name.
    pub device: &'a DeviceName,
}

impl Claimant<'_> {
    /// The claim that it says.
    pub fn ask(&self, secret: &Secret) -> ClaimBytes {
        let mut claim = ClaimBytes::new();
        self.put_head(&mut claim, &[&secret.public]);
        let nonce = nonce(WAY_CLAIM, &secret.public);
        let tag = seal(&self.code.key, &nonce, &self.covered(&claim), &mut []);
        put(&mut claim, &tag);
        claim
    }

    /// Reads what somebody said under its name.
    pub fn asked(&self, claim: &[u8]) -> Result<Asked, ClaimError> {
        let (said, tag) = self.split(claim, CLAIM_BYTES)?;
        let public = part(said, HEAD_BYTES)?;
        let nonce = nonce(WAY_CLAIM, &public);
        open(&self.code.key, &nonce, &self.covered(said), &mut [], tag)?;
        Ok(Asked { public })
    }

    /// The grant that answers: a key and its id, from 1. The secret has to be drawn for it.
    pub fn grant(
        &self,
        asked: &Asked,
        secret: &Secret,
        key_id: u8,
        key: &Key,
    ) -> Result<GrantBytes, ClaimError> {
        if key_id == 0 {
            return Err(ClaimError::KeyId);
        }
        let shared = secret.shared(asked.public)?;
        let mut grant = GrantBytes::new();
        self.put_head(&mut grant, &[&asked.public, &secret.public]);
        let covered = self.covered(&grant);
        put(&mut grant, &[key_id]);
        put(&mut grant, key.bytes());
        let text = grant.get_mut(GRANTED_AT..).unwrap_or_default();
        let tag = seal(&shared, &nonce(WAY_GRANTED, &[]), &covered, text);
        put(&mut grant, &tag);
        let nonce = nonce(WAY_GRANT, &secret.public);
        let tag = seal(&self.code.key, &nonce, &self.covered(&grant), &mut []);
        put(&mut grant, &tag);
        Ok(grant)
    }

    /// Reads the grant that answers its claim by this secret: the key's id and the key.
    pub fn granted(&self, secret: &Secret, grant: &[u8]) -> Result<(u8, Key), ClaimError> {
        let (said, tag) = self.split(grant, GRANT_BYTES)?;
        let public: [u8; PUBLIC_BYTES] = part(said, HEAD_BYTES)?;
        if public != secret.public {
            return Err(ClaimError::Start);
        }
        let gateway = part(said, HEAD_BYTES + PUBLIC_BYTES)?;
        let outer = nonce(WAY_GRANT, &gateway);
        open(&self.code.key, &outer, &self.covered(said), &mut [], tag)?;
        let shared = secret.shared(gateway)?;
        let mut text: Zeroizing<[u8; GRANTED_BYTES]> = Zeroizing::new(part(said, GRANTED_AT)?);
        let tag = part(said, GRANTED_AT + GRANTED_BYTES)?;
        let head = said.get(..GRANTED_AT).unwrap_or_default();
        let inner = nonce(WAY_GRANTED, &[]);
        open(&shared, &inner, &self.covered(head), &mut *text, tag)?;
        let [key_id] = part(&*text, 0)?;
        if key_id == 0 {
            return Err(ClaimError::KeyId);
        }
        Ok((key_id, Key::new(part(&*text, 1)?)))
    }

    fn put_head<const N: usize>(&self, out: &mut Vec<u8, N>, publics: &[&[u8; PUBLIC_BYTES]]) {
        put(out, &[VERSION, FLAG_CLAIM]);
        put(out, &self.code.id.0.to_le_bytes());
        for public in publics {
            put(out, *public);
        }
    }

    /// Its bytes before the last tag, and that tag, when they say that they are of this claim.
    fn split<'b>(
        &self,
        bytes: &'b [u8],
        bytes_exact: usize,
    ) -> Result<(&'b [u8], [u8; TAG_BYTES]), ClaimError> {
        let found = id(bytes, bytes_exact)?;
        if found != self.code.id {
            return Err(ClaimError::Claim { found });
        }
        let truncated = FrameError::Truncated { bytes: bytes.len() };
        let (said, tag) = bytes.split_last_chunk().ok_or(truncated)?;
        Ok((said, *tag))
    }

    /// What a tag covers: bytes, and the names.
    fn covered(&self, said: &[u8]) -> Covered {
        let mut covered = Covered::new();
        put(&mut covered, said);
        for name in [self.site.as_str(), self.device.as_str()] {
            put(&mut covered, &[name.len() as u8]);
            put(&mut covered, name.as_bytes());
        }
        covered
    }
}

/// Whether these bytes say that they are a claim or a grant.
pub fn is_claim(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, FLAG_CLAIM, ..])
}

/// Which claim an up frame names; proven only by [`Claimant::asked`].
pub fn claim_id(claim: &[u8]) -> Result<ClaimId, FrameError> {
    id(claim, CLAIM_BYTES)
}

fn id(bytes: &[u8], bytes_exact: usize) -> Result<ClaimId, FrameError> {
    let truncated = FrameError::Truncated { bytes: bytes.len() };
    let (&version, &flags) = bytes.first().zip(bytes.get(1)).ok_or(truncated)?;
    if version != VERSION {
        return Err(FrameError::Version { version });
    }
    if flags != FLAG_CLAIM {
        return Err(FrameError::Flags { flags });
    }
    match bytes.len().cmp(&bytes_exact) {
        Ordering::Less => Err(truncated),
        Ordering::Equal => part(bytes, 2).map(|id| ClaimId(u32::from_le_bytes(id))),
        Ordering::Greater => Err(FrameError::TooLong { bytes: bytes.len() }),
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], FrameError> {
    let part = bytes.get(at..).and_then(<[u8]>::first_chunk);
    part.copied()
        .ok_or(FrameError::Truncated { bytes: bytes.len() })
}

/// The capacities are the sums of what is put, so nothing is left out.
fn put<const N: usize>(out: &mut Vec<u8, N>, bytes: &[u8]) {
    let put = out.extend_from_slice(bytes);
    debug_assert!(put.is_ok(), "no room for {} bytes", bytes.len());
}

fn nonce(way: u8, public: &[u8]) -> XNonce {
    let mut nonce = [0; NONCE_BYTES];
    let bytes = [way].into_iter().chain(public.iter().copied());
    nonce
        .iter_mut()
        .zip(bytes)
        .for_each(|(place, byte)| *place = byte);
    XNonce::from(nonce)
}

fn seal(key: &Key, nonce: &XNonce, covered: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
    // Only texts of 256 GiB fail.
    key.cipher()
        .encrypt_inout_detached(nonce, covered, InOutBuf::from(text))
        .map_or([0; TAG_BYTES], Into::into)
}

fn open(
    key: &Key,
    nonce: &XNonce,
    covered: &[u8],
    text: &mut [u8],
    tag: [u8; TAG_BYTES],
) -> Result<(), ClaimError> {
    key.cipher()
        .decrypt_inout_detached(nonce, covered, InOutBuf::from(text), &Tag::from(tag))
        .map_err(|_| ClaimError::Tag)
}
