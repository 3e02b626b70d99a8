//! The doorkeeper: holds the access in force, judges claims, and tells of refusals.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_shared::ids::SiteName;
use tidegate_shared::topic::device_client_id;
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use super::{
    Access, Claim, Denial, GATEWAY_USER, Identity, LastRefusal, Password, REFUSALS_MAX, Refusal,
    RefusalCounts, Speaker, Why, claimed_by,
};

/// Judges who comes to the embedded broker. One for its whole life; what it goes by is swapped.
pub struct Doorkeeper {
    site: SiteName,
    gateway_client_id: String,
    gateway_password: Zeroizing<String>,
    access: watch::Sender<Arc<Access>>,
    refusals: mpsc::Sender<Refusal>,
    counts: [AtomicU64; Why::ALL.len()],
    untold: AtomicU64,
    last: Mutex<Option<LastRefusal>>,
}

impl Doorkeeper {
    /// One that lets everyone in, with a password for the gateway drawn now; and where it tells
    /// of refusals.
    ///
    /// # Errors
    /// The system has no entropy.
    pub fn new(
        site: SiteName,
        gateway_client_id: String,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<Refusal>)> {
        let mut drawn = Zeroizing::new([0_u8; 16]);
        getrandom::fill(&mut *drawn).map_err(io::Error::other)?;
        let (refusals, told) = mpsc::channel(REFUSALS_MAX);
        let doorkeeper = Self {
            site,
            gateway_client_id,
            gateway_password: Zeroizing::new(format!("{:032x}", u128::from_be_bytes(*drawn))),
            access: watch::Sender::default(),
            refusals,
            counts: Default::default(),
            untold: AtomicU64::new(0),
            last: Mutex::default(),
        };
        Ok((Arc::new(doorkeeper), told))
    }

    /// Takes another access: from now on, for every connection. Who is connected and not let in
    /// any more is disconnected.
    pub fn set(&self, access: Access) {
        self.access.send_replace(Arc::new(access));
    }

    /// Swaps one device's account in the access in force.
    pub fn change(&self, change: impl FnOnce(&mut Access)) {
        self.access.send_modify(|access| {
            let mut changed = Access::clone(access);
            change(&mut changed);
            *access = Arc::new(changed);
        });
    }

    /// The access in force.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.borrow())
    }

    /// Hears of every swap.
    pub fn watch(&self) -> watch::Receiver<Arc<Access>> {
        self.access.subscribe()
    }

    /// The gateway's user and password.
    pub fn gateway_credentials(&self) -> (String, String) {
        (
            GATEWAY_USER.to_owned(),
            self.gateway_password.as_str().to_owned(),
        )
    }

    /// Who a client is, if it is let in.
    ///
    /// # Errors
    /// It is not; nobody was told of that yet.
    pub fn identify(&self, claim: &Claim<'_>) -> Result<Identity, Denial> {
        let identity = if claim.inside {
            self.prove_gateway(claim)?
        } else {
            self.access().prove(&self.site, claim)?
        };
        let denied = |why| {
            Err(Denial {
                who: identity.speaker(),
                why,
            })
        };
        let is_own = match &identity {
            Identity::Gateway => claim.client_id == self.gateway_client_id,
            Identity::Stranger => claim.client_id != self.gateway_client_id,
            Identity::Device { name, .. }
            | Identity::Plain { name }
            | Identity::Claimant { name, .. } => {
                device_client_id(&self.site, name) == claim.client_id
            }
        };
        if !is_own {
            return denied(Why::ForeignName);
        }
        let will = claim.will;
        if will.is_some_and(|topic| !identity.may_publish(&self.site, topic)) {
            return denied(Why::ForeignWill);
        }
        Ok(identity)
    }

    fn prove_gateway(&self, claim: &Claim<'_>) -> Result<Identity, Denial> {
        let right = Password::of(self.gateway_password.as_bytes());
        let given = claim.password.map(Password::of);
        if claim.user == Some(GATEWAY_USER) && given == Some(right) {
            return Ok(Identity::Gateway);
        }
        Err(Denial {
            who: Speaker::Unknown,
            why: Why::WrongPassword,
        })
    }

    /// Who a client says that it is by its client id alone.
    pub fn claimed_by(&self, client_id: &str) -> Speaker {
        claimed_by(&self.site, client_id).map_or(Speaker::Unknown, Speaker::Claimed)
    }

    /// Whether who was let in may publish to a topic now.
    pub fn may_publish(&self, identity: &Identity, topic: &str) -> Result<(), Why> {
        self.may(identity, identity.may_publish(&self.site, topic))
    }

    /// Whether who was let in may subscribe to a filter now.
    pub fn may_subscribe(&self, identity: &Identity, filter: &str) -> Result<(), Why> {
        self.may(identity, identity.may_subscribe(&self.site, filter))
    }

    fn may(&self, identity: &Identity, is_own: bool) -> Result<(), Why> {
        if !self.access.borrow().still_admits(identity) {
            return Err(identity.lapsed());
        }
        if is_own {
            Ok(())
        } else {
            Err(Why::ForeignTopic)
        }
    }

    /// Counts a refusal and tells of it: whoever watches, and the log at the first, the second,
    /// the fourth, the eighth of a reason and so on, so that nobody can fill the disk by it.
    pub fn refuse(&self, who: Speaker, peer: IpAddr, why: Why) {
        let Some(counter) = self.counts.get(why as usize) else {
            return;
        };
        let times = counter.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            let device = match &who {
                Speaker::Proved(name) => format!("{name} (proved)"),
                Speaker::Claimed(name) => format!("{name} (claimed)"),
                Speaker::Unknown => "unknown".into(),
            };
            tracing::warn!(device, %peer, why = why.told(), times, "the embedded broker refused a client");
        }
        let refusal = Refusal { who, peer, why };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((&refusal).into());
        if self.refusals.try_send(refusal).is_err() {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was refused so far.
    pub fn counts(&self) -> RefusalCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counted = Why::ALL.into_iter().zip(self.counts.iter().map(read));
        RefusalCounts {
            by_reason: counted.filter(|(_, count)| *count > 0).collect(),
            untold: read(&self.untold),
            last: self
                .last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

impl std::fmt::Debug for Doorkeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorkeeper")
            .field("site", &self.site)
            .field("access", &self.access.borrow())
            .finish_non_exhaustive()
    }
}
