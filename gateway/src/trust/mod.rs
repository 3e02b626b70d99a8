//! Trust: registry and audit log as one, so that nothing is done that is not noted.
//!
//! ```text
//! order ──► registrar ──registry.next──► audit log ──► keys in force ──► registry
//!                          durable         durable, decides
//! ```
//! Invariants:
//! 1. A key is in force only if the audit log has its issue and not its end, whatever the
//!    registry says.
//! 2. Both are sealed under one key, `security.key`, and so is the secret by which this gateway is
//!    a witness of others. Without it there is none of them, and nothing that would have to be
//!    noted there can be ordered.
//! 3. Who is in quarantine is what the audit log says.
//! 4. An audit log or a registry that is gone is not begun anew.
//! 5. A device enrols by a claim only if the audit log has its opening and not its end.
//!
//! The same is done by the running gateway and, on the files of a stopped one, by a command.

mod acts;
#[cfg(test)]
mod claim_tests;
mod claims;
mod signing;
#[cfg(test)]
mod tests;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use tidegate_shared::claim::ClaimId;
use tidegate_shared::ids::DeviceName;
use tidegate_shared::seal::Key;

use crate::at_rest::{self, KEY_HELP};
use crate::audit::{self, Act, AuditError, Entry, Log, Who};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::identity::{self, IdentityUnwritten};
use crate::registry::registrar::OrderError;
use crate::registry::store::StoreError;
use crate::registry::{Answer, Auditor, Order, Registrar, Registry, RegistryAct, RegistryError};
use crate::rules::settings::{SecuritySettings, Settings};
use crate::session::{DeviceKey, Keyring, Ruling, Turn};
use crate::time::Timestamp;

pub use self::witnessing::{WITNESS_SEED, WitnessSeed, witness_signer};

/// File of the audit log's signing key, sealed.
pub const SEED: &str = "audit-key";

/// Why registry and audit log are not to be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The key that they are sealed under.
    #[error("registry and audit log cannot be opened; nothing was changed")]
    Key(#[from] at_rest::key::KeyError),
    /// The gateway's identity.
    #[error(transparent)]
    Identity(#[from] IdentityUnwritten),
    /// The registry's file.
    #[error(transparent)]
    Registry(#[from] StoreError),
    /// The signing key's file.
    #[error(transparent)]
    Seed(#[from] at_rest::file::FileError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// There is an audit log, and no key to sign it with.
    #[error(
        "the data directory has an audit log, and its signing key ({SEED}) is gone: nothing was changed; bring the file back from a backup"
    )]
    NoSeed,
    /// There is a key to sign an audit log that was begun, and no log.
    #[error(
        "the audit log is gone (audit/ in the data directory), and by a new one no device's key would be valid: nothing was changed; bring audit/ back from a backup"
    )]
    LogGone,
    /// The log tells of devices, and there is no registry.
    #[error(
        "the registry is gone (registry in the data directory), and by the audit log {devices} devices were given keys: nothing was changed; bring the file back from a backup. Without one, move audit/ and audit-key away too, and give every device a key anew"
    )]
    RegistryGone {
        /// How many had keys once.
        devices: usize,
    },
    /// The signing key's file opens, and holds none.
    #[error(
        "what {SEED} in the data directory holds is no signing key: nothing was changed; bring the file back from a backup"
    )]
    SeedUnsound,
    /// There is no key to seal the witness's secret under.
    #[error(
        "a witness's secret is sealed under security.key, and the configuration names none: nothing was cosigned or changed; {KEY_HELP}"
    )]
    NoKeyForWitness,
    /// A secret was given, and the witness has another.
    #[error(
        "this gateway's witness has a secret ({WITNESS_SEED} in the data directory), and the one given is another: nothing was cosigned or changed; leave --seed out"
    )]
    OtherWitnessSeed,
    /// The gateway has been a witness, and its secret is gone.
    #[error(
        "this gateway knows the audit logs of others (witness/ in the data directory), and its secret as their witness ({WITNESS_SEED}) is gone: nothing was cosigned or changed; bring the file back from a backup, or give the secret with --seed if it stands in a file"
    )]
    WitnessSeedGone,
    /// The witness's file opens, and holds no secret.
    #[error(
        "what {WITNESS_SEED} in the data directory holds is no secret of a witness: nothing was cosigned or changed; bring the file back from a backup"
    )]
    WitnessSeedUnsound,
    /// The system has no entropy.
    #[error("the system has no random numbers; nothing was changed")]
    Random(#[source] getrandom::Error),
}

/// Whose registry and log these are.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The site.
    pub site: &'a str,
    /// The gateway's id.
    pub gateway: u64,
    /// Its start counter; of a stopped gateway its last one.
    pub start: u32,
}

/// Registry and audit log.
pub struct Trust {
    registrar: Registrar,
    notes: Notes,
    settings: SecuritySettings,
    /// Valid for one start; those of earlier ones are in the log.
    held: BTreeMap<DeviceName, Option<i64>>,
    /// Claims that the log does not say are open.
    unsaid: BTreeSet<ClaimId>,
}

