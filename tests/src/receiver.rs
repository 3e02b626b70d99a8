//! An HTTP receiver that keeps every request it got, in one of several moods.
//!
//! A request is kept when it has come whole, before it is answered: what was refused or left
//! hanging is kept as well, marked so.

mod conduct;

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::dice::Dice;
use crate::http::{self, Raw};
use crate::wall::{Stopwatch, poll_for};

pub use conduct::Conduct;

/// How long a request is left hanging before its connection is closed.
const HANG: Duration = Duration::from_secs(5);
/// How often a connection looks whether the receiver stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a receiver answers.
#[derive(Debug, Clone)]
pub enum Mood {
    /// 200 at once.
    Prompt,
    /// 503 at once.
    Refusing,
    /// By the dice: of a hundred requests 15 get 503, 5 hang; the rest get 200 after up to 1.5 s.
    Moody(Dice),
    /// A status and words to requests whose body has a text in it, empty: to all; 200 to others.
    Picky {
        /// What is not taken.
        text: String,
        /// The status that says so.
        status: u16,
        /// The words beside it.
        words: String,
    },
    /// The same conduct towards every request.
    Misbehaving(Conduct),
}

impl Mood {
    /// What becomes of a request, and how late.
    fn decide(&mut self, body: &[u8]) -> (Answer, Duration) {
        match self {
            Self::Prompt => (Answer::Taken, Duration::ZERO),
            Self::Refusing => (Answer::Refused, Duration::ZERO),
            Self::Picky { text, status, .. } => {
                let has = String::from_utf8_lossy(body).contains(text.as_str());
                let answer = if has {
                    Answer::Said(*status)
                } else {
                    Answer::Taken
                };
                (answer, Duration::ZERO)
            }
            Self::Misbehaving(conduct) => conduct.answer(body.len()),
            Self::Moody(dice) => match dice.below(100) {
                0..15 => (Answer::Refused, Duration::ZERO),
                15..20 => (Answer::Hung, HANG),
                _ => {
                    let longest = Duration::from_millis(1_500);
                    (Answer::Taken, dice.between(Duration::ZERO, longest))
                }
            },
        }
    }

