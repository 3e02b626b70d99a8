//! Newest: overview and status as they were asked for last, shared by all who ask within a second.
//!
//! The gateway answers few questions at a time: 60 who watch it, or anybody who asks whether it is
//! ready, must not fill its queue for everybody else.
//!
//! Invariants: one question of a kind at a time; who comes while it is asked gets its answer, also
//! that there is none; who comes later gets it only until it is [`FRESH_MAX`](super::FRESH_MAX)
//! old, counted from the question, and that there was none not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Limits, Source};
use crate::plant::Overview;
use crate::status::Status;
use crate::time::Clock;

/// A source's overview and status, shared.
pub(super) struct Newest<S> {
    /// The source, for whatever is not shared.
    pub(super) source: Arc<S>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    overview: Shared<Overview>,
    status: Shared<Status>,
}

impl<S: Source> Newest<S> {
    pub(super) fn new(source: Arc<S>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            source,
            clock,
            limits,
            overview: Shared::default(),
            status: Shared::default(),
        }
    }

    /// The overview; its `at` says of when.
    pub(super) async fn overview(&self) -> Option<Arc<Overview>> {
        let asked = async || self.in_time(self.source.overview()).await;
        let fresh = self.limits.fresh;
        self.overview.get(&*self.clock, fresh, asked).await
    }

    /// The status.
    pub(super) async fn status(&self) -> Option<Arc<Status>> {
        let asked = async || self.in_time(self.source.status()).await;
        let fresh = self.limits.fresh;
        self.status.get(&*self.clock, fresh, asked).await
    }

    /// What is not said in time holds nobody up who waits for the same.
    async fn in_time<T>(&self, asked: impl Future<Output = Option<T>> + Send) -> Option<T> {
        timeout(self.limits.answer, asked).await.ok().flatten()
    }
}

/// What was answered last.
#[derive(Debug)]
struct Shared<T>(Mutex<Option<Answered<T>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

#[derive(Debug)]
struct Answered<T> {
    asked_us: u64,
    done_us: u64,
    value: Option<Arc<T>>,
}

impl<T> Answered<T> {
    /// Whether it is for somebody who came then and has waited until now.
    fn is_for(&self, came_us: u64, now_us: u64, fresh: Duration) -> bool {
        let age_us = now_us.saturating_sub(self.asked_us);
        let is_fresh = self.value.is_some() && u128::from(age_us) < fresh.as_micros();
        is_fresh || came_us < self.done_us
    }
}

impl<T> Shared<T> {
    async fn get<F: Future<Output = Option<T>> + Send>(
        &self,
        clock: &dyn Clock,
        fresh: Duration,
        ask: impl FnOnce() -> F,
    ) -> Option<Arc<T>> {
        let came_us = clock.now().mono_us;
        let mut answered = self.0.lock().await;
        let asked_us = clock.now().mono_us;
        if let Some(known) = &*answered
            && known.is_for(came_us, asked_us, fresh)
        {
            return known.value.clone();
        }
        // Who asks may be let go meanwhile: then the next who waits asks.
        let value = ask().await.map(Arc::new);
        *answered = Some(Answered {
            asked_us,
            done_us: clock.now().mono_us,
            value: value.clone(),
        });
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;
    use tokio::task::{JoinSet, yield_now};

    use super::*;
    use crate::time::Timestamp;

    const SECOND: Duration = Duration::from_secs(1);

    /// A clock that is set by hand, in µs.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp {
                mono_us: self.0.load(Ordering::Relaxed),
                ..Timestamp::default()
            }
        }
    }

    /// Fifty ask at once, of which the first is answered at last, 3 s later: what all got, and
    /// how often was asked.
    async fn fifty(answer: Option<u64>) -> (Vec<Option<u64>>, u64) {
        let shared = Arc::new(Shared::default());
        let (clock, asked) = (Arc::new(Hand::default()), Arc::new(AtomicU64::new(0)));
        let go = Arc::new(Notify::new());
        let mut all = JoinSet::new();
        for _ in 0..50 {
            let (shared, clock) = (Arc::clone(&shared), Arc::clone(&clock));
            let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
            all.spawn(async move {
                let ask = async || {
                    asked.fetch_add(1, Ordering::Relaxed);
                    go.notified().await;
                    clock.0.store(3_000_000, Ordering::Relaxed);
                    answer
                };
                let got = shared.get(&*clock, SECOND, ask).await;
                got.map(|got| *got)
            });
        }
        // Each has come as far as it can.
        for _ in 0..100 {
            yield_now().await;
        }
        go.notify_one();
        let got = timeout(20 * SECOND, all.join_all()).await;
        let got = got.expect("all are answered by the one answer");
        (got, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn fifty_at_once_make_one_question() {
        assert_eq!(fifty(Some(7)).await, (vec![Some(7); 50], 1));
        assert_eq!(fifty(None).await, (vec![None; 50], 1), "busy for all");
    }

    #[tokio::test]
    async fn what_was_answered_holds_a_second_from_its_question_and_busy_does_not() {
        let (shared, clock) = (Shared::default(), Hand::default());
        let asked = AtomicU64::new(0);
        let at = async |now_us: u64, answer: fn(u64) -> Option<u64>| {
            clock.0.store(now_us, Ordering::Relaxed);
            let ask = async || answer(asked.fetch_add(1, Ordering::Relaxed));
            shared.get(&clock, SECOND, ask).await.map(|got| *got)
        };
        assert_eq!(at(10, Some).await, Some(0));
        assert_eq!(at(1_000_009, Some).await, Some(0));
        assert_eq!(at(1_000_010, Some).await, Some(1));
        assert_eq!(at(2_000_010, |_| None).await, None);
        assert_eq!(at(2_000_011, Some).await, Some(3));
    }

    #[tokio::test]
    async fn who_is_let_go_while_it_asks_holds_nobody_up() {
        let (shared, clock) = (Shared::default(), Hand::default());
        let stuck = shared.get(&clock, SECOND, std::future::pending::<Option<u64>>);
        assert!(timeout(Duration::ZERO, stuck).await.is_err());
        let next = shared.get(&clock, SECOND, async || Some(7)).await;
        assert_eq!(next.as_deref(), Some(&7));
    }
}
