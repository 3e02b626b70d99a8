//! Words: entries as a person reads them.

use std::fmt;

use super::{Act, Who};
use crate::record::rfc3339;

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control { uid: Some(uid) } => write!(f, "user {uid}"),
            Self::Control { uid: None } => f.write_str("a user"),
            Self::Configuration => f.write_str("the configuration"),
            Self::Claim { claim } => write!(f, "claim {claim}"),
            Self::Gateway => f.write_str("the gateway"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceEnrolled {
                device,
                key_id,
                fingerprint,
            } => write!(f, "enrolled {device} with key {key_id}, {fingerprint}"),
            Self::KeyRotated {
                device,
                key_id,
                fingerprint,
                retires,
            } => write!(
                f,
                "gave {device} key {key_id}, {fingerprint}, to replace key {retires}"
            ),
            Self::KeyRetired { device, key_id } => write!(f, "retired key {key_id} of {device}"),
            Self::DeviceRevoked { device } => write!(f, "revoked {device}"),
            Self::DeviceRenamed { from, to } => write!(f, "renamed {from} to {to}"),
            Self::ClaimOpened {
                claim,
                prefix,
                devices_max,
                expires_us,
            } => write!(
                f,
                "opened claim {claim} for {devices_max} devices {prefix}-… until {}",
                rfc3339(*expires_us)
            ),
            Self::ClaimClosed {
                claim,
                why,
                enrolled,
            } => write!(
                f,
                "ended claim {claim} behind {enrolled} enrolled devices: {why}"
            ),
            Self::RegistryExported { devices } => {
                write!(f, "exported the registry of {devices} devices")
            }
            Self::RegistryImported { devices, sha256 } => {
                write!(
                    f,
                    "imported a registry of {devices} devices, SHA-256 {sha256}"
                )
            }
            Self::RulesChanged { from, to, diff } => {
                write!(f, "changed the rules from {from} to {to}")?;
                if let Some(cut) = &diff.cut {
                    write!(f, " (diff of {} bytes, cut)", cut.bytes)?;
                }
                Ok(())
            }
            Self::CommandSent { device, command } => write!(f, "sent {device} `{command}`"),
            Self::UpdateOffered {
                device,
                version,
                sha256,
            } => write!(f, "offered {device} version {version}, SHA-256 {sha256}"),
            Self::DeviceQuarantined {
                device,
                why,
                until_us,
            } => {
                write!(f, "quarantined {device}")?;
                match until_us {
                    Some(until_us) => write!(f, " until {}: {why}", rfc3339(*until_us)),
                    None => write!(f, " until it is released: {why}"),
                }
            }
            Self::DeviceReleased { device } => write!(f, "released {device}"),
            Self::StoreRepaired { what } => write!(f, "repaired {what}"),
            Self::ClockStepped {
                before_us,
                after_us,
            } => write!(
                f,
                "saw the clock set from {} to {}",
                rfc3339(*before_us),
                rfc3339(*after_us)
            ),
            Self::Restored { from, to } => match from {
                Some(from) => write!(f, "goes on under log incarnation {to} after {from}"),
                None => write!(f, "goes on under log incarnation {to}"),
            },
        }
    }
}
