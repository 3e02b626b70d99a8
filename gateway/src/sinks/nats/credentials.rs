//! Credentials files of NATS, as `nsc` writes them: a user's JWT and the seed of the key that it
//! was issued for.
//!
//! ```text
//! -----BEGIN NATS USER JWT-----        -----BEGIN USER NKEY SEED-----
//! eyJ0eXAi…                            SUAIO3FH…
//! ------END NATS USER JWT------        ------END USER NKEY SEED------
//! seed = base32 of: prefix u16 | seed [u8; 32] | CRC-16/XMODEM of these, little-endian
//! ```
//!
//! The server sends a nonce; its Ed25519 signature proves who holds the seed. Neither seed nor JWT
//! is ever shown.

use std::path::{Path, PathBuf};

use ring::signature::Ed25519KeyPair;

/// What every base32 text is made of.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What base64 for URLs is made of.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Upper five bits of a seed's first byte: an S in base32.
const SEED_PREFIX: u8 = 18 << 3;

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part is missing.
    #[error("{}: no {part} in it; write it with `nsc generate creds`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The part.
        part: &'static str,
    },
    /// The seed is none.
    #[error("{}: its seed is damaged; write it with `nsc generate creds`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// A user's JWT and key.
pub struct Credentials {
    /// The JWT.
    pub jwt: String,
    key: Ed25519KeyPair,
}

impl Credentials {
    /// Reads a credentials file.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| CredentialsError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        let missing = |part| CredentialsError::Missing {
            path: path.to_owned(),
            part,
        };
        let jwt = block(&text, "USER JWT").ok_or_else(|| missing("user JWT"))?;
        let seed = block(&text, "USER NKEY SEED").ok_or_else(|| missing("nkey seed"))?;
        let key = key(seed).ok_or_else(|| CredentialsError::Damaged {
            path: path.to_owned(),
        })?;
        Ok(Self {
            jwt: jwt.to_owned(),
            key,
        })
    }

    /// Signs a server's nonce.
    pub fn sign(&self, nonce: &str) -> String {
        base64(self.key.sign(nonce.as_bytes()).as_ref())
    }
}

/// The first line of a block that begins with a line of this name.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(name))?;
    lines
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with("---"))
}

fn key(seed: &str) -> Option<Ed25519KeyPair> {
    let bytes = base32(seed)?;
    let (body, check) = bytes.split_last_chunk::<2>()?;
    let (prefix, seed) = body.split_first_chunk::<2>()?;
    let is_seed = prefix[0] & 0xf8 == SEED_PREFIX && crc16(body) == u16::from_le_bytes(*check);
    is_seed.then(|| Ed25519KeyPair::from_seed_unchecked(seed).ok())?
}

/// Reads base32 without padding; what is left below a byte is dropped.
fn base32(text: &str) -> Option<Vec<u8>> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    for sign in text.bytes() {
        let value = BASE32.iter().position(|one| *one == sign)?;
        bits = bits << 5 | value as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 2);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| {
            bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for sign in 0..=chunk.len() {
            let value = bits >> (18 - 6 * sign) & 0x3f;
            text.push(char::from(BASE64[value as usize]));
        }
    }
    text
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    const XMODEM: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
    XMODEM.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};

    use super::*;

    /// The example of NATS' own documentation.
    const SEED: &str = "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.creds");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn creds(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n\
             ************************* IMPORTANT *************************\r\n\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        )
    }

    #[test]
    fn a_credentials_file_signs_for_its_key() {
        let (_dir, path) = file(&creds("eyJ0.eyJq.c2ln", SEED));
        let credentials = Credentials::read(&path).unwrap();
        assert_eq!(credentials.jwt, "eyJ0.eyJq.c2ln");
        let signature = credentials.sign("nonce");
        assert_eq!(signature.len(), 86);
        let public = UnparsedPublicKey::new(&ED25519, credentials.key.public_key().as_ref());
        let raw: Vec<u8> = unbase64(&signature);
        public.verify(b"nonce", &raw).unwrap();
    }

    fn unbase64(text: &str) -> Vec<u8> {
        let mut bits = 0_u32;
        let mut count = 0;
        let mut bytes = Vec::new();
        for sign in text.bytes() {
            let value = BASE64.iter().position(|one| *one == sign).unwrap();
            bits = bits << 6 | value as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
            }
        }
        bytes
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_secrets() {
        let damaged = SEED.replace("IO3F", "IO4F");
        let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
        for (text, told) in [
            (String::new(), "no user JWT in it"),
            (creds("", SEED), "no user JWT in it"),
            ("-----BEGIN NATS USER JWT-----\nx\n".into(), "no nkey seed"),
            (creds("x", &damaged), "its seed is damaged"),
            (creds("x", public), "its seed is damaged"),
            (creds("x", "SU!"), "its seed is damaged"),
        ] {
            let (_dir, path) = file(&text);
            let error = Credentials::read(&path).err().unwrap().to_string();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("IO4F") && !error.contains("IO3F"));
        }
        let missing = Credentials::read(Path::new("/nowhere/user.creds"));
        assert!(
            missing
                .err()
                .unwrap()
                .to_string()
                .starts_with("/nowhere/user.creds: ")
        );
    }

    #[test]
    fn base64_knows_every_rest() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg");
        assert_eq!(base64(b"fo"), "Zm8");
        assert_eq!(base64(b"foo"), "Zm9v");
        assert_eq!(base64(&[0xfb, 0xff]), "-_8");
    }
}
