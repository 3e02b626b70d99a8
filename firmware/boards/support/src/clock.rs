//! The link's clock, and the samplers' uptime: both are embassy-time's, counted from the start.

use embassy_time::{Instant, Timer};
use tidegate_firmware::time::{self, Moment};

/// The clock of embassy-time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Clock;

impl Clock {
    /// Uptime in µs.
    pub fn uptime_us() -> u64 {
        Instant::now().as_micros()
    }
}

impl time::Timer for Clock {
    fn now(&self) -> Moment {
        Moment(Self::uptime_us())
    }

    async fn until(&self, at: Moment) {
        Timer::at(Instant::from_micros(at.0)).await;
    }
}
