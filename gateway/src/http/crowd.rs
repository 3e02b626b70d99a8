//! Crowd: how many connections an address has, so that none takes all of them before it said who
//! it is. An IPv6 network counts as one address, as where secrets are guessed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::guessing::household;

/// Connections by address; never more addresses than there are connections.
#[derive(Debug, Default, Clone)]
pub(crate) struct Crowd(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A connection of an address, counted while it is open.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// A place for one more of an address, unless it has `most`.
    pub(crate) fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let address = household(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.get(&address).copied().unwrap_or_default();
        if before >= most {
            return None;
        }
        open.insert(address, before + 1);
        Some(Place {
            crowd: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_most_and_a_network_counts_as_one() {
        let crowd = Crowd::default();
        let enter = |address: &str| crowd.enter(address.parse().unwrap(), 2);
        let held = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("2001:db8::3").is_none(), "the same network");
        assert!(enter("2001:db8:0:1::3").is_some(), "another one");
        let mapped = [enter("::ffff:192.0.2.1"), enter("192.0.2.1")];
        assert!(mapped.iter().all(Option::is_some) && enter("192.0.2.1").is_none());
        drop((held, mapped));
        assert!(enter("2001:db8::3").is_some());
        assert!(crowd.0.lock().unwrap().is_empty(), "who left is forgotten");
    }
}
