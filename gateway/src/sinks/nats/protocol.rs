//! The NATS protocol of a client that publishes to `JetStream`: lines of text, payloads behind
//! their length.
//!
//! ```text
//! server: INFO {json}    MSG subject sid [reply] bytes    +OK    PING
//!         HMSG subject sid [reply] header-bytes bytes    -ERR 'text'    PONG
//! client: CONNECT {json}    SUB subject sid    PING    PONG
//!         HPUB subject reply header-bytes bytes
//! every line ends with CR LF, and so does what stands behind MSG, HMSG and HPUB
//! ```

use serde::{Deserialize, Serialize};

/// Longest line that is read: an INFO names every server of a cluster.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest message that is read: an acknowledgement has some hundred bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Looks whether somebody is there.
pub const PING: &[u8] = b"PING\r\n";
/// Answers that.
pub const PONG: &[u8] = b"PONG\r\n";
/// What a block of headers begins with.
const HEADERS: &str = "NATS/1.0";
/// The header by which `JetStream` knows a message that it has already.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What servers take where they do not say: their own default.
fn usual_max_payload() -> usize {
    1 << 20
}

/// What a server says about itself.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Largest message, headers and payload, in bytes.
    #[serde(default = "usual_max_payload")]
    pub max_payload: usize,
    /// Whether messages may have headers.
    pub headers: bool,
    /// What a client with a key has to sign.
    pub nonce: String,
    /// Whether it goes on in TLS.
    pub tls_required: bool,
    /// Whether it can go on in TLS.
    pub tls_available: bool,
}

/// What a client says about itself.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the fields are those of the protocol"
)]
#[derive(Clone, Serialize)]
pub struct Connect<'a> {
    /// No +OK for every line.
    pub verbose: bool,
    /// No checks of subjects.
    pub pedantic: bool,
    /// Whether it insists on TLS.
    pub tls_required: bool,
    /// Its name, for people.
    pub name: &'a str,
    /// Its language.
    pub lang: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Further INFOs may come.
    pub protocol: u8,
    /// Its messages have headers.
    pub headers: bool,
    /// It wants to hear when nobody takes a message.
    pub no_responders: bool,
    /// It does not want its own messages.
    pub echo: bool,
    /// Who it is.
    #[serde(flatten)]
    pub login: Login,
}

/// Who a client is.
#[derive(Default, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    /// User's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// Token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<String>,
    /// User's JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    /// Signature of the nonce, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// About the server.
    Info(Info),
    /// A message.
    Message {
        /// Subject.
        subject: String,
        /// Status of its headers, if it has one: 503, nobody takes it.
        status: Option<u16>,
        /// Payload.
        payload: Vec<u8>,
    },
    /// Is somebody there?
    Ping,
    /// Somebody is.
    Pong,
    /// Fine.
    Fine,
    /// What is wrong.
    Error(String),
}

/// Why what arrived is not NATS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Longer than what is read.
    #[error("a message of {bytes} bytes arrived; at most {bytes_max} are read")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The most that is read.
        bytes_max: usize,
    },
    /// Not a line that a server sends.
    #[error("`{line}` arrived: this is no NATS server")]
    Malformed {
        /// Its beginning.
        line: String,
    },
}

/// Writes CONNECT.
pub fn connect(connect: &Connect<'_>, into: &mut Vec<u8>) {
    let text = serde_json::to_string(connect)
        .expect("a greeting has text keys and plain values, which serde_json always writes");
    into.extend_from_slice(b"CONNECT ");
    into.extend_from_slice(text.as_bytes());
    into.extend_from_slice(b"\r\n");
}

/// Writes SUB.
pub fn subscribe(subject: &str, number: u8, into: &mut Vec<u8>) {
    into.extend_from_slice(format!("SUB {subject} {number}\r\n").as_bytes());
}

/// A message's headers: its id.
pub fn headers(id: &str) -> String {
    format!("{HEADERS}\r\n{MESSAGE_ID}: {id}\r\n\r\n")
}

/// Writes HPUB with [`headers`].
pub fn publish(subject: &str, reply: &str, headers: &str, payload: &[u8], into: &mut Vec<u8>) {
    let (header, total) = (headers.len(), headers.len() + payload.len());
    into.extend_from_slice(format!("HPUB {subject} {reply} {header} {total}\r\n").as_bytes());
    into.extend_from_slice(headers.as_bytes());
    into.extend_from_slice(payload);
    into.extend_from_slice(b"\r\n");
}

