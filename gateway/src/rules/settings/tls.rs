//! `tls`: PEM files of whoever connects, and of whoever listens.

use std::path::PathBuf;

/// Of whoever connects: whom to trust and who to be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `ca`: the only authorities to trust; none: the system's.
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: the client's certificate, its chain behind it, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// What these are called where they were given.
    pub keys: TlsKeys,
}

/// What a TLS client's files are called where they were given, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsKeys {
    /// The authorities to trust.
    pub ca: &'static str,
    /// The client's certificate.
    pub cert: &'static str,
    /// Its key.
    pub key: &'static str,
}

impl Default for TlsKeys {
    fn default() -> Self {
        Self {
            ca: "tls.ca",
            cert: "tls.cert",
            key: "tls.key",
        }
    }
}

/// Of whoever listens: `http.tls` and `mqtt.embedded.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeTls {
    /// `cert`: the server's certificate, its chain behind it.
    pub cert: PathBuf,
    /// `key`: its key.
    pub key: PathBuf,
    /// `client_ca`, of the broker alone: the authorities of clients' certificates; with it, each
    /// client needs one.
    pub client_ca: Option<PathBuf>,
}
