//! Claims: who is enrolled by one, once, and what ends it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use proptest::prelude::*;
use tidegate_shared::claim::{Asked, ClaimId, Claimant, Code, Secret};
use tidegate_shared::ids::SiteName;
use tidegate_shared::seal;

use super::order::{ClaimState, Opened, ShownClaim};
use super::registrar::{NotEnrolled, Unaudited};
use super::tests::Told;
use super::*;
use crate::at_rest::tests::at_rest;
use crate::disk::{Disk, FaultDisk};
use crate::entry::Uncounted;

/// 2026-03-01T12:00:00Z.
const NOON: i64 = 1_772_366_400_000_000;
const HOUR: i64 = 3_600_000_000;
const CLAIM: ClaimId = ClaimId(0x0a1b_2c3d);

fn name(text: &str) -> DeviceName {
    DeviceName::try_from(text).unwrap()
}

fn key(byte: u8) -> Key {
    Key::new([byte; KEY_BYTES])
}

/// What a start of a device asks with.
fn asked(start: u8) -> Asked {
    Asked {
        public: [start; 32],
    }
}

fn wish(devices_max: u32) -> ClaimWish {
    ClaimWish {
        prefix: name("pump"),
        devices_max,
        open_us: HOUR,
    }
}

fn open(devices_max: u32) -> Registry {
    let mut registry = Registry::default();
    let opened = registry.open_claim(CLAIM, key(99), &wish(devices_max), NOON);
    let act = opened.unwrap();
    assert!(
        matches!(&act, RegistryAct::ClaimOpened { claim, .. } if claim == "0a1b2c3d"),
        "{act:?}"
    );
    registry
}

/// A device asks in this start and gets this key, unless it is refused.
fn enrol(
    registry: &mut Registry,
    device: &str,
    start: u8,
    drawn: u8,
) -> Result<Enrolment, Uncounted> {
    let before = registry.clone();
    let done = registry.enrol(CLAIM, &name(device), &asked(start), key(drawn), NOON + 1);
    assert!(registry.is_sound());
    if done.is_err() {
        assert_eq!(*registry, before, "what is refused changes nothing");
    }
    done
}

fn live(registry: &Registry, device: &str) -> Vec<(u8, Key)> {
    let live = registry.get(&name(device)).unwrap().live().iter();
    live.map(|key| (key.id, key.key.clone())).collect()
}

#[test]
fn a_claim_enrols_as_many_names_under_its_prefix_as_it_may() {
    let mut registry = open(2);
    registry.add(&name("pump-9"), key(9), NOON).unwrap();
    registry.add(&name("pump-8"), key(8), NOON).unwrap();
    registry.revoke(&name("pump-8"), NOON).unwrap();
    for outside in ["valve-1", "pump", "pump-", "pumps-1", "Pump-1"] {
        let refused = enrol(&mut registry, outside, 1, 1);
        assert_eq!(refused, Err(Uncounted::ClaimOutside), "{outside}");
    }
    for taken in ["pump-9", "pump-8"] {
        let refused = enrol(&mut registry, taken, 1, 1);
        assert_eq!(refused, Err(Uncounted::ClaimTaken), "{taken}");
    }
    for (device, drawn) in [("pump-1", 1), ("pump-2", 2)] {
        let enrolled = enrol(&mut registry, device, drawn, drawn).unwrap();
        assert_eq!((enrolled.key_id, &enrolled.key), (1, &key(drawn)));
        let [RegistryAct::Enrolled { device: of, .. }] = &enrolled.acts[..] else {
            panic!("{enrolled:?}");
        };
        assert_eq!(of.as_str(), device);
    }
    let refused = enrol(&mut registry, "pump-3", 3, 3);
    assert_eq!(refused, Err(Uncounted::ClaimUsedUp));
    let unknown = registry.enrol(ClaimId(7), &name("pump-3"), &asked(3), key(3), NOON);
    assert_eq!(unknown, Err(Uncounted::ClaimUnknown));
}

/// The gateway's own names begin with a prefix that somebody may take.
#[test]
fn nobody_enrols_under_a_name_of_the_gateway() {
    let mut registry = Registry::default();
    let wish = ClaimWish {
        prefix: name("tidegate"),
        ..wish(2)
    };
    registry.open_claim(CLAIM, key(99), &wish, NOON).unwrap();
    let refused = enrol(&mut registry, "tidegate-gateway", 1, 1);
    assert_eq!(refused, Err(Uncounted::ClaimTaken));
}

