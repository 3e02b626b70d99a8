//! Tidegate on QEMU's mps2-an386: a Cortex-M4F with Ethernet, an I²C thermometer or two, and an
//! EEPROM. `cargo run --release` starts it; `./run` says what can be set.
//!
//! | module | what it drives |
//! |---|---|
//! | [`executor`], [`time`], [`watchdog`], [`interrupts`] | the processor: sleep, time, patience |
//! | [`lan9118`], [`sbcon`], [`eeprom`], [`register`] | Ethernet, the I²C bus, the boot store |
//! | [`ram`], [`panic`], [`console`] | what outlives a reset, the stack's depth, the log |
//! | [`identity`], [`sampler`], [`uplink`] | who this is; reading sensors; the way to the broker |

#![no_std]
#![no_main]

#[cfg(feature = "bench")]
mod bench;
mod console;
mod eeprom;
mod executor;
mod identity;
mod interrupts;
mod lan9118;
mod panic;
mod ram;
mod register;
mod sampler;
mod sbcon;
mod time;
mod uplink;
mod watchdog;

use embassy_executor::Spawner;
use static_cell::StaticCell;
use tidegate_firmware::device::Device;
use tidegate_firmware::shell::Shared;

/// Sensors in the catalog.
const SENSORS: usize = 3;
/// Samples of each in a frame.
const SAMPLES: usize = 60;
/// Bytes of the largest frame.
const FRAME: usize = 1_024;
/// Bytes and frames that are held without a gateway.
const OUTBOX_BYTES: usize = 5_632;
const OUTBOX_FRAMES: usize = 32;

/// The device, its outbox in RAM that outlives a reset.
type Board = Device<'static, &'static mut ram::Kept, SENSORS, SAMPLES, FRAME>;

#[cortex_m_rt::entry]
fn main() -> ! {
    ram::paint_stack();
    time::start();
    watchdog::start();
    executor::run(start)
}

fn start(spawner: Spawner) {
    static SHARED: StaticCell<Shared<Board>> = StaticCell::new();

    let found = ram::take();
    let mut started = identity::start();
    let settings = identity::settings(&mut started);
    let identity = identity::identity(&started, found.reset);
    let (boot, panic) = (identity.boot, found.panic);
    log!(
        "tidegate: boot {} of {}, {:?}",
        boot,
        identity.incarnation,
        found.reset
    );
    let past = found.remains.recover(identity.incarnation, &mut [0; FRAME]);
    if let Some(past) = &past {
        log!("boot {} is ended for it", past.boot);
    }
    let (config, catalog) = (identity::config(), identity::catalog());
    let device = Device::resume(identity, config, catalog, found.remains, past.as_ref());
    let mut device = device.expect("a catalog of this board's sensors");
    if let Some(key) = &settings.key {
        log!("frames are sealed by key {}", key.id);
        device.set_key(key);
    }
    if let Some(message) = panic {
        log!("the last boot panicked: {}", message);
        device.report(tidegate_shared::message::EventCode::Panic { message });
    }
    #[cfg(feature = "bench")]
    {
        let _ = (spawner, settings, started);
        bench::run(&mut device);
    }
    #[cfg_attr(
        feature = "bench",
        expect(unreachable_code, reason = "the benchmark ends it")
    )]
    let shared: &'static Shared<Board> = SHARED.init(Shared::new(device));
    sampler::spawn(spawner, shared, boot);
    uplink::spawn(spawner, shared, settings, started);
}
