//! Secrets: read from a file, the environment or a systemd credential when a sink's client is made, and again after its
//! receiver refused it, so that a rotated one is picked up without a restart.
//!
//! What is read is wiped when it is dropped; what a client keeps of it in its own buffers is not.

use std::env::{self, VarError};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::rules::settings::Secret;

/// Longest secret: a token with many claims has some KiB.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Why a secret cannot be had. None of them shows it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error(
        "the secret's file {path} cannot be read: {why}; see that it is there and that the gateway may read it"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Its environment variable is not set.
    #[error("the environment variable {name} is not set: set it where the gateway is started")]
    Unset {
        /// Its name.
        name: String,
    },
    /// It is a credential, and systemd gave this process none.
    #[error(
        "systemd gave this process no credentials, so {name} is not among them: add LoadCredential={name}:/path to its service, or name the secret's file"
    )]
    NoCredentials {
        /// The credential's name.
        name: String,
    },
    /// There is nothing in it.
    #[error("the secret in {place} is empty")]
    Empty {
        /// Where.
        place: String,
    },
    /// It is not one line of text.
    #[error("the secret in {place} is not one line of text of at most {SECRET_BYTES_MAX} bytes")]
    NotOneLine {
        /// Where.
        place: String,
    },
}

/// Reads a secret, without the line's end.
pub fn read(secret: &Secret) -> Result<Zeroizing<String>, SecretError> {
    let place = place_of(secret);
    let text = match secret {
        Secret::File(path) => read_file(path)?,
        Secret::Env(name) => read_variable(name)?,
        Secret::Credential(name) => {
            let path =
                path_of(secret).ok_or_else(|| SecretError::NoCredentials { name: name.clone() })?;
            read_file(&path)?
        }
    };
    // Cut in place: a copy would have to be wiped, too.
    let mut text = text.ok_or_else(|| SecretError::NotOneLine {
        place: place.clone(),
    })?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    if text.is_empty() {
        return Err(SecretError::Empty { place });
    }
    if text.chars().any(char::is_control) {
        return Err(SecretError::NotOneLine { place });
    }
    Ok(text)
}

/// Where a secret stands, for people.
pub fn place_of(secret: &Secret) -> String {
    match secret {
        Secret::File(path) => format!("the file {}", path.display()),
        Secret::Env(name) => format!("the variable {name}"),
        Secret::Credential(name) => format!("the credential {name}"),
    }
}

/// The file that a secret stands in, if it does in one.
pub fn path_of(secret: &Secret) -> Option<PathBuf> {
    path_beside(secret, env::var_os("CREDENTIALS_DIRECTORY").as_deref())
}

fn path_beside(secret: &Secret, credentials: Option<&OsStr>) -> Option<PathBuf> {
    match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
        Secret::Credential(name) => Some(Path::new(credentials?).join(name)),
    }
}

/// A file's text; `None` if it is none, or too long.
fn read_file(path: &Path) -> Result<Option<Zeroizing<String>>, SecretError> {
    let unreadable = |why| SecretError::Unreadable {
        path: path.to_owned(),
        why,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > SECRET_BYTES_MAX {
        return Ok(None);
    }
    // Room for all of it, so that no part is left behind where it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX as usize + 1));
    let most = SECRET_BYTES_MAX + 1;
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 == most {
        return Ok(None);
    }
    Ok(std::str::from_utf8(&bytes)
        .ok()
        .map(|text| Zeroizing::new(text.to_owned())))
}

fn read_variable(name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
    match env::var(name) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(VarError::NotPresent) => Err(SecretError::Unset {
            name: name.to_owned(),
        }),
        Err(VarError::NotUnicode(_)) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(content: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, content).unwrap();
        read(&Secret::File(path))
            .map(|secret| secret.to_string())
            .map_err(|why| why.to_string())
    }

    #[test]
    fn a_file_is_read_without_its_lines_end() {
        assert_eq!(of_file(b"sesame\n").unwrap(), "sesame");
        assert_eq!(of_file(b"sesame\r\n").unwrap(), "sesame");
        assert_eq!(of_file(b" ses ame").unwrap(), " ses ame");
        assert_eq!(of_file("sésame".as_bytes()).unwrap(), "sésame");
    }

    #[test]
    fn what_is_no_secret_is_told_without_showing_it() {
        let most = vec![b's'; SECRET_BYTES_MAX as usize];
        assert!(of_file(&most).is_ok());
        let long = [&most[..], b"s"].concat();
        for (content, said) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"sesame\nopen\n", "one line"),
            (b"sesame\xff", "one line"),
            (&long, "one line"),
        ] {
            let why = of_file(content).unwrap_err();
            assert!(why.contains(said) && !why.contains("sesame"), "{why}");
        }
        let why = read(&Secret::File("/nowhere/token".into())).unwrap_err();
        assert!(why.to_string().contains("/nowhere/token"), "{why}");
    }

    #[test]
    fn a_variable_is_read_or_named() {
        // Cargo sets it for every test.
        let secret = read(&Secret::Env("CARGO_PKG_NAME".into())).unwrap();
        assert_eq!(*secret, "tidegate-gateway");
        let why = read(&Secret::Env("TIDEGATE_NOT_SET".into())).unwrap_err();
        assert!(why.to_string().contains("TIDEGATE_NOT_SET"), "{why}");
    }

    #[test]
    fn a_credential_is_a_file_of_the_folder_that_systemd_names() {
        let secret = Secret::Credential("cloud".into());
        let path = path_beside(&secret, Some(OsStr::new("/run/credentials/tidegate")));
        assert_eq!(path, Some("/run/credentials/tidegate/cloud".into()));
        assert_eq!(path_beside(&secret, None), None);
        let why = SecretError::NoCredentials {
            name: "cloud".into(),
        };
        assert!(why.to_string().contains("LoadCredential=cloud:"), "{why}");
    }
}
