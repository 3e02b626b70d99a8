//! The watchdog of the CMSDK (DDI 0479, section 4.4), counting 25 MHz down.
//!
//! At 0 it raises the NMI and counts again, at the second 0 it resets. The NMI's handler notes that
//! it was the watchdog and resets at once: a hang is told from a pin reset by the next boot.

use crate::ram;
use crate::register::Register;

// SAFETY: the block's address on this machine, AN386, table 3-1.
const LOAD: Register = unsafe { Register::new(0x4000_8000) };
const CONTROL: Register = LOAD.at(0x8);
const CLEAR: Register = LOAD.at(0xc);
const LOCK: Register = LOAD.at(0xc00);
const UNLOCK: u32 = 0x1acc_e551;
const INTERRUPT_AND_RESET: u32 = 0b11;

/// Without being fed for this long, it bites; in s. The longest that the samplers may stand still.
pub const PATIENCE_S: u32 = 8;

/// Starts it. It cannot be stopped.
pub fn start() {
    LOCK.write(UNLOCK);
    LOAD.write(PATIENCE_S * 25_000_000);
    CONTROL.write(INTERRUPT_AND_RESET);
    LOCK.write(0);
}

/// Says that all is well.
pub fn feed() {
    LOCK.write(UNLOCK);
    CLEAR.write(1);
    LOCK.write(0);
}

#[cortex_m_rt::exception]
unsafe fn NonMaskableInt() -> ! {
    ram::note_watchdog();
    cortex_m::peripheral::SCB::sys_reset()
}
