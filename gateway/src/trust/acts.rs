//! Acts of the registry as entries of the audit log.

use crate::audit::Act;
use crate::registry::{KeyMark, RegistryAct};
use tidegate_shared::ids::DeviceName;

/// What the log says of an act of the registry; `retires` is the key that a rotation is to end.
pub(super) fn of(act: &RegistryAct, retires: u8) -> Vec<Act> {
    match act {
        RegistryAct::Enrolled { device, key } => vec![enrolled(device, key)],
        RegistryAct::Rotated {
            device,
            key,
            replaced,
        } => {
            let ended = replaced.iter().map(|key| retired(device, key));
            let issued = Act::KeyRotated {
                device: text(device),
                key_id: key.id,
                fingerprint: key.fingerprint.to_string(),
                retires,
            };
            ended.chain([issued]).collect()
        }
        RegistryAct::Retired { device, key } => vec![retired(device, key)],
        RegistryAct::Revoked { device, .. } => vec![Act::DeviceRevoked {
            device: text(device),
        }],
        RegistryAct::Renamed { from, to, key, .. } => {
            let renamed = Act::DeviceRenamed {
                from: text(from),
                to: text(to),
            };
            vec![renamed, enrolled(to, key)]
        }
        RegistryAct::ClaimOpened {
            claim,
            prefix,
            devices_max,
            expires_us,
        } => vec![Act::ClaimOpened {
            claim: claim.clone(),
            prefix: text(prefix),
            devices_max: *devices_max,
            expires_us: *expires_us,
        }],
        RegistryAct::ClaimClosed {
            claim,
            why,
            enrolled,
        } => vec![Act::ClaimClosed {
            claim: claim.clone(),
            why: why.name().to_owned(),
            enrolled: *enrolled,
        }],
        RegistryAct::Exported { devices } => vec![Act::RegistryExported {
            devices: u32::try_from(*devices).unwrap_or(u32::MAX),
        }],
        RegistryAct::Imported {
            device,
            keys,
            ended,
        } => {
            if keys.is_empty() {
                return vec![Act::DeviceRevoked {
                    device: text(device),
                }];
            }
            let ended = ended.iter().map(|key| retired(device, key));
            ended
                .chain(keys.iter().map(|key| enrolled(device, key)))
                .collect()
        }
    }
}

fn enrolled(device: &DeviceName, key: &KeyMark) -> Act {
    Act::DeviceEnrolled {
        device: text(device),
        key_id: key.id,
        fingerprint: key.fingerprint.to_string(),
    }
}

fn retired(device: &DeviceName, key: &KeyMark) -> Act {
    Act::KeyRetired {
        device: text(device),
        key_id: key.id,
    }
}

fn text(device: &DeviceName) -> String {
    device.as_str().to_owned()
}
