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
use super::refusal::{Causes, Heard};
use crate::rules::settings::TlsSettings;

/// Dials the broker, over TLS where there is a configuration for it.
#[derive(Debug, Clone)]
pub(super) struct BrokerDial {
    pub(super) broker: BrokerAddress,
    pub(super) tls: Option<(Arc<ClientConfig>, TlsSettings)>,
    /// Why connections do not come about.
    pub(super) causes: Causes,
}

impl BrokerDial {
    /// For another device.
    pub(super) fn of_another(&self) -> Self {
        Self {
            causes: self.causes.of_another(),
            ..self.clone()
        }
    }

    fn tls_settings(&self) -> Option<&TlsSettings> {
        self.tls.as_ref().map(|(_, settings)| settings)
    }

    async fn open(&self) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect((self.broker.host.as_str(), self.broker.port)).await?;
        stream.set_nodelay(true)?;
        let Some((config, _)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.broker.host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// TCP, or TLS over it.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Wire for S {}

impl Dial for BrokerDial {
    type Stream = FromTokio<Heard<Box<dyn Wire>>>;
    type Error = io::Error;

    async fn dial(&mut self) -> io::Result<Self::Stream> {
        let opened = self.open().await;
        let stream = opened.inspect_err(|error| self.causes.note(error, self.tls_settings()))?;
        let tls = self.tls_settings().cloned();
        Ok(FromTokio::new(Heard::new(stream, self.causes.clone(), tls)))
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
