//! Access: who may connect to the embedded broker, as whom, and what each may say and hear.
//!
//! # Terms
//! - *access*: the accounts in force, one value that [`Doorkeeper::set`] swaps as a whole while
//!   the broker runs. Every connection looks at it again after a swap, and with each message.
//! - *claim*: what a client says of itself as it connects; *identity*: what of it was proved.
//! - *claimant*: who has the code of an open claim ([`crate::registry`]) and comes under a name that
//!   it may enrol. That is who it says as little as anybody's: what it does is nobody's.
//! - *refusal*: something that was not let through, told to whoever watches. It says whether the
//!   device was proved or only claimed: what somebody without its key does must not be held
//!   against a device.
//!
//! # Invariants
//! - While no device is registered, everyone may do everything, but a certificate binds its
//!   holder to the name in it. From the first account on, only who has one may connect.
//! - A claimant says its one word and hears the answer, and nothing else.
//! - A client's id is that of its name, so that nobody takes another's session.
//! - The gateway's user is let in by the inner listener alone, and nobody else is there.
//! - Passwords are kept as digests; comparing digests tells nothing about a password.

mod doorkeeper;
mod refusal;

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};
use tidegate_shared::claim;
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::topic::{PREFIX, Topic, device_client_id};

use crate::session::OpenClaim;

pub use doorkeeper::Doorkeeper;
pub use refusal::{LastRefusal, REFUSALS_MAX, Refusal, RefusalCounts, Speaker, Why};

/// The gateway's own user; no device may have this name.
pub const GATEWAY_USER: &str = "tidegate-gateway";

/// A password, as the digest it is compared by.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; 32]);

impl Password {
    /// Of a text; the text is not kept.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// A device's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// It may connect with any of these: one, or two while its key is rotated.
    Open(Vec<Password>),
    /// It may not.
    Revoked,
}

impl FromIterator<Password> for Account {
    /// Revoked when there is no password.
    fn from_iter<I: IntoIterator<Item = Password>>(passwords: I) -> Self {
        let passwords: Vec<Password> = passwords.into_iter().collect();
        if passwords.is_empty() {
            Self::Revoked
        } else {
            Self::Open(passwords)
        }
    }
}

/// Who may connect.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Access {
    /// Devices.
    pub accounts: Accounts,
    /// Who may become one, a claim each.
    pub admissions: Vec<Admission>,
    /// Whether also devices without an account may connect, under their own names.
    pub is_open: bool,
}

/// Whom an open claim lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Made of its code.
    pub password: Password,
    /// The claim.
    pub claim: OpenClaim,
}

/// Which devices may connect.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Anyone.
    #[default]
    Everyone,
    /// Who has an account.
    Registered(BTreeMap<DeviceName, Account>),
}

impl FromIterator<(DeviceName, Account)> for Accounts {
    fn from_iter<I: IntoIterator<Item = (DeviceName, Account)>>(accounts: I) -> Self {
        Self::Registered(accounts.into_iter().collect())
    }
}

