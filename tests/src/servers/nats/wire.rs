//! NATS' protocol, as far as requests and their replies need it: lines that end with CR LF, some
//! followed by a payload of a stated length.
//!
//! ```text
//! server                          client
//! INFO {…}                        (TLS begins here, if either end says so)
//!                                 CONNECT {…}  PING
//! PONG
//!                                 SUB inbox 1
//!                                 HPUB subject inbox HEAD TOTAL, or PUB subject inbox TOTAL
//! MSG inbox 1 TOTAL, or HMSG inbox 1 HEAD TOTAL
//! ```

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};

use serde_json::json;

use crate::connection::Connection;
use crate::servers::{Door, PASSWORD, USER};

/// Where replies go, followed by the connection's number and the request's.
const INBOX: &str = "_INBOX.rig";

/// A connection that asks.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<Connection>,
    inbox: String,
    asked: u64,
}

impl Wire {
    /// Connects through a door, and waits until the server let it in.
    pub fn open(port: u16, door: &Door, token: Option<&str>) -> io::Result<Self> {
        let mut connection = Connection::open(port)?;
        let info = bare_line(&mut connection)?;
        if !info.starts_with("INFO ") {
            return Err(invalid(&info));
        }
        if door.tls.is_some() {
            let identity = door.clients.as_ref().map(|clients| &clients.rig);
            connection = connection.into_tls(identity)?;
        }
        let mut wire = Self {
            stream: BufReader::new(connection),
            inbox: format!("{INBOX}.{}", client_id(&info)),
            asked: 0,
        };
        let mut connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "rust", "version": "0", "protocol": 1, "name": "rig",
        });
        if let Some(token) = token {
            connect["auth_token"] = json!(token);
        }
        if door.login {
            connect["user"] = json!(USER);
            connect["pass"] = json!(PASSWORD);
        }
        wire.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes())?;
        while wire.line()? != "PONG" {}
        let subscribe = format!("SUB {}.* 1\r\n", wire.inbox);
        wire.send(subscribe.as_bytes())?;
        Ok(wire)
    }

    /// Publishes a message that asks for a reply, and waits for it. Empty when nobody takes it.
    pub fn request(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        self.asked += 1;
        let reply_to = format!("{}.{}", self.inbox, self.asked);
        let mut bytes = if headers.is_empty() {
            format!("PUB {subject} {reply_to} {}\r\n", payload.len())
        } else {
            let mut head = "NATS/1.0\r\n".to_owned();
            for (name, value) in headers {
                let _ = write!(head, "{name}: {value}\r\n");
            }
            head.push_str("\r\n");
            let total = head.len() + payload.len();
            format!("HPUB {subject} {reply_to} {} {total}\r\n{head}", head.len())
        }
        .into_bytes();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        self.send(&bytes)?;
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let head_bytes = match words.first() {
                Some(&"MSG") => 0,
                Some(&"HMSG") => length(&words, 2)?,
                _ => continue,
            };
            let mut message = vec![0; length(&words, 1)? + 2];
            self.stream.read_exact(&mut message)?;
            message.truncate(message.len() - 2);
            if words.get(1) == Some(&&*reply_to) {
                return Ok(message.split_off(head_bytes.min(message.len())));
            }
        }
    }

    /// The next line that is not about the connection itself.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(invalid("the server closed the connection"));
            }
            let line = line.trim_end();
            if line.starts_with("-ERR") {
                return Err(invalid(line));
            }
            match line {
                "PING" => self.send(b"PONG\r\n")?,
                _ => return Ok(line.to_owned()),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let connection = self.stream.get_mut();
        connection.write_all(bytes)?;
        connection.flush()
    }
}

/// Reads a line byte by byte: what follows it may belong to TLS.
fn bare_line(connection: &mut Connection) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        connection.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// The server's own number for this connection.
fn client_id(info: &str) -> u64 {
    let info = info.trim_start_matches("INFO ");
    let info: serde_json::Value = serde_json::from_str(info).unwrap_or_default();
    info["client_id"].as_u64().unwrap_or_default()
}

/// A length among a line's last words; 1 is the last.
fn length(words: &[&str], from_the_end: usize) -> io::Result<usize> {
    let at = words.len().checked_sub(from_the_end);
    let word = at.and_then(|at| words.get(at));
    word.and_then(|word| word.parse().ok())
        .ok_or_else(|| invalid(&words.join(" ")))
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// The headers of a message's head, in order.
pub fn headers(head: &str) -> Vec<(String, String)> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The bytes that a text in base64 stands for.
pub fn from_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("not base64: {text}"),
        };
        bits = (bits << 6 | u32::from(six)) & 0xFFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9vYmFy", b"foobar"),
            ("+/8=", b"\xfb\xff"),
        ] {
            assert_eq!(from_base64(text), bytes, "{text}");
        }
    }

    #[test]
    fn heads_are_read() {
        let found = headers("NATS/1.0\r\nNats-Msg-Id: a:b\r\nX:\r\n\r\n");
        let expected = [("Nats-Msg-Id", "a:b"), ("X", "")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
