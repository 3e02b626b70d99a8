//! The shell: runs a device's link over a transport, beside its samplers.
//!
//! Both sides share the device through [`Shared`] on one single-threaded executor: each borrows
//! it for the length of a call and never over an `await`, so neither ever waits for the other.
//!
//! ```text
//! run      dial ─► MQTT connect ─► converse ─► (lost) wait with backoff ─► dial …
//! converse wait for a message, a frozen frame, or the link's deadline; tell the device;
//!          publish what it wants published while the transport takes it
//! ```
//! A device that has a claim and no key runs `enrol` before, which gets it one in the same way.

#[cfg(feature = "claim")]
mod enrol;
mod select;
mod shared;
#[cfg(test)]
mod tests;

#[cfg(feature = "claim")]
pub use enrol::enrol;
pub use minimq::ConfigError;
pub use shared::Shared;

use core::pin::pin;

use embedded_io_async::{Read, Write};
use tidegate_shared::ids::Incarnation;

use self::select::{Either, select};
use crate::device::{Channel, Device, Outgoing, Publish, Status};
use crate::link::{Backoff, Event};
use crate::mqtt::{self, MqttTransport, Names, STATUS_BYTES_MAX};
use crate::outbox::Outbox;
use crate::time::Timer;
use crate::transport::{Outlet, Published, Transport};

/// Opens byte streams to the broker.
#[expect(
    async_fn_in_trait,
    reason = "devices run on single-threaded executors: no future needs to be Send"
)]
pub trait Dial {
    /// The stream; closed when it is dropped.
    type Stream: Read + Write;
    /// Why there is none.
    type Error;

    /// Opens one. It need not bound its time: the shell does.
    async fn dial(&mut self) -> Result<Self::Stream, Self::Error>;
}

/// A source of random numbers, for incarnations, and for the secret of a device that claims. It must
/// not repeat from start to start, and nobody may guess what a secret was drawn from.
pub trait Entropy {
    /// 32 random bits.
    fn draw(&mut self) -> u32;
}

/// What a shell is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellConfig {
    /// Longest time to open a stream and connect, in ms; 10,000 by default.
    pub connect_ms: u32,
    /// Longest time for one write or goodbye, in ms, before the connection is given up; 10,000
    /// by default.
    pub write_ms: u32,
    /// MQTT keepalive in s; 30 by default.
    pub keepalive_s: u16,
    /// Wait after the first lost connection, in ms; 500 by default.
    pub reconnect_ms: u32,
    /// Longest wait between connections, in ms; 30,000 by default.
    pub reconnect_ms_max: u32,
}

impl Default for ShellConfig {
    fn default() -> Self {
        Self {
            connect_ms: 10_000,
            write_ms: 10_000,
            keepalive_s: 30,
            reconnect_ms: 500,
            reconnect_ms_max: 30_000,
        }
    }
}

/// What the shell tells whoever watches it. All are lifecycle, none asks for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Connected to the broker.
    Connected,
    /// No connection came about.
    NotConnected,
    /// The connection is gone; it is tried again.
    Disconnected,
    /// A new incarnation was drawn: the gateway knew the old one with other content. A board
    /// that keeps it must do so before it returns: frames come under it next.
    Renamed(Incarnation),
    /// A message was ignored.
    Ignored,
    /// Bytes were published on the up topic: frame, header and trailer included, MQTT not.
    Published(usize),
    /// A claim went out.
    Claimed,
    /// A key was granted and is kept: its id.
    Granted(u8),
    /// A key was granted and could not be kept, so it is not used; a claim goes out again.
    NotKept,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The device is drained and has said goodbye.
    Drained,
    /// The connection is gone.
    Lost,
}

