//! Dead letters, the power cut at every operation on their way.

use std::sync::Arc;

use super::*;
use crate::spool::letters::{LetterState, Stored};

const RECORDS: u64 = 3;

fn queues() -> Vec<QueueSettings> {
    vec![settings("cloud", Priority::Normal, 32 << 10)]
}

fn open(disk: &FaultDisk) -> Spool {
    Spool::open(Arc::new(disk.clone()), &queues()).unwrap().0
}

fn filled(disk: &FaultDisk) -> Spool {
    let mut spool = open(disk);
    let records: Vec<Emitted> = (0..RECORDS)
        .map(|position| emitted(place(position, 0), &["cloud"], Priority::Normal))
        .collect();
    spool.append(now(1), &records).unwrap();
    spool.sync(now(1)).unwrap();
    spool
}

fn normal(spool: &Spool) -> QueueId {
    spool.queue("cloud", Priority::Normal).unwrap()
}

/// Dead-letters the oldest record; its id.
fn bury(spool: &mut Spool) -> Result<RecordId, SpoolError> {
    let id = normal(spool);
    let oldest = spool.read(id, 0, 1, 10_000)?.remove(0);
    let letter = Stored {
        sink: "cloud".into(),
        priority: Priority::Normal,
        index: oldest.index,
        at: now(2),
        attempts: 1,
        why: "HTTP 400: no".into(),
        record: oldest.record,
    };
    let refused = delivery(Outcome::Refused);
    assert_eq!(spool.bury(id, &letter, &pieces(), refused)?, None);
    Ok(letter.record.id)
}

/// Every sample is in one place: waiting, delivered or with a dead letter.
fn check(spool: &mut Spool) -> (u64, u64, u64) {
    let id = normal(spool);
    let waits = waiting(spool, id).len() as u64;
    let counters = spool.counters();
    let counts = counters.rule("cloud", "minute").unwrap();
    assert_eq!(counts.waiting_records(), waits);
    let (delivered, refused) = (counts.delivered_records, counts.refused_records);
    assert_eq!(delivered + refused + waits, RECORDS);
    assert_eq!(spool.letters().count("cloud"), refused);
    let sum = sums(spool, "cloud");
    let gone = sum.delivered_fresh + sum.refused_fresh;
    assert_eq!(gone + sum.waiting_fresh(), sum.spooled_fresh);
    (waits, delivered, refused)
}

#[test]
fn a_letter_is_listed_resent_and_delivered_or_dropped() {
    let disk = FaultDisk::new();
    let mut spool = filled(&disk);
    let first = bury(&mut spool).unwrap();
    let second = bury(&mut spool).unwrap();
    assert_eq!(check(&mut spool), (1, 0, 2));
    let mut spool = open(&disk);
    assert_eq!(check(&mut spool), (1, 0, 2));
    let listed = spool.letters().list("cloud").unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|(state, stored)| {
        *state == LetterState::Dead && stored.why == "HTTP 400: no" && stored.at == now(2)
    }));
    assert_eq!(spool.letters().list("other").unwrap(), []);

    // Sent again and refused again, it is a dead letter with what was said last.
    assert!(spool.letters_mut().resend("cloud", first).unwrap());
    assert!(
        !spool
            .letters_mut()
            .resend("cloud", RecordId([9; 16]))
            .unwrap()
    );
    let mut spool = open(&disk);
    assert_eq!(spool.letters_mut().again("cloud").unwrap().record.id, first);
    let id = normal(&spool);
    let refused = delivery(Outcome::Refused);
    spool
        .refused_again(id, first, "HTTP 422", &pieces(), refused)
        .unwrap();
    let (state, stored) = spool.letters().get("cloud", first).unwrap().unwrap();
    assert_eq!((state, stored.attempts), (LetterState::Dead, 2));
    assert_eq!(stored.why, "HTTP 422");
    assert_eq!(spool.letters_mut().again("cloud"), None);

    // Sent again and taken, its samples are delivered.
    spool.letters_mut().resend("cloud", first).unwrap();
    spool
        .resent(
            "cloud",
            (Priority::Normal, &stored.record),
            &pieces(),
            delivery(Outcome::Confirmed).cost(),
        )
        .unwrap();
    assert_eq!(check(&mut spool), (1, 1, 1));
    let mut spool = open(&disk);
    assert_eq!(check(&mut spool), (1, 1, 1));

    // Dropped, its samples stay dead-lettered.
    assert!(spool.letters_mut().discard("cloud", second).unwrap());
    assert!(!spool.letters_mut().discard("cloud", second).unwrap());
    let counters = spool.counters();
    assert_eq!(counters.rule("cloud", "minute").unwrap().refused_records, 1);
}

