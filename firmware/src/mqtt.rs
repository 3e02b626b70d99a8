//! MQTT 5 over minimq: names, will, subscriptions, and the transport on a live connection.
//!
//! minimq remembers that it once had a session and then asks to resume it; the outbox is the
//! only retransmitter, so every connection gets a session of its own (clean start, expiry 0).

use embedded_io_async::{Read, Write};
use minimq::{
    Buffers, ConfigBuilder, ConfigError, Connection, Error, Op, PubError, Publication, QoS,
    ResourceError, Session, SubscriptionOptions, TopicFilter, Will,
};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::message::{self, Status, up};
use tidegate_shared::topic::{ClientId, Topic, TopicText, device_client_id};

use crate::device::Channel;
use crate::transport::{Inbound, Outlet, Published, Transport};

/// Most bytes of a status frame, sealed or not.
pub const STATUS_BYTES_MAX: usize = 40;

/// A device's names on the broker, spelt once, and its login if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names<'l> {
    client_id: ClientId,
    up: TopicText,
    down: TopicText,
    status: TopicText,
    gateway: TopicText,
    login: Option<(&'l str, &'l str)>,
}

impl<'l> Names<'l> {
    /// The names of `device` at `site`.
    pub fn new(site: &SiteName, device: &DeviceName) -> Self {
        Self {
            client_id: device_client_id(site, device),
            up: Topic::Up(device.clone()).text(site),
            down: Topic::Down(device.clone()).text(site),
            status: Topic::Status(device.clone()).text(site),
            gateway: Topic::Gateway.text(site),
            login: None,
        }
    }

    /// With user and password, if there are any, for a broker that asks for them.
    #[must_use]
    pub fn with_login(self, login: Option<(&'l str, &'l str)>) -> Self {
        Self { login, ..self }
    }
}

/// A plain status frame.
pub fn status_frame(online: bool, out: &mut [u8]) -> Option<usize> {
    let status = Status { online };
    let written = frame::write(&Header::default(), out, |writer| {
        message::write(writer, up::STATUS, &status)
    });
    written.ok().map(|(bytes, _)| bytes.len())
}

/// A fresh session. `will` is the offline status frame; a device that claims has none.
pub fn session<'b>(
    names: &Names<'b>,
    rx: &'b mut [u8],
    tx: &'b mut [u8],
    will: Option<&'b [u8]>,
    keepalive_s: u16,
) -> Result<Session<'b>, ConfigError> {
    let config = ConfigBuilder::new(Buffers::new(rx, tx))
        .client_id(&names.client_id)?
        .keepalive_interval(keepalive_s)
        .session_expiry_interval(0);
    let config = match will {
        Some(will) => config.will(
            Will::new(&names.status, will, &[])?
                .retained()
                .qos(QoS::AtLeastOnce),
        )?,
        None => config,
    };
    let config = match names.login {
        Some((user, password)) => config.auth(user, password.as_bytes())?,
        None => config,
    };
    Ok(Session::new(config))
}

/// A connection that MQTT runs on.
#[derive(Debug)]
pub struct MqttTransport<'n, C> {
    names: &'n Names<'n>,
    connection: C,
    subscription: Op,
}

impl<'n, 'a, 'b, IO: Read + Write> MqttTransport<'n, Connection<'a, 'b, IO>> {
    /// Asks for the device's topics on a fresh connection.
    pub async fn subscribe(
        names: &'n Names<'n>,
        mut connection: Connection<'a, 'b, IO>,
    ) -> Result<Self, Error<IO::Error>> {
        let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
        let filters =
            [&names.down, &names.gateway].map(|topic| TopicFilter::new(topic).options(options));
        let subscription = connection.subscribe(&filters, &[]).await?;
        Ok(Self {
            names,
            connection,
            subscription,
        })
    }
}

impl<IO: Read + Write> MqttTransport<'_, Connection<'_, '_, IO>> {
    /// Publishes what `write` writes; dynamic, so that minimq's publish stands in flash once.
    async fn publish_by(
        &mut self,
        outlet: Outlet,
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> Result<Published, Error<IO::Error>> {
        if !self.connection.can_publish(QoS::AtLeastOnce) {
            return Ok(Published::Busy);
        }
        let topic = match outlet {
            Outlet::Up => &self.names.up,
            Outlet::Status => &self.names.status,
        };
        let payload = |out: &mut [u8]| write(out).ok_or(());
        let publication = Publication::new(topic, payload).qos(QoS::AtLeastOnce);
        let publication = match outlet {
            Outlet::Up => publication,
            Outlet::Status => publication.retain(),
        };
        match self.connection.publish(publication).await {
            Ok(_) => Ok(Published::Taken),
            Err(PubError::Payload(())) => Ok(Published::Nothing),
            // Room comes back with the next PUBACK, unless nothing at all is in flight.
            Err(PubError::Session(
                error @ (Error::NotReady
                | Error::Resource(
                    ResourceError::BufferTooSmall | ResourceError::InflightExhausted,
                )),
            )) => {
                if self.connection.session().is_publish_quiescent() {
                    Err(error)
                } else {
                    Ok(Published::Busy)
                }
            }
            Err(PubError::Session(error)) => Err(error),
        }
    }
}

impl<IO: Read + Write> Transport for MqttTransport<'_, Connection<'_, '_, IO>> {
    type Error = Error<IO::Error>;

    fn is_subscribed(&self) -> bool {
        !self.connection.is_pending(&self.subscription)
    }

    async fn publish(
        &mut self,
        outlet: Outlet,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<Published, Self::Error> {
        let mut write = Some(write);
        let mut once = |out: &mut [u8]| write.take().and_then(|write| write(out));
        self.publish_by(outlet, &mut once).await
    }

    async fn receive(&mut self) -> Result<Option<Inbound<'_>>, Self::Error> {
        let Some(message) = self.connection.poll().await? else {
            return Ok(None);
        };
        let channel = if message.topic() == self.names.down.as_str() {
            Channel::Down
        } else if message.topic() == self.names.gateway.as_str() {
            Channel::Gateway
        } else {
            return Ok(None);
        };
        Ok(Some(Inbound {
            channel,
            retained: message.retained(),
            payload: message.payload(),
        }))
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.connection.disconnect().await
    }
}
