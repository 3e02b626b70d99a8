//! Private certificate authorities and what they sign: for servers on 127.0.0.1 and for clients,
//! good ones and ones with a flaw, as PEM files.
//!
//! Good certificates hold from 2020 to 2100, expired ones held for 2020 alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// The name that a server's certificate of [`Flaw::WrongName`] is for.
pub const WRONG_NAME: &str = "elsewhere.example";

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing: a server's is for 127.0.0.1 and localhost.
    None,
    /// It is for [`WRONG_NAME`] alone; for servers.
    WrongName,
    /// It has not been good since 2021.
    Expired,
}

/// A certificate and its key, as PEM files that live as long as their folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, alone: its authority signed it directly.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8.
    pub key: PathBuf,
}

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate: what to trust to trust all that it signed.
    pub certificate: PathBuf,
    name: String,
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    signed: AtomicU32,
}

/// Two authorities in a folder that goes with them.
#[derive(Debug)]
pub struct Certificates {
    /// The one that a test trusts.
    pub known: Authority,
    /// One that nobody was told of.
    pub unknown: Authority,
    _dir: TempDir,
}

impl Certificates {
    /// Makes both.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
        Self {
            known: Authority::new(dir.path(), "known"),
            unknown: Authority::new(dir.path(), "unknown"),
            _dir: dir,
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes one; its files in `dir` begin with its name.
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = named(&format!("Tidegate test authority, {name}"), Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key())
            .expect("an authority's parameters can be signed");
        Self {
            certificate: written(dir, &format!("{name}.pem"), &issuer.pem()),
            name: name.to_owned(),
            dir: dir.to_owned(),
            issuer,
            signed: AtomicU32::new(0),
        }
    }

    /// A new certificate for a server.
    pub fn server(&self, flaw: Flaw) -> Identity {
        let names = match flaw {
            Flaw::WrongName => vec![WRONG_NAME.to_owned()],
            Flaw::None | Flaw::Expired => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        };
        let mut params = named("Tidegate test server", names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("server", params, flaw)
    }

    /// A new certificate for a client of a name, which is its common name.
    pub fn client(&self, name: &str, flaw: Flaw) -> Identity {
        assert_ne!(flaw, Flaw::WrongName, "a client may have any name");
        let mut params = named(name, Vec::new());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign("client", params, flaw)
    }

    fn sign(&self, use_of_it: &str, mut params: CertificateParams, flaw: Flaw) -> Identity {
        if flaw == Flaw::Expired {
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key();
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("an authority signs what it is given");
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        let stem = format!("{}-{use_of_it}-{number}", self.name);
        Identity {
            certificate: written(&self.dir, &format!("{stem}.pem"), &certificate.pem()),
            key: written(&self.dir, &format!("{stem}.key"), &key.serialize_pem()),
        }
    }
}

fn named(common_name: &str, names: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("names of hosts are ASCII");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers for a key")
}

fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("the test's folder takes a certificate");
    path
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{
        CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig,
        ServerConnection,
    };

    use super::*;

    fn roots(authority: &Authority) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&authority.certificate).unwrap();
        roots.add(certificate).unwrap();
        Arc::new(roots)
    }

    fn read(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (
            vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()],
            PrivateKeyDer::from_pem_file(&identity.key).unwrap(),
        )
    }

    /// Shakes hands in memory, both ends trusting `known`, until one of them refuses or both are
    /// content.
    fn shake(
        known: &Authority,
        host: &str,
        server: &Identity,
        client: &Identity,
    ) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (chain, key) = read(client);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(known), Arc::clone(&provider))
                .build()
                .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();

        let (chain, key) = read(server);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(known), Arc::clone(&provider))
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();

        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut unread = &bytes[..];
            while !unread.is_empty() {
                server.read_tls(&mut unread).unwrap();
                server.process_new_packets()?;
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut unread = &bytes[..];
            while !unread.is_empty() {
                client.read_tls(&mut unread).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(())
    }

    fn fault(result: Result<(), Error>) -> CertificateError {
        match result {
            Err(Error::InvalidCertificate(error)) => error,
            other => panic!("expected a refused certificate, found {other:?}"),
        }
    }

    #[test]
    fn good_certificates_are_accepted_under_both_names() {
        let certificates = Certificates::new();
        let known = &certificates.known;
        let (server, client) = (known.server(Flaw::None), known.client("a", Flaw::None));
        for host in ["127.0.0.1", "localhost"] {
            shake(known, host, &server, &client).unwrap();
        }
    }

    #[test]
    fn each_flaw_of_a_server_is_refused_as_that_flaw() {
        let Certificates {
            known,
            unknown,
            _dir,
        } = Certificates::new();
        let client = known.client("a", Flaw::None);
        let found = |server: &Identity| fault(shake(&known, "127.0.0.1", server, &client));
        let wrong = known.server(Flaw::WrongName);
        assert!(matches!(
            found(&wrong),
            CertificateError::NotValidForNameContext { .. }
        ));
        shake(&known, WRONG_NAME, &wrong, &client).unwrap();
        assert!(matches!(
            found(&known.server(Flaw::Expired)),
            CertificateError::ExpiredContext { .. }
        ));
        assert_eq!(
            found(&unknown.server(Flaw::None)),
            CertificateError::UnknownIssuer
        );
    }

    #[test]
    fn each_flaw_of_a_client_is_refused_as_that_flaw() {
        let Certificates {
            known,
            unknown,
            _dir,
        } = Certificates::new();
        let server = known.server(Flaw::None);
        let found = |client: &Identity| fault(shake(&known, "127.0.0.1", &server, client));
        assert!(matches!(
            found(&known.client("a", Flaw::Expired)),
            CertificateError::ExpiredContext { .. }
        ));
        assert_eq!(
            found(&unknown.client("a", Flaw::None)),
            CertificateError::UnknownIssuer
        );
        // A server's certificate makes no client.
        assert!(matches!(
            found(&server),
            CertificateError::InvalidPurposeContext { .. }
        ));
    }
}
