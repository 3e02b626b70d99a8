//! Why a broker is not spoken to, for whoever runs a simulation.
//!
//! The device's MQTT client says only that there is no connection, which is all that a board can do
//! something about. So the first answer of a broker is looked at as it passes by, a CONNACK:
//!
//! ```text
//! 0x20 | remaining length, 1 to 4 bytes | flags u8 | reason code u8 | …
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::rules::settings::TlsSettings;
use crate::sinks::tls;

const CONNACK: u8 = 0x20;
/// Bytes up to the reason code, where the length has as many as it may.
const HEAD_BYTES_MAX: usize = 7;

/// Why connections do not come about: a device's latest cause, and those that were told of any
/// device since the last one connected.
#[derive(Debug, Clone, Default)]
pub(super) struct Causes {
    latest: Rc<RefCell<Option<String>>>,
    told: Rc<RefCell<BTreeSet<String>>>,
}

impl Causes {
    /// Those of another device, told together with these.
    pub(super) fn of_another(&self) -> Self {
        Self {
            latest: Rc::default(),
            told: Rc::clone(&self.told),
        }
    }

    /// A device connected: what comes after is told again.
    pub(super) fn connected(&self) {
        self.latest.take();
        self.told.borrow_mut().clear();
    }

    /// Why the latest connection did not come about, and whether that is told the first time.
    pub(super) fn take(&self) -> (String, bool) {
        let why = self.latest.take();
        let why = why.unwrap_or_else(|| "it does not answer, or not as a broker".to_owned());
        let is_new = self.told.borrow_mut().insert(why.clone());
        (why, is_new)
    }

    /// Takes note of an error before the broker answered.
    pub(super) fn note(&self, error: &io::Error, tls: Option<&TlsSettings>) {
        let of_tls = tls.and_then(|settings| tls::refusal(error, settings));
        self.say(of_tls.unwrap_or_else(|| error.to_string()));
    }

    fn say(&self, why: String) {
        self.latest.replace(Some(why));
    }
}

/// A stream to a broker, whose first answer is looked at.
pub(super) struct Heard<S> {
    stream: S,
    causes: Causes,
    tls: Option<TlsSettings>,
    head: Vec<u8>,
    is_answered: bool,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, causes: Causes, tls: Option<TlsSettings>) -> Self {
        Self {
            stream,
            causes,
            tls,
            head: Vec::with_capacity(HEAD_BYTES_MAX),
            is_answered: false,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.is_answered = true;
            self.causes
                .say("it closed the connection without an answer".to_owned());
            return;
        }
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend(bytes.iter().take(room));
        match answer(&self.head) {
            Some(Answer::Taken) => self.is_answered = true,
            Some(Answer::Refused(why)) => {
                self.is_answered = true;
                self.causes.say(why);
            }
            None => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    Refused(String),
}

/// What the first bytes of a broker say, once there are enough of them.
fn answer(head: &[u8]) -> Option<Answer> {
    let (&kind, rest) = head.split_first()?;
    let foreign = || Answer::Refused("what answers there does not speak MQTT".to_owned());
    if kind != CONNACK {
        return Some(foreign());
    }
    let Some(ends) = rest.iter().take(4).position(|byte| *byte < 0x80) else {
        return (rest.len() >= 4).then(foreign);
    };
    let code = *rest.get(ends + 2)?;
    Some(match code {
        0 => Answer::Taken,
        code => Answer::Refused(format!("it refuses the device: {}", meaning(code))),
    })
}

/// A reason code of MQTT 5, or a return code of 3.1.1.
fn meaning(code: u8) -> String {
    let known = match code {
        0x01 | 0x84 => "it does not speak MQTT 5",
        0x04 | 0x86 => {
            "bad user name or password; a registered device needs its --key-file, which tidegate device add or rotate writes"
        }
        0x05 | 0x87 => "not authorized",
        0x02 | 0x85 => "it does not take the client id: another device's, or not this site's",
        0x03 | 0x88 => "it is not available",
        0x89 => "it is busy",
        0x8a => "banned",
        0x8c => "it wants another way to authenticate",
        0x95 => "the packet is too large for it",
        0x97 => "its quota is used up: it has all connections that it takes",
        0x9a => "it keeps no wills",
        0x9c | 0x9d => "it sends its clients to another server",
        0x9f => "too many connect at once",
        _ => return format!("reason code {code:#04x}"),
    };
    known.to_owned()
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, into));
        if !self.is_answered {
            match &read {
                Ok(()) => self.hear(into.filled().get(before..).unwrap_or_default()),
                Err(error) => self.causes.note(error, self.tls.as_ref()),
            }
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn refused(head: &[u8]) -> String {
        match answer(head) {
            Some(Answer::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_broker_that_refuses_says_why() {
        assert_eq!(answer(&[0x20, 3, 0, 0, 0]), Some(Answer::Taken));
        assert_eq!(answer(&[0x20, 0x83, 0x01, 0, 0]), Some(Answer::Taken));
        assert!(refused(&[0x20, 3, 0, 0x86]).contains("bad user name or password"));
        assert!(refused(&[0x20, 3, 0, 0x87]).contains("not authorized"));
        assert!(refused(&[0x20, 0x83, 0x80, 0x01, 0, 0x8a]).contains("banned"));
        assert!(refused(&[0x20, 3, 0, 0xee]).contains("0xee"));
        assert!(refused(b"HTTP/1.1").contains("does not speak MQTT"));
        assert!(refused(&[0x20, 0x80, 0x80, 0x80, 0x80]).contains("does not speak MQTT"));
        for whole in 0..4 {
            assert_eq!(answer(&[0x20, 3, 0, 0x86][..whole]), None, "{whole}");
        }
    }

    #[tokio::test]
    async fn each_cause_is_told_once_until_a_device_is_connected() {
        let causes = Causes::default();
        let mut told = Vec::new();
        for device in [causes.of_another(), causes.of_another()] {
            let (near, mut far) = tokio::io::duplex(64);
            let mut heard = Heard::new(near, device.clone(), None);
            // A byte at a time, as it may come.
            for byte in [0x20, 3, 0, 0x86, 0] {
                far.write_all(&[byte]).await.unwrap();
                assert_eq!(heard.read_u8().await.unwrap(), byte);
            }
            let (why, is_new) = device.take();
            assert!(why.contains("bad user name or password"), "{why}");
            told.push(is_new);
        }
        assert_eq!(told, [true, false]);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        causes.note(&refused(), None);
        assert!(causes.take().1, "another cause");
        causes.note(&refused(), None);
        assert!(!causes.take().1);
        causes.connected();
        causes.note(&refused(), None);
        assert!(causes.take().1);
    }

    #[tokio::test]
    async fn what_comes_after_the_answer_is_not_looked_at() {
        let causes = Causes::default();
        let (near, mut far) = tokio::io::duplex(64);
        let mut heard = Heard::new(near, causes.clone(), None);
        far.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
        let mut bytes = [0; 5];
        heard.read_exact(&mut bytes).await.unwrap();
        drop(far);
        assert_eq!(heard.read(&mut bytes).await.unwrap(), 0);
        assert!(causes.latest.borrow().is_none());
    }
}
