//! One connection to a server: bytes in and out, both at once, and every byte counted.
//!
//! Reading and writing never wait for each other: a server that does not read before its
//! acknowledgements are taken would stop both. Every future here may be dropped halfway; nothing
//! is lost by that but time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::rules::settings::TlsSettings;
use crate::sinks::delivery::Outcome;
use crate::sinks::tls::{self, TlsError};

/// What a connection is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a server is.
#[derive(Debug, Clone)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS, if it is spoken there.
    pub tls: Option<Secure>,
}

/// TLS of one connection.
#[derive(Debug, Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
    /// What it was made of: a refusal is told by it.
    settings: TlsSettings,
}

impl Secure {
    /// Reads the files of the settings. Blocks.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self {
            config: Arc::new(tls::client_config(settings)?),
            settings: settings.clone(),
        })
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What that means for delivery.
    pub outcome: Outcome,
    /// It was closed without a word: what was sent last may be the reason.
    pub is_silent: bool,
}

impl From<Outcome> for Lost {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            is_silent: false,
        }
    }
}

/// A connection.
pub struct Line {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    /// What was read and not taken yet.
    pub input: Vec<u8>,
    /// What is to be written next.
    pub output: Vec<u8>,
    is_unflushed: bool,
    tls: Option<TlsSettings>,
    /// Bytes read and written.
    pub bytes: u64,
    /// Something was written, something was read since this was last cleared.
    pub wrote: bool,
    /// As above.
    pub read: bool,
}

/// Connects, within the time given for TCP and TLS each.
pub async fn dial(address: &Address, limit: Duration) -> Result<TcpStream, Outcome> {
    let Address { host, port, .. } = address;
    let retry = |why: String| Outcome::Retry {
        why,
        after_us: None,
    };
    let connecting = async {
        let found = tokio::net::lookup_host((unbracketed(host), *port))
            .await
            .map_err(|error| Outcome::Broken {
                why: format!("the name {host} cannot be looked up: {error}"),
            })?;
        let mut last = format!("the name {host} has no address");
        for one in found {
            match TcpStream::connect(one).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = format!("cannot connect to {one}: {error}"),
            }
        }
        Err(retry(last))
    };
    let stream = tokio::time::timeout(limit, connecting)
        .await
        .unwrap_or_else(|_| {
            let seconds = limit.as_secs_f32();
            Err(retry(format!(
                "cannot connect to {host}:{port} within {seconds} s"
            )))
        })?;
    // Acknowledgements are small and waited for.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

impl Line {
    /// Connects, with TLS where the address has it.
    pub async fn open(address: &Address, limit: Duration) -> Result<Self, Outcome> {
        let stream = dial(address, limit).await?;
        match &address.tls {
            Some(tls) => Self::secure(stream, &address.host, tls, limit).await,
            None => Ok(Self::plain(stream)),
        }
    }

    /// A line over a stream without TLS.
    pub fn plain(stream: TcpStream) -> Self {
        Self::over(Box::new(stream), None)
    }

    /// A line over a stream with TLS, for a server that has this name.
    pub async fn secure(
        stream: TcpStream,
        host: &str,
        tls: &Secure,
        limit: Duration,
    ) -> Result<Self, Outcome> {
        let host = unbracketed(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Outcome::Broken {
            why: format!("{host} is no name that a certificate can be for"),
        })?;
        let shaking = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream);
        match tokio::time::timeout(limit, shaking).await {
            Ok(Ok(stream)) => Ok(Self::over(Box::new(stream), Some(tls.settings.clone()))),
            Ok(Err(error)) => {
                let what = "the TLS handshake failed";
                Err(lost(what, &error, Some(&tls.settings)).outcome)
            }
            Err(_) => Err(Outcome::Retry {
                why: format!("no TLS handshake within {} s", limit.as_secs_f32()),
                after_us: None,
            }),
        }
    }

    fn over(stream: Box<dyn Stream>, tls: Option<TlsSettings>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            input: Vec::new(),
            output: Vec::new(),
            is_unflushed: false,
            tls,
            bytes: 0,
            wrote: false,
            read: false,
        }
    }

    /// Writes some of what waits, or reads some of what comes, whichever is first.
    pub async fn turn(&mut self) -> Result<(), Lost> {
        let is_writing = self.is_unflushed || !self.output.is_empty();
        tokio::select! {
            read = self.reader.read_buf(&mut self.input) => match read {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    self.bytes += count as u64;
                    self.read = true;
                }
                Err(error) => return Err(self.broke(&error)),
            },
            written = push(&mut self.writer, &self.output), if is_writing => match written {
                Ok(count) => {
                    self.output.drain(..count);
                    self.bytes += count as u64;
                    self.is_unflushed = count > 0;
                    self.wrote = true;
                }
                // What the server said before it closed may still lie there.
                Err(error) => return self.last_word(&error).await,
            },
        }
        Ok(())
    }

    /// Writes all that waits and says that nothing more comes.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.output).await?;
        self.bytes += self.output.len() as u64;
        self.output.clear();
        self.writer.flush().await?;
        self.writer.shutdown().await
    }

    /// What there is to read after writing failed.
    async fn last_word(&mut self, failed: &io::Error) -> Result<(), Lost> {
        self.output.clear();
        self.is_unflushed = false;
        match self.reader.read_buf(&mut self.input).await {
            Ok(count) if count > 0 => {
                self.bytes += count as u64;
                Ok(())
            }
            Ok(_) => Err(closed()),
            Err(error) => Err(match self.broke(&error) {
                refused @ Lost {
                    outcome: Outcome::Broken { .. },
                    ..
                } => refused,
                _ => self.broke(failed),
            }),
        }
    }

    fn broke(&self, error: &io::Error) -> Lost {
        lost("the connection broke", error, self.tls.as_ref())
    }
}

/// A host as it is looked up: an IPv6 address may be written in brackets.
fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Writes some, or flushes when nothing waits.
async fn push(writer: &mut WriteHalf<Box<dyn Stream>>, output: &[u8]) -> io::Result<usize> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    writer.write(output).await
}

fn closed() -> Lost {
    Lost {
        outcome: Outcome::Retry {
            why: "the server closed the connection without a word".into(),
            after_us: None,
        },
        is_silent: true,
    }
}

/// What an error of the connection means: what TLS refused needs a person.
fn lost(what: &str, error: &io::Error, tls: Option<&TlsSettings>) -> Lost {
    if let Some(why) = tls.and_then(|settings| tls::refusal(error, settings)) {
        return Lost::from(Outcome::Broken { why });
    }
    let is_silent = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionAborted
    );
    Lost {
        outcome: Outcome::Retry {
            why: format!("{what}: {error}"),
            after_us: None,
        },
        is_silent,
    }
}
