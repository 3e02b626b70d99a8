//! Places: how many connections there may be, in all and of one address.
//!
//! A connection is *connecting* until its CONNECT was accepted, then a *client*. The two have
//! places of their own: who cannot prove who he is never takes a place from those who can. The
//! inner listener has a few of its own, for whoever comes there.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Bounds, INNER_MAX};
use crate::http::crowd::{self, Crowd};

/// All places of a broker.
pub(super) struct Places {
    connecting: Hall,
    clients: Hall,
    inner: Hall,
    spares_loopback: bool,
}

/// The places of one kind.
struct Hall {
    free: Arc<Semaphore>,
    crowd: Crowd,
    per_address: usize,
}

/// The place of one connection, given back when it is dropped.
pub(super) struct Place {
    address: IpAddr,
    is_inner: bool,
    taken: Mutex<Option<Taken>>,
}

struct Taken {
    _one: OwnedSemaphorePermit,
    _of_address: crowd::Place,
}

impl Hall {
    fn new(places: usize, per_address: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places)),
            crowd: Crowd::default(),
            per_address,
        }
    }

    fn enter(&self, address: IpAddr, is_spared: bool) -> Option<Taken> {
        let most = if is_spared {
            usize::MAX
        } else {
            self.per_address
        };
        let of_address = self.crowd.enter(address, most)?;
        let one = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Taken {
            _one: one,
            _of_address: of_address,
        })
    }
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            connecting: Hall::new(bounds.connecting, bounds.connecting_per_address),
            clients: Hall::new(bounds.clients, bounds.clients_per_address),
            inner: Hall::new(INNER_MAX, INNER_MAX),
            spares_loopback: bounds.spares_loopback,
        }
    }

    /// A place for a connection that begins, if there is one.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let taken = self.connecting.enter(address, self.is_spared(address))?;
        Some(Place {
            address,
            is_inner: false,
            taken: Mutex::new(Some(taken)),
        })
    }

    /// A place for a connection that begins at the inner listener, if there is one.
    pub(super) fn enter_inside(&self, address: IpAddr) -> Option<Place> {
        let taken = self.inner.enter(address, false)?;
        Some(Place {
            address,
            is_inner: true,
            taken: Mutex::new(Some(taken)),
        })
    }

    /// Makes a client of a connection; false when no client's place is free. Who came in by the
    /// inner listener keeps its place there.
    pub(super) fn seat(&self, place: &Place) -> bool {
        if place.is_inner {
            return true;
        }
        let address = place.address;
        let Some(seat) = self.clients.enter(address, self.is_spared(address)) else {
            return false;
        };
        *place.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(seat);
        true
    }

    fn is_spared(&self, address: IpAddr) -> bool {
        self.spares_loopback && address.to_canonical().is_loopback()
    }
}

impl Place {
    /// Whether it is one of the inner listener.
    pub(super) fn is_inner(&self) -> bool {
        self.is_inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(Bounds {
            clients: 3,
            clients_per_address: 2,
            connecting: 3,
            connecting_per_address: 2,
            ..Bounds::default()
        })
    }

    #[test]
    fn who_connects_takes_no_clients_place() {
        let places = places();
        let enter = |address: &str| places.enter(address.parse().unwrap());
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none(), "the address has its share");
        let third = enter("192.0.2.2").unwrap();
        assert!(enter("192.0.2.3").is_none(), "all are taken");
        for place in [&first, &second, &third] {
            assert!(places.seat(place));
        }
        let (fourth, fifth) = (enter("192.0.2.1").unwrap(), enter("192.0.2.3").unwrap());
        assert!(
            !places.seat(&fourth),
            "the address has its share of clients"
        );
        assert!(!places.seat(&fifth), "all clients' places are taken");
        drop(third);
        assert!(places.seat(&fifth) && !places.seat(&fourth));
        drop(first);
        assert!(places.seat(&fourth));
    }

    #[test]
    fn this_machine_has_no_share_but_is_counted() {
        let places = places();
        let enter = || places.enter("::ffff:127.0.0.1".parse().unwrap());
        let held = [enter(), enter(), enter()];
        assert!(held.iter().all(Option::is_some));
        assert!(enter().is_none());
    }
}
