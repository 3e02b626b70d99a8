//! Broker: the one inside, or how another is reached.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{RunError, doors};
use crate::mqtt::Broker;
use crate::mqtt::access::{Doorkeeper, Refusal};
use crate::mqtt::embedded::{self, EmbeddedBroker};
use crate::rules::settings::{MqttSettings, Settings};
use crate::session::Keyring;
use crate::time::Clock;

/// The broker, and the one inside if it is that.
pub(super) struct Opened {
    /// How the gateway's own link reaches it.
    pub link: Broker,
    /// How devices do.
    pub broker: Broker,
    pub embedded: Option<EmbeddedBroker>,
    pub refusals: mpsc::Receiver<Refusal>,
}

pub(super) async fn open(
    settings: &Settings,
    client_id: &str,
    (keys, clock): (&Keyring, &Arc<dyn Clock>),
) -> Result<Opened, RunError> {
    match &settings.mqtt {
        MqttSettings::Embedded { listen, tls } => {
            let (doorkeeper, refusals) =
                Doorkeeper::new(settings.site.clone(), client_id.to_owned())
                    .map_err(RunError::System)?;
            // Before it listens: nobody is let in meanwhile who is not to be.
            doorkeeper.set(doors::access(keys));
            let started = embedded::start(*listen, tls.as_ref(), doorkeeper, Arc::clone(clock));
            let embedded = started.await?;
            Ok(Opened {
                link: embedded.inner(),
                broker: Broker::at(embedded.local_addr()),
                embedded: Some(embedded),
                refusals,
            })
        }
        MqttSettings::External { .. } => {
            let broker = Broker::from(&settings.mqtt);
            Ok(Opened {
                link: broker.clone(),
                broker,
                embedded: None,
                // Nobody tells of any.
                refusals: mpsc::channel(1).1,
            })
        }
    }
}
