//! Who this device is: settings, incarnation and boot, and its sensors.

use static_cell::StaticCell;
use tidegate_board::boot::{self, Boot, Found, Own};
#[cfg(feature = "claim")]
use tidegate_board::claim;
use tidegate_board::settings::{Settings, Source};
use tidegate_firmware::batch::BatchConfig;
use tidegate_firmware::device::{DeviceConfig, Identity};
use tidegate_firmware::sensor::lm75;
use tidegate_firmware::shell::Entropy;
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::ids::SensorName;
use tidegate_shared::message::ResetReason;

use crate::console::HostEntropy;
use crate::eeprom::Eeprom;
use crate::log;
use crate::sbcon::Sbcon;

/// Most bytes of a settings page that is read.
const PAGE_BYTES: usize = 256;

unsafe extern "C" {
    static _settings_page: [u8; PAGE_BYTES];
}

/// The settings of the page, or those of the emulator's own network; with a claim, of this very
/// machine.
pub fn settings(started: &mut Boot) -> &'static Settings {
    static SETTINGS: StaticCell<Settings> = StaticCell::new();
    // SAFETY: the linker script places it in memory that is only ever read here.
    let page = unsafe { &*core::ptr::addr_of!(_settings_page) };
    let built_in = Settings::new("pump-house", "qemu", "10.0.2.2", 1883);
    let (settings, source) = Settings::read_or(page, built_in.expect("names"));
    match source {
        Source::Page => {}
        Source::BuiltIn => log!("no settings page: the built-in settings hold"),
        Source::Fault(fault) => log!("settings page is wrong: {:?}", fault),
    }
    let settings = SETTINGS.init(settings);
    #[cfg(feature = "claim")]
    claim::settle(
        settings,
        (&mut Eeprom::new(Sbcon::new()), started),
        None,
        &mut HostEntropy::new(),
    );
    #[cfg(not(feature = "claim"))]
    let _ = started;
    let broker = &settings.broker;
    log!(
        "site {}, device {}, broker {}:{}",
        settings.site,
        settings.device,
        broker.host,
        broker.port
    );
    settings
}

/// Counts this start. Without a store that works, an incarnation of its own.
pub fn start() -> Boot {
    let mut entropy = HostEntropy::new();
    match boot::begin(&mut Eeprom::new(Sbcon::new()), &mut entropy) {
        Ok(boot) => {
            log!("boot store: {:?}", boot.found);
            boot
        }
        Err(error) => {
            log!(
                "boot store: {:?}; an incarnation for this start alone",
                error
            );
            Boot {
                incarnation: boot::draw(&mut entropy),
                boot: 1,
                found: Found::Damaged,
                own: Own::NONE,
            }
        }
    }
}

/// Who the device is in this start.
pub fn identity(started: &Boot, reset: ResetReason) -> Identity {
    Identity {
        incarnation: started.incarnation,
        boot: started.boot,
        firmware: concat!("qemu-mps2 ", env!("CARGO_PKG_VERSION")),
        reset,
        seed: HostEntropy::new().draw(),
    }
}

/// Two seconds of samples a frame.
pub fn config() -> DeviceConfig {
    DeviceConfig {
        batch: BatchConfig {
            hold_us: if cfg!(feature = "bench") {
                3_600_000_000
            } else {
                2_000_000
            },
            ..BatchConfig::default()
        },
        ..DeviceConfig::default()
    }
}

/// The sensors, in the order of their indices.
pub fn catalog() -> &'static [u8] {
    static CATALOG: StaticCell<[u8; 128]> = StaticCell::new();
    let sensor = |name, unit, scale| SensorInfo {
        id: SensorName::try_from(name).expect("a name"),
        unit,
        kind: Kind::Gauge,
        scale,
        urgent: false,
        tags: heapless::Vec::new(),
    };
    let sensors: [_; crate::SENSORS] = [
        sensor("temperature", "°C", lm75::SCALE),
        sensor("temperature.case", "°C", lm75::SCALE),
        sensor("cpu.idle", "%", Scale::decimal(-1)),
    ];
    let written = catalog::write(&sensors, CATALOG.init([0; 128]));
    written.expect("room for three sensors")
}