#[test]
fn a_full_store_takes_no_more_and_evicts_none() {
    let disk = FaultDisk::new();
    drop(filled(&disk));
    let mut few = queues();
    few[0].letters_max = 1;
    let mut spool = Spool::open(Arc::new(disk.clone()), &few).unwrap().0;
    bury(&mut spool).unwrap();
    let id = normal(&spool);
    let next = spool.read(id, 0, 1, 10_000).unwrap().remove(0);
    let (_, mut letter) = spool.letters().list("cloud").unwrap().remove(0);
    letter.index = next.index;
    letter.record = next.record;
    let refused = delivery(Outcome::Refused);
    assert_eq!(
        spool.bury(id, &letter, &pieces(), refused).unwrap(),
        Some(1)
    );
    assert_eq!(check(&mut spool), (2, 0, 1));
}

#[test]
fn a_letter_of_which_a_newer_revision_was_delivered_is_never_sent() {
    let disk = FaultDisk::new();
    let mut spool = open(&disk);
    let first = emitted(place(0, 0), &["cloud"], Priority::Normal);
    let mut newer = first.clone();
    newer.place = place(1, 0);
    newer.record.revision = 1;
    newer.record.id = RecordId([7; 16]);
    spool.append(now(1), &[first, newer]).unwrap();
    spool.sync(now(1)).unwrap();
    let id = normal(&spool);
    let letter = bury(&mut spool).unwrap();
    spool.letters_mut().resend("cloud", letter).unwrap();
    spool
        .commit(id, 2..=2, delivery(Outcome::Confirmed), &pieces())
        .unwrap();
    let mut spool = open(&disk);
    let (state, _) = spool.letters().get("cloud", letter).unwrap().unwrap();
    assert_eq!(state, LetterState::Old);
    assert_eq!(spool.letters_mut().again("cloud"), None);
    assert!(!spool.letters_mut().resend("cloud", letter).unwrap());
}

/// Both refused, both resent: the earlier revision goes first, and never behind the later one.
#[test]
fn of_a_window_the_earlier_revision_is_resent_first_and_not_after_the_later() {
    let disk = FaultDisk::new();
    let mut spool = open(&disk);
    let mut first = emitted(place(0, 0), &["cloud"], Priority::Normal);
    first.record.id = RecordId([9; 16]);
    let mut newer = first.clone();
    newer.place = place(1, 0);
    newer.record.revision = 1;
    newer.record.id = RecordId([7; 16]);
    spool.append(now(1), &[first, newer]).unwrap();
    spool.sync(now(1)).unwrap();
    let earlier = bury(&mut spool).unwrap();
    let later = bury(&mut spool).unwrap();
    for id in [earlier, later] {
        spool.letters_mut().resend("cloud", id).unwrap();
    }
    assert_eq!(
        spool.letters_mut().again("cloud").unwrap().record.id,
        earlier
    );
    // The later one is taken all the same: the earlier one is old.
    let (_, letter) = spool.letters().get("cloud", later).unwrap().unwrap();
    let of = (Priority::Normal, &letter.record);
    let cost = delivery(Outcome::Confirmed).cost();
    spool.resent("cloud", of, &pieces(), cost).unwrap();
    assert_eq!(spool.letters_mut().again("cloud"), None);
    let (state, _) = spool.letters().get("cloud", earlier).unwrap().unwrap();
    assert_eq!(state, LetterState::Old);
}

