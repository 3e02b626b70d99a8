//! Letters and what became of them, in words.

use super::*;
use crate::dead_letters::Outcome;
use crate::rules::Priority;

fn letter() -> Letter {
    Letter {
        id: "0c0ffee0".repeat(4),
        state: LetterState::Dead,
        at: "2026-03-01T12:30:00Z".into(),
        clock_trusted: true,
        attempts: 1,
        why: "HTTP 400: no such field".into(),
        priority: Priority::Normal,
        record: json!({
            "rule": "minute", "device": "pump-1", "sensor": "Pressure",
            "start": "2026-03-01T12:29:00Z"
        }),
    }
}

#[test]
fn a_list_says_of_each_what_it_is_and_why_it_was_refused() {
    let again = Letter {
        state: LetterState::Again,
        ..letter()
    };
    let expected = "cloud has 2 dead letters
  0c0ffee00c0f  minute pump-1 Pressure, 2026-03-01T12:29:00Z; refused 2026-03-01T12:30:00Z
    HTTP 400: no such field
  0c0ffee00c0f  minute pump-1 Pressure, 2026-03-01T12:29:00Z; refused 2026-03-01T12:30:00Z; goes once more
    HTTP 400: no such field
";
    let text = listed("cloud", &[letter(), again]);
    assert_eq!(text, expected, "\n{text}");
    assert_eq!(listed("cloud", &[]), "cloud has no dead letters\n");
}

#[test]
fn a_letter_shows_the_words_and_the_record() {
    let untrusted = Letter {
        clock_trusted: false,
        ..letter()
    };
    let text = shown("cloud", &untrusted);
    for line in [
        "refused by cloud at 2026-03-01T12:30:00Z by a clock that was not to be trusted, after 1 attempts",
        "  the sink said: HTTP 400: no such field\n",
        "\"sensor\": \"Pressure\"",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn what_could_not_be_handled_says_why() {
    let one = |id: &str, outcome| Handled {
        id: id.into(),
        outcome,
        why: None,
    };
    let handled = [
        one("aa", Outcome::Again),
        one("bb", Outcome::Old),
        one("cc", Outcome::Unknown),
    ];
    let expected = "1 dead letter of cloud to be sent again; now
  not bb: old: the sink has taken a newer revision of this window, whose place it would take; it can be dropped
  not cc: there is no dead letter of this id
";
    let text = told("cloud", &handled, Some("now"));
    assert_eq!(text, expected, "\n{text}");
    assert_eq!(
        told("cloud", &[one("aa", Outcome::Dropped)], None),
        "1 dead letter of cloud dropped; their samples stay counted as dead-lettered\n"
    );
}
