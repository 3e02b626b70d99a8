//! One sample of one watched sensor, without keeping the executor while the sensor measures.

use embassy_time::Timer;
use tidegate_firmware::device::Device;
use tidegate_firmware::outbox::Outbox;
use tidegate_firmware::sensor::{Sensor, Watched};
use tidegate_firmware::shell::Shared;

use crate::clock::Clock;

/// Begins a measurement, waits as long as the sensor says, and gives the device what came of it.
pub async fn sample<S, O, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>(
    watched: &mut Watched<S>,
    shared: &Shared<Device<'_, O, SENSORS, SAMPLES, FRAME>>,
) where
    S: Sensor,
    O: Outbox,
{
    let wait_us = watched.begin();
    if wait_us > 0 {
        Timer::after_micros(wait_us.into()).await;
    }
    #[cfg(feature = "defmt")]
    let before = watched.fault();
    // A time that is not above the last one is counted as failed by the device.
    let _ = shared.with(|device| watched.sample(device, Clock::uptime_us()));
    #[cfg(feature = "defmt")]
    if before != watched.fault() {
        crate::log::sensor(watched.index(), watched.fault());
    }
}
