//! Why the registry does not do what was ordered. Nothing was changed then.

use tidegate_shared::claim::ClaimId;
use tidegate_shared::ids::DeviceName;

use super::{
    CLAIM_DAYS_MAX, CLAIM_DEVICES_MAX, CLAIMS_MAX, ClaimEnd, PREFIX_BYTES_MAX, REGISTERED_MAX,
};

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
    /// No claim has this id.
    #[error(
        "there is no claim {claim}; nothing was changed: `tidegate device claim list` has them"
    )]
    UnknownClaim {
        /// As it was named.
        claim: ClaimId,
    },
    /// It takes nobody any more as it is.
    #[error("claim {claim} has ended already ({}); nothing was changed", end.name())]
    ClaimEnded {
        /// The claim.
        claim: ClaimId,
        /// How.
        end: ClaimEnd,
    },
    /// All that can be open are.
    #[error(
        "{CLAIMS_MAX} claims are open, which is all there can be; nothing was changed: close one with `tidegate device claim close`"
    )]
    ClaimsFull,
    /// The id that was drawn for it is another claim's.
    #[error("the number that was drawn for the claim is taken; nothing was changed: try again")]
    ClaimIdTaken,
    /// The prefix leaves no room for the rest of a name.
    #[error(
        "the prefix is longer than {PREFIX_BYTES_MAX} signs, and a name has `-` and 8 digits behind it; nothing was changed: take a shorter one"
    )]
    PrefixLong,
    /// No such number of devices.
    #[error("a claim is for 1 to {CLAIM_DEVICES_MAX} devices; nothing was changed: open several")]
    ClaimDevices,
    /// No such time.
    #[error("a claim is open for at most {CLAIM_DAYS_MAX} days; nothing was changed")]
    ClaimTime,
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
