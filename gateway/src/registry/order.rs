//! Orders about devices as people give them, and what comes of them.
//!
//! The same code carries them out for a running gateway (over the control socket) and for a stopped
//! one, by a command that holds the data directory. What is told never holds a key, but where a key
//! was issued to be put into a device.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_shared::claim::ClaimId;
use tidegate_shared::ids::DeviceName;

use super::{Claim, ClaimEnd, ClaimWish, Device, Imported, Key, KeyMark};
use crate::record::rfc3339;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Tell of all devices.
    List,
    /// Tell of one.
    Show(DeviceName),
    /// Register a device, or give a revoked one a key again.
    Add(DeviceName),
    /// Issue the next key of a device.
    Rotate(DeviceName),
    /// End all keys of a device.
    Revoke(DeviceName),
    /// Let a device out of quarantine.
    Release(DeviceName),
    /// Give a device another name.
    Rename {
        /// Its name.
        from: DeviceName,
        /// Its name from now on.
        to: DeviceName,
    },
    /// Give the whole registry out, sealed.
    Export {
        /// Under this key instead of the registry's own.
        key: Option<Key>,
    },
    /// Tell what each device says to a broker that asks for a password.
    Logins,
    /// Take over the export that lies in the data directory as
    /// [`INCOMING`](super::store::INCOMING).
    Import {
        /// Which is sealed under this key instead of the registry's own.
        key: Option<Key>,
        /// Also devices that are known with other keys.
        replace: bool,
    },
    /// Let devices enrol by themselves.
    OpenClaim(ClaimWish),
    /// Tell of all claims.
    Claims,
    /// Let no further device enrol by this claim.
    CloseClaim(u32),
}

impl Order {
    /// Whether it can change the registry, or lets keys leave it.
    pub fn is_act(&self) -> bool {
        !matches!(self, Self::List | Self::Show(_) | Self::Claims)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The devices, by name.
    Listed(Vec<Shown>),
    /// The device as it is, or as it is now.
    Shown(Shown),
    /// The key that goes into the device.
    Issued(Issued),
    /// The sealed registry.
    Exported(Exported),
    /// What the import did.
    Imported(Imported),
    /// User and password of each device that is not revoked.
    Logins(Vec<Login>),
    /// The claim with the code that goes into devices.
    ClaimOpened(Opened),
    /// The claims, the newest first.
    ClaimsListed(Vec<ShownClaim>),
    /// The claim as it is now.
    ClaimClosed(ShownClaim),
}

/// A claim that was opened. Its `Debug` hides the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number.
    pub id: u32,
    /// Its code.
    pub code: Key,
    /// The claim.
    pub claim: ShownClaim,
}

/// A claim, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownClaim {
    /// What it is called, which is not its code.
    pub claim: String,
    /// What the names of its devices begin with, before a `-`.
    pub prefix: DeviceName,
    /// How many it may enrol.
    pub devices_max: u32,
    /// How many it did.
    pub enrolled: u32,
    /// Those of them that were granted a key and not heard under it yet.
    pub waiting: Vec<DeviceName>,
    /// What it is.
    pub state: ClaimState,
    /// When it was opened, RFC 3339, by the gateway's clock.
    pub opened_at: String,
    /// When it expires.
    pub expires_at: String,
    /// When it ended; none while it is open.
    pub ended_at: Option<String>,
}

/// What a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimState {
    /// Devices may enrol by it.
    Open,
    /// As many did as may.
    UsedUp,
    /// Its time is over.
    Expired,
    /// Somebody closed it.
    Closed,
}

impl ShownClaim {
    /// A claim as it is at this moment.
    pub fn of(id: ClaimId, claim: &Claim, now_us: i64) -> Self {
        let state = match claim.ended() {
            Some((ClaimEnd::UsedUp, _)) => ClaimState::UsedUp,
            Some((ClaimEnd::Expired, _)) => ClaimState::Expired,
            Some((ClaimEnd::Closed, _)) => ClaimState::Closed,
            None if now_us >= claim.expires_us() => ClaimState::Expired,
            None if claim.is_used_up() => ClaimState::UsedUp,
            None => ClaimState::Open,
        };
        Self {
            claim: id.to_string(),
            prefix: claim.wish().prefix.clone(),
            devices_max: claim.wish().devices_max,
            enrolled: claim.enrolled(),
            waiting: claim.waiting().cloned().collect(),
            state,
            opened_at: rfc3339(claim.opened_us()),
            expires_at: rfc3339(claim.expires_us()),
            ended_at: claim.ended().map(|(_, at_us)| rfc3339(at_us)),
        }
    }
}

/// What a device says to a broker. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The device, which is the user.
    pub device: DeviceName,
    /// Made of the key that the device has.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Login");
        shown.field("device", &self.device).finish_non_exhaustive()
    }
}

/// A key for a device. Its `Debug` hides it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The device.
    pub device: DeviceName,
    /// What the key is called.
    pub mark: KeyMark,
    /// The key.
    pub key: Key,
}

/// A registry, sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Devices in it.
    pub devices: u64,
    /// In base64.
    pub sealed: String,
}

impl fmt::Debug for Exported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Exported");
        shown
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// A device, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its name.
    pub device: DeviceName,
    /// Its live keys: the current one, then the next; none if it is revoked.
    pub keys: Vec<ShownKey>,
    /// The key of its newest durable frame; none: it was not heard under a key, as far
    /// as the registry knows.
    pub confirmed_key: Option<u8>,
    /// Keys that it was given so far.
    pub issued: u8,
    /// When it was revoked, RFC 3339, by the gateway's clock.
    pub revoked_at: Option<String>,
}

/// A live key, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownKey {
    /// Which of the device's keys.
    pub id: u8,
    /// What it is.
    pub state: KeyState,
    /// Tells it from every other key.
    pub fingerprint: super::Fingerprint,
    /// When it was made, RFC 3339, by the gateway's clock.
    pub created_at: String,
}

/// What a live key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// The device has it.
    Current,
    /// A rotation issued it, and it was not heard yet.
    Next,
}

impl Shown {
    /// A device as it is.
    pub fn of(name: &DeviceName, device: &Device) -> Self {
        let states = [KeyState::Current, KeyState::Next];
        let keys = device.live().iter().zip(states).map(|(live, state)| {
            let mark = live.mark(name);
            ShownKey {
                id: mark.id,
                state,
                fingerprint: mark.fingerprint,
                created_at: rfc3339(live.created_us),
            }
        });
        Self {
            device: name.clone(),
            keys: keys.collect(),
            confirmed_key: device.confirmed(),
            issued: device.issued(),
            revoked_at: device.revoked_us().map(rfc3339),
        }
    }

    /// Whether none of its keys is live.
    pub fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }
}