#[test]
fn who_asks_again_gets_the_same_key_and_a_further_start_another_one_in_its_place() {
    let mut registry = open(1);
    enrol(&mut registry, "pump-1", 1, 1).unwrap();
    let again = enrol(&mut registry, "pump-1", 1, 2).unwrap();
    assert_eq!((again.key_id, again.key), (1, key(1)));
    assert!(again.acts.is_empty(), "there is nothing to note");
    // The grant was lost, and the device started again: the claim is used up, and it is answered.
    let further = enrol(&mut registry, "pump-1", 2, 3).unwrap();
    assert_eq!((further.key_id, further.key), (2, key(3)));
    let [
        RegistryAct::Retired { key: ended, .. },
        RegistryAct::Enrolled { key: begun, .. },
    ] = &further.acts[..]
    else {
        panic!("{:?}", further.acts);
    };
    assert_eq!((ended.id, begun.id), (1, 2));
    assert_eq!(live(&registry, "pump-1"), [(2, key(3))]);
    assert_eq!(
        registry.claim(CLAIM).unwrap().enrolled(),
        1,
        "it counts once"
    );
    // Somebody recorded what the first start said.
    let recorded = enrol(&mut registry, "pump-1", 1, 4);
    assert_eq!(recorded, Err(Uncounted::ClaimReplayed));
    assert_eq!(live(&registry, "pump-1"), [(2, key(3))]);
}

#[test]
fn so_many_starts_are_answered_and_no_more() {
    let mut registry = open(1);
    for start in 1..=ASKS_MAX as u8 {
        enrol(&mut registry, "pump-1", start, start).unwrap();
    }
    let refused = enrol(&mut registry, "pump-1", 200, 200);
    assert_eq!(refused, Err(Uncounted::ClaimTaken));
    assert!(enrol(&mut registry, "pump-1", ASKS_MAX as u8, 1).is_ok());
}

#[test]
fn a_device_that_was_heard_has_its_name_for_good() {
    let mut registry = open(3);
    enrol(&mut registry, "pump-1", 1, 1).unwrap();
    assert_eq!(
        registry.confirm(&name("pump-1"), 1),
        Ok(Confirmation::Heard)
    );
    assert!(registry.settle(&name("pump-1")));
    for start in [1, 2] {
        let refused = enrol(&mut registry, "pump-1", start, 9);
        assert_eq!(refused, Err(Uncounted::ClaimTaken), "start {start}");
    }
    assert_eq!(live(&registry, "pump-1"), [(1, key(1))]);
}

/// What a person decides about a device is not undone by a claim.
#[test]
fn an_order_about_a_device_closes_its_name_for_claims() {
    type Ordered = fn(&mut Registry);
    let orders: [(&str, Ordered); 4] = [
        ("pump-1", |registry| {
            registry.revoke(&name("pump-1"), NOON).unwrap();
        }),
        ("pump-1", |registry| {
            registry.rotate(&name("pump-1"), key(7), NOON).unwrap();
        }),
        ("pump-2", |registry| {
            let names = (&name("pump-1"), &name("pump-2"));
            registry.rename(names, key(7), NOON).unwrap();
        }),
        ("pump-1", |registry| {
            let names = (&name("pump-1"), &name("pump-2"));
            registry.rename(names, key(7), NOON).unwrap();
        }),
    ];
    for (device, order) in orders {
        let mut registry = open(3);
        enrol(&mut registry, "pump-1", 1, 1).unwrap();
        order(&mut registry);
        assert!(registry.is_sound());
        for start in [1, 2] {
            let refused = enrol(&mut registry, device, start, 9);
            assert_eq!(refused, Err(Uncounted::ClaimTaken));
        }
    }
}

