//! HTTP requests of rigs to their servers: one connection each, by HTTP/1.0, so that no answer comes
//! in chunks.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use serde_json::Value;

use crate::certificates::Identity;
use crate::connection::Connection;

/// Who asks, and where.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The server's port on 127.0.0.1.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// What to show to a server that wants to know its clients.
    pub identity: Option<Identity>,
    /// The value of the header `authorization`, if any.
    pub authorization: Option<String>,
}

/// What a server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, of an answer that must be a success; `what` was asked.
    pub fn taken(&self, what: &str) -> &[u8] {
        let (status, text) = (self.status, self.text());
        assert!((200..300).contains(&status), "{what}: {status}: {text}");
        &self.body
    }

    /// The body as JSON, of an answer that must be a success; `what` was asked.
    pub fn json(&self, what: &str) -> Value {
        serde_json::from_slice(self.taken(what))
            .unwrap_or_else(|error| panic!("{what}: not JSON: {error}: {}", self.text()))
    }
}

impl Client {
    /// GET, with a query of names and values.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> io::Result<Answer> {
        self.ask("GET", &format!("{path}?{}", form(query)), &[], &[])
    }

    /// POST of a body with headers of its own, to a path that may hold a query.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        self.ask("POST", path, headers, body)
    }

    /// POST of a form.
    pub fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> io::Result<Answer> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.ask("POST", path, &headers, form(fields).as_bytes())
    }

    fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut connection = Connection::open(self.port)?;
        if self.tls {
            connection = connection.into_tls(self.identity.as_ref())?;
        }
        let mut head = format!(
            "{method} {target} HTTP/1.0\r\nhost: 127.0.0.1:{}\r\ncontent-length: {}\r\n",
            self.port,
            body.len()
        );
        let authorization = self.authorization.as_deref();
        let authorization = authorization.map(|value| ("authorization", value));
        for (name, value) in headers.iter().copied().chain(authorization) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        connection.write_all(head.as_bytes())?;
        connection.write_all(body)?;
        connection.flush()?;
        read(&mut connection)
    }
}

/// Reads an answer: to its stated length, or to the end of the connection.
fn read(connection: &mut impl Read) -> io::Result<Answer> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = connection.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        let parsed = parse(&bytes, count == 0)?;
        if let Some(answer) = parsed {
            return Ok(answer);
        }
    }
}

/// An answer, if it is whole; `ended` when nothing comes behind these bytes.
fn parse(bytes: &[u8], ended: bool) -> io::Result<Option<Answer>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if ended {
            return Err(invalid("the connection ended without an answer"));
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| invalid("the answer has no status"))?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: Option<usize> = length.map(str::trim).and_then(|text| text.parse().ok());
    let body = &bytes[head_end + 4..];
    match length {
        Some(length) if body.len() < length && ended => Err(invalid("the answer ended early")),
        Some(length) if body.len() < length => Ok(None),
        None if !ended => Ok(None),
        _ => Ok(Some(Answer {
            status,
            body: body.to_vec(),
        })),
    }
}

/// Names and values as in a form or a URL's query.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", percent(name), percent(value)))
        .collect();
    pairs.join("&")
}

fn percent(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped.push(char::from(byte));
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports;
    use crate::receiver::{Mood, Receiver};

    #[test]
    fn a_request_comes_whole_and_its_answer_is_read() {
        let receiver = Receiver::start(ports::free(), Mood::Prompt);
        let client = Client {
            port: receiver.port,
            authorization: Some("Bearer b".to_owned()),
            ..Client::default()
        };
        let answer = client.post_form("/p", &[("q", "a = 'ü'&")]).unwrap();
        assert_eq!((answer.status, answer.text()), (200, String::new()));
        let requests = receiver.requests();
        assert_eq!(requests[0].body, b"q=a%20%3D%20%27%C3%BC%27%26");
        assert_eq!(requests[0].raw.line, "POST /p HTTP/1.0");
        assert_eq!(requests[0].raw.header("authorization"), Some("Bearer b"));
    }

    #[test]
    fn half_an_answer_is_none() {
        for half in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nab",
        ] {
            assert!(read(&mut &*half).is_err());
        }
        for whole in [
            &b"HTTP/1.0 204 No Content\r\nContent-Length: 2\r\n\r\nab"[..],
            b"HTTP/1.1 204 No Content\r\n\r\nab",
        ] {
            let answer = read(&mut &*whole).unwrap();
            assert_eq!((answer.status, &answer.body[..]), (204, &b"ab"[..]));
        }
    }
}
