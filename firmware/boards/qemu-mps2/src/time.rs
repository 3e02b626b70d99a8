//! embassy-time's driver: a counter of microseconds, and a timer for the next alarm.
//!
//! The FPGAIO block counts at 25 MHz divided by its prescaler plus one, 32 bits that wrap around
//! every 71 minutes (AN386, section 4.7); the timer of the CMSDK counts 25 MHz down to an interrupt
//! (DDI 0479, section 4.1). An alarm is never set further ahead than a minute, so the counter is
//! read often enough to see every wrap.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use crate::interrupts;
use crate::register::Register;

/// Cycles of the clock in a µs.
const CYCLES_PER_US: u32 = 25;
/// Longest wait for an alarm, in µs.
const WAIT_US_MAX: u64 = 60_000_000;

// SAFETY: the two devices of this machine; see the addresses in AN386, table 3-1.
const COUNTER: Register = unsafe { Register::new(0x4002_8018) };
const PRESCALER: Register = COUNTER.at(4);
// SAFETY: as above.
const TIMER: Register = unsafe { Register::new(0x4000_0000) };
const TIMER_VALUE: Register = TIMER.at(4);
const TIMER_RELOAD: Register = TIMER.at(8);
const TIMER_CLEAR: Register = TIMER.at(0xc);
const TIMER_ENABLE: u32 = 1;
const TIMER_INTERRUPT: u32 = 1 << 3;

struct State {
    queue: Queue,
    /// The counter when it was read last, and how often it has wrapped.
    low: u32,
    high: u32,
}

impl State {
    fn now(&mut self) -> u64 {
        let low = COUNTER.read();
        if low < self.low {
            self.high += 1;
        }
        self.low = low;
        u64::from(self.high) << 32 | u64::from(low)
    }

    /// Wakes what is due and sets the timer for what is next.
    fn arm(&mut self) {
        let now = self.now();
        let next = self.queue.next_expiration(now);
        let wait_us = next.saturating_sub(now).clamp(1, WAIT_US_MAX) as u32;
        TIMER.write(0);
        TIMER_RELOAD.write(wait_us * CYCLES_PER_US);
        TIMER_VALUE.write(wait_us * CYCLES_PER_US);
        TIMER.write(TIMER_ENABLE | TIMER_INTERRUPT);
    }
}

struct MicrosecondDriver(Mutex<RefCell<State>>);

impl Driver for MicrosecondDriver {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.0.borrow_ref_mut(section).now())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let mut state = self.0.borrow_ref_mut(section);
            if state.queue.schedule_wake(at, waker) {
                state.arm();
            }
        });
    }
}

embassy_time_driver::time_driver_impl!(static DRIVER: MicrosecondDriver =
MicrosecondDriver(Mutex::new(RefCell::new(State {
    queue: Queue::new(),
    low: 0,
    high: 0,
}))));

/// Starts the counter. Before this, it is always 0.
pub fn start() {
    PRESCALER.write(CYCLES_PER_US - 1);
    COUNTER.write(0);
    interrupts::enable(interrupts::TIMER0);
}

/// The low half of the time in µs: for differences below an hour, without a critical section.
pub fn now_low_us() -> u32 {
    COUNTER.read()
}

/// The timer's interrupt.
pub extern "C" fn on_alarm() {
    TIMER_CLEAR.write(1);
    critical_section::with(|section| DRIVER.0.borrow_ref_mut(section).arm());
}
