//! Registry: which devices may speak, and the keys they seal with.
//!
//! ```text
//!             add                 rotate                  confirm
//! (unknown) ──────► current ────────────► current + next ────────► current (what was next)
//!                      │                    │     │  ▲
//!                      │ revoke             │     └──┘ rotate: another next takes its place
//!                      ▼                    ▼
//!                   revoked ◄───────────────┘     add ──► current, under a further key id
//! ```
//! Terms: *current* is the key that a device has; *next* one that was issued by a rotation and not
//! heard yet; a key is *live* while frames under it are taken; *confirmed* is the key of the newest
//! frame that is durable.
//!
//! Invariants:
//! - A device has at most two live keys, and none once it is revoked.
//! - A key id is 1 to 255 and is never issued to a device again while it is remembered; 0 stands
//!   for a plain frame.
//! - The first durable frame under the next key retires the current one; nothing that waits in a
//!   device's outbox is lost by that, since frames are sealed when they are sent.
//! - A key that is retired, replaced or revoked is gone from the registry and its file.
//! - An order that fails changes nothing.
//! - Every change of what is valid is a [`RegistryAct`], noted before the file is written.
//! - A device that enrolled by a claim has one key, and another in its place until it is heard.
//!
//! `claim` and `enrolment` have how devices enrol by themselves. The state is pure: time and random
//! bytes are arguments. [`store`] keeps it in one sealed file, [`registrar`] carries out what people order.

mod act;
mod claim;
#[cfg(test)]
mod claim_tests;
mod device;
mod enrolment;
mod import;
mod key;
mod mistake;

#[cfg(feature = "network")]
pub mod order;
#[cfg(feature = "network")]
pub mod registrar;
#[cfg(feature = "network")]
pub mod store;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

pub use self::act::{KeyMark, RegistryAct};
pub use self::claim::{
    ASKS_MAX, CLAIM_DAYS_MAX, CLAIM_DEVICES_MAX, CLAIMS_MAX, Claim, ClaimEnd, ClaimWish,
    PREFIX_BYTES_MAX, fits,
};
pub use self::device::{Device, LiveKey};
pub use self::enrolment::Enrolment;
pub use self::import::Imported;
pub use self::key::{Fingerprint, KEY_BYTES, Key};
pub use self::mistake::RegistryError;
#[cfg(feature = "network")]
pub use self::{
    order::{Answer, Order},
    registrar::{Auditor, Registrar},
};

/// Most devices of a registry: as many as a gateway may admit.
pub const REGISTERED_MAX: usize = 100_000;
/// The device part of the gateway's own topic, and its user at the embedded broker: no device can
/// have these names.
const RESERVED: [&str; 2] = ["gateway", "tidegate-gateway"];

/// The devices that are known by key, and the claims by which others may enrol.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    devices: BTreeMap<DeviceName, Device>,
    claims: BTreeMap<u32, Claim>,
}

/// What a durable frame under a key meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing new.
    Same,
    /// The device uses this key for the first time.
    Heard,
    /// The device has its next key: the former one is retired.
    Retired(RegistryAct),
}

