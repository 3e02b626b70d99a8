//! The list of sinks and the words of a resume.

use super::*;

fn listed(name: &str) -> Listed {
    Listed {
        name: name.into(),
        type_name: "http",
        state: Some(Phase::CircuitOpen),
        records_waiting: Some(1_234),
        dead_letters: Some(2),
        last_error: Some("HTTP 401: no".into()),
    }
}

#[test]
fn a_row_each_then_what_went_wrong() {
    let quiet = Listed {
        type_name: "file",
        state: Some(Phase::Idle),
        records_waiting: Some(0),
        dead_letters: None,
        last_error: None,
        ..listed("local")
    };
    let listing = Listing {
        running: true,
        sinks: vec![listed("cloud"), quiet],
    };
    let expected = "         type         doing  waiting  dead letters
  cloud  http  circuit-open    1,234             2
  local  file          idle        0       unknown
  cloud: HTTP 401: no
";
    assert_eq!(render(&listing), expected, "\n{}", render(&listing));
}

#[test]
fn what_a_receiver_said_gives_a_terminal_no_orders() {
    let said = "HTTP 500: \u{1b}[2J\u{9b}1m\r\nno".to_owned();
    let listing = Listing {
        running: true,
        sinks: vec![Listed {
            last_error: Some(said.clone()),
            ..listed("cloud")
        }],
    };
    let shown = render(&listing);
    assert!(
        shown.ends_with("  cloud: HTTP 500: �[2J�1m��no\n"),
        "{shown:?}"
    );
    let before = sinks::Status {
        last_error: Some(said),
        ..sinks::Status::default()
    };
    let shown = resumed("cloud", &before);
    assert!(shown.ends_with(": HTTP 500: �[2J�1m��no\n"), "{shown:?}");
}

#[test]
fn without_a_gateway_nothing_is_doing() {
    let listing = Listing {
        running: false,
        sinks: vec![Listed {
            state: None,
            last_error: None,
            ..listed("cloud")
        }],
    };
    let expected = "no gateway runs; from its files:
         type  doing  waiting  dead letters
  cloud  http      -    1,234             2
";
    assert_eq!(render(&listing), expected, "\n{}", render(&listing));
}

#[test]
fn a_resume_says_what_happens_next() {
    let mut before = sinks::Status {
        phase: Phase::CircuitOpen,
        records_underway: 7,
        last_error: Some("HTTP 401: no".into()),
        ..sinks::Status::default()
    };
    assert_eq!(
        resumed("cloud", &before),
        "cloud was circuit-open: its batch of 7 records goes again now; `tidegate sink list` \
         shows what comes of it\n  its last error: HTTP 401: no\n"
    );
    before = sinks::Status::default();
    assert_eq!(
        resumed("cloud", &before),
        "cloud was idle: it was not held up: nothing changes\n"
    );
}
