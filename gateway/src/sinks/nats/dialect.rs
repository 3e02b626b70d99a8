//! NATS as a session speaks it: messages out, acknowledgements of `JetStream` in.
//!
//! Every message asks for its acknowledgement under a subject of its own, a number that is never
//! used twice on a connection: what is acknowledged is exactly what was sent.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::protocol::{self, Arrived, PING, PONG};
use crate::sinks::delivery::Outcome;
use crate::sinks::session::flight::Flight;
use crate::sinks::session::line::Lost;
use crate::sinks::session::{Dialect, excerpt, retry};

/// Messages that are unacknowledged at most.
pub const MESSAGES_MAX: usize = 256;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Subject.
    pub subject: String,
    /// Its record's id: `JetStream` drops a second one within its window.
    pub id: String,
    /// Payload.
    pub payload: Vec<u8>,
}

/// NATS over one connection.
pub struct Nats {
    /// Subject of acknowledgements, without their number.
    inbox: String,
    /// Largest message, headers included, in bytes.
    payload_bytes_max: usize,
    next: u64,
    /// Messages in flight by number.
    numbers: BTreeMap<u64, usize>,
    pings: u32,
}

impl Nats {
    /// Speaks over an opened connection that has subscribed to `inbox.*`.
    pub fn new(inbox: String, payload_bytes_max: usize) -> Self {
        Self {
            inbox,
            payload_bytes_max,
            next: 0,
            numbers: BTreeMap::new(),
            pings: 0,
        }
    }

    /// The message that an acknowledgement under this subject is for.
    fn acknowledged(&mut self, subject: &str) -> Option<usize> {
        let number = subject.strip_prefix(&self.inbox)?.strip_prefix('.')?;
        self.numbers.remove(&number.parse().ok()?)
    }
}

impl Dialect for Nats {
    type Script = Vec<Message>;

    fn begin(&mut self) {
        self.numbers.clear();
    }

    fn window(&self, _script: &Vec<Message>) -> usize {
        MESSAGES_MAX
    }

    fn put(
        &mut self,
        script: &Vec<Message>,
        index: usize,
        output: &mut Vec<u8>,
    ) -> Result<u64, Outcome> {
        let Some(message) = script.get(index) else {
            return Ok(0);
        };
        let headers = protocol::headers(&message.id);
        let bytes = headers.len() + message.payload.len();
        if bytes > self.payload_bytes_max {
            return Err(Outcome::TooLarge {
                why: format!(
                    "a message of {bytes} bytes on {}: the server takes at most {} \
                     (its `max_payload`)",
                    message.subject, self.payload_bytes_max
                ),
            });
        }
        let reply = format!("{}.{}", self.inbox, self.next);
        protocol::publish(&message.subject, &reply, &headers, &message.payload, output);
        self.numbers.insert(self.next, index);
        self.next += 1;
        Ok(message.payload.len() as u64)
    }

    fn put_behind(&mut self, _script: &Vec<Message>, _flight: &Flight, _output: &mut Vec<u8>) {}

    fn take(
        &mut self,
        input: &mut Vec<u8>,
        output: &mut Vec<u8>,
        underway: Option<(&Vec<Message>, &mut Flight)>,
    ) -> Result<bool, Lost> {
        let arrived =
            protocol::take(input).map_err(|error| Lost::from(retry(error.to_string())))?;
        let Some(arrived) = arrived else {
            return Ok(false);
        };
        match arrived {
            Arrived::Ping => output.extend(PONG),
            Arrived::Pong => self.pings = self.pings.saturating_sub(1),
            Arrived::Error(text) => return Err(of_error(&text).into()),
            Arrived::Message {
                subject,
                status,
                payload,
            } => {
                if let Some((script, flight)) = underway
                    && let Some(index) = self.acknowledged(&subject)
                    && let Some(message) = script.get(index)
                {
                    match of_acknowledgement(&message.subject, status, &payload) {
                        None => flight.confirmed(index),
                        Some(outcome) => flight.failed(index, outcome),
                    }
                }
            }
            Arrived::Info(_) | Arrived::Fine => {}
        }
        Ok(true)
    }

    fn ping(&mut self, output: &mut Vec<u8>) {
        output.extend(PING);
        self.pings += 1;
    }

    fn is_pinging(&self) -> bool {
        self.pings > 0
    }

    fn goodbye(&mut self, _output: &mut Vec<u8>) {
        // The protocol has none: what was written is flushed, and the connection closed.
    }
}

/// What `JetStream` answers to a message.
#[derive(Deserialize)]
struct Acknowledgement {
    stream: Option<String>,
    error: Option<Complaint>,
}

/// What it complains of.
#[derive(Deserialize)]
struct Complaint {
    code: u16,
    #[serde(default)]
    err_code: u16,
    #[serde(default)]
    description: String,
}

/// What an acknowledgement means; none: the message is in a stream, now or since an earlier
/// attempt.
fn of_acknowledgement(subject: &str, status: Option<u16>, payload: &[u8]) -> Option<Outcome> {
    let family = subject.split('.').next().unwrap_or(subject);
    if status == Some(503) {
        return Some(Outcome::Broken {
            why: format!(
                "no stream takes the subject {subject}, or JetStream is off there: \
                 create one, such as `nats stream add tidegate --subjects '{family}.>'`"
            ),
        });
    }
    let read: Option<Acknowledgement> = serde_json::from_slice(payload).ok();
    match read {
        Some(Acknowledgement {
            error: Some(error), ..
        }) => Some(of_complaint(subject, &error)),
        Some(Acknowledgement {
            stream: Some(_), ..
        }) => None,
        _ => Some(Outcome::Broken {
            why: format!(
                "what answers on {subject} is no stream of JetStream: \
                 another client replies to these messages"
            ),
        }),
    }
}

fn of_complaint(subject: &str, complaint: &Complaint) -> Outcome {
    let Complaint {
        code,
        err_code,
        description,
    } = complaint;
    let text = excerpt(description);
    let why = format!("JetStream did not take a message on {subject}: {text} (error {err_code})");
    match err_code {
        // Longer than the stream's max_msg_size.
        10_054 => Outcome::TooLarge { why },
        // Sealed; not enabled, for the account either; no such stream.
        10_109 | 10_076 | 10_039 | 10_059 => Outcome::Broken { why },
        _ if *code == 401 || *code == 403 => Outcome::Broken { why },
        _ => retry(why),
    }
}

/// What an error means that a server tells of a connection.
pub fn of_error(text: &str) -> Outcome {
    let shown = excerpt(text);
    let why = format!("the server says: {shown}");
    let lower = text.to_ascii_lowercase();
    let needs_a_person = [
        "authorization",
        "authentication",
        "permissions violation",
        "tls required",
        "revoked",
        "invalid subject",
        "invalid publish subject",
    ];
    if needs_a_person.iter().any(|part| lower.contains(part)) {
        Outcome::Broken { why }
    } else {
        retry(why)
    }
}

#[cfg(test)]
mod tests;
