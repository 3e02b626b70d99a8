//! The NATS sink: a message per record into `JetStream`, confirmed by the stream one by one.
//!
//! # Invariants
//! - A record is confirmed by the acknowledgement of its own message: `JetStream` has stored it.
//! - Every message carries its record's id as `Nats-Msg-Id`. A stream drops a second message of
//!   one id within its `duplicate_window` (2 minutes unless set), so what was stored but not
//!   acknowledged before an outage shorter than that is in the stream once. Set the window longer
//!   than outages last; beyond it a receiver knows resent records by the id.
//! - Nothing is buffered or sent again unasked: a lost connection is gone with all that it had.
//!
//! This client speaks the protocol itself, in some 300 lines. `async-nats` reconnects and resends
//! by itself, which cannot be switched off for a user with credentials; does not start without the
//! system's certificates even where a private authority is configured; tells of every refused
//! connection as an ERROR of its own; and brings 29 crates.
//!
//! # Bytes
//! `sent_bytes` are payloads. `header_bytes` is all else that went over the connection both ways
//! since the answer before: subjects, headers, acknowledgements, INFO, CONNECT and pings, exactly
//! (but for INFO where TLS follows); TLS, TCP and IP come on top.

mod credentials;
mod dialect;
mod protocol;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use url::Url;

use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::encoding::template::{render, subject_token};
use super::secret;
use super::session::flight::Acknowledged;
use super::session::line::{Address, Line, Lost, Secure, dial};
use super::session::{self, Handle, Report, retry};
use super::transport::{Attempt, Transport};
use crate::backoff::seed;
use crate::rules::settings::{NatsAuth, NatsSettings, Secret, SinkSettings};
use credentials::Credentials;
use dialect::{Message, Nats, of_error};
use protocol::{Arrived, Connect, Info, LINE_BYTES_MAX, Login, PING, PONG};

/// Longest wait for a connection, for TLS, and for the greeting behind them.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a connection.
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// The port where the URL has none.
const PORT: u16 = 4222;

/// Publishes batches to one server.
pub struct NatsTransport {
    name: String,
    settings: NatsSettings,
    timeout: Duration,
    acknowledged: Acknowledged,
    traffic: Arc<AtomicU64>,
    session: Option<Handle<Vec<Message>>>,
}

impl NatsTransport {
    /// A transport to the server of these settings; the sink's timeout bounds the sending of a
    /// batch. Nothing is connected before the first one.
    pub fn new(sink: &SinkSettings, settings: &NatsSettings) -> Self {
        Self {
            name: sink.name.clone(),
            settings: settings.clone(),
            timeout: Duration::from_millis(sink.timeout_ms),
            acknowledged: Acknowledged::default(),
            traffic: Arc::default(),
            session: None,
        }
    }

    async fn attempt(&mut self, batch: &Arc<Batch>) -> Answer {
        // Taken out: an attempt given up halfway ends its session.
        let held = self.session.take().filter(Handle::is_alive);
        let session = match held {
            Some(session) => session,
            None => match self.connect(batch).await {
                Ok(session) => session,
                Err(outcome) => return self.answer(outcome, 0, 0),
            },
        };
        let flight = self.acknowledged.flight(batch);
        let script = self.script(batch);
        let Some(report) = session.send(flight, script, self.timeout).await else {
            let why = "the connection ended before anything was sent".into();
            return self.answer(retry(why), 0, 0);
        };
        self.session = Some(session);
        self.conclude(batch, &report)
    }

    /// What a session's report means.
    fn conclude(&mut self, batch: &Batch, report: &Report) -> Answer {
        self.acknowledged.keep(batch, &report.flight);
        let outcome = report.flight.outcome();
        let taken = match outcome {
            Outcome::Confirmed => 0,
            _ => report.flight.taken(),
        };
        self.answer(outcome, report.payload_bytes, taken)
    }

    fn answer(&self, outcome: Outcome, sent_bytes: u64, taken: usize) -> Answer {
        session::answer(&self.traffic, outcome, sent_bytes, taken)
    }

    fn script(&self, batch: &Batch) -> Vec<Message> {
        batch
            .pieces()
            .map(|(record, piece)| Message {
                subject: render(&self.settings.subject, record, subject_token),
                id: record.id.to_string(),
                payload: piece.strip_suffix(b"\n").unwrap_or(piece).to_vec(),
            })
            .collect()
    }

    /// Makes a connection and starts its session.
    async fn connect(&mut self, batch: &Batch) -> Result<Handle<Vec<Message>>, Outcome> {
        let address = self.address()?;
        let limit = CONNECT_MAX.min(self.timeout);
        let stream = dial(&address, limit).await?;
        let greeting = self.greet(stream, &address, batch, limit);
        let (line, dialect) = tokio::time::timeout(limit, greeting)
            .await
            .unwrap_or_else(|_| {
                let seconds = limit.as_secs_f32();
                Err(Lost::from(retry(format!("no greeting within {seconds} s"))))
            })
            .map_err(|lost| lost.outcome)?;
        let traffic = Arc::clone(&self.traffic);
        Ok(session::spawn(line, dialect, KEEP_ALIVE, traffic))
    }

