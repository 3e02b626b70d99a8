//! Claims: leave for devices to enrol by themselves, and what was made of it.
//!
//! ```text
//!        enrol: a name's first time                  heard, or an order about that device
//! open ────────────────────────────► name waits ──────────────────────────────────────► name is done
//!                                      │     ▲
//!                                      └─────┘ enrol: another start of the device, another key
//! ```
//! Terms: an *ask* is what a device said once: its public key, of which the first bytes are kept;
//! a name *waits* from its enrolment until the first durable frame under its key. A claim is *used
//! up* when it enrolled as many as it may.
//!
//! Invariants:
//! - A name is enrolled once; while it waits, another ask of it gets another key in the place of the
//!   one that was never heard, and the same ask the same key.
//! - An ask that was answered and is not the newest is never answered again: it was recorded.
//! - A claim ends when its time is over, when it is closed, or when it is used up and nobody waits.
//!   From then on its code is gone from the registry and its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::claim::{ClaimId, Code};
use tidegate_shared::ids::DeviceName;
use tidegate_shared::limits::DEVICE_BYTES_MAX;
use tidegate_shared::seal;

use super::{Key, Registry, RegistryAct, RegistryError};
use crate::entry::Uncounted;

/// Most claims that are remembered; of those that ended the oldest make room.
pub const CLAIMS_MAX: usize = 64;
/// Most devices that a claim may enrol.
pub const CLAIM_DEVICES_MAX: u32 = 1_000;
/// Longest time that a claim is open, in days.
pub const CLAIM_DAYS_MAX: u32 = 31;
/// Starts of a device that are answered until it is heard.
pub const ASKS_MAX: usize = 16;
/// Longest prefix in bytes: `-` and 8 digits of the board follow in a name.
pub const PREFIX_BYTES_MAX: usize = DEVICE_BYTES_MAX - 9;

const DAY_US: i64 = 86_400_000_000;
/// Bytes of a public key that are kept. Only who has the code makes one that is looked at.
const ASK_BYTES: usize = 8;

/// What a start of a device said: the first bytes of its public key.
pub(super) type Ask = [u8; ASK_BYTES];

/// Why a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimEnd {
    /// It enrolled as many devices as it may, and all were heard.
    UsedUp,
    /// Its time is over.
    Expired,
    /// Somebody closed it.
    Closed,
}

impl ClaimEnd {
    /// Its name in the audit log and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsedUp => "used-up",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }

    /// What a claim frame is counted as that comes behind this end.
    pub const fn uncounted(self) -> Uncounted {
        match self {
            Self::UsedUp => Uncounted::ClaimUsedUp,
            Self::Expired => Uncounted::ClaimExpired,
            Self::Closed => Uncounted::ClaimClosed,
        }
    }
}

/// What is wanted of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimWish {
    /// What the names of its devices begin with, before a `-`.
    pub prefix: DeviceName,
    /// How many it may enrol.
    pub devices_max: u32,
    /// How long it is open, in µs.
    pub open_us: i64,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    wish: ClaimWish,
    opened_us: i64,
    pub(super) enrolled: u32,
    /// None once it ended.
    code: Option<Key>,
    /// Names that it enrolled and that were not heard yet, each with its asks, the newest last.
    pub(super) waiting: BTreeMap<DeviceName, Vec<Ask>>,
    /// Why and when it ended, UTC in µs.
    ended: Option<(ClaimEnd, i64)>,
}

impl Claim {
    /// What was wanted of it.
    pub fn wish(&self) -> &ClaimWish {
        &self.wish
    }

    /// When it was opened, UTC in µs.
    pub fn opened_us(&self) -> i64 {
        self.opened_us
    }

    /// When it expires, UTC in µs.
    pub fn expires_us(&self) -> i64 {
        self.opened_us.saturating_add(self.wish.open_us)
    }

    /// Devices that it enrolled.
    pub fn enrolled(&self) -> u32 {
        self.enrolled
    }

    /// Whether it has enrolled as many as it may.
    pub fn is_used_up(&self) -> bool {
        self.enrolled >= self.wish.devices_max
    }

    /// Names that it enrolled and that were not heard yet.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &DeviceName> {
        self.waiting.keys()
    }

    /// Why and when it ended.
    pub fn ended(&self) -> Option<(ClaimEnd, i64)> {
        self.ended
    }

    /// Its code, until it ends.
    pub fn code(&self, id: ClaimId) -> Option<Code> {
        let key = seal::Key::new(*self.code.as_ref()?.bytes());
        Some(Code { id, key })
    }

    /// Why it takes no ask at this moment. A clock that is behind its opening is wrong, and says
    /// nothing of its end.
    fn refuses(&self, now_us: i64) -> Option<Uncounted> {
        match self.ended {
            Some((end, _)) => Some(end.uncounted()),
            None if (self.opened_us..self.expires_us()).contains(&now_us) => None,
            None => Some(Uncounted::ClaimExpired),
        }
    }

    /// Why it is to end now.
    fn due(&self, now_us: i64) -> Option<ClaimEnd> {
        if self.ended.is_some() {
            return None;
        }
        if now_us >= self.expires_us() {
            return Some(ClaimEnd::Expired);
        }
        (self.is_used_up() && self.waiting.is_empty()).then_some(ClaimEnd::UsedUp)
    }

    fn end(&mut self, id: ClaimId, end: ClaimEnd, now_us: i64) -> RegistryAct {
        self.code = None;
        self.waiting.clear();
        self.ended = Some((end, now_us));
        RegistryAct::ClaimClosed {
            claim: id.to_string(),
            why: end,
            enrolled: self.enrolled,
        }
    }

    pub(super) fn fits(&self, device: &DeviceName) -> bool {
        fits(&self.wish.prefix, device)
    }

    fn is_sound(&self) -> bool {
        let asks = self.waiting.values().map(Vec::len);
        is_right(&self.wish).is_ok()
            && self.enrolled <= self.wish.devices_max
            && self.waiting.len() <= self.enrolled as usize
            && asks.clone().all(|asks| (1..=ASKS_MAX).contains(&asks))
            && self.code.is_none() == self.ended.is_some()
            && (self.ended.is_none() || self.waiting.is_empty())
    }
}

