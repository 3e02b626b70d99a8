//! The registry: its machine, the file behind it, and what the acts alone tell.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::order::{Exported, Issued, KeyState, Shown};
use super::registrar::{OrderError, Unaudited};
use super::*;
use crate::at_rest::AtRest;
use crate::at_rest::tests::at_rest;
use crate::disk::fault::Torn;
use crate::disk::{Disk, FaultDisk};

/// 2026-03-01T12:00:00Z.
const NOON: i64 = 1_772_366_400_000_000;

fn name(text: &str) -> DeviceName {
    DeviceName::try_from(text).unwrap()
}

fn key(byte: u8) -> Key {
    Key::new([byte; KEY_BYTES])
}

fn ids(registry: &Registry, device: &str) -> Vec<u8> {
    let found = registry.get(&name(device)).unwrap();
    found.live().iter().map(|key| key.id).collect()
}

#[test]
fn a_rotation_keeps_both_keys_until_the_next_one_is_seen() {
    let mut registry = Registry::default();
    let pump = name("pump-1");
    registry.add(&pump, key(1), NOON).unwrap();
    assert_eq!(registry.confirm(&pump, 1), Ok(Confirmation::Heard));
    assert_eq!(registry.confirm(&pump, 1), Ok(Confirmation::Same));
    registry.rotate(&pump, key(2), NOON).unwrap();
    assert_eq!(ids(&registry, "pump-1"), [1, 2]);
    assert_eq!(registry.confirm(&pump, 1), Ok(Confirmation::Same));
    // One that was lost on its way to the device.
    let act = registry.rotate(&pump, key(3), NOON).unwrap();
    let RegistryAct::Rotated { key, replaced, .. } = act else {
        panic!("{act:?}");
    };
    assert_eq!((key.id, replaced.map(|key| key.id)), (3, Some(2)));
    assert_eq!(ids(&registry, "pump-1"), [1, 3]);
    let gone = RegistryError::UnknownKey {
        device: pump.clone(),
        key_id: 2,
    };
    assert_eq!(registry.confirm(&pump, 2), Err(gone));
    let confirmed = registry.confirm(&pump, 3).unwrap();
    assert!(matches!(
        confirmed,
        Confirmation::Retired(RegistryAct::Retired { key, .. }) if key.id == 1
    ));
    assert_eq!(ids(&registry, "pump-1"), [3]);
    let known = registry.get(&pump).unwrap();
    assert_eq!((known.confirmed(), known.is_revoked()), (Some(3), false));
    assert_eq!(known.key(3).map(|live| &live.key), Some(&self::key(3)));
    assert_eq!(known.key(1), None);
}

#[test]
fn a_revoked_device_has_no_key_until_it_is_added_again_under_a_further_id() {
    let mut registry = Registry::default();
    let pump = name("pump-1");
    registry.add(&pump, key(1), NOON).unwrap();
    registry.rotate(&pump, key(2), NOON).unwrap();
    let act = registry.revoke(&pump, NOON).unwrap();
    let RegistryAct::Revoked { keys, .. } = act else {
        panic!("{act:?}");
    };
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [1, 2]);
    assert!(registry.get(&pump).unwrap().is_revoked());
    for refused in [
        registry.rotate(&pump, key(3), NOON),
        registry.revoke(&pump, NOON),
        registry.rename((&pump, &name("pump-2")), key(3), NOON),
    ] {
        assert!(matches!(refused, Err(RegistryError::Revoked { .. })));
    }
    assert!(registry.confirm(&pump, 2).is_err());
    registry.add(&pump, key(3), NOON).unwrap();
    assert_eq!(ids(&registry, "pump-1"), [3]);
}

#[test]
fn names_are_taken_once_and_slips_are_told() {
    let mut registry = Registry::default();
    for device in ["pump-1", "valve"] {
        registry.add(&name(device), key(1), NOON).unwrap();
    }
    let again = registry.add(&name("pump-1"), key(2), NOON).unwrap_err();
    assert!(again.to_string().contains("tidegate device rotate pump-1"));
    let taken = registry.rename((&name("pump-1"), &name("valve")), key(2), NOON);
    assert!(matches!(taken, Err(RegistryError::NameTaken { .. })));
    for reserved in [
        registry.rename((&name("pump-1"), &name("gateway")), key(2), NOON),
        registry.add(&name("gateway"), key(2), NOON),
    ] {
        assert_eq!(reserved, Err(RegistryError::Reserved));
    }
    let slip = registry.revoke(&name("pump-l"), NOON).unwrap_err();
    assert!(
        slip.to_string().contains("did you mean `pump-1`?"),
        "{slip}"
    );
    registry
        .rename((&name("pump-1"), &name("pump-2")), key(3), NOON)
        .unwrap();
    // The new name has a key of its own; the former one stays known, so that no key id comes again.
    let renamed = registry.get(&name("pump-2")).unwrap();
    assert_eq!(renamed.key(1).unwrap().key, key(3));
    assert!(registry.get(&name("pump-1")).unwrap().is_revoked());
    registry
        .rename((&name("pump-2"), &name("pump-1")), key(4), NOON)
        .unwrap();
    assert_eq!(ids(&registry, "pump-1"), [2]);
}