/// The audit log, if there is one.
struct Notes {
    log: Option<Log>,
    /// What it amounts to; none after a failure, until it was read again.
    standing: Option<audit::Standing>,
    start: u32,
    now: Timestamp,
    who: Who,
    /// The key that a rotation is to end.
    retires: u8,
}

impl Trust {
    /// Opens both; makes the audit log where there is a key and none yet.
    ///
    /// # Errors
    /// They cannot be opened, or do not verify: nothing was changed.
    pub fn open(
        disk: &Arc<dyn Disk>,
        settings: &SecuritySettings,
        whose: Whose<'_>,
    ) -> Result<Self, TrustError> {
        let at_rest = settings.key.as_ref().map(at_rest::key::read).transpose()?;
        let registrar = Registrar::open(Arc::clone(disk), at_rest.clone())?;
        let log = match &at_rest {
            Some(at_rest) => Some(signing::open_log(disk, at_rest, whose)?),
            None => None,
        };
        let mut trust = Self {
            registrar,
            notes: Notes {
                log,
                standing: None,
                start: whose.start,
                now: Timestamp::default(),
                who: Who::Gateway,
                retires: 0,
            },
            settings: settings.clone(),
            held: BTreeMap::new(),
            unsaid: BTreeSet::new(),
        };
        trust.settle()?;
        let standing = trust.notes.standing()?;
        let devices = standing.devices_ever();
        if devices > 0 && !trust.registrar.has_file() {
            return Err(TrustError::RegistryGone { devices });
        }
        trust.held = standing.held();
        trust.unsaid = claims::unsaid(trust.registrar.registry(), standing);
        Ok(trust)
    }

    /// Reads the log again where it is not known what it says, and has the registry be what that is.
    fn settle(&mut self) -> Result<(), TrustError> {
        let standing = self.notes.standing()?;
        if self.registrar.is_unsettled() {
            self.registrar.settle(|registry| agree(registry, standing));
        }
        Ok(())
    }

    /// Opens both for a command that holds the data directory of a stopped gateway; one that never
    /// ran is given its id.
    ///
    /// # Errors
    /// As [`Trust::open`], or the gateway's identity cannot be written.
    pub fn of_stopped(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<Self, TrustError> {
        let drawn = getrandom::u64().map_err(TrustError::Random)?;
        let identity = identity::known(disk, drawn)?;
        let whose = Whose {
            site: settings.site.as_str(),
            gateway: identity.gateway,
            start: identity.start,
        };
        Self::open(disk, &settings.security, whose)
    }

    /// Whether acts are noted.
    pub fn is_noted(&self) -> bool {
        self.notes.log.is_some()
    }

    /// The keys in force. What the registry has and the log does not is told and left out.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn keyring(&mut self) -> Result<Keyring, TrustError> {
        self.settle()?;
        let standing = self.notes.standing()?;
        let registry = self.registrar.registry();
        let devices = registry.devices().map(|(name, device)| {
            let keys = device.live().iter().filter(|live| {
                let mark = live.mark(name);
                let fingerprint = mark.fingerprint.to_string();
                let is_valid = standing.is_valid(name.as_str(), live.id, &fingerprint);
                if !is_valid {
                    tracing::error!(
                        device = %name,
                        key = live.id,
                        "the registry has a key that the audit log does not say is valid: it is not used; if nobody changed the files, issue another with tidegate device rotate"
                    );
                }
                is_valid
            });
            let keys = keys.map(|live| DeviceKey {
                id: live.id,
                key: Key::new(*live.key.bytes()),
                confirmed: device.confirmed() == Some(live.id),
            });
            (name.clone(), keys.collect())
        });
        Ok(Keyring {
            devices: devices.collect(),
            // A registry that was put back to before its first device opens nothing.
            frames: self
                .settings
                .frames(!registry.is_empty() || standing.devices_ever() > 0),
            claims: claims::of(registry, standing),
        })
    }

