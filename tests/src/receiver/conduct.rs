//! How a receiver misbehaves, one request at a time: late, refusing, cut off in mid-answer, silent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Answer;

/// What a receiver does with a request that it got whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conduct {
    /// 200, so late.
    Slow(Duration),
    /// A status, header lines (each with its line end) and words.
    Says {
        /// The status.
        status: u16,
        /// Header lines beside `content-length`.
        headers: &'static str,
        /// The body.
        words: &'static str,
    },
    /// 413 to bodies of more bytes than this as they came, 200 to others.
    Narrow {
        /// Most bytes of a body that is taken.
        bytes_max: usize,
    },
    /// The head of a 200 and half of its body; then the connection is closed.
    HalfBody,
    /// Half a status line; then the connection is closed.
    HalfStatus,
    /// Nothing, until the sender has gone.
    Silent,
}

impl Conduct {
    /// What becomes of a request with a body of so many bytes, and how late.
    pub(super) fn answer(&self, bytes: usize) -> (Answer, Duration) {
        match self {
            Self::Slow(late) => (Answer::Taken, *late),
            Self::Says { status, .. } => (Answer::Said(*status), Duration::ZERO),
            Self::Narrow { bytes_max } if bytes > *bytes_max => (Answer::Said(413), Duration::ZERO),
            Self::Narrow { .. } | Self::HalfBody => (Answer::Taken, Duration::ZERO),
            Self::HalfStatus | Self::Silent => (Answer::Hung, Duration::ZERO),
        }
    }

    /// Answers; whether the connection stays open.
    pub(super) fn act(
        &self,
        stream: &mut TcpStream,
        answer: Answer,
        stop: &impl Fn() -> bool,
    ) -> io::Result<bool> {
        let text = match (self, answer) {
            (Self::HalfBody, _) => "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf".to_owned(),
            (Self::HalfStatus, _) => "HTTP/1.1 2".to_owned(),
            (Self::Silent, _) => return until_gone(stream, stop).map(|()| false),
            (Self::Says { headers, words, .. }, Answer::Said(status)) => format!(
                "HTTP/1.1 {status} Refused\r\n{headers}content-length: {}\r\n\r\n{words}",
                words.len()
            ),
            (_, Answer::Said(status)) => {
                format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n")
            }
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        stream.write_all(text.as_bytes())?;
        Ok(!matches!(self, Self::HalfBody | Self::HalfStatus))
    }
}

/// Waits until the other end closed; the stream has a read timeout, at which `stop` is asked.
fn until_gone(stream: &mut TcpStream, stop: &impl Fn() -> bool) -> io::Result<()> {
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(()),
            // What else it sends is not answered either.
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut if stop() => return Ok(()),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::{Mood, Receiver};
    use super::*;
    use crate::ports;

    /// What a sender reads of the answer to a body, until the end or for a second.
    fn answer(conduct: Conduct, body: &str) -> (String, Answer) {
        let receiver = Receiver::start(ports::free(), Mood::Misbehaving(conduct));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, receiver.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let bytes = body.len();
        let request = format!("POST / HTTP/1.1\r\ncontent-length: {bytes}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let (mut got, mut buffer) = (Vec::new(), [0; 256]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            got.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8(got).unwrap();
        (text, receiver.requests()[0].answer)
    }

    #[test]
    fn each_conduct_answers_as_it_is_called() {
        let says = Conduct::Says {
            status: 429,
            headers: "retry-after: 2\r\n",
            words: "wait",
        };
        let narrow = Conduct::Narrow { bytes_max: 3 };
        let soon = Conduct::Slow(Duration::from_millis(10));
        for (conduct, body, begins, ends, expected) in [
            (soon, "one", "HTTP/1.1 200 ", "\r\n\r\n", Answer::Taken),
            (says, "one", "HTTP/1.1 429 ", "wait", Answer::Said(429)),
            (narrow.clone(), "one", "HTTP/1.1 200 ", "\n", Answer::Taken),
            (narrow, "four", "HTTP/1.1 413 ", "\n", Answer::Said(413)),
            (
                Conduct::HalfBody,
                "one",
                "HTTP/1.1 200 ",
                "half",
                Answer::Taken,
            ),
            (Conduct::HalfStatus, "one", "HTTP/1.1 2", "2", Answer::Hung),
            (Conduct::Silent, "one", "", "", Answer::Hung),
        ] {
            let (text, answer) = answer(conduct.clone(), body);
            assert_eq!(answer, expected, "{conduct:?}");
            assert!(text.starts_with(begins) && text.ends_with(ends), "{text:?}");
            assert_eq!(text.is_empty(), conduct == Conduct::Silent);
        }
    }
}
