//! The opening of a connection: CONNECT, and what has to be known or said before any record.

use std::time::Duration;

use zeroize::Zeroizing;

use super::dialect::{PACKET_BYTES_MAX, next};
use super::newest::Newest;
use super::packet::{self, Arrived, Connect, PINGREQ, Properties, REMAINING_BYTES_MAX};
use super::reason;
use crate::rules::settings::MqttVersion;
use crate::sinks::delivery::Outcome;
use crate::sinks::session::line::{Line, Lost};

/// Messages that are unacknowledged at most, where the broker does not ask for fewer.
pub const PUBLISHES_MAX: u16 = 64;
/// Longest silence of a connection, in seconds, where the broker does not ask for less: a ping a
/// minute is 4 bytes, and a mobile network forgets a silent connection after some minutes.
pub const KEEP_ALIVE_S: u16 = 60;
/// Packet id of the subscription: messages have ids from 2.
const SUBSCRIPTION_ID: u16 = 1;

/// How a connection introduces itself.
pub struct Hello {
    /// Client's name.
    pub client_id: String,
    /// User and password.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// Topic and payload of the will.
    pub will: Option<(String, Vec<u8>)>,
    /// Whether messages are to be kept.
    pub retain: bool,
}

/// What a broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages that may be unacknowledged.
    pub window: usize,
    /// Largest packet, in bytes.
    pub packet_bytes_max: usize,
    /// Longest silence.
    pub keep_alive: Duration,
}

/// Sends CONNECT and hears the answer.
pub async fn introduce(
    line: &mut Line,
    version: MqttVersion,
    hello: &Hello,
) -> Result<Limits, Lost> {
    let credentials = hello.credentials.as_ref();
    let will = hello.will.as_ref();
    let connect = Connect {
        client_id: &hello.client_id,
        keep_alive_s: KEEP_ALIVE_S,
        credentials: credentials.map(|(user, password)| (user.as_str(), password.as_str())),
        will: will.map(|(topic, payload)| (topic.as_str(), payload.as_slice())),
        packet_bytes_max: PACKET_BYTES_MAX as u32,
    };
    packet::connect(version, &connect, &mut line.output);
    match next(line, version).await? {
        Arrived::ConnAck { code, properties } => {
            let words = properties.words.as_deref();
            let elsewhere = properties.server_reference.as_deref();
            match reason::of_connack(code, words, elsewhere) {
                Some(refused) => Err(refused.into()),
                None => Ok(limits(&properties, hello.retain)?),
            }
        }
        Arrived::Disconnect { code, words } => {
            Err(reason::of_disconnect(&hello.client_id, code, words.as_deref()).into())
        }
        other => Err(unexpected("CONNECT", &other)),
    }
}

/// What a broker's answer allows; an error where that is not enough.
fn limits(properties: &Properties, retain: bool) -> Result<Limits, Outcome> {
    if properties.qos_max == Some(0) {
        return Err(Outcome::Broken {
            why: "the broker takes messages at QoS 0 only, so it confirms none".into(),
        });
    }
    if retain && properties.retain_available == Some(false) {
        return Err(Outcome::Broken {
            why: "the broker does not keep messages; set `retain = false`".into(),
        });
    }
    let receive_max = properties.receive_max.unwrap_or(u16::MAX).max(1);
    let packet_bytes_max = properties.packet_bytes_max.map_or(usize::MAX, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    });
    let keep_alive_s = match properties.keep_alive_s {
        None | Some(0) => KEEP_ALIVE_S,
        Some(seconds) => seconds.min(KEEP_ALIVE_S),
    };
    Ok(Limits {
        window: usize::from(receive_max.min(PUBLISHES_MAX)),
        packet_bytes_max: packet_bytes_max.min(REMAINING_BYTES_MAX),
        keep_alive: Duration::from_secs(u64::from(keep_alive_s)),
    })
}

