//! Refusals: what the embedded broker did not let through, counted by reason.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

/// Refusals that wait for whoever watches; beyond, they are only counted.
pub const REFUSALS_MAX: usize = 256;

/// Something that was not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who.
    pub who: Speaker,
    /// From where.
    pub peer: IpAddr,
    /// Why.
    pub why: Why,
}

/// Who did what was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// This device: it showed its password or certificate.
    Proved(DeviceName),
    /// Somebody who says so: it may be anyone.
    Claimed(DeviceName),
    /// Nobody knows.
    Unknown,
}

/// Why something was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No user name, or none that is a device's name, or no password.
    NoPassword,
    /// No account of this name.
    UnknownDevice,
    /// Not the account's password.
    WrongPassword,
    /// The account is revoked.
    Revoked,
    /// The certificate holds no device's name.
    NamelessCertificate,
    /// The client id, or the user name beside a certificate, is another's.
    ForeignName,
    /// The will's topic is not the client's.
    ForeignWill,
    /// It published to a topic, or subscribed to a filter, that is not its own.
    ForeignTopic,
    /// A claimant published something else than a claim.
    NoClaim,
    /// All places are taken, or those of its address.
    TooManyConnections,
    /// TLS did not come about: no certificate, an unknown authority, or no TLS.
    NoTls,
    /// It said nothing for too long before it was connected.
    Silent,
    /// It sent what is not MQTT, or breaks its rules.
    Malformed,
    /// A packet longer than the limit.
    TooLarge,
    /// It publishes faster than a client may and is slowed down.
    TooFast,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::NoPassword,
        Self::UnknownDevice,
        Self::WrongPassword,
        Self::Revoked,
        Self::NamelessCertificate,
        Self::ForeignName,
        Self::ForeignWill,
        Self::ForeignTopic,
        Self::NoClaim,
        Self::TooManyConnections,
        Self::NoTls,
        Self::Silent,
        Self::Malformed,
        Self::TooLarge,
        Self::TooFast,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPassword => "no-password",
            Self::UnknownDevice => "unknown-device",
            Self::WrongPassword => "wrong-password",
            Self::Revoked => "revoked",
            Self::NamelessCertificate => "nameless-certificate",
            Self::ForeignName => "foreign-name",
            Self::ForeignWill => "foreign-will",
            Self::ForeignTopic => "foreign-topic",
            Self::NoClaim => "no-claim",
            Self::TooManyConnections => "too-many-connections",
            Self::NoTls => "no-tls",
            Self::Silent => "silent",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::TooFast => "too-fast",
        }
    }

    /// For people.
    pub const fn told(self) -> &'static str {
        match self {
            Self::NoPassword => "it gave no device name and password",
            Self::UnknownDevice => "no device of this name is registered",
            Self::WrongPassword => "its password is wrong",
            Self::Revoked => "the device is revoked",
            Self::NamelessCertificate => "its certificate holds no device name",
            Self::ForeignName => "its client id or user name is another device's",
            Self::ForeignWill => "its will is for another's topic",
            Self::ForeignTopic => "the topic is not its own",
            Self::NoClaim => "it came by a claim's code and published something else than a claim",
            Self::TooManyConnections => "all places are taken, or those of its address",
            Self::NoTls => "TLS did not come about",
            Self::Silent => "it said nothing for too long",
            Self::Malformed => "it does not keep to MQTT",
            Self::TooLarge => "its packet is too large",
            Self::TooFast => "it publishes too fast and is slowed down",
        }
    }
}

/// Refusals since the broker began.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalCounts {
    /// By reason; those that did not happen are left out.
    pub by_reason: BTreeMap<Why, u64>,
    /// Refusals that whoever watches was not told of, since [`REFUSALS_MAX`] of them waited.
    pub untold: u64,
    /// The last one; none when there was none.
    pub last: Option<LastRefusal>,
}

/// What was not let through last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefusal {
    /// The device; none where nobody knows which.
    pub device: Option<String>,
    /// Whether it was proved to be that device, and not only said.
    pub is_proved: bool,
    /// From where.
    pub peer: String,
    /// Why.
    pub why: Why,
}

impl From<&Refusal> for LastRefusal {
    fn from(refusal: &Refusal) -> Self {
        let (device, is_proved) = match &refusal.who {
            Speaker::Proved(name) => (Some(name.to_string()), true),
            Speaker::Claimed(name) => (Some(name.to_string()), false),
            Speaker::Unknown => (None, false),
        };
        Self {
            device,
            is_proved,
            peer: refusal.peer.to_string(),
            why: refusal.why,
        }
    }
}
