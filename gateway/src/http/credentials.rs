//! Credentials: certificate, token and password, read at the start and again when they changed.
//!
//! A renewed certificate or another password is taken within [`REREAD`]. What cannot be read then
//! changes nothing: the former stays in force, and a WARN says so once.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::causes;
use crate::rules::settings::{ServeSettings, ServeTls};
use crate::sinks::secret::{self, SecretError};
use crate::sinks::tls::{TlsError, certificates, private_key};

/// How often the files are looked at.
const REREAD: Duration = Duration::from_mins(1);

/// Why page, API and metrics cannot be served as configured.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Certificate or key cannot be used.
    #[error("page, API and metrics cannot be served over TLS: {0}")]
    Tls(#[from] TlsError),
    /// Token or password cannot be had.
    #[error("http.{key}: {why}")]
    Secret {
        /// `token` or `password`.
        key: &'static str,
        /// Why not.
        why: SecretError,
    },
}

/// What a secret is compared by: never the secret itself.
pub(super) type Print = [u8; 32];

/// What was read.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// For new connections; none without TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Of token and password; none: nobody is asked.
    pub(super) secrets: Vec<Print>,
    /// Tells whether something changed.
    print: Print,
}

impl Credentials {
    /// Reads files and environment, and blocks.
    pub(super) fn read(settings: &ServeSettings) -> Result<Self, CredentialsError> {
        let mut print = Sha256::new();
        let tls = match &settings.tls {
            Some(tls) => Some(Arc::new(server_config(tls, &mut print)?)),
            None => None,
        };
        let keys = [("token", &settings.token), ("password", &settings.password)];
        let mut secrets = Vec::new();
        for (key, secret) in keys {
            let Some(secret) = secret else { continue };
            let text = secret::read(secret).map_err(|why| CredentialsError::Secret { key, why })?;
            let one = print_of(text.as_bytes());
            print.update(one);
            secrets.push(one);
        }
        Ok(Self {
            tls,
            secrets,
            print: print.finalize().into(),
        })
    }
}

/// What a text is compared by.
pub(super) fn print_of(text: &[u8]) -> Print {
    Sha256::digest(text).into()
}

/// Whether certificate and key can be used, for `tidegate check`. Reads files and blocks.
pub fn check_tls(settings: &ServeSettings) -> Result<(), CredentialsError> {
    if let Some(tls) = &settings.tls {
        server_config(tls, &mut Sha256::new())?;
    }
    Ok(())
}

fn server_config(tls: &ServeTls, print: &mut Sha256) -> Result<ServerConfig, TlsError> {
    let chain = certificates("http.tls.cert", &tls.cert)?;
    let private = private_key("http.tls.key", &tls.key)?;
    for certificate in &chain {
        print.update(certificate);
    }
    print.update(private.secret_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|why| TlsError::NotAPair {
            keys: ("http.tls.cert", "http.tls.key"),
            cert: tls.cert.clone(),
            key: tls.key.clone(),
            why: Box::new(why),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Looks at the files now and then, for ever.
pub(super) async fn keep(settings: ServeSettings, current: watch::Sender<Arc<Credentials>>) {
    let mut complained = false;
    loop {
        tokio::time::sleep(REREAD).await;
        let settings = settings.clone();
        let Ok(read) = spawn_blocking(move || Credentials::read(&settings)).await else {
            continue;
        };
        complained = take(read, &current, complained);
    }
}

/// Takes what was read if it is another; whether it could not be read and that was said.
fn take(
    read: Result<Credentials, CredentialsError>,
    current: &watch::Sender<Arc<Credentials>>,
    complained: bool,
) -> bool {
    match read {
        Ok(read) => {
            let is_other = current.borrow().print != read.print;
            if is_other {
                current.send_replace(Arc::new(read));
                tracing::info!("page, API and metrics have another certificate, token or password");
            }
            false
        }
        Err(error) => {
            if !complained {
                tracing::warn!(
                    why = causes::told(&error),
                    "certificate, token and password of page, API and metrics stay what they were"
                );
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::settings::Secret;

    #[test]
    fn what_changed_is_taken_and_what_cannot_be_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "sesame\n").unwrap();
        let settings = ServeSettings {
            token: Some(Secret::File(file.clone())),
            ..ServeSettings::default()
        };
        let first = Credentials::read(&settings).unwrap();
        assert_eq!(first.secrets, [print_of(b"sesame")]);
        let (current, seen) = watch::channel(Arc::new(first));
        assert!(!take(Credentials::read(&settings), &current, false));
        assert!(!seen.has_changed().unwrap(), "it is the same");
        std::fs::write(&file, "another\n").unwrap();
        assert!(!take(Credentials::read(&settings), &current, false));
        assert_eq!(seen.borrow().secrets, [print_of(b"another")]);
        std::fs::remove_file(&file).unwrap();
        assert!(take(Credentials::read(&settings), &current, false));
        assert_eq!(seen.borrow().secrets, [print_of(b"another")]);
        let why = Credentials::read(&settings).unwrap_err().to_string();
        assert!(
            why.contains("http.token") && why.contains("cannot be read"),
            "{why}"
        );
    }
}
