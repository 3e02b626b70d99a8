//! The transport: a live connection to a broker, as little of it as a device needs.
//!
//! [`crate::mqtt::MqttTransport`] is the one over MQTT 5; [`memory::MemoryTransport`] is its twin
//! in memory, for tests and simulations.

pub mod memory;

use crate::device::Channel;

/// A topic that a device publishes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// Frames, Hello and Progress: QoS 1, not retained.
    Up,
    /// Online or offline: QoS 1, retained.
    Status,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Taken by the transport.
    Taken,
    /// Not now: too much is in flight. Receive, then try again.
    Busy,
    /// There was nothing to write.
    Nothing,
}

/// A message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound<'a> {
    /// The topic it came on.
    pub channel: Channel,
    /// Whether the broker had kept it.
    pub retained: bool,
    /// The frame.
    pub payload: &'a [u8],
}

/// A live connection to a broker. Every error means that it is gone.
#[expect(
    async_fn_in_trait,
    reason = "devices run on single-threaded executors: no future needs to be Send"
)]
pub trait Transport {
    /// Why a connection is gone.
    type Error;

    /// Whether the subscriptions are confirmed: nothing is published before.
    fn is_subscribed(&self) -> bool;

    /// Publishes what `write` writes, if there is room.
    async fn publish(
        &mut self,
        outlet: Outlet,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<Published, Self::Error>;

    /// Waits for a message, or (`None`) for anything else to happen: a publish confirmed, a
    /// subscription, a ping. Dropping the future loses nothing.
    async fn receive(&mut self) -> Result<Option<Inbound<'_>>, Self::Error>;

    /// Says goodbye, so that the will is not published.
    async fn close(&mut self) -> Result<(), Self::Error>;
}