impl Registry {
    /// The devices by name.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = (&DeviceName, &Device)> {
        self.devices.iter()
    }

    /// A device.
    pub fn get(&self, device: &DeviceName) -> Option<&Device> {
        self.devices.get(device)
    }

    /// Whether no device was ever registered.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Registers a device with a key, or gives one to a device that was revoked.
    pub fn add(
        &mut self,
        device: &DeviceName,
        key: Key,
        now_us: i64,
    ) -> Result<RegistryAct, RegistryError> {
        let key = self.issue(device, key, now_us)?;
        let device = device.clone();
        Ok(RegistryAct::Enrolled { device, key })
    }

    /// Gives a key to a device that has none.
    fn issue(
        &mut self,
        device: &DeviceName,
        key: Key,
        now_us: i64,
    ) -> Result<KeyMark, RegistryError> {
        let count = self.devices.len();
        match self.devices.entry(device.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                if let Some(current) = known.current() {
                    let (device, key_id) = (device.clone(), current.id);
                    return Err(RegistryError::Registered { device, key_id });
                }
                Ok(known.issue(device, key, now_us)?.mark(device))
            }
            Entry::Vacant(_) if is_reserved(device) => Err(RegistryError::Reserved),
            Entry::Vacant(_) if count >= REGISTERED_MAX => Err(RegistryError::Full),
            Entry::Vacant(place) => {
                let known = place.insert(Device::default());
                Ok(known.issue(device, key, now_us)?.mark(device))
            }
        }
    }

    /// Issues the next key of a device; one that was issued before and not heard is replaced.
    pub fn rotate(
        &mut self,
        device: &DeviceName,
        key: Key,
        now_us: i64,
    ) -> Result<RegistryAct, RegistryError> {
        self.live_mut(device)?.next_id(device)?;
        self.settle(device);
        let known = self.live_mut(device)?;
        let replaced = known.drop_next().map(|next| next.mark(device));
        let key = known.issue(device, key, now_us)?.mark(device);
        let device = device.clone();
        Ok(RegistryAct::Rotated {
            device,
            key,
            replaced,
        })
    }

    /// Takes note that a frame under a key of a device is durable.
    pub fn confirm(
        &mut self,
        device: &DeviceName,
        key_id: u8,
    ) -> Result<Confirmation, RegistryError> {
        let unknown = || RegistryError::UnknownKey {
            device: device.clone(),
            key_id,
        };
        let known = self.devices.get_mut(device).ok_or_else(unknown)?;
        known.key(key_id).ok_or_else(unknown)?;
        if known.confirmed() == Some(key_id) {
            return Ok(Confirmation::Same);
        }
        let Some(retired) = known.confirm(key_id) else {
            return Ok(Confirmation::Heard);
        };
        let key = retired.mark(device);
        let device = device.clone();
        Ok(Confirmation::Retired(RegistryAct::Retired { device, key }))
    }

    /// Ends all keys of a device. It stays known, so that a further key has an id of its own.
    pub fn revoke(
        &mut self,
        device: &DeviceName,
        now_us: i64,
    ) -> Result<RegistryAct, RegistryError> {
        self.live_mut(device)?;
        self.settle(device);
        let known = self.live_mut(device)?;
        let ended = known.revoke(now_us);
        let keys = ended.iter().map(|key| key.mark(device)).collect();
        let device = device.clone();
        Ok(RegistryAct::Revoked { device, keys })
    }

    /// Gives a device another name, and with it another key: what it said under the former one is
    /// taken under the new one from nobody. The former name is as that of a revoked device.
    pub fn rename(
        &mut self,
        (from, to): (&DeviceName, &DeviceName),
        key: Key,
        now_us: i64,
    ) -> Result<RegistryAct, RegistryError> {
        self.live_mut(from)?;
        let key = self.issue(to, key, now_us).map_err(|why| match why {
            RegistryError::Registered { device, .. } => RegistryError::NameTaken { device },
            why => why,
        })?;
        self.settle(from);
        let ended = self.live_mut(from)?.revoke(now_us);
        let keys = ended.iter().map(|key| key.mark(from)).collect();
        let (from, to) = (from.clone(), to.clone());
        Ok(RegistryAct::Renamed {
            from,
            to,
            key,
            keys,
        })
    }

    /// A device that has keys.
    fn live_mut(&mut self, device: &DeviceName) -> Result<&mut Device, RegistryError> {
        if !self.devices.contains_key(device) {
            return Err(self.unknown(device));
        }
        let known = self.devices.get_mut(device);
        known
            .filter(|known| !known.is_revoked())
            .ok_or_else(|| RegistryError::Revoked {
                device: device.clone(),
            })
    }

    /// That a device is not known, with the nearest one that is.
    pub fn unknown(&self, device: &DeviceName) -> RegistryError {
        let names = self.devices.keys().map(DeviceName::as_str);
        RegistryError::Unknown {
            device: device.clone(),
            nearest: crate::rules::nearest(device.as_str(), names).map(str::to_owned),
        }
    }

    /// Whether it is one that orders could have made: what is read of a file may be anything.
    pub fn is_sound(&self) -> bool {
        let mut devices = self.devices.iter();
        self.devices.len() <= REGISTERED_MAX
            && devices.all(|(name, device)| !is_reserved(name) && device.is_sound())
            && self.has_sound_claims()
    }
}

fn is_reserved(name: &DeviceName) -> bool {
    RESERVED.contains(&name.as_str())
}
