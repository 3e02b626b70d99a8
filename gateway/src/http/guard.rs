//! Guard: who may ask, and by which name the server may be called.
//!
//! Where a token or password is set, every request shows it, as a bearer or as the password of
//! any user (which is what browsers ask a person for, and remember for streams of events). Each
//! opens both ways. Compared are SHA-256 sums, in a time that does not tell where they differ.
//!
//! Where none is set the server listens on this machine alone, and a page of another place could
//! still have a browser here ask it, by a name of its own that resolves to this machine. So then
//! only names that are this machine's are answered to.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, decoded_len_estimate};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::answer::{Answer, error, later};
use super::counts::{Counters, count};
use super::credentials::{Credentials, Print, print_of};
use super::guessing::Guessing;
use crate::rules::settings::ServeSettings;
use crate::time::Clock;

/// Most bytes of a secret that is looked at.
const SHOWN_BYTES_MAX: usize = 64 << 10;

/// Decides who may ask.
pub(super) struct Guard {
    credentials: watch::Receiver<Arc<Credentials>>,
    /// Names that may be used; none: any.
    hosts: Option<Vec<String>>,
    guessing: Mutex<Guessing>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl Guard {
    pub(super) fn new(
        settings: &ServeSettings,
        listens: SocketAddr,
        credentials: watch::Receiver<Arc<Credentials>>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        let asks_names = !settings.asks_who() || !settings.hosts.is_empty();
        let hosts = asks_names.then(|| {
            let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
            let ip = match listens.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            let mut hosts: Vec<String> = own.into_iter().chain([ip]).collect();
            hosts.extend(settings.hosts.iter().cloned());
            hosts
        });
        Self {
            credentials,
            hosts,
            guessing: Mutex::default(),
            clock,
            counters,
        }
    }

    /// Lets a request through, or says why not.
    pub(super) fn admit(
        &self,
        from: IpAddr,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Box<Answer>> {
        self.check_host(uri, headers)?;
        self.check_secret(from, headers)
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        let Some(hosts) = &self.hosts else {
            return Ok(());
        };
        // What names none or two is refused, and what cannot be read is no name.
        let mut named = headers.get_all(HOST).iter();
        let named = match (named.next(), named.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        // A request to a proxy names the host in its target, too.
        let asked = uri.authority().map(Authority::as_str);
        let is_own = |name: &str| hosts.contains(&without_port(name).to_ascii_lowercase());
        if named.is_some_and(is_own) && asked.is_none_or(is_own) {
            return Ok(());
        }
        count(&self.counters.foreign_host);
        Err(Box::new(error(
            StatusCode::MISDIRECTED_REQUEST,
            "this server is called by another name than it has: use 127.0.0.1 or localhost, or \
             list the name in http.hosts",
        )))
    }

    fn check_secret(&self, from: IpAddr, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        let credentials = self.credentials.borrow().clone();
        if credentials.secrets.is_empty() {
            return Ok(());
        }
        let shown = headers.get(AUTHORIZATION);
        let Some(shown) = shown else {
            return Err(Box::new(unauthorised(
                "a password or token is needed: see docs/http.md",
            )));
        };
        let now = self.clock.now();
        let mut guessing = self.guessing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait_us) = guessing.wait_us(from, now) {
            count(&self.counters.guessing);
            return Err(Box::new(later(
                StatusCode::TOO_MANY_REQUESTS,
                wait_us.div_ceil(1_000_000),
                "too many wrong passwords or tokens came from this address: wait",
            )));
        }
        let print = secret_of(shown).map(|secret| print_of(&secret));
        if print.is_some_and(|print| any_same(&credentials.secrets, &print)) {
            return Ok(());
        }
        guessing.wrong(from, now);
        count(&self.counters.unauthorised);
        // The log holds repeats of an address back, and counts them.
        tracing::warn!(%from, "a wrong password or token was shown to page, API or metrics; nothing was told");
        Err(Box::new(unauthorised("the password or token is wrong")))
    }
}

fn unauthorised(why: &str) -> Answer {
    let mut answer = error(StatusCode::UNAUTHORIZED, why);
    let asks = HeaderValue::from_static("Basic realm=\"tidegate\", charset=\"UTF-8\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, asks);
    answer
}

/// `gateway.local:8380` without its port; `[::1]` stays.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|sign| sign.is_ascii_digit()) && !name.is_empty() =>
        {
            name
        }
        _ => host,
    }
}

/// The secret that a header shows: `Bearer SECRET`, or `Basic` with `USER:SECRET` as base64.
fn secret_of(header: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = header.as_bytes();
    let space = bytes.iter().position(|sign| *sign == b' ')?;
    let (scheme, rest) = bytes.split_at(space);
    let rest = rest.trim_ascii();
    if rest.len() > SHOWN_BYTES_MAX {
        return None;
    }
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Zeroizing::new(rest.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = unbase64(rest)?;
    let colon = pair.iter().position(|sign| *sign == b':')?;
    Some(Zeroizing::new(pair.get(colon + 1..)?.to_vec()))
}

/// Whether one of the sums is this one; looks at all of all of them.
fn any_same(prints: &[Print], shown: &Print) -> bool {
    prints.iter().fold(false, |found, print| {
        let differs = print
            .iter()
            .zip(shown)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        found | (std::hint::black_box(differs) == 0)
    })
}

/// Decodes base64, with or without its padding.
fn unbase64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, PADDING);
    // Into bytes that are wiped, also where only some of them can be read.
    let mut bytes = Zeroizing::new(vec![0; decoded_len_estimate(text.len())]);
    let end = ENGINE.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(end);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> Option<Vec<u8>> {
        secret_of(&HeaderValue::from_str(header).unwrap()).map(|secret| secret.to_vec())
    }

    #[test]
    fn a_secret_is_read_from_both_forms() {
        for (header, secret) in [
            ("Bearer sesame", Some("sesame")),
            ("bearer   sesame ", Some("sesame")),
            // me:sesame, :s, a:b:c with and without padding
            ("Basic bWU6c2VzYW1l", Some("sesame")),
            ("basic OnM=", Some("s")),
            ("Basic OnM", Some("s")),
            ("Basic YTpiOmM=", Some("b:c")),
            ("Basic bWU=", None),
            ("Basic b", None),
            ("Basic b*==", None),
            ("Digest sesame", None),
            ("sesame", None),
        ] {
            assert_eq!(
                shown(header).as_deref(),
                secret.map(str::as_bytes),
                "{header}"
            );
        }
    }

    #[test]
    fn sums_are_compared_whole() {
        let (one, other) = (print_of(b"one"), print_of(b"other"));
        assert!(any_same(&[one, other], &one) && any_same(&[one, other], &other));
        let mut close = one;
        close[31] ^= 1;
        assert!(!any_same(&[one, other], &close) && !any_same(&[], &one));
    }

    #[test]
    fn a_host_is_named_without_its_port() {
        for (host, name) in [
            ("127.0.0.1:8380", "127.0.0.1"),
            ("localhost", "localhost"),
            ("[::1]:8380", "[::1]"),
            ("[::1]", "[::1]"),
            ("evil.example:", "evil.example"),
            (":80", ":80"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
