//! The end of a boot that nobody planned: its reason is kept for the next, and the board resets.

use core::panic::PanicInfo;

use crate::ram;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    let place = info.location().map_or(("", 0), |at| (at.file(), at.line()));
    let file = place.0.rsplit('/').next().unwrap_or_default();
    ram::note_panic(format_args!("{file}:{} {}", place.1, info.message()));
    cortex_m::peripheral::SCB::sys_reset()
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    ram::note_panic(format_args!("hard fault at {:#x}", frame.pc()));
    cortex_m::peripheral::SCB::sys_reset()
}
