//! Snapshot: what frames are opened with, as it is at one moment.

use std::collections::BTreeMap;

use tidegate_shared::ids::DeviceName;

use super::{Device, Key, Registry};

/// The keys of all devices that are known, revoked ones without any.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Keys {
    devices: BTreeMap<DeviceName, DeviceKeys>,
}

/// The keys of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Id and key: the current one, then the next; none if it is revoked.
    pub live: Vec<(u8, Key)>,
    /// The key of its newest durable frame: a frame under another live one is to be confirmed.
    pub confirmed: Option<u8>,
    /// Whether all of its keys have ended.
    pub revoked: bool,
}

impl Keys {
    pub(super) fn of(registry: &Registry) -> Self {
        let devices = registry.devices();
        let devices = devices.map(|(name, device)| (name.clone(), DeviceKeys::of(device)));
        Self {
            devices: devices.collect(),
        }
    }

    /// Those of a device; none: it is not known.
    pub fn get(&self, device: &DeviceName) -> Option<&DeviceKeys> {
        self.devices.get(device)
    }

    /// Whether no device was ever registered.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}

impl DeviceKeys {
    fn of(device: &Device) -> Self {
        let live = device.live().iter();
        Self {
            live: live.map(|live| (live.id, live.key.clone())).collect(),
            confirmed: device.confirmed(),
            revoked: device.is_revoked(),
        }
    }

    /// The live key of an id.
    pub fn get(&self, id: u8) -> Option<&Key> {
        let found = self.live.iter().find(|(live, _)| *live == id);
        found.map(|(_, key)| key)
    }
}
