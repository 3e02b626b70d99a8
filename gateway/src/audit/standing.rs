//! Standing: which keys are valid and which claims open, as a fold over the entries of the log.
//!
//! A key is valid when its issue is in the log and neither it was retired nor its device revoked
//! behind that. A rename ends them: the new name has a key of its own. A claim is open from its opening to its end.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_shared::ids::DeviceName;

use super::Act;

/// The fingerprint of a key, as its issue says it.
pub type Fingerprint = String;

/// Which keys of which devices are valid.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Every device that there ever was, with its valid keys.
    devices: BTreeMap<String, BTreeMap<u8, Fingerprint>>,
    /// Devices in quarantine, and until when in µs.
    held: BTreeMap<String, Option<i64>>,
    claims: BTreeSet<String>,
}

impl Standing {
    /// What the acts of a log, in its order, amount to.
    pub fn of<'a>(acts: impl IntoIterator<Item = &'a Act>) -> Self {
        let mut standing = Self::default();
        for act in acts {
            standing.take(act);
        }
        standing
    }

    /// Takes the log's next act.
    pub fn take(&mut self, act: &Act) {
        match act {
            Act::DeviceEnrolled {
                device,
                key_id,
                fingerprint,
            }
            | Act::KeyRotated {
                device,
                key_id,
                fingerprint,
                ..
            } => {
                let keys = self.devices.entry(device.clone()).or_default();
                keys.insert(*key_id, fingerprint.clone());
            }
            Act::KeyRetired { device, key_id } => {
                if let Some(keys) = self.devices.get_mut(device) {
                    keys.remove(key_id);
                }
            }
            Act::DeviceRevoked { device } => {
                self.devices.insert(device.clone(), BTreeMap::new());
            }
            Act::DeviceRenamed { from, .. } => {
                self.devices.insert(from.clone(), BTreeMap::new());
                // Who is held for what was said under its key has no key any more.
                self.held.remove(from);
            }
            Act::DeviceQuarantined {
                device, until_us, ..
            } => {
                self.held.insert(device.clone(), *until_us);
            }
            Act::DeviceReleased { device } => {
                self.held.remove(device);
            }
            Act::ClaimOpened { claim, .. } => {
                self.claims.insert(claim.clone());
            }
            Act::ClaimClosed { claim, .. } => {
                self.claims.remove(claim);
            }
            Act::RegistryExported { .. }
            | Act::RegistryImported { .. }
            | Act::RulesChanged { .. }
            | Act::CommandSent { .. }
            | Act::UpdateOffered { .. }
            | Act::StoreRepaired { .. }
            | Act::ClockStepped { .. }
            | Act::Restored { .. } => {}
        }
    }

    /// Whether a key is valid.
    pub fn is_valid(&self, device: &str, key_id: u8, fingerprint: &str) -> bool {
        let keys = self.devices.get(device);
        keys.and_then(|keys| keys.get(&key_id))
            .is_some_and(|known| known == fingerprint)
    }

    /// How many devices ever had a key.
    pub fn devices_ever(&self) -> usize {
        self.devices.len()
    }

    /// The claims that are open.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(String::as_str)
    }

    /// Whether a claim is open.
    pub fn is_open(&self, claim: &str) -> bool {
        self.claims.contains(claim)
    }

    /// Every device in quarantine, and until when, UTC in µs; none until it is released.
    pub fn held(&self) -> BTreeMap<DeviceName, Option<i64>> {
        let held = self.held.iter();
        held.filter_map(|(device, until_us)| Some((device.parse().ok()?, *until_us)))
            .collect()
    }

    /// Every valid key: device, key id and fingerprint.
    pub fn keys(&self) -> impl Iterator<Item = (&str, u8, &str)> {
        self.devices.iter().flat_map(|(device, keys)| {
            let keys = keys.iter();
            keys.map(move |(id, fingerprint)| (device.as_str(), *id, fingerprint.as_str()))
        })
    }
}
