//! The RAM before the flash: an outbox that hands its oldest frames on.

use tidegate_shared::ids::Mark;

use crate::outbox::ram::Front;
use crate::outbox::{Entry, Outbox, RamOutbox, Remains};

/// An outbox in RAM that can stand before one in flash: [`RamOutbox`], or [`Remains`], whose
/// frames outlive a soft reset.
pub trait Ram: Outbox {
    /// Most bytes of frames and receipts.
    const BYTES: usize;
    /// Most frames.
    const FRAMES: usize;

    /// The oldest frame.
    fn front(&self) -> Option<Front>;

    /// The mark of the newest frame.
    fn newest(&self) -> Option<Mark>;

    /// Copies receipt and frame of the oldest frame, as they are; none when `out` is too short.
    fn copy_front(&self, out: &mut [u8]) -> Option<usize>;

    /// Bytes that each frame takes with its receipt, oldest first.
    fn spans(&self) -> impl Iterator<Item = usize>;

    /// Bytes in use, receipts included.
    fn bytes_used(&self) -> usize;

    /// Samples that were handed on with this frame are lost.
    fn lose(&mut self, entry: &Entry, sensor: u8, samples: u8);
}

impl<const BYTES: usize, const FRAMES: usize> Ram for RamOutbox<BYTES, FRAMES> {
    const BYTES: usize = BYTES;
    const FRAMES: usize = FRAMES;

    fn front(&self) -> Option<Front> {
        self.front()
    }

    fn newest(&self) -> Option<Mark> {
        self.newest()
    }

    fn copy_front(&self, out: &mut [u8]) -> Option<usize> {
        self.copy_front(out)
    }

    fn spans(&self) -> impl Iterator<Item = usize> {
        self.spans()
    }

    fn bytes_used(&self) -> usize {
        self.bytes_used()
    }

    fn lose(&mut self, _: &Entry, _: u8, _: u8) {}
}

impl<const SENSORS: usize, const BYTES: usize, const FRAMES: usize> Ram
    for &mut Remains<SENSORS, BYTES, FRAMES>
{
    const BYTES: usize = BYTES;
    const FRAMES: usize = FRAMES;

    fn front(&self) -> Option<Front> {
        self.frames().front()
    }

    fn newest(&self) -> Option<Mark> {
        self.frames().newest()
    }

    fn copy_front(&self, out: &mut [u8]) -> Option<usize> {
        self.frames().copy_front(out)
    }

    fn spans(&self) -> impl Iterator<Item = usize> {
        self.frames().spans()
    }

    fn bytes_used(&self) -> usize {
        self.frames().bytes_used()
    }

    fn lose(&mut self, entry: &Entry, sensor: u8, samples: u8) {
        self.unsettle(entry, sensor, samples);
    }
}