impl FromIterator<(DeviceName, Account)> for Access {
    /// For nobody else.
    fn from_iter<I: IntoIterator<Item = (DeviceName, Account)>>(accounts: I) -> Self {
        Self {
            accounts: accounts.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What a client says of itself as it connects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claim<'a> {
    /// Client id; the broker's own choice where it gave none.
    pub client_id: &'a str,
    /// User name.
    pub user: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// The will's topic.
    pub will: Option<&'a str>,
    /// The device names in its verified certificate, where one is demanded.
    pub certified: Option<&'a [DeviceName]>,
    /// Whether it came by the inner listener.
    pub inside: bool,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Anyone, while everyone may connect.
    Stranger,
    /// The gateway.
    Gateway,
    /// Who says that it is this device, which has no account, while such are let in.
    Plain {
        /// Its name.
        name: DeviceName,
    },
    /// A device.
    Device {
        /// Its name.
        name: DeviceName,
        /// How it proved that.
        proof: Proof,
    },
    /// Who has a claim's code.
    Claimant {
        /// The name that it wants or just got.
        name: DeviceName,
        /// The claim's password.
        password: Password,
    },
}

/// How a device proved its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It knows this password.
    Password(Password),
    /// It has a certificate.
    Certificate,
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Who that was.
    pub who: Speaker,
    /// Why not.
    pub why: Why,
}

impl Access {
    /// Whether an identity that was let in once still is.
    pub fn still_admits(&self, identity: &Identity) -> bool {
        match (&self.accounts, identity) {
            (_, Identity::Claimant { name, password }) => self.admits(name, password),
            (_, Identity::Gateway) | (Accounts::Everyone, _) => true,
            (Accounts::Registered(_), Identity::Stranger) => false,
            (Accounts::Registered(accounts), Identity::Plain { name }) => {
                self.is_open && !accounts.contains_key(name)
            }
            (Accounts::Registered(accounts), Identity::Device { name, proof }) => {
                match (accounts.get(name), proof) {
                    (Some(Account::Open(passwords)), Proof::Password(one)) => {
                        passwords.contains(one)
                    }
                    (Some(Account::Open(_)), Proof::Certificate) => true,
                    (None, Proof::Certificate) => self.is_open,
                    (Some(Account::Revoked), _) | (None, Proof::Password(_)) => false,
                }
            }
        }
    }

    /// Whether a claim lets somebody with this password in under this name.
    fn admits(&self, name: &DeviceName, password: &Password) -> bool {
        let is_known = match &self.accounts {
            Accounts::Everyone => false,
            Accounts::Registered(accounts) => accounts.contains_key(name),
        };
        let mut admissions = self.admissions.iter();
        admissions.any(|one| one.password == *password && one.claim.admits(name, is_known))
    }

    /// Who comes by a claim's code.
    fn claimant(&self, name: &DeviceName, password: Option<&[u8]>) -> Option<Identity> {
        let password = Password::of(password?);
        let name = name.clone();
        self.admits(&name, &password)
            .then_some(Identity::Claimant { name, password })
    }

    /// Who a client is that came from outside, its client id and will not yet looked at.
    fn prove(&self, site: &SiteName, claim: &Claim<'_>) -> Result<Identity, Denial> {
        if let Some(names) = claim.certified {
            return self.prove_certified(site, claim, names);
        }
        let named = claim.user.and_then(|user| DeviceName::try_from(user).ok());
        let claimant = named.as_ref();
        if let Some(claimant) = claimant.and_then(|name| self.claimant(name, claim.password)) {
            return Ok(claimant);
        }
        let Accounts::Registered(accounts) = &self.accounts else {
            return Ok(Identity::Stranger);
        };
        let claimed = named.clone().or_else(|| claimed_by(site, claim.client_id));
        if let Some(plain) = self.plain(accounts, claimed.as_ref()) {
            return Ok(plain);
        }
        let denied = |why| {
            let who = claimed.map_or(Speaker::Unknown, Speaker::Claimed);
            Err(Denial { who, why })
        };
        let (Some(name), Some(password)) = (&named, claim.password) else {
            return denied(Why::NoPassword);
        };
        match accounts.get(name) {
            None => denied(Why::UnknownDevice),
            Some(Account::Revoked) => denied(Why::Revoked),
            Some(Account::Open(passwords)) => {
                let given = Password::of(password);
                if passwords.contains(&given) {
                    Ok(Identity::Device {
                        name: name.clone(),
                        proof: Proof::Password(given),
                    })
                } else {
                    denied(Why::WrongPassword)
                }
            }
        }
    }

    /// Who comes as a device that has no account, where such are let in.
    fn plain(
        &self,
        accounts: &BTreeMap<DeviceName, Account>,
        name: Option<&DeviceName>,
    ) -> Option<Identity> {
        let name = name.filter(|name| self.is_open && !accounts.contains_key(*name))?;
        Some(Identity::Plain { name: name.clone() })
    }

