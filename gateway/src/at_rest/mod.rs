//! At rest: secrets in files, sealed under one key that the gateway is given from outside.
//!
//! ```text
//! "TGar" | version u8 = 1 | print of the key, 8 bytes | nonce, 24 bytes
//! sealed bytes | tag, 16 bytes
//! ```
//! Terms: the *print* is the beginning of SHA-256 over the key, and tells another key from a damaged
//! file; the *context* says what is sealed, such as `device registry`.
//!
//! Invariants:
//! - What opens is what was sealed under this key for this context: all bytes before the nonce and
//!   the context are associated data.
//! - A nonce is drawn for each sealing; of 24 random bytes none repeats.
//! - Another key is told as that, before anything is taken for damaged.
//!
//! Source of the construction: XChaCha20-Poly1305, draft-irtf-cfrg-xchacha.

pub mod file;
pub mod key;

use std::fmt;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use self::key::{KEY_HELP, KeyError};

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"TGar";
const VERSION: u8 = 1;
const PRINT_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Magic, version and print: what is associated data, beside the context.
const HEAD_BYTES: usize = MAGIC.len() + 1 + PRINT_BYTES;

/// Why something sealed does not open. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed under another key.
    #[error("it is sealed under another key than the one given")]
    OtherKey,
    /// A newer version sealed it.
    #[error(
        "it is sealed in form {version}, of a newer version; this one knows forms up to {VERSION}"
    )]
    Newer {
        /// The form.
        version: u8,
    },
    /// It is not what was sealed, or was sealed as something else.
    #[error("it is damaged, or is another file than it should be")]
    Damaged,
}

/// Seals and opens under one key.
#[derive(Clone)]
pub struct AtRest {
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// Without the key.
impl fmt::Debug for AtRest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AtRest").finish_non_exhaustive()
    }
}

impl AtRest {
    /// Under a key of 32 random bytes.
    pub fn new(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { key }
    }

    /// Seals `plain` as what `context` says.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let mut sealed = self.head().to_vec();
        let associated = [sealed.as_slice(), context.as_bytes()].concat();
        sealed.reserve_exact(NONCE_BYTES + plain.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let (_, body) = sealed.split_at_mut(HEAD_BYTES + NONCE_BYTES);
        let tag = self
            .cipher()
            .encrypt_inout_detached(&XNonce::from(nonce), &associated, body.into())
            .expect("what fits the memory is shorter than the cipher's 256 GiB");
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what was sealed as what `context` says.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let rest = sealed.strip_prefix(&MAGIC).ok_or(SealError::Damaged)?;
        match rest.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => return Err(SealError::Newer { version }),
            _ => return Err(SealError::Damaged),
        }
        let parts = sealed.split_first_chunk::<HEAD_BYTES>();
        let (head, rest) = parts.ok_or(SealError::Damaged)?;
        if *head != self.head() {
            return Err(SealError::OtherKey);
        }
        let parts = rest.split_first_chunk::<NONCE_BYTES>();
        let (nonce, rest) = parts.ok_or(SealError::Damaged)?;
        let parts = rest.split_last_chunk::<TAG_BYTES>();
        let (body, tag) = parts.ok_or(SealError::Damaged)?;
        let associated = [head.as_slice(), context.as_bytes()].concat();
        let mut plain = Zeroizing::new(body.to_vec());
        self.cipher()
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &associated,
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| SealError::Damaged)?;
        Ok(plain)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }

    fn head(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let hash = Sha256::new()
            .chain_update("tidegate key at rest v1")
            .chain_update(*self.key)
            .finalize();
        let (magic, rest) = head.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        for (byte, said) in rest.iter_mut().zip([VERSION].iter().chain(&hash)) {
            *byte = *said;
        }
        head
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Under a key that a number stands for.
    pub fn at_rest(number: u8) -> AtRest {
        AtRest::new(Zeroizing::new([number; KEY_BYTES]))
    }

    #[test]
    fn what_was_sealed_opens_and_never_looks_the_same_twice() {
        let seal = || at_rest(1).seal("seed", b"sesame").unwrap();
        let sealed = seal();
        assert_eq!(
            at_rest(1).open("seed", &sealed).unwrap().as_slice(),
            b"sesame"
        );
        assert_ne!(sealed, seal());
        assert!(!sealed.windows(6).any(|window| window == b"sesame"));
    }

    #[test]
    fn another_key_is_told_as_that_and_another_context_is_not_opened() {
        let sealed = at_rest(1).seal("seed", b"sesame").unwrap();
        assert_eq!(at_rest(2).open("seed", &sealed), Err(SealError::OtherKey));
        assert_eq!(
            at_rest(1).open("registry", &sealed),
            Err(SealError::Damaged)
        );
        let mut newer = sealed;
        newer[4] = 2;
        assert_eq!(
            at_rest(1).open("seed", &newer),
            Err(SealError::Newer { version: 2 })
        );
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", at_rest(77)), "AtRest { .. }");
    }

    proptest! {
        #[test]
        fn every_changed_byte_and_every_cut_is_found(
            plain in proptest::collection::vec(any::<u8>(), 0..60),
            at: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let sealed = at_rest(1).seal("seed", &plain).unwrap();
            let opened = at_rest(1).open("seed", &sealed).unwrap();
            prop_assert_eq!(&*opened, &plain);
            let at = at.index(sealed.len());
            let mut changed = sealed.clone();
            changed[at] ^= 1u8 << bit;
            prop_assert!(at_rest(1).open("seed", &changed).is_err());
            prop_assert!(at_rest(1).open("seed", &sealed[..at]).is_err());
        }
    }
}
