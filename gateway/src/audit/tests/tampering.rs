//! Whatever is changed in a log's folder is found.

use super::*;
use crate::audit::tiles;

/// A log of 300 entries, a full tile and a partial one, that a witness has cosigned at 290.
fn cosigned_log() -> (FaultDisk, Log, WitnessKey) {
    let (fault, mut log) = log_of(290);
    let (_, mut witness, by) = witness(1, log.key());
    let request = log.for_witness(0).unwrap();
    let answer = witness
        .add_checkpoint(&request.to_bytes(), 1_700_000_000)
        .unwrap();
    log.take_cosignature(&request, &answer, &by).unwrap();
    grow_to(&mut log, 299);
    grow_to(&mut log, 300);
    (fault, log, by)
}

#[test]
fn a_change_of_any_byte_of_any_file_is_found() {
    let (fault, log, by) = cosigned_log();
    let (whole, key) = (Copy::of(&fault), log.key());
    let witnesses = std::slice::from_ref(&by);
    let report = whole.verify(key, witnesses).unwrap();
    assert_eq!(report.cosigned.len(), 1);
    assert!(report.not_covered.is_empty());
    assert_eq!(whole.0.len(), 10, "{:?}", whole.0.keys());
    let bytes = std::thread::scope(|threads| {
        let halves = [0, 1].map(|half| {
            let whole = whole.clone();
            threads.spawn(move || flip_each(whole, half, key, witnesses))
        });
        halves.map(|half| half.join().unwrap())
    });
    let all: usize = whole.0.values().map(Vec::len).sum();
    assert_eq!(bytes.iter().sum::<usize>(), all);
    assert!(all > 50_000, "{all}");
}

/// Changes each second byte in turn; gives how many.
fn flip_each(mut copy: Copy, half: usize, key: &LogKey, witnesses: &[WitnessKey]) -> usize {
    let lengths: Vec<(String, usize)> = copy
        .0
        .iter()
        .map(|(path, content)| (path.clone(), content.len()))
        .collect();
    let mut flipped = 0;
    for (path, length) in lengths {
        for at in (half..length).step_by(2) {
            let bit = 1 << (at / 2 % 8);
            copy.0.get_mut(&path).unwrap()[at] ^= bit;
            let found = copy.verify(key, witnesses);
            assert!(found.is_err(), "{path} byte {at} bit {bit}");
            copy.0.get_mut(&path).unwrap()[at] ^= bit;
            flipped += 1;
        }
    }
    assert!(copy.verify(key, witnesses).is_ok());
    flipped
}

#[test]
fn a_file_that_is_cut_lengthened_emptied_or_gone_is_found() {
    let (fault, log, by) = cosigned_log();
    let (whole, key) = (Copy::of(&fault), log.key());
    for (path, content) in &whole.0 {
        let mut longer = content.clone();
        longer.push(0);
        let shorter = content[..content.len() - 1].to_vec();
        let changes = [Some(longer), Some(shorter), Some(Vec::new()), None];
        for (number, changed) in changes.into_iter().enumerate() {
            let mut copy = whole.clone();
            match changed {
                Some(changed) => copy.0.insert(path.clone(), changed),
                None => copy.0.remove(path),
            };
            let found = copy.verify(key, std::slice::from_ref(&by));
            // Of an older partial tile nothing is asked but that it is right if it is there.
            let is_older = path.ends_with("/43");
            assert!(
                found.is_err() || (is_older && number == 3),
                "{path} {number}"
            );
        }
    }
}

#[test]
fn what_was_never_in_the_log_is_told_and_changes_nothing() {
    let (fault, log, _) = cosigned_log();
    let mut copy = Copy::of(&fault);
    let strange = [
        "checkpoint.new",
        "notes.txt",
        "tile/0/001",
        "tile/0/001.p/0",
        "tile/0/001.p/45",
        "tile/2/000.p/1",
        "tile/99/000",
        "tile/entries/002.p/1",
        "tile/entries/x001/000",
    ];
    for path in strange {
        copy.0.insert(path.to_owned(), b"anything".to_vec());
    }
    let report = copy.verify(log.key(), &[]).unwrap();
    assert_eq!(report.not_covered, strange);
    assert_eq!(report.by_others, 1);
}

/// The entries of the first bundle, and their copy with something done to them.
fn with_bundle(copy: &Copy, act: impl FnOnce(&mut Vec<Vec<u8>>)) -> Copy {
    let mut copy = copy.clone();
    let path = "tile/entries/000";
    let mut entries = tiles::split(&copy.0[path], 256).unwrap();
    act(&mut entries);
    copy.0.insert(path.to_owned(), tiles::bundle(&entries));
    copy
}

