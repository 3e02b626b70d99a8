//! Starting on a flash in any state: mending what a power cut left, and clearing what is no
//! queue.
//!
//! Pages are in one of three states, told by marks in their first and last words:
//! `open` (blank), `partial` (its first mark is set: items are appended), `closed` (both are).
//! In the ring of pages a sound queue looks like this, from some page on:
//!
//! ```text
//! closed … closed  partial?  open … open        one of partial and open there is
//! ```
//! A write that was cut leaves a torn item in the partial page, which the queue skips. An erase
//! that was cut leaves anything in a page of freed items. So, in this order:
//! 1. A page whose first mark is not set, and which is not blank, is erased.
//! 2. If the ring is not sound, partial pages without items are erased: an erase was cut.
//! 3. If it still is not, or cannot be walked, all is cleared, page by page: a start that is
//!    ended by a watchdog meanwhile is followed by one that has less to clear.

use embedded_storage::nor_flash::MultiwriteNorFlash;

use super::io::{Failed, Io, Step, WORD_BYTES_MAX};
use super::seam::{Erase, Geometry};

/// Zero bits in a mark from which on the queue takes it as set.
const MARK_BITS: u32 = 4;
/// Most items struck out at one start before all is cleared.
const STRIKES_MAX: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Partial,
    Closed,
}

impl<F: MultiwriteNorFlash, const ITEM: usize> Io<F, ITEM> {
    /// Makes a sound queue of whatever there is. Says whether all had to be cleared.
    pub(super) fn mend(&mut self) -> Result<bool, Failed> {
        for page in 0..self.pages() {
            if self.state(page)? == State::Open && !self.is_blank(page)? {
                self.erase_page(page)?;
            }
        }
        if !self.is_ring()? {
            self.erase_itemless()?;
        }
        let is_walkable = self.is_ring()? && self.is_walkable()?;
        if !is_walkable {
            self.clear()?;
        }
        self.count_open()?;
        Ok(!is_walkable)
    }

    /// Erases every page that is not blank.
    fn clear(&mut self) -> Result<(), Failed> {
        for page in 0..self.pages() {
            if !self.is_blank(page)? {
                self.erase_page(page)?;
            }
        }
        Ok(())
    }

    /// The page that is written, and the bytes left in it. To be asked after a walk to its end.
    pub(super) fn tail(&mut self) -> Result<Option<(u32, u32)>, Failed> {
        for page in 0..self.pages() {
            if self.state(page)? == State::Partial {
                let blank_at = self.seen.blank_at.get();
                let is_seen = self.page(page).contains(&blank_at);
                let left = if is_seen { self.left_from(blank_at) } else { 0 };
                return Ok(Some((page, left)));
            }
        }
        Ok(None)
    }

    fn is_walkable(&mut self) -> Result<bool, Failed> {
        for _ in 0..STRIKES_MAX {
            match self.walk(self.range(), Erase::LeaveOut, &mut |_, _, _| Step::Next) {
                Ok(()) => return Ok(true),
                Err(Failed::Struck) => {}
                Err(Failed::Flash) => return Err(Failed::Flash),
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    fn erase_itemless(&mut self) -> Result<(), Failed> {
        for page in 0..self.pages() {
            if self.state(page)? != State::Partial {
                continue;
            }
            let mut items = 0_u32;
            // A page that cannot be walked holds nothing that could be read.
            let _ = self.walk(self.page(page), Erase::LeaveOut, &mut |_, _, _| {
                items += 1;
                Step::Stop
            });
            if items == 0 {
                self.erase_page(page)?;
            }
        }
        Ok(())
    }

    fn is_ring(&mut self) -> Result<bool, Failed> {
        let (mut runs, mut partials, mut opens, mut is_last) = (0, 0, 0, true);
        for page in 0..self.pages() {
            let next = self.state((page + 1) % self.pages())?;
            match self.state(page)? {
                State::Open => {
                    opens += 1;
                    runs += u32::from(next != State::Open);
                }
                State::Partial => {
                    partials += 1;
                    is_last &= next == State::Open;
                }
                State::Closed => {}
            }
        }
        Ok(runs <= 1 && partials <= 1 && opens + partials > 0 && (is_last || opens == 0))
    }

    fn count_open(&mut self) -> Result<(), Failed> {
        let mut open = 0;
        for page in 0..self.pages() {
            open += u32::from(self.state(page)? == State::Open);
        }
        self.seen.open.set(open);
        Ok(())
    }

    fn state(&mut self, page: u32) -> Result<State, Failed> {
        let page = self.page(page);
        let last = page.end - F::READ_SIZE as u32;
        Ok(match (self.is_marked(page.start)?, self.is_marked(last)?) {
            (false, _) => State::Open,
            (true, false) => State::Partial,
            (true, true) => State::Closed,
        })
    }

    fn is_marked(&mut self, at: u32) -> Result<bool, Failed> {
        let mut bytes = [0xff; WORD_BYTES_MAX];
        let bytes = bytes.get_mut(..F::READ_SIZE).ok_or(Failed::Corrupt)?;
        self.look(at, bytes)?;
        let zeros: u32 = bytes.iter().map(|byte| byte.count_zeros()).sum();
        Ok(zeros >= MARK_BITS)
    }

    fn is_blank(&mut self, page: u32) -> Result<bool, Failed> {
        let step = Geometry::<F>::WORD;
        for at in self.page(page).step_by(step as usize) {
            let mut bytes = [0; WORD_BYTES_MAX];
            let bytes = bytes.get_mut(..step as usize).ok_or(Failed::Corrupt)?;
            self.look(at, bytes)?;
            if bytes.iter().any(|byte| *byte != 0xff) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
