//! What a simulated device's shell stands on: TCP and TLS, this machine's clock, and its entropy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use embedded_io_adapters::tokio_1::FromTokio;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tidegate_firmware::shell::{Dial, Entropy};
use tidegate_firmware::time::{Moment, Timer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::args::BrokerAddress;
use super::driver;
use crate::rules::settings::TlsSettings;
use crate::sinks::tls;

/// Dials the broker, over TLS where there is a configuration for it.
#[derive(Debug, Clone)]
pub(super) struct BrokerDial {
    pub(super) broker: BrokerAddress,
    pub(super) tls: Option<(Arc<ClientConfig>, TlsSettings)>,
}

/// TCP, or TLS over it.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Wire for S {}

impl Dial for BrokerDial {
    type Stream = FromTokio<Box<dyn Wire>>;
    type Error = io::Error;

    async fn dial(&mut self) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect((self.broker.host.as_str(), self.broker.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Wire> = match &self.tls {
            None => Box::new(stream),
            Some((config, settings)) => {
                let name = ServerName::try_from(self.broker.host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                let connector = TlsConnector::from(Arc::clone(config));
                let secured = connector.connect(name, stream).await.inspect_err(|error| {
                    let why = tls::refusal(error, settings);
                    let why = why.unwrap_or_else(|| error.to_string());
                    tracing::warn!(broker = self.broker.host, why, "TLS did not come about");
                })?;
                Box::new(secured)
            }
        };
        Ok(FromTokio::new(stream))
    }
}

/// This machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostTimer;

impl Timer for HostTimer {
    fn now(&self) -> Moment {
        Moment(driver::now_us())
    }

    async fn until(&self, at: Moment) {
        let wait_us = at.0.saturating_sub(self.now().0);
        tokio::time::sleep(Duration::from_micros(wait_us)).await;
    }
}

/// This machine's entropy; where it has none, numbers that at least do not repeat soon.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostEntropy;

impl Entropy for HostEntropy {
    fn draw(&mut self) -> u32 {
        getrandom::u32().unwrap_or_else(|_| (driver::now_us() as u32).wrapping_mul(0x9e37_79b1))
    }
}
