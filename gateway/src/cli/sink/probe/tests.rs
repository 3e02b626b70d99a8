//! A probe's end in words and as JSON.

use super::*;
use crate::sinks::delivery::Answer;

fn probed(outcome: Outcome) -> Probed {
    Probed {
        id: "0c0ffee0".repeat(4),
        body_bytes: 312,
        answer: Answer {
            outcome,
            sent_bytes: 210,
            header_bytes: 380,
            taken: 0,
        },
        took_ms: 12,
    }
}

fn sink() -> SinkSettings {
    SinkSettings::new("cloud", SinkKind::http("http://127.0.0.1:1/"))
}

#[test]
fn a_confirmed_probe_tells_time_and_bytes() {
    let text = render(&sink(), &probed(Outcome::Confirmed));
    let expected = "cloud confirmed the probe in 12 ms
  record 0c0ffee00c0ffee00c0ffee00c0ffee0
  body 312 bytes, 210 as sent, and about 380 of heads
  it stays with the receiver: device, sensor and rule are tidegate-probe
";
    assert_eq!(text, expected, "\n{text}");
    let json = to_json(&sink(), &probed(Outcome::Confirmed));
    assert_eq!(
        (&json["outcome"], &json["why"]),
        (&"confirmed".into(), &Value::Null)
    );
}

#[test]
fn every_other_end_has_the_sinks_words_and_what_to_try() {
    let why = || "its words".to_owned();
    let ends = [
        (
            Outcome::Retry {
                why: why(),
                after_us: Some(1_500_000),
            },
            "retry",
        ),
        (Outcome::Broken { why: why() }, "broken"),
        (Outcome::TooLarge { why: why() }, "too-large"),
        (Outcome::Refused { why: why() }, "refused"),
    ];
    for (outcome, name) in ends {
        let probed = probed(outcome);
        let text = render(&sink(), &probed);
        let first = format!("cloud did not take the probe ({name}, after 12 ms): its words\n");
        assert!(text.starts_with(&first), "{text}");
        assert!(text.contains("\n  try: "), "{text}");
        let asked = text.contains("it asked for 2 s before the next attempt");
        assert_eq!(asked, name == "retry", "{text}");
        let json = to_json(&sink(), &probed);
        assert_eq!(
            (&json["outcome"], &json["why"]),
            (&name.into(), &"its words".into())
        );
    }
}
