//! Entries: what was done, by whom and when, as one canonical JSON object each.
//!
//! Canonical: fields in the order of the structs here, no spaces, nothing further. An entry that is
//! read back and written again is the same bytes, or it is refused.
//!
//! ```json
//! {"v":1,"at_us":1700000000000000,"clock_trusted":true,"start":3,"who":{"by":"control","uid":1000},"act":{"kind":"device-revoked","device":"pump-1"}}
//! ```

use serde::{Deserialize, Serialize};

use super::AuditError;
use super::diff::Diff;
use crate::time::Timestamp;

/// Most bytes of an entry: what the length of an entry in a bundle can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// The version of the form of entries.
const VERSION: u32 = 1;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    v: u32,
    /// UTC in µs, by the gateway's clock.
    pub at_us: i64,
    /// Whether that clock was to be trusted.
    pub clock_trusted: bool,
    /// The gateway's start counter.
    pub start: u32,
    /// Who did it.
    pub who: Who,
    /// What was done.
    pub act: Act,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Who {
    /// Somebody over the control socket or the command line.
    Control {
        /// Their user id, where the system tells it.
        uid: Option<u32>,
    },
    /// Whoever may write the configuration.
    Configuration,
    /// Whoever had a claim code.
    Claim {
        /// The claim's name, which is not its code.
        claim: String,
    },
    /// The gateway by itself.
    Gateway,
}

impl Who {
    /// Whoever runs this command.
    pub fn this_user() -> Self {
        Self::Control {
            uid: Some(rustix::process::getuid().as_raw()),
        }
    }
}

/// What was done. Times are UTC in µs, fingerprints and hashes are hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are named as what they are")]
pub enum Act {
    /// A device was given its first key, or its first after a revocation.
    DeviceEnrolled {
        device: String,
        key_id: u8,
        fingerprint: String,
    },
    /// A device was given a further key; the one that it replaces stays valid until retired.
    KeyRotated {
        device: String,
        key_id: u8,
        fingerprint: String,
        retires: u8,
    },
    /// A key is not valid any more.
    KeyRetired { device: String, key_id: u8 },
    /// No key of a device is valid any more.
    DeviceRevoked { device: String },
    /// A device has another name; its keys go with it.
    DeviceRenamed { from: String, to: String },
    /// Devices whose names begin so may enrol by a claim's code.
    ClaimOpened {
        claim: String,
        prefix: String,
        devices_max: u32,
        expires_us: i64,
    },
    /// They may not any more: it was used up, expired or closed.
    ClaimClosed {
        claim: String,
        why: String,
        enrolled: u32,
    },
    /// The registry left this gateway.
    RegistryExported { devices: u32 },
    /// A registry was taken in; each key that came with it is an enrolment of its own behind this.
    RegistryImported { devices: u32, sha256: String },
    /// Other rules are in force: the hashes of both, and how they differ.
    RulesChanged {
        from: String,
        to: String,
        diff: Diff,
    },
    /// A command was sent to a device.
    CommandSent { device: String, command: String },
    /// An update was offered to a device.
    UpdateOffered {
        device: String,
        version: String,
        sha256: String,
    },
    /// A device is not listened to; without an end until a person releases it.
    DeviceQuarantined {
        device: String,
        why: String,
        until_us: Option<i64>,
    },
    /// A device is listened to again.
    DeviceReleased { device: String },
    /// A store was repaired.
    StoreRepaired { what: String },
    /// The machine's clock was set.
    ClockStepped { before_us: i64, after_us: i64 },
    /// The gateway goes on from a backup, or from a log that was lost: its incarnation changed.
    Restored { from: Option<u32>, to: u32 },
}

impl Act {
    /// The devices that it is about.
    pub fn devices(&self) -> Vec<&str> {
        match self {
            Self::DeviceEnrolled { device, .. }
            | Self::KeyRotated { device, .. }
            | Self::KeyRetired { device, .. }
            | Self::DeviceRevoked { device }
            | Self::CommandSent { device, .. }
            | Self::UpdateOffered { device, .. }
            | Self::DeviceQuarantined { device, .. }
            | Self::DeviceReleased { device } => vec![device],
            Self::DeviceRenamed { from, to } => vec![from, to],
            Self::ClaimOpened { .. }
            | Self::ClaimClosed { .. }
            | Self::RegistryExported { .. }
            | Self::RegistryImported { .. }
            | Self::RulesChanged { .. }
            | Self::StoreRepaired { .. }
            | Self::ClockStepped { .. }
            | Self::Restored { .. } => Vec::new(),
        }
    }
}

impl Entry {
    /// Says that something was done now.
    pub fn new(now: Timestamp, start: u32, who: Who, act: Act) -> Self {
        Self {
            v: VERSION,
            at_us: now.wall_us,
            clock_trusted: now.wall_trusted,
            start,
            who,
            act,
        }
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// They are more than [`ENTRY_BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuditError> {
        let bytes = serde_json::to_vec(self).map_err(|why| AuditError::EntryUnwritable {
            why: why.to_string(),
        })?;
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(AuditError::EntryTooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads the entry of an index.
    ///
    /// # Errors
    /// The bytes are not canonical, or of a newer version.
    pub fn parse(index: u64, bytes: &[u8]) -> Result<Self, AuditError> {
        let unreadable = |why: String| AuditError::EntryUnreadable { index, why };
        let entry: Self =
            serde_json::from_slice(bytes).map_err(|why| unreadable(why.to_string()))?;
        if entry.v != VERSION {
            return Err(unreadable(format!(
                "it has version {}, and this program knows {VERSION}",
                entry.v
            )));
        }
        if entry.to_bytes()? != bytes {
            return Err(unreadable("it is not in canonical form".to_owned()));
        }
        Ok(entry)
    }
}
