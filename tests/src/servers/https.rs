//! A receiver behind TLS, which takes every request that comes through its door: a collector, or
//! an ingest of one's own. It runs in the test's process.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::{BASIC, Door};
use crate::http;

/// How often a connection looks whether the receiver stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A receiver; gone with its guard.
#[derive(Debug)]
pub struct Https {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    desk: Arc<Desk>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Desk {
    tls: Arc<ServerConfig>,
    login: bool,
    taken: AtomicUsize,
    refused: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Https {
    /// Starts one behind a door with TLS.
    pub fn start(port: u16, door: &Door) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("the receiver cannot listen on {port}: {error}"));
        let desk = Arc::new(Desk {
            tls: Arc::new(tls_server(door)),
            login: door.login,
            taken: AtomicUsize::new(0),
            refused: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&desk);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped() {
                    return;
                }
                let desk = Arc::clone(&accepting);
                thread::spawn(move || {
                    if let Err(error) = stream.and_then(|stream| desk.serve(stream)) {
                        let refused = desk.refused.lock();
                        let mut refused = refused.unwrap_or_else(PoisonError::into_inner);
                        refused.push(error.to_string());
                    }
                });
            }
        });
        Self {
            port,
            desk,
            acceptor: Some(acceptor),
        }
    }

    /// How many requests it took.
    pub fn taken(&self) -> usize {
        self.desk.taken.load(Ordering::SeqCst)
    }

    /// Why connections ended that did not end well, such as by TLS.
    pub fn refused(&self) -> Vec<String> {
        let refused = self.desk.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.desk.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Desk {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.set_nodelay(true)?;
        let server = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(server, stream);
        let mut kept = Vec::new();
        while let Some(raw) = http::read(&mut stream, &mut kept, &|| self.is_stopped())? {
            if self.login && raw.header("authorization") != Some(BASIC) {
                http::answer(&mut stream, 401)?;
                continue;
            }
            self.taken.fetch_add(1, Ordering::SeqCst);
            http::answer(&mut stream, 200)?;
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// TLS as the server of a door.
fn tls_server(door: &Door) -> ServerConfig {
    let identity = door.tls.as_ref().expect("a door with TLS");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need");
    let builder = match &door.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_file(&clients.authority);
            roots
                .add(authority.expect("an authority's file"))
                .expect("an authority");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("one authority is enough"))
        }
    };
    let chain = CertificateDer::from_pem_file(&identity.certificate).expect("a certificate's file");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key's file");
    builder
        .with_single_cert(vec![chain], key)
        .expect("a certificate and its key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Certificates, Flaw};
    use crate::ports;
    use crate::request::Client;
    use crate::servers::Clients;

    #[test]
    fn its_door_has_tls_client_certificates_and_a_login() {
        let Certificates { known, unknown, .. } = &Certificates::new();
        let door = Door {
            tls: Some(known.server(Flaw::None)),
            clients: Some(Clients::of(known)),
            login: true,
        };
        let server = Https::start(ports::free(), &door);
        let status = |client: &Client| client.post("/records", &[], b"one").map(|got| got.status);
        let good = door.client(server.port);
        assert_eq!(status(&good).unwrap(), 200);
        let nobody = Client {
            authorization: None,
            ..good.clone()
        };
        assert_eq!(status(&nobody).unwrap(), 401);
        let stranger = Client {
            identity: Some(unknown.client("rig", Flaw::None)),
            ..good
        };
        assert!(status(&stranger).is_err());
        assert_eq!(server.taken(), 1);
    }
}
