//! Answer: what a response means, and what the lack of one does.
//!
//! | answer | means |
//! |---|---|
//! | 2xx | confirmed, whatever follows the status line; from a collector (`otlp`) the body must come whole and reject nothing |
//! | 3xx, 401, 403, 404, 405, 407, 421; names that do not resolve; TLS | broken: a person is needed |
//! | 413 | too large: in smaller batches it may be taken |
//! | other 4xx; 500 of a Prometheus that a sample is too old for | refused |
//! | 408, 425, 429, 5xx; no connection, no answer, half an answer | again later |
//!
//! The status line of a success is the receiver's word that it has the records: a body that
//! breaks off behind it changes nothing. Half a status line or head is no answer.

use std::error::Error;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use zeroize::Zeroizing;

use super::form::Says;
use super::partial;
use crate::causes;
use crate::rules::settings::TlsSettings;
use crate::sinks::delivery::Outcome;
use crate::sinks::tls;

/// Bytes of a response that are read, so that its connection can be used again; one with more is
/// closed.
pub(super) const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an error response that are shown.
const EXCERPT_BYTES: usize = 200;
/// What nginx says with a 400 where the client's certificate is missing or wrong.
const CERTIFICATE_WANTED: [&str; 2] = [
    "No required SSL certificate was sent",
    "The SSL certificate error",
];

/// What Prometheus 2.42 says with a 500 of samples that it will never take.
const OUT_OF_BOUNDS: [&str; 2] = ["out of bounds", "too old sample"];

/// A response as far as it came.
struct Came {
    status: StatusCode,
    after_us: Option<u64>,
    is_protobuf: bool,
    body: Vec<u8>,
    is_whole: bool,
}

/// What a response means; reads its body so far that the connection can be used again.
pub(super) async fn answered(
    mut response: Response,
    says: Says,
    secrets: &[Zeroizing<String>],
) -> Outcome {
    let mut came = Came {
        status: response.status(),
        after_us: retry_after_us(response.headers()),
        is_protobuf: is_protobuf(response.headers()),
        body: Vec::new(),
        is_whole: false,
    };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => came.body.extend_from_slice(&chunk),
            Ok(None) => {
                came.is_whole = true;
                break;
            }
            Err(_) => break,
        }
        if came.body.len() > RESPONSE_BYTES_MAX {
            break;
        }
    }
    mask(&mut came.body, secrets);
    classify(&came, says)
}

/// Strikes out what a receiver repeats of a secret, before anything is cut off; lengths stay.
pub(super) fn mask(body: &mut [u8], secrets: &[Zeroizing<String>]) {
    for secret in longest_first(secrets) {
        let secret = secret.as_bytes();
        let mut at = 0;
        while let Some(found) = body
            .get(at..)
            .and_then(|rest| rest.windows(secret.len()).position(|part| part == secret))
        {
            let begin = at + found;
            at = begin + secret.len();
            body[begin..at].fill(b'*');
        }
    }
}

/// The secrets that hold anything; one inside another comes behind it.
fn longest_first(secrets: &[Zeroizing<String>]) -> Vec<&str> {
    let mut long: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
    long.retain(|secret| !secret.is_empty());
    long.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    long
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/x-protobuf"))
}

fn classify(came: &Came, says: Says) -> Outcome {
    let why = || came.told();
    match came.status.as_u16() {
        200..=299 if says == Says::Partial => came.collected(),
        200..=299 => Outcome::Confirmed,
        500 if says == Says::RemoteWrite && came.is_out_of_bounds() => {
            Outcome::Refused { why: why() }
        }
        408 | 425 | 429 | 500.. => Outcome::Retry {
            why: why(),
            after_us: came.after_us,
        },
        300..=399 | 401 | 403 | 404 | 405 | 407 | 421 => Outcome::Broken { why: why() },
        413 => Outcome::TooLarge { why: why() },
        400 if came.wants_certificate() => Outcome::Broken {
            why: format!(
                "the server demands another client's certificate: see tls.cert and tls.key ({})",
                why()
            ),
        },
        _ => Outcome::Refused { why: why() },
    }
}