/// Subscribes to a filter at a quality of service.
pub async fn subscribe(
    line: &mut Line,
    version: MqttVersion,
    (filter, qos): (&str, u8),
    purpose: &str,
) -> Result<(), Lost> {
    packet::subscribe(version, SUBSCRIPTION_ID, filter, qos, &mut line.output);
    loop {
        match next(line, version).await? {
            Arrived::SubAck { code, words, .. } => {
                return match reason::of_suback(filter, purpose, code, words.as_deref()) {
                    Some(refused) => Err(refused.into()),
                    None => Ok(()),
                };
            }
            Arrived::Disconnect { code, words } => {
                return Err(reason::of_disconnect("", code, words.as_deref()).into());
            }
            // Others' messages may come before the grant: not about this sink's state.
            _ => {}
        }
    }
}

/// Learns what the broker keeps on the topics of a filter; lost when it is silent for too long. See [`super::newest`].
pub async fn learn(
    line: &mut Line,
    version: MqttVersion,
    (filter, silence_max): (&str, Duration),
    newest: &mut Newest,
) -> Result<(), Lost> {
    packet::subscribe(version, SUBSCRIPTION_ID, filter, 0, &mut line.output);
    line.output.extend(PINGREQ);
    packet::unsubscribe(version, SUBSCRIPTION_ID, filter, &mut line.output);
    loop {
        // Bounded by silence: however much is kept, it may come slowly.
        let arrived = tokio::time::timeout(silence_max, next(line, version)).await;
        let arrived = arrived.map_err(|_| {
            Lost::from(Outcome::Retry {
                why: format!(
                    "the broker fell silent for {} s while it told what is retained",
                    silence_max.as_secs_f32()
                ),
                after_us: None,
            })
        })?;
        match arrived? {
            Arrived::SubAck { code, words, .. } => {
                let purpose = "so it cannot learn which values are kept (see `retain`)";
                let words = words.as_deref();
                if let Some(refused) = reason::of_suback(filter, purpose, code, words) {
                    return Err(refused.into());
                }
            }
            Arrived::Message {
                topic,
                payload,
                is_retained: true,
                ..
            } => newest.learn(&topic, &payload),
            Arrived::UnsubAck { .. } => return Ok(()),
            Arrived::Disconnect { code, words } => {
                return Err(reason::of_disconnect("", code, words.as_deref()).into());
            }
            _ => {}
        }
    }
}

fn unexpected(asked: &str, arrived: &Arrived) -> Lost {
    let what = match arrived {
        Arrived::ConnAck { .. } => "CONNACK",
        Arrived::Message { .. } => "PUBLISH",
        Arrived::PubAck { .. } => "PUBACK",
        Arrived::SubAck { .. } => "SUBACK",
        Arrived::UnsubAck { .. } => "UNSUBACK",
        Arrived::PingResp => "PINGRESP",
        Arrived::Disconnect { .. } => "DISCONNECT",
    };
    Lost::from(Outcome::Retry {
        why: format!("the broker answered {asked} by {what}"),
        after_us: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_says_nothing_gets_the_defaults() {
        let limits = limits(&Properties::default(), true).unwrap();
        assert_eq!(limits.window, 64);
        assert_eq!(limits.packet_bytes_max, REMAINING_BYTES_MAX);
        assert_eq!(limits.keep_alive, Duration::from_mins(1));
    }

    #[test]
    fn a_brokers_limits_hold_where_they_are_lower() {
        let said = Properties {
            receive_max: Some(10),
            packet_bytes_max: Some(2_000),
            keep_alive_s: Some(20),
            ..Properties::default()
        };
        let limits = limits(&said, false).unwrap();
        assert_eq!((limits.window, limits.packet_bytes_max), (10, 2_000));
        assert_eq!(limits.keep_alive, Duration::from_secs(20));
    }

    #[test]
    fn a_broker_without_acknowledgements_or_kept_messages_is_for_a_person() {
        let no_qos = Properties {
            qos_max: Some(0),
            ..Properties::default()
        };
        let no_retain = Properties {
            retain_available: Some(false),
            ..Properties::default()
        };
        assert!(matches!(
            limits(&no_qos, false),
            Err(Outcome::Broken { .. })
        ));
        assert!(matches!(
            limits(&no_retain, true),
            Err(Outcome::Broken { .. })
        ));
        assert!(limits(&no_retain, false).is_ok());
    }
}
