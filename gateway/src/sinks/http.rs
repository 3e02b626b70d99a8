//! HTTP: batches by POST, for `http`, `influxdb`, `prometheus` and `otlp`.
//!
//! # Terms
//! - *form*: what a type's request looks like: address, headers, what is put around and over the
//!   records (`form`).
//! - *client*: a connection with its secrets and certificates (`client`).
//! - *answer*: what a response means (`answer`).
//!
//! # Invariants
//! - Nothing is read or connected before the first attempt, and nothing that a client needs can
//!   keep the gateway from starting: what is missing is an outcome, which opens the circuit.
//! - After an outcome that needs a person the client is made anew, with secrets and certificates
//!   read again: one that was replaced is picked up without a restart.
//! - Redirects are not followed: what a redirect confirms was not stored by the address
//!   configured.

mod answer;
mod client;
mod connection;
mod form;
mod partial;

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::delivery::{Answer, Outcome};
use super::transport::{Attempt, Transport};
use crate::rules::settings::{SinkKind, SinkSettings};

use self::client::Client;
pub use self::connection::{Connection, Said};
pub use self::form::Form;

/// Posts batches to one URL over one kept-alive connection.
#[derive(Debug)]
pub struct HttpSink {
    form: Arc<Form>,
    timeout: Duration,
    /// None before the first attempt, and after one that needs a person.
    client: Option<Client>,
}

impl HttpSink {
    /// A sink whose requests look like `form`. A whole attempt is bounded by the settings'
    /// `timeout`.
    pub fn new(settings: &SinkSettings, form: Form) -> Self {
        Self {
            form: Arc::new(form),
            timeout: Duration::from_millis(settings.timeout_ms),
            client: None,
        }
    }

    async fn attempt(&mut self, batch: &Arc<Batch>) -> Answer {
        let body = match self.body(batch).await {
            Ok(body) => body,
            Err(why) => return Answer::unsent(format!("the body cannot be compressed: {why}")),
        };
        let client = match self.client.take() {
            Some(client) => client,
            None => match self.connect().await {
                Ok(client) => client,
                Err(why) => return unsent(Outcome::Broken { why }),
            },
        };
        let key = self.form.is_keyed().then(|| batch.key());
        let answer = client.post(body, key).await;
        if !matches!(answer.outcome, Outcome::Broken { .. }) {
            self.client = Some(client);
        }
        answer
    }

    /// The body as it is sent. Compressing takes a while, so it has a thread of its own.
    async fn body(&self, batch: &Arc<Batch>) -> std::io::Result<Vec<u8>> {
        let (form, batch) = (Arc::clone(&self.form), Arc::clone(batch));
        tokio::task::spawn_blocking(move || form.body(&batch.body))
            .await
            .map_err(std::io::Error::other)?
    }

    /// Makes a client: reads its secrets and certificates.
    async fn connect(&self) -> Result<Client, String> {
        let (form, timeout) = (Arc::clone(&self.form), self.timeout);
        let made = tokio::task::spawn_blocking(move || Client::new(form, timeout)).await;
        match made {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(why)) => Err(crate::causes::told(&why)),
            Err(broken) => Err(format!("making the client broke off: {broken}")),
        }
    }
}

impl Transport for HttpSink {
    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a> {
        Box::pin(self.attempt(batch))
    }
}

/// How a type's requests look; none for a type that does not post.
pub fn form_of(kind: &SinkKind) -> Option<Form> {
    match kind {
        SinkKind::Http(settings) => Some(Form::of_http(settings)),
        SinkKind::Influxdb(settings) => Some(Form::of_influxdb(settings)),
        SinkKind::Prometheus(settings) => Some(Form::of_prometheus(settings)),
        SinkKind::Otlp(settings) => Some(Form::of_otlp(settings)),
        SinkKind::Mqtt(_) | SinkKind::Nats(_) | SinkKind::File(_) | SinkKind::Stdout => None,
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

#[cfg(test)]
pub(crate) mod receiver;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
