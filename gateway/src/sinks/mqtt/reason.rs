//! What a broker's answers mean for delivery: reason codes of both versions.

use crate::sinks::delivery::Outcome;
use crate::sinks::session::excerpt;

/// Sends a batch again.
fn retry(why: String) -> Outcome {
    Outcome::Retry {
        why,
        after_us: None,
    }
}

/// What a CONNACK means; none: accepted.
pub fn of_connack(
    code: u8,
    words: Option<&str>,
    server_reference: Option<&str>,
) -> Option<Outcome> {
    if code == 0 {
        return None;
    }
    // A broker of 3.1.1 answers a client of 5 with a code of 3.1.1.
    let reason = if code < 0x80 {
        match code {
            1 => "it does not speak this version of MQTT (see `version`)",
            2 => "it does not take this client id (see `client_id`)",
            3 => "it is not available",
            4 => "user name or password is wrong",
            5 => "this client is not authorized to connect",
            _ => "it refuses the connection",
        }
    } else {
        name(code)
    };
    let mut why = format!("the broker refused the connection: {}", with(reason, words));
    if let Some(server) = server_reference {
        why = format!("{why}; it names {server} instead");
    }
    if code > 5 {
        why = format!("{why} (code 0x{code:02x})");
    }
    Some(match code {
        3 | 0x80 | 0x83 | 0x88 | 0x89 | 0x97 | 0x9f => retry(why),
        _ => Outcome::Broken { why },
    })
}

/// What a PUBACK means for its message, of `bytes` bytes in all; none: it was taken.
pub fn of_puback(topic: &str, bytes: usize, code: u8, words: Option<&str>) -> Option<Outcome> {
    let why = || {
        format!(
            "the broker did not take a message of {bytes} bytes on {topic}: {} (code 0x{code:02x})",
            with(name(code), words)
        )
    };
    match code {
        // 0x10: nobody has subscribed. That is no reason to send it again.
        0..0x80 => None,
        0x87 => Some(Outcome::Broken { why: why() }),
        0x90 | 0x99 => Some(Outcome::Refused { why: why() }),
        0x95 => Some(Outcome::TooLarge { why: why() }),
        _ => Some(retry(why())),
    }
}

/// What a DISCONNECT from the broker means.
pub fn of_disconnect(client_id: &str, code: u8, words: Option<&str>) -> Outcome {
    let why = format!(
        "the broker closed the connection: {} (code 0x{code:02x})",
        with(name(code), words)
    );
    match code {
        0x8e => Outcome::Broken {
            why: format!(
                "{why}: another client connected as `{client_id}`; give each its own `client_id`"
            ),
        },
        0x87 | 0x9a | 0x9b | 0x9c | 0x9d => Outcome::Broken { why },
        _ => retry(why),
    }
}

/// Whether a DISCONNECT may be about the message that it follows.
pub fn is_about_a_message(code: u8) -> bool {
    matches!(code, 0x81 | 0x82 | 0x83 | 0x90 | 0x94 | 0x95 | 0x99)
}

/// What a SUBACK means; none: granted.
pub fn of_suback(filter: &str, purpose: &str, code: u8, words: Option<&str>) -> Option<Outcome> {
    (code >= 0x80).then(|| Outcome::Broken {
        why: format!(
            "the broker did not let this client read {filter}, {purpose}: {} (code 0x{code:02x})",
            with(name(code), words)
        ),
    })
}

fn with(reason: &str, words: Option<&str>) -> String {
    match words {
        Some(words) => {
            format!("{reason}: {}", excerpt(words))
        }
        None => reason.to_owned(),
    }
}

/// A reason code of version 5 in words.
fn name(code: u8) -> &'static str {
    match code {
        0x00 => "no reason given",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "not possible there",
        0x84 => "it does not speak this version of MQTT (see `version`)",
        0x85 => "it does not take this client id (see `client_id`)",
        0x86 => "user name or password is wrong",
        0x87 => "not authorized",
        0x88 => "it is not available",
        0x89 => "it is busy",
        0x8a => "this client is banned",
        0x8b => "it is shutting down",
        0x8c => "it wants another way of authentication",
        0x8d => "nothing came within the keep-alive time",
        0x8e => "the session was taken over",
        0x8f => "the topic filter is invalid",
        0x90 => "the topic name is invalid",
        0x91 => "the packet id is in use",
        0x93 => "more messages in flight than it takes",
        0x95 => "the packet is too large",
        0x96 => "messages come too fast",
        0x97 => "a quota is exceeded",
        0x98 => "an administrator did it",
        0x99 => "the payload has not the format that it wants",
        0x9a => "it does not keep messages (see `retain`)",
        0x9b => "it does not take QoS 1",
        0x9c => "use another server",
        0x9d => "the server has moved",
        0x9f => "connections come too fast",
        _ => "for a reason of its own",
    }
}

#[cfg(test)]
mod tests {
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
    fn each_reason_of_a_puback_has_its_outcome() {
        for (code, expected) in [
            (0x00, "taken"),
            (0x10, "taken"),
            (0x80, "retry"),
            (0x83, "retry"),
            (0x87, "broken"),
            (0x90, "refused"),
            (0x91, "retry"),
            (0x95, "too large"),
            (0x97, "retry"),
            (0x99, "refused"),
            (0xff, "retry"),
        ] {
            let outcome = of_puback("a/b", 9, code, None);
            assert_eq!(kind(outcome.as_ref()), expected, "0x{code:02x}");
        }
    }

    #[test]
    fn each_refusal_of_a_connection_has_its_outcome() {
        for (code, expected) in [
            (0, "taken"),
            (1, "broken"),
            (2, "broken"),
            (3, "retry"),
            (4, "broken"),
            (5, "broken"),
            (0x80, "retry"),
            (0x84, "broken"),
            (0x85, "broken"),
            (0x86, "broken"),
            (0x87, "broken"),
            (0x88, "retry"),
            (0x89, "retry"),
            (0x8a, "broken"),
            (0x9d, "broken"),
            (0x9f, "retry"),
        ] {
            let outcome = of_connack(code, None, None);
            assert_eq!(kind(outcome.as_ref()), expected, "0x{code:02x}");
        }
    }

    #[test]
    fn what_the_broker_says_is_told() {
        let Some(Outcome::Broken { why }) = of_connack(0x9c, Some("gone\nnorth"), Some("b:1883"))
        else {
            panic!("another server is for a person to set");
        };
        assert_eq!(
            why,
            "the broker refused the connection: use another server: gone north; it names b:1883 \
             instead (code 0x9c)"
        );
        let Some(Outcome::Broken { why }) = of_puback("a/b", 7, 0x87, Some("acl")) else {
            panic!("rights are for a person to give");
        };
        assert_eq!(
            why,
            "the broker did not take a message of 7 bytes on a/b: not authorized: acl (code 0x87)"
        );
    }

    #[test]
    fn two_clients_of_one_name_are_for_a_person() {
        let outcome = of_disconnect("tidegate-a-b", 0x8e, None);
        let Outcome::Broken { why } = &outcome else {
            panic!("two of one name throw each other out for ever");
        };
        assert!(why.contains("`tidegate-a-b`"));
        assert_eq!(kind(Some(&of_disconnect("x", 0x8b, None))), "retry");
    }
}