impl Came {
    /// The status and what the receiver said, on one line.
    fn told(&self) -> String {
        let message = self
            .is_protobuf
            .then(|| partial::status_message(&self.body))
            .flatten();
        let bytes = match &message {
            Some(message) => message.as_bytes(),
            None => &self.body,
        };
        let text = one_line(bytes);
        if text.is_empty() {
            format!("HTTP {}", self.status)
        } else {
            format!("HTTP {}: {text}", self.status)
        }
    }

    /// Prometheus' way to say that a sample is older than it takes: it would never be taken.
    fn is_out_of_bounds(&self) -> bool {
        let text = String::from_utf8_lossy(&self.body);
        OUT_OF_BOUNDS.iter().any(|said| text.contains(said))
    }

    fn wants_certificate(&self) -> bool {
        let text = String::from_utf8_lossy(&self.body);
        CERTIFICATE_WANTED.iter().any(|said| text.contains(said))
    }

    /// What a collector's success means.
    fn collected(&self) -> Outcome {
        if !self.is_whole {
            return Outcome::Retry {
                why: format!(
                    "HTTP {}, but its body broke off, which says whether points were rejected",
                    self.status
                ),
                after_us: None,
            };
        }
        // A body of another type says nothing of points.
        if !self.is_protobuf {
            return Outcome::Confirmed;
        }
        match partial::rejected(&self.body) {
            None => Outcome::Confirmed,
            Some((points, message)) => Outcome::Refused {
                why: format!(
                    "the collector rejected {points} data points: {}",
                    one_line(message.as_bytes())
                ),
            },
        }
    }
}

/// The beginning of a text on one line.
fn one_line(bytes: &[u8]) -> String {
    one_line_of(bytes, EXCERPT_BYTES)
}

/// The first so many bytes of a text on one line.
pub(super) fn one_line_of(bytes: &[u8], most: usize) -> String {
    let shown = bytes.get(..most).unwrap_or(bytes);
    let text = String::from_utf8_lossy(shown);
    text.trim().replace(|sign: char| sign.is_control(), " ")
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
pub(super) fn failed(error: reqwest::Error, settings: &TlsSettings) -> Outcome {
    let is_refusal = tls::refusal(&error as &(dyn Error + 'static), settings).is_some();
    let needs_person = is_refusal || error.is_builder() || error.is_dns();
    let why = unanswered(error, settings);
    if needs_person {
        Outcome::Broken { why }
    } else {
        Outcome::Retry {
            why,
            after_us: None,
        }
    }
}

/// Why there was no response. The URL is left out of what it says: it may carry a token.
pub(super) fn unanswered(error: reqwest::Error, settings: &TlsSettings) -> String {
    let error = error.without_url();
    let refusal = tls::refusal(&error as &(dyn Error + 'static), settings);
    refusal.unwrap_or_else(|| causes::told(&error))
}

/// The same without the secrets that a receiver may have repeated.
pub(super) fn without_secrets(outcome: Outcome, secrets: &[Zeroizing<String>]) -> Outcome {
    let hidden = |why: String| {
        longest_first(secrets)
            .into_iter()
            .fold(why, |why, secret| why.replace(secret, "***"))
    };
    match outcome {
        Outcome::Confirmed => Outcome::Confirmed,
        Outcome::Retry { why, after_us } => Outcome::Retry {
            why: hidden(why),
            after_us,
        },
        Outcome::Broken { why } => Outcome::Broken { why: hidden(why) },
        Outcome::Refused { why } => Outcome::Refused { why: hidden(why) },
        Outcome::TooLarge { why } => Outcome::TooLarge { why: hidden(why) },
    }
}

#[cfg(test)]
mod tests;
