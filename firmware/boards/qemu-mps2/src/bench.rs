//! The batch encoder's instructions, counted in QEMU: `cargo run --release --features bench` with
//! `TIDEGATE_ICOUNT=1`.
//!
//! QEMU is not cycle exact. With `-icount shift=0` each instruction takes a nanosecond of the
//! guest's time, so a microsecond of the counter is a thousand instructions; a Cortex-M4 takes
//! between one and two cycles for most of them. Samples are a random walk on the scale of a
//! sensor's noise, in full frames of 60 rows.

use cortex_m_semihosting::debug;
use tidegate_firmware::sensor::Reading;

use crate::{Board, SAMPLES, SENSORS, log, time};

const FRAMES: u64 = 40;
const INSTRUCTIONS_PER_US: u64 = 1_000;

/// Measures, logs, and ends the emulator.
pub fn run(device: &mut Board) -> ! {
    let (mut sampling_us, mut closing_us, mut noise) = (0, 0, 1_u32);
    let mut time_us = 0;
    for _ in 0..FRAMES {
        for _ in 0..SAMPLES {
            time_us += 100_000;
            let began = time::now_low_us();
            for sensor in 0..SENSORS as u16 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let raw = i64::from(noise >> 28) + 370;
                // The benchmark's device takes everything.
                let _ = device.sample(sensor, time_us, Reading::Good(raw));
            }
            sampling_us += u64::from(time::now_low_us().wrapping_sub(began));
        }
        let began = time::now_low_us();
        device.advance(time_us + 1);
        closing_us += u64::from(time::now_low_us().wrapping_sub(began));
    }
    let samples = FRAMES * (SAMPLES * SENSORS) as u64;
    log!(
        "bench: Instructions per sample, counted by QEMU (`-icount shift=0`; not cycles): {} to \
         take it,",
        sampling_us * INSTRUCTIONS_PER_US / samples
    );
    log!(
        "bench: {} to encode it and freeze its frame, over {} samples in {} frames.",
        closing_us * INSTRUCTIONS_PER_US / samples,
        samples,
        device.frames()
    );
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        cortex_m::asm::wfi();
    }
}
