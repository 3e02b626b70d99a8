//! The executor: polls tasks, and sleeps while none has work.
//!
//! embassy's own executor for Cortex-M sleeps by WFE, on which QEMU spins. This one sleeps by WFI
//! and measures it: interrupts are held off from before the sleep until its end was noted, so that
//! their handlers count as work.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use embassy_executor::Spawner;
use embassy_executor::raw::Executor;
use static_cell::StaticCell;

use crate::time;

static EXECUTOR: StaticCell<Executor> = StaticCell::new();
/// A task was woken since the tasks were polled last.
static PENDED: AtomicBool = AtomicBool::new(false);
/// Time slept, in µs, wrapping.
static SLEPT_US: AtomicU32 = AtomicU32::new(0);

/// What a woken task calls.
#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    PENDED.store(true, Ordering::Relaxed);
}

/// Runs tasks for ever.
pub fn run(spawn: impl FnOnce(Spawner)) -> ! {
    let executor: &'static Executor = EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    spawn(executor.spawner());
    loop {
        PENDED.store(false, Ordering::Relaxed);
        // SAFETY: this is the only place that polls it, and no task calls `run`.
        unsafe { executor.poll() };
        cortex_m::interrupt::free(|_| {
            if PENDED.load(Ordering::Relaxed) {
                return;
            }
            let before = time::now_low_us();
            // Wakes up at a pending interrupt though none is served before this closure ends.
            cortex_m::asm::wfi();
            let slept_us = time::now_low_us().wrapping_sub(before);
            let sum = SLEPT_US.load(Ordering::Relaxed).wrapping_add(slept_us);
            SLEPT_US.store(sum, Ordering::Relaxed);
        });
    }
}

/// How much of the time the processor slept.
#[derive(Debug)]
pub struct IdleMeter {
    at_us: u32,
    slept_us: u32,
}

impl IdleMeter {
    /// Measures from now on.
    pub fn new() -> Self {
        Self {
            at_us: time::now_low_us(),
            slept_us: SLEPT_US.load(Ordering::Relaxed),
        }
    }

    /// Per mille of the time since the last call; to be called more often than once an hour.
    pub fn per_mille(&mut self) -> u32 {
        let now = Self::new();
        let elapsed_us = now.at_us.wrapping_sub(self.at_us).max(1);
        let slept_us = now.slept_us.wrapping_sub(self.slept_us);
        *self = now;
        (u64::from(slept_us) * 1_000 / u64::from(elapsed_us)) as u32
    }
}