#[test]
fn a_claim_ends_by_its_time_by_use_or_by_hand_and_its_code_is_gone() {
    let ended = |registry: &Registry| {
        let claim = registry.claim(CLAIM).unwrap();
        assert!(claim.code(CLAIM).is_none() && registry.is_sound());
        claim.ended().unwrap()
    };
    let mut expired = open(2);
    let before = expired.takes_asks(CLAIM, NOON + HOUR - 1);
    assert!(before.is_ok());
    for wrong in [NOON + HOUR, NOON - 1] {
        // Judged with each ask, also before somebody notes the end.
        let refused = expired.enrol(CLAIM, &name("pump-1"), &asked(1), key(1), wrong);
        assert_eq!(refused, Err(Uncounted::ClaimExpired));
    }
    assert!(expired.end_claims(NOON + HOUR - 1).is_empty());
    assert!(expired.has_claims_due(NOON + HOUR));
    assert_eq!(expired.end_claims(NOON + HOUR).len(), 1);
    assert_eq!(ended(&expired), (ClaimEnd::Expired, NOON + HOUR));
    assert!(!expired.has_claims_due(NOON + 2 * HOUR));

    let mut used = open(1);
    enrol(&mut used, "pump-1", 1, 1).unwrap();
    assert!(!used.has_claims_due(NOON + 2), "the grant may be lost");
    used.settle(&name("pump-1"));
    let acts = used.end_claims(NOON + 2);
    assert_eq!(
        acts,
        [RegistryAct::ClaimClosed {
            claim: CLAIM.to_string(),
            why: ClaimEnd::UsedUp,
            enrolled: 1,
        }]
    );
    assert_eq!(ended(&used), (ClaimEnd::UsedUp, NOON + 2));
    let refused = enrol(&mut used, "pump-2", 2, 2);
    assert_eq!(refused, Err(Uncounted::ClaimUsedUp));

    let mut closed = open(2);
    enrol(&mut closed, "pump-1", 1, 1).unwrap();
    closed.close_claim(CLAIM, NOON + 2).unwrap();
    assert_eq!(ended(&closed), (ClaimEnd::Closed, NOON + 2));
    let refused = enrol(&mut closed, "pump-1", 1, 1);
    assert_eq!(refused, Err(Uncounted::ClaimClosed));
    assert_eq!(live(&closed, "pump-1"), [(1, key(1))], "it keeps its key");
    let again = closed.close_claim(CLAIM, NOON + 3);
    assert!(matches!(again, Err(RegistryError::ClaimEnded { .. })));
}

#[test]
fn claims_have_bounds_and_those_that_ended_make_room() {
    let mut registry = Registry::default();
    let long = "p".repeat(PREFIX_BYTES_MAX + 1);
    let hour = wish(1);
    for (wrong, said) in [
        (
            ClaimWish {
                prefix: name(&long),
                ..hour.clone()
            },
            "shorter",
        ),
        (
            ClaimWish {
                devices_max: 0,
                ..hour.clone()
            },
            "devices",
        ),
        (
            ClaimWish {
                devices_max: CLAIM_DEVICES_MAX + 1,
                ..hour.clone()
            },
            "devices",
        ),
        (
            ClaimWish {
                open_us: 0,
                ..hour.clone()
            },
            "days",
        ),
        (
            ClaimWish {
                open_us: 32 * 24 * HOUR,
                ..hour.clone()
            },
            "days",
        ),
    ] {
        let refused = registry
            .open_claim(CLAIM, key(1), &wrong, NOON)
            .unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
    }
    for id in 1..=CLAIMS_MAX as u32 {
        registry
            .open_claim(ClaimId(id), key(1), &hour, NOON)
            .unwrap();
    }
    let full = registry.open_claim(ClaimId(1_000), key(1), &hour, NOON);
    assert_eq!(full, Err(RegistryError::ClaimsFull));
    for id in [7, 3] {
        registry
            .close_claim(ClaimId(id), NOON + i64::from(id))
            .unwrap();
    }
    registry
        .open_claim(ClaimId(1_000), key(1), &hour, NOON)
        .unwrap();
    assert!(
        registry.claim(ClaimId(3)).is_none(),
        "the oldest that ended"
    );
    assert!(registry.claim(ClaimId(7)).is_some());
    let twice = registry.open_claim(ClaimId(1_000), key(1), &hour, NOON);
    assert_eq!(twice, Err(RegistryError::ClaimIdTaken));
}

fn site() -> SiteName {
    SiteName::try_from("plant").unwrap()
}

fn registrar(disk: &FaultDisk) -> Registrar {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Registrar::open(disk, Some(at_rest(1))).unwrap()
}

fn opened(registrar: &mut Registrar, devices_max: u32) -> Opened {
    let order = Order::OpenClaim(wish(devices_max));
    match registrar.carry_out(&order, NOON, &mut Unaudited).unwrap() {
        Answer::ClaimOpened(opened) => opened,
        other => panic!("{other:?}"),
    }
}

fn code(opened: &Opened) -> Code {
    Code {
        id: ClaimId(opened.id),
        key: seal::Key::new(*opened.code.bytes()),
    }
}

/// A device asks a registrar, and reads the grant.
fn ask(
    registrar: &mut Registrar,
    code: &Code,
    device: &str,
    start: u8,
) -> Result<(u8, Key), Uncounted> {
    ask_told(registrar, code, (device, start), &mut Unaudited)
}