    fn conduct(&self) -> Option<Conduct> {
        match self {
            Self::Misbehaving(conduct) => Some(conduct.clone()),
            _ => None,
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200: its records count as delivered, whether or not the sender still heard it.
    Taken,
    /// 503.
    Refused,
    /// Another status, by [`Mood::Picky`] or [`Mood::Misbehaving`].
    Said(u16),
    /// None, or too little of one to have a status: the connection was closed.
    Hung,
}

/// A request that was kept.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it had come whole, since the receiver's start.
    pub at: Duration,
    /// Head and body as they came.
    pub raw: Raw,
    /// The body after its content encoding is undone.
    pub body: Vec<u8>,
    /// What became of it.
    pub answer: Answer,
}

/// A receiver; gone with its guard.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    desk: Arc<Desk>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Desk {
    began: Stopwatch,
    mood: Mutex<Mood>,
    requests: Mutex<Vec<Request>>,
    faults: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Receiver {
    /// Starts one.
    pub fn start(port: u16, mood: Mood) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("the receiver cannot listen on {port}: {error}"));
        let desk = Arc::new(Desk {
            began: Stopwatch::new(),
            mood: Mutex::new(mood),
            requests: Mutex::default(),
            faults: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&desk);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped() {
                    return;
                }
                let desk = Arc::clone(&accepting);
                thread::spawn(move || {
                    if let Err(fault) = stream.and_then(|stream| desk.serve(stream)) {
                        desk.fault(&fault);
                    }
                });
            }
        });
        Self {
            port,
            desk,
            acceptor: Some(acceptor),
        }
    }

    /// Changes the mood for the requests from here on.
    pub fn set_mood(&self, mood: Mood) {
        *lock(&self.desk.mood) = mood;
    }

    /// Every request so far, in the order in which they had come whole.
    pub fn requests(&self) -> Vec<Request> {
        let faults = lock(&self.desk.faults);
        assert!(
            faults.is_empty(),
            "the receiver got bad requests: {faults:?}"
        );
        lock(&self.desk.requests).clone()
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        lock(&self.desk.requests).len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.desk.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Desk {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.set_nodelay(true)?;
        let mut kept = Vec::new();
        while let Some(raw) = http::read(&mut stream, &mut kept, &|| self.is_stopped())? {
            let body = decode(&raw)?;
            let ((answer, after), conduct) = {
                let mut mood = lock(&self.mood);
                (mood.decide(&body), mood.conduct())
            };
            lock(&self.requests).push(Request {
                at: self.began.elapsed(),
                raw,
                body,
                answer,
            });
            poll_for(after, || self.is_stopped().then_some(()));
            if let Some(conduct) = conduct {
                if conduct.act(&mut stream, answer, &|| self.is_stopped())? {
                    continue;
                }
                return Ok(());
            }
            match answer {
                Answer::Taken => http::answer(&mut stream, 200)?,
                Answer::Refused => http::answer(&mut stream, 503)?,
                Answer::Said(status) => http::answer_with(&mut stream, status, &self.words())?,
                Answer::Hung => return Ok(()),
            }
        }
        Ok(())
    }

    /// The words of the mood, where it has any.
    fn words(&self) -> String {
        match &*lock(&self.mood) {
            Mood::Picky { words, .. } => words.clone(),
            _ => String::new(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// A connection that breaks is a killed gateway's; anything else is a fault of the sender.
    fn fault(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            lock(&self.faults).push(error.to_string());
        }
    }
}

fn decode(raw: &Raw) -> io::Result<Vec<u8>> {
    match raw.header("content-encoding") {
        None => Ok(raw.body.clone()),
        Some("gzip") => {
            let mut body = Vec::new();
            flate2::read::MultiGzDecoder::new(&raw.body[..])
                .read_to_end(&mut body)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            Ok(body)
        }
        Some(other) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("content-encoding {other} was not offered"),
        )),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports;
    use std::io::Write;

    fn post(stream: &mut TcpStream, headers: &str, body: &[u8]) -> String {
        let head = format!(
            "POST /records HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    #[test]
    fn plain_and_gzip_bodies_come_over_one_connection() {
        let receiver = Receiver::start(ports::free(), Mood::Prompt);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, receiver.port)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"two\n").unwrap();
        let packed = gzip.finish().unwrap();

        assert_eq!(post(&mut stream, "", b"one\n"), "HTTP/1.1 200");
        receiver.set_mood(Mood::Refusing);
        let answer = post(&mut stream, "Content-Encoding: gzip\r\n", &packed);
        assert_eq!(answer, "HTTP/1.1 503");

        receiver.set_mood(Mood::Picky {
            text: "thr".into(),
            status: 400,
            words: "no".into(),
        });
        assert_eq!(post(&mut stream, "", b"four\n"), "HTTP/1.1 200");
        assert_eq!(post(&mut stream, "", b"three\n"), "HTTP/1.1 400");

        let requests = receiver.requests();
        assert_eq!(requests.len(), 4);
        assert_eq!(requests[3].answer, Answer::Said(400));
        assert_eq!(requests[0].body, b"one\n");
        assert_eq!(requests[0].answer, Answer::Taken);
        assert_eq!(requests[1].body, b"two\n");
        assert_eq!(requests[1].raw.body, packed);
        assert_eq!(requests[1].answer, Answer::Refused);
        assert_eq!(requests[0].raw.line, "POST /records HTTP/1.1");
    }

    #[test]
    fn moods_follow_their_seed() {
        let draw = || {
            let mut mood = Mood::Moody(Dice::new(3));
            (0..200).map(|_| mood.decide(b"")).collect::<Vec<_>>()
        };
        let first = draw();
        assert_eq!(first, draw());
        for answer in [Answer::Taken, Answer::Refused, Answer::Hung] {
            assert!(first.iter().any(|(found, _)| *found == answer));
        }
    }

    #[test]
    #[should_panic(expected = "bad requests")]
    fn a_sender_that_does_not_speak_http_is_a_fault() {
        let receiver = Receiver::start(ports::free(), Mood::Prompt);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, receiver.port)).unwrap();
        stream.write_all(b"nonsense\r\nmore\r\n\r\n").unwrap();
        crate::wall::wait_until("the fault", Duration::from_secs(5), || {
            !lock(&receiver.desk.faults).is_empty()
        });
        receiver.requests();
    }
}