/// A sync that fails leaves the delivery of a letter counted once, whatever comes then.
#[test]
fn a_failed_sync_counts_a_resent_letter_once() {
    let disk = FaultDisk::new();
    let mut spool = filled(&disk);
    let first = bury(&mut spool).unwrap();
    bury(&mut spool).unwrap();
    spool.sync(now(40)).unwrap();
    spool.letters_mut().resend("cloud", first).unwrap();
    let (_, letter) = spool.letters().get("cloud", first).unwrap().unwrap();
    let of = (Priority::Normal, &letter.record);
    let cost = delivery(Outcome::Confirmed).cost();
    // The first is the letter's new name; behind it the journal's own, and its second try's.
    for nth in 2..=8 {
        disk.fail_sync(disk.syncs() + nth);
    }
    assert!(spool.resent("cloud", of, &pieces(), cost).is_err());
    let (state, _) = spool.letters().get("cloud", first).unwrap().unwrap();
    assert_eq!(
        state,
        LetterState::Sent,
        "the journal failed, not the rename"
    );
    disk.disarm();
    spool.resent("cloud", of, &pieces(), cost).unwrap();
    assert_eq!(check(&mut spool), (1, 1, 1));
    let mut spool = open(&disk);
    assert_eq!(check(&mut spool), (1, 1, 1));
}

/// One that goes again and cannot be read hides none of the others.
#[test]
fn a_letter_that_cannot_be_read_again_is_passed_over() {
    let disk = FaultDisk::new();
    let mut spool = filled(&disk);
    let first = bury(&mut spool).unwrap();
    let second = bury(&mut spool).unwrap();
    for id in [first, second] {
        spool.letters_mut().resend("cloud", id).unwrap();
    }
    let paths = disk.paths();
    let name = format!("{first}.again");
    let path = paths.iter().find(|path| path.ends_with(&name)).unwrap();
    disk.put(path, b"{".to_vec());
    assert_eq!(
        spool.letters_mut().again("cloud").unwrap().record.id,
        second
    );
    assert_eq!(spool.letters().unreadable(), 1);
}

#[test]
fn a_file_that_holds_no_letter_is_said_and_kept() {
    let disk = FaultDisk::new();
    let mut spool = filled(&disk);
    bury(&mut spool).unwrap();
    let paths = disk.paths();
    let path = paths.iter().find(|path| path.starts_with("dead-letters/"));
    disk.put(path.unwrap(), b"{}".to_vec());
    let (spool, report) = Spool::open(Arc::new(disk.clone()), &queues()).unwrap();
    assert_eq!((report.letters, report.letters_unreadable), (0, 1));
    assert!(spool.letters().is_empty());
    assert!(disk.paths().contains(path.unwrap()));
}

/// The power is cut at every operation from the first burial to the delivery of one letter and
/// the drop of the other; then all is done again from where it was.
#[test]
fn letters_survive_a_cut_anywhere_and_count_once() {
    let run = |spool: &mut Spool| -> Result<(), SpoolError> {
        let first = bury(spool)?;
        spool.sync(now(40))?;
        spool.letters_mut().resend("cloud", first)?;
        let cost = delivery(Outcome::Confirmed).cost();
        let (_, letter) = spool.letters().get("cloud", first)?.unwrap();
        let of = (Priority::Normal, &letter.record);
        spool.resent("cloud", of, &pieces(), cost)?;
        spool.stop(now(80))
    };
    let whole = FaultDisk::new();
    let mut spool = filled(&whole);
    let before = whole.mutations();
    run(&mut spool).unwrap();
    let operations = whole.mutations() - before;
    assert!(operations > 10, "{operations}");
    for cut in 1..=operations {
        for torn in [Torn::Nothing, Torn::Sectors(cut)] {
            let disk = FaultDisk::new();
            let mut spool = filled(&disk);
            disk.cut_at(disk.mutations() + cut);
            let ended = run(&mut spool);
            assert!(ended.is_err() || disk.is_cut(), "cut {cut}");
            let disk = disk.after_cut(torn);
            let mut spool = open(&disk);
            check(&mut spool);
            let mut spool = open(&disk);
            let (_, delivered, refused) = check(&mut spool);
            assert!(delivered + refused <= 1, "cut {cut}");
        }
    }
}
