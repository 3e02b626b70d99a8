//! Claims, with registry and audit log together.

use tidegate_shared::claim::{Claimant, Code, Secret};
use tidegate_shared::ids::SiteName;

use super::tests::{Rig, at, kinds, name, order};
use super::*;
use crate::disk::fault::Torn;
use crate::entry::Uncounted;
use crate::registry::ClaimWish;
use crate::registry::order::Opened;
use crate::registry::registrar::NotEnrolled;

const HOUR: i64 = 3_600_000_000;

fn site() -> SiteName {
    SiteName::try_from("plant").unwrap()
}

fn open(trust: &mut Trust, devices_max: u32) -> Opened {
    let wish = ClaimWish {
        prefix: name("pump"),
        devices_max,
        open_us: HOUR,
    };
    match order(trust, &Order::OpenClaim(wish)).unwrap() {
        Answer::ClaimOpened(opened) => opened,
        other => panic!("{other:?}"),
    }
}

/// A device asks in this start of it; the key that it is granted.
fn ask(
    trust: &mut Trust,
    opened: &Opened,
    device: &str,
    start: u8,
) -> Result<(u8, Key), NotEnrolled> {
    let (site, device) = (site(), name(device));
    let code = Code {
        id: ClaimId(opened.id),
        key: Key::new(*opened.code.bytes()),
    };
    let claimant = Claimant {
        code: &code,
        site: &site,
        device: &device,
    };
    let secret = Secret::new([start; 32]);
    let said = claimant.ask(&secret);
    let granted = trust.claim(at(2_000_000), (&site, &device), &said)?;
    Ok(claimant.granted(&secret, &granted.grant).unwrap())
}

fn in_force(trust: &mut Trust, device: &str) -> Vec<(u8, Key)> {
    let keys = trust.keyring().unwrap().devices.remove(&name(device));
    let keys = keys.unwrap_or_default().into_iter();
    keys.map(|key| (key.id, key.key)).collect()
}