fn ask_told(
    registrar: &mut Registrar,
    code: &Code,
    (device, start): (&str, u8),
    auditor: &mut dyn Auditor,
) -> Result<(u8, Key), Uncounted> {
    let (site, device) = (site(), name(device));
    let secret = Secret::new([start; 32]);
    let claimant = Claimant {
        code,
        site: &site,
        device: &device,
    };
    let said = claimant.ask(&secret);
    match registrar.claim((&site, &device), &said, NOON + 1, auditor) {
        Ok(granted) => {
            let (id, key) = claimant.granted(&secret, &granted.grant).unwrap();
            Ok((id, Key::new(*key.bytes())))
        }
        Err(NotEnrolled::Refused(reason)) => Err(reason),
        Err(NotEnrolled::Failed(why)) => panic!("{why}"),
    }
}

#[test]
fn what_is_granted_is_the_registered_key_and_outlives_a_restart() {
    let disk = FaultDisk::new();
    let mut first = registrar(&disk);
    let opened = opened(&mut first, 2);
    assert!(!format!("{opened:?}").contains(&*opened.code.hex()));
    let code = code(&opened);
    let granted = ask(&mut first, &code, "pump-1", 1).unwrap();
    let known = live(first.registry(), "pump-1");
    assert_eq!(known, std::slice::from_ref(&granted));
    let writes = disk.mutations();
    assert_eq!(ask(&mut first, &code, "pump-1", 1).unwrap(), granted);
    assert_eq!(disk.mutations(), writes, "the same again is no write");
    let mut again = registrar(&disk);
    assert_eq!(again.registry(), first.registry());
    assert_eq!(ask(&mut again, &code, "pump-1", 1).unwrap(), granted);
    // That it was heard is kept at once, as nobody else is to have its name.
    assert!(again.confirm(&name("pump-1"), 1, &mut Unaudited).unwrap());
    let mut third = registrar(&disk);
    let refused = ask(&mut third, &code, "pump-1", 2);
    assert_eq!(refused, Err(Uncounted::ClaimTaken));
    let other = Code {
        key: seal::Key::new([1; 32]),
        ..code
    };
    let refused = ask(&mut third, &other, "pump-2", 1);
    assert_eq!(refused, Err(Uncounted::ClaimForged));
}

/// A public key that gives everybody the same secret: whoever has the code could say it.
#[test]
fn a_public_key_that_nobody_draws_gets_no_grant_and_no_name() {
    let disk = FaultDisk::new();
    let mut registrar = registrar(&disk);
    let opened = opened(&mut registrar, 1);
    let before = registrar.registry().clone();
    let (site, device, code) = (site(), name("pump-1"), code(&opened));
    let claimant = Claimant {
        code: &code,
        site: &site,
        device: &device,
    };
    // As shared/README.md has it: version, flags, id, public key; then the names, with lengths.
    let mut said = vec![1, 2];
    said.extend(opened.id.to_le_bytes());
    said.extend([0; 32]);
    let covered = [&said[..], b"\x05plant\x06pump-1"].concat();
    let mut nonce = [0; 24];
    nonce[0] = 4;
    let cipher = XChaCha20Poly1305::new(&(*opened.code.bytes()).into());
    let nothing = InOutBuf::from(&mut [][..]);
    let tag = cipher.encrypt_inout_detached(&XNonce::from(nonce), &covered, nothing);
    said.extend(tag.unwrap());
    let asked = claimant.asked(&said).expect("its tag holds");
    assert_eq!(asked.public, [0; 32]);
    let refused = registrar.claim((&site, &device), &said, NOON, &mut Unaudited);
    assert!(matches!(
        refused,
        Err(NotEnrolled::Refused(Uncounted::ClaimForged))
    ));
    assert_eq!(*registrar.registry(), before);
}

#[test]
fn a_list_says_how_far_each_claim_is() {
    let disk = FaultDisk::new();
    let mut registrar = registrar(&disk);
    let opened = opened(&mut registrar, 1);
    let code = code(&opened);
    let listed = |registrar: &mut Registrar, now_us| {
        let answer = registrar.carry_out(&Order::Claims, now_us, &mut Unaudited);
        let Answer::ClaimsListed(claims) = answer.unwrap() else {
            panic!("no list");
        };
        let told = serde_json::to_string(&claims).unwrap();
        assert!(!told.contains(&*opened.code.hex()), "{told}");
        let [claim] = &claims[..] else {
            panic!("{told}");
        };
        claim.clone()
    };
    let ShownClaim {
        state, expires_at, ..
    } = listed(&mut registrar, NOON);
    assert_eq!(state, ClaimState::Open);
    assert_eq!(expires_at, "2026-03-01T13:00:00Z");
    assert_eq!(
        listed(&mut registrar, NOON + HOUR).state,
        ClaimState::Expired
    );
    ask(&mut registrar, &code, "pump-1", 1).unwrap();
    let claim = listed(&mut registrar, NOON);
    assert_eq!((claim.state, claim.enrolled), (ClaimState::UsedUp, 1));
    assert_eq!(claim.waiting, [name("pump-1")]);
    registrar
        .confirm(&name("pump-1"), 1, &mut Unaudited)
        .unwrap();
    assert!(registrar.end_claims(NOON + 2, &mut Unaudited).unwrap());
    let claim = listed(&mut registrar, NOON + HOUR);
    assert_eq!((claim.state, claim.waiting.len()), (ClaimState::UsedUp, 0));
    assert_eq!(
        claim.ended_at.as_deref(),
        Some("2026-03-01T12:00:00.000002Z")
    );
}

