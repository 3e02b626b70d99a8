//! Tidegate on the W5500-EVB-Pico: an RP2040 with Ethernet, the chip's own temperature, and
//! with the feature `lm75` a TMP105 or LM75 on GP4 and GP5.

#![no_std]
#![no_main]
#![expect(
    clippy::used_underscore_binding,
    reason = "embassy's main hands on a spawner that nothing here needs"
)]

mod board;
#[cfg(feature = "lm75")]
mod bounded;
mod temperature;

use core::convert::Infallible;

use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_time::{Duration, Ticker};
use tidegate_board::clock::Clock;
use tidegate_board::node::{self, Parts};
use tidegate_board::sampling::sample;
use tidegate_board::settings::Settings;
use tidegate_firmware::sensor::Watched;
#[cfg(feature = "lm75")]
use tidegate_firmware::sensor::lm75;
use tidegate_shared::catalog::{Kind, Scale, SensorInfo};
use tidegate_shared::ids::SensorName;

use crate::board::{Board, WATCHDOG};

const SENSORS: usize = if cfg!(feature = "lm75") { 2 } else { 1 };
const PERIOD: Duration = Duration::from_secs(1);

tidegate_board::kept!(SENSORS, 4_096, 32, cortex_m::peripheral::SCB::sys_reset());

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let built_in = Settings::new("pump-house", "pico-1", "192.168.1.10", 1883);
    let board = Board::start(built_in).await;
    let sensors = [
        temperature_sensor("chip.temperature", temperature::SCALE),
        #[cfg(feature = "lm75")]
        temperature_sensor("temperature", lm75::SCALE),
    ];
    let parts = Parts {
        network: board.network,
        slots: board.slots,
        entropy: board.random,
        remains: remains(),
        settings: board.settings,
        number: board.number,
        firmware: concat!("w5500-evb-pico ", env!("CARGO_PKG_VERSION")),
        reset: board.reset,
        panic: panic(),
    };
    let mut chip = Watched::new(board.temperature, 0);
    #[cfg(feature = "lm75")]
    let mut external = Watched::new(lm75::Lm75::twelve_bits(board.i2c, lm75::ADDRESS), 1);
    let mut watchdog = board.watchdog;
    node::run(parts, &sensors, async |shared| {
        let sampling = async {
            let mut ticker = Ticker::every(PERIOD);
            loop {
                ticker.next().await;
                sample(&mut chip, shared).await;
                #[cfg(feature = "lm75")]
                sample(&mut external, shared).await;
                shared.with(|device| device.advance(Clock::uptime_us()));
                watchdog.feed(WATCHDOG);
            }
        };
        let (_, never): (Infallible, _) = join(sampling, board.ethernet.run()).await;
        never
    })
    .await;
}

fn temperature_sensor(name: &str, scale: Scale) -> SensorInfo<'static> {
    SensorInfo {
        id: SensorName::try_from(name).unwrap_or_else(|_| panic!("no name")),
        unit: "°C",
        kind: Kind::Gauge,
        scale,
        urgent: false,
        tags: heapless::Vec::new(),
    }
}
