//! What JetStream's answers mean.

use super::*;

fn kind(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        None | Some(Outcome::Confirmed) => "taken",
        Some(Outcome::Retry { .. }) => "retry",
        Some(Outcome::Broken { .. }) => "broken",
        Some(Outcome::Refused { .. }) => "refused",
        Some(Outcome::TooLarge { .. }) => "too large",
    }
}

#[test]
fn each_acknowledgement_has_its_outcome() {
    for (payload, expected) in [
        (r#"{"stream":"S","seq":7}"#, "taken"),
        (r#"{"stream":"S","seq":7,"duplicate":true}"#, "taken"),
        (
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}"#,
            "retry",
        ),
        (
            r#"{"error":{"code":503,"err_code":10047,"description":"insufficient storage"}}"#,
            "retry",
        ),
        (
            r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}"#,
            "too large",
        ),
        (
            r#"{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}}"#,
            "broken",
        ),
        (
            r#"{"error":{"code":503,"err_code":10039,"description":"JetStream not enabled for account"}}"#,
            "broken",
        ),
        ("pong from somebody else", "broken"),
        ("{}", "broken"),
    ] {
        let outcome = of_acknowledgement("a.b", None, payload.as_bytes());
        assert_eq!(kind(outcome.as_ref()), expected, "{payload}");
    }
}

#[test]
fn a_missing_stream_is_told_with_its_subject_and_how_to_make_it() {
    let Some(Outcome::Broken { why }) = of_acknowledgement("tidegate.a.b", Some(503), b"") else {
        panic!("a stream is for a person to make");
    };
    assert!(why.contains("the subject tidegate.a.b"));
    assert!(why.contains("nats stream add tidegate --subjects 'tidegate.>'"));
}

#[test]
fn each_error_of_a_connection_has_its_outcome() {
    for (text, expected) in [
        ("Authorization Violation", "broken"),
        ("User Authentication Expired", "broken"),
        ("Permissions Violation for Publish to \"a.b\"", "broken"),
        ("Secure Connection - TLS Required", "broken"),
        ("Stale Connection", "retry"),
        ("maximum connections exceeded", "retry"),
        ("Server Shutdown", "retry"),
    ] {
        assert_eq!(kind(Some(&of_error(text))), expected, "{text}");
    }
}

#[test]
fn an_acknowledgement_counts_for_its_own_message_only_once() {
    let message = |id: &str| Message {
        subject: "a.b".into(),
        id: id.into(),
        payload: b"{}".to_vec(),
    };
    let script = vec![message("1"), message("2")];
    let mut nats = Nats::new("in".into(), 1_000);
    let mut flight = Flight::new(2, |_| false);
    let mut output = Vec::new();
    nats.begin();
    while let Some(index) = flight.next(nats.window(&script)) {
        nats.put(&script, index, &mut output).unwrap();
    }
    let mut hear = |nats: &mut Nats, flight: &mut Flight, subject: &str| {
        let text = format!("MSG {subject} 1 22\r\n{{\"stream\":\"S\",\"seq\":7}}\r\n");
        let mut input = text.into_bytes();
        while nats
            .take(&mut input, &mut output, Some((&script, flight)))
            .unwrap()
        {}
    };
    for stray in ["in.9", "in.x", "out.0", "in", "in.1", "in.1"] {
        hear(&mut nats, &mut flight, stray);
    }
    assert_eq!((flight.taken(), flight.in_flight()), (0, 1));
    hear(&mut nats, &mut flight, "in.0");
    assert_eq!(flight.outcome(), Outcome::Confirmed);
}

#[test]
fn a_message_beyond_the_servers_limit_is_not_sent() {
    let script = vec![Message {
        subject: "a.b".into(),
        id: "1".into(),
        payload: vec![b'x'; 100],
    }];
    let mut output = Vec::new();
    let mut nats = Nats::new("in".into(), 100);
    let refused = nats.put(&script, 0, &mut output).err();
    assert_eq!(kind(refused.as_ref()), "too large");
    assert_eq!(output, b"");
}
