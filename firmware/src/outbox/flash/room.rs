//! How much more the flash takes: the queue's packing, calculated.
//!
//! Items lie whole in one page; the tail page is filled first, then blank pages. Of a page two
//! words are its marks, and each item costs a header and is rounded up to words.

/// What is free, in bytes and pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes left in the page written last.
    pub(super) tail: u32,
    /// Blank pages that may be written.
    pub(super) spare: u32,
    /// Bytes for items in a blank page.
    pub(super) page: u32,
}

impl Room {
    /// Whether items of these costs fit, in this order.
    pub(super) fn takes(mut self, costs: impl IntoIterator<Item = u32>) -> bool {
        costs.into_iter().all(|cost| self.take(cost))
    }

    fn take(&mut self, cost: u32) -> bool {
        if cost > self.tail {
            if cost > self.page || self.spare == 0 {
                return false;
            }
            self.spare -= 1;
            self.tail = self.page;
        }
        self.tail -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_the_tail_takes_a_page_and_leaves_the_tail_unused() {
        let room = Room {
            tail: 50,
            spare: 2,
            page: 100,
        };
        assert!(room.takes([]));
        assert!(room.takes([50, 100, 100]));
        assert!(room.takes([51, 49, 100]));
        assert!(!room.takes([51, 50, 51]), "two pages hold one each");
        assert!(!room.takes([101]), "larger than a page");
        assert!(!Room { spare: 0, ..room }.takes([51]));
    }
}
