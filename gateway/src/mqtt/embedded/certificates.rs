//! Certificates: the broker's own, those whom it trusts to sign clients', and the names in them.
//!
//! Files are read at the start, which fails where they cannot be used, and again for a connection
//! when that is a minute ago: what cannot be read then changes nothing, and a WARN says so.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tidegate_shared::ids::DeviceName;
use tokio::task::spawn_blocking;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::rules::settings::ServeTls;
use crate::sinks::tls::{TlsError, certificates, private_key};
use crate::time::Clock;

/// What the files are called in the configuration.
const CERT: &str = "mqtt.embedded.tls.cert";
const KEY: &str = "mqtt.embedded.tls.key";
const CLIENT_CA: &str = "mqtt.embedded.tls.client_ca";

/// How long what was read is good, in µs.
const REREAD_US: u64 = 60_000_000;
/// Most names looked at in one certificate.
const NAMES_MAX: usize = 16;

/// What was read, and when.
pub(super) struct Certificates {
    settings: ServeTls,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// None before the first connection.
    read_us: Option<u64>,
}

impl Certificates {
    /// Reads the files.
    pub(super) async fn read(settings: ServeTls) -> Result<Self, TlsError> {
        let config = load(settings.clone()).await?;
        Ok(Self {
            settings,
            state: Mutex::new(State {
                config,
                read_us: None,
            }),
        })
    }

    /// What a connection is to be secured with.
    pub(super) async fn current(&self, clock: &Arc<dyn Clock>) -> Arc<ServerConfig> {
        let now_us = clock.now().mono_us;
        if let Some(config) = self.unless_old(now_us) {
            return config;
        }
        let read = load(self.settings.clone()).await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(config) => state.config = config,
            Err(error) => tracing::warn!(
                %error,
                "the embedded broker keeps the certificate and authority that it has"
            ),
        }
        Arc::clone(&state.config)
    }

    /// What there is, unless it is old: then whoever asks reads it again, and others do not.
    fn unless_old(&self, now_us: u64) -> Option<Arc<ServerConfig>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read_us = *state.read_us.get_or_insert(now_us);
        if now_us < read_us + REREAD_US {
            return Some(Arc::clone(&state.config));
        }
        state.read_us = Some(now_us);
        None
    }
}

async fn load(settings: ServeTls) -> Result<Arc<ServerConfig>, TlsError> {
    match spawn_blocking(move || server_config(&settings)).await {
        Ok(read) => read.map(Arc::new),
        Err(broken) => Err(TlsError::Provider(rustls::Error::General(
            broken.to_string(),
        ))),
    }
}

/// Whether certificate, key and authority can be used, for `tidegate check`. Reads files, blocks.
pub(super) fn server_config(tls: &ServeTls) -> Result<ServerConfig, TlsError> {
    let chain = certificates(CERT, &tls.cert)?;
    let private = private_key(KEY, &tls.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |why: String| TlsError::Malformed {
                key: CLIENT_CA,
                path: path.clone(),
                why: format!("a certificate in it cannot be used: {why}"),
                expected: "CERTIFICATE",
            };
            let mut roots = RootCertStore::empty();
            for certificate in certificates(CLIENT_CA, path)? {
                let added = roots.add(certificate);
                added.map_err(|why| unusable(why.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|why| unusable(why.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder
            .with_single_cert(chain, private)
            .map_err(|why| TlsError::NotAPair {
                keys: (CERT, KEY),
                cert: tls.cert.clone(),
                key: tls.key.clone(),
                why: Box::new(why),
            })?;
    // A resumed session would be judged by a certificate of long ago.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The device names in a certificate: its common name, then its DNS names.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<DeviceName> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<&str> = common.filter_map(|name| name.as_str().ok()).collect();
    if let Ok(Some(also)) = certificate.subject_alternative_name() {
        let also = also.value.general_names.iter();
        names.extend(also.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        }));
    }
    let names = names.into_iter().take(NAMES_MAX);
    names
        .filter_map(|name| DeviceName::try_from(name).ok())
        .collect()
}
