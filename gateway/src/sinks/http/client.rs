//! Client: a form's requests over one kept-alive connection, one at a time.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderName, HeaderValue};

use super::answer::{self, answered};
use super::connection::{Connection, ConnectionError};
use super::form::Form;
use crate::sinks::delivery::Answer;

/// Posts to one URL over one kept-alive connection.
#[derive(Debug)]
pub(super) struct Client {
    form: Arc<Form>,
    connection: Connection,
    /// Bytes of a request's head that do not change.
    head_bytes: u64,
}

impl Client {
    /// Reads secrets and certificates; connects to nobody. Blocks on files.
    pub(super) fn new(form: Arc<Form>, timeout: Duration) -> Result<Self, ConnectionError> {
        let mut connection = Connection::new(&form.endpoint, &form.url, timeout)?;
        let headers = &mut connection.headers;
        let own = headers.iter();
        let lengths: Vec<(usize, usize)> = own
            .map(|(name, value)| (name.as_str().len(), value.len()))
            .collect();
        for (name, value) in form.fixed_headers() {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        Ok(Self {
            head_bytes: form.head_bytes(&lengths),
            connection,
            form,
        })
    }

    /// Makes one request with this body.
    pub(super) async fn post(&self, body: Vec<u8>, key: Option<String>) -> Answer {
        let sent_bytes = body.len() as u64;
        // Content-Length's digits are the only part of the head that changes.
        let head_bytes = self.head_bytes + sent_bytes.to_string().len() as u64;
        let mut request = self.connection.post();
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let secrets = &self.connection.secrets;
        let answer = match request.body(body).send().await {
            Ok(response) => Answer {
                sent_bytes,
                header_bytes: head_bytes + response_head_bytes(&response),
                outcome: answered(response, self.form.says, secrets).await,
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
            outcome: answer::without_secrets(answer.outcome, secrets),
            ..answer
        }
    }
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
