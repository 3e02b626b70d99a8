//! A device shared by its samplers and its shell, on one single-threaded executor.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use crate::device::Device;
use crate::outbox::Outbox;

/// A device and two bells: one wakes the shell when a frame was frozen, one wakes a sampler that
/// waits for something of the device. Not `Sync`: the compiler keeps it on one executor.
#[derive(Debug)]
pub struct Shared<D> {
    device: RefCell<D>,
    shell: Bell,
    sampler: Bell,
}

impl<D> Shared<D> {
    /// Shares a device.
    pub const fn new(device: D) -> Self {
        Self {
            device: RefCell::new(device),
            shell: Bell::new(),
            sampler: Bell::new(),
        }
    }

    /// The device back.
    pub fn into_inner(self) -> D {
        self.device.into_inner()
    }
}

impl<'c, O: Outbox, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>
    Shared<Device<'c, O, SENSORS, SAMPLES, FRAME>>
{
    /// Works on the device. `work` cannot wait, so no one finds the device borrowed.
    pub fn with<R>(
        &self,
        work: impl FnOnce(&mut Device<'c, O, SENSORS, SAMPLES, FRAME>) -> R,
    ) -> R {
        let mut device = self.device.borrow_mut();
        let held = device.outbox().len();
        let result = work(&mut device);
        let (wants_shell, freed) = (
            device.wants_tick() || device.wants_rename(),
            device.outbox().len() < held,
        );
        drop(device);
        if wants_shell {
            self.shell.ring();
        }
        if freed {
            self.sampler.ring();
        }
        result
    }

    /// Waits until `is_so` of the device, such as [`Device::has_room`] or [`Device::is_drained`].
    /// Looked at again whenever frames were freed. One task may wait at a time.
    pub async fn until(&self, is_so: impl Fn(&Device<'c, O, SENSORS, SAMPLES, FRAME>) -> bool) {
        while !is_so(&self.device.borrow()) {
            poll_fn(|context| self.sampler.wait(context)).await;
        }
    }

    /// Waits until a frame was frozen, or the device wants a new incarnation.
    pub(super) async fn frozen(&self) {
        poll_fn(|context| self.shell.wait(context)).await;
    }
}

/// Wakes one waiting task; rings once for a task that comes later.
#[derive(Debug)]
struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    const fn new() -> Self {
        Self {
            rung: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wait(&self, context: &Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}