fn refusal(done: Result<(u8, Key), NotEnrolled>) -> Uncounted {
    match done {
        Err(NotEnrolled::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_claim_does_is_noted_with_who_did_it_and_in_force() {
    let rig = Rig::new();
    let mut trust = rig.open();
    let opened = open(&mut trust, 1);
    let (id, key) = ask(&mut trust, &opened, "pump-1", 1).unwrap();
    assert_eq!(in_force(&mut trust, "pump-1"), [(id, key)]);
    // Another start, since the grant was lost.
    let (id, key) = ask(&mut trust, &opened, "pump-1", 2).unwrap();
    assert_eq!(in_force(&mut trust, "pump-1"), [(id, key.clone())]);
    let open = trust.keyring().unwrap().claims.open;
    let claim = &open[&ClaimId(opened.id)];
    assert!(claim.is_used_up && claim.waiting.contains(&name("pump-1")));
    assert!(!trust.end_claims(at(2_500_000)).unwrap());
    assert!(trust.confirm(at(3_000_000), &name("pump-1"), id).unwrap());
    assert!(trust.end_claims(at(3_000_000)).unwrap());
    let mut again = rig.open();
    assert_eq!(in_force(&mut again, "pump-1"), [(id, key)]);
    let claims = again.keyring().unwrap().claims;
    assert!(claims.open.is_empty());
    assert_eq!(claims.ended[&ClaimId(opened.id)], Uncounted::ClaimUsedUp);
    let refused = refusal(ask(&mut again, &opened, "pump-1", 3));
    assert_eq!(refused, Uncounted::ClaimUsedUp);
    let expected = [
        "claim-opened",
        "device-enrolled",
        "key-retired",
        "device-enrolled",
        "claim-closed",
    ];
    assert_eq!(kinds(&again), expected);
    let log = again.notes.log.as_ref().unwrap();
    let entries = log.snapshot().unwrap().entries(0..5).unwrap();
    let by_claim = Who::Claim {
        claim: opened.claim.claim.clone(),
    };
    let who: Vec<&Who> = entries.iter().map(|(_, entry)| &entry.who).collect();
    let user = Who::Control { uid: Some(7) };
    assert_eq!(who, [&user, &by_claim, &by_claim, &by_claim, &Who::Gateway]);
}

#[test]
fn a_claim_expires_once_and_takes_nobody_from_then_on() {
    let rig = Rig::new();
    let mut trust = rig.open();
    let opened = open(&mut trust, 5);
    let over = at(1_000_000 + HOUR);
    assert!(!trust.end_claims(at(HOUR)).unwrap());
    assert!(trust.end_claims(over).unwrap());
    assert!(!trust.end_claims(over).unwrap());
    let refused = refusal(ask(&mut trust, &opened, "pump-1", 1));
    assert_eq!(refused, Uncounted::ClaimExpired);
    assert_eq!(kinds(&rig.open()), ["claim-opened", "claim-closed"]);
}

/// Somebody who can write the registry's file, but not the log, brings a claim back.
#[test]
fn a_claim_that_the_log_does_not_say_is_open_enrols_nobody() {
    let rig = Rig::new();
    let mut trust = rig.open();
    let opened = open(&mut trust, 5);
    let before = rig.disk.content("registry").unwrap();
    order(&mut trust, &Order::CloseClaim(opened.id)).unwrap();
    let refused = refusal(ask(&mut trust, &opened, "pump-1", 1));
    assert_eq!(refused, Uncounted::ClaimClosed);
    rig.disk.put("registry", before);
    let mut again = rig.open();
    assert!(again.keyring().unwrap().claims.open.is_empty());
    let refused = refusal(ask(&mut again, &opened, "pump-1", 1));
    assert_eq!(refused, Uncounted::ClaimUnknown);
    assert_eq!(in_force(&mut again, "pump-1"), []);
}

/// Whatever step the power fails at: what is in force is noted, what was granted is in force, and a
/// device that asks again is granted a key that is.
#[test]
fn a_cut_at_any_step_of_a_claim_leaves_a_device_that_can_ask_again() {
    let steps = {
        let rig = Rig::new();
        let mut trust = rig.open();
        let opened = open(&mut trust, 1);
        let before = rig.disk.mutations();
        ask(&mut trust, &opened, "pump-1", 1).unwrap();
        rig.disk.mutations() - before
    };
    assert!(steps > 8, "{steps}");
    for nth in 0..steps {
        let mut rig = Rig::new();
        let mut trust = rig.open();
        let opened = open(&mut trust, 1);
        rig.disk.cut_at(rig.disk.mutations() + nth + 1);
        let granted = ask(&mut trust, &opened, "pump-1", 1);
        rig.disk = rig.disk.after_cut(Torn::Sectors(nth));
        let mut again = rig.open();
        let found = in_force(&mut again, "pump-1");
        let noted = kinds(&again).len();
        assert_eq!(found.len() + 1, noted, "step {nth}: in force as noted");
        if let Ok(granted) = granted {
            assert_eq!(found, [granted], "step {nth}");
        }
        for start in [1, 2] {
            let granted = ask(&mut again, &opened, "pump-1", start).unwrap();
            assert_eq!(in_force(&mut again, "pump-1"), [granted], "step {nth}");
        }
        let registry = again.registrar.registry();
        let claim = registry.claim(ClaimId(opened.id)).unwrap();
        assert_eq!(claim.enrolled(), 1, "step {nth}");
    }
}

#[test]
fn a_claim_that_cannot_be_noted_enrols_nobody() {
    let rig = Rig::new();
    let mut trust = rig.open();
    let opened = open(&mut trust, 1);
    rig.disk.fail_sync(rig.disk.syncs() + 1);
    let failed = ask(&mut trust, &opened, "pump-1", 1);
    assert!(matches!(failed, Err(NotEnrolled::Failed(_))), "{failed:?}");
    rig.disk.disarm();
    assert_eq!(in_force(&mut rig.open(), "pump-1"), []);
}
