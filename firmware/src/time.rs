//! The two times of a device, kept apart by their types.
//!
//! The samplers' time is plain microseconds of uptime (`*_us: u64`): samples, batches and all
//! that is said about them run on it. The link's time is a [`Moment`]: timeouts, backoff and
//! resends run on it. On a board both come from one timer; a replayed trace runs its samplers
//! on the trace's time, and its link on wall time.

/// A moment on the link's clock: microseconds since any fixed point, never running backwards.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment, `ms` milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }
}

/// The clock of a link, and waiting by it.
///
/// On a board this is three lines over its timer driver, on a host over its runtime's.
#[expect(
    async_fn_in_trait,
    reason = "devices run on single-threaded executors: no future needs to be Send"
)]
pub trait Timer {
    /// The moment now.
    fn now(&self) -> Moment;

    /// Waits until `at`; returns at once when that has passed. Dropping the future is harmless.
    async fn until(&self, at: Moment);
}

impl<T: Timer> Timer for &T {
    fn now(&self) -> Moment {
        T::now(self)
    }

    async fn until(&self, at: Moment) {
        T::until(self, at).await;
    }
}
