//! Connection: an HTTP client by what an endpoint says: who sends, headers, certificates.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use zeroize::Zeroizing;

use super::answer;
use super::form::{USER_AGENT, userinfo};
use crate::rules::settings::{self, Endpoint, HttpAuth, TlsSettings};
use crate::sinks::secret::{self, SecretError};
use crate::sinks::tls::{self, TlsError};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Bytes that are told of what was answered.
const TOLD_BYTES: usize = 400;

/// Why there can be no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A secret cannot be had.
    #[error("a secret is missing")]
    Secret(#[from] SecretError),
    /// A certificate or key cannot be had.
    #[error("a TLS file is missing or wrong")]
    Tls(#[from] TlsError),
    /// A header cannot be sent.
    #[error("a header's value cannot be sent: it holds a sign that headers have no place for")]
    Header,
    /// The client cannot be made.
    #[error("the HTTP client cannot start")]
    Http(#[from] reqwest::Error),
}

/// Posts to one address; keeps its connection open.
pub struct Connection {
    pub(super) http: reqwest::Client,
    /// The address without user and password.
    pub(super) url: Url,
    /// Those that say who sends, and the configured ones.
    pub(super) headers: HeaderMap,
    /// What went into them and must not be told.
    pub(super) secrets: Vec<Zeroizing<String>>,
    tls: TlsSettings,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Said {
    /// The status.
    pub status: StatusCode,
    /// Of its body.
    pub content_type: Option<String>,
    /// Its body, without the secrets that were sent.
    pub body: String,
}

impl Said {
    /// Status and beginning of the body, on one line; of a JSON object its `error`.
    pub fn told(&self) -> String {
        let object = serde_json::from_str::<serde_json::Value>(&self.body).ok();
        let error = object.and_then(|object| object["error"].as_str().map(str::to_owned));
        let text = error.as_ref().unwrap_or(&self.body);
        let text = answer::one_line_of(text.as_bytes(), TOLD_BYTES);
        let status = self.status;
        if text.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {text}")
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads secrets and certificates; connects to nobody. Blocks on files. `url` is the
    /// endpoint's, or one below it.
    ///
    /// # Errors
    /// Something that it needs is missing or wrong.
    pub fn new(endpoint: &Endpoint, url: &str, timeout: Duration) -> Result<Self, ConnectionError> {
        let mut own = Own::default();
        own.read(endpoint, url)?;
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .timeout(timeout)
            .connect_timeout(CONNECT_MAX.min(timeout))
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy();
        let builder = if url.starts_with("https://") {
            builder.tls_backend_preconfigured(tls::client_config(&endpoint.tls)?)
        } else {
            // Fails where another part of the program was first; then a provider is there.
            let _ = rustls::crypto::ring::default_provider().install_default();
            // Without TLS no certificates: reading the system's takes memory, and fails where
            // there are none.
            builder.tls_certs_only([])
        };
        let mut url = Url::parse(url).map_err(|_| ConnectionError::Header)?;
        // Sent as a header; the answers' texts must not quote them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Self {
            http: builder.build()?,
            url,
            headers: own.headers,
            secrets: own.secrets,
            tls: endpoint.tls.clone(),
        })
    }

    /// Posts a body and takes the whole answer, of a receiver whose answers are short.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn ask(&self, body: Vec<u8>) -> Result<Said, String> {
        let answered = async {
            let mut response = self.post().body(body).send().await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > answer::RESPONSE_BYTES_MAX {
                    return Ok(None);
                }
            }
            Ok(Some((response, bytes)))
        };
        let (response, mut bytes) = match answered.await {
            Ok(Some(whole)) => whole,
            Ok(None) => return Err("its answer is longer than any".to_owned()),
            Err(error) => return Err(answer::unanswered(error, &self.tls)),
        };
        answer::mask(&mut bytes, &self.secrets);
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Ok(Said {
            status: response.status(),
            content_type: content_type.map(str::to_owned),
            body: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// A request with all of its headers.
    pub fn post(&self) -> reqwest::RequestBuilder {
        let request = self.http.post(self.url.clone());
        request.headers(self.headers.clone())
    }
}

/// Headers of an endpoint's own, and the secrets that went into them.
#[derive(Default)]
struct Own {
    headers: HeaderMap,
    secrets: Vec<Zeroizing<String>>,
}

impl Own {
    fn read(&mut self, endpoint: &Endpoint, url: &str) -> Result<(), ConnectionError> {
        match &endpoint.auth {
            HttpAuth::None => {
                if let Some((user, password)) = userinfo(url) {
                    let password = Zeroizing::new(password.unwrap_or_default());
                    self.authorize(&basic(&user, &password))?;
                    self.secrets.push(password);
                }
            }
            HttpAuth::Basic { user, password } => {
                let password = secret::read(password)?;
                self.authorize(&basic(user, &password))?;
                self.secrets.push(password);
            }
            HttpAuth::Bearer(token) => self.authorize_by("Bearer ", token)?,
            HttpAuth::Token(token) => self.authorize_by("Token ", token)?,
        }
        for (name, value) in &endpoint.headers {
            let (value, is_secret) = match value {
                settings::HeaderValue::Text(text) => (Zeroizing::new(text.clone()), false),
                settings::HeaderValue::Secret(secret) => (secret::read(secret)?, true),
            };
            let name: HeaderName = name.parse().map_err(|_| ConnectionError::Header)?;
            let mut header = HeaderValue::from_str(&value).map_err(|_| ConnectionError::Header)?;
            header.set_sensitive(is_secret);
            self.headers.insert(name, header);
            if is_secret {
                self.secrets.push(value);
            }
        }
        Ok(())
    }

    fn authorize_by(
        &mut self,
        scheme: &str,
        token: &settings::Secret,
    ) -> Result<(), ConnectionError> {
        let token = secret::read(token)?;
        self.authorize(&Zeroizing::new(format!("{scheme}{}", *token)))?;
        self.secrets.push(token);
        Ok(())
    }

    fn authorize(&mut self, value: &str) -> Result<(), ConnectionError> {
        let mut header = HeaderValue::from_str(value).map_err(|_| ConnectionError::Header)?;
        header.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, header);
        // A receiver may show the header as it came.
        let (_, encoded) = value.split_once(' ').unwrap_or(("", value));
        self.secrets.push(Zeroizing::new(encoded.to_owned()));
        Ok(())
    }
}

/// The value of an authorization by user and password (RFC 7617).
fn basic(user: &str, password: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    // With room for all of it: where a text grows, a copy stays behind that is not wiped.
    let mut value = Zeroizing::new(String::with_capacity(8 + pair.len() * 2));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(pair.as_bytes(), &mut value);
    value
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
