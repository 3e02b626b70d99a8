//! Guessing: who showed wrong secrets has to wait before the next is looked at.
//!
//! ```text
//! wrong ──▶ the first FREE cost nothing ──▶ then 0.5 s, 1 s, 2 s … at most 30 s
//!                                           meanwhile nothing of that address is looked at
//! ```
//! A right one changes nothing: who shares an address with somebody who guesses must not help them.
//! So an address tries at most some 120 secrets an hour. An IPv6 address counts as its /64, which
//! is what one household has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::ADDRESSES_MAX;
use crate::time::Timestamp;

/// Wrong secrets of an address that cost nothing: people mistype.
const FREE: u32 = 5;
/// The first wait.
const WAIT_US: u64 = 500_000;
/// The longest.
const WAIT_US_MAX: u64 = 30_000_000;
/// An address that did nothing wrong for so long begins anew.
const FORGOTTEN_US: u64 = 600_000_000;

/// What is remembered of addresses.
#[derive(Debug, Default)]
pub(super) struct Guessing {
    addresses: BTreeMap<IpAddr, Wrong>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Wrong {
    times: u32,
    last_us: u64,
    until_us: u64,
}

impl Guessing {
    /// How long nothing of the address is looked at, if so.
    pub(super) fn wait_us(&self, address: IpAddr, now: Timestamp) -> Option<u64> {
        let wrong = self.addresses.get(&household(address))?;
        wrong
            .until_us
            .checked_sub(now.mono_us)
            .filter(|wait| *wait > 0)
    }

    /// A wrong secret came.
    pub(super) fn wrong(&mut self, address: IpAddr, now: Timestamp) {
        let address = household(address);
        if !self.addresses.contains_key(&address) && self.addresses.len() >= ADDRESSES_MAX {
            let soonest = self
                .addresses
                .iter()
                .min_by_key(|(_, wrong)| wrong.until_us);
            if let Some(soonest) = soonest.map(|(address, _)| *address) {
                self.addresses.remove(&soonest);
            }
        }
        let wrong = self.addresses.entry(address).or_default();
        if now.mono_us.saturating_sub(wrong.last_us) > FORGOTTEN_US {
            *wrong = Wrong::default();
        }
        wrong.times = wrong.times.saturating_add(1);
        wrong.last_us = now.mono_us;
        if let Some(doublings) = wrong.times.checked_sub(FREE + 1) {
            let wait_us = WAIT_US << doublings.min(16);
            wrong.until_us = now.mono_us + wait_us.min(WAIT_US_MAX);
        }
    }
}

/// What counts as one address: an IPv6 network, and an IPv4 address in each of its forms.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_us: u64) -> Timestamp {
        Timestamp {
            mono_us,
            ..Timestamp::default()
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_forgotten() {
        let mut guessing = Guessing::default();
        let (mallory, alice) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..FREE {
            guessing.wrong(mallory, at(0));
        }
        assert_eq!(guessing.wait_us(mallory, at(0)), None, "people mistype");
        for wait_us in [
            500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000,
        ] {
            guessing.wrong(mallory, at(1));
            assert_eq!(guessing.wait_us(mallory, at(1)), Some(wait_us));
        }
        for _ in 0..100 {
            guessing.wrong(mallory, at(1));
            assert_eq!(guessing.wait_us(mallory, at(1)), Some(WAIT_US_MAX));
        }
        assert_eq!(
            guessing.wait_us(alice, at(1)),
            None,
            "others are not held up"
        );
        assert_eq!(guessing.wait_us(mallory, at(1 + WAIT_US_MAX)), None);
        let later = at(2 + FORGOTTEN_US);
        guessing.wrong(mallory, later);
        assert_eq!(guessing.wait_us(mallory, later), None, "begun anew");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_network_counts_as_one() {
        let mut guessing = Guessing::default();
        let held = "2001:db8::1".parse().unwrap();
        for _ in 0..=FREE {
            guessing.wrong(held, at(0));
        }
        for host in 0..10_000u32 {
            guessing.wrong(IpAddr::V4((0x0a00_0000 + host).into()), at(0));
        }
        assert_eq!(guessing.addresses.len(), ADDRESSES_MAX);
        let neighbour = "2001:db8::dead:beef".parse().unwrap();
        assert_eq!(guessing.wait_us(neighbour, at(0)), Some(WAIT_US));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(household(mapped), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