#[test]
fn an_entry_removed_moved_doubled_or_put_in_is_found_and_named() {
    let (fault, log, _) = cosigned_log();
    let whole = Copy::of(&fault);
    let found = |copy: &Copy| copy.verify(log.key(), &[]).unwrap_err().to_string();
    let removed = with_bundle(&whole, |entries| {
        entries.remove(9);
    });
    assert!(found(&removed).contains("entry 255 in tile/entries/000 is not whole"));
    let replaced = with_bundle(&whole, |entries| entries[9] = entries[8].clone());
    assert!(found(&replaced).contains("entry 9 in tile/entries/000 is not the one"));
    let moved = with_bundle(&whole, |entries| entries.swap(20, 30));
    assert!(found(&moved).contains("entry 20 in"));
    let doubled = with_bundle(&whole, |entries| {
        let one = entries[100].clone();
        entries.insert(100, one);
    });
    assert!(found(&doubled).contains("entry 256 in"));
    let shifted = with_bundle(&whole, |entries| {
        let one = entries[100].clone();
        entries.insert(100, one);
        entries.pop();
    });
    assert!(found(&shifted).contains("entry 101 in"));
}

#[test]
fn a_log_rewritten_with_all_its_tiles_is_found() {
    let (fault, log, _) = cosigned_log();
    let whole = Copy::of(&fault);
    // The same tiles as the log's, of entries that differ in one.
    let other = FaultDisk::new();
    let mut rewritten = Log::create(disk_of(&other), ORIGIN, &seed(2)).unwrap();
    let mut changed = entries(0..300);
    changed[77] = entry(1_000);
    rewritten.append_all(&changed[..250]).unwrap();
    rewritten.append_all(&changed[250..290]).unwrap();
    rewritten.append_all(&changed[290..]).unwrap();
    let mut copy = Copy::of(&other);
    for path in ["checkpoint", "public-key"] {
        copy.0.insert(path.to_owned(), whole.0[path].clone());
    }
    let wrong = copy.verify(log.key(), &[]).unwrap_err();
    assert!(matches!(wrong, Wrong::Root), "{wrong}");
    // With its own key all through it is another log.
    let wrong = Copy::of(&other).verify(log.key(), &[]).unwrap_err();
    assert!(matches!(wrong, Wrong::OtherKey), "{wrong}");
}

#[test]
fn what_stands_at_a_hash_that_was_changed_is_named() {
    let (fault, log, _) = cosigned_log();
    for (path, at, told) in [
        ("tile/0/000", 32 * 3, "tile/0/000 was changed: hash 3"),
        ("tile/0/001.p/44", 0, "tile/0/001.p/44 was changed: hash 0"),
        ("tile/1/000.p/1", 31, "tile/1/000.p/1 was changed: hash 0"),
        ("tile/0/001.p/43", 40, "tile/0/001.p/43 is no beginning"),
        ("public-key", 5, "public-key is not the key given"),
    ] {
        let mut copy = Copy::of(&fault);
        copy.0.get_mut(path).unwrap()[at] ^= 4;
        let wrong = copy.verify(log.key(), &[]).unwrap_err().to_string();
        assert!(wrong.contains(told), "{wrong}");
    }
}

#[test]
fn a_proof_with_any_byte_changed_proves_nothing() {
    let (_, log) = log_of(300);
    let key = log.key().clone();
    let (_, mut witness, by) = witness(1, &key);
    let request = log.for_witness(0).unwrap();
    let answer = witness.add_checkpoint(&request.to_bytes(), 5).unwrap();
    log.take_cosignature(&request, &answer, &by).unwrap();
    let snapshot = log.snapshot().unwrap();
    let signed = cosigned::newest_over(&log.source(), &key, 12)
        .unwrap()
        .unwrap();
    let text = snapshot.prove(12, &signed).unwrap().to_bytes();
    let bytes = entry(12).to_bytes().unwrap();
    let witnesses = std::slice::from_ref(&by);
    let holds = |text: &[u8], entry: &[u8]| {
        let signed = proof::Proof::parse(text)
            .and_then(|proof| proof.check(entry, &key, witnesses))
            .ok();
        signed.is_some_and(|signed| signed.cosignatures() == [(by.name().to_owned(), 5)])
    };
    assert!(holds(&text, &bytes));
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        assert!(!holds(&changed, &bytes), "byte {at}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(!holds(&text, &changed), "byte {at}");
    }
}