/// A claim is open at the gateway that opened it: an export takes the devices alone along.
#[test]
fn an_export_has_no_claims_and_an_import_leaves_ones_own() {
    let (from, to) = (FaultDisk::new(), FaultDisk::new());
    let (mut old, mut new) = (registrar(&from), registrar(&to));
    let (theirs, ours) = (opened(&mut old, 2), opened(&mut new, 2));
    ask(&mut old, &code(&theirs), "pump-1", 1).unwrap();
    let exported = store::export(&at_rest(1), old.registry()).unwrap();
    to.put(store::INCOMING, exported);
    let import = Order::Import {
        key: None,
        replace: false,
    };
    new.carry_out(&import, NOON, &mut Unaudited).unwrap();
    let claims: Vec<ClaimId> = new.registry().claims().map(|(id, _)| id).collect();
    assert_eq!(claims, [ClaimId(ours.id)]);
    // It is known here now, and not waited for.
    let refused = ask(&mut new, &code(&ours), "pump-1", 1);
    assert_eq!(refused, Err(Uncounted::ClaimTaken));
}

/// One step in the life of a claim.
#[derive(Debug, Clone)]
enum Step {
    Ask(&'static str, u8),
    Heard(&'static str, u8),
    Order(Order),
    End,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || prop::sample::select(vec!["pump-1", "pump-2", "pump-3", "valve"]);
    let ordered = || device().prop_map(name);
    let step = prop_oneof![
        8 => (device(), 1..5_u8).prop_map(|(device, start)| Step::Ask(device, start)),
        4 => (device(), 1..5_u8).prop_map(|(device, id)| Step::Heard(device, id)),
        1 => ordered().prop_map(|device| Step::Order(Order::Add(device))),
        1 => ordered().prop_map(|device| Step::Order(Order::Rotate(device))),
        1 => ordered().prop_map(|device| Step::Order(Order::Revoke(device))),
        1 => Just(Step::End),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens: acts alone tell which keys are valid, what was granted is the one key of
    /// its device, who was heard keeps its key, and no more are enrolled than may be.
    #[test]
    fn every_life_of_a_claim_enrols_each_name_once_and_is_told(steps in steps()) {
        let disk = FaultDisk::new();
        let mut life = registrar(&disk);
        let code = code(&opened(&mut life, 2));
        let mut told = Told::default();
        let mut heard = BTreeSet::new();
        for step in &steps {
            let before = life.registry().clone();
            match step {
                Step::Ask(device, start) => {
                    let granted = ask_told(&mut life, &code, (device, *start), &mut told);
                    if let Ok(granted) = &granted {
                        prop_assert!(!heard.contains(device));
                        prop_assert_eq!(&live(life.registry(), device), std::slice::from_ref(granted));
                    } else {
                        prop_assert_eq!(life.registry(), &before);
                    }
                }
                Step::Heard(device, id) => {
                    if life.confirm(&name(device), *id, &mut told).is_ok() {
                        heard.insert(*device);
                    }
                }
                Step::Order(order) => {
                    if let (Ok(_), Order::Add(device) | Order::Rotate(device) | Order::Revoke(device))
                        = (life.carry_out(order, NOON, &mut told), order)
                    {
                        let of = ["pump-1", "pump-2", "pump-3", "valve"].into_iter();
                        heard.extend(of.filter(|one| *one == device.as_str()));
                    }
                }
                Step::End => {
                    life.end_claims(NOON + 2, &mut told).unwrap();
                }
                Step::Restart => life = registrar(&disk),
            }
            let registry = life.registry();
            prop_assert!(registry.is_sound());
            prop_assert_eq!(&told, &Told::of(registry));
            let claim = registry.claim(code.id).unwrap();
            prop_assert!(claim.enrolled() <= 2);
        }
    }
}
