//! A listener: takes connections as long as there are places, and ends them with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::House;
use super::connection::serve;
use crate::mqtt::access::{Speaker, Why};
use crate::mqtt::client::risen;

/// How long nothing is taken after the system refused to, as when files are all open.
const RESPITE: Duration = Duration::from_millis(200);

/// Takes connections until the broker stops, then waits for them to end.
pub(super) async fn accept(
    house: Arc<House>,
    listener: Arc<TcpListener>,
    is_inner: bool,
    mut stopping: watch::Receiver<bool>,
) {
    let stopped = stopping.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    take(&house, (stream, peer), is_inner, &stopped, &mut connections);
                }
                Err(error) => {
                    tracing::warn!(%error, "the embedded broker cannot take connections; trying on");
                    tokio::time::sleep(RESPITE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = risen(&mut stopping) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn take(
    house: &Arc<House>,
    (stream, peer): (TcpStream, SocketAddr),
    is_inner: bool,
    stopped: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let place = if is_inner {
        house.places.enter_inside(peer.ip())
    } else {
        house.places.enter(peer.ip())
    };
    let Some(place) = place else {
        let address = peer.ip().to_canonical();
        let why = Why::TooManyConnections;
        house.doorkeeper.refuse(Speaker::Unknown, address, why);
        return;
    };
    let house = Arc::clone(house);
    connections.spawn(serve(house, stream, peer, place, stopped.clone()));
}