    /// Devices that the log says are in quarantine, each with its end.
    pub fn held(&self) -> &BTreeMap<DeviceName, Option<i64>> {
        &self.held
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// It cannot be, or not be noted: nothing was changed.
    pub fn carry_out(
        &mut self,
        now: Timestamp,
        who: Who,
        order: &Order,
    ) -> Result<Answer, OrderError> {
        self.begin(now, who);
        // What was not settled is told by the registrar, to who would change it.
        let _ = self.settle();
        match order {
            Order::Release(device) => {
                let shown = self
                    .registrar
                    .carry_out(order, now.wall_us, &mut self.notes)?;
                if !self.held.contains_key(device) {
                    return Err(RegistryError::NotHeld {
                        device: device.clone(),
                    }
                    .into());
                }
                let device_name = device.as_str().to_owned();
                self.note(Act::DeviceReleased {
                    device: device_name,
                })
                .map_err(|source| OrderError::NotNoted { source })?;
                self.held.remove(device);
                return Ok(shown);
            }
            Order::Rotate(device) => {
                let current = self.registrar.registry().get(device);
                let current = current.and_then(|device| device.current());
                self.notes.retires = current.map_or(0, |key| key.id);
            }
            _ => {}
        }
        let done = self
            .registrar
            .carry_out(order, now.wall_us, &mut self.notes);
        match (&done, order) {
            (Ok(_), Order::Rename { from, .. }) => {
                self.held.remove(from);
            }
            (Ok(_), _) => {}
            (Err(_), _) => self.look_again(),
        }
        done
    }

    /// A frame under this key is on disk; whether other keys are in force since.
    ///
    /// # Errors
    /// It could not be noted or written: both keys stay in force.
    pub fn confirm(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        key_id: u8,
    ) -> Result<bool, OrderError> {
        self.begin(now, Who::Gateway);
        let _ = self.settle();
        self.registrar.confirm(device, key_id, &mut self.notes)
    }

    /// Notes what became of a device that offended.
    ///
    /// # Errors
    /// It could not be noted: a restart does not know of it.
    pub fn rule(
        &mut self,
        now: Timestamp,
        ruling: &Ruling,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        if ruling.turn == Turn::Suspected {
            return Ok(());
        }
        let device = ruling.device.as_str().to_owned();
        let act = if ruling.is_over {
            if self.held.remove(&ruling.device).is_none() {
                // A person released it, which is noted.
                return Ok(());
            }
            Act::DeviceReleased { device }
        } else {
            self.held.insert(ruling.device.clone(), ruling.until_us);
            let why = ruling.why.iter();
            let why: Vec<String> = why
                .map(|(reason, count)| format!("{} {count}", reason.name()))
                .collect();
            Act::DeviceQuarantined {
                device,
                why: why.join(", "),
                until_us: ruling.until_us,
            }
        };
        self.begin(now, Who::Gateway);
        self.note(act)
    }

    /// Notes an act that is done elsewhere.
    ///
    /// # Errors
    /// It could not be noted.
    pub fn note_of(
        &mut self,
        now: Timestamp,
        who: Who,
        act: Act,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.begin(now, who);
        self.note(act)
    }

    /// The audit log's newest checkpoint, as it goes upstream; none without a log.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, TrustError> {
        let Some(log) = &self.notes.log else {
            return Ok(None);
        };
        let signed = log.snapshot()?.into_signed();
        let note = String::from_utf8(signed.to_bytes()).ok();
        Ok(note.map(|note| Checkpoint {
            entries: signed.size(),
            note,
        }))
    }

    /// How many entries the audit log has; none without one, and after a failure until the next
    /// act.
    pub fn entries(&self) -> Option<u64> {
        self.notes.log.as_ref().and_then(Log::size)
    }

    fn begin(&mut self, now: Timestamp, who: Who) {
        self.notes.now = now;
        self.notes.who = who;
    }

    fn note(&mut self, act: Act) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.notes.append(vec![act])
    }
}

/// Whether a registry is what the log says: these keys, and these claims open.
fn agree(registry: &Registry, standing: &audit::Standing) -> bool {
    let marks = registry.devices().flat_map(|(name, device)| {
        let marks = device.live().iter().map(|live| live.mark(name));
        marks.map(|mark| (name.as_str(), mark.id, mark.fingerprint.to_string()))
    });
    let valid = standing.keys();
    let valid = valid.map(|(device, id, fingerprint)| (device, id, fingerprint.to_owned()));
    let open = registry.claims();
    let open = open.filter(|(_, claim)| claim.ended().is_none());
    let open: BTreeSet<String> = open.map(|(id, _)| id.to_string()).collect();
    marks.collect::<BTreeSet<_>>() == valid.collect::<BTreeSet<_>>()
        && open.iter().map(String::as_str).eq(standing.claims())
}

impl Notes {
    fn append(&mut self, acts: Vec<Act>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let entries = acts.into_iter();
        let entries = entries.map(|act| Entry::new(self.now, self.start, self.who.clone(), act));
        let entries: Vec<Entry> = entries.collect();
        let standing = self.standing.take();
        log.append_all(&entries)?;
        self.standing = standing.map(|mut standing| {
            for entry in &entries {
                standing.take(&entry.act);
            }
            standing
        });
        Ok(())
    }

    /// What the log amounts to; it is read where that is not known.
    fn standing(&mut self) -> Result<&audit::Standing, TrustError> {
        let standing = match (self.standing.take(), &self.log) {
            (Some(standing), _) => standing,
            (None, Some(log)) => log.standing()?,
            (None, None) => audit::Standing::default(),
        };
        Ok(self.standing.insert(standing))
    }
}

impl Auditor for Notes {
    fn note(&mut self, acts: &[RegistryAct]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let acts = acts.iter().flat_map(|act| acts::of(act, self.retires));
        self.append(acts.collect())
    }
}
