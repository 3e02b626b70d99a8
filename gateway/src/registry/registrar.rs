//! Registrar: holds the registry and its file, and carries out what is ordered.
//!
//! ```text
//! order ──► a copy of the registry, changed ──► registry.next, durable ──► noted by the auditor
//!       ──► in force ──► registry
//! ```
//! What is noted is done, and what is not noted is not: a key that was noted as issued is on disk
//! already, and of a registry that waits for its place the log of acts says whether it is the one
//! ([`Registrar::settle`]).

use std::error::Error;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tidegate_shared::claim::{self, ClaimId, Claimant, Secret};
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::seal;
use zeroize::Zeroizing;

use super::order::{Answer, Exported, Issued, Login, Opened, Order, Shown, ShownClaim};
use super::store::{self, StoreError};
use super::{
    ClaimWish, Confirmation, Device, Enrolment, Key, Registry, RegistryAct, RegistryError,
};
use crate::at_rest::{self, AtRest, KEY_HELP};
use crate::causes;
use crate::disk::Disk;
use crate::entry::Uncounted;
use crate::rules::settings::SecuritySettings;

/// Notes acts where nobody can take them back.
pub trait Auditor {
    /// Notes all of these acts, durably, or none of them.
    ///
    /// # Errors
    /// They could not be noted; then they are not done.
    fn note(&mut self, acts: &[RegistryAct]) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Notes nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unaudited;

impl Auditor for Unaudited {
    fn note(&mut self, _: &[RegistryAct]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It cannot be.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to seal the registry under.
    #[error(
        "there is no key to keep device keys under, so none was made and nothing was changed: {KEY_HELP}"
    )]
    NoKey,
    /// What became of the order before it is not known.
    #[error(
        "whether the order before this was noted in the audit log is not known, so nothing was changed: see the data directory's disk, and try again"
    )]
    Unsettled,
    /// It could not be noted.
    #[error("it could not be noted in the audit log, so nothing was changed")]
    NotNoted {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What answers a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What the device is to be told.
    pub grant: Vec<u8>,
    /// Whether its key is one that was not in force before.
    pub is_new: bool,
}

/// Why a device was not enrolled by what it asked.
#[derive(Debug, thiserror::Error)]
pub enum NotEnrolled {
    /// It is not to be: counted as this.
    #[error("the claim was refused: {}", .0.name())]
    Refused(Uncounted),
    /// It could not be.
    #[error(transparent)]
    Failed(#[from] OrderError),
}

/// The registry and its file.
pub struct Registrar {
    disk: Arc<dyn Disk>,
    at_rest: Option<AtRest>,
    registry: Registry,
    waiting: Waiting,
}

/// What became of the registry that was prepared last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// There is none, or it is in its place.
    Nothing,
    /// It is in force, and not in its place yet.
    Place,
    /// Whether it was noted is not known: the log of acts has to be looked at.
    Word,
}

impl Registrar {
    /// Reads the registry of a data directory. Without a key there can be none, and none is made.
    pub fn open(disk: Arc<dyn Disk>, at_rest: Option<AtRest>) -> Result<Self, StoreError> {
        let registry = store::read(&disk, at_rest.as_ref())?;
        let waiting = if store::is_prepared(&disk) {
            Waiting::Word
        } else {
            Waiting::Nothing
        };
        Ok(Self {
            disk,
            at_rest,
            registry,
            waiting,
        })
    }

    /// Whether it has to be looked at the log of acts before anything is changed.
    pub fn is_unsettled(&self) -> bool {
        self.waiting == Waiting::Word
    }

    /// Takes a registry that was prepared, if it is what the log of acts says; else drops it.
    pub fn settle(&mut self, is_noted: impl Fn(&Registry) -> bool) {
        // Without a key it cannot be looked at, and nothing can be ordered.
        let Some(at_rest) = &self.at_rest else { return };
        let prepared = store::prepared(&self.disk, at_rest);
        if let Some(noted) = prepared.filter(is_noted) {
            self.registry = noted;
            self.waiting = Waiting::Place;
            self.place();
        } else {
            store::discard(&self.disk);
            self.waiting = Waiting::Nothing;
        }
    }

