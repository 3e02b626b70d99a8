//! Getting a device its key: [`Claiming`] over a transport, before the device's own shell.
//!
//! Each connection is closed once there is a key: the next one has another password, and the will
//! of a device, which a broker need not grant to who only claims.

use core::pin::pin;

use tidegate_shared::frame;
use tidegate_shared::message::{Down, Presence};

use super::select::{Either, select};
use super::{ConfigError, Dial, Gone, Notice, ShellConfig};
use crate::claim::{Claiming, Effect, Event};
use crate::device::Channel;
use crate::link::Backoff;
use crate::mqtt::{self, MqttTransport, Names};
use crate::settings::DeviceKey;
use crate::time::Timer;
use crate::transport::{Inbound, Outlet, Published, Transport};

/// Claims until a key is granted and kept; `keep` says whether it did so durably. The `names` are
/// the device's own, with [`PageClaim::password`](crate::settings::PageClaim::password) as its
/// login. Buffers are those of [`run`](super::run); `seed` feeds the jitter between connections.
///
/// # Errors
/// Only when the names do not fit MQTT, which names of this crate do.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one seam to the world; a struct would only name them twice"
)]
pub async fn enrol<D: Dial>(
    claiming: &mut Claiming<'_>,
    names: &Names<'_>,
    config: &ShellConfig,
    dial: &mut D,
    timer: &impl Timer,
    seed: u32,
    (rx, tx): (&mut [u8], &mut [u8]),
    keep: impl FnMut(&DeviceKey) -> bool,
    notice: impl FnMut(Notice),
) -> Result<DeviceKey, ConfigError> {
    let mut backoff = Backoff::new(config.reconnect_ms, config.reconnect_ms_max, seed);
    let mut errand = Errand {
        claiming,
        timer,
        write_ms: config.write_ms,
        keep,
        notice,
    };
    loop {
        let mut session = mqtt::session(names, rx, tx, None, config.keepalive_s)?;
        // As in `run`: a function of both would cost each of them a kilobyte of RAM and flash.
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
            (errand.notice)(Notice::Connected);
            if let Some(key) = errand.run(&mut transport).await {
                return Ok(key);
            }
            (errand.notice)(Notice::Disconnected);
        } else {
            (errand.notice)(Notice::NotConnected);
        }
        timer.until(backoff.next(timer.now())).await;
    }
}

/// What one connection after the other is for.
pub(super) struct Errand<'c, 'n, T, K, N> {
    pub(super) claiming: &'c mut Claiming<'n>,
    pub(super) timer: T,
    pub(super) write_ms: u32,
    pub(super) keep: K,
    pub(super) notice: N,
}

impl<T, K, N> Errand<'_, '_, T, K, N>
where
    T: Timer,
    K: FnMut(&DeviceKey) -> bool,
    N: FnMut(Notice),
{
    /// Returns the key once it is kept; `None` when the connection is gone before.
    pub(super) async fn run<C: Transport>(&mut self, transport: &mut C) -> Option<DeviceKey> {
        let key = self.claim(transport).await;
        if key.is_err() {
            self.tell(Event::Disconnected);
        }
        key.ok()
    }

    async fn claim<C: Transport>(&mut self, transport: &mut C) -> Result<DeviceKey, Gone> {
        let mut effect = self.tell(Event::Connected);
        let mut is_due = false;
        loop {
            match effect.take() {
                Some(Effect::Claim) => is_due = true,
                Some(Effect::Keep(key)) if (self.keep)(&key) => {
                    (self.notice)(Notice::Granted(key.id));
                    // The key is kept, whether or not the broker hears the goodbye.
                    let _ = self.in_time(transport.close()).await;
                    return Ok(key);
                }
                Some(Effect::Keep(_)) => {
                    (self.notice)(Notice::NotKept);
                    effect = self.tell(Event::NotKept);
                    continue;
                }
                None => {}
            }
            if is_due && transport.is_subscribed() {
                is_due = !self.publish(transport).await?;
            }
            effect = self.wait(transport).await?;
        }
    }

    /// Publishes the claim; false when the transport does not take it now.
    async fn publish<C: Transport>(&mut self, transport: &mut C) -> Result<bool, Gone> {
        let claim = self.claiming.claim();
        let write = |out: &mut [u8]| {
            out.get_mut(..claim.len())?.copy_from_slice(&claim);
            Some(claim.len())
        };
        let published = transport.publish(Outlet::Up, write);
        let published = self.in_time(published).await?;
        if published == Published::Taken {
            (self.notice)(Notice::Claimed);
        }
        Ok(published != Published::Busy)
    }

    /// Waits for a message or the next claim's moment.
    async fn wait<C: Transport>(&mut self, transport: &mut C) -> Result<Option<Effect>, Gone> {
        let deadline = self.claiming.next_deadline();
        let due = async {
            match deadline {
                Some(at) => self.timer.until(at).await,
                None => core::future::pending().await,
            }
        };
        let now = || self.timer.now();
        let inbound = match select(pin!(transport.receive()), pin!(due)).await {
            Either::First(inbound) => inbound.map_err(|_| Gone)?,
            Either::Second(()) => return Ok(self.claiming.handle(now(), Event::Tick)),
        };
        let Some(inbound) = inbound else {
            return Ok(None);
        };
        let Some(event) = event(&inbound) else {
            (self.notice)(Notice::Ignored);
            return Ok(None);
        };
        let ignored = self.claiming.ignored();
        let effect = self.claiming.handle(now(), event);
        if self.claiming.ignored() > ignored {
            (self.notice)(Notice::Ignored);
        }
        Ok(effect)
    }

    async fn in_time<V, E>(&self, io: impl Future<Output = Result<V, E>>) -> Result<V, Gone> {
        let deadline = self.timer.now().plus_ms(self.write_ms.into());
        match select(pin!(io), pin!(self.timer.until(deadline))).await {
            Either::First(done) => done.map_err(|_| Gone),
            Either::Second(()) => Err(Gone),
        }
    }

    fn tell(&mut self, event: Event<'_>) -> Option<Effect> {
        self.claiming.handle(self.timer.now(), event)
    }
}

/// What a message says to a device that claims.
fn event<'a>(inbound: &Inbound<'a>) -> Option<Event<'a>> {
    match inbound.channel {
        // A retained message proves nothing but presence.
        Channel::Down => (!inbound.retained).then_some(Event::Down(inbound.payload)),
        Channel::Gateway => presence(inbound.payload).map(Event::Presence),
    }
}

fn presence(payload: &[u8]) -> Option<Presence> {
    let frame = frame::read(payload).ok()?;
    match Down::read(frame.body) {
        Ok(Down::Presence(presence)) => Some(presence),
        _ => None,
    }
}
