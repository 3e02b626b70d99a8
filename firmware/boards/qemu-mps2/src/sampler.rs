//! The sampler: reads every sensor when it is due, whatever the link does.
//!
//! It is the only one to feed the watchdog: as long as samples are taken, all is well. A sample's
//! time is the tick that it was due at; reading follows within a millisecond.

use embassy_executor::Spawner;
use embassy_time::{Duration, Instant, Timer};
use tidegate_firmware::sensor::lm75::{ADDRESS, Lm75};
use tidegate_firmware::sensor::{Fault, Reading, Sensor, Watched};
use tidegate_firmware::shell::Shared;

use crate::executor::IdleMeter;
use crate::sbcon::Sbcon;
use crate::{Board, log, ram, watchdog};

/// Between two samples of a temperature.
const PERIOD: Duration = Duration::from_millis(100);
/// Ticks between two looks at the processor itself.
const TICKS_PER_LOOK: u32 = if cfg!(feature = "drill") { 20 } else { 100 };

/// Index of the sensor that tells the processor's idle time.
const IDLE: u16 = 2;

/// A TMP105.
struct Thermometer(Lm75<Sbcon>);

impl Sensor for Thermometer {
    type Fault = Fault;

    fn begin(&mut self) -> Result<u32, Fault> {
        self.0.begin()
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let reading = self.0.read();
        #[cfg(feature = "drill")]
        drill(reading);
        reading
    }

    fn code(fault: &Fault) -> u16 {
        fault.code()
    }
}

/// A drill asked for a planned stop.
#[cfg(feature = "drill")]
static STOP: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Three temperatures near the ends of the range stand for the ways in which a boot ends.
#[cfg(feature = "drill")]
fn drill(reading: Result<Reading, Fault>) {
    const PANIC: i64 = -55 * 16;
    const STOP_PLANNED: i64 = 120 * 16;
    const HANG: i64 = 125 * 16;
    match reading {
        Ok(Reading::Good(PANIC)) => panic!("a drill"),
        Ok(Reading::Good(STOP_PLANNED)) => STOP.store(true, core::sync::atomic::Ordering::Relaxed),
        Ok(Reading::Good(HANG)) => loop {
            cortex_m::asm::nop();
        },
        _ => {}
    }
}

/// Starts the sampler.
pub fn spawn(spawner: Spawner, shared: &'static Shared<Board>, boot: u32) {
    spawner.spawn(sample(shared, boot).expect("the first one"));
}

#[embassy_executor::task]
async fn sample(shared: &'static Shared<Board>, boot: u32) {
    let mut thermometers = [0, 1].map(|index| {
        let chip = Lm75::twelve_bits(Sbcon::new(), ADDRESS + index as u8);
        Watched::new(Thermometer(chip), index)
    });
    let mut meter = IdleMeter::new();
    let mut due = Instant::now();
    for tick in 1_u32.. {
        due += PERIOD;
        if Instant::now() > due + PERIOD {
            // Stood still for longer than a period: what was missed is not made up.
            due = Instant::now();
        }
        Timer::at(due).await;
        for thermometer in &mut thermometers {
            let (sensor, before) = (thermometer.index(), thermometer.fault());
            trace("take", boot, sensor, shared);
            // A TMP105 measures all the time: there is nothing to wait for.
            thermometer.begin();
            // Only a stopped device takes nothing.
            let _ = shared.with(|device| thermometer.sample(device, due.as_micros()));
            tell(sensor, before, thermometer.fault());
            trace("took", boot, sensor, shared);
        }
        #[cfg(feature = "drill")]
        if STOP.load(core::sync::atomic::Ordering::Relaxed) {
            shared.with(Board::stop);
        }
        if tick % TICKS_PER_LOOK == 0 {
            let idle = meter.per_mille();
            trace("take", boot, IDLE, shared);
            let reading = Reading::Good(idle.into());
            // Only a stopped device takes nothing, and this one is never stopped.
            let _ = shared.with(|device| device.sample(IDLE, due.as_micros(), reading));
            trace("took", boot, IDLE, shared);
            look(idle, shared);
        }
        watchdog::feed();
    }
}

fn tell(sensor: u16, before: Option<u16>, fault: Option<u16>) {
    match (before, fault) {
        (None, Some(code)) => log!("sensor {} gives no value: fault {}", sensor, code),
        (Some(_), None) => log!("sensor {} works again", sensor),
        _ => {}
    }
}

/// Logs how the processor and the outbox stand.
fn look(idle: u32, shared: &Shared<Board>) {
    let (frames, bytes, acked) = shared.with(|device| {
        let outbox = device.outbox();
        (device.frames(), outbox.bytes_used(), device.link().acked())
    });
    log!(
        "idle {}.{} %, stack {} of {} B, frames {}, acked {}, outbox {} B",
        idle / 10,
        idle % 10,
        ram::stack_used(),
        ram::stack_bytes(),
        frames,
        acked,
        bytes
    );
}

/// The test's witness: a sensor's counts before and after each sample.
fn trace(word: &str, boot: u32, sensor: u16, shared: &Shared<Board>) {
    if cfg!(feature = "drill") {
        let counts = shared.with(|device| device.counts(sensor));
        log!(
            "{} {} {} {} {} ;",
            word,
            boot,
            sensor,
            counts.taken,
            counts.failed
        );
    }
}
