//! A connection: TLS, then `mqtt5`'s session, until it ends or its client is let in no more.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::tls_acceptor::TlsStreamWrapper;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::error::MqttError;
use rustls::ServerConfig;
use tidegate_shared::ids::DeviceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::certificates::names;
use super::guest::{Guest, Pacer};
use super::places::Place;
use super::{House, STALLED_MAX};
use crate::mqtt::access::{Speaker, Why};
use crate::mqtt::client::risen;

/// How long a refused handshake is heard out, so that its client reads why.
const HEARD_OUT: Duration = Duration::from_millis(500);

/// Serves one connection.
pub(super) async fn serve(
    house: Arc<House>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    if !place.is_inner() {
        // The kernel ends a connection whose client takes nothing; without that, it lasts as
        // long as the keepalive that the client chose.
        let stalled_ms = STALLED_MAX.as_millis() as u32;
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stalled_ms);
    }
    let (transport, certified) = match &house.certificates {
        Some(certificates) if !place.is_inner() => {
            let config = certificates.current(&house.clock).await;
            match timeout(house.bounds.handshake, shake_hands(config, stream)).await {
                Ok(Some(secured)) => secured,
                Ok(None) => return refused(&house, peer, Why::NoTls),
                Err(_) => return refused(&house, peer, Why::Silent),
            }
        }
        _ => (BrokerTransport::tcp(stream), None),
    };
    let guest = Arc::new(Guest::new(Arc::clone(&house), peer, place, certified));
    session(&house, transport, peer, guest, stopping).await;
}

fn refused(house: &House, peer: SocketAddr, why: Why) {
    let address = peer.ip().to_canonical();
    house.doorkeeper.refuse(Speaker::Unknown, address, why);
}

/// TLS with the names in the client's certificate, if one is demanded; none where it fails.
async fn shake_hands(
    config: Arc<ServerConfig>,
    stream: TcpStream,
) -> Option<(BrokerTransport, Option<Vec<DeviceName>>)> {
    match TlsAcceptor::from(config)
        .accept(stream)
        .into_fallible()
        .await
    {
        Ok(stream) => {
            let shown = stream.get_ref().1.peer_certificates();
            let certified = shown.map(|chain| chain.first().map(names).unwrap_or_default());
            let transport = BrokerTransport::tls(TlsStreamWrapper::new(stream));
            Some((transport, certified))
        }
        Err((error, mut stream)) => {
            tracing::debug!(%error, "a TLS handshake with the embedded broker failed");
            // The alert is on its way: closing while something lies unread would overtake it.
            let heard_out = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut (&mut stream).take(1 << 16), &mut tokio::io::sink()).await
            };
            let _ = timeout(HEARD_OUT, heard_out).await;
            None
        }
    }
}

async fn session(
    house: &House,
    transport: BrokerTransport,
    peer: SocketAddr,
    guest: Arc<Guest>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut access = house.doorkeeper.watch();
    let (stop, stopped) = broadcast::channel(1);
    let pacer = Arc::new(Pacer(Arc::clone(&guest)));
    let handler = ClientHandler::new(
        transport,
        peer,
        Arc::new(house.config.clone().with_event_handler(pacer)),
        Arc::clone(&house.router),
        guest.clone(),
        None,
        Arc::clone(&house.stats),
        Arc::clone(&house.monitor),
        stopped,
    );
    let mut running = pin!(handler.run());
    let mut late = pin!(sleep(house.bounds.handshake));
    let (mut is_ending, mut may_be_late) = (false, true);
    loop {
        let ends = tokio::select! {
            outcome = &mut running => return tell(&guest, outcome),
            () = &mut late, if may_be_late => {
                may_be_late = false;
                if guest.identity().is_none() {
                    // Nothing of it is in the router yet, so it may be dropped.
                    return guest.refuse(Why::Silent);
                }
                false
            }
            Ok(()) = access.changed() => {
                let access = access.borrow_and_update();
                let out = guest.identity().filter(|who| !access.still_admits(who));
                if let Some(who) = out
                    && !is_ending
                {
                    guest.refuse(who.lapsed());
                }
                out.is_some()
            }
            () = risen(&mut stopping), if !is_ending => {
                if guest.identity().is_none() {
                    return;
                }
                true
            }
        };
        if ends && !is_ending {
            is_ending = true;
            // The session says goodbye and leaves the router; dropping it would leave it there.
            let _ = stop.send(());
        }
    }
}

/// Tells how a session ended, where that was the client's fault.
fn tell(guest: &Guest, outcome: Result<(), MqttError>) {
    let Err(error) = outcome else { return };
    let why = match &error {
        MqttError::PacketTooLarge { .. } => Why::TooLarge,
        MqttError::ProtocolError(_)
        | MqttError::MalformedPacket(_)
        | MqttError::InvalidPacketType(_)
        | MqttError::InvalidPropertyId(_)
        | MqttError::DuplicatePropertyId(_)
        | MqttError::InvalidReasonCode(_)
        | MqttError::InvalidQoS(_)
        | MqttError::InvalidTopicName(_)
        | MqttError::InvalidTopicFilter(_)
        | MqttError::InvalidClientId(_)
        | MqttError::UnsupportedProtocolVersion => Why::Malformed,
        _ => {
            tracing::debug!(%error, "a session of the embedded broker ended");
            return;
        }
    };
    guest.refuse(why);
}
