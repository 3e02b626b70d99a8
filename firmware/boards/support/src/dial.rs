//! Dialling the broker over embassy-net.
//!
//! One TCP socket lives as long as the board and is lent to one connection at a time, so its
//! buffers are counted once. A connection ends when the peer closes it, when nothing came back for
//! [`SILENCE_S`], when its write half stalls (the shell bounds that), and at once when the
//! network's configuration is lost: a DHCP lease that was not renewed, a cable that was pulled.
//! Dialling waits until there is a configuration again. It is not bounded here: the shell bounds
//! it by its `connect_ms`, tries again with backoff, and dropping the future is harmless.

use core::cell::{RefCell, RefMut};
use core::net::Ipv4Addr;
use core::pin::pin;
use core::task::Poll;

use embassy_net::tcp::{ConnectError, Error, TcpSocket};
use embassy_net::{IpEndpoint, Stack};
use embassy_time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use tidegate_firmware::shell::Dial;

use crate::settings::Broker;

/// A TCP keepalive after this much silence, in s: it finds a peer that vanished while MQTT's own
/// keepalive waits.
pub const KEEP_ALIVE_S: u64 = 15;
/// A connection from which nothing came for this long is given up, in s.
pub const SILENCE_S: u64 = 45;

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialError {
    /// The broker's name cannot be resolved, or it is no address and this image has no DNS.
    Name,
    /// The last connection still holds the socket.
    Lent,
    /// The connection was not made.
    Connect(ConnectError),
}

/// The way to one broker.
pub struct TcpDial<'s, 'n> {
    stack: Stack<'n>,
    socket: &'s RefCell<TcpSocket<'n>>,
    broker: &'s Broker,
}

impl<'s, 'n> TcpDial<'s, 'n> {
    /// The way to `broker` by a socket of `stack`.
    pub fn new(stack: Stack<'n>, socket: &'s RefCell<TcpSocket<'n>>, broker: &'s Broker) -> Self {
        Self {
            stack,
            socket,
            broker,
        }
    }

    #[cfg_attr(
        not(feature = "dns"),
        expect(
            clippy::unused_async,
            reason = "an address needs no waiting, a name does"
        )
    )]
    async fn resolve(&self) -> Result<IpEndpoint, DialError> {
        let host = self.broker.host.as_str();
        let port = self.broker.port;
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(IpEndpoint::new(address.into(), port));
        }
        #[cfg(feature = "dns")]
        {
            let found = self
                .stack
                .dns_query(host, embassy_net::dns::DnsQueryType::A)
                .await;
            let address = found.ok().and_then(|found| found.first().copied());
            address
                .map(|address| IpEndpoint::new(address, port))
                .ok_or(DialError::Name)
        }
        #[cfg(not(feature = "dns"))]
        Err(DialError::Name)
    }
}

impl<'s, 'n> Dial for TcpDial<'s, 'n> {
    type Stream = Lent<'s, 'n>;
    type Error = DialError;

    async fn dial(&mut self) -> Result<Lent<'s, 'n>, DialError> {
        self.stack.wait_config_up().await;
        let endpoint = self.resolve().await?;
        let mut lent = Lent {
            stack: self.stack,
            socket: self.socket.try_borrow_mut().map_err(|_| DialError::Lent)?,
        };
        lent.socket
            .set_keep_alive(Some(Duration::from_secs(KEEP_ALIVE_S)));
        lent.socket
            .set_timeout(Some(Duration::from_secs(SILENCE_S)));
        // Publishes are whole packets already; waiting for more would only delay their acks.
        lent.socket.set_nagle_enabled(false);
        let connected = lent.socket.connect(endpoint).await;
        connected.map_err(DialError::Connect).map(|()| lent)
    }
}

/// A connection. When it is dropped, the socket is reset and free for the next.
pub struct Lent<'s, 'n> {
    stack: Stack<'n>,
    socket: RefMut<'s, TcpSocket<'n>>,
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        self.socket.abort();
    }
}

impl ErrorType for Lent<'_, '_> {
    type Error = Error;
}

impl Read for Lent<'_, '_> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        while_configured(self.stack, self.socket.read(out)).await
    }
}

impl Write for Lent<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        while_configured(self.stack, self.socket.write(bytes)).await
    }

    /// Hands the bytes to the stack, which sends them by itself. Waiting for the peer's
    /// acknowledgement, as the socket's own flush does, would cost a round trip per publish.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Ends `io` when the network's configuration is lost.
async fn while_configured<T>(
    stack: Stack<'_>,
    io: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let (mut io, mut lost) = (pin!(io), pin!(stack.wait_config_down()));
    core::future::poll_fn(|context| {
        if let Poll::Ready(done) = io.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        lost.as_mut()
            .poll(context)
            .map(|()| Err(Error::ConnectionReset))
    })
    .await
}