    /// Whether there is a file of it, or one that waits for its place.
    pub fn has_file(&self) -> bool {
        store::is_there(&self.disk) || self.waiting == Waiting::Place
    }

    /// Reads the registry of a data directory, under the key that the configuration names.
    pub fn configured(
        disk: Arc<dyn Disk>,
        security: &SecuritySettings,
    ) -> Result<Self, StoreError> {
        let key = security.key.as_ref();
        let at_rest = key.map(at_rest::key::read).transpose()?;
        Self::open(disk, at_rest)
    }

    /// The registry as it is in force.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Carries an order out; `now_us` is UTC by the gateway's clock.
    pub fn carry_out(
        &mut self,
        order: &Order,
        now_us: i64,
        auditor: &mut dyn Auditor,
    ) -> Result<Answer, OrderError> {
        match order {
            Order::List => {
                let devices = self.registry.devices();
                let shown = devices.map(|(name, device)| Shown::of(name, device));
                Ok(Answer::Listed(shown.collect()))
            }
            Order::Show(device) | Order::Release(device) => self.shown(device),
            Order::Add(device) => {
                let key = self.draw()?;
                self.change(auditor, |registry| registry.add(device, key, now_us))?;
                self.issued(device)
            }
            Order::Rotate(device) => {
                let key = self.draw()?;
                self.change(auditor, |registry| registry.rotate(device, key, now_us))?;
                self.issued(device)
            }
            Order::Revoke(device) => {
                self.change(auditor, |registry| registry.revoke(device, now_us))?;
                self.shown(device)
            }
            Order::Rename { from, to } => {
                let key = self.draw()?;
                self.change(auditor, |registry| registry.rename((from, to), key, now_us))?;
                self.issued(to)
            }
            Order::Logins => self.logins(auditor),
            Order::Export { key } => self.export(key.as_ref(), auditor),
            Order::Import { key, replace } => self.import(key.as_ref(), *replace, auditor),
            Order::OpenClaim(wish) => self.open_claim(wish, now_us, auditor),
            Order::Claims => Ok(Answer::ClaimsListed(self.claims(now_us))),
            Order::CloseClaim(id) => {
                let id = ClaimId(*id);
                self.change(auditor, |registry| registry.close_claim(id, now_us))?;
                Ok(Answer::ClaimClosed(self.shown_claim(id, now_us)?))
            }
        }
    }

    /// Takes note that a frame under a key of a device is durable; whether its keys are
    /// others now.
    ///
    /// That a key was heard comes to the file with the next change: a start that forgot it learns
    /// it from the next frame, and a plant whose devices all appear at once writes nothing.
    pub fn confirm(
        &mut self,
        device: &DeviceName,
        key_id: u8,
        auditor: &mut dyn Auditor,
    ) -> Result<bool, OrderError> {
        let known = self.registry.get(device);
        if known.is_some_and(|known| known.confirmed() == Some(key_id)) {
            return Ok(false);
        }
        let is_next = known
            .and_then(Device::next)
            .is_some_and(|next| next.id == key_id);
        if !is_next && !self.registry.is_waiting(device) {
            return Ok(self.registry.confirm(device, key_id)? != Confirmation::Same);
        }
        let mut next = self.registry.clone();
        let confirmation = next.confirm(device, key_id)?;
        // Nobody else is to enrol under its name, whatever a restart forgets.
        next.settle(device);
        match confirmation {
            Confirmation::Same => return Ok(false),
            Confirmation::Heard => self.take(next, &[], auditor)?,
            Confirmation::Retired(act) => self.take(next, &[act], auditor)?,
        }
        Ok(true)
    }

