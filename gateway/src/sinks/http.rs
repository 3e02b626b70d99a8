//! The HTTP sink: NDJSON by POST, gzip unless told otherwise.
//!
//! A request carries `Idempotency-Key`, the same for every attempt at a batch, so that a receiver
//! can tell a resent batch; the ids in the lines tell resent records in any case. Redirects are
//! not followed: what a redirect confirms was not stored by the address configured. Any 2xx
//! confirms, whatever follows in the body.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::write::GzEncoder;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::SinkError;
use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::transport::{Attempt, Transport};
use crate::causes;
use crate::rules::settings::{Compression, HttpSettings};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a response that are read, so that its connection can be used again; one with more is
/// closed.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an error response that are shown.
const EXCERPT_BYTES: usize = 200;
/// How the gateway calls itself.
const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Posts batches to one URL over one kept-alive connection.
#[derive(Debug)]
pub struct HttpSink {
    client: Client,
    url: String,
    compression: Compression,
    /// Bytes of a request's head that do not change.
    head_bytes: u64,
}

impl HttpSink {
    /// A sink that posts as the settings say; `timeout` bounds a whole attempt.
    pub fn new(name: &str, settings: &HttpSettings, timeout: Duration) -> Result<Self, SinkError> {
        let url = &settings.endpoint.url.0;
        // Fails where another part of the program was first; then a provider is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .timeout(timeout)
            .connect_timeout(CONNECT_MAX.min(timeout))
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy();
        if url.starts_with("http://") {
            // Without TLS no certificates: reading the system's takes memory, and fails where
            // there are none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| SinkError::Client {
            sink: name.to_owned(),
            why: causes::told(&error),
        })?;
        Ok(Self {
            client,
            url: url.to_owned(),
            compression: settings.compression,
            head_bytes: head_bytes(url, settings.compression),
        })
    }

    async fn attempt(&self, batch: &Arc<Batch>) -> Answer {
        let body = match self.body(batch).await {
            Ok(body) => body,
            Err(error) => {
                let why = format!("the body cannot be compressed: {error}");
                return unsent(Outcome::Retry {
                    why,
                    after_us: None,
                });
            }
        };
        let sent_bytes = body.len() as u64;
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", batch.key());
        if self.compression == Compression::Gzip {
            request = request.header("content-encoding", "gzip");
        }
        // Content-Length's digits are the only part of the head that changes.
        let request_head_bytes = self.head_bytes + sent_bytes.to_string().len() as u64;
        match request.body(body).send().await {
            Ok(response) => Answer {
                sent_bytes,
                header_bytes: request_head_bytes + response_head_bytes(&response),
                outcome: answered(response).await,
                taken: 0,
            },
            Err(error) if error.is_connect() || error.is_builder() => unsent(failed(error)),
            Err(error) => Answer {
                sent_bytes,
                header_bytes: request_head_bytes,
                outcome: failed(error),
                taken: 0,
            },
        }
    }

    async fn body(&self, batch: &Arc<Batch>) -> io::Result<Vec<u8>> {
        if self.compression != Compression::Gzip {
            return Ok(batch.body.clone());
        }
        let batch = Arc::clone(batch);
        tokio::task::spawn_blocking(move || gzip(&batch.body))
            .await
            .map_err(io::Error::other)?
    }
}

impl Transport for HttpSink {
    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        Box::pin(self.attempt(batch))
    }
}

/// An attempt that sent nothing.
fn unsent(outcome: Outcome) -> Answer {
    Answer {
        outcome,
        sent_bytes: 0,
        header_bytes: 0,
        taken: 0,
    }
}

/// Compresses at the best level: a byte on a metered link costs more than a millisecond. The same
/// bytes in give the same bytes out.
pub(crate) fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(
        Vec::with_capacity(body.len() / 8),
        flate2::Compression::best(),
    );
    encoder.write_all(body)?;
    encoder.finish()
}

/// Bytes of a request's head as HTTP/1.1, but for the digits of Content-Length.
pub(crate) fn head_bytes(url: &str, compression: Compression) -> u64 {
    let (path, host) = Url::parse(url).map_or_else(
        |_| (String::new(), String::new()),
        |url| {
            let query = url.query().map_or(0, |query| query.len() + 1);
            let path = url.path().to_owned() + &" ".repeat(query);
            (path, url.authority().to_owned())
        },
    );
    let encoding = if compression == Compression::Gzip {
        "content-encoding: gzip\r\n"
    } else {
        ""
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\n\
         content-type: application/x-ndjson\r\nidempotency-key: {:032}\r\n{encoding}\
         content-length: \r\n\r\n",
        0
    );
    head.len() as u64
}

/// Bytes of a response's head as HTTP/1.1.
fn response_head_bytes(response: &Response) -> u64 {
    let status = response.status();
    let line = "HTTP/1.1 200 \r\n\r\n".len() + status.canonical_reason().map_or(0, str::len);
    let headers = response.headers().iter();
    let fields: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    (line + fields) as u64
}

/// What a response means; reads its body so far that the connection can be used again.
async fn answered(mut response: Response) -> Outcome {
    let status = response.status();
    let after_us = retry_after_us(response.headers());
    let mut excerpt = Vec::new();
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = EXCERPT_BYTES - excerpt.len();
        excerpt.extend_from_slice(&chunk[..chunk.len().min(room)]);
        read += chunk.len();
        if read > RESPONSE_BYTES_MAX {
            break;
        }
    }
    classify(status, after_us, &excerpt)
}

fn classify(status: StatusCode, after_us: Option<u64>, excerpt: &[u8]) -> Outcome {
    let why = || {
        let text = String::from_utf8_lossy(excerpt);
        let text = text.trim().replace(|c: char| c.is_control(), " ");
        if text.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {text}")
        }
    };
    match status.as_u16() {
        200..=299 => Outcome::Confirmed,
        408 | 425 | 429 | 500.. => Outcome::Retry {
            why: why(),
            after_us,
        },
        300..=399 | 401 | 403 | 404 | 405 | 407 | 421 => Outcome::Broken { why: why() },
        413 => Outcome::TooLarge { why: why() },
        _ => Outcome::Refused { why: why() },
    }
}

/// Retry-After in µs: seconds, or a date as seen from the server's own Date.
fn retry_after_us(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name)?.to_str().ok();
    let asked = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000_000));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok();
    let wait =
        date(asked)?.timestamp().as_microsecond() - date(text(DATE)?)?.timestamp().as_microsecond();
    u64::try_from(wait).ok()
}

/// What an attempt without a response means.
///
/// The URL is left out of what it says: it may carry a token.
fn failed(error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    let why = causes::told(&error);
    if error.is_builder() || error.is_dns() || is_tls(&error) {
        Outcome::Broken { why }
    } else {
        Outcome::Retry {
            why,
            after_us: None,
        }
    }
}

/// Whether TLS refused: a certificate, a protocol version, a name.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    // An io::Error hides the error it wraps from `source`.
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    wrapped.is_some_and(|wrapped| is_tls(wrapped)) || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests;
