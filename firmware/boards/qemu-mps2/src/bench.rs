//! The instructions of the batch encoder and of sealing, counted in QEMU: `cargo run --release --features bench` with
//! `TIDEGATE_ICOUNT=1`.
//!
//! QEMU is not cycle exact. With `-icount shift=0` each instruction takes a nanosecond of the
//! guest's time, so a microsecond of the counter is a thousand instructions; a Cortex-M4 takes
//! between one and two cycles for most of them. Samples are a random walk on the scale of a
//! sensor's noise, in full frames of 60 rows.

use cortex_m_semihosting::debug;
use tidegate_firmware::seal::{Guard, Said};
use tidegate_firmware::sensor::Reading;
use tidegate_firmware::settings::DeviceKey;
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{Incarnation, Mark, Term};
use tidegate_shared::message::{Ack, Down};
use tidegate_shared::seal::{self, Key, SEAL_BYTES_MAX, Way};

use crate::{Board, FRAME, SAMPLES, SENSORS, log, time};

const FRAMES: u64 = 40;
const INSTRUCTIONS_PER_US: u64 = 1_000;
/// A device of incarnation 1 in its first boot.
const WHO: (Incarnation, u32) = (Incarnation(1), 1);

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
    sealing();
    #[cfg(feature = "claim")]
    claiming();
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        cortex_m::asm::wfi();
    }
}

/// What a key costs a frame of a size, and an Ack. Keys of zeros take as long as others.
fn sealing() {
    let key = DeviceKey {
        id: 1,
        bytes: [0; 32],
    };
    let mut guard = Guard::new(&key);
    let (mut plain, mut out) = ([0; FRAME], [0; FRAME + SEAL_BYTES_MAX]);
    for bytes in [100, 500, FRAME] {
        let used = frame_of(bytes, &mut plain);
        let per_frame = instructions(|| {
            let sealed = guard.seal(Said::Frame, &plain[..used], &mut out);
            assert!(sealed.is_some(), "it fits");
        });
        log!(
            "bench: Sealing a frame of {} bytes takes {},",
            used,
            per_frame
        );
    }
    let used = frame_of(20, &mut plain);
    assert!(guard.seal(Said::Hello, &plain[..used], &mut out).is_some());
    let (term, mut counter) = (Term(1), 0);
    let (mut opening_us, mut bytes) = (0, 0);
    for _ in 0..FRAMES {
        counter += 1;
        bytes = sealed_ack(&Key::new(key.bytes), term, counter, &mut out);
        let began = time::now_low_us();
        let opened = guard.open(WHO, &out[..bytes], &mut plain);
        opening_us += u64::from(time::now_low_us().wrapping_sub(began));
        assert!(matches!(opened, Ok(Down::Ack(_))), "an Ack for it");
    }
    log!(
        "bench: opening an Ack of {} bytes {}: the plain frame's check included.",
        bytes,
        opening_us * INSTRUCTIONS_PER_US / FRAMES
    );
}

/// What it costs to work out a public key, or a shared secret: the same multiplication, which takes
/// as long for all keys.
#[cfg(feature = "claim")]
fn claiming() {
    let began = time::now_low_us();
    multiply();
    let us = time::now_low_us().wrapping_sub(began);
    let stack = |work: fn()| {
        crate::ram::paint_stack();
        work();
        crate::ram::stack_used()
    };
    log!(
        "bench: Working out an X25519 key takes {} instructions and {} bytes of stack.",
        u64::from(us) * INSTRUCTIONS_PER_US,
        stack(multiply) - stack(nothing)
    );
}

/// Not inlined, so that what it needs of the stack is its own.
#[cfg(feature = "claim")]
#[inline(never)]
fn multiply() {
    use tidegate_shared::claim::{PUBLIC_BYTES, Secret};

    drop(core::hint::black_box(Secret::new([0x5a; PUBLIC_BYTES])));
}

#[cfg(feature = "claim")]
#[inline(never)]
fn nothing() {
    core::hint::black_box(());
}

fn instructions(mut work: impl FnMut()) -> u64 {
    let began = time::now_low_us();
    for _ in 0..FRAMES {
        work();
    }
    u64::from(time::now_low_us().wrapping_sub(began)) * INSTRUCTIONS_PER_US / FRAMES
}

/// A plain frame of about so many bytes: 9 are its header, 4 its check.
fn frame_of(bytes: usize, out: &mut [u8; FRAME]) -> usize {
    let header = Header {
        incarnation: WHO.0,
        mark: Mark {
            boot: WHO.1,
            sequence: 1,
        },
        ..Header::default()
    };
    let body = [0x5a; FRAME];
    let written = frame::write(&header, out, |writer| writer.put(&body[..bytes - 13]));
    written.map_or(0, |(frame, _)| frame.len())
}

fn sealed_ack(key: &Key, term: Term, counter: u32, out: &mut [u8]) -> usize {
    let ack = Down::Ack(Ack {
        incarnation: WHO.0,
        boot: WHO.1,
        through: 1_000,
        utc_us: 1_700_000_000_000_000,
        term,
        ..Ack::default()
    });
    let header = Header {
        incarnation: WHO.0,
        ..Header::default()
    };
    let mut plain = [0; 64];
    let written = frame::write(&header, &mut plain, |writer| ack.write(writer));
    let (plain, _) = written.expect("room for an Ack");
    let way = Way::Down {
        boot: WHO.1,
        term,
        hello: 1,
        counter,
    };
    seal::seal(key, 1, way, plain, out).expect("room for its seal")
}
