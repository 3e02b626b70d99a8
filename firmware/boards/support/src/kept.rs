//! What outlives a soft reset, as a board lays it into RAM.

/// Lays a [`Note`](crate::note::Note) and [`Remains`](tidegate_firmware::outbox::Remains) for so
/// many sensors, bytes and frames into `.uninit`, the section that cortex-m-rt's start-up code
/// leaves alone, with a panic handler that keeps the message and then resets the chip.
///
/// It makes two functions, each to be called once, at the start: `remains()`, the frames of the
/// last boot and of this one, and `panic()`, the last boot's panic.
///
/// ```ignore
/// tidegate_board::kept!(SENSORS, 8_192, 32, cortex_m::peripheral::SCB::sys_reset());
/// ```
#[macro_export]
macro_rules! kept {
    ($sensors:expr, $bytes:expr, $frames:expr, $reset:expr) => {
        #[unsafe(link_section = ".uninit.NOTE")]
        static mut NOTE: ::core::mem::MaybeUninit<$crate::note::Note> =
            ::core::mem::MaybeUninit::uninit();
        #[unsafe(link_section = ".uninit.REMAINS")]
        static mut REMAINS: ::core::mem::MaybeUninit<
            $crate::kept::Remains<$sensors, $bytes, $frames>,
        > = ::core::mem::MaybeUninit::uninit();

        fn remains() -> &'static mut $crate::kept::Remains<$sensors, $bytes, $frames> {
            // SAFETY: called once, so there is no other reference. Every pattern of bits is a value
            // of this type, and the compiler cannot conclude that none was ever written, since
            // the pointer passes through `black_box`.
            unsafe { (*::core::hint::black_box(&raw mut REMAINS)).assume_init_mut() }
        }

        fn panic() -> Option<$crate::kept::Message> {
            // SAFETY: as above. The panic handler is the only other user, and never returns.
            unsafe { (*::core::hint::black_box(&raw mut NOTE)).assume_init_mut() }.take()
        }

        #[panic_handler]
        fn keep_and_reset(info: &::core::panic::PanicInfo<'_>) -> ! {
            // SAFETY: as above; nothing goes on after this.
            let note = unsafe { (*::core::hint::black_box(&raw mut NOTE)).assume_init_mut() };
            $crate::kept::keep(note, info);
            $reset
        }
    };
}

use core::panic::{Location, PanicInfo};

pub use tidegate_firmware::outbox::Remains;

use crate::note::{NOTE_BYTES_MAX, Note};

/// A kept panic.
pub type Message = heapless::String<NOTE_BYTES_MAX>;

/// Keeps where a panic happened and what it says: `freeze.rs:7 attempt to …`.
pub fn keep(note: &mut Note, info: &PanicInfo<'_>) {
    let line = info.location().map_or(0, Location::line);
    let file = info.location().map_or("", Location::file);
    let file = file.rsplit('/').next().unwrap_or_default();
    note.keep(format_args!("{file}:{line} {}", info.message()));
}