    /// Hears the server's INFO, goes on in TLS where that is due, and introduces itself.
    async fn greet(
        &self,
        mut stream: TcpStream,
        address: &Address,
        batch: &Batch,
        limit: Duration,
    ) -> Result<(Line, Nats), Lost> {
        let info = first_info(&mut stream).await?;
        let mut line = match &address.tls {
            Some(_) if !info.tls_required && !info.tls_available => {
                let why = "the server does not speak TLS; write nats:// where that is meant";
                return Err(broken(why.into()).into());
            }
            Some(tls) => Line::secure(stream, &address.host, tls, limit).await?,
            None if info.tls_required => {
                let why = "the server wants TLS: write tls:// instead of nats://";
                return Err(broken(why.into()).into());
            }
            None => Line::plain(stream),
        };
        let site = batch.records.first().map_or("", |record| &record.site);
        let greeting = Connect {
            verbose: false,
            pedantic: false,
            tls_required: address.tls.is_some(),
            name: &format!("tidegate-{site}-{}", self.name),
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            echo: false,
            login: self.login(&info)?,
        };
        let inbox = format!("_INBOX.{:016x}", seed());
        protocol::connect(&greeting, &mut line.output);
        protocol::subscribe(&format!("{inbox}.*"), 1, &mut line.output);
        line.output.extend(PING);
        let heard = hear_out(&mut line).await;
        self.traffic
            .fetch_add(std::mem::take(&mut line.bytes), Ordering::Relaxed);
        heard?;
        if !info.headers {
            let why = "the server takes no headers: they have to be on for JetStream";
            return Err(broken(why.into()).into());
        }
        Ok((line, Nats::new(inbox, info.max_payload)))
    }

    fn address(&self) -> Result<Address, Outcome> {
        let wrong = || broken("`url` has no host; write nats://host:4222".into());
        let url = Url::parse(&self.settings.url.0).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        let settings = match &self.settings.tls {
            Some(settings) => Some(settings.clone()),
            None => (url.scheme() == "tls").then(Default::default),
        };
        let tls = settings.as_ref().map(Secure::new).transpose();
        Ok(Address {
            host,
            port: url.port().unwrap_or(PORT),
            tls: tls.map_err(|error| broken(error.to_string()))?,
        })
    }

    fn login(&self, info: &Info) -> Result<Login, Outcome> {
        Ok(match &self.settings.auth {
            NatsAuth::None => Login::default(),
            NatsAuth::Password { user, password } => Login {
                user: Some(user.clone()),
                pass: Some(said(password)?),
                ..Login::default()
            },
            NatsAuth::Token(token) => Login {
                auth_token: Some(said(token)?),
                ..Login::default()
            },
            NatsAuth::Credentials(path) => {
                let credentials =
                    Credentials::read(path).map_err(|error| broken(error.to_string()))?;
                Login {
                    sig: Some(credentials.sign(&info.nonce)),
                    jwt: Some(credentials.jwt),
                    ..Login::default()
                }
            }
        })
    }
}

impl Transport for NatsTransport {
    /// An attempt bounds itself, by the time to connect and the sink's timeout behind it: given up
    /// from outside, what was acknowledged would be forgotten.
    fn may_be_given_up(&self) -> bool {
        false
    }

    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        Box::pin(self.attempt(batch))
    }
}

/// A secret, for the greeting.
fn said(secret: &Secret) -> Result<String, Outcome> {
    let secret = secret::read(secret).map_err(|error| broken(error.to_string()))?;
    Ok(secret.to_string())
}

fn broken(why: String) -> Outcome {
    Outcome::Broken { why }
}

/// Reads the server's first line. Nothing stands behind it: what comes next may be TLS, which
/// the client begins.
async fn first_info(stream: &mut TcpStream) -> Result<Info, Lost> {
    let mut input = Vec::new();
    loop {
        match protocol::take(&mut input) {
            Ok(Some(Arrived::Info(info))) => return Ok(info),
            Ok(Some(Arrived::Error(text))) => return Err(of_error(&text).into()),
            Ok(None) if input.len() <= LINE_BYTES_MAX => {}
            Ok(_) => return Err(retry("no INFO came first: this is no NATS server".into()).into()),
            Err(error) => return Err(retry(error.to_string()).into()),
        }
        match stream.read_buf(&mut input).await {
            Ok(0) => return Err(retry("the server closed the connection at once".into()).into()),
            Ok(_) => {}
            Err(error) => return Err(retry(format!("the connection broke: {error}")).into()),
        }
    }
}

/// Waits for the answer to the ping behind the introduction.
async fn hear_out(line: &mut Line) -> Result<(), Lost> {
    loop {
        match protocol::take(&mut line.input) {
            Ok(Some(Arrived::Pong)) => return Ok(()),
            Ok(Some(Arrived::Ping)) => line.output.extend(PONG),
            Ok(Some(Arrived::Error(text))) => return Err(of_error(&text).into()),
            Ok(Some(_)) => {}
            Ok(None) => line.turn().await?,
            Err(error) => return Err(retry(error.to_string()).into()),
        }
    }
}

#[cfg(test)]
mod tests;
