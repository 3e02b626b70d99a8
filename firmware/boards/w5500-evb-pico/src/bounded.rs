//! An I2C bus whose transfers end in time.
//!
//! The HAL's blocking transfers wait for ever when a chip holds the clock low. These run its
//! asynchronous ones, and drop them when they take too long.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embassy_time::{Duration, Instant};
use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, Operation};

/// Longest transfer: a hundred bytes at 100 kHz take 9 ms.
const TRANSFER: Duration = Duration::from_millis(20);

/// A bus with a bound.
pub struct Bounded<B>(pub B);

/// Why a transfer failed.
#[derive(Debug)]
pub enum BoundedError<E> {
    /// The bus's own error.
    Bus(E),
    /// It took too long: a line is held.
    TooLong,
}

impl<E: Error> Error for BoundedError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Bus(error) => error.kind(),
            Self::TooLong => ErrorKind::ArbitrationLoss,
        }
    }
}

impl<B: ErrorType> ErrorType for Bounded<B> {
    type Error = BoundedError<B::Error>;
}

impl<B: embedded_hal_async::i2c::I2c> I2c for Bounded<B> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Self::Error> {
        let mut transfer = pin!(self.0.transaction(address, operations));
        let mut context = Context::from_waker(Waker::noop());
        let deadline = Instant::now() + TRANSFER;
        while Instant::now() < deadline {
            if let Poll::Ready(done) = transfer.as_mut().poll(&mut context) {
                return done.map_err(BoundedError::Bus);
            }
        }
        Err(BoundedError::TooLong)
    }
}
