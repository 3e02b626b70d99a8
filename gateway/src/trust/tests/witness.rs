//! The witness's secret: sealed, drawn once, and never drawn anew where it is missed.

use super::*;
use crate::audit::witness::{FOLDER, Witness};

fn signer(rig: &Rig, given: Option<u8>) -> Result<String, TrustError> {
    let given = given.map(|byte| WitnessSeed::new([byte; 32]));
    let whose = (WHOSE.site, WHOSE.gateway);
    let signer = witness_signer(&rig.disk(), &rig.settings, whose, given)?;
    Ok(signer.public().text())
}

#[test]
fn a_witness_has_the_secret_that_was_drawn_once_or_taken_over_and_it_rests_sealed() {
    let rig = Rig::new();
    let drawn = signer(&rig, None).unwrap();
    assert!(drawn.starts_with("plant.0000000000000abc.tidegate/witness+"));
    assert_eq!(signer(&rig, None).unwrap(), drawn);
    assert_ne!(signer(&Rig::new(), None).unwrap(), drawn);
    let why = signer(&rig, Some(7)).unwrap_err();
    assert!(matches!(why, TrustError::OtherWitnessSeed), "{why}");

    let rig = Rig::new();
    let taken = signer(&rig, Some(7)).unwrap();
    assert_eq!(signer(&rig, None).unwrap(), taken);
    assert_eq!(signer(&rig, Some(7)).unwrap(), taken);
    let kept = rig.disk.content(WITNESS_SEED).unwrap();
    assert!(kept.len() > 32 && !kept.windows(8).any(|eight| eight == [7; 8]));
}

#[test]
fn without_a_key_to_seal_under_nobody_cosigns() {
    let rig = Rig {
        settings: SecuritySettings::default(),
        ..Rig::new()
    };
    let why = signer(&rig, Some(7)).unwrap_err();
    assert!(why.to_string().contains("openssl rand"), "{why}");
    assert!(
        rig.disk.content(WITNESS_SEED).is_err(),
        "nothing is written"
    );
}

#[test]
fn a_secret_that_is_missed_is_not_drawn_anew() {
    let rig = Rig::new();
    let mut trust = rig.open();
    order(&mut trust, &Order::Add(name("tank"))).unwrap();
    let whose = (WHOSE.site, WHOSE.gateway);
    let given = Some(WitnessSeed::new([7; 32]));
    let by = witness_signer(&rig.disk(), &rig.settings, whose, given).unwrap();
    let log = trust.notes.log.as_ref().unwrap();
    Witness::new(rig.disk(), by).watch(log.key()).unwrap();
    assert_eq!(rig.disk().list(FOLDER).unwrap().len(), 1);
    rig.disk().remove(WITNESS_SEED).unwrap();
    let why = signer(&rig, None).unwrap_err();
    assert!(matches!(why, TrustError::WitnessSeedGone), "{why}");
    assert!(rig.disk.content(WITNESS_SEED).is_err());
    signer(&rig, Some(7)).unwrap();
    signer(&rig, None).unwrap();
    // What is there and is none is told, too.
    let key = at_rest::key::read(rig.settings.key.as_ref().unwrap()).unwrap();
    at_rest::file::write(&rig.disk(), WITNESS_SEED, WITNESS_SEED, &key, b"short").unwrap();
    let why = signer(&rig, None).unwrap_err();
    assert!(matches!(why, TrustError::WitnessSeedUnsound), "{why}");
}