#[test]
fn a_name_has_255_keys_and_keeps_the_last_ones() {
    let mut registry = Registry::default();
    let pump = name("pump-1");
    registry.add(&pump, key(0), NOON).unwrap();
    for number in 2..=u8::MAX {
        registry.rotate(&pump, key(number), NOON).unwrap();
    }
    let before = registry.clone();
    let used_up = registry.rotate(&pump, key(1), NOON);
    assert!(matches!(used_up, Err(RegistryError::KeyIdsUsedUp { .. })));
    assert_eq!(registry, before);
    assert_eq!(ids(&registry, "pump-1"), [1, 255]);
    registry.revoke(&pump, NOON).unwrap();
    let used_up = registry.add(&pump, key(1), NOON);
    assert!(matches!(used_up, Err(RegistryError::KeyIdsUsedUp { .. })));
    assert!(registry.is_sound());
}

/// Which keys are valid, as the acts alone tell.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    valid: BTreeSet<(DeviceName, u8, Fingerprint)>,
    refuses: bool,
}

impl Told {
    fn begin(&mut self, device: &DeviceName, key: KeyMark) {
        let is_new = self.valid.insert((device.clone(), key.id, key.fingerprint));
        assert!(is_new, "{device}: {key:?} began twice");
    }

    fn end(&mut self, device: &DeviceName, key: KeyMark) {
        let ended = (device.clone(), key.id, key.fingerprint);
        assert!(self.valid.remove(&ended), "{device}: {key:?} was not valid");
    }

    fn take(&mut self, act: &RegistryAct) {
        match act {
            RegistryAct::Enrolled { device, key } => self.begin(device, *key),
            RegistryAct::Rotated {
                device,
                key,
                replaced,
            } => {
                self.begin(device, *key);
                if let Some(replaced) = replaced {
                    self.end(device, *replaced);
                }
            }
            RegistryAct::Retired { device, key } => self.end(device, *key),
            RegistryAct::Revoked { device, keys } => {
                for key in keys {
                    self.end(device, *key);
                }
            }
            RegistryAct::Renamed {
                from,
                to,
                key,
                keys,
            } => {
                for key in keys {
                    self.end(from, *key);
                }
                self.begin(to, *key);
            }
            RegistryAct::Imported {
                device,
                keys,
                ended,
            } => {
                for key in ended {
                    self.end(device, *key);
                }
                let keys = keys.iter().map(|key| (key.id, key.fingerprint));
                let keys = keys.map(|(id, fingerprint)| (device.clone(), id, fingerprint));
                self.valid.extend(keys);
            }
            RegistryAct::Exported { .. }
            | RegistryAct::ClaimOpened { .. }
            | RegistryAct::ClaimClosed { .. } => {}
        }
    }

    pub(super) fn of(registry: &Registry) -> Self {
        let marks = registry.devices().flat_map(|(name, device)| {
            let live = device.live().iter().map(|key| key.mark(name));
            live.map(|mark| (name.clone(), mark.id, mark.fingerprint))
        });
        Self {
            valid: marks.collect(),
            refuses: false,
        }
    }
}

impl Auditor for Told {
    fn note(&mut self, acts: &[RegistryAct]) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.refuses {
            return Err("the disk is full".into());
        }
        for act in acts {
            self.take(act);
        }
        Ok(())
    }
}

fn open(disk: &FaultDisk, at_rest: Option<AtRest>) -> Registrar {
    Registrar::open(Arc::new(disk.clone()) as Arc<dyn Disk>, at_rest).unwrap()
}

/// A registrar over a disk of its own, with these devices.
fn with(devices: &[&str]) -> (FaultDisk, Registrar) {
    let disk = FaultDisk::new();
    let mut registrar = open(&disk, Some(at_rest(1)));
    for device in devices {
        let order = Order::Add(name(device));
        registrar.carry_out(&order, NOON, &mut Unaudited).unwrap();
    }
    (disk, registrar)
}

