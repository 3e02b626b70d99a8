//! Receipts: PUBACKs held back until the core took the message, and sent in order of arrival.
//!
//! A broker may disconnect a client that acknowledges out of order, while the core may drop
//! receipts in any order. So each connection has a book: messages enter it as they arrive, and
//! what leaves it is its longest released prefix. A receipt of a connection that is gone touches
//! only that connection's book, so a packet id is never acknowledged to the wrong connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Held as long as a message counts as unread; dropping it releases the PUBACK.
#[derive(Debug, Default)]
pub struct Receipt(Kind);

#[derive(Debug, Default)]
enum Kind {
    /// Nothing waits for it: in-memory links.
    #[default]
    Free,
    /// A QoS 0 message: only its place in the intake is given back.
    Unreliable(Arc<AtomicUsize>),
    /// A QoS 1 message.
    Numbered { book: Arc<Book>, number: u64 },
}

impl Receipt {
    /// A receipt that gives back a place among the QoS 0 messages waiting.
    pub(super) fn unreliable(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::AcqRel);
        Self(Kind::Unreliable(Arc::clone(waiting)))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        match &self.0 {
            Kind::Free => {}
            Kind::Unreliable(waiting) => {
                waiting.fetch_sub(1, Ordering::AcqRel);
            }
            Kind::Numbered { book, number } => book.release(*number),
        }
    }
}

/// The messages of one connection whose PUBACK is still due.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    /// Number of the first message still due.
    first: u64,
    /// (packet id, released) from there on: what is in the intake, and what the core holds.
    due: VecDeque<(u16, bool)>,
}

impl Book {
    /// Enters a message that arrived.
    pub(super) fn admit(self: &Arc<Self>, packet_id: u16) -> Receipt {
        let mut pages = self.pages();
        let number = pages.first + pages.due.len() as u64;
        pages.due.push_back((packet_id, false));
        Receipt(Kind::Numbered {
            book: Arc::clone(self),
            number,
        })
    }

    /// Waits until PUBACKs may be sent and takes their packet ids, in order of arrival.
    pub(super) async fn released(&self) -> Vec<u16> {
        loop {
            let packet_ids = self.take_released();
            if !packet_ids.is_empty() {
                return packet_ids;
            }
            // A release since the look above left a permit, so this does not miss it.
            self.wake.notified().await;
        }
    }

    fn take_released(&self) -> Vec<u16> {
        let mut pages = self.pages();
        let count = pages
            .due
            .iter()
            .take_while(|(_, released)| *released)
            .count();
        pages.first += count as u64;
        pages
            .due
            .drain(..count)
            .map(|(packet_id, _)| packet_id)
            .collect()
    }

    fn release(&self, number: u64) {
        let mut pages = self.pages();
        let at = number
            .checked_sub(pages.first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some((_, released)) = at.and_then(|at| pages.due.get_mut(at)) {
            *released = true;
        }
        let front = pages.due.front().is_some_and(|(_, released)| *released);
        drop(pages);
        if front {
            self.wake.notify_one();
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_leave_in_order_of_arrival_whatever_the_order_of_release() {
        let book = Arc::new(Book::default());
        let mut receipts: Vec<_> = [11, 12, 13].map(|id| Some(book.admit(id))).into();
        receipts[1] = None;
        assert_eq!(book.take_released(), Vec::<u16>::new());
        receipts[0] = None;
        assert_eq!(book.take_released(), vec![11, 12]);
        receipts.push(Some(book.admit(14)));
        receipts[3] = None;
        assert_eq!(book.take_released(), Vec::<u16>::new());
        receipts[2] = None;
        assert_eq!(book.take_released(), vec![13, 14]);
        assert!(book.pages().due.is_empty());
    }

    #[tokio::test]
    async fn a_release_wakes_the_acknowledger() {
        let book = Arc::new(Book::default());
        let receipt = book.admit(5);
        let waiting = tokio::spawn({
            let book = Arc::clone(&book);
            async move { book.released().await }
        });
        drop(receipt);
        assert_eq!(waiting.await.unwrap(), vec![5]);
    }

    #[test]
    fn an_unreliable_message_gives_its_place_back() {
        let waiting = Arc::new(AtomicUsize::new(0));
        let receipt = Receipt::unreliable(&waiting);
        assert_eq!(waiting.load(Ordering::Acquire), 1);
        drop(receipt);
        assert_eq!(waiting.load(Ordering::Acquire), 0);
    }
}
