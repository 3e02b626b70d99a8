//! The embedded broker of a build that has none: it does not start.
#![expect(
    clippy::unused_async,
    clippy::unnecessary_wraps,
    reason = "it is called as the one that there can be is"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Broker;
use super::access::Doorkeeper;
use crate::rules::settings::ServeTls;
use crate::sinks::tls::TlsError;
use crate::time::Clock;

/// Why the embedded broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// There is none.
    #[error(
        "this binary was built without the embedded broker: set mqtt.url, or build with the feature embedded-broker"
    )]
    NotBuilt,
}

/// A running broker: there is none.
pub struct EmbeddedBroker(Infallible);

/// Starts none.
///
/// # Errors
/// Always [`EmbeddedError::NotBuilt`].
pub async fn start(
    _listen: SocketAddr,
    _tls: Option<&ServeTls>,
    _doorkeeper: Arc<Doorkeeper>,
    _clock: Arc<dyn Clock>,
) -> Result<EmbeddedBroker, EmbeddedError> {
    Err(EmbeddedError::NotBuilt)
}

/// Nothing to check: the settings are refused already.
pub(super) fn check_tls(_tls: &ServeTls) -> Result<(), TlsError> {
    Ok(())
}

impl EmbeddedBroker {
    /// Where it listens for devices.
    pub fn local_addr(&self) -> SocketAddr {
        match self.0 {}
    }

    /// How the gateway's own link comes in.
    pub fn inner(&self) -> Broker {
        match self.0 {}
    }

    /// Who judges those who connect.
    pub fn doorkeeper(&self) -> &Arc<Doorkeeper> {
        match self.0 {}
    }

    /// Closes every connection and stops.
    pub async fn shutdown(self) {
        match self.0 {}
    }
}