fn order(registrar: &mut Registrar, order: &Order) -> Result<Answer, OrderError> {
    registrar.carry_out(order, NOON, &mut Unaudited)
}

#[test]
fn orders_are_answered_and_only_what_goes_into_a_device_holds_a_key() {
    let (_, mut registrar) = with(&["pump-1"]);
    let answer = order(&mut registrar, &Order::Rotate(name("pump-1"))).unwrap();
    let Answer::Issued(Issued { mark, key, .. }) = &answer else {
        panic!("{answer:?}");
    };
    assert_eq!(mark.id, 2);
    assert_eq!(mark.fingerprint, Fingerprint::of(&name("pump-1"), 2, key));
    assert!(!format!("{answer:?}").contains(&*key.hex()));
    let answer = order(&mut registrar, &Order::List).unwrap();
    let told = serde_json::to_string(&answer).unwrap();
    assert!(!told.contains(&*key.hex()), "{told}");
    let Answer::Listed(listed) = answer else {
        panic!("{told}");
    };
    let [shown] = listed.as_slice() else {
        panic!("{told}");
    };
    let states: Vec<(u8, KeyState)> = shown.keys.iter().map(|key| (key.id, key.state)).collect();
    assert_eq!(states, [(1, KeyState::Current), (2, KeyState::Next)]);
    assert_eq!(shown.keys[0].created_at, "2026-03-01T12:00:00Z");
    let answer = order(&mut registrar, &Order::Revoke(name("pump-1"))).unwrap();
    let Answer::Shown(Shown { revoked_at, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(revoked_at.as_deref(), Some("2026-03-01T12:00:00Z"));
    assert!(order(&mut registrar, &Order::Show(name("pump-2"))).is_err());
}

#[test]
fn without_a_key_at_rest_nothing_is_registered_and_it_is_said_how_to_make_one() {
    let disk = FaultDisk::new();
    let mut registrar = open(&disk, None);
    assert_eq!(
        order(&mut registrar, &Order::List).unwrap(),
        Answer::Listed(Vec::new())
    );
    let why = order(&mut registrar, &Order::Add(name("pump-1"))).unwrap_err();
    assert!(why.to_string().contains("openssl rand -hex 32"), "{why}");
    assert!(disk.paths().is_empty(), "{:?}", disk.paths());
}

#[test]
fn a_registry_opens_only_under_its_key_and_stays_as_it_is() {
    let (disk, _) = with(&["pump-1"]);
    let whole = disk.content(store::FILE).unwrap();
    let opened = |at_rest| Registrar::open(Arc::new(disk.clone()) as Arc<dyn Disk>, at_rest);
    let why = opened(Some(at_rest(2))).err().unwrap().to_string();
    assert!(
        why.contains("another key") && why.contains("nothing was changed"),
        "{why}"
    );
    let why = opened(None).err().unwrap().to_string();
    assert!(why.contains("security.key"), "{why}");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        disk.put(store::FILE, damaged.clone());
        assert!(opened(Some(at_rest(1))).is_err(), "byte {at}");
        assert_eq!(disk.content(store::FILE).unwrap(), damaged);
    }
    disk.put(store::FILE, whole);
    assert_eq!(
        ids(opened(Some(at_rest(1))).unwrap().registry(), "pump-1"),
        [1]
    );
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    let (disk, mut registrar) = with(&["pump-1"]);
    let whole = disk.content(store::FILE).unwrap();
    let before = registrar.registry().clone();
    let mut deaf = Told {
        refuses: true,
        ..Told::default()
    };
    let pump = name("pump-1");
    for order in [
        Order::Add(name("pump-2")),
        Order::Rotate(pump.clone()),
        Order::Revoke(pump.clone()),
        Order::Rename {
            from: pump.clone(),
            to: name("pump-2"),
        },
        Order::Export { key: None },
    ] {
        let why = registrar.carry_out(&order, NOON, &mut deaf).unwrap_err();
        assert!(why.to_string().contains("nothing was changed"), "{why}");
    }
    assert_eq!(*registrar.registry(), before);
    assert_eq!(disk.content(store::FILE).unwrap(), whole);
}

#[test]
fn a_cut_at_any_moment_leaves_the_registry_before_or_after_the_order() {
    let steps = {
        let (disk, mut registrar) = with(&["pump-1"]);
        let before = disk.mutations();
        order(&mut registrar, &Order::Rotate(name("pump-1"))).unwrap();
        before..disk.mutations() + 1
    };
    for nth in steps {
        for seed in 0..10 {
            let (disk, mut registrar) = with(&["pump-1"]);
            disk.cut_at(nth);
            let done = order(&mut registrar, &Order::Rotate(name("pump-1")));
            let mut found = open(&disk.after_cut(Torn::Sectors(seed)), Some(at_rest(1)));
            // The auditor has noted what was done.
            found.settle(|_| done.is_ok());
            let ids = ids(found.registry(), "pump-1");
            if done.is_ok() {
                assert_eq!(ids, [1, 2], "{nth}");
            } else {
                assert!(!ids.is_empty(), "{nth}");
            }
        }
    }
}

#[test]
fn after_a_sync_that_failed_what_is_in_force_is_what_a_restart_finds() {
    let (disk, mut registrar) = with(&["pump-1"]);
    // Of the file, and of its folder.
    for nth in 1..=2 {
        disk.fail_sync(disk.syncs() + nth);
        let why = order(&mut registrar, &Order::Rotate(name("pump-1")));
        assert!(why.is_err(), "{nth}");
        disk.disarm();
        let found = open(&disk, Some(at_rest(1)));
        assert_eq!(found.registry(), registrar.registry(), "{nth}");
    }
}

/// Lays an export where an import looks for it.
fn carry(from: &mut Registrar, to: &FaultDisk, key: Option<Key>) {
    let answer = order(from, &Order::Export { key }).unwrap();
    let Answer::Exported(Exported { sealed, .. }) = answer else {
        panic!("{answer:?}");
    };
    to.put(store::INCOMING, BASE64_STANDARD.decode(sealed).unwrap());
}

fn import(to: &mut Registrar, key: Option<Key>, replace: bool) -> Result<Imported, OrderError> {
    match order(to, &Order::Import { key, replace })? {
        Answer::Imported(imported) => Ok(imported),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_registry_moves_to_a_gateway_with_another_key_at_rest() {
    let (_, mut old) = with(&["pump-1", "pump-2"]);
    let disk = FaultDisk::new();
    let mut new = open(&disk, Some(at_rest(2)));
    let carried = key(9);
    carry(&mut old, &disk, Some(carried.clone()));
    let why = import(&mut new, None, false).unwrap_err().to_string();
    assert!(
        why.contains("another key") && why.contains("nothing was imported"),
        "{why}"
    );
    let imported = import(&mut new, Some(carried.clone()), false).unwrap();
    assert_eq!((imported.added, imported.same), (2, 0));
    assert_eq!(new.registry(), old.registry());
    assert_eq!(open(&disk, Some(at_rest(2))).registry(), old.registry());
    let imported = import(&mut new, Some(carried), false).unwrap();
    assert_eq!((imported.added, imported.same), (0, 2));
}

#[test]
fn other_keys_of_known_devices_are_taken_only_when_that_is_said() {
    let (_, mut old) = with(&["pump-1", "pump-2"]);
    let (disk, mut new) = with(&["pump-1"]);
    order(&mut new, &Order::Rotate(name("pump-1"))).unwrap();
    carry(&mut old, &disk, None);
    let before = new.registry().clone();
    let why = import(&mut new, None, false).unwrap_err().to_string();
    assert!(
        why.contains("pump-1 is registered") && why.contains("--replace"),
        "{why}"
    );
    assert_eq!(*new.registry(), before);
    let imported = import(&mut new, None, true).unwrap();
    assert_eq!((imported.added, imported.replaced), (1, 1));
    let keys = |of: &Registrar| -> Vec<(u8, Key)> {
        let pump = of.registry().get(&name("pump-1")).unwrap();
        let live = pump.live().iter();
        live.map(|live| (live.id, live.key.clone())).collect()
    };
    assert_eq!(keys(&new), keys(&old));
    // Both were given here already.
    order(&mut new, &Order::Rotate(name("pump-1"))).unwrap();
    assert_eq!(ids(new.registry(), "pump-1"), [1, 3]);
    // A revocation is one of the things that no file undoes by itself.
    order(&mut new, &Order::Revoke(name("pump-2"))).unwrap();
    assert!(import(&mut new, None, false).is_err());
}

#[test]
fn an_export_is_no_registry_and_a_registry_no_export() {
    let (disk, mut registrar) = with(&["pump-1"]);
    let registry = disk.content(store::FILE).unwrap();
    disk.put(store::INCOMING, registry);
    assert!(import(&mut registrar, None, true).is_err());
    carry(&mut registrar, &disk, None);
    disk.put(store::FILE, disk.content(store::INCOMING).unwrap());
    assert!(Registrar::open(Arc::new(disk) as Arc<dyn Disk>, Some(at_rest(1))).is_err());
}

/// All of a registry but which keys were heard, which a restart may forget.
fn kept(registry: &Registry) -> Vec<(&DeviceName, &[LiveKey], u8, Option<i64>)> {
    let devices = registry.devices();
    devices
        .map(|(name, device)| (name, device.live(), device.issued(), device.revoked_us()))
        .collect()
}

#[test]
fn that_a_key_was_heard_writes_nothing_and_that_a_next_one_was_ends_the_former() {
    let (disk, mut registrar) = with(&["pump-1"]);
    let pump = name("pump-1");
    let before = disk.mutations();
    assert!(registrar.confirm(&pump, 1, &mut Unaudited).unwrap());
    assert!(!registrar.confirm(&pump, 1, &mut Unaudited).unwrap());
    assert_eq!(disk.mutations(), before);
    order(&mut registrar, &Order::Rotate(pump.clone())).unwrap();
    let mut told = Told::of(registrar.registry());
    assert!(registrar.confirm(&pump, 2, &mut told).unwrap());
    assert_eq!(told, Told::of(registrar.registry()));
    let found = open(&disk, Some(at_rest(1)));
    assert_eq!(found.registry(), registrar.registry());
    assert_eq!(ids(found.registry(), "pump-1"), [2]);
    // What the auditor does not note stays as it was, so that it is tried again.
    order(&mut registrar, &Order::Rotate(pump.clone())).unwrap();
    told.refuses = true;
    assert!(registrar.confirm(&pump, 3, &mut told).is_err());
    assert_eq!(ids(registrar.registry(), "pump-1"), [2, 3]);
    let known = registrar.registry().get(&pump).unwrap();
    assert_eq!(known.confirmed(), Some(2));
}

/// One step of a life: an order, or a durable frame.
#[derive(Debug, Clone)]
enum Step {
    Order(Order),
    Confirm(DeviceName, u8),
    Carry { replace: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || prop::sample::select(vec!["a", "b", "c"]).prop_map(name);
    let step = prop_oneof![
        3 => device().prop_map(|device| Step::Order(Order::Add(device))),
        4 => device().prop_map(|device| Step::Order(Order::Rotate(device))),
        2 => device().prop_map(|device| Step::Order(Order::Revoke(device))),
        1 => (device(), device())
            .prop_map(|(from, to)| Step::Order(Order::Rename { from, to })),
        4 => (device(), 1..6u8).prop_map(|(device, id)| Step::Confirm(device, id)),
        1 => any::<bool>().prop_map(|replace| Step::Carry { replace }),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    /// Two gateways, one of which now and then takes over what the other says.
    #[test]
    fn every_life_keeps_the_registry_sound_readable_and_told(
        steps in steps(),
        others in prop::collection::vec(any::<bool>(), 40),
    ) {
        let disks = [FaultDisk::new(), FaultDisk::new()];
        let mut lives = disks.each_ref().map(|disk| open(disk, Some(at_rest(1))));
        let mut told = [Told::default(), Told::default()];
        // The highest id that each issued to a name, while it remembers the name.
        let mut issued = [BTreeMap::new(), BTreeMap::new()];
        for (step, other) in steps.iter().zip(&others) {
            let at = usize::from(*other);
            let before = lives[at].registry().clone();
            let done = match step {
                Step::Order(order) => lives[at].carry_out(order, NOON, &mut told[at]).map(Some),
                Step::Confirm(device, id) => {
                    lives[at].confirm(device, *id, &mut told[at]).map(|_| None)
                }
                Step::Carry { replace } => {
                    carry(&mut lives[1 - at], &disks[at], None);
                    let order = Order::Import { key: None, replace: *replace };
                    lives[at].carry_out(&order, NOON, &mut told[at]).map(Some)
                }
            };
            let registry = lives[at].registry();
            if done.is_err() {
                prop_assert_eq!(registry, &before);
            }
            if let (Ok(Some(Answer::Issued(given))), Step::Order(Order::Add(_) | Order::Rotate(_)))
                = (&done, step)
            {
                let last = issued[at].insert(given.device.clone(), given.mark.id);
                prop_assert!(last < Some(given.mark.id), "{last:?}, then {}", given.mark.id);
            }
            issued[at] = registry
                .devices()
                .map(|(name, device)| (name.clone(), device.issued()))
                .collect();
            prop_assert!(registry.is_sound());
            prop_assert_eq!(&told[at], &Told::of(registry));
            let found = open(&disks[at], Some(at_rest(1)));
            prop_assert_eq!(kept(found.registry()), kept(registry));
        }
    }
}
