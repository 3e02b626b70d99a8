//! The time driver that minimq finds at link time: `embassy-time` on this machine's clock.
//!
//! The driver that `embassy-time` brings for hosts has room for a fixed number of timers and
//! spins beyond it; this one has an alarm per task, whatever their number. One thread sleeps
//! until the earliest alarm.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use embassy_time_driver::{Driver, TICK_HZ};

use crate::time::{Clock, SystemClock};

/// Longest sleep of the thread: it looks again then, whatever was said.
const SLEEP_MAX: Duration = Duration::from_mins(1);

struct HostDriver {
    /// Alarms, one per waiting task: bounded by the devices.
    alarms: Mutex<Vec<(u64, Waker)>>,
    changed: Condvar,
    clock: OnceLock<SystemClock>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: HostDriver = HostDriver {
    alarms: Mutex::new(Vec::new()),
    changed: Condvar::new(),
    clock: OnceLock::new(),
});

impl HostDriver {
    fn alarms(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&'static self) -> &'static SystemClock {
        self.clock.get_or_init(|| {
            // Without the thread no alarm rings: pings would stop and the broker would hang up,
            // after which the shell connects anew. Nothing is lost.
            let _ = std::thread::Builder::new()
                .name("device-alarms".to_owned())
                .spawn(|| self.ring_for_ever());
            SystemClock::new()
        })
    }

    fn ring_for_ever(&'static self) {
        let mut alarms = self.alarms();
        loop {
            let now = self.now();
            for (_, waker) in alarms.extract_if(.., |(at, _)| *at <= now) {
                waker.wake();
            }
            let next = alarms.iter().map(|(at, _)| at.saturating_sub(now)).min();
            let sleep = next.map_or(SLEEP_MAX, |ticks| {
                let us = u128::from(ticks) * 1_000_000 / u128::from(TICK_HZ) + 1;
                Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX)).min(SLEEP_MAX)
            });
            let waited = self.changed.wait_timeout(alarms, sleep);
            alarms = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Driver for HostDriver {
    fn now(&self) -> u64 {
        let us = u128::from(DRIVER.clock().now().mono_us);
        u64::try_from(us * u128::from(TICK_HZ) / 1_000_000).unwrap_or(u64::MAX)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        DRIVER.clock();
        let mut alarms = self.alarms();
        match alarms.iter_mut().find(|(_, one)| one.will_wake(waker)) {
            // A task that waits for two moments is woken at the first and says the second again.
            Some((earliest, _)) => *earliest = at.min(*earliest),
            None => alarms.push((at, waker.clone())),
        }
        drop(alarms);
        self.changed.notify_one();
    }
}

/// The moment now on the devices' link clock.
pub(super) fn now_us() -> u64 {
    DRIVER.clock().now().mono_us
}
