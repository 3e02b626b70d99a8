//! Checkpoints as a sink received them: a history that was rewritten since does not stand up to them.

use super::histories::two_histories;
use super::*;
use crate::audit::told::{LINE_BYTES_MAX, Told, ToldReport, Unread, compare, read};
use crate::checkpoint::{RULE, SENSOR};
use crate::disk::fault::Torn;
use crate::record::{Record, example, to_json};

/// The newest checkpoint of a log.
fn note(log: &Log) -> String {
    let signed = log.snapshot().unwrap().into_signed();
    String::from_utf8(signed.to_bytes()).unwrap()
}

/// A checkpoint as a sink receives it.
fn record(note: &str) -> String {
    to_json(&Record {
        rule: RULE.into(),
        sensor: SENSOR.into(),
        note: Some(note.into()),
        ..example(1)
    })
}

/// The checkpoints of a log at some sizes.
fn notes(log: &mut Log, sizes: &[u64]) -> Vec<String> {
    let at = |size: &u64| {
        grow_to(log, *size);
        note(log)
    };
    sizes.iter().map(at).collect()
}

fn told_of(notes: &[String], key: &LogKey) -> Vec<Told> {
    read(notes.concat().as_bytes(), key).unwrap()
}

fn held(log: &FaultDisk, key: &LogKey, told: &[Told]) -> Result<Report, Wrong> {
    let copy = Copy::of(log);
    let paths = copy.0.keys().cloned().collect();
    let trusted = Trusted {
        key,
        witnesses: &[],
        seen: None,
        told,
    };
    verify(&copy, &paths, trusted)
}

#[test]
fn whatever_form_they_were_received_in_the_log_continues_them() {
    let (fault, mut log) = log_of(1);
    let notes = notes(&mut log, &[3, 3, 300, 301]);
    grow_to(&mut log, 310);
    let other = to_json(&example(2));
    let records: Vec<String> = notes.iter().map(|note| record(note)).collect();
    let forms = [
        notes.concat(),
        notes.join("\n\n"),
        format!("{other}\n{}\n{other}\n", records.join("\n")),
        format!("[{other},{}]", records.join(",")),
        format!("{}{}\n{}", notes[0], records[1], notes[2..].concat()),
    ];
    for form in forms {
        let told = read(form.as_bytes(), log.key()).unwrap();
        let report = held(&fault, log.key(), &told).unwrap();
        let wanted = ToldReport {
            checkpoints: 4,
            from: 3,
            to: 301,
        };
        assert_eq!(report.told, Some(wanted), "{form}");
        assert_eq!(compare(&told).unwrap(), wanted);
    }
}

#[test]
fn a_rewritten_history_is_found_by_what_went_upstream() {
    let (mut one, fault_one, two, fault_two) = two_histories(100, 120, 130);
    let key = one.key().clone();
    let told = told_of(&notes(&mut one, &[120, 125]), &key);
    held(&fault_one, &key, &told).unwrap();
    let wrong = held(&fault_two, &key, &told).unwrap_err();
    let Wrong::Told { wrong, of, first } = wrong else {
        panic!("{wrong:?}");
    };
    assert_eq!((wrong, of), (2, 2));
    assert!(matches!(*first, Wrong::TwoHistories { size: 120, .. }));
    // Those alone that are of both histories do not tell.
    let (_, mut common) = log_of(1);
    let common = told_of(&notes(&mut common, &[1, 100]), &key);
    held(&fault_one, &key, &common).unwrap();
    held(&fault_two, &key, &common).unwrap();
    // Without a log, two of one size do.
    grow_to(&mut one, 130);
    let told = told_of(&[note(&one), note(&two)], &key);
    let wrong = compare(&told).unwrap_err();
    assert!(matches!(wrong, Wrong::TwoTold { size: 130, .. }), "{wrong}");
}

#[test]
fn a_history_that_was_cut_back_is_found_by_what_went_upstream() {
    let (fault, mut log) = log_of(5);
    let earlier = fault.after_cut(Torn::Nothing);
    let told = told_of(&notes(&mut log, &[5, 6, 9]), log.key());
    let wrong = held(&earlier, log.key(), &told).unwrap_err();
    let Wrong::Told { wrong, of, first } = wrong else {
        panic!("{wrong:?}");
    };
    assert_eq!((wrong, of), (2, 3));
    assert!(matches!(
        *first,
        Wrong::CutBack {
            seen: 6,
            size: 5,
            ..
        }
    ));
}

#[test]
fn what_the_key_has_not_signed_or_nobody_sent_is_told_with_its_line() {
    let (_, log) = log_of(3);
    let whole = record(&note(&log));
    let read = |text: &str| read(text.as_bytes(), log.key()).unwrap_err();
    let changed = format!("{whole}\n{}", whole.replace("\\n3\\n", "\\n4\\n"));
    let why = read(&changed);
    assert!(matches!(why, Unread::Foreign { line: 2, .. }), "{why}");
    let (bare, cut) = (whole.replace("\"note\"", "\"tone\""), &whole[..50]);
    for text in [format!("{whole}\n{bare}"), format!("{whole}\n{cut}")] {
        let why = read(&text);
        assert!(matches!(why, Unread::Line { line: 2, .. }), "{why}");
    }
    for text in ["", "\n", &to_json(&example(1))] {
        assert!(matches!(read(text), Unread::Nothing));
    }
    let long = format!("{{\"rule\":\"{}\"}}", "a".repeat(LINE_BYTES_MAX));
    assert!(matches!(read(&long), Unread::Line { line: 1, .. }));
}
