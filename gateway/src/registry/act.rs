//! Acts: what was done to the registry, as the audit log notes it.

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

use super::{ClaimEnd, Fingerprint};

/// What a key is called without showing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMark {
    /// Which of the device's keys: 1 to 255.
    pub id: u8,
    /// Tells it from every other key, of any device.
    pub fingerprint: Fingerprint,
}

/// One act. Those that make keys valid or end them name each with its fingerprint, so that the log
/// of acts alone says which are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryAct {
    /// A device has a key: its first one, or one after it was revoked.
    Enrolled {
        /// The device.
        device: DeviceName,
        /// Its key.
        key: KeyMark,
    },
    /// A device has a next key.
    Rotated {
        /// The device.
        device: DeviceName,
        /// The next key.
        key: KeyMark,
        /// The one in whose place it came, which was never heard.
        replaced: Option<KeyMark>,
    },
    /// A device uses its next key, so the former one has ended; or one that enrols by a claim asked
    /// again before it was heard, so that it gets another.
    Retired {
        /// The device.
        device: DeviceName,
        /// The former key.
        key: KeyMark,
    },
    /// A device's keys have ended.
    Revoked {
        /// The device.
        device: DeviceName,
        /// All of them.
        keys: Vec<KeyMark>,
    },
    /// A device has another name, and another key.
    Renamed {
        /// Its name until now: no key is valid under it any more.
        from: DeviceName,
        /// Its name.
        to: DeviceName,
        /// Its key.
        key: KeyMark,
        /// Those that it had.
        keys: Vec<KeyMark>,
    },
    /// Devices may enrol by themselves.
    ClaimOpened {
        /// The claim, which is not its code.
        claim: String,
        /// What their names begin with, before a `-`.
        prefix: DeviceName,
        /// How many may.
        devices_max: u32,
        /// Until when, UTC in µs.
        expires_us: i64,
    },
    /// They may not any more.
    ClaimClosed {
        /// The claim.
        claim: String,
        /// Why.
        why: ClaimEnd,
        /// How many did.
        enrolled: u32,
    },
    /// All keys were given out, sealed.
    Exported {
        /// Of so many devices.
        devices: u64,
    },
    /// A device came from another registry, or was replaced by what that says of it.
    Imported {
        /// The device.
        device: DeviceName,
        /// Its keys from now on; none if it is revoked.
        keys: Vec<KeyMark>,
        /// Keys that it had and that have ended.
        ended: Vec<KeyMark>,
    },
}
