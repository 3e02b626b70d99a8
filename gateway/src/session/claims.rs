//! Claims: what devices without a key ask for, looked at before it costs anything.
//!
//! ```text
//! claim frame ──► known? ──► open? ──► tag? ──► pace? ──► handed out: the registry decides
//!                  │ counted by reason           │ throttled: the device says it again
//! ```
//! Invariants:
//! 1. A claim is neither logged nor counted for a device: whoever says it may be anybody.
//! 2. Who does not have the code takes no place of those who do: only claims whose tag holds are
//!    paced, each name by itself, so that a recording keeps nobody waiting but its own device.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_shared::claim::{self, ClaimError, ClaimId, Claimant, Code};
use tidegate_shared::ids::DeviceName;
use tidegate_shared::topic::Topic;

use super::intake::uncounted;
use super::{DOWN_EXPIRY_S, Effect, Session};
use crate::entry::Uncounted;
use crate::registry;
use crate::time::Timestamp;

/// Claims handed out in [`CLAIMS_US`], one of each name: each takes two writes of the disk.
pub const CLAIMS_MAX: usize = 4;
/// The time in which so many are handed out, in µs.
pub const CLAIMS_US: u64 = 1_000_000;

/// The claims that devices may enrol by, as they hold now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Those that are open.
    pub open: BTreeMap<ClaimId, OpenClaim>,
    /// Those that ended, with what a claim by them is counted as.
    pub ended: BTreeMap<ClaimId, Uncounted>,
}

impl Claims {
    /// Whether this device was granted a key and not heard under it yet: it may have to ask again,
    /// so whoever has the code speaks in its name.
    pub fn is_waiting(&self, device: &DeviceName) -> bool {
        self.open
            .values()
            .any(|claim| claim.waiting.contains(device))
    }
}

/// A claim that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaim {
    /// Its code.
    pub code: Code,
    /// What names begin with, before a `-`.
    pub prefix: DeviceName,
    /// Whether it enrolled as many as it may.
    pub is_used_up: bool,
    /// Names that it enrolled and that were not heard under their keys yet.
    pub waiting: BTreeSet<DeviceName>,
}

impl OpenClaim {
    /// Whether it may concern this name, given whether a device has it.
    pub fn admits(&self, device: &DeviceName, is_known: bool) -> bool {
        self.waiting.contains(device)
            || !is_known && !self.is_used_up && registry::fits(&self.prefix, device)
    }
}

/// Whose claims were handed out of late, and when.
#[derive(Debug, Default)]
pub(super) struct ClaimPace {
    handed: BTreeMap<DeviceName, u64>,
}

impl ClaimPace {
    fn takes(&mut self, now_us: u64, device: &DeviceName) -> bool {
        self.handed
            .retain(|_, at_us| now_us.saturating_sub(*at_us) < CLAIMS_US);
        if self.handed.len() >= CLAIMS_MAX || self.handed.contains_key(device) {
            return false;
        }
        self.handed.insert(device.clone(), now_us);
        true
    }
}

impl Session {
    pub(super) fn take_claim(&mut self, now: Timestamp, device: &DeviceName, payload: &[u8]) {
        if self.watch.is_standby() {
            return self.tallies.add(None, Uncounted::Standby);
        }
        if self.watch.is_stopped() {
            return self.tallies.add(None, Uncounted::Busy);
        }
        if let Err(reason) = self.judge_claim(device, payload) {
            return self.refuse_claim(device, reason);
        }
        if !self.claim_pace.takes(now.mono_us, device) {
            return self.refuse_claim(device, Uncounted::ClaimThrottled);
        }
        self.out.push(Effect::Claimed {
            device: device.clone(),
            claim: payload.to_vec(),
        });
    }

    fn judge_claim(&self, device: &DeviceName, payload: &[u8]) -> Result<(), Uncounted> {
        let id = claim::claim_id(payload).map_err(uncounted)?;
        let claims = &self.config.keys.claims;
        let Some(open) = claims.open.get(&id) else {
            let ended = claims.ended.get(&id);
            return Err(ended.copied().unwrap_or(Uncounted::ClaimUnknown));
        };
        let claimant = Claimant {
            code: &open.code,
            site: &self.config.site,
            device,
        };
        match claimant.asked(payload) {
            Ok(_) => Ok(()),
            Err(ClaimError::Frame(error)) => Err(uncounted(error)),
            Err(_) => Err(Uncounted::ClaimForged),
        }
    }

    /// Counts for nobody but the gateway, and tells of the first, the second, the fourth and so on.
    pub(super) fn refuse_claim(&mut self, device: &DeviceName, reason: Uncounted) {
        self.tallies.add(None, reason);
        let times = self.tallies.count(None, reason);
        if times.is_power_of_two() {
            self.out.push(Effect::ClaimRefused {
                device: device.clone(),
                reason,
                times,
            });
        }
    }

    /// Sends the answer to a claim that was handed out.
    pub(super) fn send_grant(&mut self, device: &DeviceName, grant: &[u8]) {
        self.out.push(Effect::Publish {
            topic: Topic::Down(device.clone()),
            retained: false,
            expiry_s: Some(DOWN_EXPIRY_S),
            payload: grant.to_vec(),
        });
    }
}
