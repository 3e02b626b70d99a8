//! Two histories under one key: refused by one witness, found by comparing what two have.

use super::*;
use crate::audit::witness::{Refusal, Request, WitnessError};
use crate::disk::fault::Torn;

/// Two logs under one name and key that differ from an entry on.
pub(super) fn two_histories(
    same: u64,
    first: u64,
    second: u64,
) -> (Log, FaultDisk, Log, FaultDisk) {
    let (one, mut log_one) = log_of(same);
    let two = one.after_cut(Torn::Nothing);
    let mut log_two = Log::open(disk_of(&two), &seed(1)).unwrap();
    grow_to(&mut log_one, first);
    log_two.append(&entry(9_999)).unwrap();
    grow_to(&mut log_two, second);
    (log_one, one, log_two, two)
}

fn refused(given: Result<String, WitnessError>) -> Refusal {
    match given {
        Err(WitnessError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_witness_cosigns_what_goes_on_and_nothing_else() {
    let (mut log, one, other, _) = two_histories(100, 120, 130);
    let (_, mut witness, by) = witness(1, log.key());
    let ask = |log: &Log, old: u64| log.for_witness(old).unwrap().to_bytes();

    let answer = witness.add_checkpoint(&ask(&log, 0), 1_000).unwrap();
    let request = log.for_witness(0).unwrap();
    log.take_cosignature(&request, &answer, &by).unwrap();
    // Once more, of the same: the same state, a newer time.
    witness.add_checkpoint(&ask(&log, 120), 1_001).unwrap();

    let stale = refused(witness.add_checkpoint(&ask(&log, 110), 1_002));
    assert_eq!(
        stale,
        Refusal::Stale {
            known: 120,
            old: 110
        }
    );
    let bad = refused(witness.add_checkpoint(&ask(&other, 120), 1_002));
    assert_eq!(
        bad,
        Refusal::BadProof {
            old: 120,
            size: 130
        }
    );

    grow_to(&mut log, 130);
    witness.add_checkpoint(&ask(&log, 120), 1_003).unwrap();
    let conflict = refused(witness.add_checkpoint(&ask(&other, 130), 1_004));
    assert_eq!(conflict, Refusal::Conflict { size: 130 });
    let report = Copy::of(&one).verify(log.key(), &[by]).unwrap();
    assert_eq!(
        report.cosigned,
        [("other-1/witness".to_owned(), 120, 1_000)]
    );
}

#[test]
fn two_witnesses_that_were_shown_two_histories_find_it_by_comparing() {
    let (mut log_one, one, mut log_two, two) = two_histories(100, 120, 140);
    let key = log_one.key().clone();
    let mut kept = Vec::new();
    for (number, log) in [(1, &mut log_one), (2, &mut log_two)] {
        let (_, mut witness, by) = witness(number, &key);
        let request = log.for_witness(0).unwrap();
        let answer = witness.add_checkpoint(&request.to_bytes(), 7).unwrap();
        log.take_cosignature(&request, &answer, &by).unwrap();
        kept.push(request.checkpoint);
    }
    // Each history verifies by itself, and not with what the other witness has.
    let (one, two) = (Copy::of(&one), Copy::of(&two));
    one.verify(&key, &[]).unwrap();
    two.verify(&key, &[]).unwrap();
    let wrong = two.verify_from(&key, &[], Some(&kept[0])).unwrap_err();
    assert!(
        matches!(wrong, Wrong::TwoHistories { size: 120, .. }),
        "{wrong}"
    );
    let wrong = one.verify_from(&key, &[], Some(&kept[1])).unwrap_err();
    assert!(
        matches!(
            wrong,
            Wrong::CutBack {
                seen: 140,
                size: 120,
                ..
            }
        ),
        "{wrong}"
    );
    grow_to(&mut log_one, 150);
    // Nor with the other's cosignature put beside it.
    let mut mixed = two.clone();
    let (path, cosigned) = one
        .0
        .iter()
        .find(|(path, _)| path.starts_with("cosigned/"))
        .unwrap();
    mixed.0.insert(path.clone(), cosigned.clone());
    let wrong = mixed.verify(&key, &[]).unwrap_err();
    assert!(matches!(wrong, Wrong::TwoHistories { .. }), "{wrong}");
    let again = one.verify_from(&key, &[], Some(&kept[0])).unwrap();
    assert_eq!(again.seen, Some(120));
}

#[test]
fn a_log_that_was_cut_back_behind_a_cosignature_does_not_open() {
    let (fault, mut log) = log_of(100);
    let early = Copy::of(&fault);
    grow_to(&mut log, 110);
    let (_, mut witness, by) = witness(1, log.key());
    let request = log.for_witness(0).unwrap();
    let answer = witness.add_checkpoint(&request.to_bytes(), 7).unwrap();
    log.take_cosignature(&request, &answer, &by).unwrap();
    early.put_on(&fault);
    let Err(why) = Log::open(disk_of(&fault), &seed(1)) else {
        panic!("it opened");
    };
    assert!(why.to_string().contains("cut back"), "{why}");
    let wrong = Copy::of(&fault).verify(log.key(), &[]).unwrap_err();
    assert!(matches!(wrong, Wrong::CutBack { .. }), "{wrong}");
}

#[test]
fn a_witness_refuses_logs_that_it_was_not_told_and_keys_that_are_others() {
    let (_, log) = log_of(3);
    let fault = FaultDisk::new();
    let signer = WitnessSigner::new("w", &seed(9));
    let mut witness = Witness::new(disk_of(&fault), signer);
    let request = log.for_witness(0).unwrap().to_bytes();
    let unknown = refused(witness.add_checkpoint(&request, 1));
    assert!(matches!(unknown, Refusal::UnknownOrigin { .. }));
    let other = FaultDisk::new();
    let other = Log::create(disk_of(&other), ORIGIN, &seed(2)).unwrap();
    witness.watch(other.key()).unwrap();
    let foreign = refused(witness.add_checkpoint(&request, 1));
    assert!(matches!(foreign, Refusal::BadSignature { .. }), "{foreign}");
    assert!(matches!(
        witness.watch(log.key()),
        Err(AuditError::OtherKey { .. })
    ));
    for text in [
        "",
        "old 0\n\n",
        "old 01\n\nx",
        "new 0\n\nx",
        "old 0\nxx\n\nx",
    ] {
        let malformed = refused(witness.add_checkpoint(text.as_bytes(), 1));
        assert!(
            matches!(
                malformed,
                Refusal::Malformed { .. } | Refusal::UnknownOrigin { .. }
            ),
            "{text}"
        );
    }
}

#[test]
fn a_request_with_any_byte_changed_is_refused() {
    let (_, mut log) = log_of(100);
    let (fault, mut witness, _) = witness(1, log.key());
    let first = log.for_witness(0).unwrap().to_bytes();
    witness.add_checkpoint(&first, 1).unwrap();
    grow_to(&mut log, 137);
    let request = log.for_witness(100).unwrap();
    let bytes = request.to_bytes();
    assert_eq!(Request::parse(&bytes).unwrap(), request);
    let before = fault.mutations();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(witness.add_checkpoint(&changed, 2));
    }
    assert_eq!(fault.mutations(), before, "a refusal is remembered");
    witness.add_checkpoint(&bytes, 2).unwrap();
}

#[test]
fn a_cosignature_that_was_given_is_remembered_after_any_cut() {
    let (log_one, _, log_two, _) = two_histories(10, 20, 20);
    for nth in 1.. {
        let (fault, mut cosigner, _) = witness(1, log_one.key());
        fault.cut_at(fault.mutations() + nth);
        let one = log_one.for_witness(0).unwrap().to_bytes();
        let given = cosigner.add_checkpoint(&one, 1);
        if !fault.is_cut() {
            return;
        }
        assert!(given.is_err(), "given before it was durable");
        let left = fault.after_cut(Torn::Sectors(nth));
        let signer = WitnessSigner::new("other-1/witness", &seed(101));
        let mut cosigner = Witness::new(disk_of(&left), signer);
        let two = log_two.for_witness(0).unwrap().to_bytes();
        // Either it knows the first, or it never gave it away and may cosign the other.
        match cosigner.add_checkpoint(&two, 2) {
            Ok(_) => {
                refused(cosigner.add_checkpoint(&one, 3));
            }
            Err(WitnessError::Refused(Refusal::Stale { known: 20, .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_answer_that_is_no_cosignature_of_that_witness_is_not_kept() {
    let (_, log) = log_of(5);
    let key = log.key().clone();
    let (_, mut cosigner, by) = witness(1, &key);
    let (_, mut other, _) = witness(2, &key);
    let request = log.for_witness(0).unwrap();
    let bytes = request.to_bytes();
    let theirs = other.add_checkpoint(&bytes, 1).unwrap();
    for answer in ["", "no", &theirs] {
        let kept = log.take_cosignature(&request, answer, &by);
        assert!(
            matches!(kept, Err(AuditError::Malformed { .. })),
            "{answer}"
        );
    }
    let answer = cosigner.add_checkpoint(&bytes, 1).unwrap();
    log.take_cosignature(&request, &answer, &by).unwrap();
    // A signature line that nobody asked for is left out.
    let both = format!("{theirs}{answer}");
    log.take_cosignature(&request, &both, &by).unwrap();
    let kept = cosigned::all(&log.source(), &key, &[by]).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].1.signatures().len(), 2);
}

#[test]
fn a_cosignature_is_tied_to_its_time_its_witness_and_the_checkpoint() {
    let signer = WitnessSigner::new("w", &seed(9));
    let key = signer.public();
    assert_eq!(WitnessKey::parse(&key.text()).unwrap(), key);
    let text = key.text();
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let parsed = WitnessKey::parse(&String::from_utf8_lossy(&changed));
        assert!(
            parsed.is_err_and(|why| why.to_string().contains("witness")),
            "{at}"
        );
    }
    let (_, log) = log_of(1);
    assert!(WitnessKey::parse(log.key().text()).is_err());
    assert!(LogKey::parse(&key.text()).is_err());
}