    /// Enrols a device by a claim, and makes the grant that answers it. Nothing is changed when the
    /// same claim comes again: it gets the same key.
    ///
    /// # Errors
    /// It is refused, or could not be carried out; nothing was changed.
    pub fn claim(
        &mut self,
        (site, device): (&SiteName, &DeviceName),
        claim: &[u8],
        now_us: i64,
        auditor: &mut dyn Auditor,
    ) -> Result<Granted, NotEnrolled> {
        let refused = NotEnrolled::Refused;
        let id = claim::claim_id(claim).map_err(|_| refused(Uncounted::ClaimForged))?;
        let code = self.registry.takes_asks(id, now_us).map_err(refused)?;
        let claimant = Claimant {
            code: &code,
            site,
            device,
        };
        let asked = claimant.asked(claim);
        let asked = asked.map_err(|_| refused(Uncounted::ClaimForged))?;
        let (key, secret) = (self.draw()?, self.draw()?);
        let mut next = self.registry.clone();
        let enrolled = next.enrol(id, device, &asked, key, now_us);
        let Enrolment { key_id, key, acts } = enrolled.map_err(refused)?;
        let (secret, key) = (Secret::new(*secret.bytes()), seal::Key::new(*key.bytes()));
        // Before anything is kept: a public key that nobody draws gets no grant.
        let grant = claimant.grant(&asked, &secret, key_id, &key);
        let grant = grant.map_err(|_| refused(Uncounted::ClaimForged))?;
        let is_new = !acts.is_empty();
        if is_new {
            self.take(next, &acts, auditor)?;
        }
        Ok(Granted {
            grant: grant.to_vec(),
            is_new,
        })
    }

    /// Ends the claims that are due; whether there were any.
    ///
    /// # Errors
    /// It could not be noted or written: they are as they were, and take nobody all the same.
    pub fn end_claims(
        &mut self,
        now_us: i64,
        auditor: &mut dyn Auditor,
    ) -> Result<bool, OrderError> {
        if !self.registry.has_claims_due(now_us) {
            return Ok(false);
        }
        let mut next = self.registry.clone();
        let acts = next.end_claims(now_us);
        self.take(next, &acts, auditor)?;
        Ok(true)
    }

    fn open_claim(
        &mut self,
        wish: &ClaimWish,
        now_us: i64,
        auditor: &mut dyn Auditor,
    ) -> Result<Answer, OrderError> {
        let code = self.draw()?;
        let id = getrandom::u32().map_err(StoreError::Random)?;
        let (kept, claim) = (code.clone(), ClaimId(id));
        self.change(auditor, |registry| {
            registry.open_claim(claim, kept, wish, now_us)
        })?;
        let claim = self.shown_claim(claim, now_us)?;
        Ok(Answer::ClaimOpened(Opened { id, code, claim }))
    }

    fn claims(&self, now_us: i64) -> Vec<ShownClaim> {
        let claims = self.registry.claims();
        let mut claims: Vec<_> = claims
            .map(|(id, claim)| (claim.opened_us(), ShownClaim::of(id, claim, now_us)))
            .collect();
        claims.sort_by_key(|(opened_us, _)| std::cmp::Reverse(*opened_us));
        claims.into_iter().map(|(_, claim)| claim).collect()
    }

    fn shown_claim(&self, id: ClaimId, now_us: i64) -> Result<ShownClaim, OrderError> {
        let claim = self.registry.claim(id);
        let claim = claim.ok_or(RegistryError::UnknownClaim { claim: id })?;
        Ok(ShownClaim::of(id, claim, now_us))
    }

    fn draw(&self) -> Result<Key, OrderError> {
        self.key_at_rest()?;
        Key::draw().map_err(|why| StoreError::Random(why).into())
    }

    fn key_at_rest(&self) -> Result<&AtRest, OrderError> {
        self.at_rest.as_ref().ok_or(OrderError::NoKey)
    }

    /// Changes a copy, and takes it when that is noted.
    fn change(
        &mut self,
        auditor: &mut dyn Auditor,
        change: impl FnOnce(&mut Registry) -> Result<RegistryAct, RegistryError>,
    ) -> Result<(), OrderError> {
        let mut next = self.registry.clone();
        let act = change(&mut next)?;
        self.take(next, &[act], auditor)
    }

