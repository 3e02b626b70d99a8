//! Enrolling: a device gets its first key by what it asked, and another while it was not heard.

use tidegate_shared::claim::{Asked, ClaimId};
use tidegate_shared::ids::DeviceName;

use super::claim::Ask;
use super::{ASKS_MAX, Key, Registry, RegistryAct, is_reserved};
use crate::entry::Uncounted;

/// What became of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The key's id.
    pub key_id: u8,
    /// The key that is granted.
    pub key: Key,
    /// What is to be noted; nothing when the same ask came again.
    pub acts: Vec<RegistryAct>,
}

impl Registry {
    /// Enrols a device by an ask whose tag held, under a key that was drawn for it. Whatever
    /// refuses it changes nothing.
    pub fn enrol(
        &mut self,
        id: ClaimId,
        device: &DeviceName,
        asked: &Asked,
        key: Key,
        now_us: i64,
    ) -> Result<Enrolment, Uncounted> {
        self.takes_asks(id, now_us)?;
        let claim = self.claim(id).ok_or(Uncounted::ClaimUnknown)?;
        if !claim.fits(device) {
            return Err(Uncounted::ClaimOutside);
        }
        let ask = ask(asked);
        match claim.waiting.get(device) {
            Some(asks) if asks.last() == Some(&ask) => self.again(device),
            Some(asks) if asks.contains(&ask) => Err(Uncounted::ClaimReplayed),
            Some(asks) if asks.len() >= ASKS_MAX => Err(Uncounted::ClaimTaken),
            Some(_) => self.replace(id, device, ask, (key, now_us)),
            None if self.devices.contains_key(device) || is_reserved(device) => {
                Err(Uncounted::ClaimTaken)
            }
            None if claim.is_used_up() => Err(Uncounted::ClaimUsedUp),
            None => self.enrol_first(id, device, ask, (key, now_us)),
        }
    }

    /// The key that the same ask got before.
    fn again(&self, device: &DeviceName) -> Result<Enrolment, Uncounted> {
        let newest = self.get(device).and_then(|known| known.newest());
        let newest = newest.ok_or(Uncounted::ClaimTaken)?;
        Ok(Enrolment {
            key_id: newest.id,
            key: newest.key.clone(),
            acts: Vec::new(),
        })
    }

    fn enrol_first(
        &mut self,
        id: ClaimId,
        device: &DeviceName,
        ask: Ask,
        (key, now_us): (Key, i64),
    ) -> Result<Enrolment, Uncounted> {
        let act = self.add(device, key.clone(), now_us);
        // Its name is new and may be had, so there is no place for it.
        let act = act.map_err(|_| Uncounted::DeviceLimit)?;
        if let Some(claim) = self.claims.get_mut(&id.0) {
            claim.enrolled += 1;
            claim.waiting.insert(device.clone(), vec![ask]);
        }
        self.enrolment(device, key, vec![act])
    }

    /// Another key in the place of one that was never heard.
    fn replace(
        &mut self,
        id: ClaimId,
        device: &DeviceName,
        ask: Ask,
        (key, now_us): (Key, i64),
    ) -> Result<Enrolment, Uncounted> {
        let known = self.devices.get_mut(device);
        let known = known.ok_or(Uncounted::ClaimTaken)?;
        known.next_id(device).map_err(|_| Uncounted::ClaimTaken)?;
        let ended = known.revoke(now_us).into_iter();
        let mut acts: Vec<RegistryAct> = ended
            .map(|ended| RegistryAct::Retired {
                device: device.clone(),
                key: ended.mark(device),
            })
            .collect();
        let issued = known.issue(device, key.clone(), now_us);
        let key_mark = issued.map_err(|_| Uncounted::ClaimTaken)?.mark(device);
        acts.push(RegistryAct::Enrolled {
            device: device.clone(),
            key: key_mark,
        });
        let claim = self.claims.get_mut(&id.0);
        if let Some(asks) = claim.and_then(|claim| claim.waiting.get_mut(device)) {
            asks.push(ask);
        }
        self.enrolment(device, key, acts)
    }

    fn enrolment(
        &self,
        device: &DeviceName,
        key: Key,
        acts: Vec<RegistryAct>,
    ) -> Result<Enrolment, Uncounted> {
        let newest = self.get(device).and_then(|known| known.newest());
        let key_id = newest.ok_or(Uncounted::ClaimTaken)?.id;
        Ok(Enrolment { key_id, key, acts })
    }
}

fn ask(asked: &Asked) -> Ask {
    let mut ask = Ask::default();
    for (byte, said) in ask.iter_mut().zip(&asked.public) {
        *byte = *said;
    }
    ask
}
