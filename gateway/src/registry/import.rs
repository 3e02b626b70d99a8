//! Import: what another gateway's registry says, taken over.

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

use super::{Device, KeyMark, REGISTERED_MAX, Registry, RegistryAct, RegistryError};

/// What an import did, in devices.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// That were not known.
    pub added: u64,
    /// That were known with other keys.
    pub replaced: u64,
    /// That were known with the same.
    pub same: u64,
}

impl Registry {
    /// Takes over the devices of another registry; those known here with other keys only when
    /// they are to be replaced.
    pub fn import(
        &mut self,
        other: &Self,
        replace: bool,
    ) -> Result<(Imported, Vec<RegistryAct>), RegistryError> {
        let differing = other.devices.iter().filter(|(name, device)| {
            let known = self.devices.get(*name);
            known.is_some_and(|known| !known.has_keys_of(device))
        });
        let devices: Vec<DeviceName> = differing.map(|(name, _)| name.clone()).collect();
        if !devices.is_empty() && !replace {
            return Err(RegistryError::Differs { devices });
        }
        let new = other.devices.keys();
        let new = new.filter(|name| !self.devices.contains_key(*name)).count();
        if self.devices.len() + new > REGISTERED_MAX {
            return Err(RegistryError::Full);
        }
        let mut imported = Imported::default();
        let mut acts = Vec::new();
        for (name, device) in &other.devices {
            acts.extend(self.take_over(name, device, &mut imported));
        }
        Ok((imported, acts))
    }

    fn take_over(
        &mut self,
        name: &DeviceName,
        device: &Device,
        imported: &mut Imported,
    ) -> Option<RegistryAct> {
        let mut taken = device.clone();
        let ended = match self.devices.get_mut(name) {
            Some(known) if known.has_keys_of(device) => {
                known.count_issued(device.issued());
                imported.same += 1;
                return None;
            }
            Some(known) => {
                imported.replaced += 1;
                taken.count_issued(known.issued());
                let gone = known
                    .live()
                    .iter()
                    .filter(|key| !device.live().contains(key));
                gone.map(|key| key.mark(name)).collect()
            }
            None => {
                imported.added += 1;
                Vec::new()
            }
        };
        let keys: Vec<KeyMark> = taken.live().iter().map(|key| key.mark(name)).collect();
        self.settle(name);
        self.devices.insert(name.clone(), taken);
        let device = name.clone();
        Some(RegistryAct::Imported {
            device,
            keys,
            ended,
        })
    }
}
