//! Why the registry does not do what was ordered. Nothing was changed then.

use tidegate_shared::ids::DeviceName;

use super::REGISTERED_MAX;

/// Devices that a message names.
const NAMED_MAX: usize = 8;

/// Why an order cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No such device.
    #[error("no device `{device}` is registered{}; nothing was changed", meant(nearest.as_deref()))]
    Unknown {
        /// As it was named.
        device: DeviceName,
        /// The nearest of those there are.
        nearest: Option<String>,
    },
    /// It has a key.
    #[error(
        "device `{device}` has a key already, number {key_id}; nothing was changed: `tidegate device rotate {device}` issues another one"
    )]
    Registered {
        /// The device.
        device: DeviceName,
        /// Its current key.
        key_id: u8,
    },
    /// It has none.
    #[error(
        "device `{device}` is revoked; nothing was changed: `tidegate device add {device}` gives it a key again"
    )]
    Revoked {
        /// The device.
        device: DeviceName,
    },
    /// It is taken as every other.
    #[error("device `{device}` is not in quarantine; nothing was changed")]
    NotHeld {
        /// The device.
        device: DeviceName,
    },
    /// Another device has this name.
    #[error(
        "there is a device `{device}` already, be it a revoked one; nothing was changed: take another name"
    )]
    NameTaken {
        /// That device.
        device: DeviceName,
    },
    /// The name is the gateway's.
    #[error(
        "the names `gateway` and `tidegate-gateway` are the gateway's own; nothing was changed: take another name"
    )]
    Reserved,
    /// It had 255 keys.
    #[error(
        "device `{device}` has had all 255 keys that one name can have; nothing was changed: give it another name with `tidegate device add`, and revoke this one"
    )]
    KeyIdsUsedUp {
        /// The device.
        device: DeviceName,
    },
    /// There are too many.
    #[error(
        "the registry has {REGISTERED_MAX} devices, which is all it can have; nothing was changed"
    )]
    Full,
    /// It has no such key, or not any more.
    #[error("device `{device}` has no live key {key_id}; nothing was changed")]
    UnknownKey {
        /// The device.
        device: DeviceName,
        /// The key's id.
        key_id: u8,
    },
    /// What is to be imported says otherwise of devices that are known.
    #[error(
        "{} registered here with other keys than in the file; nothing was imported: --replace takes those of the file",
        named(devices)
    )]
    Differs {
        /// Those devices.
        devices: Vec<DeviceName>,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// `a, b and 3 more are`.
fn named(devices: &[DeviceName]) -> String {
    let shown: Vec<&str> = devices.iter().map(DeviceName::as_str).collect();
    let (shown, more) = shown.split_at(shown.len().min(NAMED_MAX));
    let verb = if devices.len() == 1 { "is" } else { "are" };
    match more.len() {
        0 => format!("{} {verb}", shown.join(", ")),
        more => format!("{} and {more} more {verb}", shown.join(", ")),
    }
}
