//! The interrupt table: 32 lines, of which two are used.
//!
//! Arm, Application Note AN386, table 3-2: line 8 is timer 0, line 13 Ethernet.

use crate::{lan9118, time};

/// Line of timer 0.
pub const TIMER0: u16 = 8;
/// Line of the Ethernet controller.
pub const ETHERNET: u16 = 13;

/// A line, as the interrupt controller wants it.
#[derive(Debug, Clone, Copy)]
pub struct Line(pub u16);

// SAFETY: the numbers are those of the table below, and a line's number never changes.
unsafe impl cortex_m::interrupt::InterruptNumber for Line {
    fn number(self) -> u16 {
        self.0
    }
}

/// Lets a line through.
pub fn enable(line: u16) {
    // SAFETY: the handlers only work behind critical sections, so they may come at any time.
    unsafe { cortex_m::peripheral::NVIC::unmask(Line(line)) };
}

extern "C" fn unexpected() {
    panic!("an interrupt that nobody asked for");
}

const fn table() -> [extern "C" fn(); 32] {
    let mut table: [extern "C" fn(); 32] = [unexpected; 32];
    table[TIMER0 as usize] = time::on_alarm;
    table[ETHERNET as usize] = lan9118::on_interrupt;
    table
}

/// Where the start-up code's linker script expects it.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
#[used]
static __INTERRUPTS: [extern "C" fn(); 32] = table();
