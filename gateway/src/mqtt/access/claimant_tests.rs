//! Who comes by a claim's code, and what they may.

use std::collections::BTreeSet;

use tidegate_shared::claim::{ClaimId, Code};
use tidegate_shared::seal::Key;

use super::tests::{GATEWAY_ID, claim, denied, device, open, site};
use super::*;

/// A claim of the names `pump-…`, by which `pump-3` enrolled that was not heard yet.
fn admission() -> Admission {
    Admission {
        password: Password::of(b"code"),
        claim: OpenClaim {
            code: Code {
                id: ClaimId(7),
                key: Key::new([7; 32]),
            },
            prefix: device("pump"),
            is_used_up: false,
            waiting: BTreeSet::from([device("pump-3")]),
        },
    }
}

fn access(admission: Admission) -> Access {
    let accounts = [("pump-1", "one"), ("pump-3", "three")];
    let accounts = accounts.map(|(name, password)| (device(name), open(&[password])));
    Access {
        admissions: vec![admission],
        ..Access::from_iter(accounts)
    }
}

fn doorkeeper() -> std::sync::Arc<Doorkeeper> {
    let (doorkeeper, _) = Doorkeeper::new(site(), GATEWAY_ID.into()).unwrap();
    doorkeeper.set(access(admission()));
    doorkeeper
}

fn come(doorkeeper: &Doorkeeper, name: &str, password: &str) -> Result<Identity, Denial> {
    let id = format!("tidegate-plant-{name}");
    doorkeeper.identify(&claim(name, &id, password))
}

fn claimant(name: &str) -> Identity {
    Identity::Claimant {
        name: device(name),
        password: Password::of(b"code"),
    }
}

#[test]
fn the_code_lets_in_under_names_that_it_may_enrol_alone() {
    let doorkeeper = doorkeeper();
    for name in ["pump-2", "pump-3"] {
        assert_eq!(come(&doorkeeper, name, "code"), Ok(claimant(name)));
    }
    let claimed = |name| Speaker::Claimed(device(name));
    for (name, why) in [
        ("pump-1", Why::WrongPassword),
        ("valve-1", Why::UnknownDevice),
        ("pump", Why::UnknownDevice),
        ("pumps-1", Why::UnknownDevice),
    ] {
        let refused = come(&doorkeeper, name, "code");
        assert_eq!(refused, denied(claimed(name), why), "{name}");
    }
    let wrong = come(&doorkeeper, "pump-2", "c0de");
    assert_eq!(wrong, denied(claimed("pump-2"), Why::UnknownDevice));
    // Its key, which it has by now, makes it a device.
    let Ok(Identity::Device { .. }) = come(&doorkeeper, "pump-3", "three") else {
        panic!("it has a key");
    };
    let id = "tidegate-plant-pump-1";
    let foreign = doorkeeper.identify(&claim("pump-2", id, "code"));
    assert_eq!(foreign, denied(claimed("pump-2"), Why::ForeignName));
}

#[test]
fn where_everybody_may_come_a_claimant_is_one_and_stays_when_the_door_closes() {
    let doorkeeper = doorkeeper();
    doorkeeper.set(Access {
        accounts: Accounts::Everyone,
        ..access(admission())
    });
    let come_in = come(&doorkeeper, "pump-2", "code").unwrap();
    assert_eq!(come_in, claimant("pump-2"));
    assert_eq!(come(&doorkeeper, "pump-2", "other"), Ok(Identity::Stranger));
    // It is the first device: its answer is still on the way.
    let mut enrolled = admission();
    enrolled.claim.waiting.insert(device("pump-2"));
    doorkeeper.set(Access {
        admissions: vec![enrolled],
        ..Access::from_iter([(device("pump-2"), open(&["two"]))])
    });
    assert!(doorkeeper.access().still_admits(&come_in));
    assert!(!doorkeeper.access().still_admits(&Identity::Stranger));
}

#[test]
fn a_claimant_is_let_go_when_its_device_was_heard_or_its_claim_ended() {
    let doorkeeper = doorkeeper();
    let (new, enrolled) = (claimant("pump-2"), claimant("pump-3"));
    let admits = || {
        let access = doorkeeper.access();
        [&new, &enrolled].map(|one| access.still_admits(one))
    };
    assert_eq!(admits(), [true, true]);
    let mut used_up = admission();
    used_up.claim.is_used_up = true;
    doorkeeper.set(access(used_up.clone()));
    assert_eq!(admits(), [false, true], "who waits may ask again");
    used_up.claim.waiting.clear();
    doorkeeper.set(access(used_up));
    assert_eq!(admits(), [false, false]);
    let topic = "tidegate/v1/plant/pump-3/up";
    assert_eq!(doorkeeper.may_publish(&enrolled, topic), Err(Why::Revoked));
}

#[test]
fn a_claimant_says_its_word_and_hears_the_answer_and_nothing_else() {
    let doorkeeper = doorkeeper();
    let identity = claimant("pump-2");
    let at = |rest: &str| format!("tidegate/v1/plant/{rest}");
    assert!(identity.may_publish(&site(), &at("pump-2/up")));
    for topic in [
        "pump-2/status",
        "pump-2/down",
        "pump-3/up",
        "gateway",
        "pump-1/up",
    ] {
        assert!(!identity.may_publish(&site(), &at(topic)), "{topic}");
    }
    for heard in ["pump-2/down", "gateway"] {
        assert!(identity.may_subscribe(&site(), &at(heard)), "{heard}");
    }
    for foreign in ["pump-3/down", "+/down", "#", "pump-2/up"] {
        assert!(!identity.may_subscribe(&site(), &at(foreign)), "{foreign}");
    }
    let id = "tidegate-plant-pump-2";
    let willed = Claim {
        will: Some("tidegate/v1/plant/pump-2/status"),
        ..claim("pump-2", id, "code")
    };
    let claimed = Speaker::Claimed(device("pump-2"));
    let refused = doorkeeper.identify(&willed);
    assert_eq!(refused, denied(claimed.clone(), Why::ForeignWill));
    assert_eq!(identity.speaker(), claimed, "its code is a batch's");
}