    /// As above; the certificate proves the name, and the client id says which where it has more.
    fn prove_certified(
        &self,
        site: &SiteName,
        claim: &Claim<'_>,
        names: &[DeviceName],
    ) -> Result<Identity, Denial> {
        let Some(first) = names.first() else {
            return Err(Denial {
                who: Speaker::Unknown,
                why: Why::NamelessCertificate,
            });
        };
        let is_meant = |name: &&DeviceName| device_client_id(site, name) == claim.client_id;
        let name = names.iter().find(is_meant).unwrap_or(first);
        let denied = |why| {
            Err(Denial {
                who: Speaker::Proved(name.clone()),
                why,
            })
        };
        if claim.user.is_some_and(|user| user != name.as_str()) {
            return denied(Why::ForeignName);
        }
        if let Some(claimant) = self.claimant(name, claim.password) {
            return Ok(claimant);
        }
        if let Accounts::Registered(accounts) = &self.accounts {
            match accounts.get(name) {
                None if self.is_open => {}
                None => return denied(Why::UnknownDevice),
                Some(Account::Revoked) => return denied(Why::Revoked),
                Some(Account::Open(_)) => {}
            }
        }
        Ok(Identity::Device {
            name: name.clone(),
            proof: Proof::Certificate,
        })
    }
}

impl Identity {
    /// Whether it may publish to a topic.
    pub fn may_publish(&self, site: &SiteName, topic: &str) -> bool {
        match self {
            Self::Stranger => true,
            Self::Gateway => is_of_site(site, topic),
            Self::Device { name, .. } | Self::Plain { name } => matches!(
                Topic::parse(site, topic),
                Ok(Topic::Up(device) | Topic::Status(device)) if device == *name
            ),
            Self::Claimant { name, .. } => {
                matches!(Topic::parse(site, topic), Ok(Topic::Up(device)) if device == *name)
            }
        }
    }

    /// Whether it may say this, whatever the topic: a claimant has one word.
    pub fn may_say(&self, payload: &[u8]) -> bool {
        !matches!(self, Self::Claimant { .. }) || claim::claim_id(payload).is_ok()
    }

    /// Whether it may subscribe to a filter. No wildcard is a device's: the filter must be one of
    /// its two topics.
    pub fn may_subscribe(&self, site: &SiteName, filter: &str) -> bool {
        match self {
            Self::Stranger => true,
            Self::Gateway => is_of_site(site, filter),
            Self::Device { name, .. } | Self::Plain { name } | Self::Claimant { name, .. } => {
                match Topic::parse(site, filter) {
                    Ok(Topic::Down(device)) => device == *name,
                    Ok(Topic::Gateway) => true,
                    _ => false,
                }
            }
        }
    }

    /// Why it is not let through any more, once the access in force does not admit it.
    pub fn lapsed(&self) -> Why {
        match self {
            Self::Stranger | Self::Plain { .. } => Why::NoPassword,
            _ => Why::Revoked,
        }
    }

    /// Who that is in a refusal.
    pub fn speaker(&self) -> Speaker {
        match self {
            Self::Device { name, .. } => Speaker::Proved(name.clone()),
            // Anybody may say it; and a claim's code is that of a whole batch.
            Self::Plain { name } | Self::Claimant { name, .. } => Speaker::Claimed(name.clone()),
            Self::Stranger | Self::Gateway => Speaker::Unknown,
        }
    }
}

/// The device that a client id names, where it has that form. Anybody may say it.
pub fn claimed_by(site: &SiteName, client_id: &str) -> Option<DeviceName> {
    let rest = client_id.strip_prefix("tidegate-")?;
    let name = rest.strip_prefix(site.as_str())?.strip_prefix('-')?;
    DeviceName::try_from(name).ok()
}

fn is_of_site(site: &SiteName, topic: &str) -> bool {
    topic
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix(site.as_str()))
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod claimant_tests;
#[cfg(test)]
mod tests;
