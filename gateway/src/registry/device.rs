//! One device of the registry: its live keys, and what is remembered of others.

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

use super::{Fingerprint, Key, KeyMark, RegistryError};

/// Keys that are live at a time: the current one and the next.
const LIVE_KEYS: usize = 2;

/// A key that frames are taken under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveKey {
    /// Which of the device's keys it is: 1 to 255.
    pub id: u8,
    /// The key.
    pub key: Key,
    /// When it was made, UTC in µs, by the gateway's clock.
    pub created_us: i64,
}

impl LiveKey {
    /// What the key is called without showing it.
    pub fn mark(&self, device: &DeviceName) -> KeyMark {
        KeyMark {
            id: self.id,
            fingerprint: Fingerprint::of(device, self.id, &self.key),
        }
    }
}

/// A device that is known by key.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The current key, then the next; none once it is revoked.
    live: Vec<LiveKey>,
    /// The highest key id that it was ever given.
    issued: u8,
    /// The key of its newest durable frame.
    confirmed: Option<u8>,
    /// When it was revoked, UTC in µs.
    revoked_us: Option<i64>,
}

impl Device {
    /// The keys that frames are taken under: the current one, then the next.
    pub fn live(&self) -> &[LiveKey] {
        &self.live
    }

    /// The key that the device has.
    pub fn current(&self) -> Option<&LiveKey> {
        self.live.first()
    }

    /// The key that a rotation issued and that was not heard yet.
    pub fn next(&self) -> Option<&LiveKey> {
        self.live.get(1)
    }

    /// The live key of an id.
    pub fn key(&self, id: u8) -> Option<&LiveKey> {
        self.live.iter().find(|key| key.id == id)
    }

    /// The key that was issued last, while it is live: what goes into the device.
    pub fn newest(&self) -> Option<&LiveKey> {
        self.live.last()
    }

    /// The highest key id that it was ever given.
    pub fn issued(&self) -> u8 {
        self.issued
    }

    /// The key of its newest durable frame.
    pub fn confirmed(&self) -> Option<u8> {
        self.confirmed
    }

    /// When it was revoked, UTC in µs.
    pub fn revoked_us(&self) -> Option<i64> {
        self.revoked_us
    }

    /// Whether none of its keys is live.
    pub fn is_revoked(&self) -> bool {
        self.live.is_empty()
    }

    /// The id that its next key will have.
    pub(super) fn next_id(&self, device: &DeviceName) -> Result<u8, RegistryError> {
        let id = self.issued.checked_add(1);
        id.ok_or_else(|| RegistryError::KeyIdsUsedUp {
            device: device.clone(),
        })
    }

    /// Makes a key live, under an id that none had.
    pub(super) fn issue(
        &mut self,
        device: &DeviceName,
        key: Key,
        created_us: i64,
    ) -> Result<&LiveKey, RegistryError> {
        let id = self.next_id(device)?;
        self.issued = id;
        self.revoked_us = None;
        let at = self.live.len();
        self.live.push(LiveKey {
            id,
            key,
            created_us,
        });
        Ok(&self.live[at])
    }

    /// Ends the next key.
    pub(super) fn drop_next(&mut self) -> Option<LiveKey> {
        (self.live.len() == LIVE_KEYS).then(|| self.live.pop())?
    }

    /// The device uses this live key; the one that this retires.
    pub(super) fn confirm(&mut self, id: u8) -> Option<LiveKey> {
        self.confirmed = Some(id);
        let is_next = self.next().is_some_and(|next| next.id == id);
        is_next.then(|| self.live.remove(0))
    }

    /// Ends all of its keys.
    pub(super) fn revoke(&mut self, now_us: i64) -> Vec<LiveKey> {
        self.revoked_us = Some(now_us);
        std::mem::take(&mut self.live)
    }

    /// Counts as issued what another registry issued.
    pub(super) fn count_issued(&mut self, issued: u8) {
        self.issued = self.issued.max(issued);
    }

    /// Whether both have the same live keys.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        let keys = |device: &Self| -> Vec<(u8, Key)> {
            let live = device.live.iter();
            live.map(|live| (live.id, live.key.clone())).collect()
        };
        keys(self) == keys(other)
    }

    pub(super) fn is_sound(&self) -> bool {
        let ids = || self.live.iter().map(|key| key.id);
        self.live.len() <= LIVE_KEYS
            && self.issued > 0
            && ids().is_sorted_by(|left, right| left < right)
            && ids().all(|id| (1..=self.issued).contains(&id))
            && self.confirmed.is_none_or(|id| id <= self.issued)
            && self.live.is_empty() == self.revoked_us.is_some()
    }
}