/// Runs a device until it was stopped and is drained. Buffers: `rx` holds one inbound message,
/// `tx` all publishes that the broker has not confirmed, and one more; a frame that never fits
/// `tx` keeps the device from draining.
///
/// # Errors
/// Only when the names do not fit MQTT, which names of this crate do.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one seam to the world; a struct would only name them twice"
)]
pub async fn run<O, D, T, E, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>(
    shared: &Shared<Device<'_, O, SENSORS, SAMPLES, FRAME>>,
    names: &Names<'_>,
    config: &ShellConfig,
    mut dial: D,
    timer: T,
    mut entropy: E,
    (rx, tx): (&mut [u8], &mut [u8]),
    mut notice: impl FnMut(Notice),
) -> Result<(), ConfigError>
where
    O: Outbox,
    D: Dial,
    T: Timer,
    E: Entropy,
{
    let mut backoff = Backoff::new(config.reconnect_ms, config.reconnect_ms_max, entropy.draw());
    loop {
        let mut will = [0; STATUS_BYTES_MAX];
        let used = shared.with(|device| device.write_status(Status::Will, &mut will));
        let used = used.unwrap_or(0);
        let will = will.get(..used).unwrap_or_default();
        let mut session = mqtt::session(names, rx, tx, Some(will), config.keepalive_s)?;
        let connect = async {
            let stream = dial.dial().await.ok()?;
            let connection = session.connect(stream).await.ok()?;
            MqttTransport::subscribe(names, connection).await.ok()
        };
        let deadline = timer.now().plus_ms(config.connect_ms.into());
        let connected = match select(pin!(connect), pin!(timer.until(deadline))).await {
            Either::First(connected) => connected,
            Either::Second(()) => None,
        };
        if let Some(mut transport) = connected {
            notice(Notice::Connected);
            let mut conversation = Conversation {
                shared,
                timer: &timer,
                write_ms: config.write_ms,
                outgoing: Outgoing::default(),
                welcomed: false,
            };
            let ended = conversation
                .run(&mut transport, &mut entropy, &mut notice)
                .await;
            if ended == Ended::Drained {
                return Ok(());
            }
            if conversation.welcomed {
                backoff.reset();
            }
            notice(Notice::Disconnected);
        } else {
            notice(Notice::NotConnected);
        }
        timer.until(backoff.next(timer.now())).await;
    }
}

/// One connection's life.
struct Conversation<'s, D, T> {
    shared: &'s Shared<D>,
    timer: T,
    write_ms: u32,
    outgoing: Outgoing,
    /// A gateway has welcomed the device on this connection: it works.
    welcomed: bool,
}

impl<O, T, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>
    Conversation<'_, Device<'_, O, SENSORS, SAMPLES, FRAME>, T>
