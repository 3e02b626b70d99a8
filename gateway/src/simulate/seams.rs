//! What a simulated device's shell stands on: TCP, this machine's clock, and its entropy.

use std::io;
use std::time::Duration;

use embedded_io_adapters::tokio_1::FromTokio;
use tidegate_firmware::shell::{Dial, Entropy};
use tidegate_firmware::time::{Moment, Timer};
use tokio::net::TcpStream;

use super::args::BrokerAddress;
use super::driver;

/// Dials the broker over TCP.
#[derive(Debug, Clone)]
pub(super) struct TcpDial(pub(super) BrokerAddress);

impl Dial for TcpDial {
    type Stream = FromTokio<TcpStream>;
    type Error = io::Error;

    async fn dial(&mut self) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect((self.0.host.as_str(), self.0.port)).await?;
        stream.set_nodelay(true)?;
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
