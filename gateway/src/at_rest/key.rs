//! The key that secrets are sealed under at rest, from where the configuration says that it stands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{AtRest, KEY_BYTES};
use crate::rules::settings::Secret;
use crate::sinks::secret::{self, SecretError};

/// How a key is made and named.
pub const KEY_HELP: &str = "make one with `(umask 077; openssl rand -hex 32 >/etc/tidegate/key)`, \
                            and write key = { file = \"/etc/tidegate/key\" } under [security]";

/// Rights of a file that let others than its owner and group read it.
const READ_BY_OTHERS: u32 = 0o004;

/// Why there is no key to seal under. None of them shows it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read where it should stand.
    #[error("{what}: {why}")]
    Secret {
        /// `security.key`, or what else named it.
        what: &'static str,
        /// Why not.
        why: SecretError,
    },
    /// What stands there is no key.
    #[error(
        "{what}, {place}, holds neither 64 hexadecimal digits nor base64 of 32 bytes, which is what a key is written as: `openssl rand -hex 32` makes one"
    )]
    Unfit {
        /// `security.key`, or what else named it.
        what: &'static str,
        /// Where it stands.
        place: String,
    },
}

/// Reads `security.key` from where it stands, and warns when anybody may read it.
pub fn read(secret: &Secret) -> Result<AtRest, KeyError> {
    let at_rest = AtRest::new(read_bytes("security.key", secret)?);
    if let Some(path) = open_to_others(secret) {
        tracing::warn!(
            path = %path.display(),
            "anybody on this machine may read the key that device keys are sealed under: take the right away with chmod o-r"
        );
    }
    Ok(at_rest)
}

/// Reads a key that `what` names.
pub fn read_bytes(
    what: &'static str,
    secret: &Secret,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let text = secret::read(secret).map_err(|why| KeyError::Secret { what, why })?;
    parse(&text).ok_or_else(|| KeyError::Unfit {
        what,
        place: secret::place_of(secret),
    })
}

/// The key's file, where others than its owner and group may read it.
pub fn open_to_others(secret: &Secret) -> Option<PathBuf> {
    let path = secret::path_of(secret)?;
    is_open(&path).then_some(path)
}

fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & READ_BY_OTHERS != 0)
}

/// A key as text: 64 hexadecimal digits, or base64 of 32 bytes in either alphabet.
fn parse(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let text = text.trim();
    of_hex(text).or_else(|| of_base64(text))
}

fn of_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(key)
}

fn of_base64(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    // Bytes of the longest text that is decoded: what is longer is no key.
    let mut bytes = Zeroizing::new([0; KEY_BYTES + 3]);
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, CONFIG);
        if engine.decode_slice(text, bytes.as_mut_slice()) == Ok(KEY_BYTES) {
            return bytes.first_chunk().copied().map(Zeroizing::new);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF";

    #[test]
    fn a_key_is_hexadecimal_or_base64() {
        let mut expected: [u8; KEY_BYTES] = std::array::from_fn(|at| at as u8);
        expected[31] = 0xff;
        for text in [
            HEX,
            " 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1EFF ",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8",
        ] {
            assert_eq!(parse(text).as_deref(), Some(&expected), "{text}");
        }
        let dashes = "-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_8";
        let slashes = dashes.replace('-', "+").replace('_', "/");
        assert_eq!(parse(dashes), parse(&slashes));
        assert!(parse(dashes).is_some());
    }

    #[test]
    fn anything_else_is_refused_with_how_to_make_one_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let long = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8AAAAA";
        for text in ["sesame", &HEX[1..], &format!("{HEX}0"), long] {
            fs::write(&path, text).unwrap();
            let why = read(&Secret::File(path.clone())).unwrap_err().to_string();
            assert!(why.contains("openssl rand -hex 32"), "{why}");
            assert!(why.contains(&path.display().to_string()), "{why}");
            assert!(!why.contains(text), "{why}");
        }
        let why = read(&Secret::Env("TIDEGATE_NO_KEY".into())).unwrap_err();
        assert!(why.to_string().contains("TIDEGATE_NO_KEY"), "{why}");
    }

    #[test]
    fn a_file_that_anybody_may_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, is_told) in [(0o600, false), (0o640, false), (0o644, true)] {
            let path = folder.path().join(format!("{mode:o}"));
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(mode);
            options.open(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = open_to_others(&Secret::File(path.clone()));
            assert_eq!(found, is_told.then_some(path), "{mode:o}");
        }
        assert_eq!(open_to_others(&Secret::Env("HOME".into())), None);
    }
}
