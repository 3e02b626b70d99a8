//! Client: a connection with its secrets and certificates, and one request over it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use zeroize::Zeroizing;

use super::answer::{self, answered};
use super::form::{Form, USER_AGENT, userinfo};
use crate::rules::settings::{self, HttpAuth};
use crate::sinks::delivery::Answer;
use crate::sinks::secret::{self, SecretError};
use crate::sinks::tls::{self, TlsError};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("a secret is missing")]
    Secret(#[from] SecretError),
    #[error("a TLS file is missing or wrong")]
    Tls(#[from] TlsError),
    #[error("a header's value cannot be sent: it holds a sign that headers have no place for")]
    Header,
    #[error("the HTTP client cannot start")]
    Http(#[from] reqwest::Error),
}

/// Posts to one URL over one kept-alive connection.
pub(super) struct Client {
    form: Arc<Form>,
    http: reqwest::Client,
    /// The address without user and password.
    url: Url,
    headers: HeaderMap,
    /// Bytes of a request's head that do not change.
    head_bytes: u64,
    secrets: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Headers that say who sends, the configured ones, and the secrets that went into them.
#[derive(Default)]
struct Own {
    headers: HeaderMap,
    secrets: Vec<Zeroizing<String>>,
}

impl Client {
    /// Reads secrets and certificates; connects to nobody. Blocks on files.
    pub(super) fn new(form: Arc<Form>, timeout: Duration) -> Result<Self, ClientError> {
        let own = Own::read(&form)?;
        let lengths: Vec<(usize, usize)> = own
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().len(), value.len()))
            .collect();
        let head_bytes = form.head_bytes(&lengths);
        let mut headers = own.headers;
        for (name, value) in form.fixed_headers() {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .timeout(timeout)
            .connect_timeout(CONNECT_MAX.min(timeout))
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy();
        let builder = if form.is_tls() {
            builder.tls_backend_preconfigured(tls::client_config(&form.endpoint.tls)?)
        } else {
            // Fails where another part of the program was first; then a provider is there.
            let _ = rustls::crypto::ring::default_provider().install_default();
            // Without TLS no certificates: reading the system's takes memory, and fails where
            // there are none.
            builder.tls_certs_only([])
        };
        let mut url = Url::parse(&form.url).map_err(|_| ClientError::Header)?;
        // Sent as a header; the answers' texts must not quote them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Self {
            http: builder.build()?,
            url,
            headers,
            head_bytes,
            secrets: own.secrets,
            form,
        })
    }

    /// Makes one request with this body.
    pub(super) async fn post(&self, body: Vec<u8>, key: Option<String>) -> Answer {
        let sent_bytes = body.len() as u64;
        // Content-Length's digits are the only part of the head that changes.
        let head_bytes = self.head_bytes + sent_bytes.to_string().len() as u64;
        let mut request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = match request.body(body).send().await {
            Ok(response) => Answer {
                sent_bytes,
                header_bytes: head_bytes + response_head_bytes(&response),
                outcome: answered(response, self.form.says, &self.secrets).await,
                taken: 0,
            },
            Err(error) => {
                let reached_nobody = error.is_connect() || error.is_builder();
                Answer {
                    sent_bytes: if reached_nobody { 0 } else { sent_bytes },
                    header_bytes: if reached_nobody { 0 } else { head_bytes },
                    outcome: answer::failed(error, &self.form.endpoint.tls),
                    taken: 0,
                }
            }
        };
        Answer {
            outcome: answer::without_secrets(answer.outcome, &self.secrets),
            ..answer
        }
    }
}

impl Own {
    fn read(form: &Form) -> Result<Self, ClientError> {
        let mut own = Self::default();
        match &form.endpoint.auth {
            HttpAuth::None => {
                if let Some((user, password)) = userinfo(&form.url) {
                    let password = Zeroizing::new(password.unwrap_or_default());
                    own.authorize(&basic(&user, &password))?;
                    own.secrets.push(password);
                }
            }
            HttpAuth::Basic { user, password } => {
                let password = secret::read(password)?;
                own.authorize(&basic(user, &password))?;
                own.secrets.push(password);
            }
            HttpAuth::Bearer(token) => own.authorize_by("Bearer ", token)?,
            HttpAuth::Token(token) => own.authorize_by("Token ", token)?,
        }
        for (name, value) in &form.endpoint.headers {
            let (value, is_secret) = match value {
                settings::HeaderValue::Text(text) => (Zeroizing::new(text.clone()), false),
                settings::HeaderValue::Secret(secret) => (secret::read(secret)?, true),
            };
            let name: HeaderName = name.parse().map_err(|_| ClientError::Header)?;
            let mut header = HeaderValue::from_str(&value).map_err(|_| ClientError::Header)?;
            header.set_sensitive(is_secret);
            own.headers.insert(name, header);
            if is_secret {
                own.secrets.push(value);
            }
        }
        Ok(own)
    }

    fn authorize_by(&mut self, scheme: &str, token: &settings::Secret) -> Result<(), ClientError> {
        let token = secret::read(token)?;
        self.authorize(&Zeroizing::new(format!("{scheme}{}", *token)))?;
        self.secrets.push(token);
        Ok(())
    }

    fn authorize(&mut self, value: &str) -> Result<(), ClientError> {
        let mut header = HeaderValue::from_str(value).map_err(|_| ClientError::Header)?;
        header.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, header);
        // A receiver may show the header as it came.
        let (_, encoded) = value.split_once(' ').unwrap_or(("", value));
        self.secrets.push(Zeroizing::new(encoded.to_owned()));
        Ok(())
    }
}

/// Signs of base64.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of an authorization by user and password (RFC 7617).
fn basic(user: &str, password: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let mut value = Zeroizing::new(String::with_capacity(8 + pair.len() * 2));
    value.push_str("Basic ");
    for chunk in pair.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            let sign = if place > chunk.len() {
                b'='
            } else {
                BASE64[sextet as usize]
            };
            value.push(char::from(sign));
        }
    }
    value
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_sent_as_rfc_7617_has_them() {
        assert_eq!(
            *basic("Aladdin", "open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(*basic("test", "123£"), "Basic dGVzdDoxMjPCow==");
        assert_eq!(*basic("ab", ""), "Basic YWI6");
        assert_eq!(*basic("a", "bc"), "Basic YTpiYw==");
    }
}
