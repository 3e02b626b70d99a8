//! Orders over a spool with a few letters.

use std::sync::Arc;

use super::*;
use crate::disk::FaultDisk;
use crate::record::{Emitted, Place, Record, example};
use crate::spool::journal::Shares;
use crate::spool::{self, QueueSettings};
use crate::time::Timestamp;

const LETTERS: u8 = 3;

/// A spool whose sink `cloud` has refused records 1 to 3 and waits with the fourth.
fn spool() -> Mutex<Spool> {
    let queues = [QueueSettings {
        sink: "cloud".into(),
        priority: Priority::Normal,
        bytes_max: 1 << 20,
        letters_max: 10,
    }];
    let (mut spool, _) = Spool::open(Arc::new(FaultDisk::new()), &queues).unwrap();
    let at = Timestamp {
        mono_us: 1,
        wall_us: 1_800_000_000_000_000,
        wall_trusted: true,
    };
    let records = (1..=LETTERS + 1).map(|number| Emitted {
        place: Place {
            position: number.into(),
            ordinal: 0,
        },
        forward: vec!["cloud".into()],
        priority: Priority::Normal,
        record: example(number),
    });
    spool.append(at, &records.collect::<Vec<_>>()).unwrap();
    spool.sync(at).unwrap();
    let queue = spool.queue("cloud", Priority::Normal).unwrap();
    for waiting in spool.read(queue, 0, LETTERS.into(), 1 << 20).unwrap() {
        let letter = Stored {
            sink: "cloud".into(),
            priority: Priority::Normal,
            index: waiting.index,
            at,
            attempts: 2,
            why: "HTTP 400: no".into(),
            record: waiting.record,
        };
        let delivery = spool::Delivery {
            outcome: spool::Outcome::Refused,
            at,
            bytes_before: 0,
            bytes_after: 0,
            header_bytes: 0,
            attempts: 1,
        };
        let buried = spool.bury(queue, &letter, &Shares::default(), delivery);
        assert_eq!(buried.unwrap(), None);
    }
    Mutex::new(spool)
}

fn order(spool: &Mutex<Spool>, wish: Wish) -> Result<Reply, DeadLetterError> {
    let sink = "cloud".to_owned();
    carry_out(spool, &Order { sink, wish })
}

fn listed(spool: &Mutex<Spool>, after: Option<&str>) -> Vec<Letter> {
    match order(spool, Wish::List(after.map(str::to_owned))).unwrap() {
        Reply::Listed { letters, more } => {
            assert!(!more);
            letters
        }
        other => panic!("not a list: {other:?}"),
    }
}

fn handled(spool: &Mutex<Spool>, wish: Wish) -> Vec<(String, Outcome)> {
    match order(spool, wish).unwrap() {
        Reply::Handled(all) => all.into_iter().map(|one| (one.id, one.outcome)).collect(),
        other => panic!("nothing was handled: {other:?}"),
    }
}

fn id(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

#[test]
fn letters_are_listed_by_id_and_behind_one() {
    let spool = spool();
    let all = listed(&spool, None);
    let ids: Vec<&str> = all.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(ids, [id(1), id(2), id(3)]);
    assert_eq!(listed(&spool, Some(&id(2))), all[2..]);
    assert_eq!(all[0].why, "HTTP 400: no");
    assert_eq!((all[0].attempts, all[0].state), (2, LetterState::Dead));
    assert_eq!(all[0].at, "2027-01-15T08:00:00Z");
    assert_eq!(all[0].record["id"], id(1));
    assert_eq!(all[0].record["values"]["count"], 1);
}

#[test]
fn a_letter_is_shown_by_digits_that_begin_only_it() {
    let spool = spool();
    let Ok(Reply::Shown(shown)) = order(&spool, Wish::Show("020".into())) else {
        panic!("it is not shown");
    };
    assert_eq!(shown.id, id(2));
    let why = order(&spool, Wish::Show("0".into())).unwrap_err();
    assert!(matches!(why, DeadLetterError::Ambiguous { letters: 3, .. }));
    for none in ["", "04", "x"] {
        let why = order(&spool, Wish::Show(none.into())).unwrap_err();
        assert!(
            matches!(why, DeadLetterError::UnknownLetter { .. }),
            "{why}"
        );
    }
}

#[test]
fn each_id_has_an_outcome_of_its_own() {
    let spool = spool();
    let ids = ["01", "0", "0404", "02"].map(str::to_owned).to_vec();
    assert_eq!(
        handled(&spool, Wish::Resend(ids)),
        [
            (id(1), Outcome::Again),
            ("0".to_owned(), Outcome::Ambiguous),
            ("0404".to_owned(), Outcome::Unknown),
            (id(2), Outcome::Again),
        ]
    );
    let states: Vec<_> = listed(&spool, None).iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [LetterState::Again, LetterState::Again, LetterState::Dead]
    );
    // What goes once more may still be dropped; a second time there is nothing.
    assert_eq!(
        handled(&spool, Wish::Drop(vec![id(2), id(2), id(3)])),
        [
            (id(2), Outcome::Dropped),
            (id(2), Outcome::Unknown),
            (id(3), Outcome::Dropped)
        ]
    );
    assert_eq!(listed(&spool, None).len(), 1);
}

#[test]
fn one_whose_newer_revision_was_delivered_is_not_sent_but_dropped() {
    let spool = spool();
    {
        let mut spool = spool.lock().unwrap();
        let newer = Record {
            revision: 1,
            ..example(1)
        };
        spool.letters_mut().supersede("cloud", &newer).unwrap();
    }
    assert_eq!(
        handled(&spool, Wish::Resend(vec![id(1)])),
        [(id(1), Outcome::Old)]
    );
    assert_eq!(listed(&spool, None)[0].state, LetterState::Old);
    assert_eq!(
        handled(&spool, Wish::Drop(vec![id(1)])),
        [(id(1), Outcome::Dropped)]
    );
}

#[test]
fn unknown_sinks_and_too_many_ids_are_refused() {
    let spool = spool();
    let wish = Wish::List(None);
    let sink = "clowd".to_owned();
    let why = carry_out(&spool, &Order { sink, wish }).unwrap_err();
    assert_eq!(
        why.to_string(),
        "there is no sink `clowd`; did you mean `cloud`?"
    );
    let many = vec![id(1); ORDERED_MAX + 1];
    let why = order(&spool, Wish::Drop(many)).unwrap_err();
    assert!(matches!(why, DeadLetterError::TooMany { ids: 65 }));
    assert_eq!(listed(&spool, None).len(), 3);
}
