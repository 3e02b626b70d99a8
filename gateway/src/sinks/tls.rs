//! TLS of sinks and of the link to a broker: whom to trust, who to be, and what a refusal means.
//!
//! With `ca` only the authorities in that file are trusted, else those of the system. Files are read
//! when a client is made; after its receiver was found broken it is made anew, so that a renewed
//! certificate is picked up without a restart.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::rules::settings::{TlsKeys, TlsSettings};

/// Why a TLS client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(
        "{key} = {path}: the file cannot be read: {why}; see that it is there and that the gateway may read it"
    )]
    Unreadable {
        /// Key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A file holds something else.
    #[error("{key} = {path}: {why}; expected PEM, with lines such as -----BEGIN {expected}-----")]
    Malformed {
        /// Key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// Certificate and key are not a pair.
    #[error("{} = {cert} and {} = {key} do not go together: {why}", keys.0, keys.1)]
    NotAPair {
        /// Keys of the configuration: the certificate's and the key's.
        keys: (&'static str, &'static str),
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        why: Box<rustls::Error>,
    },
    /// The system trusts nobody.
    #[error(
        "the system has no CA certificates to trust: install them (Debian: ca-certificates), or \
         set {key}"
    )]
    NoAuthorities {
        /// Key of the configuration.
        key: &'static str,
    },
    /// The TLS library cannot start.
    #[error("TLS cannot start: {0}")]
    Provider(rustls::Error),
}

/// A TLS client's configuration. Reads files and blocks.
pub fn client_config(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(authorities(settings.ca.as_deref(), settings.keys)?);
    let Some((cert, key)) = &settings.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(settings.keys.cert, cert)?;
    let private = private_key(settings.keys.key, key)?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|why| TlsError::NotAPair {
            keys: (settings.keys.cert, settings.keys.key),
            cert: cert.clone(),
            key: key.clone(),
            why: Box::new(why),
        })
}

fn authorities(ca: Option<&Path>, keys: TlsKeys) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        // What of the system's cannot be read is left out: others do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() {
            Err(TlsError::NoAuthorities { key: keys.ca })
        } else {
            Ok(roots)
        };
    };
    for certificate in certificates(keys.ca, ca)? {
        roots.add(certificate).map_err(|why| TlsError::Malformed {
            key: keys.ca,
            path: ca.to_owned(),
            why: format!("a certificate in it cannot be used: {why}"),
            expected: "CERTIFICATE",
        })?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one; `key` is the configuration's that names it.
pub fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, path)?;
    let malformed = |why: String| TlsError::Malformed {
        key,
        path: path.to_owned(),
        why,
        expected: "CERTIFICATE",
    };
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|why| malformed(why.to_string()))?;
    if found.is_empty() {
        return Err(malformed("there is no certificate in it".into()));
    }
    Ok(found)
}

/// The private key of a PEM file; `key` is the configuration's that names it.
pub fn private_key(key: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = zeroize::Zeroizing::new(read(key, path)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|why| TlsError::Malformed {
        key,
        path: path.to_owned(),
        why: match why {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "there is no unencrypted private key in it".into()
            }
            other => other.to_string(),
        },
        expected: "PRIVATE KEY",
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|why| TlsError::Unreadable {
        key,
        path: path.to_owned(),
        why,
    })
}

/// What TLS refused, if it was TLS: which certificate, why, and what to do.
pub fn refusal(error: &(dyn Error + 'static), settings: &TlsSettings) -> Option<String> {
    let why = match cause(error)? {
        rustls::Error::InvalidCertificate(why) => server_certificate(why, settings),
        rustls::Error::AlertReceived(alert) => alert_received(*alert, settings),
        rustls::Error::InvalidMessage(_) => {
            "what answers at this port does not speak TLS: check the port, or the URL's scheme"
                .into()
        }
        other => format!("TLS failed: {other}"),
    };
    Some(why)
}

/// The error of TLS among an error's causes.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    // An io::Error hides the error it wraps from `source`.
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    wrapped
        .and_then(|wrapped| cause(wrapped))
        .or_else(|| error.source().and_then(cause))
}

fn server_certificate(why: &CertificateError, settings: &TlsSettings) -> String {
    match why {
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() {
                "no name".to_owned()
            } else {
                names.join(", ")
            };
            format!(
                "wrong name: the server's certificate is for {names}, not for {}",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => {
            "wrong name: the server's certificate is for another name than the URL's".into()
        }
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "expired: the server's certificate was valid until {}; if it is not that old, see \
             this machine's clock",
            shown(*not_after)
        ),
        CertificateError::Expired => {
            "expired: the server's certificate is not valid any more".into()
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "not valid yet: the server's certificate is valid from {}; if it is older, see this \
             machine's clock",
            shown(*not_before)
        ),
        CertificateError::UnknownIssuer => match &settings.ca {
            Some(ca) => format!(
                "unknown authority: none in {} = {} signed the server's certificate",
                settings.keys.ca,
                ca.display()
            ),
            None => format!(
                "unknown authority: nobody whom this system trusts signed the server's \
                 certificate; for an authority of your own set {}",
                settings.keys.ca
            ),
        },
        other => format!("the server's certificate is not accepted: {other}"),
    }
}

/// A name as the library shows it: `DnsName("a.example")` is `a.example`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn shown(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "an unknown time".into(), |time| time.to_string())
}

/// What the server found wrong with us.
fn alert_received(alert: AlertDescription, settings: &TlsSettings) -> String {
    use AlertDescription as Alert;
    let keys = settings.keys;
    let refuses = |why: &str| match &settings.client {
        Some((cert, _)) => format!(
            "the server refuses the client's certificate {} = {}: {why}",
            keys.cert,
            cert.display()
        ),
        None => format!(
            "the server demands a client's certificate: set {} and {} ({why})",
            keys.cert, keys.key
        ),
    };
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => refuses("it wants one"),
        Alert::CertificateExpired => refuses("it has expired"),
        Alert::CertificateRevoked => refuses("it is revoked"),
        Alert::UnknownCA => refuses("the server does not know the authority that signed it"),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::DecryptError
        | Alert::AccessDenied => refuses(&format!("{alert:?}")),
        Alert::HandshakeFailure if settings.client.is_none() => format!(
            "the server refuses the handshake: it may demand a client's certificate ({} and {}), \
             or speak only older TLS",
            keys.cert, keys.key
        ),
        Alert::ProtocolVersion => "the server speaks only TLS older than 1.2".into(),
        Alert::UnrecognisedName => "the server has no certificate for the URL's host".into(),
        other => format!("the server refuses TLS: {other:?}"),
    }
}

#[cfg(test)]
pub(crate) mod authority;
#[cfg(test)]
mod tests;
