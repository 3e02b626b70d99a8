//! A transport in memory: two bounded queues and a switch that cuts them.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

use heapless::{Deque, Vec};
use tidegate_shared::limits::FRAME_BYTES_DEFAULT;
use tidegate_shared::seal::SEAL_BYTES_MAX;

use super::{Inbound, Outlet, Published, Transport};
use crate::device::Channel;

/// A message in the queues.
pub type Bytes = Vec<u8, MESSAGE_BYTES_MAX>;
/// Most bytes of one: a frame by default, sealed.
pub const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_DEFAULT + SEAL_BYTES_MAX;

/// The connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

/// The broker's side: takes what a device published, and sends to it. At most `QUEUE` messages
/// wait in each direction; a device finds the transport busy then, and a test is told.
#[derive(Debug, Default)]
pub struct MemoryBroker<const QUEUE: usize> {
    up: RefCell<Deque<(Outlet, Bytes), QUEUE>>,
    down: RefCell<Deque<(Channel, bool, Bytes), QUEUE>>,
    is_cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl<const QUEUE: usize> MemoryBroker<QUEUE> {
    /// Takes the oldest message that the device published.
    pub fn take(&self) -> Option<(Outlet, Bytes)> {
        self.wake();
        self.up.borrow_mut().pop_front()
    }

    /// Sends to the device; false when its queue is full or the message too large.
    pub fn send(&self, channel: Channel, retained: bool, payload: &[u8]) -> bool {
        self.wake();
        Bytes::from_slice(payload).is_ok_and(|bytes| {
            self.down
                .borrow_mut()
                .push_back((channel, retained, bytes))
                .is_ok()
        })
    }

    /// Cuts the connection, or mends it for the next one.
    pub fn set_cut(&self, is_cut: bool) {
        self.is_cut.set(is_cut);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The device's side.
#[derive(Debug)]
pub struct MemoryTransport<'b, const QUEUE: usize> {
    broker: &'b MemoryBroker<QUEUE>,
    received: Bytes,
}

impl<'b, const QUEUE: usize> MemoryTransport<'b, QUEUE> {
    /// Connects, subscribed at once.
    pub fn new(broker: &'b MemoryBroker<QUEUE>) -> Self {
        Self {
            broker,
            received: Bytes::new(),
        }
    }
}

impl<const QUEUE: usize> Transport for MemoryTransport<'_, QUEUE> {
    type Error = Cut;

    fn is_subscribed(&self) -> bool {
        true
    }

    async fn publish(
        &mut self,
        outlet: Outlet,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<Published, Cut> {
        if self.broker.is_cut.get() {
            return Err(Cut);
        }
        let mut up = self.broker.up.borrow_mut();
        if up.is_full() {
            return Ok(Published::Busy);
        }
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let Some(used) = write(&mut bytes) else {
            return Ok(Published::Nothing);
        };
        let bytes = Bytes::from_slice(bytes.get(..used).unwrap_or_default()).map_err(|_| Cut)?;
        up.push_back((outlet, bytes)).map_err(|_| Cut)?;
        Ok(Published::Taken)
    }

    async fn receive(&mut self) -> Result<Option<Inbound<'_>>, Cut> {
        let broker = self.broker;
        let was_full = broker.up.borrow().is_full();
        let next = poll_fn(|context| {
            if broker.is_cut.get() {
                return Poll::Ready(Err(Cut));
            }
            if let Some(message) = broker.down.borrow_mut().pop_front() {
                return Poll::Ready(Ok(Some(message)));
            }
            if was_full && !broker.up.borrow().is_full() {
                return Poll::Ready(Ok(None));
            }
            broker.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        });
        let Some((channel, retained, bytes)) = next.await? else {
            return Ok(None);
        };
        self.received = bytes;
        Ok(Some(Inbound {
            channel,
            retained,
            payload: &self.received,
        }))
    }

    async fn close(&mut self) -> Result<(), Cut> {
        self.broker.set_cut(true);
        Ok(())
    }
}