    fn take(
        &mut self,
        next: Registry,
        acts: &[RegistryAct],
        auditor: &mut dyn Auditor,
    ) -> Result<(), OrderError> {
        match self.waiting {
            Waiting::Nothing => {}
            // It is the only copy of what is in force.
            Waiting::Place => store::commit(&self.disk)?,
            Waiting::Word => return Err(OrderError::Unsettled),
        }
        self.waiting = Waiting::Nothing;
        store::prepare(&self.disk, self.key_at_rest()?, &next)?;
        self.waiting = Waiting::Word;
        note(auditor, acts)?;
        self.registry = next;
        self.waiting = Waiting::Place;
        self.place();
        Ok(())
    }

    /// Puts what is in force in its place. Where that fails a start does it, or the next order.
    fn place(&mut self) {
        match store::commit(&self.disk) {
            Ok(()) => self.waiting = Waiting::Nothing,
            Err(why) => tracing::error!(
                why = causes::told(&why),
                "the registry is in force and durable, but not in its place: see the data directory's disk; the next order or start puts it there"
            ),
        }
    }

    fn shown(&self, device: &DeviceName) -> Result<Answer, OrderError> {
        let found = self.registry.get(device);
        let found = found.ok_or_else(|| self.registry.unknown(device))?;
        Ok(Answer::Shown(Shown::of(device, found)))
    }

    /// The key that goes into a device.
    fn issued(&self, device: &DeviceName) -> Result<Answer, OrderError> {
        let found = self.registry.get(device);
        let newest = found.and_then(|found| found.newest());
        let newest = newest.ok_or_else(|| self.registry.unknown(device))?;
        Ok(Answer::Issued(Issued {
            device: device.clone(),
            mark: newest.mark(device),
            key: newest.key.clone(),
        }))
    }

    /// A broker knows one password per device: that of the key which the device has.
    fn logins(&self, auditor: &mut dyn Auditor) -> Result<Answer, OrderError> {
        let devices = self.registry.devices();
        let logins = devices.filter_map(|(name, device)| {
            let key = device.current()?.key.bytes();
            let password = seal::Key::new(*key).password();
            Some(Login {
                device: name.clone(),
                password: format!("{:032x}", u128::from_be_bytes(password)),
            })
        });
        let logins: Vec<Login> = logins.collect();
        let devices = logins.len() as u64;
        note(auditor, &[RegistryAct::Exported { devices }])?;
        Ok(Answer::Logins(logins))
    }

    fn export(&self, key: Option<&Key>, auditor: &mut dyn Auditor) -> Result<Answer, OrderError> {
        let sealed = store::export(&self.under(key)?, &self.registry)?;
        let devices = self.registry.devices().len() as u64;
        note(auditor, &[RegistryAct::Exported { devices }])?;
        let sealed = BASE64_STANDARD.encode(sealed);
        Ok(Answer::Exported(Exported { devices, sealed }))
    }

    fn import(
        &mut self,
        key: Option<&Key>,
        replace: bool,
        auditor: &mut dyn Auditor,
    ) -> Result<Answer, OrderError> {
        self.key_at_rest()?;
        let other = store::incoming(&self.disk, &self.under(key)?)?;
        let mut next = self.registry.clone();
        let (imported, acts) = next.import(&other, replace)?;
        if next != self.registry {
            self.take(next, &acts, auditor)?;
        }
        Ok(Answer::Imported(imported))
    }

    /// Seals under a key that was given, or the registry's own.
    fn under(&self, key: Option<&Key>) -> Result<AtRest, OrderError> {
        match key {
            Some(key) => Ok(AtRest::new(Zeroizing::new(*key.bytes()))),
            None => self.key_at_rest().cloned(),
        }
    }
}

fn note(auditor: &mut dyn Auditor, acts: &[RegistryAct]) -> Result<(), OrderError> {
    if acts.is_empty() {
        return Ok(());
    }
    let noted = auditor.note(acts);
    noted.map_err(|source| OrderError::NotNoted { source })
}