/// Takes what arrived first off the front; none while it is not whole.
pub fn take(input: &mut Vec<u8>) -> Result<Option<Arrived>, ProtocolError> {
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() > LINE_BYTES_MAX {
            Err(malformed(input))
        } else {
            Ok(None)
        };
    };
    let line = String::from_utf8_lossy(input.get(..end).unwrap_or(&[])).into_owned();
    let begin = end + 2;
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
    let arrived = match word.to_ascii_uppercase().as_str() {
        "PING" => Arrived::Ping,
        "PONG" => Arrived::Pong,
        "+OK" => Arrived::Fine,
        "-ERR" => Arrived::Error(rest.trim().trim_matches('\'').to_owned()),
        "INFO" => match serde_json::from_str(rest) {
            Ok(info) => Arrived::Info(info),
            Err(_) => return Err(malformed(input)),
        },
        "MSG" | "HMSG" => {
            let has_headers = word.len() == 4;
            let Some((subject, header, total)) = lengths(rest, has_headers) else {
                return Err(malformed(input));
            };
            if total > MESSAGE_BYTES_MAX {
                return Err(ProtocolError::TooLong {
                    bytes: total,
                    bytes_max: MESSAGE_BYTES_MAX,
                });
            }
            let body = begin..begin + total;
            if input.len() < body.end + 2 {
                return Ok(None);
            }
            let body = input.get(body).unwrap_or(&[]);
            let (headers, payload) = body.split_at_checked(header).unwrap_or((body, &[]));
            let message = Arrived::Message {
                subject,
                status: status(headers),
                payload: payload.to_vec(),
            };
            input.drain(..begin + total + 2);
            return Ok(Some(message));
        }
        _ => return Err(malformed(input)),
    };
    input.drain(..begin);
    Ok(Some(arrived))
}

/// Subject, bytes of headers and bytes in all of a message's line.
fn lengths(rest: &str, has_headers: bool) -> Option<(String, usize, usize)> {
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let (total, before) = words.split_last()?;
    let total = total.parse().ok()?;
    let header = if has_headers {
        before.last()?.parse().ok()?
    } else {
        0
    };
    (header <= total && before.len() >= 2).then(|| (words[0].to_owned(), header, total))
}

/// The number behind `NATS/1.0`.
fn status(headers: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(headers);
    let first = text.lines().next()?.strip_prefix(HEADERS)?;
    first.split_ascii_whitespace().next()?.parse().ok()
}

fn malformed(input: &[u8]) -> ProtocolError {
    let text = String::from_utf8_lossy(input);
    let line = text.lines().next().unwrap_or_default();
    ProtocolError::Malformed {
        line: line
            .chars()
            .take(40)
            .map(|sign| if sign.is_control() { ' ' } else { sign })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: Vec<u8>) -> Vec<Arrived> {
        let mut found = Vec::new();
        while let Some(arrived) = take(&mut input).unwrap() {
            found.push(arrived);
        }
        assert_eq!(input, b"");
        found
    }

    #[test]
    fn what_a_server_says_is_read() {
        let said = b"INFO {\"server_id\":\"x\",\"max_payload\":1048576,\"headers\":true}\r\n\
            PING\r\npong\r\n+OK\r\n-ERR 'Authorization Violation'\r\n\
            MSG a.b 1 5\r\nhello\r\nMSG a.b 1 re.ply 0\r\n\r\n\
            HMSG in.7 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n\
            HMSG in.8 1 12 14\r\nNATS/1.0\r\n\r\n{}\r\n";
        let message = |subject: &str, status, payload: &[u8]| Arrived::Message {
            subject: subject.into(),
            status,
            payload: payload.to_vec(),
        };
        assert_eq!(
            all(said.to_vec()),
            [
                Arrived::Info(Info {
                    max_payload: 1_048_576,
                    headers: true,
                    ..Info::default()
                }),
                Arrived::Ping,
                Arrived::Pong,
                Arrived::Fine,
                Arrived::Error("Authorization Violation".into()),
                message("a.b", None, b"hello"),
                message("a.b", None, b""),
                message("in.7", Some(503), b""),
                message("in.8", None, b"{}"),
            ]
        );
    }

    #[test]
    fn every_cut_waits_for_the_rest() {
        let whole = b"HMSG in.7 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
        for cut in 0..whole.len() {
            let mut input = whole[..cut].to_vec();
            assert_eq!(take(&mut input), Ok(None), "{cut}");
            assert_eq!(input.len(), cut);
        }
    }

    #[test]
    fn another_protocol_is_told_apart_by_its_first_line() {
        let mut input = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        let error = take(&mut input).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`HTTP/1.1 400 Bad Request` arrived: this is no NATS server"
        );
        assert!(take(&mut b"MSG a\r\n".to_vec()).is_err());
        assert!(take(&mut b"MSG a 1 99999999\r\n".to_vec()).is_err());
        assert!(take(&mut b"HMSG a 1 9 5\r\nhello\r\n".to_vec()).is_err());
        assert!(take(&mut vec![b'x'; LINE_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_message_carries_its_id() {
        let mut out = Vec::new();
        publish("a.b", "in.7", &headers("beef"), b"{}", &mut out);
        let expected = "HPUB a.b in.7 31 33\r\nNATS/1.0\r\nNats-Msg-Id: beef\r\n\r\n{}\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_greeting_says_only_who_it_is() {
        let mut out = Vec::new();
        let greeting = Connect {
            verbose: false,
            pedantic: false,
            tls_required: false,
            name: "n",
            lang: "rust",
            version: "0",
            protocol: 1,
            headers: true,
            no_responders: true,
            echo: false,
            login: Login {
                auth_token: Some("t".into()),
                ..Login::default()
            },
        };
        connect(&greeting, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"n\",\
             \"lang\":\"rust\",\"version\":\"0\",\"protocol\":1,\"headers\":true,\
             \"no_responders\":true,\"echo\":false,\"auth_token\":\"t\"}\r\n"
        );
    }
}
