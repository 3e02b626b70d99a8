//! Transport: what carries a batch to its receiver and says what became of it.
//!
//! Every type of sink has one, in a file of its own with the same shape: `new` from its settings,
//! without touching the network, and [`Transport::deliver`], one attempt. It decides nothing: when
//! to send what is for the delivery machine.

use std::pin::Pin;
use std::sync::Arc;

use super::SinkError;
use super::batch::Batch;
use super::delivery::Answer;
use super::file::FileTransport;
use super::http::{Form, HttpSink};
use super::mqtt::MqttTransport;
use super::nats::NatsTransport;
use super::stdout::StdoutTransport;
use crate::rules::settings::{SinkKind, SinkSettings};
use crate::time::Clock;

/// One attempt underway.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Carries batches to one receiver.
pub trait Transport: Send + Sync {
    /// Makes one attempt. Given up halfway (its future dropped) it may or may not have arrived.
    fn deliver<'a>(&'a mut self, batch: &'a Arc<Batch>) -> Attempt<'a>;

    /// Whether an attempt may be given up: not where a write cannot be called back, since one
    /// given up could still happen after its batch was written again.
    fn may_be_given_up(&self) -> bool {
        true
    }
}

/// The transport of a sink. Nothing is connected or opened before the first attempt.
pub fn open(
    settings: &SinkSettings,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn Transport>, SinkError> {
    let post = |form| Box::new(HttpSink::new(settings, form));
    Ok(match &settings.kind {
        SinkKind::Http(http) => post(Form::of_http(http)),
        SinkKind::Influxdb(influxdb) => post(Form::of_influxdb(influxdb)),
        SinkKind::Prometheus(prometheus) => post(Form::of_prometheus(prometheus)),
        SinkKind::Otlp(otlp) => post(Form::of_otlp(otlp)),
        SinkKind::File(file) => {
            Box::new(FileTransport::new(&settings.name, file, Arc::clone(clock))?)
        }
        SinkKind::Mqtt(mqtt) => Box::new(MqttTransport::new(settings, mqtt, Arc::clone(clock))),
        SinkKind::Nats(nats) => Box::new(NatsTransport::new(settings, nats)),
        SinkKind::Stdout => Box::new(StdoutTransport),
    })
}