where
    O: Outbox,
    T: Timer + Copy,
{
    async fn run<C: Transport>(
        &mut self,
        transport: &mut C,
        entropy: &mut impl Entropy,
        notice: &mut impl FnMut(Notice),
    ) -> Ended {
        self.tell(Event::Connected);
        let ended = self.converse(transport, entropy, notice).await;
        if ended.is_err() {
            self.tell(Event::Disconnected);
        }
        ended.map_or(Ended::Lost, |()| Ended::Drained)
    }

    /// Returns when the device is drained; an error when the connection is gone.
    async fn converse<C: Transport>(
        &mut self,
        transport: &mut C,
        entropy: &mut impl Entropy,
        notice: &mut impl FnMut(Notice),
    ) -> Result<(), Gone> {
        let mut is_announced = false;
        loop {
            self.rename(entropy, notice);
            if self.shared.with(|device| device.wants_tick()) {
                self.tell(Event::Tick);
            }
            if transport.is_subscribed() {
                if !is_announced {
                    is_announced = self.publish_status(transport, Status::Online).await?;
                }
                if is_announced {
                    self.publish_outgoing(transport, notice).await?;
                }
            }
            if self.shared.with(|device| device.is_drained()) {
                return self.say_goodbye(transport).await;
            }
            self.wait(transport, notice).await?;
            self.welcomed |= self.shared.with(|device| device.link().is_welcomed());
        }
    }

    fn tell(&mut self, event: Event) {
        let now = self.timer.now();
        if matches!(event, Event::Connected | Event::Disconnected) {
            self.outgoing.clear();
        }
        self.shared
            .with(|device| device.handle(now, event, &mut self.outgoing));
    }

    fn rename(&mut self, entropy: &mut impl Entropy, notice: &mut impl FnMut(Notice)) {
        if !self.shared.with(|device| device.wants_rename()) {
            return;
        }
        // 0 is nobody's.
        let incarnation = Incarnation(entropy.draw().max(1));
        let now = self.timer.now();
        self.outgoing.clear();
        // First told, so that a store knows it before a frame in flash comes under it.
        notice(Notice::Renamed(incarnation));
        self.shared
            .with(|device| device.rename(now, incarnation, &mut self.outgoing));
    }

    async fn publish_status<C: Transport>(
        &self,
        transport: &mut C,
        status: Status,
    ) -> Result<bool, Gone> {
        let shared = self.shared;
        let write = |out: &mut [u8]| shared.with(|device| device.write_status(status, out));
        let published = transport.publish(Outlet::Status, write);
        Ok(self.in_time(published).await? != Published::Busy)
    }

    async fn publish_outgoing<C: Transport>(
        &mut self,
        transport: &mut C,
        notice: &mut impl FnMut(Notice),
    ) -> Result<(), Gone> {
        while let Some(publish) = self.outgoing.peek() {
            let shared = self.shared;
            let mut bytes = 0;
            let write = |out: &mut [u8]| {
                let used = shared.with(|device| device.write(publish, out));
                bytes = used.unwrap_or(0);
                used
            };
            match self.in_time(transport.publish(Outlet::Up, write)).await? {
                Published::Busy => return Ok(()),
                Published::Taken => notice(Notice::Published(bytes)),
                Published::Nothing => {}
            }
            self.drop_published(publish);
        }
        Ok(())
    }

    fn drop_published(&mut self, publish: Publish) {
        let popped = self.outgoing.pop();
        debug_assert_eq!(popped, Some(publish), "nothing changes the queue meanwhile");
    }

    /// Waits for a message, a frozen frame, or the link's deadline, and tells the device.
    async fn wait<C: Transport>(
        &mut self,
        transport: &mut C,
        notice: &mut impl FnMut(Notice),
    ) -> Result<(), Gone> {
        let deadline = self.shared.with(|device| device.next_deadline());
        let (timer, shared) = (self.timer, self.shared);
        let due = async {
            match deadline {
                Some(at) => timer.until(at).await,
                None => core::future::pending().await,
            }
        };
        let woken = async {
            select(pin!(due), pin!(shared.frozen())).await;
        };
        let inbound = match select(pin!(transport.receive()), pin!(woken)).await {
            Either::First(inbound) => inbound.map_err(|_| Gone)?,
            Either::Second(()) => {
                self.tell(Event::Tick);
                return Ok(());
            }
        };
        let Some(inbound) = inbound else {
            return Ok(());
        };
        // A retained message proves nothing but presence.
        if inbound.retained && inbound.channel == Channel::Down {
            notice(Notice::Ignored);
            return Ok(());
        }
        let now = self.timer.now();
        let taken = self.shared.with(|device| {
            device.receive(now, inbound.channel, inbound.payload, &mut self.outgoing)
        });
        if taken.is_err() {
            notice(Notice::Ignored);
        }
        Ok(())
    }

    async fn say_goodbye<C: Transport>(&self, transport: &mut C) -> Result<(), Gone> {
        while !self.publish_status(transport, Status::Goodbye).await? {
            self.in_time(transport.receive()).await?;
        }
        self.in_time(transport.close()).await
    }

    /// Gives a connection up on which a write takes too long.
    async fn in_time<V, E>(&self, io: impl Future<Output = Result<V, E>>) -> Result<V, Gone> {
        let deadline = self.timer.now().plus_ms(self.write_ms.into());
        match select(pin!(io), pin!(self.timer.until(deadline))).await {
            Either::First(done) => done.map_err(|_| Gone),
            Either::Second(()) => Err(Gone),
        }
    }
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gone;