/// Whether a name is `PREFIX-` and something behind it.
pub fn fits(prefix: &DeviceName, device: &DeviceName) -> bool {
    let rest = device.as_str().strip_prefix(prefix.as_str());
    let rest = rest.and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| !rest.is_empty())
}

fn is_right(wish: &ClaimWish) -> Result<(), RegistryError> {
    if wish.prefix.as_str().len() > PREFIX_BYTES_MAX {
        return Err(RegistryError::PrefixLong);
    }
    if !(1..=CLAIM_DEVICES_MAX).contains(&wish.devices_max) {
        return Err(RegistryError::ClaimDevices);
    }
    if !(1..=i64::from(CLAIM_DAYS_MAX) * DAY_US).contains(&wish.open_us) {
        return Err(RegistryError::ClaimTime);
    }
    Ok(())
}

impl Registry {
    /// The claims that are remembered.
    pub fn claims(&self) -> impl ExactSizeIterator<Item = (ClaimId, &Claim)> {
        self.claims.iter().map(|(id, claim)| (ClaimId(*id), claim))
    }

    /// A claim.
    pub fn claim(&self, id: ClaimId) -> Option<&Claim> {
        self.claims.get(&id.0)
    }

    /// Opens a claim under an id and a code that were drawn for it.
    pub fn open_claim(
        &mut self,
        id: ClaimId,
        code: Key,
        wish: &ClaimWish,
        now_us: i64,
    ) -> Result<RegistryAct, RegistryError> {
        is_right(wish)?;
        if id.0 == 0 || self.claims.contains_key(&id.0) {
            // One in 67 million draws, at most.
            return Err(RegistryError::ClaimIdTaken);
        }
        if self.claims.len() >= CLAIMS_MAX {
            let ended = self.claims.iter().filter_map(|(id, claim)| {
                let (_, at_us) = claim.ended?;
                Some((at_us, *id))
            });
            let (_, oldest) = ended.min().ok_or(RegistryError::ClaimsFull)?;
            self.claims.remove(&oldest);
        }
        let claim = Claim {
            wish: wish.clone(),
            opened_us: now_us,
            enrolled: 0,
            code: Some(code),
            waiting: BTreeMap::new(),
            ended: None,
        };
        let act = RegistryAct::ClaimOpened {
            claim: id.to_string(),
            prefix: wish.prefix.clone(),
            devices_max: wish.devices_max,
            expires_us: claim.expires_us(),
        };
        self.claims.insert(id.0, claim);
        Ok(act)
    }

    /// Ends a claim: nobody enrols by it any more, and who waits asks in vain.
    pub fn close_claim(&mut self, id: ClaimId, now_us: i64) -> Result<RegistryAct, RegistryError> {
        let claim = self.claims.get_mut(&id.0);
        let claim = claim.ok_or(RegistryError::UnknownClaim { claim: id })?;
        if let Some((end, _)) = claim.ended {
            return Err(RegistryError::ClaimEnded { claim: id, end });
        }
        Ok(claim.end(id, ClaimEnd::Closed, now_us))
    }

    /// Ends the claims whose time is over, and those that are used up.
    pub fn end_claims(&mut self, now_us: i64) -> Vec<RegistryAct> {
        let due = self.claims.iter_mut().filter_map(|(id, claim)| {
            let end = claim.due(now_us)?;
            Some(claim.end(ClaimId(*id), end, now_us))
        });
        due.collect()
    }

    /// Whether a claim is to end.
    pub fn has_claims_due(&self, now_us: i64) -> bool {
        self.claims
            .values()
            .any(|claim| claim.due(now_us).is_some())
    }

    /// Whether a claim takes asks at this moment.
    pub fn takes_asks(&self, id: ClaimId, now_us: i64) -> Result<Code, Uncounted> {
        let claim = self.claim(id).ok_or(Uncounted::ClaimUnknown)?;
        match claim.refuses(now_us) {
            Some(refused) => Err(refused),
            None => claim.code(id).ok_or(Uncounted::ClaimUnknown),
        }
    }

    /// From here on no claim answers this name; whether one did.
    pub(super) fn settle(&mut self, device: &DeviceName) -> bool {
        let mut claims = self.claims.values_mut();
        claims.any(|claim| claim.waiting.remove(device).is_some())
    }

    /// Whether a device was enrolled by a claim and not heard since.
    #[cfg(feature = "network")]
    pub(super) fn is_waiting(&self, device: &DeviceName) -> bool {
        let mut claims = self.claims.values();
        claims.any(|claim| claim.waiting.contains_key(device))
    }

    /// The registry without its claims: what leaves for another gateway.
    #[cfg(feature = "network")]
    pub(super) fn without_claims(&self) -> Self {
        Self {
            devices: self.devices.clone(),
            claims: BTreeMap::new(),
        }
    }

    pub(super) fn has_sound_claims(&self) -> bool {
        self.claims.len() <= CLAIMS_MAX
            && self.claims.iter().all(|(id, claim)| {
                let mut waiting = claim.waiting.keys();
                *id != 0 && claim.is_sound() && waiting.all(|name| self.devices.contains_key(name))
            })
    }
}
