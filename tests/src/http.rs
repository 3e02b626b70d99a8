//! HTTP/1.1 as far as a receiver of POSTs needs it: requests with a `content-length`, and answers.

use std::io::{self, ErrorKind, Read, Write};

/// Longest head accepted, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest body accepted, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    /// Method and path.
    pub line: String,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// Bytes of request line and headers, the blank line included.
    pub head_bytes: usize,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Raw {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads one request. `None` when the peer closed or `stop` says so before a request was whole.
///
/// The stream has a read timeout, at which `stop` is asked.
pub fn read(
    stream: &mut impl Read,
    kept: &mut Vec<u8>,
    stop: &impl Fn() -> bool,
) -> io::Result<Option<Raw>> {
    let head_end = loop {
        if let Some(at) = kept.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if kept.len() > HEAD_BYTES_MAX {
            return Err(invalid("the head is too long"));
        }
        if !more(stream, kept, stop)? {
            return Ok(None);
        }
    };
    let mut raw = read_head(&kept[..head_end])?;
    let length: usize = match raw.header("content-length") {
        Some(text) => text.parse().map_err(|_| invalid("content-length"))?,
        None if raw.header("transfer-encoding").is_some() => {
            return Err(invalid("a body without content-length"));
        }
        None => 0,
    };
    if length > BODY_BYTES_MAX {
        return Err(invalid("the body is too long"));
    }
    while kept.len() < head_end + length {
        if !more(stream, kept, stop)? {
            return Ok(None);
        }
    }
    raw.body = kept[head_end..head_end + length].to_vec();
    kept.drain(..head_end + length);
    Ok(Some(raw))
}

/// Writes an answer without a body.
pub fn answer(stream: &mut impl Write, status: u16) -> io::Result<()> {
    answer_with(stream, status, "")
}

/// Writes an answer with a text.
pub fn answer_with(stream: &mut impl Write, status: u16, text: &str) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        503 => "Service Unavailable",
        _ => "Refused",
    };
    let bytes = text.len();
    let text = format!("HTTP/1.1 {status} {reason}\r\ncontent-length: {bytes}\r\n\r\n{text}");
    stream.write_all(text.as_bytes())
}

fn read_head(head: &[u8]) -> io::Result<Raw> {
    let text = std::str::from_utf8(head).map_err(|_| invalid("a head that is not UTF-8"))?;
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let line = lines.next().ok_or_else(|| invalid("no request line"))?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(line))?;
        Ok((name.trim().to_lowercase(), value.trim().to_owned()))
    });
    Ok(Raw {
        line: line.to_owned(),
        headers: headers.collect::<io::Result<_>>()?,
        head_bytes: head.len(),
        body: Vec::new(),
    })
}

/// Reads what there is; false at the end of the stream or when told to stop.
fn more(stream: &mut impl Read, kept: &mut Vec<u8>, stop: &impl Fn() -> bool) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                kept.extend_from_slice(&buffer[..count]);
                return Ok(true);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut if !stop() => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(false),
                ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not a request: {what}"))
}
