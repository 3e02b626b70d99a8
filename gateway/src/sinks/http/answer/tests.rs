//! Every status, every header and every body, classified.

use super::*;

fn came(code: u16, body: &[u8]) -> Came {
    Came {
        status: StatusCode::from_u16(code).unwrap(),
        after_us: None,
        is_protobuf: false,
        body: body.to_vec(),
        is_whole: true,
    }
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Retry { .. } => "retry",
        Outcome::Broken { .. } => "broken",
        Outcome::Refused { .. } => "refused",
        Outcome::TooLarge { .. } => "too large",
    }
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Confirmed => String::new(),
        Outcome::Retry { why, .. }
        | Outcome::Broken { why }
        | Outcome::Refused { why }
        | Outcome::TooLarge { why } => why,
    }
}

#[test]
fn every_status_has_its_class() {
    for says in [Says::Status, Says::Partial, Says::RemoteWrite] {
        for (codes, expected) in [
            (&[200, 201, 202, 204, 206][..], "confirmed"),
            (&[408, 425, 429, 500, 501, 502, 503, 504, 507, 599], "retry"),
            (&[300, 301, 302, 304, 307, 308], "broken"),
            (&[401, 403, 404, 405, 407, 421], "broken"),
            (&[413], "too large"),
            (
                &[400, 402, 406, 409, 410, 411, 415, 418, 422, 451],
                "refused",
            ),
        ] {
            for code in codes {
                let outcome = classify(&came(*code, b""), says);
                assert_eq!(class(&outcome), expected, "{code}");
            }
        }
    }
}

/// Retried for ever, one old sample would hold up all that waits behind it.
#[test]
fn a_sample_too_old_for_prometheus_is_refused_and_no_other_500_is() {
    for said in [b"out of bounds\n".as_slice(), b"too old sample"] {
        let told = |says| class(&classify(&came(500, said), says));
        assert_eq!(told(Says::RemoteWrite), "refused");
        assert_eq!(told(Says::Status), "retry");
    }
    let failed = classify(&came(500, b"storage is not ready"), Says::RemoteWrite);
    assert_eq!(class(&failed), "retry");
}

#[test]
fn a_refusal_shows_what_the_receiver_said_on_one_line() {
    let outcome = classify(&came(400, b" no field\n\"unit\" \x1b[31m"), Says::Status);
    let expected = "HTTP 400 Bad Request: no field \"unit\"  [31m";
    assert_eq!(class(&outcome), "refused");
    assert_eq!(why(outcome), expected);
    let long = why(classify(&came(500, &b"x".repeat(1_000)), Says::Status));
    assert_eq!(
        long.len(),
        "HTTP 500 Internal Server Error: ".len() + EXCERPT_BYTES
    );
}

#[test]
fn a_400_that_wants_a_certificate_is_no_refusal_of_records() {
    let page = b"<html><head><title>400 No required SSL certificate was sent</title></head>";
    let outcome = classify(&came(400, page), Says::Status);
    assert_eq!(class(&outcome), "broken");
    assert!(why(outcome).contains("tls.cert"));
}

#[test]
fn a_collector_says_what_it_rejected() {
    let answer = |body: &[u8], is_protobuf, is_whole| {
        let came = Came {
            is_protobuf,
            is_whole,
            ..came(200, body)
        };
        classify(&came, Says::Partial)
    };
    let rejected = b"\x0a\x0c\x08\xac\x02\x12\x07no unit";
    assert_eq!(
        answer(rejected, true, true),
        Outcome::Refused {
            why: "the collector rejected 300 data points: no unit".into()
        }
    );
    assert_eq!(answer(b"", true, true), Outcome::Confirmed);
    assert_eq!(
        answer(b"\x0a\x06\x12\x04slow", true, true),
        Outcome::Confirmed
    );
    assert_eq!(
        answer(b"{\"partialSuccess\":{}}", false, true),
        Outcome::Confirmed
    );
    assert_eq!(class(&answer(b"\x0a\x0c\x08", true, false)), "retry");
    // Of the others the status line is the word.
    let cut = Came {
        is_whole: false,
        ..came(200, b"")
    };
    assert_eq!(classify(&cut, Says::Status), Outcome::Confirmed);
    let status = Came {
        is_protobuf: true,
        ..came(503, b"\x08\x0e\x12\x04full")
    };
    assert_eq!(
        why(classify(&status, Says::Partial)),
        "HTTP 503 Service Unavailable: full"
    );
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let after = |retry: &str, date: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after_us(&headers)
    };
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(after("120", None), Some(120_000_000));
    assert_eq!(after("99999999999999999999", None), None);
    assert_eq!(after("18446744073709551615", None), Some(u64::MAX));
    assert_eq!(
        after("Sun, 06 Nov 1994 08:50:37 GMT", date),
        Some(60_000_000)
    );
    assert_eq!(after("Sun, 06 Nov 1994 08:48:37 GMT", date), None);
    assert_eq!(after("Sun, 06 Nov 1994 08:48:37 GMT", None), None);
    assert_eq!(after("soon", date), None);
}

#[test]
fn secrets_that_a_receiver_repeats_are_not_told() {
    let outcome = Outcome::Broken {
        why: "HTTP 401 Unauthorized: no such token sesame".into(),
    };
    let secrets = [
        Zeroizing::new("sesame".to_owned()),
        Zeroizing::new(String::new()),
    ];
    assert_eq!(
        why(without_secrets(outcome, &secrets)),
        "HTTP 401 Unauthorized: no such token ***"
    );
}

/// A token longer than what is shown of an answer would not be found in it.
#[test]
fn a_secret_is_struck_out_before_the_answer_is_cut() {
    let long = "j".repeat(500);
    let secrets = [&long[..3], long.as_str()].map(|secret| Zeroizing::new(secret.to_owned()));
    let mut body = format!("invalid token {long}!").into_bytes();
    mask(&mut body, &secrets);
    let told = why(classify(&came(401, &body), Says::Status));
    assert!(told.contains("invalid token ***"), "{told}");
    assert!(!told.contains("jjj"), "{told}");
    assert!(body.ends_with(b"*!"));
}
